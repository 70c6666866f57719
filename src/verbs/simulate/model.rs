//! What must hold, said in few lines and in another way than the ledger says it.

use crate::delivery::rules;
use crate::model::Time;

/// A content of a settlement: its place among all, and its version from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sent {
    pub settlement: usize,
    pub version: u32,
}

/// A version that the machine has acknowledged and not yet delivered.
#[derive(Debug, Clone, Copy)]
struct Open {
    version: u32,
    starts_at: Time,
    in_flight: bool,
    /// Stamped while the machine's clock was not believed.
    untrusted: bool,
}

/// One settlement as the HIS knows it.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// The newest version acknowledged.
    pub version: u32,
    /// When its deadline truly began to run, by true time.
    pub began: Option<Time>,
    /// When the newest version was acknowledged, by true time.
    pub acknowledged: Option<Time>,
    /// When the cloud first had the newest version, by true time.
    pub taken: Option<Time>,
    open: Vec<Open>,
}

/// Everything acknowledged.
#[derive(Default)]
pub struct Model {
    pub settlements: Vec<Settlement>,
    /// Places of those with something open.
    open: std::collections::BTreeSet<usize>,
    pub accepted: u64,
    pub delivered: u64,
    pub replaced: u64,
}

impl Model {
    /// The machine acknowledged a version that it had not before. `starts_at` is by the machine's
    /// clock, `truly` by the true one.
    pub fn accepted(&mut self, sent: Sent, starts_at: Time, untrusted: bool, truly: (Time, Time)) {
        self.accepted += 1;
        let settlement = &mut self.settlements[sent.settlement];
        let mut open = Open { version: sent.version, starts_at, in_flight: false, untrusted };
        let mut began = truly.0;
        if let Some(last) = settlement.open.last().filter(|last| !last.in_flight).copied() {
            settlement.open.pop();
            self.replaced += 1;
            open.starts_at = open.starts_at.min(last.starts_at);
            began = settlement.began.map_or(began, |before| before.min(began));
        }
        settlement.open.push(open);
        settlement.version = sent.version;
        (settlement.began, settlement.acknowledged) = (Some(began), Some(truly.1));
        settlement.taken = None;
        self.open.insert(sent.settlement);
    }

    /// The machine began to send a version. What is wrong with that, if anything.
    pub fn begun(&mut self, sent: Sent) -> Option<String> {
        let open = &mut self.settlements[sent.settlement].open;
        if open.iter().any(|one| one.in_flight) {
            return Some(format!("{sent:?} is sent while another attempt is under way"));
        }
        match open.iter_mut().find(|one| one.version == sent.version) {
            Some(one) => one.in_flight = true,
            None => return Some(format!("{sent:?} is sent and is not open")),
        }
        None
    }

    /// The cloud has a version.
    pub fn taken(&mut self, sent: Sent, truly: Time) {
        let settlement = &mut self.settlements[sent.settlement];
        if settlement.version == sent.version {
            settlement.taken.get_or_insert(truly);
        }
    }

    /// The machine knows how an attempt ended.
    pub fn ended(&mut self, sent: Sent, delivered: bool) {
        let settlement = &mut self.settlements[sent.settlement];
        let Some(at) = settlement.open.iter().position(|one| one.version == sent.version) else {
            return;
        };
        if delivered {
            settlement.open.remove(at);
            self.delivered += 1;
        } else if settlement.open.len() > at + 1 {
            let old = settlement.open.remove(at);
            self.replaced += 1;
            let newer = &mut settlement.open[at];
            newer.starts_at = newer.starts_at.min(old.starts_at);
        } else {
            settlement.open[at].in_flight = false;
        }
        if settlement.open.is_empty() {
            self.open.remove(&sent.settlement);
        }
    }

    /// The process died: what was under way has ended in doubt.
    pub fn died(&mut self) {
        let all: Vec<usize> = self.open.iter().copied().collect();
        for place in all {
            let in_flight = self.settlements[place].open.iter().find(|one| one.in_flight);
            if let Some(version) = in_flight.map(|one| one.version) {
                self.ended(Sent { settlement: place, version }, false);
            }
        }
    }

    /// The machine's clock is believed again, and moved by so much.
    pub fn clock_set(&mut self, moved_ms: i64) {
        for place in &self.open {
            for one in &mut self.settlements[*place].open {
                if std::mem::take(&mut one.untrusted) {
                    one.starts_at = one.starts_at.plus_ms(moved_ms);
                }
            }
        }
    }

    /// How many are open.
    pub fn backlog(&self) -> usize {
        self.open.len()
    }

    /// The level of alarm that must stand at a moment of the machine's clock.
    pub fn alarm(&self, now: Time, deadline_ms: i64) -> u32 {
        let open = self.open.iter().flat_map(|place| &self.settlements[*place].open);
        let level =
            |one: &Open| rules::alarm_level(now, one.starts_at, one.starts_at.plus_ms(deadline_ms));
        open.map(level).max().unwrap_or(0)
    }
}
