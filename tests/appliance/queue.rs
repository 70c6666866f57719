//! What people see of deliveries and decide about them, beside the running service: `queue`,
//! `export`, and the alarms of the deadline.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::deliveries::{
    await_bodies, await_end, changed, decide, hasten, hours_ago, in_state, pair, retry,
};
use crate::support::forepost::Forepost;
use crate::support::platform::{Platform, Weather, settlement};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, wait_for};

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn people_park_retry_and_write_off_beside_the_running_service() {
    let (platform, forepost) = pair();
    platform.behave(|_| Weather::status(503));
    forepost.accept_settlements(&json!([settlement(200), settlement(201)]));
    for id in [1, 2] {
        forepost.await_delivery(id, |one| one["state"] == "waiting" && one["fault"] != "");
    }
    let parked = decide(&forepost, "park", &[1]);
    assert!(parked.status.success(), "{}", words(&parked));
    assert_eq!(forepost.delivery(1)["state"], "parked");
    platform.behave(|_| Weather::Fair);
    retry(&forepost, 2);
    forepost.await_delivery_state(2, "delivered");
    assert_eq!(forepost.delivery(1)["state"], "parked", "it stays where a person put it");
    let counted = decide(&forepost, "write-off", &[1]);
    assert!(counted.status.success() && words(&counted).contains("1 deliveries would be given up"));
    assert_eq!(forepost.delivery(1)["state"], "parked", "without --yes nothing is given up");
    let given_up = forepost.verb(&["queue", "write-off", "1", "--yes", "--by", "wang", "--json"]);
    let told: Value = serde_json::from_slice(&given_up.stdout).unwrap();
    assert_eq!(told, json!({"id": 1, "goes_on_as": 1, "by": "wang"}));
    assert_eq!(forepost.delivery(1)["state"], "written off");
    let bodies = platform.bodies();
    assert_eq!(
        bodies.iter().filter(|body| **body == settlement(200)).count(),
        1,
        "the refused one"
    );
    let decided: Vec<Value> = evidence(&forepost)
        .into_iter()
        .filter(|line| line["event"] == "decided")
        .map(|line| serde_json::from_str(line["detail"].as_str().unwrap()).unwrap())
        .collect();
    let expected = [("park", "li"), ("retry", "li"), ("write off", "wang")]
        .map(|(decision, by)| json!({ "decision": decision, "by": by }));
    assert_eq!(decided, expected, "who decided what is evidence");
    // What a person gave up may come again.
    forepost.accept_settlements(&settlement(200));
    forepost.await_delivery_state(3, "delivered");
}

#[test]
fn a_decision_about_what_is_gone_unknown_or_under_way_is_refused() {
    let (platform, forepost) = pair();
    forepost.accept_settlements(&settlement(210));
    forepost.await_delivery_state(1, "delivered");
    platform.behave(|_| Weather::Slow(Duration::from_millis(900)));
    forepost.accept_settlements(&settlement(211));
    forepost.await_delivery_state(2, "in flight");
    for (verb, id, why) in [
        ("park", 2, "delivery 2 is in flight"),
        ("retry", 1, "delivery 1 is delivered"),
        ("park", 1, "delivery 1 is delivered"),
        ("retry", 99, "no delivery has the number 99"),
    ] {
        let refused = decide(&forepost, verb, &[id]);
        assert_eq!(refused.status.code(), Some(1), "{verb} {id}");
        assert!(words(&refused).contains(why), "{verb} {id}: {}", words(&refused));
    }
    let unknown = forepost.verb(&["queue", "show", "99"]);
    assert!(!unknown.status.success());
    await_end(&forepost);
    assert_eq!(in_state(&forepost, "delivered"), [1, 2]);
}

