//! Deliveries, settlements and evidence against a model that is small enough to be believed.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{NOW, open};
use crate::ledger::settlements::KeptSettlement;
use crate::ledger::{Attempted, Decided, Decision, Enqueued, Ledger};
use crate::model::{
    AttemptEnd, DeliveryState, NewDelivery, Next, Receipt, Settlement, Start, Time,
};
use crate::seal::Keys;

const PUSH: &str = "ic-settlement-push";
const HOUR: i64 = 3_600_000;

pub(super) fn new(identity: &str, body: &str) -> NewDelivery {
    NewDelivery {
        interface: PUSH,
        hospital: "H1".into(),
        destination: "cloud".into(),
        identity: identity.into(),
        body: body.into(),
        starts_at: NOW,
        start: Start::Arrival,
        deadline_ms: Some(24 * HOUR),
        parked: None,
    }
}

fn ended(id: i64, end: AttemptEnd, next: Next) -> Attempted {
    Attempted { id, end, receipt: Receipt::default(), next }
}

pub(super) fn delivered(id: i64) -> Attempted {
    ended(id, AttemptEnd::Delivered, Next::Wait(NOW))
}

fn state(ledger: &Ledger, id: i64) -> String {
    ledger.delivery(id).unwrap().unwrap().0.state
}

pub(super) fn sums_hold(ledger: &Ledger) {
    let tallies = ledger.tallies().unwrap();
    assert!(tallies.iter().all(|tally| tally.holds()), "{tallies:?}");
    assert_eq!(tallies, ledger.tallies_recounted().unwrap());
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        thing: usize,
        content: u8,
    },
    Claim {
        limit: usize,
        probe: bool,
    },
    /// Ends one of those under way.
    End {
        which: usize,
        how: u8,
    },
    Decide {
        which: usize,
        how: u8,
    },
    /// The process ends, and the next one settles what was under way.
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2usize, 0..3u8).prop_map(|(thing, content)| Step::Enqueue { thing, content }),
        3 => (1..4usize, any::<bool>()).prop_map(|(limit, probe)| Step::Claim { limit, probe }),
        3 => (0..64usize, 0..4u8).prop_map(|(which, how)| Step::End { which, how }),
        2 => (0..64usize, 0..4u8).prop_map(|(which, how)| Step::Decide { which, how }),
        1 => Just(Step::Die),
    ]
}

struct Kept {
    thing: usize,
    content: Vec<u8>,
    state: DeliveryState,
}

/// Deliveries as the documents of this machine promise them, in a map.
#[derive(Default)]
struct Model(BTreeMap<i64, Kept>);

impl Model {
    fn unsent(&self, thing: usize) -> Option<i64> {
        let unsent =
            |kept: &Kept| matches!(kept.state, DeliveryState::Waiting | DeliveryState::Parked);
        let mut found = self.0.iter().filter(|(_, kept)| kept.thing == thing && unsent(kept));
        let first = found.next().map(|(id, _)| *id);
        assert_eq!(found.next().map(|(id, _)| *id), None, "two contents of one thing wait");
        first
    }

    fn under_way(&self) -> Vec<i64> {
        let under_way = |kept: &Kept| kept.state == DeliveryState::InFlight;
        self.0.iter().filter(|(_, kept)| under_way(kept)).map(|(id, _)| *id).collect()
    }

    fn set(&mut self, id: i64, state: DeliveryState) {
        self.0.get_mut(&id).expect("the model has it").state = state;
    }

    /// Makes the newer content, in the place of what was not sent.
    fn put(&mut self, id: i64, thing: usize, content: Vec<u8>) {
        if let Some(unsent) = self.unsent(thing) {
            self.set(unsent, DeliveryState::Replaced);
        }
        let kept = Kept { thing, content, state: DeliveryState::Waiting };
        assert!(self.0.insert(id, kept).is_none(), "a number is given once");
    }

