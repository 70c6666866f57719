//! What a backup takes of the ledger, and what a restored one is held against.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::deliveries::{delivered, new, sums_hold};
use super::{NOW, from_his, open, order, register, registration};
use crate::ledger::{
    Arriving, BackupNoted, Ledger, RestoreFault, Restored, Snapshot, lacking, verify_restored,
};
use crate::limits::{BACKUPS_REMEMBERED, LEDGER_LOG_BYTES};
use crate::model::Time;
use crate::seal::Keys;

const PUSH: &str = "ic-settlement-push";

fn keys() -> Keys {
    Keys::new(&[(1, [3; 32])], &[4; 32])
}

fn lay_out(mut snapshot: Snapshot, folder: &Path) {
    let mut bytes = Vec::new();
    snapshot.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, snapshot.length());
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("forepost.db"), bytes).unwrap();
}

fn log_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("forepost.db-wal")).map_or(0, |found| found.len())
}

#[test]
fn a_snapshot_is_one_moment_whatever_is_written_while_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let ledger = open(&from);
    let (writing, end) = (ledger.clone(), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&end);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime().block_on(async {
        ledger.enqueue(vec![new("one", "a")], NOW).await.unwrap();
        for number in 0..200 {
            register(&ledger, &format!("before {number}"), "王小东", order()).await;
        }
    });
    let writer = std::thread::spawn(move || {
        runtime().block_on(async {
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                number += 1;
                register(&writing, &format!("while {number}"), "王小东", order()).await;
                let same = format!("{}", number % 7);
                writing.enqueue(vec![new(&same, &format!("{number}"))], NOW).await.unwrap();
            }
            number
        })
    });
    let mut before = 0;
    for round in 0..5 {
        let snapshot = Snapshot::take(&from).unwrap();
        let facts = snapshot.facts().clone();
        // The writer goes on while it is read: the snapshot does not.
        let registrations = ledger.registrations().unwrap();
        while ledger.registrations().unwrap() < registrations + 50 {
            std::thread::yield_now();
        }
        let folder = to.join(round.to_string());
        lay_out(snapshot, &folder);
        assert_eq!(verify_restored(&folder, keys()).unwrap(), facts, "round {round}");
        assert!(facts.registrations >= 200 + before, "a later one holds no less");
        before = facts.registrations - 200;
    }
    end.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    assert!(i64::from(written) > before, "written while it was read: {written}");
    ledger.close();
    // A service that is stopped is backed up as well.
    lay_out(Snapshot::take(&from).unwrap(), &to.join("stopped"));
    let stopped = verify_restored(&to.join("stopped"), keys()).unwrap();
    assert_eq!(stopped.registrations, 200 + i64::from(written));
}