#[test]
fn a_refused_record_is_repaired_by_a_person_and_checked_like_one_that_arrives() {
    let (platform, forepost) = pair();
    platform.behave(|body| match body["medListCodg"] == "C9" {
        true => Weather::Fair,
        false => Weather::code(json!(400)),
    });
    forepost.accept_settlements(&settlement(220));
    forepost.await_delivery_state(1, "parked");
    let folder = tempfile::tempdir().unwrap();
    let (wrong, right) = (folder.path().join("wrong.json"), folder.path().join("right.json"));
    let mut without = settlement(220);
    without.as_object_mut().unwrap().remove("medListCodg");
    fs::write(&wrong, without.to_string()).unwrap();
    fs::write(&right, changed(220, "C9").to_string()).unwrap();
    let repair = |body: &Path| {
        let body = body.to_str().unwrap();
        forepost.verb(&["queue", "repair", "1", "--body", body, "--by", "li", "--json"])
    };
    let refused = repair(&wrong);
    assert!(!refused.status.success() && words(&refused).contains("medListCodg"));
    let repaired = repair(&right);
    assert!(repaired.status.success(), "{}", words(&repaired));
    let told: Value = serde_json::from_slice(&repaired.stdout).unwrap();
    assert_eq!(told["goes_on_as"], 2);
    forepost.await_delivery_state(2, "delivered");
    let old = forepost.delivery(1);
    assert_eq!((&old["state"], &old["replaced_by"]), (&json!("replaced"), &json!(2)));
    assert_eq!(old["deadline_at_ms"], forepost.delivery(2)["deadline_at_ms"]);
    assert_eq!(platform.bodies(), [settlement(220), changed(220, "C9")]);
    assert_eq!(repair(&right).status.code(), Some(1), "what was replaced is not repaired");
}

/// Today's evidence, without its first and last line.
fn evidence(forepost: &Forepost) -> Vec<Value> {
    let text = exported(forepost, &[]);
    let lines: Vec<Value> = text.lines().map(|one| serde_json::from_str(one).unwrap()).collect();
    lines[1..lines.len() - 1].to_vec()
}

