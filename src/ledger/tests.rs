mod backup;
mod deliveries;
mod departments;
mod growth;
mod notices;
mod readers;
mod upgrade;

use super::*;
use crate::model::{
    Department, FetchState, FoundStudy, Identifier, IdentifierKind, Link, PatientType, Person,
    Place, PlanOrder, PlanState, Registration, Sex, StudyOutcome, Time, VisitKey,
};

const NOW: Time = Time(1_800_000_000_000);
const VISIT: Time = Time(NOW.0 + 86_400_000);
const STUDY: &str = "2.25.1";

fn open(folder: &Path) -> Ledger {
    Ledger::open(folder, Keys::new(&[(1, [3; 32])], &[4; 32])).unwrap()
}

fn registration(visit: &str, name: &str) -> Registration {
    Registration {
        hospital: "H1".into(),
        visit: VisitKey::outpatient(visit).unwrap(),
        person: Person {
            name: name.into(),
            sex: Some(Sex::Male),
            birth: None,
            birth_years: Some((1979, 1981)),
        },
        identifiers: numbers(),
        id_card_unread: None,
        patient_type: PatientType::Outpatient,
        visit_at: Some(VISIT),
        department: Department::default(),
        cancelled: false,
        seen: false,
        discharged_at: None,
    }
}

fn numbers() -> Vec<Identifier> {
    vec![Identifier::new(IdentifierKind::HealthNo, "74401972").unwrap()]
}

fn order() -> PlanOrder {
    PlanOrder { urgent: false, due_at: VISIT, searchable: true, cancelled: false, over: false }
}

/// What comes with a registration that the HIS pushes and nothing follows.
fn from_his() -> Arriving {
    let (onward, awaited) = (Vec::new(), Vec::new());
    Arriving { body: None, onward, awaited, caller: "his".into(), reader: None }
}

async fn register(ledger: &Ledger, visit: &str, name: &str, order: PlanOrder) -> Registered {
    let body = Some(format!("{{\"patientName\":\"{name}\"}}").into());
    let arriving = Arriving { body, ..from_his() };
    ledger.register(registration(visit, name), arriving, order, NOW).await.unwrap()
}

fn considered(outcome: StudyOutcome) -> Considered {
    let place = Place { source: "region".into(), retrieve_url: None };
    Considered {
        study: FoundStudy {
            study: STUDY.parse().unwrap(),
            place: place.clone(),
            patient_name: "王小东".into(),
            patient_id: "74401972".into(),
            birth_date: String::new(),
            sex: "M".into(),
            age: String::new(),
            study_date: "20260901".into(),
            study_time: String::new(),
            modalities: vec!["CT".into()],
            body_part: String::new(),
            description: String::new(),
            institution_name: String::new(),
            institution_code: String::new(),
            accession_issuer: String::new(),
            instances: Some(3),
        },
        places: vec![place],
        outcome,
        link: Link::Confirmed,
        score: 7,
        why: "chosen".into(),
        why_zh: "已选取".into(),
    }
}

async fn searched(ledger: &Ledger, id: i64, outcome: StudyOutcome) -> Settled {
    let ends = vec![("region".to_owned(), SearchEnd::Answered)];
    ledger
        .settle_search(
            id,
            &registration("v", "王小东"),
            ends,
            vec![considered(outcome)],
            vec![],
            NOW,
        )
        .await
        .unwrap()
}

fn fetch_state(ledger: &Ledger, state: FetchState) -> u64 {
    let counts = ledger.fetch_counts().unwrap();
    counts.iter().find(|(name, _)| name == state.name()).map_or(0, |(_, count)| *count)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for visit in 0..50 {
        register(&ledger, &format!("v{visit}"), "王小东", order()).await;
    }
    ledger.close();
    drop(ledger);
    let ledger = open(folder.path());
    assert_eq!(ledger.registrations().unwrap(), 50);
    let (plan, registration, ..) = ledger.plan(50).unwrap().unwrap();
    assert_eq!(plan.state, "searching");
    assert_eq!(registration.person.name, "王小东");
    let next = register(&ledger, "later", "王小东", order()).await;
    assert_eq!(next.id, 51, "numbers go on where they ended");
}