    fn enqueued(&mut self, thing: usize, content: Vec<u8>, end: Enqueued) {
        let newest = self.0.iter().rev().find(|(_, kept)| kept.thing == thing);
        let same = newest.filter(|(_, kept)| {
            let gone = [DeliveryState::Replaced, DeliveryState::WrittenOff];
            kept.content == content && !gone.contains(&kept.state)
        });
        if let Some((id, _)) = same {
            assert_eq!(end, Enqueued::Unchanged(*id));
            return;
        }
        match (end, self.unsent(thing)) {
            (Enqueued::New(id), None) | (Enqueued::Instead(id), Some(_)) => {
                self.put(id, thing, content);
            }
            (end, unsent) => panic!("{end:?} although {unsent:?} was unsent"),
        }
    }

    fn ended(&mut self, id: i64, otherwise: DeliveryState) {
        let newer = self.unsent(self.0[&id].thing);
        let replaced = newer.is_some() && otherwise != DeliveryState::Delivered;
        self.set(id, if replaced { DeliveryState::Replaced } else { otherwise });
    }
}

async fn take(ledger: &Ledger, model: &mut Model, step: Step) {
    match step {
        Step::Enqueue { thing, content } => {
            let body = format!("{thing} {content}");
            let ends = ledger.enqueue(vec![new(&thing.to_string(), &body)], NOW).await.unwrap();
            model.enqueued(thing, body.into_bytes(), ends[0]);
        }
        Step::Claim { limit, probe } => {
            for one in ledger.claim("cloud", limit, probe, NOW).await.unwrap() {
                let kept = &model.0[&one.id];
                assert_eq!((kept.state, &kept.content), (DeliveryState::Waiting, &one.body));
                let thing = kept.thing;
                let beside = model.under_way().into_iter().any(|id| model.0[&id].thing == thing);
                assert!(!beside, "two attempts of one thing");
                let mut later = model.0.range(one.id + 1..).filter(|(_, kept)| kept.thing == thing);
                let overtaken = later.any(|(_, kept)| kept.state == DeliveryState::Delivered);
                assert!(!overtaken, "something older follows something newer");
                model.set(one.id, DeliveryState::InFlight);
            }
        }
        Step::End { which, how } => {
            let under_way = model.under_way();
            let Some(id) = under_way.get(which % under_way.len().max(1)).copied() else { return };
            let fault = || "fault".to_owned();
            let (attempted, otherwise) = match how {
                0 => (delivered(id), DeliveryState::Delivered),
                1 => (
                    ended(id, AttemptEnd::Refused { fault: fault() }, Next::Park),
                    DeliveryState::Parked,
                ),
                2 => (
                    ended(id, AttemptEnd::Ambiguous { fault: fault() }, Next::Wait(NOW)),
                    DeliveryState::Waiting,
                ),
                _ => {
                    let end = AttemptEnd::NotTaken { fault: fault(), wait_ms: None };
                    (ended(id, end, Next::Wait(NOW.plus_ms(1))), DeliveryState::Waiting)
                }
            };
            ledger.settle_attempts(vec![attempted], NOW).await.unwrap();
            model.ended(id, otherwise);
        }
        Step::Decide { which, how } => person(ledger, model, which, how).await,
        Step::Die => {
            for cut in ledger.cut_off().unwrap() {
                let end = AttemptEnd::Ambiguous { fault: "the process ended under way".into() };
                let attempted = ended(cut.id, end, Next::Wait(NOW));
                ledger.settle_attempts(vec![attempted], NOW).await.unwrap();
                model.ended(cut.id, DeliveryState::Waiting);
            }
            assert!(model.under_way().is_empty());
        }
    }
}

