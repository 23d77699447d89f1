//! The C header of a compiled model.

use std::fmt::Write as _;

use avocet_ir::program::{ALIGNMENT, Port};
use avocet_ir::tensor::DType;
use avocet_target_cranelift::emit::Weights;

use crate::artifact::Artifact;
use crate::constants::constants;
use crate::header_sizes;

/// Declarations that all models share; guarded, so that several headers may be included.
const COMMON: &str = "\
#ifndef AVOCET_CONTEXT
#define AVOCET_CONTEXT
/* What a model gets beyond inputs and outputs. Set unused fields to NULL: later versions may add some at the end. */
typedef struct avocet_context {
    void *arena;         /* memory for intermediate tensors; not shared by concurrent calls */
    const void *weights; /* external weights, or NULL when they are in the object */
    /* Calls body(argument, index) once for each index below count, on any threads and in any order, and returns when all
       of them have returned. NULL runs everything on the caller's thread; the results are the same to the bit. Parts are
       tens of microseconds long, so a pool should keep its threads awake between regions. */
    void (*parallel_for)(void *pool, size_t count, void (*body)(void *argument, size_t index), void *argument);
    void *pool; /* handed to parallel_for */
    const int64_t *sizes; /* of a model that leaves some to the call; else NULL */
} avocet_context;

/* What models return. */
enum { AVOCET_OK = 0, AVOCET_NULL_POINTER = 1, AVOCET_MISALIGNED = 2, AVOCET_SIZE = 3 };
#endif
";

/// Tables of inputs and outputs, by name; what is in them is never written to and needs no C library.
const PORTS: &str = "\
#ifndef AVOCET_PORT
#define AVOCET_PORT
/* Types of elements. */
enum { AVOCET_F32 = 0, AVOCET_I64 = 1, AVOCET_I32 = 2, AVOCET_BOOL = 3, AVOCET_U8 = 4,
       AVOCET_I8 = 5, AVOCET_I16 = 6, AVOCET_U16 = 7, AVOCET_U32 = 8, AVOCET_U64 = 9 };

/* An input or output. */
typedef struct avocet_port {
    const char *name;      /* from the model, in UTF-8 */
    int32_t element;       /* AVOCET_F32 or another type */
    int32_t rank;          /* dimensions of the shape */
    const int64_t *shape;  /* outermost first; NULL for a scalar */
    size_t elements, bytes; /* of the whole, without gaps */
} avocet_port;

/* The number of the input or output of this name, or -1. */
static inline int32_t avocet_find(const avocet_port *ports, int32_t count, const char *name) {
    int32_t i;
    for (i = 0; i < count; i++) {
        const char *a = ports[i].name, *b = name;
        while (*a && *a == *b) a++, b++;
        if (*a == *b) return i;
    }
    return -1;
}
#endif
";

/// Checks a weights file in C: the same as `avocet_runtime::weights::check`.
const CHECK_WEIGHTS: &str = "\
#ifndef AVOCET_CHECK_WEIGHTS
#define AVOCET_CHECK_WEIGHTS
/* XXH64 with seed 0 of a payload whose size is a multiple of 32 bytes. */
static inline uint64_t avocet_checksum(const unsigned char *p, uint64_t bytes) {
    const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu, P3 = 0x165667B19E3779F9u,
                   P4 = 0x85EBCA77C2B2AE63u, P5 = 0x27D4EB2F165667C5u;
    uint64_t v[4] = {P1 + P2, P2, 0, 0 - P1}, h, i;
    unsigned k, j;
    if (bytes == 0) {
        h = P5;
    } else {
        for (i = 0; i < bytes; i += 32)
            for (k = 0; k < 4; k++) {
                uint64_t word = 0;
                for (j = 0; j < 8; j++) word |= (uint64_t)p[i + 8 * k + j] << (8 * j);
                v[k] += word * P2;
                v[k] = ((v[k] << 31) | (v[k] >> 33)) * P1;
            }
        h = ((v[0] << 1) | (v[0] >> 63)) + ((v[1] << 7) | (v[1] >> 57)) + ((v[2] << 12) | (v[2] >> 52)) +
            ((v[3] << 18) | (v[3] >> 46));
        for (k = 0; k < 4; k++) {
            uint64_t w = v[k] * P2;
            h ^= ((w << 31) | (w >> 33)) * P1;
            h = h * P1 + P4;
        }
    }
    h += bytes;
    h ^= h >> 33;
    h *= P2;
    h ^= h >> 29;
    h *= P3;
    return h ^ (h >> 32);
}

