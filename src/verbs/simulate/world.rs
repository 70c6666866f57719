//! The hospital, the machine, the cloud, and what happens between them, one event after another.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::cloud::{Cloud, DAY, HOUR, MINUTE, Passage};
use super::dice::Dice;
use super::model::{Model, Sent};
use crate::catalog::{self, Interface, Mode, Overlay};
use crate::clock::{EARLIEST, Reading, Steady};
use crate::delivery::{Bell, Destination, Dispatcher, Ended, Route, Routes};
use crate::ledger::{ClaimedDelivery, Enqueued, Ledger, LedgerError};
use crate::limits::{ALARM_HOLD_MS, DELIVERIES_PARALLEL};
use crate::model::{DeliveryState, Time, UtcOffset};
use crate::seal::{KEY_BYTES, Keys};
use crate::settlement::{Arrived, PUSH, Settlements};

/// Milliseconds of the document's rule.
const DEADLINE_MS: i64 = 24 * HOUR;
/// A settlement is late through the machine's fault only if the cloud took what came for so long
/// before its deadline. The longest backlog, two days' worth, drains in less.
const FAIR_ENOUGH_MS: i64 = 2 * HOUR;
/// How long a HIS waits before it pushes again what was not acknowledged.
const PUSH_AGAIN_MS: i64 = MINUTE;
/// Violations that are told.
const VIOLATIONS_MAX: usize = 20;
/// How often the machine looks at its deadlines here; the real one looks more often.
const WATCH_MS: i64 = MINUTE;
/// Settlements of one day that begin in each hour, in parts of 100.
const HOURS: [u64; 24] = [1, 1, 1, 1, 1, 1, 1, 3, 8, 11, 11, 9, 5, 4, 8, 9, 9, 7, 3, 2, 1, 1, 1, 1];

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The HIS pushes these settlements in one call.
    Push(Vec<(usize, u32)>),
    /// The machine learns how an attempt ended, unless it died in between.
    Answer { life: u32, attempt: u64 },
    /// The machine looks at what is due.
    Look,
    /// The machine looks at its deadlines.
    Watch,
    /// The process is killed.
    Kill,
    /// It starts again.
    Start,
    /// The wall clock jumps by so many milliseconds.
    Step(i64),
    /// The machine loses power and its clock with it; after a while the clock is set.
    LoseClock,
    /// The clock is set right.
    SetClock,
}

/// What a run came to.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub acknowledged: u64,
    pub changed: u64,
    pub repeated: u64,
    pub attempts: u64,
    pub delivered: u64,
    pub replaced: u64,
    pub on_time: u64,
    pub late_unavoidably: u64,
    pub backlog_max: usize,
    pub alarms: u64,
    pub kills: u32,
    pub clock_steps: u32,
    pub cloud_hours_down: f64,
    pub ledger_bytes: u64,
    /// The files of the ledger at the end of every 30 days.
    pub months: Vec<Month>,
    pub violations: Vec<String>,
}

/// How long the ledger's files are, and behind how many settlements.
#[derive(Debug, Default, Clone, Copy)]
pub struct Month {
    pub day: i64,
    pub settlements: u64,
    pub database_bytes: u64,
    pub log_bytes: u64,
    pub reserve_bytes: u64,
}

/// The process while it lives.
struct Machine {
    ledger: Ledger,
    dispatcher: Dispatcher,
    settlements: Settlements,
    steady: Steady,
    /// The steps of its clock so far.
    stepped_ms: i64,
}

/// How long the machine keeps the bodies of what it has delivered: what the configuration says when
/// it says nothing.
const KEEP_BODIES_MS: i64 = 90 * DAY;
/// Bodies that are emptied in one commit.
const PRUNE_MAX: usize = 1_000;
/// Lines of the evidence that are read and checked at a time.
const CHAIN_PAGE: usize = 10_000;
/// Days between two lines of progress where nobody sees the bar, and two looks at the files.
const TOLD_DAYS: i64 = 30;

/// What the HIS sends of a settlement.
struct Origin {
    study: usize,
    item: i64,
    self_pay: bool,
    /// True time of the settlement, where the HIS gives it.
    settled_at: Option<Time>,
}