async fn person(ledger: &Ledger, model: &mut Model, which: usize, how: u8) {
    // Of the newest mostly: what is older has ended and can be decided no more.
    let ids: Vec<i64> = model.0.keys().rev().take(3).copied().collect();
    let Some(id) = ids.get(which % ids.len().max(1)).copied() else { return };
    let (thing, before) = (model.0[&id].thing, model.0[&id].state);
    let body = format!("{thing} repaired {id}").into_bytes();
    let decision = match how {
        0 => Decision::Retry,
        1 => Decision::Park,
        2 => Decision::WriteOff,
        _ => Decision::Repair(body.clone()),
    };
    let allowed = match before {
        DeliveryState::Waiting => true,
        DeliveryState::Parked => decision != Decision::Park,
        _ => false,
    };
    let decided = ledger.decide(id, decision, "li", NOW).await.unwrap();
    if !allowed {
        assert_eq!(decided, Decided::Not(before));
        return;
    }
    let Decided::Done(goes_on) = decided else { panic!("{decided:?} of {before:?}") };
    match how {
        0 => model.set(id, DeliveryState::Waiting),
        1 => model.set(id, DeliveryState::Parked),
        2 => model.set(id, DeliveryState::WrittenOff),
        _ => model.put(goes_on, thing, body),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn whatever_happens_the_sums_hold_and_nothing_older_follows(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(&[(1, [3; 32])], &[4; 32]);
        let ledger = Ledger::open_unsynced(folder.path(), keys).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut model = Model::default();
        for step in steps {
            runtime.block_on(take(&ledger, &mut model, step));
            let kept = ledger.deliveries(None, None, 1_000).unwrap();
            let kept: BTreeMap<i64, String> =
                kept.into_iter().map(|one| (one.id, one.state)).collect();
            let expected: BTreeMap<i64, String> =
                model.0.iter().map(|(id, kept)| (*id, kept.state.name().to_owned())).collect();
            assert_eq!(kept, expected);
            sums_hold(&ledger);
        }
        let chain = ledger.evidence(Time(0), Time(i64::MAX), 10_000).unwrap();
        assert_eq!(chain.broken_at(), None);
    }
}

#[tokio::test]
async fn newer_content_takes_the_place_of_an_older_one_whose_successor_was_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.enqueue(vec![new("thing", "one")], NOW).await.unwrap();
    ledger.claim("cloud", 9, false, NOW).await.unwrap();
    ledger.enqueue(vec![new("thing", "two")], NOW).await.unwrap();
    ledger.decide(2, Decision::WriteOff, "li", NOW).await.unwrap();
    let lost = AttemptEnd::Ambiguous { fault: "lost".into() };
    ledger.settle_attempts(vec![ended(1, lost, Next::Wait(NOW))], NOW).await.unwrap();
    let ends = ledger.enqueue(vec![new("thing", "three")], NOW).await.unwrap();
    assert_eq!(ends, [Enqueued::Instead(3)]);
    assert_eq!(state(&ledger, 1), "replaced");
    let claimed = ledger.claim("cloud", 9, false, NOW).await.unwrap();
    assert_eq!(claimed.iter().map(|one| one.id).collect::<Vec<_>>(), [3]);
    sums_hold(&ledger);
}

#[tokio::test]
async fn a_row_that_is_lost_shows_in_the_sums() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.enqueue(vec![new("a", "1"), new("b", "2")], NOW).await.unwrap();
    let lose = |sql: &'static str| {
        ledger.commit(move |writing| Ok(writing.connection.execute(sql, [])?))
    };
    lose("DELETE FROM delivery WHERE id = 2").await.unwrap();
    let tallies = ledger.tallies().unwrap();
    assert_eq!((tallies[0].accepted, tallies[0].holds()), (2, false));
}

