//! Up and down: the service on ledgers of older programs, and the program of the last release on a
//! ledger that this one has written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::deliveries::await_end;
use crate::queue::verify;
use crate::support::forepost::Forepost;
use crate::support::patient::{Patient, due_at};
use crate::support::platform::{Platform, Weather, settlement};
use crate::support::setup::Setup;

fn ledgers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ledgers")
}

/// Lays the fixture of a format out as a data folder.
pub fn lay_out(format: i64, data: &Path) {
    for folder in ["keys", "ledger"] {
        fs::create_dir_all(data.join(folder)).unwrap();
    }
    let keys = data.join("keys/ledger.keys");
    fs::copy(ledgers().join(format!("{format}.keys")), &keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
    let sql = fs::read_to_string(ledgers().join(format!("{format}.sql"))).unwrap();
    let ledger = rusqlite::Connection::open(data.join("ledger/forepost.db")).unwrap();
    ledger.execute_batch(&sql).unwrap();
}

fn states(forepost: &Forepost) -> Vec<String> {
    let deliveries = forepost.deliveries();
    deliveries.values().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
}

/// The formats of `tests/fixtures/ledgers` that programs of their own wrote.
const RELEASED: &[i64] = &[12];

#[test]
fn the_service_goes_on_from_a_ledger_of_each_released_format() {
    for &format in RELEASED {
        let platform = Platform::start();
        let mut forepost = Forepost::prepare(Setup::sending(&[platform.for_settlements()]));
        lay_out(format, &forepost.data());
        forepost.restart();
        // What waited leaves; what was parked waits for a person.
        await_end(&forepost);
        let states = states(&forepost);
        let of = |state: &str| states.iter().filter(|one| *one == state).count();
        assert_eq!((of("delivered"), of("parked")), (6, 1), "format {format}: {states:?}");
        let known = json!({
            "hospitalld": "123456", "accessionNo": "ACC000000702", "studyOrderId": "ORD000000702",
            "setlId": "71000000000000000702", "feedetlSn": "72000000000000000702",
            "medListCodg": "C00012", "examPart": "B02010ZZZ",
        });
        assert_eq!(platform.bodies(), std::slice::from_ref(&known));
        // The keys find what they hashed then: the same settlement again is the same.
        forepost.accept_settlements(&json!([known]));
        await_end(&forepost);
        assert_eq!(forepost.deliveries().len(), 7);
        assert_eq!(forepost.plans().len(), 6);
        forepost.accept(&Patient::new(61).registration(24, 61));
        assert_eq!(forepost.plans().len(), 7);
        let dictionaries = forepost.verb_json(&["dict", "list", "--json"]);
        assert_eq!(dictionaries.as_array().unwrap().len(), 2, "{dictionaries}");
        let mapped = forepost.verb_json(&["map", "list", "--json"]);
        assert_eq!(mapped.as_array().unwrap().len(), 1, "{mapped}");
        let deeds = forepost.verb_json(&["audit", "show", "--json"]);
        assert!(deeds.as_array().unwrap().len() >= 12, "{deeds}");
    }
}

/// The program of the last release, where `make released` has built it.
fn released() -> Option<PathBuf> {
    let text = fs::read_to_string(ledgers().join("released.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let commit = table["commit"].as_str().unwrap();
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/released").join(commit).join("forepost");
    program.exists().then_some(program)
}

/// What the ledger accounts for, so that two programs can be compared.
fn accounts(forepost: &Forepost) -> (usize, Value) {
    (forepost.plans().len(), forepost.queue()["interfaces"].clone())
}

fn check_evidence(forepost: &Forepost) {
    let exported = forepost.verb(&["export", "evidence"]);
    assert!(exported.status.success());
    let place = tempfile::tempdir().unwrap();
    let text = String::from_utf8(exported.stdout).unwrap();
    assert!(verify(&place.path().join("evidence.jsonl"), &text).status.success());
}

#[test]
fn the_program_of_the_last_release_runs_on_what_this_one_has_written_and_this_one_again() {
    let Some(released) = released() else {
        println!("left out: `make released` has not built the program of the last release");
        return;
    };
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_forepost"));
    let platform = Platform::start();
    platform.behave(|body| match body["setlId"].as_str().unwrap().ends_with('1') {
        true => Weather::code(json!(400)),
        false => Weather::Fair,
    });
    let mut forepost = Forepost::start(Setup::sending(&[platform.for_settlements()]));
    let patients: Vec<Value> =
        (71..80).map(|number| Patient::new(number).registration(24, i64::from(number))).collect();
    forepost.accept(&patients[0]);
    forepost.accept_settlements(&json!([settlement(771), settlement(772)]));
    await_end(&forepost);
    for (round, program) in [&released, &ours, &released, &ours].into_iter().enumerate() {
        let before = accounts(&forepost);
        forepost.stop();
        forepost.run_by(program);
        forepost.restart();
        assert_eq!(accounts(&forepost), before, "round {round}: {}", program.display());
        let plans = forepost.plans();
        assert!(patients[..=round].iter().all(|one| plans.contains_key(&due_at(one))));
        // It takes, sends and parks, and what it parked before opens.
        forepost.accept(&patients[round + 1]);
        let new = 800 + 10 * u32::try_from(round).unwrap();
        forepost.accept_settlements(&json!([settlement(new), settlement(new + 1)]));
        await_end(&forepost);
        assert!(platform.holds(&settlement(new)).is_some());
        assert_eq!(forepost.delivery(1)["state"], "parked");
        forepost.verb_json(&["keys", "new", &format!("round{round}"), "--json"]);
        check_evidence(&forepost);
    }
    let states = states(&forepost);
    let of = |state: &str| states.iter().filter(|one| *one == state).count();
    assert_eq!((of("delivered"), of("parked")), (5, 5), "{states:?}");
}
