//! What `monitoring/` gives to others' programs, held against those programs and against the
//! service: the alert rules against promtool, the dashboard against the types that Grafana
//! publishes, and both against the list of what is counted.
//!
//! Start at the tests; `Rules` reads the file of rules, which is YAML of one shape, by its lines.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests; a failed unwrap is a failure")]

#[path = "support/commands.rs"]
mod commands;
#[path = "support/manual.rs"]
mod manual;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use forepost::metrics::{ALL, Kind};
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Series that are Prometheus's own.
const OTHERS: [&str; 2] = ["up", "ALERTS"];

/// What somebody must be told of: each has an alert.
const ALARMING: [&str; 25] = [
    "cache_damaged_total",
    "cache_disk_free_bytes",
    "cache_fetches_held_back",
    "connections_refused_total",
    "deliveries_by_state",
    "deliveries_unaccounted",
    "delivery_alarm_level",
    "delivery_attempts_total",
    "delivery_deadline_seconds",
    "delivery_oldest_seconds",
    "dictionary_age_seconds",
    "dictionary_held",
    "fetches_total",
    "ledger_commits_failed_total",
    "ledger_jobs_waiting",
    "notices_total",
    "objects_refused_total",
    "plans_ready_total",
    "prefetch_breaker_opened_total",
    "process_start_time_seconds",
    "requests_overload_total",
    "sm2_texts_total",
    "upstream_requests_total",
    "view_rows_parked",
    "view_whole_poll_age_seconds",
];

/// What an alert says, in this order.
const ANNOTATIONS: [&str; 6] =
    ["summary", "summary_en", "action", "action_en", "manual", "manual_en"];

/// One alert of the file of rules.
#[derive(Default)]
struct Alert {
    name: String,
    expression: String,
    severity: String,
    annotations: Vec<(String, String)>,
}

fn read(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The alerts, by the indentation that the file has.
fn alerts() -> Vec<Alert> {
    let mut all: Vec<Alert> = Vec::new();
    let mut inside = "";
    for line in read("monitoring/forepost.rules.yml").lines() {
        let depth = line.len() - line.trim_start().len();
        let text = line.trim();
        if let Some(name) = text.strip_prefix("- alert: ") {
            all.push(Alert { name: name.to_owned(), ..Alert::default() });
            continue;
        }
        let Some(alert) = all.last_mut() else { continue };
        match (depth, text.split_once(':')) {
            (8, Some(("expr", expression))) => {
                inside = "expr";
                alert.expression.push_str(expression.trim().trim_start_matches('|'));
            }
            (8, Some(("labels", labels))) => {
                let severity = labels.trim().trim_start_matches("{severity: ");
                alert.severity = severity.trim_end_matches('}').to_owned();
            }
            (8, Some(("annotations", _))) => inside = "annotations",
            (8, _) => inside = "",
            (10, Some((key, value))) if inside == "annotations" => {
                let value = value.trim().trim_matches('"').replace("\\\"", "\"");
                alert.annotations.push((key.to_owned(), value));
            }
            (10.., _) if inside == "expr" => {
                alert.expression.push(' ');
                alert.expression.push_str(text);
            }
            _ => {}
        }
    }
    all
}

/// The series that an expression of PromQL names.
fn series(expression: &str) -> BTreeSet<String> {
    const WORDS: [&str; 9] =
        ["and", "or", "unless", "by", "on", "offset", "inf", "ignoring", "bool"];
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == '$';
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|one| !is_part(one)).unwrap_or(rest.len());
        if let Some(close) = closing(first) {
            // Labels, a string, a range: no series is named in them.
            rest = rest[first.len_utf8()..].split_once(close).expect("it is closed").1;
        } else if end == 0 {
            rest = &rest[first.len_utf8()..];
        } else {
            let (word, behind) = rest.split_at(end);
            let grouping = matches!(word, "by" | "on" | "ignoring");
            let behind_it = behind.trim_start();
            let called = behind_it.starts_with('(') || behind_it.starts_with("by (");
            rest = if grouping && called {
                behind.split_once(')').expect("the labels end").1
            } else {
                behind
            };
            let lower = word.to_ascii_lowercase();
            if !called && !first.is_ascii_digit() && !WORDS.contains(&lower.as_str()) {
                names.insert(word.to_owned());
            }
        }
    }
    names
}

