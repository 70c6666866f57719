//! The pages and the completions that the binary writes of itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::packages::BINARY;

fn written() -> TempDir {
    let folder = TempDir::new().unwrap();
    let into = folder.path().to_str().unwrap();
    let status = Command::new(BINARY).args(["manual", "--into", into]).status().unwrap();
    assert!(status.success());
    folder
}

/// The verbs of `forepost --help`.
fn verbs() -> BTreeSet<String> {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_verb_has_its_page_and_the_page_of_the_program_names_it() {
    let folder = written();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let verbs = verbs();
    assert!(verbs.contains("serve") && !verbs.contains("manual"), "{verbs:?}");
    let program = read("forepost.1").replace('\\', "");
    for verb in &verbs {
        assert!(program.contains(&format!("forepost-{verb}(1)")), "{verb} in\n{program}");
        assert!(read(&format!("forepost-{verb}.1")).contains(".SH SYNOPSIS"));
    }
    let pages = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "1"));
    assert_eq!(pages.count(), verbs.len() + 1, "a page for what --help does not name");
    let queue = read("forepost-queue.1").replace('\\', "");
    assert!(queue.contains(".SH \"FOREPOST QUEUE WRITE-OFF\""), "{queue}");
    assert!(queue.contains("--yes"), "{queue}");
}

/// groff says what it does not understand of a page.
#[test]
fn man_reads_the_pages_without_a_complaint() {
    let folder = written();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "1") {
            continue;
        }
        let output = Command::new("man")
            .args(["--warnings", "--local-file", "--encoding=UTF-8"])
            .arg(&path)
            .env("MANWIDTH", "100")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("man starts; .ci/setup installs man-db");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
        assert!(String::from_utf8_lossy(&output.stdout).contains("SYNOPSIS"));
    }
}

#[test]
fn the_completions_know_the_verbs_and_bash_reads_its_own() {
    let folder = written();
    for name in ["forepost.bash", "_forepost", "forepost.fish"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        for verb in verbs() {
            assert!(text.contains(&verb), "{name} does not know {verb}");
        }
    }
    let offered = "source $0; COMP_WORDS=(forepost queue write); COMP_CWORD=2; \
                   _forepost forepost write queue; printf '%s' \"${COMPREPLY[*]}\"";
    let script: &Path = &folder.path().join("forepost.bash");
    let output = Command::new("bash").args(["-c", offered]).arg(script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "write-off", "{said}");
}