/// Everything.
pub struct World {
    dice: Dice,
    folder: PathBuf,
    begin: Time,
    end: Time,
    now: Time,
    /// What the wall clock of the machine is wrong by.
    wall_error_ms: i64,
    boot: u32,
    booted_at: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    scheduled: u64,
    machine: Option<Machine>,
    life: u32,
    cloud: Cloud,
    model: Model,
    origins: Vec<Origin>,
    /// Contents by the body that is sent of them.
    by_body: HashMap<Vec<u8>, Sent>,
    under_way: HashMap<u64, (ClaimedDelivery, Sent, Passage)>,
    attempts: u64,
    /// The look that is planned.
    look_at: Option<Time>,
    hold_alarms_until: Time,
    alarm_told: u32,
    alarm_differed: bool,
    report: Report,
}

impl World {
    /// A hospital with a machine that has just been installed.
    pub fn new(seed: u64, days: u32, per_day: u32, folder: &Path) -> Result<World, LedgerError> {
        let mut dice = Dice::new(seed);
        let begin = EARLIEST.plus_ms(30 * DAY);
        let cloud = Cloud::new(Dice::new(dice.next()), begin, days);
        let mut world = World {
            folder: folder.to_owned(),
            begin,
            end: begin.plus_ms(i64::from(days) * DAY),
            now: begin,
            wall_error_ms: 0,
            boot: 0,
            booted_at: begin.plus_ms(-HOUR),
            events: BinaryHeap::new(),
            scheduled: 0,
            machine: None,
            life: 0,
            cloud,
            model: Model::default(),
            origins: Vec::new(),
            by_body: HashMap::new(),
            under_way: HashMap::new(),
            attempts: 0,
            look_at: None,
            hold_alarms_until: Time(i64::MIN),
            alarm_told: 0,
            alarm_differed: false,
            report: Report::default(),
            dice,
        };
        for day in 0..i64::from(days) {
            world.draw_day(begin.plus_ms(day * DAY), per_day);
        }
        world.at(begin, Event::Start);
        world.at(begin.plus_ms(WATCH_MS), Event::Watch);
        Ok(world)
    }

