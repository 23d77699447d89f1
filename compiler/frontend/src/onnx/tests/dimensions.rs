//! Sizes of symbolic dimensions.

use super::*;

fn model() -> Builder {
    Builder::new(13)
        .symbolic("x", &["batch", "", "height"])
        .input("z", &[-1, 3, 0])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y")
}

fn import(dims: &[(&str, usize)]) -> Result<Graph, OnnxError> {
    let dims = dims.iter().map(|&(name, size)| (name.to_string(), size)).collect();
    model().import_with(&Options { dims })
}

#[test]
fn all_that_are_open_are_told_at_once() {
    assert_eq!(
        model().refused(),
        "sizes of dimensions:
  dimension 1 of input 'x' has no fixed size; bind it with --dim x.1=SIZE
  dimension 2 of input 'x' has no fixed size; bind it with --dim height=SIZE"
    );
}

#[test]
fn names_and_places_bind_and_the_batch_is_one() {
    let graph = import(&[("height", 5), ("x.1", 2), ("z.2", 4)]).expect("all bound");
    let dims: Vec<&[usize]> = graph.input_nodes().iter().map(|&id| graph.ty(id.into()).dims()).collect();
    assert_eq!(dims, [&[1, 2, 5][..], &[1, 3, 4]]);
    // A size of zero is one, but another may be given in its place.
    let graph = import(&[("height", 5), ("x.1", 2)]).expect("all bound");
    assert_eq!(graph.ty(graph.input_nodes()[1].into()).dims(), [1, 3, 0]);
    let graph = import(&[("batch", 8), ("x.2", 5), ("x.1", 2), ("z.2", 4), ("z.1", 3)]).expect("all bound");
    assert_eq!(graph.ty(graph.input_nodes()[0].into()).dims(), [8, 2, 5]);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let problem = |more: &[(&str, usize)]| {
        let all = [&[("height", 5), ("x.1", 2), ("z.2", 4)], more].concat();
        import(&all).expect_err("a wrong size").to_string()
    };
    assert!(problem(&[("width", 3)]).contains("no dimension of the model is called 'width'"));
    assert!(problem(&[("z.1", 4)]).contains("dimension 1 of input 'z' is 3 in the model"));
    assert!(problem(&[("x.2", 6)]).contains("bound to 5 by its name and to 6 by its place"));
    assert!(problem(&[("batch", 0)]).contains("can't be bound to 0"));
    assert!(problem(&[("batch", usize::MAX)]).contains("more elements than can be addressed"));
}

#[test]
fn a_question_mark_is_no_name() {
    let model =
        Builder::new(13).symbolic("x", &["?", "?", "?"]).node("Relu", &["x"], &["y"], vec![]).output("y");
    let dims = |names: &[(&str, usize)]| names.iter().map(|&(name, size)| (name.to_string(), size)).collect();
    let options = Options { dims: dims(&[("x.1", 3), ("x.2", 4)]) };
    let graph = model.import_with(&options).expect("bound by place");
    assert_eq!(graph.ty(graph.input_nodes()[0].into()).dims(), [1, 3, 4]);
    assert!(model.refused().contains("--dim x.1=SIZE"));
}

#[test]
fn inputs_have_a_shape() {
    let mut model = model();
    model.graph().input[0].r#type = None;
    assert_eq!(model.refused(), "input 'x': it is not a tensor");
    let huge = Builder::new(13).input("x", &[1 << 40, 1 << 40]);
    assert!(huge.refused().contains("more elements"));
}

/// How many boxes are selected only the data tells; the model or whoever compiles it says how many rows there are.
#[test]
fn rows_of_selected_boxes_are_bound() {
    let model = || {
        Builder::new(13)
            .input("boxes", &[1, 9, 4])
            .input("scores", &[1, 2, 9])
            .weight("most", &i64s(&[3]))
            .node("NonMaxSuppression", &["boxes", "scores", "most"], &["chosen"], vec![])
            .output("chosen")
    };
    assert!(model().refused().contains("bind it with --dim chosen.0=ROWS"));
    let bound = |rows| model().import_with(&Options { dims: [("chosen.0".to_string(), rows)].into() });
    let graph = bound(5).expect("bound by place");
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [5, 3]);
    assert!(bound(19).expect_err("more than there are boxes").to_string().contains("19 boxes selected"));
}