#[tokio::test]
async fn nothing_personal_is_readable_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "visit-4711", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    for file in ["forepost.db", "forepost.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        for secret in ["王小东", "74401972", "visit-4711", "patientName"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} stands in {file}");
        }
    }
}

#[tokio::test]
async fn a_job_that_fails_undoes_itself_and_not_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let bad = ledger.commit(|writing| {
        writing.connection.execute("INSERT INTO meta(key, value) VALUES('half', 1)", [])?;
        Err::<(), _>(LedgerError::Unreadable { what: "test" })
    });
    let good = register(&ledger, "v", "王小东", order());
    let (bad, good) = tokio::join!(bad, good);
    assert!(matches!(bad, Err(LedgerError::Unreadable { .. })));
    assert!(good.new);
    let half = ledger.read(|connection| {
        let sql = "SELECT count(*) FROM meta WHERE key = 'half'";
        Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(half.unwrap(), 0);
}

#[tokio::test]
async fn a_registration_sent_again_is_the_same_and_fetches_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let first = register(&ledger, "v", "王小东", order()).await;
    searched(&ledger, first.id, StudyOutcome::Chosen).await;
    let study = STUDY.to_owned();
    ledger.settle_fetch(study, 3, 9, FetchEnd::Here, vec![], NOW).await.unwrap();
    let again = register(&ledger, "v", "王小东", order()).await;
    assert_eq!((again.id, again.new, again.state), (first.id, false, PlanState::Ready));
    assert_eq!(ledger.due_fetches(VISIT, 9, &|_| false, &[]).unwrap().len(), 0);
    let (plan, ..) = ledger.plan(first.id).unwrap().unwrap();
    assert_eq!(plan.lead_ms, Some(86_400_000));
}

#[tokio::test]
async fn a_registration_that_becomes_another_patient_loses_its_links() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "v", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    assert_eq!(ledger.linked(&numbers()).unwrap()[0].link, Link::Confirmed);
    let again = register(&ledger, "v", "李四", order()).await;
    assert_eq!(again.state, PlanState::Searching);
    assert_eq!(ledger.linked(&numbers()).unwrap(), vec![], "nothing is found by it any more");
    assert_eq!(ledger.plan(id).unwrap().unwrap().3[0].link, "apart");
}

#[tokio::test]
async fn a_study_is_dropped_when_the_last_who_wanted_it_cancels() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let one = register(&ledger, "one", "王小东", order()).await.id;
    let two = register(&ledger, "two", "王小东", order()).await.id;
    searched(&ledger, one, StudyOutcome::Chosen).await;
    searched(&ledger, two, StudyOutcome::Chosen).await;
    let cancelled = PlanOrder { cancelled: true, ..order() };
    register(&ledger, "one", "王小东", cancelled).await;
    assert_eq!(fetch_state(&ledger, FetchState::Waiting), 1, "the other still wants it");
    register(&ledger, "two", "王小东", cancelled).await;
    assert_eq!(fetch_state(&ledger, FetchState::Dropped), 1);
    let back = register(&ledger, "two", "王小东", order()).await;
    assert_eq!(back.state, PlanState::Searching);
    searched(&ledger, two, StudyOutcome::Chosen).await;
    assert_eq!(fetch_state(&ledger, FetchState::Waiting), 1, "wanted again");
}

