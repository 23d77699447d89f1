use super::*;

/// `y = max(0, x)` over `length` elements by vectors of 4.
fn relu(length: usize) -> Kernel {
    let mut b = KernelBuilder::new("relu");
    let x = b.buffer("x", Element::F32, length, Access::Read);
    let y = b.buffer("y", Element::F32, length, Access::Write);
    b.blocks(length, 4, |b, index, valid| {
        let value = b.load_partial(4, valid, x, index.clone());
        let zero = b.f32(4, 0.0);
        let value = b.max(zero, value);
        b.store_partial(y, index, value, valid);
    });
    b.finish()
}

#[test]
fn text_form() {
    let kernel = relu(14);
    kernel.verify().expect("valid");
    insta::assert_snapshot!(kernel.to_string(), @r"
    kernel relu(x: f32[14] read, y: f32[14] write) {
      for i0 in 0..3 {
        %0: f32x4 = load x[4*i0]
        %1: f32x4 = const 0.0
        %2: f32x4 = max %1, %0
        store y[4*i0] = %2
      }
      %3: f32x4 = load.2 x[12]
      %4: f32x4 = const 0.0
      %5: f32x4 = max %4, %3
      store.2 y[12] = %5
    }
    ");
}

#[test]
fn loops_carry_values() {
    let mut b = KernelBuilder::new("sum");
    let x = b.buffer("x", Element::F32, 32, Access::Read);
    let y = b.buffer("y", Element::F32, 1, Access::Write);
    let zero = b.f32(4, 0.0);
    let sums = b.repeat_carrying(8, &[zero], |b, i, carried| {
        let value = b.load(4, x, i * 4);
        vec![b.add(carried[0], value)]
    });
    let sum = b.reduce(Horizontal::Add, sums[0]);
    b.store(y, 0usize, sum);
    let kernel = b.finish();
    kernel.verify().expect("valid");
    insta::assert_snapshot!(kernel.to_string(), @r"
    kernel sum(x: f32[32] read, y: f32[1] write) {
      %0: f32x4 = const 0.0
      for i0 in 0..8 carrying %1 = %0 {
        %2: f32x4 = load x[4*i0]
        %3: f32x4 = add %1, %2
        next %3
      } giving %4
      %5: f32 = reduce_add %4
      store y[0] = %5
    }
    ");
}

#[test]
fn accesses_out_of_bounds_are_refused() {
    let mut kernel = relu(16);
    kernel.buffers[0].length = 15;
    let error = kernel.verify().expect_err("the last load ends at 16");
    assert_eq!(error.to_string(), "kernel 'relu': %0: x[4*i0] reaches 0 to 16 of 15 elements");
    kernel.buffers[0].length = 16;
    kernel.buffers[1].access = Access::Read;
    let error = kernel.verify().expect_err("a store to a read-only buffer");
    assert_eq!(error.problem, "a store to y[4*i0], which is read-only");
}

#[test]
fn scopes_and_types_are_checked() {
    let mut b = KernelBuilder::new("scopes");
    let x = b.buffer("x", Element::F32, 32, Access::Write);
    let mut inner = None;
    b.repeat(2, |b, i| inner = Some(b.load(4, x, i * 4)));
    b.store(x, 0usize, inner.expect("the body ran"));
    assert_eq!(b.finish().verify().expect_err("left its loop").problem, "%0 is used where it is not defined");

    let mut b = KernelBuilder::new("types");
    let (a, c) = (b.f32(4, 1.0), b.i32(4, 1));
    b.add(a, c);
    assert_eq!(b.finish().verify().expect_err("mixed").problem, "%2: %1 is i32x4, not f32x4");
}

#[test]
fn affine_text_and_ranges() {
    let index = Affine::from(Variable(0)) * 4 + Affine::from(Variable(2)) + 7usize - 9;
    assert_eq!(index.to_string(), "4*i0 + i2 - 2");
    assert_eq!(index.range(|_| 3), (-2, 8));
    let zero = 0;
    assert_eq!((index * zero).to_string(), "0");
}
