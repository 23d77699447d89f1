//! The text form of programs.

use std::fmt;

use super::{Argument, Call, Program, Storage};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for (i, port) in self.inputs.iter().enumerate() {
            writeln!(f, "  input {i} {:?}: {}", port.name, port.ty)?;
        }
        for (i, port) in self.outputs.iter().enumerate() {
            writeln!(f, "  output {i} {:?}: {}", port.name, port.ty)?;
        }
        if let Some(plan) = &self.plan {
            writeln!(f, "  arena {} bytes (at least {})", plan.bytes, plan.lower_bound)?;
        }
        for step in &self.steps {
            if let [calls] = &step.parts[..] {
                calls.iter().try_for_each(|call| self.write_call(f, "  ", call))?;
                continue;
            }
            writeln!(f, "  at once")?;
            for (number, calls) in step.parts.iter().enumerate() {
                writeln!(f, "    part {number}")?;
                calls.iter().try_for_each(|call| self.write_call(f, "      ", call))?;
            }
        }
        self.kernels.iter().try_for_each(|kernel| write!(f, "\n{kernel}"))
    }
}

impl Program {
    fn write_call(&self, f: &mut fmt::Formatter<'_>, indent: &str, call: &Call) -> fmt::Result {
        let kernel = self.kernels.get(call.kernel).map_or("?", |k| k.name.as_str());
        let arguments: Vec<String> = call.arguments.iter().map(|a| self.show(*a)).collect();
        writeln!(f, "{indent}call {kernel}({}) ; {}", arguments.join(", "), call.node.escape_debug())
    }

    fn show(&self, argument: Argument) -> String {
        let place = match argument.storage {
            Storage::Input(i) => format!("input{i}"),
            Storage::Output(i) => format!("output{i}"),
            Storage::Constant(i) => format!("constant{i}"),
            Storage::Temporary(i) => match &self.plan {
                Some(plan) => format!("arena[{}]", plan.offsets[i]),
                None => format!("temporary{i}"),
            },
        };
        if argument.offset == 0 { place } else { format!("{place}+{}", argument.offset) }
    }
}