#[tokio::test]
async fn a_study_that_was_evicted_is_fetched_again_by_who_wants_it_next() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "one", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    ledger.settle_fetch(STUDY.into(), 3, 9, FetchEnd::Here, vec![], NOW).await.unwrap();
    let evict = |now| ledger.evict(STUDY.into(), "forepost".into(), now);
    assert!(!evict(NOW).await.unwrap(), "a plan to come counts on it");
    let over = PlanOrder { over: true, ..order() };
    register(&ledger, "one", "王小东", over).await;
    let footing = ledger.footings(&[STUDY, "2.25.9"]).unwrap();
    let expected = Footing { matched: true, over_at: Some(NOW), ..Footing::default() };
    assert_eq!(footing, [expected, Footing::default()]);
    assert!(evict(NOW).await.unwrap());
    assert_eq!(fetch_state(&ledger, FetchState::Evicted), 1);
    let two = register(&ledger, "two", "王小东", order()).await.id;
    let settled = searched(&ledger, two, StudyOutcome::Chosen).await;
    assert_eq!(settled.state, PlanState::Fetching, "not ready with what is gone");
    assert_eq!(ledger.due_fetches(VISIT, 9, &|_| false, &[]).unwrap()[0].study, STUDY);
    let all = Deeds { study: Some(STUDY.into()), who: None, since: Time(0), limit: 9 };
    let deeds = ledger.deeds(&all).unwrap();
    assert_eq!((deeds.len(), deeds[0].what.as_str()), (1, "cache evict"));
}

#[tokio::test]
async fn a_damaged_study_is_fetched_at_once_if_it_is_wanted_and_else_later() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "one", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    ledger.settle_fetch(STUDY.into(), 3, 9, FetchEnd::Here, vec![], NOW).await.unwrap();
    ledger.damaged(STUDY.into(), 2, "forepost".into(), NOW).await.unwrap();
    let (plan, ..) = ledger.plan(id).unwrap().unwrap();
    assert_eq!((plan.state.as_str(), plan.have, plan.expected), ("fetching", 2, 3));
    ledger.settle_fetch(STUDY.into(), 3, 3, FetchEnd::Here, vec![], NOW).await.unwrap();
    let over = PlanOrder { over: true, ..order() };
    register(&ledger, "one", "王小东", over).await;
    assert_eq!(ledger.fetches_here(true).unwrap(), vec![]);
    assert_eq!(ledger.fetches_here(false).unwrap(), vec![(STUDY.to_owned(), 3)]);
    ledger.lost(vec![(STUDY.into(), 1)], NOW).await.unwrap();
    assert_eq!(fetch_state(&ledger, FetchState::Evicted), 1);
    assert_eq!(ledger.due_fetches(VISIT, 9, &|_| false, &[]).unwrap().len(), 0);
}

#[tokio::test]
async fn a_visit_that_nobody_declared_over_is_over_some_time_after_it() {
    const DAY_MS: i64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "one", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Own).await;
    let end = |now| ledger.end_visits(now, DAY_MS, 30 * DAY_MS);
    assert_eq!(end(VISIT.plus_ms(DAY_MS)).await.unwrap(), 0);
    assert_eq!(end(VISIT.plus_ms(DAY_MS + 1)).await.unwrap(), 1);
    assert_eq!(ledger.plan(id).unwrap().unwrap().0.state, "over");
    // A visit that is registered again is wanted again.
    let again = register(&ledger, "one", "王小东", order()).await;
    assert_eq!(again.state, PlanState::Searching);
}

#[tokio::test]
async fn a_plan_is_ready_when_there_is_nothing_to_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "v", "王小东", order()).await.id;
    let settled = searched(&ledger, id, StudyOutcome::Own).await;
    assert_eq!(settled.state, PlanState::Ready);
    assert!(settled.new);
}

