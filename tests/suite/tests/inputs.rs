//! What networks are fed with by name on the command line: tensors, archives of tensors, photographs.

use std::path::Path;
use std::process::{Command, Output};

use avocet::data::picture::Picture;
use avocet::data::prepare::{Preparation, prepare};
use avocet::data::{npy, npz};
use avocet::{LoadOptions, Model, Options, Tensor};
use avocet_tests::compare::assert_close;
use avocet_tests::files::{avocet_program, capture, run, temporary_folder, workspace_root};
use avocet_tests::oracle::{OperatorCase, oracle};

fn avocet(arguments: &[&str]) -> Output {
    let mut command = Command::new(avocet_program());
    capture(command.args(arguments).current_dir(workspace_root())).unwrap_or_else(|e| panic!("{e}"))
}

/// What a call printed that was done.
fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// That a call is refused: exit code 2 and one line.
fn refused(arguments: &[&str], expected: &str) {
    let output = avocet(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(expected) && text.lines().count() == 1, "{text}\nexpected: {expected}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// An operator case of two inputs.
fn two_inputs() -> OperatorCase {
    let cases = oracle().operator_cases().unwrap();
    let two = |case: &OperatorCase| {
        let types = case.files.run().unwrap().inputs.into_iter().map(|t| t.tensor.ty()).collect::<Vec<_>>();
        case.operators == ["Sub"] && types.len() == 2 && types[0] != types[1]
    };
    cases.into_iter().find(two).expect("a case of two inputs of different types")
}

#[test]
fn tensors_by_name_from_files_and_archives() {
    let case = two_inputs();
    let (model, expected) = (case.files.model(), case.files.run().unwrap());
    let folder = temporary_folder();
    let file = |name: &str| folder.path().join(name);
    let [a, b] = [0, 1].map(|i| expected.inputs[i].name.clone());
    for (i, input) in expected.inputs.iter().enumerate() {
        npy::write(&file(&format!("{i}.npy")), &input.tensor).unwrap();
    }
    let check = |path: &Path| {
        let got = npy::read(path).unwrap();
        assert_close(&case.name, &got, &expected.outputs[0].tensor, 1e-6);
    };
    // In the other order than the model's; the only output needs no name.
    let (second, first) = (format!("{b}={}", text(&file("1.npy"))), format!("{a}={}", text(&file("0.npy"))));
    let output = file("out.npy");
    let arguments = ["run", text(&model), "--runs", "1", "--input", &second, "--input", &first, "--output"];
    done(&avocet(&[&arguments[..], &[text(&output)]].concat()));
    check(&output);

    let named: Vec<(&str, &Tensor)> = expected.inputs.iter().map(|t| (t.name.as_str(), &t.tensor)).collect();
    npz::write(&file("in.npz"), &named).unwrap();
    // NumPy reads what avocet wrote, and avocet what NumPy compressed.
    let mut python = oracle().script("repack.py");
    run(python.args([file("in.npz"), file("packed.npz")])).unwrap();
    let (archive, outputs) = (file("packed.npz"), file("out.npz"));
    let arguments =
        ["run", text(&model), "--runs", "1", "--inputs", text(&archive), "--outputs", text(&outputs)];
    done(&avocet(&arguments));
    let port = Model::open(&model, &LoadOptions::default()).unwrap().outputs().remove(0);
    let mut got = npz::Archive::open(&outputs).unwrap();
    assert_eq!(got.names(), [port.name.as_str()]);
    npy::write(&output, &got.read_as(0, &port.ty).unwrap().expect("of the output's type")).unwrap();
    check(&output);

    let run = ["run", text(&model)];
    let with = |more: &[&str], expected: &str| refused(&[&run[..], more].concat(), expected);
    let list = format!("the model's inputs are '{a}' f32");
    with(&["--input", text(&file("0.npy"))], &format!("which is meant has to be said by NAME=; {list}"));
    with(&["--input", &first], &format!("'{b}' is not given; {list}"));
    with(&["--input", &first, "--input", &first], &format!("'{a}' is given twice; {list}"));
    with(&["--input", &first, "--inputs", text(&archive)], &format!("'{a}' is given twice; {list}"));
    with(&["--input", &format!("c={}", text(&file("0.npy")))], &format!("there is no 'c'; {list}"));
    let crossed = format!("{b}={}", text(&file("0.npy")));
    with(&["--input", &crossed], &format!("was given for '{b}'; {list}"));
    with(&["--inputs", text(&file("0.npy"))], "0.npy: ");
    with(&["--input", &format!("{a}={}", text(&archive))], "packed.npz: not an .npy array");
    with(
        &["--input", &first, "--input", &second, "--output", "d=x.npy"],
        "there is no 'd'; the model's outputs are '",
    );
    with(&["--image", &format!("{a}={}", text(&file("0.npy")))], "0.npy: neither a JPEG nor a PNG picture");
}

#[test]
fn photographs_are_named_as_humans_name_them() {
    let oracle = oracle();
    let weights = oracle.trained_network("efficientnet_lite0.pth").unwrap();
    let photographs = oracle.photographs().unwrap();
    let names = avocet::data::labels::imagenet();
    let pictures = oracle.pictures("efficientnet_lite0").unwrap();
    assert!(pictures.iter().filter(|picture| picture.class.is_some()).count() >= 3);
    for picture in &pictures {
        let Some(class) = picture.class else { continue };
        for ending in ["png", "jpg"] {
            let image = photographs.join(format!("{}.{ending}", picture.name));
            // As Lite0 was trained: (x - 127) / 128, the whole of the central square.
            let output = avocet(&[
                "run",
                "examples/efficientnet_lite0.toml",
                "--weights-file",
                text(&weights),
                "--image",
                text(&image),
                "--resize",
                "crop=224",
                "--mean",
                "0.498",
                "--std",
                "0.502",
                "--labels",
                "imagenet",
                "--runs",
                "1",
            ]);
            let printed = done(&output);
            let best = printed.lines().find(|line| line.starts_with("top 1 ")).expect("the best class");
            assert!(
                best.ends_with(&format!(" {class} {}", names[class])),
                "{}.{ending}: {printed}",
                picture.name
            );
            assert!(printed.contains("of output 'output', logits, by softmax"), "{printed}");
        }
    }
    let image = photographs.join("chelsea.png");
    let list = photographs.join("list.txt");
    std::fs::write(&list, "cat\ndog\n").expect("writable");
    let run = ["run", "examples/mobilenet_v2.toml", "--image", text(&image)];
    refused(
        &[&run[..], &["--labels", text(&list)]].concat(),
        "no output has a score for each of 2 classes; the model's outputs are 'output' f32[1,1000]",
    );
    refused(&[&run[..], &["--image", text(&image)]].concat(), "input 'input': 2 pictures for a batch of 1");
}

#[test]
fn photographs_become_what_pillow_makes_of_them() {
    let photographs = oracle().photographs().unwrap();
    for picture in oracle().pictures("efficientnet_lite0").unwrap() {
        let file = |ending: &str| photographs.join(format!("{}.{ending}", picture.name));
        let expected = npy::read(&file("npy")).unwrap();
        // Pillow rounds to bytes after each direction; a JPEG of quality 95 differs by little on average.
        for (ending, most, mean) in [("png", 0.04, 0.01), ("jpg", 1.5, 0.06)] {
            let photograph = Picture::read(&file(ending)).unwrap();
            let got = prepare(&[photograph], &Preparation::default(), &expected.ty()).unwrap();
            let pairs = got.as_f32().expect("f32").iter().zip(expected.as_f32().expect("f32"));
            let differences: Vec<f32> = pairs.map(|(g, e)| (g - e).abs()).collect();
            let largest = differences.iter().copied().fold(0.0, f32::max);
            let average = differences.iter().sum::<f32>() / differences.len() as f32;
            assert!(largest < most && average < mean, "{}.{ending}: {largest} {average}", picture.name);
        }
    }
}

/// Whatever is done to a file, it is read or refused.
#[test]
fn damaged_photographs_are_no_panic() {
    let photographs = oracle().photographs().unwrap();
    let mut state = 1u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (name, times) in [("coffee_small.jpg", 2000), ("chelsea.jpg", 100), ("chelsea.png", 100)] {
        let whole = std::fs::read(photographs.join(name)).expect("there");
        assert!(Picture::decode(whole.clone()).is_ok(), "{name}");
        for time in 0..times {
            let mut bytes = whole.clone();
            // Half of the changes in the headers, which decide more than pixels do.
            let part = if time % 2 == 0 { bytes.len().min(700) } else { bytes.len() };
            for _ in 0..1 + next(3) {
                bytes[next(part)] = next(256) as u8;
            }
            if time % 5 == 0 {
                bytes.truncate(next(whole.len()));
            }
            let _ = Picture::decode(bytes);
        }
    }
}

/// The same network with preprocessing compiled in and without, on a photograph of bytes.
#[test]
fn preprocessing_compiled_in_sees_the_same() {
    let photograph = Picture::read(&oracle().photographs().unwrap().join("coffee.png")).unwrap();
    let size = [photograph.height(), photograph.width()];
    let plain =
        Model::open(workspace_root().join("examples/mobilenet_v3_small.toml"), &LoadOptions::default());
    let plain = plain.unwrap_or_else(|e| panic!("{e}"));
    let how = format!("{}x{},resize=bilinear,mean=0.5/0.4/0.3,std=0.25", size[0], size[1]);
    let model = plain.with_preprocessing(&how.parse().unwrap()).unwrap_or_else(|e| panic!("{e}"));
    let ty = model.inputs()[0].ty.clone();
    assert_eq!(ty.to_string(), format!("u8[1,{},{},3]", size[0], size[1]));
    let exact = Preparation { resizing: avocet::data::prepare::Resizing::Exact, ..Preparation::default() };
    let inputs = [prepare(&[photograph], &exact, &ty).unwrap()];
    // Its own reference, in double precision, is the preprocessing outside; the compiled network gets its result.
    let mut graph = avocet::Graph::new("mirror");
    let image = graph.add("input", avocet_ir::op::Op::Input(plain.inputs()[0].ty.clone()), &[]).unwrap();
    let same = graph.add("same", avocet_ir::op::Op::Identity, &[image]).unwrap();
    graph.add_output("same", same);
    let outside = Model::from_graph(graph).unwrap().with_preprocessing(&how.parse().unwrap()).unwrap();
    let prepared = outside.reference(&inputs).unwrap_or_else(|e| panic!("{e}"));
    let run = |model: &Model, inputs: &[Tensor]| {
        let artifact =
            model.compile(&avocet::Target::host(), &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        artifact
            .jit()
            .unwrap_or_else(|e| panic!("{e}"))
            .run(inputs)
            .unwrap_or_else(|e| panic!("{e}"))
            .remove(0)
    };
    assert_close("preprocessing compiled in", &run(&model, &inputs), &run(&plain, &prepared), 1e-4);
}

/// The same by the command line: the picture goes in as it is, and what is written says so.
#[test]
fn preprocessing_is_an_option_of_every_command() {
    let image = oracle().photographs().unwrap().join("rocket.png");
    let model = "examples/mobilenet_v3_small.toml";
    let arguments = ["--preprocess", "input=427x640,crop=427x427,resize=bilinear"];
    let run = ["run", model, "--image", text(&image), "--verify", "--runs", "1", "--labels", "imagenet"];
    let printed = done(&avocet(&[&run[..], &arguments].concat()));
    assert!(printed.contains("verify        ok") && printed.contains("top 5"), "{printed}");
    let folder = temporary_folder();
    let compile = ["compile", model, "-o", text(folder.path())];
    done(&avocet(&[&compile[..], &arguments].concat()));
    let header = std::fs::read_to_string(folder.path().join("mobilenet_v3_small.h")).expect("there");
    assert!(header.contains("{\"input\", AVOCET_U8, 4, shape_0, 819840, 819840}"), "{header}");
    let inspect = |spec| avocet(&["inspect", model, "--preprocess", spec]);
    for (spec, expected) in [
        ("8x8,resize=cubic", "'resize=cubic' is not known; expected [NAME=]HEIGHTxWIDTH"),
        ("image=8x8", "there is no 'image'; the model's inputs are 'input' f32[1,3,224,224]"),
        ("8x8x4", "a picture of 4 channels for an input of 3"),
    ] {
        let output = inspect(spec);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(expected), "{told}");
    }
}
