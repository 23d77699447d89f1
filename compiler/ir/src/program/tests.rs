use super::{Argument, Call, Port, Program, Step, Storage};
use crate::kernel::{Access, Element, Kernel, KernelBuilder};
use crate::tensor::TensorType;

/// Copies `rows` rows of `columns` elements; rows are `pitch` elements apart in the result.
fn copy(rows: usize, columns: usize, pitch: usize) -> Kernel {
    let mut b = KernelBuilder::new("copy");
    let x = b.buffer("x", Element::F32, rows * columns, Access::Read);
    let y = b.buffer("y", Element::F32, (rows - 1) * pitch + columns, Access::Write);
    b.repeat(rows, |b, row| {
        b.blocks(columns, 2, |b, column, valid| {
            let value = b.load_partial(2, valid, x, &row * columns + column.clone());
            b.store_partial(y, &row * pitch + column, value, valid);
        });
    });
    b.finish()
}

/// A program of one step whose parts each call the kernel once, writing the output at these byte offsets.
fn program(kernel: Kernel, offsets: &[usize]) -> Program {
    let port = |name: &str| Port { name: name.into(), ty: TensorType::f32([60]).expect("small") };
    let call = |&offset: &usize| Call {
        kernel: 0,
        arguments: vec![Storage::Input(0).into(), Argument::from(Storage::Output(0)).after(offset)],
        in_place: vec![],
        node: "copy".into(),
    };
    Program {
        name: "test".into(),
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        kernels: vec![kernel],
        steps: vec![Step { parts: offsets.iter().map(|offset| vec![call(offset)]).collect() }],
        controls: Vec::new(),
        sizes: None,
        temporaries: vec![],
        constants: vec![],
        plan: None,
    }
}

#[test]
fn parts_may_write_rows_of_their_own() {
    assert_eq!(program(copy(2, 10, 10), &[0, 80, 160]).verify(), Ok(()));
}

#[test]
fn parts_may_write_columns_of_their_own() {
    assert_eq!(program(copy(6, 5, 10), &[0, 20]).verify(), Ok(()));
    assert_eq!(program(copy(6, 3, 10), &[24, 0, 12]).verify(), Ok(()));
}

#[test]
fn parts_may_not_write_the_same_bytes() {
    for (kernel, offsets) in
        [(copy(2, 10, 10), vec![0, 76]), (copy(6, 5, 10), vec![0, 16]), (copy(6, 5, 10), vec![0, 0])]
    {
        let error = program(kernel, &offsets).verify().expect_err("they meet").to_string();
        assert_eq!(error, "step 0, node 'copy': parts 0 and 1 touch the same bytes of Output(0)");
    }
}

#[test]
fn parts_may_not_read_what_others_write() {
    let mut program = program(copy(2, 10, 10), &[0, 80]);
    program.steps[0].parts[1][0].arguments[0] = Argument::from(Storage::Output(0)).after(0);
    let error = program.verify().expect_err("part 1 reads what part 0 writes").to_string();
    assert_eq!(error, "step 0, node 'copy': parts 0 and 1 touch the same bytes of Output(0)");
}

#[test]
fn the_text_shows_parts() {
    let text = program(copy(2, 10, 10), &[0, 80]).to_string();
    let expected = "  at once\n    part 0\n      call copy(input0, output0) ; copy\n    part 1\n      \
                    call copy(input0, output0+80) ; copy\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn steps_name_each_node_once() {
    let call = |node: &str| Call { kernel: 0, arguments: vec![], in_place: vec![], node: node.into() };
    let step = Step { parts: vec![vec![call("a"), call("b"), call("a")], vec![call("a"), call("b")]] };
    assert_eq!(step.name(), "a + b");
}
