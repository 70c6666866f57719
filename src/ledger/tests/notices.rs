//! Sessions and notices: what a window sees, what ends, what is forgotten.

use super::*;
use crate::limits::{CODE_MS, LINK_MS, NOTICES_PRUNED_MAX, SESSION_MS_MAX, SESSIONS_OF_USER_MAX};
use crate::model::{Doctor, NoticeKind, NoticeUse, UtcOffset};

pub(super) fn doctor(user: &str) -> Doctor {
    let [hospital, name, department, department_code, kind, code, id_number] =
        ["H1", "测试", "内科", "101", "1", "D1", ""].map(str::to_owned);
    let user = user.to_owned();
    Doctor { hospital, user, name, department, department_code, kind, code, id_number }
}

pub(super) async fn window(ledger: &Ledger, user: &str, secret: u8, now: Time) -> Session {
    let (code, window) = ([secret; 32], [secret + 100; 32]);
    ledger.begin_session(doctor(user), code, String::new(), now).await.unwrap();
    let opened = ledger.open_window(code, window, None, "192.0.2.1".into(), now).await.unwrap();
    opened.unwrap().0
}

pub(super) fn notice(user: &str, session: Option<i64>, plan: i64) -> NewNotice {
    NewNotice {
        hospital: "H1".into(),
        user: user.into(),
        session,
        department: Department { code: "101".into(), name: "内科".into() },
        kind: NoticeKind::Opened,
        patient: "王小东".into(),
        exams: Vec::new(),
        plans: vec![plan],
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_a_while_and_a_session_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let session = window(&ledger, "7", 1, NOW).await;
    let again = ledger.open_window([1; 32], [9; 32], None, String::new(), NOW).await.unwrap();
    assert_eq!(again, None, "shown before");
    ledger.begin_session(doctor("7"), [2; 32], String::new(), NOW).await.unwrap();
    let late = NOW.plus_ms(CODE_MS + 1);
    assert_eq!(
        ledger.open_window([2; 32], [8; 32], None, String::new(), late).await.unwrap(),
        None,
        "too late"
    );
    assert_eq!(ledger.session_of(&[101; 32], NOW).unwrap(), Some(session));
    let old = NOW.plus_ms(SESSION_MS_MAX + 1);
    assert_eq!(ledger.session_of(&[101; 32], old).unwrap(), None);
    assert_eq!(ledger.session_of(&[1; 32], NOW).unwrap(), None, "the code is not the secret");
    for n in 0..SESSIONS_OF_USER_MAX as u8 {
        window(&ledger, "7", 10 + n, NOW).await;
    }
    let sessions = ledger.sessions_of("H1", "7", NOW).unwrap();
    let windows = sessions.iter().filter(|one| one.is_open).count();
    assert_eq!((windows, sessions.len() - windows), (SESSIONS_OF_USER_MAX, 1));
    assert_eq!(ledger.session_of(&[101; 32], NOW).unwrap(), None, "the oldest made room");
    assert_eq!(ledger.sessions_of("H2", "7", NOW).unwrap(), []);
}

#[tokio::test]
async fn a_notice_is_seen_by_its_session_and_forgotten_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let (mine, other) = (window(&ledger, "7", 1, NOW).await, window(&ledger, "7", 2, NOW).await);
    let plan = register(&ledger, "v", "王小东", order()).await.id;
    let precise = ledger.tell(notice("7", Some(mine.id), plan), NOW).await.unwrap();
    let listed = ledger.tell(notice("7", None, plan), NOW).await.unwrap();
    let ids = |session: &Session| -> Vec<i64> {
        ledger.notices(session, NOW).unwrap().iter().map(|one| one.id).collect()
    };
    assert_eq!(ids(&mine), [listed, precise]);
    assert_eq!(ids(&other), [listed]);
    assert_eq!(ledger.sessions_of_plan(plan).unwrap(), [mine.id, other.id]);
    ledger.acknowledge(other.clone(), precise, NOW).await.unwrap();
    assert!(ledger.notices(&mine, NOW).unwrap()[1].acknowledged_at.is_none(), "not its own");
    assert_eq!(ledger.note_shown(vec![precise, precise], NOW).await.unwrap(), 1);
    let with = ("急".to_owned(), None);
    ledger.use_notice(&mine, precise, NoticeUse::Withdrawn, with, NOW).await.unwrap();
    let figures = ledger.notice_figures(NOW, UtcOffset::china()).unwrap();
    assert_eq!(figures.len(), 1);
    let counts = (figures[0].queried, figures[0].notified, figures[0].withdrawn);
    assert_eq!(counts, (2, 1, 1));
    assert_eq!(figures[0].day.wall(UtcOffset::china()).time(), jiff::civil::time(0, 0, 0, 0));

    assert_eq!(ledger.tell(notice("7", None, plan), NOW).await.unwrap(), listed, "again");
    // The patient got a plan more in the meantime: the same notice tells of what that one finds.
    let more = register(&ledger, "w", "王小东", order()).await.id;
    let wider = NewNotice { plans: vec![more, plan], ..notice("7", None, plan) };
    assert_eq!(ledger.tell(wider, NOW).await.unwrap(), listed, "again, of two plans");
    assert_eq!(ledger.sessions_of_plan(more).unwrap(), [mine.id, other.id]);
    let another = ledger.tell(notice("8", None, more), NOW).await.unwrap();
    assert_ne!(another, listed, "another account's");
    for n in 100..NOTICES_PRUNED_MAX + 100 {
        ledger.tell(notice(&format!("{n}"), None, plan), NOW).await.unwrap();
    }
    assert_eq!(ledger.prune_notices(NOW).await.unwrap(), 0, "nothing is older");
    let before = NOW.plus_ms(1);
    assert_eq!(ledger.prune_notices(before).await.unwrap(), NOTICES_PRUNED_MAX + 2);
    assert_eq!(ledger.prune_notices(before).await.unwrap(), 3);
    assert_eq!(ledger.prune_notices(before).await.unwrap(), 0);
    assert!(ids(&mine).is_empty());
    assert!(ledger.session_of(&[101; 32], NOW).unwrap().is_none());
}

