//! `forepost simulate`: days of a hospital in seconds, and what they show. That its checks bite is
//! shown beside them, in `src/verbs/simulate/world/tests.rs`.

use std::process::Command;

use serde_json::Value;

use crate::support::Dice;
use crate::support::evidence::campaign_seed;

fn simulate(seed: u64, days: u32) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["simulate", "--json", "--seed", &seed.to_string(), "--days", &days.to_string()])
        .args(["--per-day", "1000"])
        .output()
        .expect("the binary starts");
    let (out, words) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "seed {seed}, {days} days: {out} {words}");
    serde_json::from_str(&out).expect("--json prints JSON")
}

/// What every month shows, whatever its seed.
fn check_month(report: &Value) {
    let number = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key}: {report:#}"));
    assert_eq!(report["violations"], serde_json::json!([]), "{report:#}");
    for key in ["alarms", "kills", "changed", "repeated", "replaced", "clock_steps"] {
        assert!(number(key) > 0, "no {key}: {report:#}");
    }
    assert!(number("acknowledged") > 25_000, "{report:#}");
    assert!(report["cloud_hours_down"].as_f64().unwrap() >= 20.0, "{report:#}");
    assert!(number("backlog_max") > 500, "the long outage piles nothing up: {report:#}");
    let ended = number("on_time") + number("late_unavoidably");
    assert_eq!(ended, number("acknowledged"), "every settlement is one or the other: {report:#}");
    // Nothing but an outage of most of a day makes anything late.
    assert!(number("late_unavoidably") * 50 < number("acknowledged"), "{report:#}");
    let accepted = number("acknowledged") + number("changed");
    assert_eq!(number("delivered") + number("replaced"), accepted, "{report:#}");
    assert!(number("attempts") >= number("delivered"), "{report:#}");
    check_files(report);
}

/// No file grows but the ledger's own, by what a settlement leaves for good and the bodies of the
/// last 90 days.
fn check_files(report: &Value) {
    let months = report["months"].as_array().unwrap();
    assert!(!months.is_empty(), "{report:#}");
    for month in months {
        let number = |key: &str| month[key].as_u64().unwrap();
        assert!(number("log_bytes") <= 64 << 20, "{month}");
        assert!(number("reserve_bytes") <= 16 << 20, "{month}");
        let each = number("database_bytes") / number("settlements");
        assert!((1_000..3_000).contains(&each), "{each} bytes a settlement: {month}");
    }
}

#[test]
fn a_month_of_a_known_seed_keeps_every_promise() {
    check_month(&simulate(7, 30));
}

#[test]
fn a_month_of_any_seed_keeps_every_promise() {
    let seed = Dice::new(campaign_seed()).below(1 << 31);
    println!("simulate --seed {seed}");
    check_month(&simulate(seed, 30));
}

#[test]
fn the_same_seed_is_the_same_week() {
    let week = || {
        let mut report = simulate(11, 7);
        let seconds = report.as_object_mut().unwrap().remove("seconds");
        // Its log may or may not be copied when it is closed.
        report.as_object_mut().unwrap().remove("ledger_bytes");
        report.as_object_mut().unwrap().remove("months");
        assert!(seconds.is_some_and(|seconds| seconds.as_f64().unwrap() > 0.0));
        report
    };
    let (first, again) = (week(), week());
    assert_eq!(first, again);
    assert_eq!(first["violations"], serde_json::json!([]));
}
