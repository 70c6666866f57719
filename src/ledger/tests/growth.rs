//! Years of a hospital: which tables stay as long as they are, and by how much the others grow.
//!
//! Every table stands in one of two lists. Who adds one says here whether it is bounded, and by
//! what; what grows for good is named with its bytes, which are what a disk is planned by.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::deliveries::{delivered, new};
use super::notices::{doctor, notice};
use super::{NOW, considered, from_his, order, registration};
use crate::ledger::{
    Access, AccessKind, Arriving, Awaited, BackupNoted, Call, FetchEnd, Ledger, Push, SearchEnd,
};
use crate::limits::NOTICES_KEEP_MS;
use crate::model::{Identifier, IdentifierKind, NoticeUse, StudyOutcome, Time};
use crate::seal::Keys;

const DAY: i64 = 86_400_000;

/// Days between two rounds: each has a registration, a settlement, a session and what follows.
const ROUND_DAYS: i64 = 5;

/// Days for which bodies are kept here, as by default.
const BODIES_DAYS: i64 = 90;

/// What keeps what it holds within bounds.
const BOUNDED: [(&str, &str); 16] = [
    ("alarm", "one row an interface"),
    ("awaited", "goes a day after its plan ended"),
    ("backup", "the last hundred"),
    ("dictionary", "one row a hospital and kind"),
    ("dictionary_copy", "the last hundred of each"),
    ("dictionary_change", "of those copies"),
    ("meta", "a handful"),
    ("notice", "a year and a month"),
    ("notice_plan", "with its notice"),
    ("ordered", "a month"),
    ("polled_view", "one row a configured view"),
    ("row_count", "one row a state"),
    ("session", "a year and a month"),
    ("study_link", "a year and a month"),
    ("tally", "one row a state"),
    ("view_parked", "rows of the view that cannot be read, as long as they are there"),
];

/// What grows for good, and with what.
const GROWING: [(&str, &str); 22] = [
    ("access", "studies that are read, one row a caller, study, kind and minute"),
    ("attempt", "attempts to deliver"),
    ("audit", "registrations, and what persons and doctors do"),
    ("considered", "studies found for registrations"),
    ("delivery", "deliveries; the body goes after its time"),
    ("department_mapping", "departments that a person mapped"),
    ("dictionary_row", "items of the hospital's dictionaries"),
    ("evidence", "three lines a delivery"),
    ("fetch", "studies that were ever wanted"),
    ("identifier", "numbers of registered patients with studies"),
    ("mapping", "items that a person mapped"),
    ("notice_use", "reasons for which a doctor broke the glass; the others go with their notice"),
    ("place", "where those studies lie"),
    ("plan", "registrations"),
    ("pushed", "studies that clouds pushed"),
    ("reader", "doctors"),
    ("registration", "registrations, with their bodies"),
    ("search", "sources asked for a registration"),
    ("settlement", "settlements"),
    ("standard_code", "codes of the imported list"),
    ("view_row", "rows that the hospital's views show"),
    ("sqlite_stat1", "nothing: nobody analyses"),
];

/// Rows of each bounded table.
fn rows(connection: &Connection) -> BTreeMap<&'static str, i64> {
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    BOUNDED.iter().map(|(table, _)| (*table, count(table))).collect()
}

