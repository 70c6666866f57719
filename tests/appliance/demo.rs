//! The newcomer's first command.

use std::process::Command;

#[test]
fn the_demo_shows_the_whole_chain_twice_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    for run in ["first", "second"] {
        let output = Command::new(env!("CARGO_BIN_EXE_forepost"))
            .args(["demo", "--once", "--data"])
            .arg(&data)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the {run} run failed\n{said}\n{failed}");
        assert!(said.contains("412 of 412 instances here"), "{said}");
    }
}
