//! What must leave leaves: in time, in order, and provably.
//!
//! For: settlements, and whatever else the catalogue calls queued. Always holds: an attempt is on
//! the disk as begun before its first byte leaves; what was under way when a process ended is
//! settled as ambiguous before anything is sent again; of one thing only one attempt is under way
//! at a time, and nothing older follows anything newer; a destination that fails in a row gets one
//! attempt now and then until it is back, and then what waits leaves in the order of its
//! deadlines; nothing undelivered is ever dropped. On disk: `delivery`, `attempt`, `tally`,
//! `alarm`, `evidence` of the ledger. Refused: a claim on disk with a lease, which somebody must
//! end; a queue in memory; a number of attempts after which something is given up: only a named
//! person gives up. [`Dispatcher`] decides and takes time as an argument, so that a month passes
//! in seconds in the simulation; [`Delivery`] runs it beside the doors. Start at
//! [`Dispatcher::claim`], then `rules.rs`.

pub mod rules;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::breaker::{Breaker, Permit};
use crate::catalog;
use crate::catalog::table::Ambiguous;
use crate::clock::Reading;
use crate::ledger::{Attempted, ClaimedDelivery, Ledger, LedgerError};
use crate::limits::{ALARM_HOLD_MS, CLAIMS_MAX};
use crate::model::{AttemptEnd, Next, Receipt, Time};

/// Milliseconds between two looks at the ledger: a person's verb may have changed it.
const LOOK_MS: u64 = 1_000;

/// Milliseconds between two looks at the deadlines.
const WATCH_MS: i64 = 10_000;

/// Milliseconds between two rounds of emptying bodies that nobody needs any more.
const PRUNE_EVERY_MS: i64 = 3_600_000;

/// Bodies emptied in one round.
const PRUNE_MAX: usize = 1_000;

/// Milliseconds of the past that a forecast takes its rate from.
pub const FORECAST_SPAN_MS: i64 = 3_600_000;

/// Deliveries that a forecast looks at.
pub const FORECAST_MAX: usize = 100_000;

/// Who carries a delivery to its destination. The doors do; the flow owns the trait because it
/// stands below them.
pub trait Carrier: Send + Sync {
    /// Makes one attempt. Ends within a bounded time.
    fn carry<'a>(
        &'a self,
        claimed: &'a ClaimedDelivery,
    ) -> Pin<Box<dyn Future<Output = (AttemptEnd, Receipt)> + Send + 'a>>;
}

/// A destination as the flow knows it.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its configured name.
    pub name: String,
    /// Attempts under way at once.
    pub parallel: usize,
}

/// A destination and what goes there.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its configured name.
    pub destination: String,
    /// Ids of interfaces.
    pub interfaces: Vec<String>,
    /// Whether what came under the hospital's SM2 key is encrypted to the destination's own.
    pub reseals: bool,
}

/// Which interfaces go where.
#[derive(Debug, Clone, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// Takes them in the order of the configuration.
    pub fn new(routes: Vec<Route>) -> Routes {
        Routes(routes)
    }

    /// Where an interface goes.
    pub fn to<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = &'a Route> {
        self.0.iter().filter(move |route| route.interfaces.iter().any(|one| one == interface))
    }

    /// Whether somebody gets it.
    pub fn has(&self, interface: &str) -> bool {
        self.to(interface).next().is_some()
    }
}

struct Lane {
    destination: Destination,
    breaker: Breaker,
    under_way: usize,
}

/// What one attempt came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What was sent.
    pub claimed: ClaimedDelivery,
    /// How it ended.
    pub end: AttemptEnd,
    /// What was answered.
    pub receipt: Receipt,
}

/// A level of alarm that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The catalogue's id.
    pub interface: String,
    /// Per cent of the deadline's time; 0: none any more.
    pub level: u32,
}

/// Rung when the ledger has something new to send.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Says so.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// Decides what is sent when. Holds no time of its own.
pub struct Dispatcher {
    ledger: Ledger,
    lanes: Vec<Lane>,
    boot: String,
    trusted: Option<bool>,
    /// The steps of the clock that it has followed.
    stepped_ms: i64,
    watched_at: Time,
    hold_alarms_until: Time,
}

impl Dispatcher {
    /// For these destinations; what waits for others stays where it is. `boot` tells this run of
    /// the machine from every other.
    pub fn new(ledger: Ledger, destinations: &[Destination], boot: String) -> Dispatcher {
        let lane = |one: &Destination| Lane {
            destination: one.clone(),
            breaker: Breaker::default(),
            under_way: 0,
        };
        let lanes = destinations.iter().map(lane).collect();
        let never = Time(i64::MIN);
        Dispatcher {
            ledger,
            lanes,
            boot,
            trusted: None,
            stepped_ms: 0,
            watched_at: never,
            hold_alarms_until: never,
        }
    }