#[tokio::test]
async fn a_reader_that_stays_holds_up_nobody_and_the_log_shrinks_when_it_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    register(&ledger, "first", "王小东", order()).await;
    let reader = Connection::open(folder.path().join("forepost.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM registration").unwrap();
    let body = "x".repeat(4 << 20);
    let mut longest = Duration::ZERO;
    for number in 0..24 {
        let arriving = Arriving { body: Some(body.clone().into()), ..from_his() };
        let begun = Instant::now();
        let one = registration(&format!("v{number}"), "王小东");
        ledger.register(one, arriving, order(), NOW).await.unwrap();
        longest = longest.max(begun.elapsed());
        // The checkpoints' thread looks twice a second.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(log_bytes(folder.path()) > LEDGER_LOG_BYTES as u64, "the reader holds the log");
    assert!(longest < Duration::from_secs(3), "a registration waited {longest:?}");
    reader.execute_batch("COMMIT").unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let mut number = 0;
    while log_bytes(folder.path()) > LEDGER_LOG_BYTES as u64 {
        assert!(Instant::now() < until, "the log is still {} bytes", log_bytes(folder.path()));
        number += 1;
        register(&ledger, &format!("after {number}"), "王小东", order()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_backup_lacks_is_counted_by_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let (here, there) = (place.path().join("here"), place.path().join("there"));
    let ledger = open(&here);
    for visit in ["a", "b"] {
        register(&ledger, visit, "王小东", order()).await;
    }
    ledger
        .enqueue(vec![new("sent later", "1"), new("open", "2"), new("gone", "3")], NOW)
        .await
        .unwrap();
    lay_out(Snapshot::take(&here).unwrap(), &there);
    let claimed = ledger.claim("cloud", 1, false, NOW).await.unwrap();
    ledger.settle_attempts(vec![delivered(claimed[0].id)], NOW).await.unwrap();
    ledger.enqueue(vec![new("gone", "4"), new("new", "5")], NOW).await.unwrap();
    register(&ledger, "c", "王小东", order()).await;
    ledger.close();
    let changed = Ledger::open(&here, keys()).unwrap();
    let arriving = from_his();
    let later = Time(NOW.0 + 1);
    changed.register(registration("a", "王小西"), arriving, order(), later).await.unwrap();
    changed.close();
    verify_restored(&there, keys()).unwrap();
    let found = lacking(&here, &there).unwrap();
    assert_eq!(found.deliveries[PUSH]["waiting"], 2, "the changed one and the new one");
    assert_eq!(found.registrations["H1"], 2, "the new one, and one that changed");
    assert_eq!(found.delivered_since[PUSH], 1);
    assert_eq!(found.total(), 4);
    assert!(found.descends && found.evidence_lines > 0, "{found:?}");
    let back = lacking(&there, &there).unwrap();
    assert_eq!((back.total(), back.evidence_lines, back.descends), (0, 0, true));
    // Another machine's ledger has nothing in common with it.
    let other = place.path().join("other");
    let stranger = Ledger::open(&other, Keys::new(&[(1, [5; 32])], &[6; 32])).unwrap();
    register(&stranger, "a", "王小东", order()).await;
    stranger.enqueue(vec![new("open", "2")], NOW).await.unwrap();
    stranger.close();
    let found = lacking(&other, &there).unwrap();
    assert_eq!((found.total(), found.descends), (2, false));
}

#[tokio::test]
async fn what_waited_when_the_backup_was_taken_is_asked_for_where_it_must_not_go_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let mut other = new("other", "2");
    other.interface = "ic-register-push";
    ledger.enqueue(vec![new("one", "1"), other, new("in flight", "3")], NOW).await.unwrap();
    let claimed = ledger.claim("cloud", 3, false, NOW).await.unwrap();
    let ends = claimed.iter().filter(|one| one.body != b"3").map(|one| {
        let end = crate::model::AttemptEnd::NotTaken { fault: "busy".into(), wait_ms: None };
        let receipt = crate::model::Receipt::default();
        let next = crate::model::Next::Wait(NOW);
        crate::ledger::Attempted { id: one.id, end, receipt, next }
    });
    ledger.settle_attempts(ends.collect(), NOW).await.unwrap();
    let restored = Restored { file: "f".into(), taken_at: NOW, by: "李工".into() };
    let parks = |interface: &str| interface == PUSH;
    let parked = ledger.take_up_restored(restored, parks, Time(NOW.0 + 5)).await.unwrap();
    assert_eq!(parked, 1);
    let states: Vec<String> =
        (1..=3).map(|id| ledger.delivery(id).unwrap().unwrap().0.state).collect();
    assert_eq!(states, ["parked", "waiting", "in flight"], "what was in flight a start settles");
    sums_hold(&ledger);
    let chain = ledger.evidence_behind(0, 100).unwrap();
    assert_eq!(chain.broken_at(), None);
    let events: Vec<&str> = chain.lines.iter().map(|line| line.event.as_str()).collect();
    assert!(events.ends_with(&["restored", "parked"]), "{events:?}");
}

#[tokio::test]
async fn a_ledger_that_is_damaged_tampered_with_or_under_other_keys_is_not_taken() {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| place.path().join(name);
    let ledger = open(&folder("whole"));
    register(&ledger, "a", "王小东", order()).await;
    ledger.enqueue(vec![new("one", "1")], NOW).await.unwrap();
    ledger.close();
    let tampered = |name: &str, sql: &str| {
        lay_out(Snapshot::take(&folder("whole")).unwrap(), &folder(name));
        Connection::open(folder(name).join("forepost.db")).unwrap().execute_batch(sql).unwrap();
        verify_restored(&folder(name), keys())
    };
    let line = "UPDATE evidence SET detail = '{}' WHERE id = 1";
    assert!(matches!(tampered("line", line), Err(RestoreFault::Evidence(1))));
    let row = "DELETE FROM delivery";
    assert!(matches!(tampered("row", row), Err(RestoreFault::Accounts(_))));
    let newer = "UPDATE meta SET value = 99 WHERE key IN ('version', 'oldest_reader')";
    assert!(matches!(tampered("newer", newer), Err(RestoreFault::Ledger(_))));
    let readable = "UPDATE meta SET value = 99 WHERE key = 'version'";
    assert!(tampered("readable", readable).is_ok(), "a newer one that this program may read");
    lay_out(Snapshot::take(&folder("whole")).unwrap(), &folder("keys"));
    let others = Keys::new(&[(1, [9; 32])], &[4; 32]);
    assert!(matches!(verify_restored(&folder("keys"), others), Err(RestoreFault::Keys)));
    lay_out(Snapshot::take(&folder("whole")).unwrap(), &folder("page"));
    let file = folder("page").join("forepost.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096..8192].fill(0x5a);
    std::fs::write(&file, bytes).unwrap();
    assert!(verify_restored(&folder("page"), keys()).is_err());
}

#[tokio::test]
async fn the_ledger_remembers_the_last_good_backup_however_many_fail_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    assert_eq!(ledger.backup_figures().unwrap(), (None, 0));
    let noted = |at: i64, fault: &str| BackupNoted {
        began_at: Time(at),
        ended_at: Time(at),
        folder: "/mnt".into(),
        file: "f".into(),
        bytes: 1,
        digest: None,
        fault: fault.into(),
    };
    ledger.note_backup(noted(1, "")).await.unwrap();
    for at in 0..BACKUPS_REMEMBERED + 20 {
        ledger.note_backup(noted(10 + at, "full")).await.unwrap();
    }
    let failed = BACKUPS_REMEMBERED as u64 + 20;
    assert_eq!(ledger.backup_figures().unwrap(), (Some(Time(1)), failed));
    let kept = ledger.backups().unwrap();
    assert_eq!(kept.len() as i64, BACKUPS_REMEMBERED + 1);
    assert_eq!(kept.last().unwrap().ended_at, Time(1));
}
