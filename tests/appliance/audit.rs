//! Who looked at what, who decided what, and whether the evidence was changed.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::cloud::{Act, Cloud};
use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, personal};
use crate::support::setup::Setup;
use crate::support::study::Study;

const SETTLE: &str = "/standardInterface/standardHttp/saveSetlInfoList";

fn shown(forepost: &Forepost, more: &[&str]) -> Vec<Value> {
    let output = forepost.verb(&[&["audit", "show", "--json"], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("--json prints a list")
}

fn count(deeds: &[Value], who: &str, what: &str) -> usize {
    deeds.iter().filter(|deed| deed["who"] == who && deed["what"] == what).count()
}

/// Settlements that nobody takes: they wait, and a person decides.
fn settle(forepost: &Forepost, times: usize) {
    let record = |number| {
        json!({
            "accessionNo": format!("CT2025091{number:04}"), "hospitalld": "123456",
            "studyOrderId": "CT2354435324", "setlId": "ST1234343", "medListCodg": "12098674",
            "feedetlSn": "34560976813", "examPart": "B02010ZZZ",
        })
    };
    let records: Value = (0..times).map(record).collect();
    let headers = [("Content-Type", "application/json")];
    let reply = forepost.ask("POST", SETTLE, &headers, records.to_string().as_bytes());
    assert_eq!(reply.json()["code"], 200);
}

fn refusing() -> (Cloud, String) {
    let cloud = Cloud::alone(|_| Act::status(500));
    let section = format!(
        "[[destination]]\nname = \"platform\"\nurl = \"http://{}\"\n\
         interfaces = [\"ic-settlement-push\"]\n",
        cloud.address
    );
    (cloud, section)
}

#[test]
fn the_audit_says_who_looked_sent_and_decided_and_names_no_patient() {
    let patient = Patient::new(4_300);
    let study = Study::of(&patient, 4_300);
    let orthanc = Orthanc::with(&[&study]);
    let source = Cloud::before(&orthanc);
    let (_cloud, more) = refusing();
    let forepost = Forepost::start(Setup { more, ..Setup::with(&[source.source("region")]) });
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    let target = format!("/dicom-web/studies/{}", study.uid());
    assert_eq!(forepost.get(&target).status, 200);
    settle(&forepost, 1);
    // What is in flight cannot be parked.
    forepost.await_delivery(1, |one| one["state"] == "waiting" && one["fault"] != "");
    let parked = forepost.verb(&["queue", "park", "1", "--by", "张工"]);
    assert!(parked.status.success(), "{}", String::from_utf8_lossy(&parked.stderr));
    // Accesses are written in the minute's name, before the bytes leave.
    let deeds = shown(&forepost, &[]);
    assert_eq!(count(&deeds, "his", "registration"), 1, "{deeds:#?}");
    assert_eq!(count(&deeds, "his", "retrieve"), 1, "{deeds:#?}");
    assert_eq!(count(&deeds, "张工", "park"), 1, "{deeds:#?}");
    let latest = &deeds[0];
    assert_eq!((&latest["what"], &latest["delivery"]), (&json!("park"), &json!(1)));

    let of_study = shown(&forepost, &["--study", &study.uid()]);
    assert_eq!(of_study.len(), count(&of_study, "his", "retrieve"), "{of_study:#?}");
    assert_eq!(of_study[0]["study"], study.uid());
    assert_eq!(shown(&forepost, &["--caller", "张工"]).len(), 1);
    assert_eq!(shown(&forepost, &["--limit", "2"]), deeds[..2]);
    assert_eq!(shown(&forepost, &["--since", "2999-01-01"]), Vec::<Value>::new());
    let words = forepost.verb(&["audit", "show"]).stdout;
    let words = String::from_utf8(words).unwrap() + &Value::from(deeds).to_string();
    for text in personal(&registration) {
        assert!(!words.contains(&text), "{text} in {words}");
    }
}

#[test]
fn a_chain_of_evidence_is_whole_until_somebody_changes_a_line() {
    let (_cloud, more) = refusing();
    let mut forepost = Forepost::start(Setup { more, ..Setup::default() });
    // More than a walk reads at once.
    settle(&forepost, 600);
    forepost.kill();
    let output = forepost.verb(&["audit", "verify", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = told["lines"].as_i64().unwrap();
    assert!(lines >= 600 && told["broken_at"].is_null(), "{told}");

    let change = |sql: &str| {
        let ledger = Connection::open(forepost.data().join("ledger/forepost.db")).unwrap();
        assert_eq!(ledger.execute(sql, []).unwrap(), 1, "{sql}");
    };
    let broken_at = || {
        let output = forepost.verb(&["audit", "verify", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        told["broken_at"].as_i64()
    };
    change("UPDATE evidence SET detail = replace(detail, '{', '{ ') WHERE id = 400");
    assert_eq!(broken_at(), Some(400));
    change("DELETE FROM evidence WHERE id = 257");
    assert_eq!(broken_at(), Some(258), "a line is missing where a page begins");
    change("DELETE FROM evidence WHERE id = 2");
    assert_eq!(broken_at(), Some(3), "a line is missing before the third");
}