    /// Settles what was under way when the last process ended: it may have arrived. Before the
    /// first [`Dispatcher::claim`]. Returns how many.
    pub async fn recover(&mut self, now: Time) -> Result<usize, LedgerError> {
        let cut = self.ledger.cut_off()?;
        let count = cut.len();
        let attempted = cut.into_iter().map(|one| {
            let end = AttemptEnd::Ambiguous { fault: "the process ended under way".into() };
            let next = rules::after(&end, ambiguous(&one.interface), |_| now);
            Attempted { id: one.id, end, receipt: Receipt::default(), next }
        });
        let attempted: Vec<Attempted> = attempted.collect();
        if count > 0 {
            self.ledger.settle_attempts(attempted, now).await?;
        }
        Ok(count)
    }

    /// Begins what is due, as far as destinations have room. Every returned one is to be sent, and
    /// its end told to [`Dispatcher::ended`]. On an error nothing has begun.
    pub async fn claim(&mut self, now: Time) -> Result<Vec<ClaimedDelivery>, LedgerError> {
        let mut claimed = Vec::new();
        for lane in &mut self.lanes {
            match lane.claim(&self.ledger, now).await {
                Ok(mut taken) => claimed.append(&mut taken),
                // What was begun for another destination is in flight on the disk: it must go.
                Err(error) if claimed.is_empty() => return Err(error),
                Err(error) => {
                    log::error!("claiming deliveries: {error}");
                    break;
                }
            }
        }
        Ok(claimed)
    }

    /// Keeps how attempts ended and decides what follows. On an error nothing has
    /// changed. When a destination is back, what waits for it need not wait any longer.
    pub async fn ended(&mut self, ended: Vec<Ended>, now: Time) -> Result<(), LedgerError> {
        let judged = |one: &Ended| {
            let (attempt, deadline_at) = (one.claimed.attempt, one.claimed.deadline_at);
            let salt = one.claimed.id as u64;
            let wait = |asked| rules::next_attempt(now, attempt, deadline_at, asked, salt);
            let next = rules::after(&one.end, ambiguous(&one.claimed.interface), wait);
            let (end, receipt) = (one.end.clone(), one.receipt.clone());
            Attempted { id: one.claimed.id, end, receipt, next }
        };
        let attempted: Vec<Attempted> = ended.iter().map(judged).collect();
        self.ledger.settle_attempts(attempted.clone(), now).await?;
        let mut back = Vec::new();
        for (one, attempted) in ended.into_iter().zip(attempted) {
            let Ended { claimed, end, receipt } = one;
            metrics::counter!("delivery_attempts_total", "interface" => claimed.interface.clone(),
                "outcome" => end.name())
            .increment(1);
            log_end(&claimed, &end, &receipt, attempted.next);
            let Some(lane) = self.lane(&claimed.destination) else { continue };
            lane.under_way = lane.under_way.saturating_sub(1);
            if lane.note(&end, now) {
                back.push(claimed.destination);
            }
        }
        for destination in back {
            let hastened = self.ledger.hasten(&destination, now).await.unwrap_or_default();
            let destination = destination.as_str();
            log::info!(destination, hastened; "destination is back");
        }
        Ok(())
    }

    /// Follows the clock and, now and then, looks at the deadlines. Returns the levels of alarm
    /// that changed.
    pub async fn watch(&mut self, reading: Reading) -> Result<Vec<Alarm>, LedgerError> {
        let stepped_ms = reading.stepped_ms - self.stepped_ms;
        self.follow_clock(reading, stepped_ms).await?;
        self.stepped_ms = reading.stepped_ms;
        if stepped_ms != 0 {
            self.hold_alarms_until = reading.now.plus_ms(ALARM_HOLD_MS);
        }
        // A step fires no alarm. A clock that is not believed does: it goes on evenly, and one that
        // was set back after a wrong step may stay unbelieved for weeks.
        let held = reading.now < self.hold_alarms_until;
        if held || reading.now.since_ms(self.watched_at) < WATCH_MS {
            return Ok(Vec::new());
        }
        self.watched_at = reading.now;
        let before = self.ledger.alarms()?;
        let mut levels: Vec<(String, u32)> =
            before.iter().map(|(interface, _, _)| (interface.clone(), 0)).collect();
        for (interface, starts_at, deadline_at) in self.ledger.oldest_open()? {
            let level = rules::alarm_level(reading.now, starts_at, deadline_at);
            levels.retain(|(known, _)| *known != interface);
            levels.push((interface, level));
        }
        let mut changed = Vec::new();
        for (interface, level) in levels {
            let known = before.iter().find(|(name, _, _)| *name == interface);
            if known.map_or(0, |(_, level, _)| *level) != level {
                self.ledger.set_alarm(&interface, level, reading.now).await?;
                changed.push(Alarm { interface, level });
            }
        }
        Ok(changed)
    }