#[tokio::test]
async fn the_chain_breaks_at_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.enqueue(vec![new("a", "1"), new("b", "2")], NOW).await.unwrap();
    for one in ledger.claim("cloud", 9, false, NOW).await.unwrap() {
        ledger.settle_attempts(vec![delivered(one.id)], NOW).await.unwrap();
    }
    let chain = ledger.evidence(Time(0), Time(i64::MAX), 100).unwrap();
    assert_eq!((chain.lines.len(), chain.broken_at()), (6, None));
    for at in 0..chain.lines.len() {
        let number = chain.lines[at].number;
        for byte in 0..chain.lines[at].detail.len() {
            let mut changed = chain.clone();
            // One bit of an ASCII text stays ASCII.
            let mut bytes = changed.lines[at].detail.clone().into_bytes();
            bytes[byte] ^= 1;
            changed.lines[at].detail = String::from_utf8(bytes).unwrap();
            assert_eq!(changed.broken_at(), Some(number), "byte {byte} of line {number}");
        }
        for byte in 0..32 {
            let mut changed = chain.clone();
            changed.lines[at].hash[byte] ^= 1;
            assert_eq!(changed.broken_at(), Some(number));
        }
        let mut changed = chain.clone();
        changed.lines[at].at = changed.lines[at].at.plus_ms(1);
        assert_eq!(changed.broken_at(), Some(number));
        let mut changed = chain.clone();
        changed.lines[at].delivery = Some(77);
        assert_eq!(changed.broken_at(), Some(number));
        let mut without = chain.clone();
        without.lines.remove(at);
        // Without its last line a chain is whole: its last hash tells, kept elsewhere.
        let expected = chain.lines.get(at + 1).map(|line| line.number);
        assert_eq!(without.broken_at(), expected);
    }
    let later = ledger.evidence(NOW.plus_ms(1), Time(i64::MAX), 100).unwrap();
    assert_eq!(later.before, chain.lines.last().unwrap().hash, "a day without lines goes on too");
}

#[tokio::test]
async fn what_was_dated_before_the_clock_was_set_moves_with_it_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let wrong = NOW.plus_ms(-1_000 * HOUR);
    let at = |identity: &str, starts_at| NewDelivery { starts_at, ..new(identity, identity) };
    ledger.accept_under(Some("this boot".into()));
    let given = NewDelivery { start: Start::Given, ..at("given", NOW) };
    ledger.enqueue(vec![at("before", wrong), given], wrong).await.unwrap();
    // The clock is set, and the next one comes before anybody has noticed.
    ledger.enqueue(vec![at("between", NOW)], NOW).await.unwrap();
    ledger.accept_under(None);
    ledger.enqueue(vec![at("after", NOW)], NOW).await.unwrap();
    let moved = ledger.rebase("this boot", 1_000 * HOUR, NOW.plus_ms(500)).await.unwrap();
    assert_eq!(moved, 2);
    for id in 1..=4 {
        let (one, ..) = ledger.delivery(id).unwrap().unwrap();
        assert_eq!((one.accepted_at, one.starts_at), (NOW, NOW), "delivery {id}");
        assert_eq!(one.deadline_at, Some(NOW.plus_ms(24 * HOUR)), "delivery {id}");
    }
}

#[tokio::test]
async fn what_a_boot_dated_that_nobody_can_ask_any_more_counts_from_now_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let wrong = NOW.plus_ms(-1_000 * HOUR);
    ledger.accept_under(Some("another boot".into()));
    let given = NewDelivery { start: Start::Given, ..new("given", "1") };
    let arrival = NewDelivery { starts_at: wrong, ..new("arrival", "2") };
    ledger.enqueue(vec![given, arrival], wrong).await.unwrap();
    assert_eq!(ledger.rebase("this boot", 7, NOW).await.unwrap(), 2);
    assert_eq!(ledger.rebase("this boot", 7, NOW).await.unwrap(), 0, "once");
    let shown = [1, 2].map(|id| ledger.delivery(id).unwrap().unwrap().0);
    assert_eq!([&shown[0].start, &shown[1].start], ["given", "possibly late"]);
    for one in shown {
        assert_eq!((one.accepted_at, one.starts_at), (NOW, NOW));
        assert_eq!(one.deadline_at, Some(NOW.plus_ms(24 * HOUR)));
    }
}

