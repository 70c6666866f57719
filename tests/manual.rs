//! The two operating manuals, held against each other and against the program: the same headings
//! and commands in both languages, and no verb, key, metric or field of the journal that the
//! program does not have, or that they do not tell of.
//!
//! Start at the tests; the lines that the program logs are read from its source by `logged`.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests; a failed unwrap is a failure")]

#[path = "support/commands.rs"]
mod commands;
#[path = "support/manual.rs"]
mod manual;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use manual::{BOTH, anchors, headings, path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Levels by which the program logs.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

fn read(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manuals() -> [(&'static str, String); 2] {
    BOTH.map(|name| (name, read(&path(name))))
}

/// The blocks of code: the word behind their fence, and their lines without remarks.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(kind) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                all.push((kind.to_owned(), Vec::new()));
            }
        } else if inside {
            let plain = line.split("  #").next().unwrap_or(line).trim_end();
            all.last_mut().unwrap().1.push(plain.to_owned());
        }
    }
    all
}

/// The part of a manual below a heading, to the next heading.
fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let begin = text.find(&format!("# {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let rest = &text[begin + 2..];
    let end = ["\n# ", "\n## ", "\n### "].iter().filter_map(|next| rest.find(next)).min();
    &rest[..end.unwrap_or(rest.len())]
}

/// What stands in back quotes in the first cell of each row.
fn named(table: &str) -> BTreeSet<String> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

fn code() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["src", "cache/src"] {
        sources(&Path::new(ROOT).join(folder), &mut found);
    }
    found
}

/// A line that the program may log: its words as in the source, and its fields.
struct Line {
    words: String,
    fields: BTreeSet<String>,
}

/// Every line with fields, from the macros of `log` in the source.
fn logged() -> Vec<Line> {
    let mut lines = Vec::new();
    for (_, text) in code() {
        for level in LEVELS {
            for (at, _) in text.match_indices(&format!("{level}!(")) {
                let before = text[..at].strip_suffix("log::").unwrap_or(&text[..at]);
                if before.ends_with(|one: char| one.is_alphanumeric() || "_:!".contains(one)) {
                    continue;
                }
                lines.extend(line(&text[at + level.len() + 2..]));
            }
        }
    }
    lines
}

