//! The simulated cloud: what it holds, and how it behaves when.
//!
//! It upserts by identity, as the real one is asked to, and remembers in which order contents of
//! one identity came.

use std::collections::HashMap;

use super::dice::Dice;
use super::model::Sent;
use crate::model::{AttemptEnd, Receipt, Time};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// How the cloud behaves in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It takes what comes, but for one lost answer in 100.
    Fair,
    /// No connection.
    Down,
    /// 429, with a wait.
    Busy,
    /// HTTP 200 with a body that says that it failed.
    Failing,
    /// It takes what comes and breaks every other connection before it has answered.
    Breaking,
    /// It takes the connection and never answers.
    Hanging,
}

/// What happens to one attempt.
#[derive(Debug, Clone)]
pub struct Passage {
    /// Milliseconds until the machine knows its end.
    pub takes_ms: i64,
    /// What the machine is told.
    pub end: AttemptEnd,
    /// What it gets for a receipt.
    pub receipt: Receipt,
    /// Whether the cloud has the content now.
    pub taken: bool,
}

/// The cloud.
pub struct Cloud {
    /// `(from, to, weather)`, in order; fair in between.
    spans: Vec<(Time, Time, Weather)>,
    /// The moment at which it moves to another address, and that at which the machine is told.
    moves: (Time, Time),
    holds: HashMap<usize, u32>,
    /// Contents that came after a newer one of the same identity.
    pub went_back: Vec<Sent>,
    dice: Dice,
}

impl Cloud {
    /// Draws the weather of all days: once 20 hours without a connection, and every day something
    /// smaller.
    pub fn new(mut dice: Dice, begin: Time, days: u32) -> Cloud {
        let mut spans = Vec::new();
        for month in 0..days.div_ceil(30) {
            let day = dice.between(1, i64::from(days.min(28)).max(2));
            let from = begin.plus_ms((i64::from(month) * 30 + day) * DAY + dice.between(0, DAY));
            spans.push((from, from.plus_ms(20 * HOUR), Weather::Down));
        }
        for day in 0..i64::from(days) {
            let kinds = [Weather::Down, Weather::Busy, Weather::Failing, Weather::Breaking];
            for weather in kinds.into_iter().chain([Weather::Hanging]) {
                if dice.chance(400) {
                    let from = begin.plus_ms(day * DAY + dice.between(0, DAY));
                    spans.push((from, from.plus_ms(dice.between(2, 90) * MINUTE), weather));
                }
            }
        }
        let moved = begin.plus_ms(dice.between(DAY / 2, i64::from(days) * DAY));
        let told = moved.plus_ms(dice.between(5, 60) * MINUTE);
        Cloud { spans, moves: (moved, told), holds: HashMap::new(), went_back: Vec::new(), dice }
    }

    /// The worst of what holds at a moment.
    pub fn weather(&self, now: Time) -> Weather {
        if (self.moves.0..self.moves.1).contains(&now) {
            return Weather::Down;
        }
        let holds = |(from, to, _): &&(Time, Time, Weather)| (*from..*to).contains(&now);
        self.spans.iter().find(holds).map_or(Weather::Fair, |(_, _, weather)| *weather)
    }

    /// Milliseconds of `from..to` in which it took what came, counted in minutes.
    pub fn fair_ms(&self, from: Time, to: Time) -> i64 {
        let minutes = (0..to.since_ms(from) / MINUTE)
            .filter(|minute| self.weather(from.plus_ms(minute * MINUTE)) == Weather::Fair);
        minutes.count() as i64 * MINUTE
    }

    /// Milliseconds without a connection.
    pub fn down_ms(&self) -> i64 {
        let down = self.spans.iter().filter(|(_, _, weather)| *weather == Weather::Down);
        down.map(|(from, to, _)| to.since_ms(*from)).sum()
    }

    /// What becomes of an attempt that begins now.
    pub fn meet(&mut self, sent: &Sent, now: Time) -> Passage {
        let quick = self.dice.between(30, 400);
        let failed =
            |takes_ms, end| Passage { takes_ms, end, receipt: Receipt::default(), taken: false };
        match self.weather(now) {
            Weather::Down => {
                let fault = "connect: refused".into();
                failed(quick, AttemptEnd::NotTaken { fault, wait_ms: None })
            }
            Weather::Busy => {
                let fault = "status 429, no code".into();
                failed(quick, AttemptEnd::NotTaken { fault, wait_ms: Some(30_000) })
            }
            Weather::Failing => {
                failed(quick, AttemptEnd::Ambiguous { fault: "status 200, code 500".into() })
            }
            Weather::Hanging => {
                failed(30_000, AttemptEnd::Ambiguous { fault: "no answer within 30 s".into() })
            }
            weather @ (Weather::Fair | Weather::Breaking) => {
                self.take(sent);
                let breaks = if weather == Weather::Breaking { 500 } else { 10 };
                if self.dice.chance(breaks) {
                    let fault = "connection lost".into();
                    return Passage {
                        taken: true,
                        ..failed(quick, AttemptEnd::Ambiguous { fault })
                    };
                }
                let receipt =
                    Receipt { status: 200, code: "200".into(), body: b"{\"code\":200}".to_vec() };
                Passage { takes_ms: quick, end: AttemptEnd::Delivered, receipt, taken: true }
            }
        }
    }

    fn take(&mut self, sent: &Sent) {
        let held = self.holds.entry(sent.settlement).or_insert(sent.version);
        if *held > sent.version {
            self.went_back.push(*sent);
        }
        *held = sent.version;
    }

    /// The version of a settlement that it holds.
    pub fn holds(&self, settlement: usize) -> Option<u32> {
        self.holds.get(&settlement).copied()
    }
}
