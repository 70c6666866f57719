//! Deliveries: what was accepted to leave, every attempt, and what a person decided.
//!
//! Always holds, per interface and at every commit: accepted = waiting + in flight + delivered +
//! parked + written off + replaced. `accepted` is counted where something is accepted, the states
//! are counted by triggers on the rows, so that a row that is lost shows. A row is never deleted;
//! a delivered body is emptied after its time, its evidence stays.

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::plans::ids;
use super::writer::Writing;
use super::{Ledger, LedgerError, evidence};
use crate::model::{AttemptEnd, DeliveryState, NewDelivery, Next, Receipt, Time};

/// What is stored for an interface without a deadline: later than every other.
const NO_DEADLINE: i64 = i64::MAX;

pub(super) const TABLES: &str = "
CREATE TABLE delivery(
  id INTEGER PRIMARY KEY,            -- in the order of acceptance
  interface TEXT NOT NULL,
  hospital TEXT NOT NULL,
  destination TEXT NOT NULL,
  identity BLOB NOT NULL,            -- HMAC of interface, destination and what it is
  state TEXT NOT NULL,
  body BLOB NOT NULL,                -- sealed; empty once pruned
  digest BLOB NOT NULL,              -- SHA-256 of the body
  accepted_at INTEGER NOT NULL,
  starts_at INTEGER NOT NULL,
  start TEXT NOT NULL,
  deadline_at INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  fault TEXT NOT NULL DEFAULT '',
  replaced_by INTEGER,
  boot TEXT,                         -- accepted under a clock that was not trusted, in this boot
  ended_at INTEGER
) STRICT;
CREATE INDEX delivery_turn ON delivery(destination, deadline_at, id) WHERE state = 'waiting';
CREATE INDEX delivery_next ON delivery(destination, next_at) WHERE state = 'waiting';
CREATE INDEX delivery_probe ON delivery(destination, attempts, deadline_at, id)
  WHERE state = 'waiting';
CREATE INDEX delivery_open ON delivery(identity, id)
  WHERE state IN ('waiting', 'in flight', 'parked');
CREATE INDEX delivery_last ON delivery(identity, id);
CREATE INDEX delivery_state ON delivery(state, interface, deadline_at);
CREATE INDEX delivery_ended ON delivery(ended_at);
CREATE INDEX delivery_starts ON delivery(starts_at);

CREATE TABLE attempt(
  delivery INTEGER NOT NULL,
  number INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT,
  status INTEGER,
  code TEXT,
  fault TEXT,
  receipt BLOB,                      -- sealed
  PRIMARY KEY(delivery, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally(
  interface TEXT NOT NULL,
  what TEXT NOT NULL,                -- 'accepted', or a state
  count INTEGER NOT NULL,
  PRIMARY KEY(interface, what)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER delivery_made AFTER INSERT ON delivery BEGIN
  INSERT INTO tally(interface, what, count) VALUES(NEW.interface, NEW.state, 1)
    ON CONFLICT(interface, what) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER delivery_moved AFTER UPDATE OF state ON delivery WHEN NEW.state <> OLD.state BEGIN
  UPDATE tally SET count = count - 1 WHERE interface = OLD.interface AND what = OLD.state;
  INSERT INTO tally(interface, what, count) VALUES(NEW.interface, NEW.state, 1)
    ON CONFLICT(interface, what) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER delivery_lost AFTER DELETE ON delivery BEGIN
  UPDATE tally SET count = count - 1 WHERE interface = OLD.interface AND what = OLD.state;
END;

CREATE TABLE alarm(
  interface TEXT PRIMARY KEY,
  level INTEGER NOT NULL,            -- per cent of the oldest delivery's time; 0 none
  since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Years of rows must not be walked at every start, at every step of the clock, or to find that no
/// body is left to be emptied.
pub(super) const OF_YEARS: &str = "
CREATE INDEX delivery_boot ON delivery(boot) WHERE boot IS NOT NULL;
CREATE INDEX delivery_bodies ON delivery(ended_at) WHERE length(body) > 0;
";

/// What became of something that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is a delivery of its own now.
    New(i64),
    /// It took the place of content that had not been sent.
    Instead(i64),
    /// The same content is here, waiting or delivered.
    Unchanged(i64),
    /// A person must decide before it is sent.
    Parked(i64),
}

impl Enqueued {
    /// The delivery that stands for it.
    pub fn delivery(self) -> i64 {
        match self {
            Enqueued::New(id)
            | Enqueued::Instead(id)
            | Enqueued::Unchanged(id)
            | Enqueued::Parked(id) => id,
        }
    }
}

/// A delivery whose attempt has begun: `in flight` is on the disk.
#[derive(Clone)]
pub struct ClaimedDelivery {
    /// Its number.
    pub id: i64,
    /// The catalogue's id.
    pub interface: String,
    /// The hospital's code.
    pub hospital: String,
    /// Whom it goes to.
    pub destination: String,
    /// What is sent. Personal.
    pub body: Vec<u8>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Its deadline.
    pub deadline_at: Option<Time>,
}

impl std::fmt::Debug for ClaimedDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimedDelivery")
            .field("id", &self.id)
            .field("interface", &self.interface)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What an attempt came to, with what follows.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// The delivery.
    pub id: i64,
    /// How it ended.
    pub end: AttemptEnd,
    /// What the destination said.
    pub receipt: Receipt,
    /// What follows, unless it was delivered.
    pub next: Next,
}

/// A delivery that was in flight when a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Its number.
    pub id: i64,
    /// The catalogue's id.
    pub interface: String,
}

/// An interface's deliveries in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The catalogue's id.
    pub interface: String,
    /// Everything that was ever accepted.
    pub accepted: u64,
    /// By state, in the order of [`DeliveryState::ALL`].
    pub states: [u64; 6],
    /// Attempts so far.
    pub attempts: u64,
    /// When the oldest open one was accepted.
    pub oldest_at: Option<Time>,
    /// The nearest deadline of those not parked.
    pub deadline_at: Option<Time>,
}

