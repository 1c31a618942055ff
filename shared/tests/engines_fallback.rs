//! Without ONNX Runtime, or with a library that is none, rten runs what Famam's own engine does not, and says why.

mod model;

use famam_shared::bundle::Bundle;
use famam_shared::engine::{self, Choice, EngineError};
use famam_shared::manifest::Precision;
use model::{relative, small, weights};

/// Set in the child: what its `FAMAM_ONNXRUNTIME` names.
const CHILD: &str = "FAMAM_TEST_CHILD";

#[test]
fn a_missing_or_broken_library_leaves_rten() {
    if let Some(case) = std::env::var_os(CHILD) {
        return child(case == "broken");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("libonnxruntime.so");
    std::fs::write(&broken, b"not a library").expect("a file");
    // A process starts ONNX Runtime once, so each case has its own.
    for (case, path) in [
        ("missing", folder.path().join("nowhere")),
        ("broken", broken),
    ] {
        let binary = std::env::current_exe().expect("this binary");
        let mut command = std::process::Command::new(binary);
        command
            .arg("--nocapture")
            .env(CHILD, case)
            .env("FAMAM_ONNXRUNTIME", path);
        let output = command.output().expect("a child process");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case}: {errors}");
    }
}

fn child(broken: bool) {
    let t = small(relative());
    let file = model::file(&t, &weights(&t, 1), Precision::Int8, 64);
    let bundle = Bundle::read(&file).expect("a bundle");
    for _ in 0..2 {
        let error = engine::load(&bundle, 1, Choice::Ort)
            .err()
            .expect("no ONNX Runtime");
        let right = match error {
            EngineError::Library { .. } => broken,
            EngineError::Missing { .. } => !broken,
            _ => false,
        };
        assert!(right, "{error}");
        let engine = engine::load(&bundle, 1, Choice::Auto).expect("rten");
        assert_eq!(engine.name(), "rten 0.27.0");
        let why = engine.fallback().expect("a reason");
        assert!(why.contains("FAMAM_ONNXRUNTIME") || broken, "{why}");
        engine
            .open(1, 8)
            .expect("a stream")
            .run(&[&[1, 2]])
            .expect("logits");
    }
}
