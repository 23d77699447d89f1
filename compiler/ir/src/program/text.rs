//! The text form of programs.

use std::fmt;

use super::{Argument, Call, Item, Program, Step, Storage};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for (i, port) in self.inputs.iter().enumerate() {
            writeln!(f, "  input {i} {:?}: {}", port.name, port.ty)?;
        }
        for (i, port) in self.outputs.iter().enumerate() {
            writeln!(f, "  output {i} {:?}: {}", port.name, port.ty)?;
        }
        for dim in self.sizes.iter().flat_map(|sizes| &sizes.dims) {
            writeln!(f, "  size {dim}")?;
        }
        if let Some(plan) = &self.plan {
            writeln!(f, "  arena {} bytes (at least {})", plan.bytes, plan.lower_bound)?;
        }
        match self.items() {
            Some(items) => self.write_items(f, "  ", &items)?,
            None => writeln!(f, "  controls do not nest: {:?}", self.controls)?,
        }
        self.kernels.iter().try_for_each(|kernel| write!(f, "\n{kernel}"))
    }
}

impl Program {
    fn write_items(&self, f: &mut fmt::Formatter<'_>, indent: &str, items: &[Item<'_>]) -> fmt::Result {
        let inner = format!("{indent}  ");
        for item in items {
            match item {
                Item::Step(number) => self.write_step(f, indent, &self.steps[*number])?,
                Item::Branch(condition, then, otherwise) => {
                    writeln!(f, "{indent}if {}", self.show(**condition))?;
                    self.write_items(f, &inner, then)?;
                    if !otherwise.is_empty() {
                        writeln!(f, "{indent}else")?;
                        self.write_items(f, &inner, otherwise)?;
                    }
                }
                Item::Loop(count, limit, condition, body) => {
                    write!(f, "{indent}loop {count}")?;
                    limit.map_or(Ok(()), |limit| write!(f, ", at most {}", self.show(*limit)))?;
                    condition.map_or(Ok(()), |condition| write!(f, ", while {}", self.show(*condition)))?;
                    writeln!(f)?;
                    self.write_items(f, &inner, body)?;
                }
                Item::Switch(cases) => {
                    for (number, case) in cases.iter().enumerate() {
                        writeln!(f, "{indent}case {number}")?;
                        self.write_items(f, &inner, case)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_step(&self, f: &mut fmt::Formatter<'_>, indent: &str, step: &Step) -> fmt::Result {
        if let [calls] = &step.parts[..] {
            return calls.iter().try_for_each(|call| self.write_call(f, indent, call));
        }
        writeln!(f, "{indent}at once")?;
        for (number, calls) in step.parts.iter().enumerate() {
            writeln!(f, "{indent}  part {number}")?;
            let indent = format!("{indent}    ");
            calls.iter().try_for_each(|call| self.write_call(f, &indent, call))?;
        }
        Ok(())
    }

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
            Storage::Size(i) => format!("size{i}"),
            Storage::Temporary(i) => match &self.plan {
                Some(plan) => format!("arena[{}]", plan.offsets[i]),
                None => format!("temporary{i}"),
            },
        };
        let place = if argument.offset == 0 { place } else { format!("{place}+{}", argument.offset) };
        if argument.stride == 0 { place } else { format!("{place}+i*{}", argument.stride) }
    }
}
