//! Every operator case against ONNX Runtime: imported, compiled, run in this process, compared.

use std::fmt::Write as _;

use avocet::{LoadOptions, Model, Options, Target};
use avocet_tests::compare::compare;
use avocet_tests::oracle::{OperatorCase, oracle};

/// Relative to the expected output's scale, as the issue of avocet's foundation has it.
const TOLERANCE: f64 = 1e-4;

fn run(case: &OperatorCase, target: &Target) -> Result<(), String> {
    let model =
        Model::open(case.files.model(), &LoadOptions::default()).map_err(|e| format!("refused: {e}"))?;
    let artifact = model.compile(target, &Options { verify: true, ..Options::default() });
    let compiled = artifact.map_err(|e| format!("refused: {e}"))?.jit().map_err(|e| e.to_string())?;
    let expected = case.files.run().map_err(|e| e.to_string())?;
    let inputs: Vec<_> = expected.inputs.iter().map(|t| t.tensor.clone()).collect();
    let outputs = compiled.run(&inputs).map_err(|e| e.to_string())?;
    for (got, expected) in outputs.iter().zip(&expected.outputs) {
        compare(got, &expected.tensor, TOLERANCE).map_err(|e| format!("'{}': {e}", expected.name))?;
    }
    Ok(())
}

#[test]
fn operators_agree_with_onnx_runtime() {
    let cases = oracle().operator_cases().unwrap();
    assert!(cases.len() > 400, "only {} cases", cases.len());
    let target = Target::host();
    let (mut report, mut failed) = (String::new(), 0);
    for case in &cases {
        if let Err(problem) = run(case, &target) {
            failed += 1;
            let _ = writeln!(report, "{} (opset {}): {problem}", case.name, case.opset);
        }
    }
    assert_eq!(failed, 0, "of {} cases:\n{report}", cases.len());
}