#[tokio::test]
async fn an_unanswered_search_is_due_again_and_becomes_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "v", "王小东", order()).await.id;
    for _ in 0..5 {
        let end = SearchEnd::Failed { fault: "connect".into(), next_at: NOW.plus_ms(10) };
        let ends = vec![("region".to_owned(), end)];
        ledger
            .settle_search(id, &registration("v", "王小东"), ends, vec![], vec![], NOW)
            .await
            .unwrap();
        assert!(ledger.due_plans(NOW, 9, &|_| false).unwrap().is_empty());
        assert_eq!(ledger.due_plans(NOW.plus_ms(10), 9, &|_| false).unwrap().len(), 1);
    }
    let (plan, _, searches, _) = ledger.plan(id).unwrap().unwrap();
    assert_eq!(plan.cause.as_deref(), Some("search unanswered"));
    assert_eq!(searches[0].attempts, 5);
    assert_eq!(ledger.expire_plans(VISIT.plus_ms(2), 1).await.unwrap(), 1);
    assert_eq!(ledger.plan(id).unwrap().unwrap().0.state, "not ready");
}

#[tokio::test]
async fn what_the_cache_lost_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "v", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    let study = STUDY.to_owned();
    ledger.settle_fetch(study.clone(), 3, 9, FetchEnd::Here, vec![], NOW).await.unwrap();
    assert_eq!(ledger.fetches_here(true).unwrap(), vec![(study.clone(), 3)]);
    ledger.lost(vec![(study, 1)], NOW).await.unwrap();
    assert_eq!(ledger.due_fetches(NOW, 9, &|_| false, &[]).unwrap().len(), 1);
    assert_eq!(ledger.plan(id).unwrap().unwrap().0.state, "fetching");
}

#[tokio::test]
async fn the_first_header_can_part_one_registration_and_keep_another() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let one = register(&ledger, "one", "王小东", order()).await.id;
    let two = register(&ledger, "two", "李四", order()).await.id;
    searched(&ledger, one, StudyOutcome::Chosen).await;
    searched(&ledger, two, StudyOutcome::Chosen).await;
    let judged = |registration, link| Judged { registration, link, words: "words".into() };
    let links = vec![judged(one, Link::Confirmed), judged(two, Link::Apart)];
    let study = STUDY.to_owned();
    ledger.settle_fetch(study, 3, 9, FetchEnd::Here, links, NOW).await.unwrap();
    for (id, outcome) in [(one, "chosen"), (two, "apart")] {
        let (plan, _, _, studies) = ledger.plan(id).unwrap().unwrap();
        assert_eq!((studies[0].outcome.as_str(), plan.state.as_str()), (outcome, "ready"));
    }
}

/// Keeps the order of an item for the patient of every registration here.
async fn keep_order(ledger: &Ledger, code: &str, now: Time) -> usize {
    let call = Call {
        hospital: "H1".into(),
        numbers: numbers(),
        exam_codes: vec![code.to_owned()],
        onward: Vec::new(),
    };
    ledger.keep_calls("examination ordered", vec![call], "his", 1, now).await.unwrap()
}

#[tokio::test]
async fn what_a_header_contradicted_stays_apart_when_it_is_decided_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "v", "王小东", order()).await.id;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    let reason = "other sex".to_owned();
    let links = vec![Judged { registration: id, link: Link::Apart, words: reason.clone() }];
    let end = FetchEnd::Apart { reason };
    ledger.settle_fetch(STUDY.to_owned(), 0, 9, end, links, NOW).await.unwrap();
    assert_eq!(keep_order(&ledger, "K1", NOW).await, 1);
    let due = ledger.due_plans(NOW, 9, &|_| false).unwrap();
    assert_eq!((due[0].id, due[0].answered.len(), due[0].found.len()), (id, 1, 1));
    searched(&ledger, id, StudyOutcome::Chosen).await;
    let (_, _, _, studies) = ledger.plan(id).unwrap().unwrap();
    assert_eq!((studies[0].outcome.as_str(), studies[0].why.as_str()), ("apart", "other sex"));
    assert_eq!(ledger.due_fetches(VISIT, 9, &|_| false, &[]).unwrap().len(), 0);
    // Under another name it is another person, of whom the header says something else.
    register(&ledger, "v", "王晓东", order()).await;
    searched(&ledger, id, StudyOutcome::Chosen).await;
    assert_eq!(ledger.plan(id).unwrap().unwrap().3[0].outcome, "chosen");
}