/// The fields before the first semicolon, and the words behind it; `None` where no fields are.
fn line(rest: &str) -> Option<Line> {
    let (mut depth, mut quoted, mut begin) = (0usize, false, 0);
    let mut fields = BTreeSet::new();
    for (at, one) in rest.char_indices() {
        match one {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => return None,
            ')' | ']' | '}' => depth -= 1,
            ',' | ';' if depth == 0 => {
                let field = rest[begin..at].trim();
                let is_name = |one: char| one.is_ascii_alphanumeric() || one == '_';
                let name = &field[..field.find(|one| !is_name(one)).unwrap_or(field.len())];
                if !name.is_empty() {
                    fields.insert(name.to_ascii_uppercase());
                }
                begin = at + 1;
                if one == ';' {
                    let words = rest[begin..].trim_start().strip_prefix('"')?;
                    let words = words[..words.find('"')?].to_owned();
                    return Some(Line { words, fields });
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn both_languages_have_the_same_headings_and_commands() {
    let [(_, chinese), (_, english)] = manuals();
    let depths = |text: &str| headings(text).iter().map(|(depth, _)| *depth).collect::<Vec<_>>();
    assert_eq!(depths(&chinese), depths(&english));
    for (zh, en) in blocks(&chinese).iter().zip(blocks(&english)) {
        assert_eq!(*zh, en);
    }
    assert_eq!(blocks(&chinese).len(), blocks(&english).len());
    let rows = |text: &str| text.lines().filter(|line| line.trim().starts_with('|')).count();
    assert_eq!(rows(&chinese), rows(&english), "a row stands in one language only");
}

#[test]
fn every_link_within_a_manual_leads_to_a_heading() {
    for (name, text) in manuals() {
        let known = anchors(&text);
        for (at, _) in text.match_indices("](#") {
            let anchor = text[at + 3..].split(')').next().unwrap();
            assert!(known.contains(anchor), "{name}: nothing is called #{anchor}");
        }
    }
}

#[test]
fn every_command_of_ours_in_a_manual_exists() {
    for (name, text) in manuals() {
        // A line that goes on, and a name that a verb takes, are read as they stand.
        let named = commands::named(&text);
        assert!(named.len() > 60, "{name}: the commands are found");
        let complaints = commands::complaints(&named);
        assert!(complaints.is_empty(), "{name}:\n{}", complaints.join("\n"));
    }
}

#[test]
fn every_key_of_the_configuration_that_a_manual_names_is_known() {
    let config: String = code()
        .into_iter()
        .filter(|(path, _)| {
            path.to_string_lossy().contains("config") || path.ends_with("options.rs")
        })
        .map(|(_, text)| text)
        .collect();
    for ((name, text), heading) in manuals().iter().zip(["配置项", "The configuration"]) {
        let keys: BTreeSet<String> = named(part(text, heading))
            .iter()
            .flat_map(|key| {
                key.trim_matches(['[', ']']).split('.').map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        assert!(keys.len() > 100, "{name}: the keys are found, {}", keys.len());
        let unknown: Vec<_> =
            keys.iter().filter(|key| !config.contains(&format!("\"{key}\""))).collect();
        assert!(unknown.is_empty(), "{name}: no key is called {unknown:?}");
    }
}

#[test]
fn every_key_of_the_sample_configuration_stands_in_both_manuals() {
    let sample = read("packaging/forepost.toml.sample");
    let keys: BTreeSet<&str> = sample
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once(" = "))
        .map(|(key, _)| key)
        .filter(|key| key.chars().all(|one| one.is_ascii_lowercase() || one == '_'))
        .collect();
    assert!(keys.len() > 80, "the keys are found, {}", keys.len());
    for ((name, text), heading) in manuals().iter().zip(["配置项", "The configuration"]) {
        let told = part(text, heading);
        let is_told = |key: &&str| {
            told.split('`').skip(1).step_by(2).any(|code| {
                code.split(|one: char| !one.is_ascii_lowercase() && one != '_')
                    .any(|one| one == *key)
            })
        };
        let missing: Vec<_> = keys.iter().filter(|key| !is_told(key)).collect();
        assert!(missing.is_empty(), "{name} does not tell of {missing:?}");
    }
}

#[test]
fn every_metric_stands_in_both_manuals_and_no_other() {
    let counted: BTreeSet<String> =
        forepost::metrics::ALL.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    for ((name, text), heading) in manuals().iter().zip(["指标一览", "The metrics"]) {
        let told = named(part(text, heading));
        let differ: Vec<_> = counted.symmetric_difference(&told).collect();
        assert!(differ.is_empty(), "{name} and src/metrics.rs differ in {differ:?}");
    }
}

#[test]
fn every_field_of_the_journal_stands_in_both_manuals_and_no_other() {
    let used: BTreeSet<String> = logged().into_iter().flat_map(|line| line.fields).collect();
    assert!(used.contains("INTERFACE") && used.contains("LEAD_MS"), "fields are found: {used:?}");
    for ((name, text), heading) in manuals().iter().zip(["日志字段", "Journal fields"]) {
        let told = named(part(text, heading));
        let differ: Vec<_> = used.symmetric_difference(&told).collect();
        assert!(differ.is_empty(), "{name} and the lines that are logged differ in {differ:?}");
    }
}

#[test]
fn every_line_of_the_journal_that_a_manual_tells_of_is_logged_with_these_fields() {
    let logged = logged();
    for ((name, text), heading) in manuals().iter().zip(["日志字段", "Journal fields"]) {
        let mut told = BTreeMap::new();
        for row in part(text, heading).lines().filter(|row| row.starts_with("| ")) {
            let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
            let fields = cells.get(2).filter(|cell| cells.len() == 4 && cell.contains('`'));
            if let Some(cell) = fields
                && !cells[0].contains('`')
            {
                let fields: BTreeSet<String> =
                    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
                told.insert(cells[0].to_owned(), fields);
            }
        }
        assert!(told.len() > 40, "{name}: the lines are found, {}", told.len());
        for (words, fields) in told {
            let known =
                logged.iter().any(|one| one.words.starts_with(&words) && one.fields == fields);
            assert!(known, "{name}: nothing is logged as {words:?} with {fields:?}");
        }
    }
}

/// What `journalctl` prints of the journal in this folder.
fn journalctl(folder: &Path, arguments: &[&str]) -> String {
    let mut program = Command::new("journalctl");
    program.arg("--quiet").arg("--directory").arg(folder.join("journal")).args(arguments);
    let output = program.output().expect("journalctl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_real_journal_finds_what_is_logged_by_the_fields_that_are_documented() {
    const CONFIG: &str = "data = \"DATA\"\n[[hospital]]\ncode = \"H45010000001\"\n\
        [zone.hospital]\nlisten = \"127.0.0.1:0\"\n\
        [[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n";
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    fs::write(folder.path().join("forepost.toml"), CONFIG.replace("DATA", &data)).unwrap();
    let script = Path::new(ROOT).join("tests/support/journal.sh");
    let mut program = Command::new("unshare");
    program.args(["--mount", "--propagation", "private"]).arg(script);
    let output = program.arg(env!("CARGO_BIN_EXE_forepost")).arg(folder.path()).output();
    let has_journald = Path::new("/lib/systemd/systemd-journald").exists();
    let output = output.expect("unshare starts; .ci/setup brings util-linux");
    let words = String::from_utf8_lossy(&output.stderr);
    let may_not = output.status.code() == Some(77) || words.starts_with("unshare:");
    if !has_journald || may_not {
        println!("skipped: no journal of its own (needs root, systemd's journald): {words}");
        return;
    }
    assert!(output.status.success(), "{words}");
    let seen = |arguments: &[&str]| journalctl(folder.path(), arguments);
    let line = seen(&["INTERFACE=ic-register-push", "MESSAGE=answered", "-o", "json"]);
    let line: serde_json::Value = serde_json::from_str(line.trim()).expect("there is one line");
    assert_eq!(
        (&line["CODE"], &line["CALLER"], &line["PRIORITY"]),
        (&"400".into(), &"his".into(), &"5".into())
    );
    let id = line["REQUEST_ID"].as_str().expect("a request has an id");
    assert_eq!(seen(&[&format!("REQUEST_ID={id}"), "-o", "cat"]).trim(), "answered");
    let refused = seen(&["-p", "warning", "INTERFACE=ic-register-push", "-o", "cat"]);
    assert!(refused.starts_with("refused: "), "{refused}");
    assert_eq!(seen(&["-F", "INTERFACE"]).trim(), "ic-register-push");
    let fields = seen(&["--fields"]);
    let told = named(part(&read(&path(BOTH[1])), "Journal fields"));
    let known = fields.lines().filter(|one| told.contains(*one)).count();
    assert!(known >= 8, "of the documented fields are there:\n{fields}");
}