#[tokio::test]
async fn pruning_empties_old_bodies_of_what_was_delivered_and_keeps_the_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let all = ["old", "new", "open", "given up"].map(|one| new(one, one)).to_vec();
    ledger.enqueue(all, NOW).await.unwrap();
    ledger.claim("cloud", 2, false, NOW).await.unwrap();
    ledger.settle_attempts(vec![delivered(1)], NOW).await.unwrap();
    ledger.settle_attempts(vec![delivered(2)], NOW.plus_ms(HOUR)).await.unwrap();
    ledger.decide(4, Decision::WriteOff, "li", NOW).await.unwrap();
    let before = ledger.evidence(Time(0), Time(i64::MAX), 100).unwrap();
    assert_eq!(ledger.prune_bodies(NOW.plus_ms(HOUR), 100).await.unwrap(), 2);
    let bodies = [1, 2, 3, 4].map(|id| ledger.delivery(id).unwrap().unwrap().2);
    let kept = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(bodies, [None, kept("new"), kept("open"), None]);
    let after = ledger.evidence(Time(0), Time(i64::MAX), 100).unwrap();
    assert_eq!((after.lines, after.before), (before.lines, before.before));
    let again = ledger.enqueue(vec![new("old", "old")], NOW).await.unwrap();
    assert_eq!(again, [Enqueued::Unchanged(1)], "what was delivered is known without its body");
    sums_hold(&ledger);
}

fn settled(accession: Option<&str>, order: Option<&str>, content: &str) -> KeptSettlement {
    let settlement = Settlement {
        hospital: "H1".into(),
        accession: accession.map(str::to_owned),
        study_order: order.map(str::to_owned),
        settlement: "S1".into(),
        fee: "F1".into(),
        item: "C1".into(),
        exam_part: "B0".into(),
        settled_at: None,
    };
    KeptSettlement { settlement, deliveries: vec![new("", content)] }
}

#[tokio::test]
async fn two_records_are_one_when_the_numbers_they_share_say_so() {
    let (a, b) = (Some("A"), Some("B"));
    let same = Enqueued::Instead(2);
    let apart = Enqueued::New(2);
    let unclear = Enqueued::Parked(2);
    for (first, second, expected) in [
        ((a, None), (a, None), same),
        ((a, None), (b, None), apart),
        ((a, None), (None, a), apart),
        ((a, None), (a, b), same),
        ((None, b), (a, b), same),
        ((a, a), (a, a), same),
        ((a, a), (a, None), same),
        ((a, a), (b, b), apart),
        ((a, a), (b, None), apart),
        ((a, a), (a, b), unclear),
        ((a, a), (b, a), unclear),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        ledger.settle(vec![settled(first.0, first.1, "1")], NOW).await.unwrap();
        let ends = ledger.settle(vec![settled(second.0, second.1, "2")], NOW).await.unwrap();
        assert_eq!(ends, [expected], "{first:?} then {second:?}");
        sums_hold(&ledger);
    }
}

#[tokio::test]
async fn a_number_that_a_record_brings_is_learned_and_a_record_of_two_is_asked_about_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let (a, b) = (Some("A"), Some("B"));
    let of = |records: Vec<KeptSettlement>| ledger.settle(records, NOW);
    let learned = vec![settled(a, None, "1"), settled(a, b, "2"), settled(None, b, "3")];
    let ends = of(learned).await.unwrap();
    assert_eq!(ends, [Enqueued::New(1), Enqueued::Instead(2), Enqueued::Instead(3)]);
    let (c, d) = (Some("C"), Some("D"));
    let ends = of(vec![settled(c, None, "4"), settled(None, d, "5")]).await.unwrap();
    assert_eq!(ends, [Enqueued::New(4), Enqueued::New(5)]);
    let both = || settled(c, d, "6");
    let ends = of(vec![both(), both()]).await.unwrap();
    assert_eq!(ends, [Enqueued::Parked(6), Enqueued::Unchanged(6)]);
    let claimed = ledger.claim("cloud", 9, true, NOW).await.unwrap();
    assert!(claimed.iter().all(|one| one.id != 6), "a person must decide first");
}
