//! Inputs rebuilt from public reports, each with the right answers (`tests/cases`).

use crate::common::run;
use std::path::Path;

#[test]
fn what_people_sent_is_understood() {
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/run.py");
    let out = run("python3", &[runner.to_str().unwrap(), env!("CARGO_BIN_EXE_kptop")]);
    let last = out.lines().last().unwrap_or_default();
    let passed: usize = last.split(' ').next().unwrap().parse().unwrap();
    assert!(passed > 30 && last.ends_with(" 0 failed"), "{out}");
}