/* The weights in a whole weights file in memory (say, mapped), or NULL when it is damaged or another model's. Call it
   once, at load. The file must start at an address that is a multiple of 64, as mapped files do. */
static inline const void *avocet_check_weights(const void *file, size_t size, uint64_t bytes, uint64_t checksum) {
    const unsigned char *p = (const unsigned char *)file;
    const char magic[8] = {'A', 'V', 'O', 'C', 'E', 'T', 'W', 0};
    int i;
    if (!file || size < 64 || size - 64 != bytes) return NULL;
    for (i = 0; i < 8; i++)
        if (p[i] != (unsigned char)magic[i]) return NULL;
    if (p[8] != 1 || p[9] || p[10] || p[11]) return NULL;
    return avocet_checksum(p + 64, bytes) == checksum ? p + 64 : NULL;
}
#endif
";

/// The header's text.
pub(crate) fn text(artifact: &Artifact) -> String {
    let (name, upper) = (&artifact.name, artifact.name.to_ascii_uppercase());
    let (inputs, outputs) = (&artifact.program.inputs, &artifact.program.outputs);
    let external = artifact.weights == Weights::External;
    let mut out = String::new();
    // Writing to a string can't fail.
    let mut line = |text: &str| {
        let _ = writeln!(out, "{text}");
    };
    line(&format!("/* {name}: a neural network compiled by avocet for {}. */", artifact.target.name));
    line(&format!("#ifndef AVOCET_MODEL_{upper}_H\n#define AVOCET_MODEL_{upper}_H\n"));
    line("#include <stddef.h>\n#include <stdint.h>\n");
    line("#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    line(COMMON);
    line(PORTS);
    if external {
        line(CHECK_WEIGHTS);
    }
    line(
        "/* Memory that a call needs in context.arena, in bytes, and its alignment. On Linux a large arena makes the first call",
    );
    line(
        "   faster when it is on large pages: aligned_alloc(2 << 20, ...) and madvise(arena, bytes, MADV_HUGEPAGE). */",
    );
    line(&format!("#define {upper}_ARENA_BYTES {}", artifact.plan().bytes));
    line(&format!("#define {upper}_ARENA_ALIGNMENT {ALIGNMENT}"));
    if external {
        line("/* The external weights: size without the file's 64 bytes of header, alignment, checksum. */");
        line(&format!("#define {upper}_WEIGHTS_BYTES {}", artifact.weight_bytes()));
        line(&format!("#define {upper}_WEIGHTS_ALIGNMENT {ALIGNMENT}"));
        line(&format!("#define {upper}_WEIGHTS_CHECKSUM UINT64_C(0x{:016x})", artifact.weight_checksum()));
    }
    for (kind, ports) in [("INPUT", inputs), ("OUTPUT", outputs)] {
        for (i, port) in ports.iter().enumerate() {
            line(&format!("\n/* {} {i}: {} */", kind.to_ascii_lowercase(), describe(port)));
            line(&format!("#define {upper}_{kind}_{i}_NAME \"{}\"", c_string(&port.name)));
            line(&format!("#define {upper}_{kind}_{i}_ELEMENTS {}", port.ty.shape.elements()));
            line(&format!("#define {upper}_{kind}_{i}_BYTES {}", port.ty.bytes()));
            line(&format!("#define {upper}_{kind}_{i}_ALIGNMENT {}", port.ty.dtype.bytes()));
        }
    }
    line(
        "\n/* Numbers of the inputs and outputs by name: their places in what the function below takes, and in the tables. */",
    );
    for (kind, ports) in [("INPUT", inputs), ("OUTPUT", outputs)] {
        let numbers = constants(ports).into_iter().chain(["COUNT".into()]).enumerate();
        let numbers: Vec<String> = numbers.map(|(i, c)| format!("{upper}_{kind}_{c} = {i}")).collect();
        line(&format!("enum {{ {} }};", numbers.join(", ")));
    }
    line("\n/* Their names, types, shapes and sizes, in order; and the number of a name, or -1. */");
    for (kind, ports) in [("input", inputs), ("output", outputs)] {
        line(&table(name, kind, ports));
        line(&format!("static inline int32_t {name}_find_{kind}(const char *port) {{"));
        let count = format!("{upper}_{}_COUNT", kind.to_ascii_uppercase());
        line(&format!("    return avocet_find({name}_{kind}s(), {count}, port);\n}}"));
    }
    if let Some(sizes) = &artifact.program.sizes {
        line(&header_sizes::text(&artifact.program, sizes, name, &upper));
    }
    line(&format!(
        "\n/* Runs the network. `inputs` and `outputs` hold {} and {} pointers. Allocates nothing, keeps nothing between\n   \
         calls, calls nothing but context.parallel_for: any number of threads may call it, each with an arena of its own.\n   \
         Outputs and arena must not overlap anything else. Returns AVOCET_OK, or what is wrong with a\n   pointer or a size. */",
        inputs.len(),
        outputs.len()
    ));
    line(&format!(
        "int32_t {name}_invoke(const void *const *inputs, void *const *outputs, const avocet_context *context);"
    ));
    let parameters: Vec<String> = inputs
        .iter()
        .enumerate()
        .map(|(i, p)| format!("const {} *input_{i}", c_type(p.ty.dtype)))
        .chain(outputs.iter().enumerate().map(|(i, p)| format!("{} *output_{i}", c_type(p.ty.dtype))))
        .chain([if external { "void *arena, const void *weights" } else { "void *arena" }.to_string()])
        .chain(artifact.program.sizes.iter().map(|_| "const int64_t *sizes".to_string()))
        .collect();
    let pointers = |kind: &str, count: usize| -> String {
        let all: Vec<String> = (0..count).map(|i| format!("{kind}_{i}")).collect();
        // C has no empty arrays.
        if all.is_empty() { "NULL".into() } else { all.join(", ") }
    };
    line("\n/* The same with typed pointers, on one thread. */");
    line(&format!("static inline int32_t {name}_run({}) {{", parameters.join(", ")));
    line(&format!("    const void *inputs[] = {{{}}};", pointers("input", inputs.len())));
    line(&format!("    void *outputs[] = {{{}}};", pointers("output", outputs.len())));
    line(&format!(
        "    avocet_context context = {{arena, {}, NULL, NULL, {}}};",
        if external { "weights" } else { "NULL" },
        if artifact.program.sizes.is_some() { "sizes" } else { "NULL" }
    ));
    line(&format!("    return {name}_invoke(inputs, outputs, &context);\n}}"));
    if external {
        line(
            "\n/* The weights in a whole weights file in memory, or NULL when it is damaged or another model's. */",
        );
        line(&format!("static inline const void *{name}_weights(const void *file, size_t size) {{"));
        line(&format!(
            "    return avocet_check_weights(file, size, {upper}_WEIGHTS_BYTES, {upper}_WEIGHTS_CHECKSUM);\n}}"
        ));
    }
    line("\n#ifdef __cplusplus\n}\n#endif\n#endif");
    out
}

fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::I64 => "int64_t",
        DType::I32 => "int32_t",
        DType::Bool | DType::U8 => "uint8_t",
        DType::I8 => "int8_t",
        DType::I16 => "int16_t",
        DType::U16 => "uint16_t",
        DType::U32 => "uint32_t",
        DType::U64 => "uint64_t",
    }
}