    /// While the clock is not believed, what is accepted is marked; once it is, what was marked
    /// moves by as much as the clock did.
    async fn follow_clock(&mut self, reading: Reading, stepped_ms: i64) -> Result<(), LedgerError> {
        if self.trusted == Some(reading.trusted) {
            return Ok(());
        }
        if reading.trusted {
            let moved = self.ledger.rebase(&self.boot, stepped_ms, reading.now).await?;
            if moved > 0 {
                log::warn!(moved; "the clock is set: what came before has its time again");
            }
        } else {
            log::error!("the clock shows less than what is recorded; set it: deadlines need it");
        }
        self.ledger.accept_under((!reading.trusted).then(|| self.boot.clone()));
        self.trusted = Some(reading.trusted);
        Ok(())
    }

    fn lane(&mut self, destination: &str) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.destination.name == destination)
    }
}

impl Lane {
    async fn claim(
        &mut self,
        ledger: &Ledger,
        now: Time,
    ) -> Result<Vec<ClaimedDelivery>, LedgerError> {
        let name = &self.destination.name;
        let rests = self.breaker.is_open();
        let room = if rests { 1 } else { self.destination.parallel };
        let room = room.saturating_sub(self.under_way).min(CLAIMS_MAX);
        if room == 0 || !ledger.has_due(name, rests, now)? {
            return Ok(Vec::new());
        }
        if let Permit::Rest(_) = self.breaker.permit(now) {
            return Ok(Vec::new());
        }
        let taken = ledger.claim(name, room, rests, now).await?;
        self.under_way += taken.len();
        Ok(taken)
    }

    /// Tells the breaker. A refusal of the content is an answer. Returns whether the destination
    /// is back.
    fn note(&mut self, end: &AttemptEnd, now: Time) -> bool {
        match end {
            AttemptEnd::Delivered | AttemptEnd::Refused { .. } => {
                let was_open = self.breaker.is_open();
                self.breaker.answered();
                was_open
            }
            AttemptEnd::NotTaken { .. } | AttemptEnd::Ambiguous { .. } => {
                if self.breaker.failed(now) {
                    let destination = self.destination.name.as_str();
                    log::warn!(destination; "destination rests after faults in a row");
                }
                false
            }
        }
    }
}

/// Whether a person must ask what became of a delivery of this interface that may have been sent.
pub fn parks_in_doubt(interface: &str) -> bool {
    ambiguous(interface) != Ambiguous::Resend
}

fn ambiguous(interface: &str) -> Ambiguous {
    // An interface that this version no longer knows is left to a person.
    catalog::find(interface).map_or(Ambiguous::Park, |one| one.delivery.ambiguous)
}

fn log_end(claimed: &ClaimedDelivery, end: &AttemptEnd, receipt: &Receipt, next: Next) {
    let (delivery, interface) = (claimed.id, claimed.interface.as_str());
    let (outcome, fault, attempt) = (end.name(), end.fault(), claimed.attempt);
    let (status, code) = (receipt.status, receipt.code.as_str());
    if *end == AttemptEnd::Delivered {
        log::info!(delivery, interface, attempt, outcome, status, code; "delivered");
    } else if next == Next::Park {
        log::error!(delivery, interface, attempt, outcome, status, code, fault;
            "parked: a person must decide (forepost queue show {delivery})");
    } else {
        log::warn!(delivery, interface, attempt, outcome, status, code, fault; "not delivered");
    }
}

/// What the configuration may change while deliveries go on.
pub struct Outlets {
    /// Where things go.
    pub destinations: Vec<Destination>,
    /// Who carries them there.
    pub carrier: Arc<dyn Carrier>,
    /// Milliseconds for which bodies of what was delivered are kept.
    pub keep_bodies_ms: i64,
}

/// The dispatcher at work.
pub struct Delivery {
    ledger: Ledger,
    clock: fn() -> Reading,
    boot: String,
    outlets: Mutex<Arc<Outlets>>,
    /// Ends the round that works with the outlets before.
    replaced: Notify,
    bell: Bell,
    stop: CancellationToken,
}

impl Delivery {
    /// Builds it; nothing runs before [`Delivery::run`].
    pub fn new(
        ledger: Ledger,
        outlets: Outlets,
        clock: fn() -> Reading,
        boot: String,
    ) -> Arc<Delivery> {
        let (replaced, bell, stop) = Default::default();
        let outlets = Mutex::new(Arc::new(outlets));
        Arc::new(Delivery { ledger, clock, boot, outlets, replaced, bell, stop })
    }

