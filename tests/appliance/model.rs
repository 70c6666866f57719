//! Random registrations, cancellations, arrivals and losses against a simple model, in this
//! process: ledger, intake, prefetch and cache as the appliance joins them, a scripted source, and
//! a clock that the test moves, so that hours of waiting for another try pass in no time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forepost::fault::Fault;
use forepost::intake::{Intake, Opener};
use forepost::ledger::{self, Ledger};
use forepost::model::{
    Department, FoundStudy, Identifier, IdentifierKind, ListedInstance, ListedSeries, Listing,
    PatientType, Person, Place, Registration, Sex, Time, UtcOffset, VisitKey, Wanted,
};
use forepost::prefetch::choice::Rules;
use forepost::prefetch::eviction::Marks;
use forepost::prefetch::{Lane, Parts, Piece, Policy, Prefetch, Source, Work};
use forepost_cache::{Cache, StudyQuery, Uid};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::task::JoinHandle;

use crate::support::patient::Patient;
use crate::support::study::{Object, Study};

/// Sequences of actions that are tried.
const CASES: u32 = 200;
/// Tries to find a shorter sequence that fails as well.
const SHRINKS_MAX: u32 = 24;
/// Actions of one sequence.
const ACTIONS_MAX: usize = 14;
/// How long the real flow may take to come to where the model is.
const SETTLE: Duration = Duration::from_secs(10);
/// What the clock moves at each look: longer than any wait between two tries.
const STEP_MS: i64 = 301_000;

const PEOPLE: usize = 3;
const VISITS: usize = 2;
const INSTANCES: usize = 3;
/// Whose study each one is, and whether it shows another person's name under that number.
const STUDIES: [(usize, bool); 5] = [(0, false), (1, false), (2, false), (0, false), (1, true)];

/// The test's clock; the test that moves it runs its cases one after another.
static NOW: AtomicI64 = AtomicI64::new(0);