/// A function that gives the table of inputs or outputs: a function, since headers must not define data, and one that is
/// not used warns nobody.
fn table(name: &str, kind: &str, ports: &[Port]) -> String {
    let mut out = format!("static inline const avocet_port *{name}_{kind}s(void) {{\n");
    if ports.is_empty() {
        return out + "    return NULL;\n}";
    }
    let mut entries = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let dims: Vec<String> = port.ty.dims().iter().map(usize::to_string).collect();
        let shape = if dims.is_empty() { "NULL".to_string() } else { format!("shape_{i}") };
        if !dims.is_empty() {
            let _ = writeln!(out, "    static const int64_t shape_{i}[] = {{{}}};", dims.join(", "));
        }
        entries.push(format!(
            "        {{\"{}\", AVOCET_{}, {}, {shape}, {}, {}}}",
            c_string(&port.name),
            port.ty.dtype.to_string().to_ascii_uppercase(),
            dims.len(),
            port.ty.shape.elements(),
            port.ty.bytes()
        ));
    }
    let _ = write!(
        out,
        "    static const avocet_port ports[] = {{\n{}}};\n    return ports;\n}}",
        entries.join(",\n")
    );
    out
}

fn describe(port: &Port) -> String {
    format!("{}, {} {}", comment(&port.name), port.ty.dtype, port.ty.shape)
}

/// What a name, which may hold anything, is in a comment: nothing in it may end that.
pub(crate) fn comment(name: &str) -> String {
    let keep = |c: char| c.is_ascii_graphic() && !"*/?\\".contains(c) || c == ' ';
    name.chars().map(|c| if keep(c) { c } else { '_' }).collect()
}

/// The name within a C string: in UTF-8, with what is not plain ASCII in octal, which ends after three digits.
fn c_string(name: &str) -> String {
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\"\\?".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("\\{byte:03o}") };
    name.bytes().map(one).collect()
}