    /// From now on through other outlets. What is under way ends as it began, and nothing is begun
    /// until it has: of one thing one attempt is under way.
    pub fn replace(&self, outlets: Outlets) {
        *self.outlets.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(outlets);
        self.replaced.notify_one();
    }

    /// To be rung when the ledger has something new.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Begins nothing more; [`Delivery::run`] returns when what is under way has ended.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Works until [`Delivery::stop`].
    pub async fn run(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let outlets = Arc::clone(&self.outlets.lock().unwrap_or_else(PoisonError::into_inner));
            self.work(&outlets).await;
        }
    }

    /// Recovers, then works until the stop or until there are other outlets; then lets what is
    /// under way end.
    async fn work(&self, outlets: &Outlets) {
        let mut dispatcher =
            Dispatcher::new(self.ledger.clone(), &outlets.destinations, self.boot.clone());
        while let Err(error) = dispatcher.recover((self.clock)().now).await {
            log::error!("settling what was under way: {error}");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(LOOK_MS)) => {}
                () = self.stop.cancelled() => return,
            }
        }
        let (told, mut ends) = mpsc::channel::<Ended>(CLAIMS_MAX);
        let tasks = TaskTracker::new();
        let mut pruned_at = Time(i64::MIN);
        let mut batch = Vec::new();
        let mut goes_on = true;
        while goes_on && !self.stop.is_cancelled() {
            let reading = (self.clock)();
            self.watch(&mut dispatcher, reading).await;
            if reading.now.since_ms(pruned_at) >= PRUNE_EVERY_MS {
                let before = reading.now.plus_ms(-outlets.keep_bodies_ms);
                if self.prune(before).await {
                    pruned_at = reading.now;
                }
            }
            match dispatcher.claim(reading.now).await {
                Ok(claimed) => {
                    for one in claimed {
                        send(Arc::clone(&outlets.carrier), one, &tasks, &told);
                    }
                }
                Err(error) => log::error!("claiming deliveries: {error}"),
            }
            tokio::select! {
                _ = ends.recv_many(&mut batch, CLAIMS_MAX) => {}
                () = self.bell.0.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(LOOK_MS)) => {}
                () = self.replaced.notified() => goes_on = false,
                () = self.stop.cancelled() => {}
            }
            self.settle(&mut dispatcher, std::mem::take(&mut batch)).await;
        }
        drop(told);
        tasks.close();
        while ends.recv_many(&mut batch, CLAIMS_MAX).await > 0 {
            self.settle(&mut dispatcher, std::mem::take(&mut batch)).await;
        }
    }

    async fn watch(&self, dispatcher: &mut Dispatcher, reading: Reading) {
        let changed = dispatcher.watch(reading).await.unwrap_or_else(|error| {
            log::error!("watching deadlines: {error}");
            Vec::new()
        });
        for alarm in changed {
            let (interface, level) = (alarm.interface.as_str(), alarm.level);
            match level {
                0 => log::info!(interface; "nothing is near its deadline any more"),
                100 => log::error!(interface, level; "a delivery has missed its deadline"),
                _ => log::warn!(interface, level; "a delivery has used so much of its time"),
            }
        }
    }

    /// Empties bodies that nobody needs any more; true when there are no more of them.
    async fn prune(&self, before: Time) -> bool {
        let pruned = self.ledger.prune_bodies(before, PRUNE_MAX).await;
        pruned.inspect_err(|error| log::error!("emptying old bodies: {error}")).unwrap_or(0)
            < PRUNE_MAX
    }

    /// An end that cannot be written is tried again until it can: the lane stays taken meanwhile,
    /// and a start would settle it as ambiguous.
    async fn settle(&self, dispatcher: &mut Dispatcher, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        while let Err(error) = dispatcher.ended(ended.clone(), (self.clock)().now).await {
            log::error!("keeping how attempts ended: {error}");
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            if matches!(error, LedgerError::Closed) {
                return;
            }
        }
    }
}

/// Makes one attempt beside the others.
fn send(
    carrier: Arc<dyn Carrier>,
    claimed: ClaimedDelivery,
    tasks: &TaskTracker,
    told: &mpsc::Sender<Ended>,
) {
    let told = told.clone();
    tasks.spawn(async move {
        let carried = AssertUnwindSafe(carrier.carry(&claimed)).catch_unwind().await;
        // A carrier that panics may have sent: nobody knows, and its lane is free again.
        let (end, receipt) = carried.unwrap_or_else(|_| {
            let fault = "the carrier panicked".to_owned();
            (AttemptEnd::Ambiguous { fault }, Receipt::default())
        });
        // Nobody listens any more only when the process ends; recovery settles it then.
        let _ = told.send(Ended { claimed, end, receipt }).await;
    });
}