fn now() -> Time {
    Time(NOW.load(Ordering::SeqCst))
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Action {
    /// The visit is registered, or registered again.
    Register(usize, usize),
    /// The visit is cancelled, perhaps as the first thing heard of it.
    Cancel(usize, usize),
    /// The visit is over.
    Seen(usize, usize),
    /// The source can give so many instances of the study from now on.
    Arrive(usize, usize),
    /// Everything stops in order and starts again.
    Restart,
    /// Everything stops, the search index is lost, and it starts again; perhaps the marker that
    /// says it was closed cleanly is lost as well.
    LoseIndex(bool),
}

fn action() -> impl Strategy<Value = Action> {
    let visit = (0..PEOPLE, 0..VISITS);
    prop_oneof![
        5 => visit.clone().prop_map(|(who, visit)| Action::Register(who, visit)),
        2 => visit.clone().prop_map(|(who, visit)| Action::Cancel(who, visit)),
        2 => visit.prop_map(|(who, visit)| Action::Seen(who, visit)),
        5 => (0..STUDIES.len(), 1..=INSTANCES).prop_map(|(study, n)| Action::Arrive(study, n)),
        1 => Just(Action::Restart),
        1 => any::<bool>().prop_map(Action::LoseIndex),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Wanted,
    Cancelled,
    Over,
}

/// What must hold, in a few lines.
#[derive(Default)]
struct Model {
    visits: BTreeMap<(usize, usize), Stands>,
    given: [usize; STUDIES.len()],
    here: [usize; STUDIES.len()],
}

impl Model {
    fn take(&mut self, action: &Action) {
        match *action {
            Action::Register(who, visit) => drop(self.visits.insert((who, visit), Stands::Wanted)),
            Action::Cancel(who, visit) => drop(self.visits.insert((who, visit), Stands::Cancelled)),
            Action::Seen(who, visit) => drop(self.visits.insert((who, visit), Stands::Over)),
            Action::Arrive(study, n) => self.given[study] = self.given[study].max(n),
            Action::Restart | Action::LoseIndex(_) => {}
        }
        for (study, (owner, stranger)) in STUDIES.into_iter().enumerate() {
            let wanted = self
                .visits
                .iter()
                .any(|((who, _), stands)| *who == owner && *stands == Stands::Wanted);
            if wanted && !stranger {
                self.here[study] = self.given[study].max(self.here[study]);
            }
        }
    }

    /// The state of each visit's plan, by the moment of the visit.
    fn plans(&self) -> BTreeMap<i64, &'static str> {
        let state = |who: usize, stands: Stands| match stands {
            Stands::Cancelled => "cancelled",
            Stands::Over => "over",
            Stands::Wanted => {
                let mut own = STUDIES
                    .iter()
                    .zip(self.here)
                    .filter(|((owner, stranger), _)| *owner == who && !stranger);
                if own.all(|(_, here)| here == INSTANCES) { "ready" } else { "fetching" }
            }
        };
        let plan = |(&(who, visit), &stands): (&(usize, usize), &Stands)| {
            (visit_at(who, visit).0, state(who, stands))
        };
        self.visits.iter().map(plan).collect()
    }
}

fn visit_at(who: usize, visit: usize) -> Time {
    // Ten years ahead, so that no plan is late however far the clock moves.
    Time(2_100_000_000_000 + (who * VISITS + visit) as i64 * 60_000)
}

/// The people and studies of every case.
struct World {
    people: Vec<Patient>,
    studies: Vec<Study>,
    objects: Vec<Vec<Object>>,
}

impl World {
    fn new() -> World {
        let people: Vec<Patient> = (900..900 + PEOPLE as u32).map(Patient::new).collect();
        let studies: Vec<Study> = STUDIES
            .iter()
            .enumerate()
            .map(|(at, (owner, stranger))| {
                let study = Study::of(&people[*owner], 90_000 + at as u64);
                let pn = if *stranger { "周^海燕".to_owned() } else { study.pn.clone() };
                Study { pn, series: vec![INSTANCES], side: 16, ..study }
            })
            .collect();
        let objects = studies.iter().map(Study::objects).collect();
        World { people, studies, objects }
    }

    fn registration(&self, who: usize, visit: usize, stands: Stands) -> Registration {
        let person = &self.people[who];
        let id_card = Identifier::new(IdentifierKind::IdCardNo, &person.id_card);
        Registration {
            hospital: "123456".into(),
            visit: VisitKey::outpatient(&format!("MZ-{who}-{visit}")).expect("a number"),
            person: Person {
                name: person.name.clone(),
                sex: Sex::parse(&person.sex.to_string()),
                birth: None,
                birth_years: None,
            },
            identifiers: id_card.into_iter().collect(),
            id_card_unread: None,
            patient_type: PatientType::Outpatient,
            visit_at: Some(visit_at(who, visit)),
            department: Department { code: "301".into(), name: "心内科".into() },
            cancelled: stands == Stands::Cancelled,
            seen: stands == Stands::Over,
            discharged_at: None,
        }
    }
}

/// A source that gives what the case lets it give, and counts.
struct Script {
    world: Arc<World>,
    given: Mutex<[usize; STUDIES.len()]>,
    delivered: Mutex<HashMap<String, usize>>,
}

impl Script {
    fn place(&self, study: &Uid) -> usize {
        let mut studies = self.world.studies.iter();
        studies.position(|one| one.uid() == study.as_str()).expect("a study of this source")
    }
}

impl Source for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn search<'a>(
        &'a self,
        registration: &'a Registration,
        _: jiff::civil::Date,
    ) -> Work<'a, Vec<FoundStudy>> {
        let number = registration.identifier(IdentifierKind::IdCardNo).expect("everybody has one");
        let of = |study: &&Study| study.patient_id == number.value();
        let found = self.world.studies.iter().filter(of).map(found).collect();
        Box::pin(async { Ok(found) })
    }

    fn locate<'a>(&'a self, _: &'a Uid) -> Work<'a, Option<FoundStudy>> {
        Box::pin(async { Ok(None) })
    }

    fn understands(&self, _: &Registration) -> bool {
        true
    }

    fn series<'a>(&'a self, _: &'a Place, study: &'a Uid) -> Work<'a, Vec<ListedSeries>> {
        let objects = &self.world.objects[self.place(study)];
        let only = ListedSeries {
            series: uid(&objects[0].series),
            modality: "CT".into(),
            instances: Some(objects.len() as u32),
        };
        Box::pin(async { Ok(vec![only]) })
    }

    fn instances<'a>(
        &'a self,
        _: &'a Place,
        study: &'a Uid,
        listing: &'a Listing,
    ) -> Work<'a, Vec<ListedInstance>> {
        let objects = &self.world.objects[self.place(study)];
        let most = if matches!(listing, Listing::One(_)) { 1 } else { objects.len() };
        let list = objects.iter().take(most).enumerate().map(|(at, object)| ListedInstance {
            series: uid(&object.series),
            sop: uid(&object.sop),
            class: "1.2.840.10008.5.1.4.1.1.2".into(),
            number: at as i32 + 1,
        });
        let list = list.collect();
        Box::pin(async { Ok(list) })
    }

    fn retrieve<'a>(
        &'a self,
        _: &'a Place,
        study: &'a Uid,
        wanted: &'a Wanted,
        lane: &'a Lane,
    ) -> Work<'a, ()> {
        let place = self.place(study);
        Box::pin(async move {
            for (at, object) in self.world.objects[place].iter().enumerate() {
                let asked = match wanted {
                    Wanted::Study => true,
                    Wanted::Series(series) => series.as_str() == object.series,
                    Wanted::Instance(_, sop) => sop.as_str() == object.sop,
                };
                if !asked {
                    continue;
                }
                if at >= self.given.lock().unwrap()[place] {
                    return Err(Fault::peer("retrieve", "not yet"));
                }
                *self.delivered.lock().unwrap().entry(object.sop.clone()).or_default() += 1;
                let (half, rest) = object.bytes.split_at(object.bytes.len() / 2);
                lane.put(Piece::Begin).await?;
                lane.put(Piece::Bytes(half.to_vec().into())).await?;
                lane.put(Piece::Bytes(rest.to_vec().into())).await?;
                lane.put(Piece::End).await?;
            }
            Ok(())
        })
    }
}