#[tokio::test]
async fn what_is_ordered_between_the_decision_and_its_commit_is_decided_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let id = register(&ledger, "v", "王小东", order()).await.id;
    assert_eq!(keep_order(&ledger, "K1", NOW).await, 0, "its plan has found nothing yet");
    let settled = searched(&ledger, id, StudyOutcome::Chosen).await;
    assert_eq!(settled.state, PlanState::Searching, "it was decided as if nothing were ordered");
    let wanted = ledger.ordered("H1", &numbers(), NOW).unwrap();
    assert_eq!(wanted, [Ordered { exam_code: "K1".into(), standard: None }]);
    let settle = |wanted| {
        let found = vec![considered(StudyOutcome::Chosen)];
        let of = registration("v", "王小东");
        let ledger = ledger.clone();
        async move { ledger.settle_search(id, &of, vec![], found, wanted, NOW).await.unwrap() }
    };
    assert_eq!(settle(wanted.clone()).await.state, PlanState::Fetching);
    assert_eq!(ledger.due_plans(VISIT, 9, &|_| false).unwrap().len(), 0);
    assert_eq!(keep_order(&ledger, "K1", NOW).await, 1);
    register(&ledger, "v", "王小东", order()).await;
    assert_eq!(ledger.due_plans(NOW, 9, &|_| false).unwrap().len(), 1, "it is still to be done");
    assert_eq!(settle(wanted).await.state, PlanState::Fetching);
    assert_eq!(ledger.ordered("H2", &numbers(), NOW).unwrap(), [], "its hospital's alone");
    let later = NOW.plus_ms(crate::limits::ORDERED_MS + 1);
    assert_eq!(ledger.ordered("H1", &numbers(), later).unwrap(), [], "forgotten");
    // Long past its visit nobody counts on the plan.
    assert_eq!(keep_order(&ledger, "K2", later).await, 0);
    let left: i64 = ledger
        .read(|connection| {
            let sql = "SELECT count(*) FROM ordered WHERE exam_code = 'K1'";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_closed_ledger_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.close();
    let arriving = from_his();
    let late = ledger.register(registration("v", "王"), arriving, order(), NOW).await;
    assert!(matches!(late, Err(LedgerError::Closed)));
}

#[tokio::test]
async fn what_waits_is_taken_up_unless_its_sender_has_changed_it_since() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let unread = PlanOrder { searchable: false, ..order() };
    for visit in ["a", "b"] {
        let state = register(&ledger, visit, "王小东", unread).await.state;
        assert_eq!(state, PlanState::NoIdentifier);
    }
    register(&ledger, "c", "王小东", order()).await;
    let waiting = ledger.plans_without_identifier(0).unwrap();
    let ids: Vec<i64> = waiting.iter().map(|one| one.id).collect();
    assert_eq!(ids, [1, 2], "the third one waits for nothing");
    assert_eq!(ledger.plans_without_identifier(1).unwrap().len(), 1);
    register(&ledger, "b", "王小东", PlanOrder { cancelled: true, ..unread }).await;
    let mut states = Vec::new();
    for one in waiting {
        let taken = ledger.take_up(one, Vec::new(), "forepost".into(), order(), NOW).await.unwrap();
        states.push(taken.map(|registered| registered.state));
    }
    assert_eq!(states, [Some(PlanState::Searching), None]);
    assert_eq!(ledger.plan(2).unwrap().unwrap().0.state, "cancelled", "the sender's word counts");
}

#[tokio::test]
async fn a_writer_that_has_ended_tells_who_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let ended = ledger.commit(|_| -> Result<(), LedgerError> { panic!("on purpose") }).await;
    assert!(matches!(ended, Err(LedgerError::Closed)), "{ended:?}");
    let after = ledger.commit_first(|_| Ok(())).await;
    assert!(matches!(after, Err(LedgerError::Closed)), "{after:?}");
}