    fn at(&mut self, when: Time, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((when, self.scheduled, event)));
    }

    /// A day of the HIS and of the machine's misfortunes.
    fn draw_day(&mut self, day: Time, per_day: u32) {
        // While the cloud is away for long, the hospital has twice the patients.
        let long_down = self.cloud.fair_ms(day, day.plus_ms(DAY)) < 12 * HOUR;
        let pushes = if long_down { per_day * 2 } else { per_day };
        let mut left = i64::from(pushes);
        while left > 0 {
            let hour = self.hour();
            let when = day.plus_ms(hour * HOUR + self.dice.between(0, HOUR));
            left -= self.draw_push(when);
        }
        for _ in 0..self.dice.below(4) {
            let when = day.plus_ms(self.dice.between(0, DAY));
            self.at(when, Event::Kill);
        }
        let (when, back) = (self.dice.between(0, DAY), self.dice.between(1, 5));
        if self.dice.chance(100) {
            let step = self.dice.between(2, 180) * MINUTE;
            self.at(day.plus_ms(when), Event::Step(step));
            self.at(day.plus_ms(when + back * HOUR), Event::SetClock);
        } else if self.dice.chance(60) {
            self.at(day.plus_ms(when), Event::LoseClock);
            self.at(day.plus_ms(when + back * 10 * MINUTE), Event::SetClock);
        }
    }

    fn hour(&mut self) -> i64 {
        let mut part = self.dice.below(HOURS.iter().sum());
        let hour = HOURS.iter().position(|parts| {
            let here = part < *parts;
            part = part.saturating_sub(*parts);
            here
        });
        hour.unwrap_or(0) as i64
    }

    /// One call of the HIS, with what comes of it later; returns how many settlements it holds.
    fn draw_push(&mut self, when: Time) -> i64 {
        let self_pay = self.dice.chance(80);
        let items = if self_pay { 3 } else { 1 };
        let study = self.origins.len();
        let given = self.dice.chance(300).then(|| when.plus_ms(-self.dice.between(0, 3 * HOUR)));
        let mut push = Vec::new();
        for item in 0..items {
            push.push((self.origins.len(), 0));
            self.origins.push(Origin { study, item, self_pay, settled_at: given });
            self.model.settlements.push(Default::default());
        }
        if !self_pay && self.dice.chance(70) {
            let later = when.plus_ms(self.dice.between(1, 600) * 6_000);
            self.at(later, Event::Push(vec![(study, 1)]));
        } else if self.dice.chance(30) {
            let later = when.plus_ms(self.dice.between(1, 600) * 1_000);
            self.at(later, Event::Push(push.clone()));
        }
        self.at(when, Event::Push(push));
        items
    }

    /// Plays every event of the days, and then some hours more, so that what is open can end.
    pub async fn run(&mut self, bar: &ProgressBar) -> Result<(), LedgerError> {
        let last = self.end.plus_ms(2 * DAY);
        while let Some(Reverse((when, _, event))) = self.events.pop() {
            if when > last {
                break;
            }
            let day = when.since_ms(self.begin) / DAY;
            if day != self.now.since_ms(self.begin) / DAY {
                bar.set_position(day as u64);
                bar.set_message(format!("{} open", self.model.backlog()));
                if day % TOLD_DAYS == 0 && bar.is_hidden() {
                    let (seconds, open) = (bar.elapsed().as_secs(), self.model.backlog());
                    eprintln!("day {day} after {seconds} s: {} kept, {open} open", self.kept());
                }
                self.check_sums()?;
                self.prune().await?;
                if day % TOLD_DAYS == 0 {
                    let month = self.month(day);
                    self.report.months.push(month);
                }
            }
            self.now = when;
            self.happen(event).await?;
        }
        Ok(())
    }

    fn month(&self, day: i64) -> Month {
        let bytes =
            |name: &str| std::fs::metadata(self.folder.join(name)).map_or(0, |found| found.len());
        Month {
            day,
            settlements: self.kept(),
            database_bytes: bytes("forepost.db"),
            log_bytes: bytes("forepost.db-wal"),
            reserve_bytes: bytes("reserve"),
        }
    }

    /// Empties old bodies, as the machine does each hour.
    async fn prune(&mut self) -> Result<(), LedgerError> {
        let before = self.now.plus_ms(-KEEP_BODIES_MS);
        let Some(machine) = &self.machine else { return Ok(()) };
        while machine.ledger.prune_bodies(before, PRUNE_MAX).await? == PRUNE_MAX {}
        Ok(())
    }

    async fn happen(&mut self, event: Event) -> Result<(), LedgerError> {
        match event {
            Event::Push(push) => self.push(push).await,
            Event::Answer { life, attempt } => self.answer(life, attempt).await,
            // Another one came before it.
            Event::Look if self.look_at != Some(self.now) => Ok(()),
            Event::Look => {
                self.look_at = None;
                self.look().await
            }
            Event::Watch => {
                self.at(self.now.plus_ms(WATCH_MS), Event::Watch);
                self.watch().await?;
                self.look().await
            }
            Event::Kill => {
                self.kill();
                let down = self.dice.between(2_000, 3 * MINUTE);
                self.at(self.now.plus_ms(down), Event::Start);
                Ok(())
            }
            Event::Start => self.start().await,
            Event::Step(by) => {
                self.wall_error_ms += by;
                self.report.clock_steps += 1;
                Ok(())
            }
            Event::LoseClock => {
                self.kill();
                self.report.clock_steps += 1;
                self.wall_error_ms = -self.now.0;
                (self.boot, self.booted_at) = (self.boot + 1, self.now);
                self.at(self.now.plus_ms(MINUTE), Event::Start);
                Ok(())
            }
            Event::SetClock => {
                self.report.clock_steps += 1;
                self.wall_error_ms = 0;
                Ok(())
            }
        }
    }

    fn kept(&self) -> u64 {
        self.report.acknowledged + self.report.changed
    }

    fn wall(&self) -> Time {
        self.now.plus_ms(self.wall_error_ms)
    }

    fn boot_ms(&self) -> i64 {
        self.now.since_ms(self.booted_at)
    }

    /// Reads the machine's clock as every part of it does.
    async fn reading(&mut self) -> Result<Option<Reading>, LedgerError> {
        let (wall, boot_ms) = (self.wall(), self.boot_ms());
        let Some(machine) = &mut self.machine else { return Ok(None) };
        let reading = machine.steady.read(wall, boot_ms);
        let stepped_ms = reading.stepped_ms - machine.stepped_ms;
        machine.stepped_ms = reading.stepped_ms;
        if stepped_ms != 0 {
            self.hold_alarms_until = reading.now.plus_ms(ALARM_HOLD_MS);
            self.model.clock_set(stepped_ms);
        }
        let alarms = machine.dispatcher.watch(reading).await?;
        for alarm in alarms {
            self.report.alarms += 1;
            self.alarm_told = alarm.level;
        }
        Ok(Some(reading))
    }

    async fn start(&mut self) -> Result<(), LedgerError> {
        if self.machine.is_some() {
            return Ok(());
        }
        let keys = Keys::new(&[(1, [1; KEY_BYTES])], &[2; KEY_BYTES]);
        let ledger = Ledger::open_unsynced(&self.folder, keys)?;
        let floor = ledger.last_moment()?.unwrap_or(EARLIEST).max(EARLIEST);
        let mut steady = Steady::new(floor, self.wall(), self.boot_ms());
        let destination = Destination { name: "cloud".into(), parallel: DELIVERIES_PARALLEL };
        let boot = format!("boot {}", self.boot);
        let mut dispatcher = Dispatcher::new(ledger.clone(), &[destination], boot);
        let reading = steady.read(self.wall(), self.boot_ms());
        dispatcher.recover(reading.now).await?;
        let settlements = Settlements {
            ledger: ledger.clone(),
            bell: Bell::default(),
            routes: Routes::new(vec![Route {
                destination: "cloud".into(),
                interfaces: vec![PUSH.into()],
                reseals: false,
            }]),
            offset: UtcOffset::china(),
            insured_only: Vec::new(),
        };
        let stepped_ms = reading.stepped_ms;
        self.machine = Some(Machine { ledger, dispatcher, settlements, steady, stepped_ms });
        self.life += 1;
        self.reading().await?;
        self.look().await
    }

    fn kill(&mut self) {
        let Some(machine) = self.machine.take() else { return };
        self.report.kills += 1;
        machine.ledger.close();
        self.under_way.clear();
        self.model.died();
    }

    /// The HIS pushes, and pushes again what is not acknowledged.
    async fn push(&mut self, push: Vec<(usize, u32)>) -> Result<(), LedgerError> {
        let Some(reading) = self.reading().await? else {
            self.at(self.now.plus_ms(PUSH_AGAIN_MS), Event::Push(push));
            return Ok(());
        };
        // A HIS keeps its order: what changed goes behind what it changes.
        let early = |(place, version): &(usize, u32)| {
            *version > 0 && self.model.settlements[*place].acknowledged.is_none()
        };
        if push.iter().any(early) {
            self.at(self.now.plus_ms(PUSH_AGAIN_MS), Event::Push(push));
            return Ok(());
        }
        let interface = interface();
        let mut arrived = Vec::new();
        let mut contents = Vec::new();
        for (place, version) in push {
            let sent = Sent { settlement: place, version };
            let origin = &self.origins[place];
            let mut body = body(place, origin);
            if !origin.self_pay {
                body["medListCodg"] = json!(format!("X{version:05}"));
            }
            let settled_at = origin
                .settled_at
                .map(|at| at.wall(UtcOffset::china()).strftime("%Y-%m-%d %H:%M:%S").to_string());
            let checked = catalog::check(interface, &body, Mode::Strict, &Overlay::default());
            assert!(checked.faults.is_empty(), "the simulated HIS sends what the document asks");
            self.by_body.insert(catalog::compose(interface, &checked.record), sent);
            arrived.push(Arrived { record: checked.record, settled_at });
            contents.push(sent);
        }
        let Some(machine) = &self.machine else { return Ok(()) };
        let ends = machine.settlements.accept(&arrived, false, reading.now).await?;
        for (sent, end) in contents.into_iter().zip(ends) {
            self.acknowledge(sent, end, reading);
        }
        self.look().await
    }

    fn acknowledge(&mut self, sent: Sent, end: Enqueued, reading: Reading) {
        match end {
            Enqueued::Unchanged(_) => {
                self.report.repeated += 1;
                return;
            }
            Enqueued::Parked(id) => self.violated(format!("{sent:?} is parked as {id}")),
            Enqueued::New(_) | Enqueued::Instead(_) => {}
        }
        let given = self.origins[sent.settlement].settled_at;
        // Whole seconds are written.
        let given = given.map(|at| Time(at.0 / 1_000 * 1_000));
        // A given time that the machine's own clock makes implausible counts from the arrival.
        let plausible = given.filter(|at| reading.now.since_ms(*at) >= -DAY);
        let starts_at = plausible.unwrap_or(reading.now);
        let truly = (given.unwrap_or(self.now), self.now);
        let untrusted = !reading.trusted && plausible.is_none();
        if sent.version > 0 {
            self.report.changed += 1;
        } else {
            self.report.acknowledged += 1;
        }
        self.model.accepted(sent, starts_at, untrusted, truly);
        self.report.backlog_max = self.report.backlog_max.max(self.model.backlog());
    }

    /// The machine sends what is due.
    async fn look(&mut self) -> Result<(), LedgerError> {
        let Some(reading) = self.reading().await? else { return Ok(()) };
        let Some(machine) = &mut self.machine else { return Ok(()) };
        let claimed = machine.dispatcher.claim(reading.now).await?;
        for one in claimed {
            let Some(sent) = self.by_body.get(&one.body).copied() else {
                self.violated(format!("delivery {} has a body that nobody pushed", one.id));
                continue;
            };
            self.report.attempts += 1;
            if let Some(words) = self.model.begun(sent) {
                self.violated(words);
            }
            let passage = self.cloud.meet(&sent, self.now);
            if passage.taken {
                self.model.taken(sent, self.now);
            }
            self.attempts += 1;
            let attempt = self.attempts;
            let when = self.now.plus_ms(passage.takes_ms);
            self.under_way.insert(attempt, (one, sent, passage));
            self.at(when, Event::Answer { life: self.life, attempt });
        }
        self.plan_look(reading)
    }

    /// The next look, when something waits and nothing else will make the machine look.
    fn plan_look(&mut self, reading: Reading) -> Result<(), LedgerError> {
        let Some(machine) = &self.machine else { return Ok(()) };
        if !self.under_way.is_empty() {
            return Ok(());
        }
        if let Some(next) = machine.ledger.next_delivery("cloud")? {
            let wait = next.since_ms(reading.now).clamp(5_000, WATCH_MS);
            let when = self.now.plus_ms(wait);
            if wait < WATCH_MS && self.look_at.is_none_or(|planned| planned > when) {
                self.look_at = Some(when);
                self.at(when, Event::Look);
            }
        }
        Ok(())
    }

    async fn answer(&mut self, life: u32, attempt: u64) -> Result<(), LedgerError> {
        if life != self.life || self.machine.is_none() {
            return Ok(());
        }
        let Some((claimed, sent, passage)) = self.under_way.remove(&attempt) else {
            return Ok(());
        };
        let Some(reading) = self.reading().await? else { return Ok(()) };
        let Passage { end, receipt, .. } = passage;
        self.model.ended(sent, end == crate::model::AttemptEnd::Delivered);
        let Some(machine) = &mut self.machine else { return Ok(()) };
        machine.dispatcher.ended(vec![Ended { claimed, end, receipt }], reading.now).await?;
        self.look().await
    }

    /// Compares the level of alarm that stands with the one that must.
    async fn watch(&mut self) -> Result<(), LedgerError> {
        let Some(reading) = self.reading().await? else { return Ok(()) };
        if reading.now < self.hold_alarms_until {
            return Ok(());
        }
        // The machine looks each ten seconds, so a level may be told one look late, not two.
        let expected = self.model.alarm(reading.now, DEADLINE_MS);
        let differs = self.alarm_told != expected;
        if differs && self.alarm_differed {
            let told = self.alarm_told;
            self.violated(format!("the alarm stands at {told} and must at {expected}"));
        }
        self.alarm_differed = differs;
        Ok(())
    }

    fn violated(&mut self, words: String) {
        if self.report.violations.len() < VIOLATIONS_MAX {
            let hours = self.now.since_ms(self.begin) as f64 / HOUR as f64;
            self.report.violations.push(format!("{hours:.3} h: {words}"));
        }
    }

    /// The ledger's equation, and the same numbers counted here.
    fn check_sums(&mut self) -> Result<(), LedgerError> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let (kept, counted) = (machine.ledger.tallies()?, machine.ledger.tallies_recounted()?);
        if kept != counted {
            self.violated(format!("tallies {kept:?} are not the rows {counted:?}"));
        }
        for tally in kept {
            let of = |state| tally.of(state);
            let expected = (self.model.accepted, self.model.delivered, self.model.replaced);
            let found = (tally.accepted, of(DeliveryState::Delivered), of(DeliveryState::Replaced));
            if !tally.holds() || found != expected {
                self.violated(format!("{tally:?}, expected {expected:?}"));
            }
        }
        Ok(())
    }

    /// What must hold when all is over.
    pub async fn end(mut self) -> Result<Report, LedgerError> {
        self.start().await?;
        self.check_sums()?;
        self.check_chain()?;
        for sent in std::mem::take(&mut self.cloud.went_back) {
            self.violated(format!("{sent:?} came to the cloud after something newer"));
        }
        for place in 0..self.model.settlements.len() {
            self.check_settlement(place);
        }
        self.report.delivered = self.model.delivered;
        self.report.replaced = self.model.replaced;
        self.report.cloud_hours_down = self.cloud.down_ms() as f64 / HOUR as f64;
        if let Some(machine) = self.machine.take() {
            machine.ledger.close();
        }
        let files = std::fs::read_dir(&self.folder)?.flatten();
        let sizes = files.filter(|file| file.file_name() != "reserve").map(|file| file.metadata());
        self.report.ledger_bytes = sizes.flatten().map(|file| file.len()).sum();
        Ok(self.report)
    }

    fn check_settlement(&mut self, place: usize) {
        let settlement = self.model.settlements[place].clone();
        let (Some(began), Some(acknowledged)) = (settlement.began, settlement.acknowledged) else {
            self.violated(format!("settlement {place} was never acknowledged"));
            return;
        };
        if self.cloud.holds(place) != Some(settlement.version) {
            let (held, version) = (self.cloud.holds(place), settlement.version);
            self.violated(format!("the cloud holds {held:?} of {place}, accepted was {version}"));
            return;
        }
        let deadline = began.plus_ms(DEADLINE_MS);
        let Some(taken) = settlement.taken else { return };
        if taken <= deadline {
            self.report.on_time += 1;
        } else if self.cloud.fair_ms(acknowledged, deadline) < FAIR_ENOUGH_MS {
            self.report.late_unavoidably += 1;
        } else {
            let late = taken.since_ms(deadline) / MINUTE;
            self.violated(format!("settlement {place} arrived {late} min late"));
        }
    }

    fn check_chain(&mut self) -> Result<(), LedgerError> {
        let Some(machine) = &self.machine else { return Ok(()) };
        let mut last = 0;
        loop {
            let chain = machine.ledger.evidence_behind(last, CHAIN_PAGE)?;
            let Some(first) = chain.lines.first() else { return Ok(()) };
            let gap = (first.number != last + 1).then_some(first.number);
            if let Some(number) = gap.or_else(|| chain.broken_at()) {
                self.violated(format!("the evidence is broken at {number}"));
                return Ok(());
            }
            last += chain.lines.len() as i64;
        }
    }
}

fn interface() -> &'static Interface {
    catalog::find(PUSH).expect("the catalogue of this build has it")
}

/// What the HIS sends. Some studies are known by one number, some by both.
fn body(place: usize, origin: &Origin) -> Value {
    let Origin { study, item, self_pay, .. } = *origin;
    let zeros = "00000000000000000000";
    let mut body = json!({
        "hospitalld": "H11019900001",
        "setlId": if self_pay { zeros.into() } else { format!("S{place:019}") },
        "feedetlSn": if self_pay { zeros.into() } else { format!("F{place:019}") },
        "medListCodg": format!("X{item:05}"),
        "examPart": format!("B0{}0{}0ZZZ", item % 10, study % 10),
    });
    if !study.is_multiple_of(3) {
        body["accessionNo"] = json!(format!("A{study:09}"));
    }
    if study % 3 != 1 {
        body["studyOrderId"] = json!(format!("O{study:09}"));
    }
    body
}

#[cfg(test)]
mod tests;
