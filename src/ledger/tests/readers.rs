//! Who reads: in the audit after the session is forgotten, and with what is fetched for somebody.

use super::notices::{doctor, notice, window};
use super::*;
use crate::model::Doctor;

/// The code of the doctor for whom the study's fetch is due; `None`: no fetch is due.
fn due(ledger: &Ledger) -> Option<Option<String>> {
    let due = ledger.due_fetches(VISIT, 9, &|_| false, &[]).unwrap().pop()?;
    Some(due.reader.map(|doctor| doctor.code))
}

fn again() -> FetchEnd {
    FetchEnd::Again { fault: "connect".into(), next_at: NOW, disk_full: false }
}

async fn settle(ledger: &Ledger, end: FetchEnd) {
    ledger.settle_fetch(STUDY.into(), 3, 9, end, vec![], NOW).await.unwrap();
}

#[tokio::test]
async fn the_audit_says_which_doctor_read_after_the_session_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let plan = register(&ledger, "v", "王小东", order()).await.id;
    let id_number = "110199198003074013".to_owned();
    let of = Doctor { id_number: id_number.clone(), ..doctor("7") };
    ledger.begin_session(of, [1; 32], String::new(), NOW).await.unwrap();
    let opened = ledger.open_window([1; 32], [101; 32], None, String::new(), NOW).await.unwrap();
    let session = opened.unwrap().0;
    let told = ledger.tell(notice("7", Some(session.id), plan), NOW).await.unwrap();
    for _ in 0..2 {
        let deed = ("report opened", Some(STUDY.to_owned()));
        ledger.note_deed(&session, told, deed, NOW).await.unwrap();
    }
    ledger.prune_notices(NOW.plus_ms(1)).await.unwrap();
    let wanted = Deeds { study: Some(STUDY.into()), who: None, since: NOW, limit: 9 };
    let deeds = ledger.deeds(&wanted).unwrap();
    assert_eq!(deeds.len(), 2);
    for deed in deeds {
        assert_eq!(deed.who, format!("doctor 7 session {}", session.id));
        assert_eq!(deed.doctor, Some(("1".to_owned(), "D1".to_owned())));
    }
    let (rows, number): (i64, String) = ledger
        .read(|connection| {
            let count = "SELECT count(*), max(id) FROM reader";
            let (rows, id) =
                connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let doctor = crate::ledger::readers::load(connection, ledger.keys(), id)?;
            Ok((rows, doctor.unwrap().id_number))
        })
        .unwrap();
    assert_eq!((rows, number), (1, id_number.clone()), "once for a doctor");
    for file in ["forepost.db", "forepost.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        assert!(!bytes.windows(18).any(|window| window == id_number.as_bytes()), "{file}");
    }
}

#[tokio::test]
async fn what_is_fetched_for_a_doctor_says_so_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let plan = register(&ledger, "v", "王小东", order()).await.id;
    searched(&ledger, plan, StudyOutcome::OverBudget).await;
    let session = window(&ledger, "7", 1, NOW).await;
    let told = ledger.tell(notice("7", Some(session.id), plan), NOW).await.unwrap();
    assert_eq!(due(&ledger), None);
    ledger.want_of_notice(doctor("7"), told, STUDY.into(), NOW).await.unwrap();
    assert_eq!(due(&ledger), Some(Some("D1".into())));
    settle(&ledger, again()).await;
    ledger.close();
    let ledger = open(folder.path());
    assert_eq!(due(&ledger), Some(Some("D1".into())), "tried again, and after a start");
    let other = Doctor { code: "D2".into(), ..doctor("8") };
    ledger.want_of_notice(other, told, STUDY.into(), NOW).await.unwrap();
    assert_eq!(due(&ledger), Some(Some("D2".into())), "the last who wants it");

    // What is fetched anew later is nobody's: the cache has lost it, or a registration wants it.
    settle(&ledger, FetchEnd::Here).await;
    assert_eq!(due(&ledger), None);
    ledger.lost(vec![(STUDY.into(), 0)], NOW).await.unwrap();
    assert_eq!(due(&ledger), Some(None));
}

#[tokio::test]
async fn a_plan_that_an_opening_made_is_searched_for_the_doctor_until_a_registration_comes() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let arriving = Arriving { body: Some("{}".into()), reader: Some(doctor("7")), ..from_his() };
    let opened = registration("v", "王小东");
    let plan = ledger.register(opened, arriving, order(), NOW).await.unwrap().id;
    let reader = || ledger.claimed_plan(plan).unwrap().reader.map(|doctor| doctor.code);
    assert_eq!(reader().as_deref(), Some("D1"));
    searched(&ledger, plan, StudyOutcome::Chosen).await;
    assert_eq!(due(&ledger), Some(Some("D1".into())), "what it chose, too");
    settle(&ledger, FetchEnd::Failed { fault: "absent".into() }).await;
    register(&ledger, "v", "王小东", order()).await;
    assert_eq!(reader(), None);
    searched(&ledger, plan, StudyOutcome::Chosen).await;
    assert_eq!(due(&ledger), Some(None));
}
