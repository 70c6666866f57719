//! Programs of others that read what the appliance serves: Python with its DICOM libraries, DCMTK,
//! and the ciphers of OpenSSL and Java.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The root of the repository.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a script of `tests/support/` in the Python that the set-up made; gives the JSON that it
/// prints.
pub fn python(script: &str, arguments: &[&str]) -> Value {
    let interpreter = Path::new(ROOT).join(".venv/bin/python");
    assert!(interpreter.exists(), "there is no .venv yet: run .ci/setup");
    let output = Command::new(interpreter)
        .arg(Path::new(ROOT).join("tests/support").join(script))
        .args(arguments)
        .output()
        .expect("Python starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?} failed:\n{words}");
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// What `dcmdump` reads of a file; a file that it complains of fails the test.
pub fn dcmdump(path: &Path, options: &[&str]) -> String {
    let output = Command::new("dcmdump")
        .arg("--print-all")
        .args(options)
        .arg(path)
        .output()
        .expect("dcmdump starts; .ci/setup installs dcmtk");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dcmdump of {}: {words}", path.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `openssl` prints when it reads `input`; a failure fails the test.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut program = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl starts; .ci/setup installs it");
    // A program that reads only a file closes its input.
    let _ = program.stdin.take().expect("it was piped").write_all(input);
    let output = program.wait_with_output().expect("openssl can be waited for");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {words}");
    output.stdout
}

/// The lines that a Java source of `tests/support/` prints; `None` where no JDK is installed.
pub fn java(source: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let jdk = Command::new("javac").arg("-version").output();
    if !jdk.is_ok_and(|output| output.status.success()) {
        eprintln!("not held against Java: no JDK is installed here");
        return None;
    }
    let output = Command::new("java")
        .arg(Path::new(ROOT).join("tests/support").join(source))
        .args(arguments)
        .output()
        .expect("Java starts where its compiler does");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{source}: {words}");
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    Some(text.lines().map(str::to_owned).collect())
}
