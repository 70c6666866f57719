//! Ledgers of older formats: each opens, becomes one of today, and nothing in it is lost.
//!
//! The formats of releases are fixtures, made by those releases (tests/fixtures/ledgers/). Those of
//! before the first release are made here: the steps up to theirs, with rows as they were.

use std::path::Path;

use rusqlite::{Connection, params};

use super::deliveries::sums_hold;
use super::{NOW, open, order, register, registration};
use crate::ledger::{Ledger, load_or_make_keys, schema, stored, verify_restored};
use crate::model::{DictionaryKind, FetchState, Time};
use crate::seal::Keys;

/// Formats with a fixture of their own.
const RELEASED: [i64; 1] = [12];

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ledgers");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Lays out the fixture of a format as a data folder has it, and opens its keys.
fn laid_out(format: i64, folder: &Path) -> Keys {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder.join("keys")).unwrap();
    std::fs::create_dir_all(folder.join("ledger")).unwrap();
    let keys = folder.join("keys/ledger.keys");
    std::fs::write(&keys, fixture(&format!("{format}.keys"))).unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
    let connection = Connection::open(folder.join("ledger/forepost.db")).unwrap();
    connection.execute_batch(&fixture(&format!("{format}.sql"))).unwrap();
    load_or_make_keys(&folder.join("keys"), false).unwrap()
}

#[tokio::test]
async fn a_ledger_of_each_released_format_becomes_one_of_today() {
    for format in RELEASED {
        let folder = tempfile::tempdir().unwrap();
        let keys = laid_out(format, folder.path());
        let place = folder.path().join("ledger");
        // Every page, every line of evidence, every account, and that the keys are its own.
        let facts = verify_restored(&place, keys).unwrap();
        assert_eq!(facts.version, schema::newest(), "format {format}");
        assert_eq!(facts.registrations, 6);
        let keys = load_or_make_keys(&folder.path().join("keys"), false).unwrap();
        let ledger = Ledger::open(&place, keys).unwrap();
        sums_hold(&ledger);
        let names: Vec<String> =
            (1..=4).map(|id| ledger.plan(id).unwrap().unwrap().1.person.name).collect();
        assert_eq!(names, ["测试甲", "测试乙", "测试丙", "测试丁"]);
        assert_eq!(ledger.plan(4).unwrap().unwrap().0.state, "cancelled");
        for id in 1..=7 {
            let (_, attempts, body) = ledger.delivery(id).unwrap().unwrap();
            let body = String::from_utf8(body.unwrap()).unwrap();
            assert!(body.contains("ACC0000007"), "{body}");
            assert!(!attempts.is_empty());
        }
        let (version, exams) = ledger.dictionary_rows("123456", DictionaryKind::Exam).unwrap();
        assert!(version > 0 && exams.len() == 2, "{exams:?}");
        // And it goes on.
        assert_eq!(ledger.claim("cloud", 5, true, Time(i64::MAX / 2)).await.unwrap().len(), 1);
        register(&ledger, "new", "王小东", order()).await;
        assert_eq!(ledger.registrations().unwrap(), 7);
        ledger.close();
    }
}

/// A row of each kind that the format has, as it was written then.
fn rows_of(format: i64, connection: &Connection, keys: &Keys) {
    let sealed = stored::registration_bytes(&registration("v1", "王小东"));
    let sealed = keys.seal("registration.sealed", 1, &sealed);
    let body = keys.seal("registration.body", 1, b"{}");
    let rows: [(&str, &[&dyn rusqlite::ToSql]); 4] = [
        (
            "INSERT INTO registration(id, hospital, visit, sealed, body, patient_type, received_at,
               updated_at) VALUES(1, 'H1', ?1, ?2, ?3, '1', ?4, ?4)",
            params![keys.visit("H1", "v1"), sealed, body, NOW.0],
        ),
        (
            "INSERT INTO plan(registration, state, urgent, due_at, updated_at)
             VALUES(1, 'fetching', 0, ?1, ?1)",
            params![NOW.0],
        ),
        (
            "INSERT INTO fetch(study, state, urgent, due_at, next_at, expected)
             VALUES('2.25.1', 'waiting', 0, ?1, ?1, 3)",
            params![NOW.0],
        ),
        ("INSERT INTO place(study, source, ordinal) VALUES('2.25.1', 'region', 0)", params![]),
    ];
    for (sql, parameters) in rows {
        connection.execute(sql, parameters).unwrap();
    }
    if format < 2 {
        return;
    }
    connection
        .execute(
            "INSERT INTO delivery(id, interface, hospital, destination, identity, state, body,
               digest, accepted_at, starts_at, start, deadline_at, next_at)
             VALUES(1, 'ic-settlement-push', 'H1', 'cloud', x'01', 'waiting', ?1, x'02', ?2, ?2,
               'arrival', ?2, ?2)",
            params![keys.seal("delivery.body", 1, b"body"), NOW.0],
        )
        .unwrap();
    connection
        .execute("INSERT INTO tally VALUES('ic-settlement-push', 'accepted', 1)", [])
        .unwrap();
    connection
        .execute("INSERT INTO settlement(key, accession, delivery) VALUES(x'03', x'04', 1)", [])
        .unwrap();
    if format >= 3 {
        connection
            .execute("INSERT INTO dictionary(hospital, kind) VALUES('H1', 'exam')", [])
            .unwrap();
    }
    if format >= 4 {
        connection.execute("INSERT INTO polled_view(name) VALUES('registrations')", []).unwrap();
    }
}

#[tokio::test]
async fn a_ledger_of_each_format_before_the_first_release_becomes_one_of_today() {
    for format in 1..=schema::newest() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(&[(1, [3; 32])], &[4; 32]);
        let mut connection = Connection::open(folder.path().join("forepost.db")).unwrap();
        schema::as_version(&mut connection, format);
        rows_of(format, &connection, &keys);
        drop(connection);
        let ledger = open(folder.path());
        let (plan, registration, ..) = ledger.plan(1).unwrap().unwrap();
        assert_eq!(
            (plan.state.as_str(), registration.person.name.as_str()),
            ("fetching", "王小东")
        );
        let counted = ledger.plan_counts().unwrap();
        assert_eq!(counted, [("fetching".to_owned(), 1)], "format {format}");
        assert_eq!(ledger.fetch_state("2.25.1").unwrap(), Some(FetchState::Waiting));
        if format < 5 {
            let source: String = ledger
                .read(|connection| {
                    Ok(connection.query_row("SELECT source FROM fetch", [], |row| row.get(0))?)
                })
                .unwrap();
            assert_eq!(source, "region", "format {format}");
        }
        if format >= 2 {
            sums_hold(&ledger);
            let claimed = ledger.claim("cloud", 1, false, NOW).await.unwrap();
            assert_eq!(claimed[0].body, b"body", "format {format}");
        }
        register(&ledger, "new", "王小东", order()).await;
        ledger.close();
    }
}