fn uid(text: &str) -> Uid {
    Uid::try_from(text).expect("a UID")
}

fn found(study: &Study) -> FoundStudy {
    FoundStudy {
        study: uid(&study.uid()),
        place: Place { source: "script".into(), retrieve_url: None },
        patient_name: study.pn.clone(),
        patient_id: study.patient_id.clone(),
        birth_date: study.birth_date.clone(),
        sex: study.sex.clone(),
        age: String::new(),
        study_date: study.date.clone(),
        study_time: String::new(),
        modalities: vec!["CT".into()],
        body_part: "CHEST".into(),
        description: study.description.clone(),
        institution_name: study.institution.clone(),
        institution_code: study.institution_code.clone(),
        accession_issuer: String::new(),
        instances: Some(INSTANCES as u32),
    }
}

/// The real thing, joined as the appliance joins it.
struct Real {
    ledger: Ledger,
    cache: Cache,
    prefetch: Arc<Prefetch>,
    intake: Intake,
    working: JoinHandle<()>,
}

impl Real {
    fn start(folder: &Path, script: &Arc<Script>) -> Real {
        let first = !folder.join("ledger").exists();
        let keys = ledger::load_or_make_keys(&folder.join("keys"), first).expect("keys");
        let ledger = Ledger::open(&folder.join("ledger"), keys).expect("the ledger opens");
        let cache = Cache::open(&folder.join("cache")).expect("the cache opens");
        let sources: Vec<Arc<dyn Source>> = vec![Arc::clone(script) as Arc<dyn Source>];
        let prefetch = Prefetch::new(Parts {
            ledger: ledger.clone(),
            cache: cache.clone(),
            policy: Policy {
                sources,
                rules: Rules { sources: vec!["script".into()], ..Rules::default() },
                offset: UtcOffset::china(),
                grace_ms: 86_400_000,
                stay_ms: 30 * 86_400_000,
                // However full the disk of the tests is.
                marks: Marks { high_percent: 99, low_percent: 98, ..Marks::default() },
            },
            clock: now,
        });
        let intake = Intake {
            ledger: ledger.clone(),
            prefetch: Arc::clone(&prefetch),
            offset: UtcOffset::china(),
            emergency_departments: vec!["急诊".into()],
            sm2: Arc::new(Opener::new(None, folder.join("keys/sm2")).expect("no SM2 keys")),
        };
        let working = tokio::spawn(Arc::clone(&prefetch).run());
        Real { ledger, cache, prefetch, intake, working }
    }

    async fn stop(self) {
        self.prefetch.stop();
        self.working.await.expect("the flow ends in order");
        self.cache.close().expect("the cache closes");
        self.ledger.close();
    }

    fn plans(&self) -> BTreeMap<i64, String> {
        let plans = self.ledger.plans(100).expect("plans can be read");
        plans.into_iter().map(|plan| (plan.due_at.0, plan.state)).collect()
    }

    fn here(&self, world: &World) -> Vec<usize> {
        let studies = world.studies.iter();
        studies.map(|study| self.cache.instances_here(&uid(&study.uid())) as usize).collect()
    }