fn closing(opening: char) -> Option<char> {
    Some(match opening {
        '{' => '}',
        '[' => ']',
        '"' => '"',
        '\'' => '\'',
        _ => return None,
    })
}

/// The name in the list of what is counted, without what a summary adds; `None` when it is there
/// under no name.
fn counted(name: &str) -> Option<&'static str> {
    let parts = [name.strip_suffix("_sum"), name.strip_suffix("_count")];
    ALL.iter().find_map(|(listed, kind, _)| {
        let is_part = *kind == Kind::Histogram && parts.contains(&Some(listed));
        (*listed == name || is_part).then_some(*listed)
    })
}

fn promtool(arguments: &[&str]) {
    let program = Path::new(ROOT).join(".venv/bin/promtool");
    assert!(program.exists(), "there is no promtool yet: run .ci/setup");
    let folder = Path::new(ROOT).join("monitoring");
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.expect("promtool starts");
    let words = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}",
        String::from_utf8_lossy(&words)
    );
}

fn dashboard() -> Value {
    serde_json::from_str(&read("monitoring/forepost.dashboard.json")).expect("it is JSON")
}

/// Every expression of the dashboard.
fn shown() -> Vec<String> {
    let dashboard = dashboard();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| {
        panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].clone())
    });
    let notes = dashboard["annotations"]["list"].as_array().unwrap();
    let notes = notes.iter().map(|note| note["expr"].clone());
    targets.chain(notes).map(|expression| expression.as_str().unwrap().to_owned()).collect()
}

#[test]
fn promtool_reads_the_rules_and_their_tests_pass() {
    promtool(&["check", "rules", "forepost.rules.yml"]);
    promtool(&["test", "rules", "forepost.rules.test.yml"]);
}

