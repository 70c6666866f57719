//! The units of `systemd/`, held to what they say of themselves by systemd's own programs.
//!
//! A service states, in a line of its own, how exposed it may be at most, in tenths of the scale
//! of `systemd-analyze security`: `# exposure: 11` allows 1.1 of 10. Whoever takes a restriction
//! out has to raise the number beside it, or this test fails; a service without the line fails,
//! too. Sockets and timers run nothing: they are only read by `systemd-analyze verify`.
//!
//! No service manager is needed. What the units do when they run is in `machine.rs`.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests; a failed unwrap is a failure")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The line of a service that states its exposure begins so.
const STATEMENT: &str = "# exposure:";

/// What the package installs; here the binary under test stands for it.
const INSTALLED: &str = "/usr/bin/forepost";

/// The kinds of unit that `systemd/` may hold.
const KINDS: [&str; 5] = ["service", "socket", "timer", "target", "path"];

/// The units, in the order of their names.
fn units() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_unit =
        |path: &PathBuf| KINDS.iter().any(|kind| path.extension().is_some_and(|e| e == *kind));
    let mut units: Vec<PathBuf> = entries.filter(is_unit).collect();
    units.sort();
    units
}

fn is_service(unit: &Path) -> bool {
    unit.extension().is_some_and(|ending| ending == "service")
}

/// The exposure that a unit states, in tenths.
fn stated(unit: &Path) -> Option<u32> {
    let text = fs::read_to_string(unit).unwrap();
    let mut statements = text.lines().filter_map(|line| line.strip_prefix(STATEMENT));
    statements.next()?.trim().parse().ok()
}

fn analyze(arguments: &[&str], units: &[&Path]) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .args(units)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("systemd-analyze runs; .ci/setup installs it")
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    texts.concat()
}

/// Judges one service by a threshold, in tenths.
fn security(unit: &Path, threshold: u32) -> Output {
    let threshold = format!("--threshold={threshold}");
    analyze(&["security", "--offline=yes", "--no-pager", &threshold], &[unit])
}

#[test]
fn each_service_is_as_little_exposed_as_it_states() {
    let services: Vec<PathBuf> = units().into_iter().filter(|unit| is_service(unit)).collect();
    assert!(!services.is_empty(), "systemd/ holds services");
    let mut complaints = Vec::new();
    for service in &services {
        let name = service.file_name().unwrap().to_string_lossy();
        let Some(threshold) = stated(service) else {
            complaints.push(format!("{name} has no line `{STATEMENT} NUMBER`, in tenths"));
            continue;
        };
        let output = security(service, threshold);
        if !output.status.success() {
            complaints.push(format!("{name} is above {threshold} tenths:\n{}", said(&output)));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // The program does refuse: nothing has no exposure at all.
    assert!(!security(&services[0], 0).status.success());
}

/// All in one folder, as the package puts them, so that a socket finds its service.
#[test]
fn systemd_finds_nothing_wrong_with_a_unit() {
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_forepost");
    let copies: Vec<PathBuf> = units()
        .iter()
        .map(|unit| {
            let copy = folder.path().join(unit.file_name().unwrap());
            let text = fs::read_to_string(unit).unwrap().replace(INSTALLED, binary);
            fs::write(&copy, text).unwrap();
            copy
        })
        .collect();
    let copies: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    let verify = ["verify", "--man=no", "--recursive-errors=no"];
    let output = analyze(&verify, &copies);
    assert!(output.status.success(), "{}", said(&output));
    // An unknown key is only a warning to systemd, which then runs without it. What the machine's
    // own units are warned of is not ours.
    let ours = |words: &str| {
        let lines = words.lines().filter(|line| line.contains("forepost"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ours(&said(&output)), [] as [String; 0]);
    let wrong = folder.path().join("forepost-wrong.service");
    fs::write(&wrong, "[Service]\nExecStart=/bin/true\nProtectSystm=strict\n").unwrap();
    let complaints = ours(&said(&analyze(&verify, &[&wrong])));
    assert!(complaints.iter().any(|line| line.contains("ProtectSystm")), "{complaints:?}");
}