impl Tally {
    /// How many are in that state.
    pub fn of(&self, state: DeliveryState) -> u64 {
        self.states[DeliveryState::ALL.iter().position(|one| *one == state).unwrap_or(0)]
    }

    /// Whether nothing was lost: the ledger equation.
    pub fn holds(&self) -> bool {
        self.accepted == self.states.iter().sum::<u64>()
    }
}

/// A delivery as people are shown it. Holds nothing personal.
#[derive(Debug, Clone)]
pub struct DeliveryShown {
    /// Its number.
    pub id: i64,
    /// The catalogue's id.
    pub interface: String,
    /// The hospital's code.
    pub hospital: String,
    /// Whom it goes to.
    pub destination: String,
    /// Where it stands.
    pub state: String,
    /// When it was accepted.
    pub accepted_at: Time,
    /// When its deadline began to run, and why then.
    pub starts_at: Time,
    /// See [`Start`].
    pub start: String,
    /// Its deadline.
    pub deadline_at: Option<Time>,
    /// Its next attempt, while it waits.
    pub next_at: Time,
    /// Attempts so far.
    pub attempts: u32,
    /// The last fault, or why it is parked.
    pub fault: String,
    /// What took its place.
    pub replaced_by: Option<i64>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// SHA-256 of the body, hexadecimal.
    pub digest: String,
}

/// An attempt as people are shown it.
#[derive(Debug, Clone)]
pub struct AttemptShown {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub began_at: Time,
    /// When it ended; `None` while it is under way.
    pub ended_at: Option<Time>,
    /// How.
    pub outcome: String,
    /// HTTP status.
    pub status: u16,
    /// Code in the body.
    pub code: String,
    /// The fault.
    pub fault: String,
    /// The answer as it came. May be personal.
    pub receipt: Vec<u8>,
}

/// What a person decided about a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is tried again at once.
    Retry,
    /// It is kept from being sent.
    Park,
    /// It is given up.
    WriteOff,
    /// It is sent with this body.
    Repair(Vec<u8>),
}

impl Decision {
    fn name(&self) -> &'static str {
        match self {
            Decision::Retry => "retry",
            Decision::Park => "park",
            Decision::WriteOff => "write off",
            Decision::Repair(_) => "repair",
        }
    }
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It is done; the number is that of the delivery that goes on.
    Done(i64),
    /// There is no such delivery.
    Unknown,
    /// It is in a state in which that cannot be decided.
    Not(DeliveryState),
}

/// The deliveries of which a deadline began in a span of time, for the on-time report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnTime {
    /// The catalogue's id.
    pub interface: String,
    /// All of them but those replaced.
    pub due: u64,
    /// Delivered before their deadline.
    pub on_time: u64,
    /// Delivered after it.
    pub late: u64,
    /// Not delivered, their deadline still to come.
    pub open: u64,
    /// Not delivered, their deadline past.
    pub missed: u64,
    /// Given up by a person.
    pub written_off: u64,
    /// Of all: those whose deadline began at a moment that the hospital gave.
    pub given: u64,
    /// Of all: those marked possibly late.
    pub possibly_late: u64,
}

impl Ledger {
    /// Keeps deliveries; all of them, or on an error none. In the order given.
    pub async fn enqueue(
        &self,
        deliveries: Vec<NewDelivery>,
        now: Time,
    ) -> Result<Vec<Enqueued>, LedgerError> {
        self.commit_first(move |writing| {
            deliveries.iter().map(|one| enqueue(writing, one, now)).collect()
        })
        .await
    }