#[test]
fn every_series_that_is_named_is_counted_by_the_service() {
    let rules = alerts().into_iter().map(|alert| (alert.name, alert.expression));
    let dashboard = shown().into_iter().map(|expression| ("the dashboard".to_owned(), expression));
    let mut unknown = Vec::new();
    for (place, expression) in rules.chain(dashboard) {
        let names = series(&expression);
        assert!(!names.is_empty(), "{place} names no series: {expression}");
        for name in names {
            if counted(&name).is_none() && !OTHERS.contains(&name.as_str()) {
                unknown.push(format!("{place}: {name} is not in src/metrics.rs"));
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn everything_that_must_alarm_has_an_alert() {
    let named: BTreeSet<_> = alerts().iter().flat_map(|alert| series(&alert.expression)).collect();
    let named: BTreeSet<_> = named.iter().filter_map(|name| counted(name)).collect();
    let silent: Vec<_> = ALARMING.iter().filter(|name| !named.contains(*name)).collect();
    assert!(silent.is_empty(), "no alert looks at {silent:?}");
}

#[test]
fn every_alert_says_what_to_do_in_both_languages_and_where_to_read_on() {
    let is_chinese = |text: &str| text.chars().any(|one| ('\u{4e00}'..='\u{9fff}').contains(&one));
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    let manuals: BTreeMap<_, _> = manual::BOTH
        .iter()
        .map(|name| (*name, manual::anchors(&read(&manual::path(name)))))
        .collect();
    let [chinese, english] = manual::BOTH.map(|name| read(&manual::path(name)));
    for alert in alerts() {
        let name = &alert.name;
        let mut say = |what: &str| complaints.push(format!("{name}: {what}"));
        if !seen.insert(name.clone()) {
            say("there are two of this name");
        }
        if !["critical", "warning", "info"].contains(&alert.severity.as_str()) {
            say("no severity that the head of the file knows");
        }
        let keys: Vec<_> = alert.annotations.iter().map(|(key, _)| key.as_str()).collect();
        if keys != ANNOTATIONS {
            say("not the six annotations, in their order");
        }
        for (key, text) in &alert.annotations {
            if key.starts_with("manual") {
                let (file, anchor) = text.split_once('#').unwrap_or((text, ""));
                let known = manuals.get(file).is_some_and(|known| known.contains(anchor));
                if !known {
                    say(&format!("no heading of the manual is {text}"));
                }
            } else if is_chinese(text) == key.ends_with("_en") {
                say(&format!("{key} is in the other language"));
            }
        }
        for text in [&chinese, &english] {
            if !text.contains(&format!("`{name}`")) {
                say("a manual does not list it");
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_alert_is_made_to_fire_by_a_unit_test() {
    let tests = read("monitoring/forepost.rules.test.yml");
    let fires = |name: &str| tests.contains(&format!("alertname=\"{name}\",alertstate=\"firing\""));
    let silent: Vec<_> =
        alerts().into_iter().map(|alert| alert.name).filter(|name| !fires(name)).collect();
    assert!(silent.is_empty(), "no unit test makes these fire: {silent:?}");
}

#[test]
fn every_command_that_an_alert_names_exists() {
    let texts: String = alerts()
        .iter()
        .flat_map(|alert| alert.annotations.iter().map(|(_, text)| format!("{text}\n")))
        .collect();
    let commands = commands::named(&texts);
    assert!(commands.len() > 20, "the commands are found: {commands:?}");
    let complaints = commands::complaints(&commands);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_dashboard_is_one_that_grafana_knows() {
    let interpreter = Path::new(ROOT).join(".venv/bin/python");
    assert!(interpreter.exists(), "there is no .venv yet: run .ci/setup");
    let output = Command::new(interpreter)
        .arg(Path::new(ROOT).join("tests/support/read_dashboard.py"))
        .arg(Path::new(ROOT).join("monitoring/forepost.dashboard.json"))
        .output()
        .expect("Python starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Grafana's types do not read it:\n{words}");
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["lost"], serde_json::json!([]));
    let units = read["units"].as_array().unwrap();
    for panel in dashboard()["panels"].as_array().unwrap() {
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        assert!(units.contains(unit), "{}: {unit} is no unit of Grafana's", panel["title"]);
        assert!(panel["description"].is_string(), "{} says nothing of itself", panel["title"]);
    }
}

#[test]
fn the_dashboard_fits_one_screen_and_nothing_lies_on_anything_else() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title} has the id of another");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (left, top) = (place("x"), place("y"));
        // 24 columns are Grafana's; 25 rows of 38 pixels are a screen of 1080 with its head.
        assert!(left + place("w") <= 24 && top + place("h") <= 25, "{title} is outside the screen");
        for cell in
            (left..left + place("w")).flat_map(|x| (top..top + place("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert(cell), "{title} lies on another panel at {cell:?}");
        }
    }
    assert_eq!(cells.len(), 24 * 25, "there is a hole in the screen");
}

#[test]
fn series_are_found_in_an_expression_and_nothing_else_is() {
    let names = |text| series(text).into_iter().collect::<Vec<_>>();
    assert_eq!(names("sum by (a, b) (rate(c_total{d=\"e\"}[5m])) * 60"), ["c_total"]);
    assert_eq!(names("f > 0 and on (g) (h unless i offset 1d) < Inf"), ["f", "h", "i"]);
    assert_eq!(counted("plan_lead_seconds_sum"), Some("plan_lead_seconds"));
    assert_eq!(counted("cache_bytes_sum"), None);
}