/// Bytes of each table with its indexes.
fn sizes(connection: &Connection) -> BTreeMap<String, i64> {
    let mut statement = connection
        .prepare(
            "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
             GROUP BY 1",
        )
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

async fn round(ledger: &Ledger, number: i64, now: Time) {
    let visit = format!("visit {number}");
    let source = || "region".to_owned();
    let patient = format!("P{number}");
    let awaited = || Awaited { source: source(), patient: patient.clone(), issuer: String::new() };
    let arriving =
        Arriving { body: Some("x".repeat(900).into()), awaited: vec![awaited()], ..from_his() };
    let push = Push { study: format!("2.26.{number}"), of: awaited(), new: true };
    let pushed = push.study.clone();
    // Not lately, or the search would look once more.
    let earlier = now.plus_ms(-DAY / 2);
    ledger.push_began(push, earlier).await.unwrap();
    ledger.push_ended(pushed, 3, earlier).await.unwrap();
    let mut order = order();
    order.due_at = now;
    let one = registration(&visit, "王小东");
    let plan = ledger.register(one.clone(), arriving, order, now).await.unwrap().id;
    let study = format!("2.25.{number}");
    let mut found = considered(StudyOutcome::Chosen);
    found.study.study = study.parse().unwrap();
    let ends = vec![(source(), SearchEnd::Answered)];
    ledger.settle_search(plan, &one, ends, vec![found], vec![], now).await.unwrap();
    ledger.settle_fetch(study.clone(), 3, 9, FetchEnd::Here, vec![], now).await.unwrap();
    ledger.end_visits(now, DAY, 30 * DAY).await.unwrap();
    let access = Access {
        caller: "viewer".into(),
        study: study.clone(),
        kind: AccessKind::Retrieve,
        minute: now.minute(),
    };
    ledger.keep_accesses(vec![access], now).await.unwrap();

    let things = vec![new(&visit, &"y".repeat(600))];
    ledger.enqueue(things, now).await.unwrap();
    let claimed = ledger.claim("cloud", 8, true, now).await.unwrap();
    for one in claimed {
        ledger.settle_attempts(vec![delivered(one.id)], now).await.unwrap();
    }
    ledger.prune_bodies(now.plus_ms(-BODIES_DAYS * DAY), 1_000).await.unwrap();

    let digest = |salt: u8| {
        let mut digest = [salt; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    };
    ledger.begin_session(doctor("7"), digest(1), String::new(), now).await.unwrap();
    let opened =
        ledger.open_window(digest(1), digest(2), None, "192.0.2.1".into(), now).await.unwrap();
    let session = opened.unwrap().0;
    let told = ledger.tell(notice("7", Some(session.id), plan), now).await.unwrap();
    let reason = (String::new(), Some(study.clone()));
    ledger.use_notice(&session, told, NoticeUse::Opened, reason, now).await.unwrap();
    ledger.make_link(&session, told, study, now).await.unwrap();
    let call = Call {
        hospital: "H1".into(),
        numbers: vec![Identifier::new(IdentifierKind::HealthNo, &format!("H{number}")).unwrap()],
        exam_codes: vec!["C1".into()],
        onward: Vec::new(),
    };
    ledger.keep_calls("ordered", vec![call], "his", DAY, now).await.unwrap();
    ledger.prune_notices(now.plus_ms(-NOTICES_KEEP_MS)).await.unwrap();
    let noted = BackupNoted {
        began_at: now,
        ended_at: now,
        folder: "/mnt/backup".into(),
        file: format!("forepost-H1-{number}.tar.age"),
        bytes: 1,
        digest: Some([1; 32]),
        fault: String::new(),
    };
    ledger.note_backup(noted).await.unwrap();
}

#[tokio::test]
async fn in_years_nothing_grows_but_what_is_named_and_by_no_more_than_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new(&[(1, [3; 32])], &[4; 32]);
    let ledger = Ledger::open_unsynced(folder.path(), keys).unwrap();
    let mut marks = Vec::new();
    // Past the longest of all times that something is kept, then as long again.
    let mark = 2 * NOTICES_KEEP_MS / DAY / ROUND_DAYS;
    for number in 0..2 * mark {
        round(&ledger, number, NOW.plus_ms(number * ROUND_DAYS * DAY)).await;
        if (number + 1) % mark == 0 {
            marks.push(ledger.read(|read| Ok((sizes(read), rows(read)))).unwrap());
        }
    }
    let free = |connection: &Connection| -> Result<i64, crate::ledger::LedgerError> {
        Ok(connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?)
    };
    let free = ledger.read(free).unwrap();
    let [(before, rows_before), (after, rows_after)] = marks.as_slice() else {
        panic!("two marks")
    };
    for (table, why) in BOUNDED {
        let (before, after) = (rows_before[table], rows_after[table]);
        assert!(after <= before, "{table} ({why}) grew from {before} rows to {after}");
    }
    for (table, size) in after {
        let is_bounded = BOUNDED.iter().any(|(name, _)| name == table);
        let is_growing = GROWING.iter().any(|(name, _)| name == table);
        assert!(is_bounded != is_growing, "{table}: say in which list it stands, and why");
        let grown = size - before.get(table).copied().unwrap_or(0);
        println!("{table:20} {:6} bytes a round", grown / mark);
        // A tree may split a page or two without growing.
        assert!(is_growing || grown <= 2 * 4_096, "{table} grew by {grown} in {mark} rounds");
    }
    let grown = |tables: &[&str]| -> i64 {
        let of = |table: &&str| after[*table] - before.get(*table).copied().unwrap_or(0);
        tables.iter().map(of).sum::<i64>() / mark
    };
    let settlement = grown(&["delivery", "attempt", "evidence", "settlement"]);
    let registration = grown(&["registration", "plan", "identifier", "search"]);
    let study = grown(&["considered", "fetch", "place"]);
    println!("a settlement {settlement}, a registration {registration}, a study {study}");
    println!("{free} pages are free");
    assert!((1_000..=1_700).contains(&settlement), "bytes a settlement: {settlement}");
    assert!((1_500..=3_000).contains(&registration), "bytes a registration: {registration}");
    assert!((300..=1_500).contains(&study), "bytes a study: {study}");
    // What was emptied is used again: the file is no longer than what it holds.
    assert!(free <= 64, "{free} pages lie idle");
}