fn exported(forepost: &Forepost, more: &[&str]) -> String {
    let output = forepost.verb(&[&["export", "evidence"], more].concat());
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// It needs neither keys nor ledger, and so no configuration.
pub fn verify(file: &Path, text: &str) -> Output {
    fs::write(file, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["export", "verify"])
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn a_days_evidence_is_whole_and_every_kind_of_tampering_shows() {
    let (platform, forepost) = pair();
    platform.behave(|body| match body["setlId"].as_str().unwrap().ends_with('1') {
        true => Weather::code(json!(400)),
        false => Weather::Fair,
    });
    forepost.accept_settlements(&json!([settlement(230), settlement(231), settlement(232)]));
    await_end(&forepost);
    let plain = exported(&forepost, &[]);
    assert!(!plain.contains(settlement(230)["setlId"].as_str().unwrap()), "no body unless asked");
    let file = forepost.data().join("evidence.jsonl");
    let path = file.to_str().unwrap();
    exported(&forepost, &["--bodies", "--to", path]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let whole = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("evidence.jsonl");
    for text in [&plain, &whole] {
        let verified = verify(&file, text);
        assert!(verified.status.success(), "{}", words(&verified));
        // Three accepted, three attempts begun and ended, one parked.
        assert!(words(&verified).contains("10 lines, whole"), "{}", words(&verified));
    }
    let lines: Vec<&str> = whole.lines().collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat();
    let swapped = |at: usize| {
        let mut lines = lines.clone();
        lines.swap(at, at + 1);
        lines
    };
    for at in 1..lines.len() - 1 {
        refused(&file, &without(at), &format!("without line {at}"));
        if at + 2 < lines.len() {
            refused(&file, &swapped(at), &format!("lines {at} swapped"));
        }
        for key in ["number", "at_ms", "delivery", "event", "detail", "hash", "body"] {
            let mut line: Value = serde_json::from_str(lines[at]).unwrap();
            let Some(value) = line.get_mut(key) else { continue };
            *value = match &*value {
                Value::Number(number) => json!(number.as_i64().unwrap() + 1),
                Value::String(text) => json!(other_last_character(text)),
                other => panic!("{key} is {other}"),
            };
            let line = line.to_string();
            let mut changed = lines.clone();
            changed[at] = &line;
            refused(&file, &changed, &format!("{key} of line {at} changed"));
        }
    }
    for end in 0..lines.len() {
        refused(&file, &lines[..end], &format!("cut behind line {end}"));
    }
}

fn other_last_character(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    format!("{rest}{}", if last == "0" { '1' } else { '0' })
}

fn refused(file: &Path, lines: &[&str], what: &str) {
    let verified = verify(file, &lines.join("\n"));
    assert_eq!(verified.status.code(), Some(1), "{what}: {}", words(&verified));
}

#[test]
fn the_days_report_counts_what_was_on_time_and_what_is_not() {
    let platform = Platform::start();
    let mut setup = Setup::sending(&[platform.for_settlements()]);
    setup.more.push_str("[settlement]\nsettled_at_field = \"setlTime\"\n");
    let forepost = Forepost::start(setup);
    let at = |number: u32, hours: i64| {
        let mut one = settlement(number);
        one["setlTime"] = json!(hours_ago(hours));
        one
    };
    forepost.accept_settlements(&json!([at(240, 30), settlement(241)]));
    await_end(&forepost);
    platform.behave(|_| Weather::code(json!(400)));
    forepost.accept_settlements(&json!([at(242, 30), settlement(243)]));
    await_end(&forepost);
    let report = |day: &str| {
        let report = forepost.verb_json(&["export", "on-time", "--json", "--day", day]);
        report["interfaces"][0].clone()
    };
    let row = |due, on_time, late, open, missed, given| {
        json!({
            "interface": "ic-settlement-push", "due": due, "on_time": on_time, "late": late,
            "open": open, "missed": missed, "written_off": 0, "given": given, "possibly_late": 0,
        })
    };
    assert_eq!(report(&hours_ago(30)[..10]), row(2, 0, 1, 0, 1, 2));
    assert_eq!(report(&hours_ago(0)[..10]), row(2, 1, 0, 1, 0, 0));
}

#[test]
fn the_alarm_rises_with_the_deadline_and_ends_with_the_delivery() {
    let mut platform = Platform::start();
    platform.down();
    let mut setup = Setup::sending(&[platform.for_settlements()]);
    setup.more.push_str("[settlement]\nsettled_at_field = \"setlTime\"\n");
    let mut forepost = Forepost::start(setup);
    let level = |forepost: &Forepost| forepost.queue()["interfaces"][0]["alarm_level"].clone();
    let steps = [(13, 50), (19, 75), (22, 90), (25, 100)];
    for (at, (hours, expected)) in steps.into_iter().enumerate() {
        let mut one = settlement(250 + at as u32);
        one["setlTime"] = json!(hours_ago(hours));
        forepost.accept_settlements(&one);
        // A start looks at the deadlines at once; a running service each ten seconds.
        if at > 0 {
            forepost.stop();
            forepost.restart();
        }
        let told = wait_for(PATIENCE, || (level(&forepost) == expected).then_some(()));
        assert!(told.is_some(), "{hours} h: {}", level(&forepost));
        let told = wait_for(PATIENCE, || {
            (forepost.metric("delivery_alarm_level") == f64::from(expected)).then_some(())
        });
        assert!(told.is_some(), "{hours} h: {}", forepost.metric("delivery_alarm_level"));
    }
    platform.up();
    hasten(&forepost);
    await_bodies(&platform, 4);
    forepost.stop();
    forepost.restart();
    let over = wait_for(PATIENCE, || (level(&forepost) == 0).then_some(()));
    assert!(over.is_some(), "{}", level(&forepost));
    let log = forepost.log();
    for (words, times) in [
        ("a delivery has used so much of its time", 3),
        ("a delivery has missed its deadline", 1),
        ("nothing is near its deadline any more", 1),
    ] {
        assert_eq!(log.matches(words).count(), times, "{words}");
    }
}