#[tokio::test]
async fn a_link_is_good_once_a_while_and_as_long_as_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let session = window(&ledger, "7", 1, NOW).await;
    let study = || "2.25.1".to_owned();
    let address = || Some("192.0.2.1".to_owned());
    let [first, second] = [
        ledger.make_link(&session, 5, study(), NOW).await.unwrap(),
        ledger.make_link(&session, 5, study(), NOW).await.unwrap(),
    ];
    let late = NOW.plus_ms(LINK_MS + 1);
    let opened = ledger.open_link(&first, study(), address(), [7; 32], late).await.unwrap();
    assert_eq!(opened, Err(LinkFault::Late));
    for ticket in ["", "-", "1", "1-", "1-zz", &format!("{first}00"), &first.replace("1-", "2-")] {
        let opened = ledger.open_link(ticket, study(), None, [7; 32], NOW).await.unwrap();
        assert_eq!(opened, Err(LinkFault::Forged), "{ticket}");
    }
    let opened = ledger.open_link(&first, study(), address(), [7; 32], NOW).await.unwrap();
    let linked = Linked { session: session.clone(), notice: 5, study: study() };
    assert_eq!(opened, Ok(linked.clone()));
    let again = ledger.open_link(&first, study(), address(), [8; 32], NOW).await.unwrap();
    assert_eq!(again, Err(LinkFault::Used));
    assert_eq!(ledger.study_linked(&[7; 32], late).unwrap(), Some(linked));
    assert_eq!(ledger.study_linked(&[8; 32], NOW).unwrap(), None);
    ledger.close_window(session, NOW).await.unwrap();
    assert_eq!(ledger.study_linked(&[7; 32], NOW).unwrap(), None);
    let ended = ledger.open_link(&second, study(), address(), [9; 32], NOW).await.unwrap();
    assert_eq!(ended, Err(LinkFault::Ended));
    assert_eq!(ledger.prune_notices(late).await.unwrap(), 3, "the session and both links");
}