    /// Waits, the clock running ahead, until everything is as the model says.
    async fn settle(&self, model: &Model, world: &World, after: &str) {
        let begun = Instant::now();
        loop {
            let (plans, here) = (self.plans(), self.here(world));
            let expected = model.plans();
            let same = plans.iter().map(|(at, state)| (*at, state.as_str())).eq(expected.clone());
            if same && here == model.here {
                return;
            }
            assert!(
                begun.elapsed() < SETTLE,
                "after {after}: plans {plans:?}, expected {expected:?}; here {here:?}, expected \
                 {:?}",
                model.here
            );
            NOW.fetch_add(STEP_MS, Ordering::SeqCst);
            self.prefetch.wake();
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    /// A try that was under way when nobody wanted its study any more may still bring something;
    /// the model knows of no such thing. One that begins later finds that nobody wants it.
    async fn end_what_is_under_way(&self) {
        let begun = Instant::now();
        while self.prefetch.under_way() > 0 {
            assert!(begun.elapsed() < SETTLE, "a try never ends");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What is here is found by its own number, is whole, and is what the source gave.
    async fn check_objects(&self, model: &Model, world: &World) {
        for (who, person) in world.people.iter().enumerate() {
            let mut expected: Vec<String> = Vec::new();
            for (study, (owner, _)) in STUDIES.into_iter().enumerate() {
                if owner == who && model.here[study] > 0 {
                    expected.push(world.studies[study].uid());
                }
            }
            expected.sort();
            let query =
                StudyQuery { patient_id: Some(person.id_card.clone()), ..StudyQuery::default() };
            let begun = Instant::now();
            loop {
                let rows = self.cache.search_studies(&query);
                let mut found: Vec<String> = rows.iter().map(|row| row.study.to_string()).collect();
                found.sort();
                if found == expected {
                    break;
                }
                assert!(begun.elapsed() < SETTLE, "found {found:?}, expected {expected:?}");
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }
        for (study, objects) in world.studies.iter().zip(&world.objects) {
            let Some(here) = self.cache.study(&uid(&study.uid())).expect("a study opens") else {
                continue;
            };
            for instance in here.instances() {
                let mut file = here.object(instance).expect("what is listed can be opened");
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut file, &mut bytes).expect("and read");
                let made = objects.iter().find(|object| object.sop == instance.sop.as_str());
                assert!(made.expect("only what was made").bytes == bytes, "{}", instance.sop);
            }
        }
    }
}

async fn case(world: &Arc<World>, actions: &[Action]) {
    let folder = tempfile::tempdir().expect("a folder for the case");
    NOW.store(forepost::clock::now().0, Ordering::SeqCst);
    let script = Arc::new(Script {
        world: Arc::clone(world),
        given: Mutex::default(),
        delivered: Mutex::default(),
    });
    let mut model = Model::default();
    let mut real = Real::start(folder.path(), &script);
    for (at, action) in actions.iter().enumerate() {
        model.take(action);
        let registers = match *action {
            Action::Register(who, visit) => Some(world.registration(who, visit, Stands::Wanted)),
            Action::Cancel(who, visit) => Some(world.registration(who, visit, Stands::Cancelled)),
            Action::Seen(who, visit) => Some(world.registration(who, visit, Stands::Over)),
            Action::Arrive(..) => {
                *script.given.lock().unwrap() = model.given;
                None
            }
            Action::Restart => {
                real.stop().await;
                real = Real::start(folder.path(), &script);
                None
            }
            Action::LoseIndex(marker) => {
                real.stop().await;
                std::fs::remove_dir_all(folder.path().join("cache/index")).expect("the index");
                if marker {
                    // Not there when the rebuild of a loss before had no time to end.
                    let _ = std::fs::remove_file(folder.path().join("cache/index.clean"));
                }
                real = Real::start(folder.path(), &script);
                None
            }
        };
        if let Some(registration) = registers {
            let kept = real
                .intake
                .accept(registration, b"{}".as_slice().into(), vec![], "his", now())
                .await;
            kept.expect("a registration is kept");
            if matches!(action, Action::Cancel(..) | Action::Seen(..)) {
                real.end_what_is_under_way().await;
            }
        }
        real.settle(&model, world, &format!("action {at}, {action:?}")).await;
    }
    real.check_objects(&model, world).await;
    real.stop().await;
    let delivered = script.delivered.lock().unwrap();
    for (sop, times) in delivered.iter() {
        let study = sop.rsplitn(3, '.').last().unwrap_or_default();
        let place = world.studies.iter().position(|one| one.uid() == study);
        let stranger = place.is_some_and(|place| STUDIES[place].1);
        assert!(!stranger, "{sop} contradicts its patient and was fetched");
        assert_eq!(*times, 1, "{sop} was fetched twice");
    }
}

/// A visit that is over wants nothing more, however long its source was late with it.
#[test]
fn a_visit_that_is_over_fetches_nothing_more() {
    let world = Arc::new(World::new());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for end in [Action::Seen(2, 1), Action::Cancel(2, 1)] {
        let again = Action::Register(1, 1);
        let actions = [Action::Register(2, 1), end, Action::Arrive(2, 2), again];
        runtime.block_on(case(&world, &actions));
    }
}

#[test]
fn random_lives_of_registrations_go_as_the_model_says() {
    let world = Arc::new(World::new());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: SHRINKS_MAX,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let strategy = prop::collection::vec(action(), 1..=ACTIONS_MAX);
    let result = runner.run(&strategy, |actions| {
        runtime.block_on(case(&world, &actions));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