    /// Begins attempts at up to `limit` deliveries to one destination whose turn it is, nearest
    /// deadline first. With `probe` one that still waits may be taken, the least tried first, so
    /// that one that always fails hides nobody: it finds out whether the destination is back.
    /// Nothing is claimed while the same thing is in flight.
    pub async fn claim(
        &self,
        destination: &str,
        limit: usize,
        probe: bool,
        now: Time,
    ) -> Result<Vec<ClaimedDelivery>, LedgerError> {
        let destination = destination.to_owned();
        self.commit(move |writing| {
            // Named, because the planner would rather sort thousands than walk in their order.
            let (index, order) = match probe {
                true => ("delivery_probe", "attempts, deadline_at, id"),
                false => ("delivery_turn", "deadline_at, id"),
            };
            let sql = format!(
                "SELECT id FROM delivery d INDEXED BY {index}
                 WHERE destination = ?1 AND state = 'waiting'
                   AND next_at <= ?2 AND NOT EXISTS(SELECT 1 FROM delivery o
                     WHERE o.identity = d.identity AND o.state = 'in flight')
                 ORDER BY {order} LIMIT ?3"
            );
            // A probe is not asked to wait for its turn: the destination rests, not the delivery.
            let turn = if probe { i64::MAX } else { now.0 };
            let due = ids(writing.connection, &sql, params![destination, turn, limit as i64])?;
            let begun = due.into_iter().map(|id| begin(writing, id, now));
            begun.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Whether the turn of something that goes there has come: read before a claim, so that an
    /// idle machine writes nothing.
    pub fn has_due(&self, destination: &str, probe: bool, now: Time) -> Result<bool, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM delivery INDEXED BY delivery_next
                   WHERE destination = ?1 AND state = 'waiting' AND next_at <= ?2)",
            )?;
            let turn = if probe { i64::MAX } else { now.0 };
            Ok(statement.query_row(params![destination, turn], |row| row.get(0))?)
        })
    }

    /// The earliest moment at which something is due to go to a destination.
    pub fn next_delivery(&self, destination: &str) -> Result<Option<Time>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT min(next_at) FROM delivery INDEXED BY delivery_next
                 WHERE destination = ?1 AND state = 'waiting'",
            )?;
            Ok(statement.query_row([destination], |row| row.get::<_, Option<i64>>(0))?.map(Time))
        })
    }

    /// Keeps how attempts ended: one commit.
    pub async fn settle_attempts(
        &self,
        attempted: Vec<Attempted>,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| attempted.iter().try_for_each(|one| settle(writing, one, now)))
            .await
    }

    /// What was in flight when the last process ended. To be settled before anything is sent.
    pub fn cut_off(&self) -> Result<Vec<CutOff>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT id, interface FROM delivery WHERE state = 'in flight'")?;
            let rows = statement
                .query_map([], |row| Ok(CutOff { id: row.get(0)?, interface: row.get(1)? }))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// A destination is back: what waits for it need not wait any longer.
    pub async fn hasten(&self, destination: &str, now: Time) -> Result<usize, LedgerError> {
        let destination = destination.to_owned();
        self.commit(move |writing| {
            let rows = writing
                .connection
                .prepare_cached(
                    "UPDATE delivery SET next_at = ?2
                     WHERE destination = ?1 AND state = 'waiting' AND next_at > ?2",
                )?
                .execute(params![destination, now.0])?;
            Ok(rows)
        })
        .await
    }

    /// Moves the moments of what was accepted under a clock that was not trusted: `shift_ms` for
    /// this boot's, and to `now`, marked, for those of a boot that nobody can date any more.
    pub async fn rebase(&self, boot: &str, shift_ms: i64, now: Time) -> Result<usize, LedgerError> {
        let boot = boot.to_owned();
        self.commit(move |writing| {
            // Accepted after the clock was set and before this noticed it: dated rightly. What was
            // dated before lies at least the step behind.
            writing
                .connection
                .prepare_cached(
                    "UPDATE delivery SET boot = NULL WHERE boot = ?1 AND accepted_at > ?2",
                )?
                .execute(params![boot, now.plus_ms(-shift_ms).0])?;
            let mut changed = 0;
            changed += writing
                .connection
                .prepare_cached(
                    "UPDATE delivery SET accepted_at = accepted_at + ?2,
                       deadline_at = CASE WHEN start = 'given' OR deadline_at = ?3
                         THEN deadline_at ELSE deadline_at + ?2 END,
                       starts_at = CASE WHEN start = 'given' THEN starts_at
                         ELSE starts_at + ?2 END,
                       next_at = min(next_at + ?2, ?4), boot = NULL WHERE boot = ?1",
                )?
                .execute(params![boot, shift_ms, NO_DEADLINE, now.0])?;
            changed += writing
                .connection
                .prepare_cached(
                    "UPDATE delivery SET
                       deadline_at = CASE WHEN start = 'given' OR deadline_at = ?2
                         THEN deadline_at ELSE deadline_at - starts_at + ?1 END,
                       starts_at = CASE WHEN start = 'given' THEN starts_at ELSE ?1 END,
                       start = CASE WHEN start = 'given' THEN start ELSE 'possibly late' END,
                       accepted_at = ?1, next_at = ?1, boot = NULL WHERE boot IS NOT NULL",
                )?
                .execute(params![now.0, NO_DEADLINE])?;
            Ok(changed)
        })
        .await
    }

    /// What is accepted from now on is stamped by a clock that is not believed, in this boot;
    /// `None`: it is believed.
    pub fn accept_under(&self, boot: Option<String>) {
        self.shared.writer.accept_under(boot);
    }

    /// Does what a person decided, with a line of evidence that names them.
    pub async fn decide(
        &self,
        id: i64,
        decision: Decision,
        by: &str,
        now: Time,
    ) -> Result<Decided, LedgerError> {
        let by = by.to_owned();
        self.commit(move |writing| decide(writing, id, &decision, &by, now)).await
    }

    /// Empties the bodies of what was delivered, replaced or given up before then, at most `limit`.
    /// Returns how many.
    pub async fn prune_bodies(&self, before: Time, limit: usize) -> Result<usize, LedgerError> {
        self.commit(move |writing| {
            let rows = writing
                .connection
                .prepare_cached(
                    "UPDATE delivery SET body = x'' WHERE id IN (SELECT id FROM delivery
                       INDEXED BY delivery_bodies
                       WHERE ended_at < ?1 AND length(body) > 0 LIMIT ?2)",
                )?
                .execute(params![before.0, limit as i64])?;
            Ok(rows)
        })
        .await
    }

    /// Every interface's deliveries in numbers.
    pub fn tallies(&self) -> Result<Vec<Tally>, LedgerError> {
        self.read(tallies)
    }

    /// The same counted row by row, to be held against [`Ledger::tallies`].
    pub fn tallies_recounted(&self) -> Result<Vec<Tally>, LedgerError> {
        self.read(|connection| {
            let mut found = tallies(connection)?;
            for tally in &mut found {
                tally.states = [0; 6];
                let mut statement = connection.prepare_cached(
                    "SELECT state, count(*) FROM delivery WHERE interface = ?1 GROUP BY state",
                )?;
                let mut rows = statement.query([&tally.interface])?;
                while let Some(row) = rows.next()? {
                    let state: String = row.get(0)?;
                    let at = DeliveryState::ALL.iter().position(|one| one.name() == state);
                    let at = at.ok_or(LedgerError::Unreadable { what: "delivery.state" })?;
                    tally.states[at] = row.get::<_, i64>(1)? as u64;
                }
            }
            Ok(found)
        })
    }

    /// `(interface, starts_at, deadline_at)` of the open delivery of each interface whose deadline
    /// is nearest: for the alarms. Parked ones count: their deadline runs as well.
    pub fn oldest_open(&self) -> Result<Vec<(String, Time, Time)>, LedgerError> {
        self.read(|connection| {
            let mut interfaces =
                connection.prepare_cached("SELECT interface FROM tally WHERE what = 'accepted'")?;
            let interfaces = interfaces.query_map([], |row| row.get::<_, String>(0))?;
            // One look into the index a state: the open ones may be many thousands.
            let mut nearest = connection.prepare_cached(
                "SELECT starts_at, deadline_at FROM delivery INDEXED BY delivery_state
                 WHERE state = ?1 AND interface = ?2 AND deadline_at < ?3
                 ORDER BY deadline_at LIMIT 1",
            )?;
            let mut oldest = Vec::new();
            for interface in interfaces {
                let interface = interface?;
                let mut found: Option<(i64, i64)> = None;
                for state in DeliveryState::ALL.into_iter().filter(|state| state.is_open()) {
                    let open = nearest
                        .query_row(params![state.name(), interface, NO_DEADLINE], |row| {
                            Ok((row.get(0)?, row.get(1)?))
                        })
                        .optional()?;
                    found = found.into_iter().chain(open).min_by_key(|(_, deadline)| *deadline);
                }
                oldest.extend(
                    found.map(|(start, deadline)| (interface, Time(start), Time(deadline))),
                );
            }
            Ok(oldest)
        })
    }

    /// The levels of alarm as last written.
    pub fn alarms(&self) -> Result<Vec<(String, u32, Time)>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT interface, level, since FROM alarm ORDER BY interface")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u32, Time(row.get(2)?)))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps a level of alarm that changed.
    pub async fn set_alarm(
        &self,
        interface: &str,
        level: u32,
        now: Time,
    ) -> Result<(), LedgerError> {
        let interface = interface.to_owned();
        self.commit(move |writing| {
            writing
                .connection
                .prepare_cached(
                    "INSERT INTO alarm(interface, level, since) VALUES(?1, ?2, ?3)
                     ON CONFLICT(interface) DO UPDATE SET level = excluded.level,
                       since = excluded.since",
                )?
                .execute(params![interface, level, now.0])?;
            let detail = json!({ "interface": interface, "level": level });
            evidence::add(writing.connection, None, "alarm", &detail, now)
        })
        .await
    }

    /// The deadlines of what is open in an interface, nearest first; at most `limit`.
    pub fn open_deadlines(&self, interface: &str, limit: usize) -> Result<Vec<Time>, LedgerError> {
        self.read(|connection| {
            let open = ids(
                connection,
                "SELECT deadline_at FROM delivery WHERE interface = ?1
                   AND state IN ('waiting', 'in flight') AND deadline_at < ?2
                 ORDER BY deadline_at LIMIT ?3",
                params![interface, NO_DEADLINE, limit as i64],
            )?;
            Ok(open.into_iter().map(Time).collect())
        })
    }

    /// How many were delivered in an interface since then.
    pub fn delivered_since(&self, interface: &str, since: Time) -> Result<u64, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT count(*) FROM delivery INDEXED BY delivery_ended
                 WHERE state = 'delivered' AND ended_at >= ?2 AND interface = ?1",
            )?;
            Ok(statement.query_row(params![interface, since.0], |row| row.get::<_, i64>(0))? as u64)
        })
    }

    /// Deliveries for people: of one state or all, of one interface or all, nearest deadline
    /// first.
    pub fn deliveries(
        &self,
        state: Option<DeliveryState>,
        interface: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeliveryShown>, LedgerError> {
        self.read(|connection| {
            let sql = format!(
                "{SHOWN} WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR interface = ?2)
                 ORDER BY state = 'delivered', state = 'replaced', deadline_at, id LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let state = state.map(DeliveryState::name);
            let rows = statement.query_map(params![state, interface, limit as i64], shown)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One delivery with its attempts and its body, as far as that is still kept.
    #[allow(clippy::type_complexity, reason = "the three parts of one page")]
    pub fn delivery(
        &self,
        id: i64,
    ) -> Result<Option<(DeliveryShown, Vec<AttemptShown>, Option<Vec<u8>>)>, LedgerError> {
        self.read(|connection| {
            let sql = format!("{SHOWN} WHERE id = ?1");
            let found = connection.prepare_cached(&sql)?.query_row([id], shown).optional()?;
            let Some(found) = found else { return Ok(None) };
            let sealed: Vec<u8> = connection
                .prepare_cached("SELECT body FROM delivery WHERE id = ?1")?
                .query_row([id], |row| row.get(0))?;
            let body = match sealed.is_empty() {
                true => None,
                false => Some(self.keys().open("delivery.body", id, &sealed)?),
            };
            Ok(Some((found, self.attempts(connection, id)?, body)))
        })
    }

    fn attempts(&self, connection: &Connection, id: i64) -> Result<Vec<AttemptShown>, LedgerError> {
        let mut statement = connection.prepare_cached(
            "SELECT number, began_at, ended_at, outcome, status, code, fault, receipt
             FROM attempt WHERE delivery = ?1 ORDER BY number",
        )?;
        let mut rows = statement.query([id])?;
        let mut attempts = Vec::new();
        while let Some(row) = rows.next()? {
            let sealed: Option<Vec<u8>> = row.get(7)?;
            let receipt = match sealed {
                Some(sealed) => self.keys().open("attempt.receipt", id, &sealed)?,
                None => Vec::new(),
            };
            attempts.push(AttemptShown {
                number: row.get(0)?,
                began_at: Time(row.get(1)?),
                ended_at: row.get::<_, Option<i64>>(2)?.map(Time),
                outcome: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                status: row.get::<_, Option<u16>>(4)?.unwrap_or_default(),
                code: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                fault: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
                receipt,
            });
        }
        Ok(attempts)
    }

    /// What became of the deliveries whose time began in `from..to`, by interface.
    pub fn on_time(&self, from: Time, to: Time, now: Time) -> Result<Vec<OnTime>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT interface, count(*),
                   sum(state = 'delivered' AND ended_at <= deadline_at),
                   sum(state = 'delivered' AND ended_at > deadline_at),
                   sum(state IN ('waiting', 'in flight', 'parked') AND deadline_at >= ?3),
                   sum(state IN ('waiting', 'in flight', 'parked') AND deadline_at < ?3),
                   sum(state = 'written off'), sum(start = 'given'), sum(start = 'possibly late')
                 FROM delivery WHERE starts_at >= ?1 AND starts_at < ?2 AND deadline_at < ?4
                   AND state <> 'replaced' GROUP BY interface",
            )?;
            let rows = statement.query_map(params![from.0, to.0, now.0, NO_DEADLINE], |row| {
                let count = |at: usize| row.get::<_, i64>(at).map(|count| count as u64);
                Ok(OnTime {
                    interface: row.get(0)?,
                    due: count(1)?,
                    on_time: count(2)?,
                    late: count(3)?,
                    open: count(4)?,
                    missed: count(5)?,
                    written_off: count(6)?,
                    given: count(7)?,
                    possibly_late: count(8)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn tallies(connection: &Connection) -> Result<Vec<Tally>, LedgerError> {
    let mut found: Vec<Tally> = Vec::new();
    let mut statement = connection
        .prepare_cached("SELECT interface, what, count FROM tally ORDER BY interface, what")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (interface, what): (String, String) = (row.get(0)?, row.get(1)?);
        let count = row.get::<_, i64>(2)? as u64;
        if found.last().is_none_or(|last| last.interface != interface) {
            found.push(Tally { interface, ..Tally::default() });
        }
        let last = found.last_mut().expect("pushed above");
        match DeliveryState::ALL.iter().position(|state| state.name() == what) {
            Some(at) => last.states[at] = count,
            None if what == "attempts" => last.attempts = count,
            None => last.accepted = count,
        }
    }
    for tally in &mut found {
        let (oldest, deadline): (Option<i64>, Option<i64>) = connection
            .prepare_cached(
                "SELECT min(accepted_at), min(CASE WHEN state <> 'parked' AND deadline_at < ?2
                   THEN deadline_at END) FROM delivery
                 WHERE state IN ('waiting', 'in flight', 'parked') AND interface = ?1",
            )?
            .query_row(params![tally.interface, NO_DEADLINE], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        (tally.oldest_at, tally.deadline_at) = (oldest.map(Time), deadline.map(Time));
    }
    Ok(found)
}

/// The newest row of a thing.
struct Before {
    id: i64,
    state: DeliveryState,
    digest: Vec<u8>,
}

/// Keeps one delivery. What it means where the same thing is here already: the same content is no
/// new delivery; other content takes the place of what was not sent, and waits for the end of an
/// attempt that is under way.
pub(super) fn enqueue(
    writing: &Writing<'_>,
    new: &NewDelivery,
    now: Time,
) -> Result<Enqueued, LedgerError> {
    let identity = writing.keys.delivery(new.interface, &new.destination, &new.identity);
    let digest = digest(&SHA256, &new.body);
    let before = newest(writing.connection, &identity)?;
    if let Some(before) = &before
        && before.digest == digest.as_ref()
        && !matches!(before.state, DeliveryState::Replaced | DeliveryState::WrittenOff)
    {
        return Ok(Enqueued::Unchanged(before.id));
    }
    let unsent = unsent(writing.connection, &identity)?;
    let id = insert(writing, new, &identity, digest.as_ref(), now)?;
    if let Some(unsent) = unsent {
        replace(writing.connection, unsent, id, now)?;
    }
    Ok(match (new.parked, unsent) {
        (Some(_), _) => Enqueued::Parked(id),
        (None, Some(_)) => Enqueued::Instead(id),
        (None, None) => Enqueued::New(id),
    })
}

fn newest(connection: &Connection, identity: &[u8]) -> Result<Option<Before>, LedgerError> {
    let found = connection
        .prepare_cached(
            "SELECT id, state, digest FROM delivery WHERE identity = ?1
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row([identity], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    let Some((id, state, digest)) = found else { return Ok(None) };
    Ok(Some(Before { id, state: state_of(&state)?, digest }))
}

/// What still has to go of a thing and is not under way. Not always its newest: that may have been
/// written off while an older one was under way. There is never more than one.
fn unsent(connection: &Connection, identity: &[u8]) -> Result<Option<i64>, LedgerError> {
    let found = connection
        .prepare_cached(
            "SELECT id FROM delivery WHERE identity = ?1 AND state IN ('waiting', 'parked')
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row([identity], |row| row.get(0))
        .optional()?;
    Ok(found)
}

fn insert(
    writing: &Writing<'_>,
    new: &NewDelivery,
    identity: &[u8],
    digest: &[u8],
    now: Time,
) -> Result<i64, LedgerError> {
    let connection = writing.connection;
    let deadline_at = new.deadline_ms.map_or(NO_DEADLINE, |ms| new.starts_at.0.saturating_add(ms));
    // Asked of the table each time: a person's verb writes beside the service.
    let id: i64 = connection
        .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM delivery")?
        .query_row([], |row| row.get(0))?;
    let state = if new.parked.is_some() { DeliveryState::Parked } else { DeliveryState::Waiting };
    connection
        .prepare_cached(
            "INSERT INTO delivery(id, interface, hospital, destination, identity, state, body,
               digest, accepted_at, starts_at, start, deadline_at, next_at, fault, boot)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?9, ?13, ?14)",
        )?
        .execute(params![
            id,
            new.interface,
            new.hospital,
            new.destination,
            identity,
            state.name(),
            writing.keys.seal("delivery.body", id, &new.body),
            digest,
            now.0,
            new.starts_at.0,
            new.start.name(),
            deadline_at,
            new.parked.unwrap_or_default(),
            writing.untrusted_boot
        ])?;
    count(connection, new.interface, "accepted")?;
    let detail = json!({
        "interface": new.interface, "destination": new.destination,
        "body_sha256": hex::encode(digest), "starts_at": new.starts_at.0,
        "start": new.start.name(),
        "deadline_at": (deadline_at < NO_DEADLINE).then_some(deadline_at),
    });
    evidence::add(connection, Some(id), "accepted", &detail, now)?;
    if let Some(reason) = new.parked {
        evidence::add(connection, Some(id), "parked", &json!({ "fault": reason }), now)?;
    }
    Ok(id)
}

fn count(connection: &Connection, interface: &str, what: &str) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO tally(interface, what, count) VALUES(?1, ?2, 1)
             ON CONFLICT(interface, what) DO UPDATE SET count = count + 1",
        )?
        .execute([interface, what])?;
    Ok(())
}

/// The newer content takes the older one's place, and its deadline where that is nearer: the
/// obligation is as old as the first of them, a correction buys no time.
fn replace(connection: &Connection, old: i64, new: i64, now: Time) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE delivery SET deadline_at = o.deadline_at, starts_at = o.starts_at,
               start = o.start
             FROM (SELECT deadline_at, starts_at, start FROM delivery WHERE id = ?1) AS o
             WHERE delivery.id = ?2 AND o.deadline_at < delivery.deadline_at",
        )?
        .execute([old, new])?;
    connection
        .prepare_cached(
            "UPDATE delivery SET state = 'replaced', replaced_by = ?2, ended_at = ?3
             WHERE id = ?1",
        )?
        .execute(params![old, new, now.0])?;
    evidence::add(connection, Some(old), "replaced", &json!({ "by": new }), now)
}

/// Begins an attempt. A delivery whose body does not open is parked and lets the others pass.
fn begin(
    writing: &Writing<'_>,
    id: i64,
    now: Time,
) -> Result<Option<ClaimedDelivery>, LedgerError> {
    let connection = writing.connection;
    let (mut claimed, sealed) = connection
        .prepare_cached(
            "UPDATE delivery SET state = 'in flight', attempts = attempts + 1 WHERE id = ?1
             RETURNING interface, hospital, destination, body, attempts, deadline_at",
        )?
        .query_row([id], |row| {
            let deadline: i64 = row.get(5)?;
            let claimed = ClaimedDelivery {
                id,
                interface: row.get(0)?,
                hospital: row.get(1)?,
                destination: row.get(2)?,
                body: Vec::new(),
                attempt: row.get(4)?,
                deadline_at: (deadline < NO_DEADLINE).then_some(Time(deadline)),
            };
            Ok((claimed, row.get::<_, Vec<u8>>(3)?))
        })?;
    match writing.keys.open("delivery.body", id, &sealed) {
        Ok(body) => claimed.body = body,
        Err(fault) => {
            log::error!(delivery = id; "parked: {fault}");
            write_state(connection, id, DeliveryState::Parked, UNOPENED, now)?;
            evidence::add(connection, Some(id), "parked", &json!({ "fault": UNOPENED }), now)?;
            return Ok(None);
        }
    }
    connection
        .prepare_cached("INSERT INTO attempt(delivery, number, began_at) VALUES(?1, ?2, ?3)")?
        .execute(params![id, claimed.attempt, now.0])?;
    count(connection, &claimed.interface, "attempts")?;
    let detail = json!({ "attempt": claimed.attempt });
    evidence::add(connection, Some(id), "attempt", &detail, now)?;
    Ok(Some(claimed))
}

fn settle(writing: &Writing<'_>, one: &Attempted, now: Time) -> Result<(), LedgerError> {
    let connection = writing.connection;
    let number: Option<u32> = connection
        .prepare_cached("SELECT attempts FROM delivery WHERE id = ?1 AND state = 'in flight'")?
        .query_row([one.id], |row| row.get(0))
        .optional()?;
    let Some(number) = number else { return Ok(()) };
    let receipt = &one.receipt;
    let sealed = match receipt.body.is_empty() {
        true => None,
        false => Some(writing.keys.seal("attempt.receipt", one.id, &receipt.body)),
    };
    connection
        .prepare_cached(
            "UPDATE attempt SET ended_at = ?3, outcome = ?4, status = ?5, code = ?6, fault = ?7,
               receipt = ?8 WHERE delivery = ?1 AND number = ?2",
        )?
        .execute(params![
            one.id,
            number,
            now.0,
            one.end.name(),
            receipt.status,
            receipt.code,
            one.end.fault(),
            sealed
        ])?;
    let detail = json!({
        "attempt": number, "status": receipt.status, "code": receipt.code,
        "fault": one.end.fault(),
        "receipt_sha256": hex::encode(digest(&SHA256, &receipt.body)),
    });
    evidence::add(connection, Some(one.id), one.end.name(), &detail, now)?;
    if one.end == AttemptEnd::Delivered {
        return write_state(connection, one.id, DeliveryState::Delivered, "", now);
    }
    if let Some(newer) = newer_open(connection, one.id)? {
        return replace(connection, one.id, newer, now);
    }
    match one.next {
        Next::Wait(at) => {
            connection
                .prepare_cached(
                    "UPDATE delivery SET state = 'waiting', next_at = ?2, fault = ?3 WHERE id = ?1",
                )?
                .execute(params![one.id, at.0, one.end.fault()])?;
        }
        Next::Park => {
            write_state(connection, one.id, DeliveryState::Parked, one.end.fault(), now)?;
            let detail = json!({ "fault": one.end.fault() });
            evidence::add(connection, Some(one.id), "parked", &detail, now)?;
        }
    }
    Ok(())
}

/// Newer content of the same thing that still has to go.
fn newer_open(connection: &Connection, id: i64) -> Result<Option<i64>, LedgerError> {
    let newer = connection
        .prepare_cached(
            "SELECT n.id FROM delivery n JOIN delivery o ON o.id = ?1
             WHERE n.identity = o.identity AND n.id > o.id AND n.state IN ('waiting', 'parked')
             ORDER BY n.id DESC LIMIT 1",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(newer)
}

fn write_state(
    connection: &Connection,
    id: i64,
    state: DeliveryState,
    fault: &str,
    now: Time,
) -> Result<(), LedgerError> {
    let ended = (!state.is_open()).then_some(now.0);
    connection
        .prepare_cached(
            "UPDATE delivery SET state = ?2, fault = ?3, ended_at = ?4, next_at = ?5
             WHERE id = ?1",
        )?
        .execute(params![id, state.name(), fault, ended, now.0])?;
    Ok(())
}

fn decide(
    writing: &Writing<'_>,
    id: i64,
    decision: &Decision,
    by: &str,
    now: Time,
) -> Result<Decided, LedgerError> {
    let connection = writing.connection;
    let state: Option<String> = connection
        .prepare_cached("SELECT state FROM delivery WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(state) = state else { return Ok(Decided::Unknown) };
    let state = state_of(&state)?;
    let allowed = match decision {
        Decision::Park => state == DeliveryState::Waiting,
        _ => matches!(state, DeliveryState::Waiting | DeliveryState::Parked),
    };
    if !allowed {
        return Ok(Decided::Not(state));
    }
    let detail = json!({ "decision": decision.name(), "by": by });
    evidence::add(connection, Some(id), "decided", &detail, now)?;
    match decision {
        Decision::Retry => write_state(connection, id, DeliveryState::Waiting, "", now)?,
        Decision::Park => {
            write_state(connection, id, DeliveryState::Parked, "parked by a person", now)?;
        }
        Decision::WriteOff => write_state(connection, id, DeliveryState::WrittenOff, "", now)?,
        Decision::Repair(body) => return repair(writing, id, body, now).map(Decided::Done),
    }
    Ok(Decided::Done(id))
}

/// The same thing with another body: a new delivery in the place of the old one.
fn repair(writing: &Writing<'_>, id: i64, body: &[u8], now: Time) -> Result<i64, LedgerError> {
    let connection = writing.connection;
    let new: i64 = connection
        .prepare_cached("SELECT max(id) + 1 FROM delivery")?
        .query_row([], |row| row.get(0))?;
    let digest = digest(&SHA256, body);
    let interface: String = connection
        .prepare_cached(
            "INSERT INTO delivery(id, interface, hospital, destination, identity, state, body,
               digest, accepted_at, starts_at, start, deadline_at, next_at, boot)
             SELECT ?2, interface, hospital, destination, identity, 'waiting', ?3, ?4, ?5,
               starts_at, start, deadline_at, ?5, boot FROM delivery WHERE id = ?1
             RETURNING interface",
        )?
        .query_row(
            params![id, new, writing.keys.seal("delivery.body", new, body), digest.as_ref(), now.0],
            |row| row.get(0),
        )?;
    count(connection, &interface, "accepted")?;
    let detail = json!({
        "interface": interface, "body_sha256": hex::encode(digest), "repairs": id,
    });
    evidence::add(connection, Some(new), "accepted", &detail, now)?;
    replace(connection, id, new, now)?;
    Ok(new)
}

fn state_of(word: &str) -> Result<DeliveryState, LedgerError> {
    DeliveryState::from_name(word).ok_or(LedgerError::Unreadable { what: "delivery.state" })
}

/// Why a delivery is parked whose row was damaged, or sealed under keys that are not here.
const UNOPENED: &str = "its body does not open with the ledger's keys";

const SHOWN: &str = "
    SELECT id, interface, hospital, destination, state, accepted_at, starts_at, start, deadline_at,
           next_at, attempts, fault, replaced_by, ended_at, digest FROM delivery";

pub(super) fn by_numbers(
    connection: &Connection,
    numbers: &[i64],
) -> Result<Vec<DeliveryShown>, LedgerError> {
    let mut statement = connection.prepare_cached(&format!("{SHOWN} WHERE id = ?1"))?;
    let shown = numbers.iter().map(|id| statement.query_row([id], shown));
    Ok(shown.collect::<Result<_, _>>()?)
}

fn shown(row: &Row<'_>) -> Result<DeliveryShown, rusqlite::Error> {
    let deadline: i64 = row.get(8)?;
    Ok(DeliveryShown {
        id: row.get(0)?,
        interface: row.get(1)?,
        hospital: row.get(2)?,
        destination: row.get(3)?,
        state: row.get(4)?,
        accepted_at: Time(row.get(5)?),
        starts_at: Time(row.get(6)?),
        start: row.get(7)?,
        deadline_at: (deadline < NO_DEADLINE).then_some(Time(deadline)),
        next_at: Time(row.get(9)?),
        attempts: row.get(10)?,
        fault: row.get(11)?,
        replaced_by: row.get(12)?,
        ended_at: row.get::<_, Option<i64>>(13)?.map(Time),
        digest: hex::encode(row.get::<_, Vec<u8>>(14)?),
    })
}
