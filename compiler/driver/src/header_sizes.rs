//! The part of the C header about sizes that are given at the call: which there are, and what inputs, outputs and arena are
//! for them. Tables of all cases, in functions, as headers must not define data.

use std::fmt::Write as _;

use avocet_ir::program::{Port, Program, Signature, Sizes};

use crate::constants::constants_of;
use crate::header::comment;

/// The part's text; `upper` and `name` are the header's prefixes.
pub(crate) fn text(program: &Program, sizes: &Sizes, name: &str, upper: &str) -> String {
    let mut out = String::new();
    // Writing to a string can't fail.
    let mut line = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    let dims = &sizes.dims;
    line(&format!(
        "\n/* Sizes are given at each call, in context.sizes, in this order: {}.\n   \
         The sizes of inputs, outputs and arena above are those of the largest. Other sizes are refused with AVOCET_SIZE,\n   \
         and nothing is written. */",
        comment(&sizes.to_string())
    ));
    let names = constants_of(dims.iter().map(|dim| dim.name.as_str()));
    let numbers: Vec<String> = names
        .iter()
        .chain(&["COUNT".to_string()])
        .enumerate()
        .map(|(i, c)| format!("{upper}_SIZE_{c} = {i}"))
        .collect();
    line(&format!("enum {{ {} }};", numbers.join(", ")));

    line("\n/* The number of the case that sizes lead to, or -1 when one of them is not allowed. */");
    line(&format!("static inline int32_t {name}_case(const int64_t *sizes) {{"));
    let column = |number: fn(&avocet_ir::program::Dim) -> usize| {
        dims.iter().map(|dim| number(dim).to_string()).collect::<Vec<_>>().join(", ")
    };
    line(&format!("    static const int64_t first[] = {{{}}};", column(|dim| dim.first)));
    line(&format!("    static const int64_t last[] = {{{}}};", column(|dim| dim.last)));
    line(&format!("    static const int64_t step[] = {{{}}};", column(|dim| dim.step)));
    let counts: Vec<String> = dims
        .iter()
        .enumerate()
        .map(|(number, dim)| if Some(number) == sizes.batch { 1 } else { dim.count() }.to_string())
        .collect();
    line(&format!("    static const int64_t count[] = {{{}}};", counts.join(", ")));
    line("    int64_t number = 0;\n    int i;");
    line(&format!("    for (i = 0; i < {}; i++) {{", dims.len()));
    line(
        "        if (sizes[i] < first[i] || sizes[i] > last[i] || (sizes[i] - first[i]) % step[i]) return -1;",
    );
    line("        /* The batch has no cases: it is computed image by image. */");
    line("        number = number * count[i] + (count[i] > 1 ? (sizes[i] - first[i]) / step[i] : 0);");
    line("    }\n    return (int32_t)number;\n}");

    line("\n/* Bytes of the arena that a call with these sizes needs, or 0 when they are not allowed. */");
    line(&format!("static inline size_t {name}_arena_bytes(const int64_t *sizes) {{"));
    let bytes: Vec<String> =
        (0..sizes.cases.len()).map(|case| program.arena_bytes(case).to_string()).collect();
    line(&format!("    static const size_t bytes[] = {{{}}};", wrapped(&bytes)));
    line(&format!("    const int32_t number = {name}_case(sizes);"));
    line("    return number < 0 ? 0 : bytes[number];\n}");

    for (kind, ports) in [("input", &program.inputs), ("output", &program.outputs)] {
        line(&shapes(sizes, name, kind, ports));
    }
    out
}

/// A function that gives the shape of an input or output for sizes.
fn shapes(sizes: &Sizes, name: &str, kind: &str, ports: &[Port]) -> String {
    let ranks: Vec<usize> = ports.iter().map(|port| port.ty.shape.rank()).collect();
    let starts: Vec<usize> =
        ranks.iter().scan(0, |sum, rank| Some(std::mem::replace(sum, *sum + rank))).collect();
    let width: usize = ranks.iter().sum();
    let types = |case: &Signature| if kind == "input" { case.inputs.clone() } else { case.outputs.clone() };
    let numbers: Vec<String> = sizes
        .cases
        .iter()
        .flat_map(|case| types(case).into_iter().flat_map(|ty| ty.dims().to_vec()).map(|dim| dim.to_string()))
        .collect();
    let batched: Vec<String> = (0..ports.len())
        .map(|port| {
            let images = if kind == "output" { sizes.batch.is_some() } else { sizes.is_batched(port) };
            u8::from(images).to_string()
        })
        .collect();
    let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut out = format!(
        "\n/* Writes the dimensions of an {kind} for sizes, as many as its table says, and returns its number of elements; or\n   \
         -1 when the sizes are not allowed or there is no such {kind}. */\n\
         static inline int64_t {name}_{kind}_shape(int32_t {kind}, const int64_t *sizes, int64_t *shape) {{\n"
    );
    if ports.is_empty() {
        return out + &format!("    (void){kind}, (void)sizes, (void)shape;\n    return -1;\n}}");
    }
    // C has no empty arrays.
    let numbers = if numbers.is_empty() { vec!["0".to_string()] } else { numbers };
    let _ = writeln!(out, "    static const int64_t dims[] = {{{}}};", wrapped(&numbers));
    let _ = writeln!(
        out,
        "    static const int32_t start[] = {{{}}}, rank[] = {{{}}};",
        list(&starts),
        list(&ranks)
    );
    let _ = writeln!(out, "    static const unsigned char batched[] = {{{}}};", batched.join(", "));
    let _ = writeln!(out, "    const int32_t number = {name}_case(sizes);");
    let _ = writeln!(out, "    int64_t elements = 1;\n    int32_t i;");
    let _ = writeln!(out, "    if (number < 0 || {kind} < 0 || {kind} >= {}) return -1;", ports.len());
    let _ = writeln!(out, "    for (i = 0; i < rank[{kind}]; i++) {{");
    let _ = writeln!(out, "        shape[i] = dims[number * {width} + start[{kind}] + i];");
    let images = sizes.batch.map_or("1".to_string(), |batch| format!("sizes[{batch}]"));
    let _ = writeln!(out, "        if (i == 0 && batched[{kind}]) shape[i] = {images};");
    let _ = write!(out, "        elements *= shape[i];\n    }}\n    return elements;\n}}");
    out
}

/// Numbers in lines of readable length.
fn wrapped(numbers: &[String]) -> String {
    let lines: Vec<String> = numbers.chunks(12).map(|chunk| chunk.join(", ")).collect();
    lines.join(",\n        ")
}
