//! Fetches: one a study, wanted by any number of plans.

use rusqlite::{Connection, OptionalExtension, params};

use super::plans::{Considered, Settled, ids, refresh};
use super::{Ledger, LedgerError, evictions, readers, registrations};
use crate::limits::OPENED_KEEP_MS;
use crate::model::{Doctor, FetchState, Link, Person, Place, Time};

/// What a viewer opens, and in which order the sources' fetches are looked through. `source` is
/// the first place's, so that a source that is busy hides no other's.
pub(super) const OPENED: &str = "
ALTER TABLE fetch ADD COLUMN opened_at INTEGER;  -- when a viewer last asked for it
ALTER TABLE fetch ADD COLUMN source TEXT;
UPDATE fetch SET source =
  (SELECT source FROM place WHERE place.study = fetch.study ORDER BY ordinal LIMIT 1);
DROP INDEX fetch_next;
CREATE INDEX fetch_due ON fetch(urgent DESC, due_at, next_at, source) WHERE state = 'waiting';
CREATE INDEX fetch_opened ON fetch(opened_at) WHERE state = 'waiting' AND opened_at IS NOT NULL;
";

/// Whether the first header contradicted this registration. What a source says of the study then
/// counts no more, for as long as the registration is of the same patient.
pub(super) const CONTRADICTED: &str = "
ALTER TABLE considered ADD COLUMN contradicted INTEGER NOT NULL DEFAULT 0;
UPDATE considered SET contradicted = 1 WHERE outcome = 'apart'
  AND EXISTS(SELECT 1 FROM fetch f WHERE f.study = considered.study AND f.state = 'apart');
";

/// A fetch whose turn it is.
pub struct ClaimedFetch {
    /// Study Instance UID.
    pub study: String,
    /// In-patient or emergency.
    pub urgent: bool,
    /// Where it can be had, best first.
    pub places: Vec<Place>,
    /// Tries so far.
    pub attempts: u32,
    /// Instances the search answer announced.
    pub expected: Option<u32>,
    /// The registrations that want it; none where a viewer alone opened it.
    pub wants: Vec<Want>,
    /// The doctor for whom it is, where it is for one. Personal.
    pub reader: Option<Doctor>,
}

impl ClaimedFetch {
    /// The source of its first place; empty without a place.
    pub fn source(&self) -> &str {
        self.places.first().map_or("", |place| place.source.as_str())
    }
}

/// A registration that wants a study.
pub struct Want {
    /// The registration.
    pub registration: i64,
    /// Its hospital's code.
    pub hospital: String,
    /// For the guard on the first header.
    pub person: Person,
}

/// The guard's word on the first header, for one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The registration.
    pub registration: i64,
    /// How sure.
    pub link: Link,
    /// The same for people, without personal data; the explanation where the study is kept apart.
    pub words: String,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEnd {
    /// Every instance of the manifest is durable and listed.
    Here,
    /// It is tried again at that time.
    Again {
        /// For `plans show`: no personal data.
        fault: String,
        /// When.
        next_at: Time,
        /// Whether the disk was full.
        disk_full: bool,
    },
    /// The first header belongs to none of those who wanted it, or to this hospital.
    Apart {
        /// Which of the two, in words.
        reason: String,
    },
    /// No place has it, for good.
    Failed {
        /// For `plans show`: no personal data.
        fault: String,
    },
    /// It made room for a study that somebody opened, and goes on at once when that is here.
    Yielded,
}

/// A study wanted by open plans. A visit that is cancelled, over, or ended unready waits for
/// nothing; a try that is under way is finished.
pub(super) const WANTED_BY: &str = "considered c JOIN plan p ON p.registration = c.registration
    WHERE c.outcome = 'chosen' AND p.state NOT IN ('cancelled', 'over', 'not ready')";

impl Ledger {
    /// The fetches that are due, most urgent first, without those in `claimed` and without those
    /// that begin at one of the `busy` sources.
    pub fn due_fetches(
        &self,
        now: Time,
        limit: usize,
        claimed: &dyn Fn(&str) -> bool,
        busy: &[String],
    ) -> Result<Vec<ClaimedFetch>, LedgerError> {
        let busy = serde_json::Value::from(busy).to_string();
        self.read(|connection| {
            let sql = "SELECT study, urgent, attempts, expected, reader FROM fetch
                 WHERE state = 'waiting' AND next_at <= ?1
                   AND coalesce(source, '') NOT IN (SELECT value FROM json_each(?2))
                 ORDER BY urgent DESC, due_at";
            self.due(connection, sql, params![now.0, busy], limit, claimed)
        })
    }

    /// The fetches of studies that somebody opened and that are due, the first opened first,
    /// without those in `claimed`.
    pub fn due_opened(
        &self,
        now: Time,
        limit: usize,
        claimed: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<ClaimedFetch>, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT study, urgent, attempts, expected, reader FROM fetch
                 WHERE state = 'waiting' AND opened_at IS NOT NULL AND next_at <= ?1
                 ORDER BY opened_at";
            self.due(connection, sql, params![now.0], limit, claimed)
        })
    }

    fn due(
        &self,
        connection: &Connection,
        sql: &str,
        parameters: impl rusqlite::Params,
        limit: usize,
        claimed: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<ClaimedFetch>, LedgerError> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let mut due = Vec::new();
        while let Some(row) = rows.next()? {
            let study: String = row.get(0)?;
            if claimed(&study) {
                continue;
            }
            due.push(ClaimedFetch {
                places: places(connection, &study)?,
                wants: self.wants(connection, &study)?,
                study,
                urgent: row.get(1)?,
                attempts: row.get(2)?,
                expected: row.get(3)?,
                reader: readers::load(connection, self.keys(), row.get(4)?)?,
            });
            if due.len() >= limit {
                break;
            }
        }
        Ok(due)
    }

    /// Where the fetch of a study stands; `None` when none was ever made.
    pub fn fetch_state(&self, study: &str) -> Result<Option<FetchState>, LedgerError> {
        self.read(|connection| {
            let state: Option<String> = connection
                .prepare_cached("SELECT state FROM fetch WHERE study = ?1")?
                .query_row([study], |row| row.get(0))
                .optional()?;
            Ok(state.as_deref().and_then(FetchState::from_name))
        })
    }

    /// Somebody opens a study that has a fetch, of which `have` instances are here: it is due at
    /// once and before all others.
    pub async fn open_known(&self, study: String, have: u32, now: Time) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            connection
                .prepare_cached(
                    "UPDATE fetch SET opened_at = ?3, next_at = ?3, have = ?2, ended_at = NULL,
                       attempts = CASE WHEN state = 'waiting' THEN attempts ELSE 0 END,
                       state = 'waiting'
                     WHERE study = ?1 AND state <> 'apart'",
                )?
                .execute(params![study, have, now.0])?;
            refresh_choosers(connection, &study, now)
        })
        .await
    }

    /// Somebody opens a study that no registration wanted; sources said that they have it.
    pub async fn open_unknown(
        &self,
        study: String,
        places: Vec<Place>,
        expected: Option<u32>,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            connection
                .prepare_cached(
                    "INSERT INTO fetch(study, state, urgent, due_at, next_at, expected, opened_at)
                     VALUES(?1, 'waiting', 1, ?2, ?2, ?3, ?2) ON CONFLICT(study) DO NOTHING",
                )?
                .execute(params![study, now.0, expected])?;
            write_places(connection, &study, &places)?;
            note_source(connection, &study)
        })
        .await
    }

    /// Keeps how many instances the manifest names, so that n of m can be shown while they arrive.
    /// False when nobody wants the study any more.
    pub async fn expect(
        &self,
        study: String,
        expected: u32,
        now: Time,
    ) -> Result<bool, LedgerError> {
        self.commit(move |writing| {
            let rows = writing
                .connection
                .prepare_cached(
                    "UPDATE fetch SET expected = ?2, started_at = coalesce(started_at, ?3)
                     WHERE study = ?1 AND state = 'waiting'",
                )?
                .execute(params![study, expected, now.0])?;
            Ok(rows > 0)
        })
        .await
    }

    /// Keeps how a try ended, the guard's word on the first header, and what it means for every
    /// plan that wanted the study: one commit. Returns those plans.
    pub async fn settle_fetch(
        &self,
        study: String,
        have: u32,
        bytes: u64,
        end: FetchEnd,
        judged: Vec<Judged>,
        now: Time,
    ) -> Result<Vec<(i64, Settled)>, LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            for one in &judged {
                write_link(connection, &study, one)?;
            }
            write_end(connection, &study, have, bytes, &end, now)?;
            reorder(connection, &study, now)?;
            if let FetchEnd::Apart { reason } = &end {
                connection
                    .prepare_cached(
                        "UPDATE considered SET outcome = 'apart', link = 'apart', why = ?2,
                           why_zh = '', contradicted = 1
                         WHERE study = ?1 AND outcome = 'chosen'",
                    )?
                    .execute(params![study, reason])?;
            }
            let concerned = ids(
                connection,
                "SELECT registration FROM considered WHERE study = ?1",
                params![study],
            )?;
            concerned.into_iter().map(|id| Ok((id, refresh(connection, id, now)?))).collect()
        })
        .await
    }

    /// Studies that the ledger says are here, with their m; `wanted_only`, those of them that open
    /// plans want.
    pub fn fetches_here(&self, wanted_only: bool) -> Result<Vec<(String, u32)>, LedgerError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT f.study, coalesce(f.expected, 0) FROM fetch f WHERE f.state = 'here'
                 AND (NOT ?1 OR EXISTS(SELECT 1 FROM {WANTED_BY} AND c.study = f.study))"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([wanted_only], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Sends studies of which the cache has lost instances back to fetching, `(study, n)`: at once
    /// where an open plan wants them, else when one does.
    pub async fn lost(&self, studies: Vec<(String, u32)>, now: Time) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            for (study, have) in &studies {
                evictions::lose(writing.connection, study, *have, now)?;
            }
            Ok(())
        })
        .await
    }

    fn wants(&self, connection: &Connection, study: &str) -> Result<Vec<Want>, LedgerError> {
        let sql = format!("SELECT c.registration FROM {WANTED_BY} AND c.study = ?1 LIMIT 64");
        let wanting = ids(connection, &sql, params![study])?;
        wanting
            .into_iter()
            .map(|id| {
                let registration = registrations::load(connection, self.keys(), id)?;
                Ok(Want {
                    registration: id,
                    hospital: registration.hospital,
                    person: registration.person,
                })
            })
            .collect()
    }
}

/// A plan chose this study: its fetch is made, or takes the earlier of two deadlines.
pub(super) fn want(
    connection: &Connection,
    registration: i64,
    one: &Considered,
    now: Time,
) -> Result<(), LedgerError> {
    want_study(connection, registration, one.study.study.as_str(), one.study.instances, now)
}

/// The same, of a study by its UID.
pub(super) fn want_study(
    connection: &Connection,
    registration: i64,
    study: &str,
    instances: Option<u32>,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO fetch(study, state, urgent, due_at, next_at, expected, reader)
             SELECT ?1, 'waiting', urgent, due_at, ?3, ?4, reader FROM plan WHERE registration = ?2
             ON CONFLICT(study) DO UPDATE SET
               reader = CASE WHEN state IN ('here', 'waiting') THEN reader ELSE excluded.reader END,
               state = CASE WHEN state IN ('here', 'waiting') THEN state ELSE 'waiting' END,
               next_at = CASE WHEN state IN ('here', 'waiting') THEN next_at ELSE ?3 END,
               expected = coalesce(expected, excluded.expected)",
        )?
        .execute(params![study, registration, now.0, instances])?;
    note_source(connection, study)?;
    reorder(connection, study, now)
}

/// For whom a study is fetched that somebody is about to open.
pub(super) fn wait_for(
    connection: &Connection,
    study: &str,
    reader: Option<i64>,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE fetch SET reader = ?2 WHERE study = ?1 AND state NOT IN ('here', 'apart')",
        )?
        .execute(params![study, reader])?;
    Ok(())
}

/// Keeps where a study can be had, best first, also one that is not chosen: it may be when more is
/// known.
pub(super) fn write_places(
    connection: &Connection,
    study: &str,
    places: &[Place],
) -> Result<(), LedgerError> {
    for (ordinal, place) in places.iter().enumerate() {
        connection
            .prepare_cached(
                "INSERT INTO place(study, source, url, ordinal) VALUES(?1, ?2, ?3, ?4)
                 ON CONFLICT(study, source, url) DO UPDATE SET ordinal = excluded.ordinal",
            )?
            .execute(params![
                study,
                place.source,
                place.retrieve_url.as_deref().unwrap_or(""),
                ordinal as i64
            ])?;
    }
    Ok(())
}

/// Which source the fetch of a study begins at, where it has one.
fn note_source(connection: &Connection, study: &str) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE fetch SET source =
               (SELECT source FROM place WHERE study = ?1 ORDER BY ordinal LIMIT 1)
             WHERE study = ?1",
        )?
        .execute([study])?;
    Ok(())
}

/// The plans that chose a study, after its fetch went back to waiting.
pub(super) fn refresh_choosers(
    connection: &Connection,
    study: &str,
    now: Time,
) -> Result<(), LedgerError> {
    let sql = "SELECT registration FROM considered WHERE study = ?1 AND outcome = 'chosen'";
    for id in ids(connection, sql, params![study])? {
        refresh(connection, id, now)?;
    }
    Ok(())
}

/// After a plan changed: the order of what it wanted, and whether anybody still wants it.
pub(super) fn reorder_wanted_by(
    connection: &Connection,
    registration: i64,
    now: Time,
) -> Result<(), LedgerError> {
    let mut statement =
        connection.prepare_cached("SELECT study FROM considered WHERE registration = ?1")?;
    let studies: Vec<String> =
        statement.query_map([registration], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for study in studies {
        reorder(connection, &study, now)?;
    }
    Ok(())
}

pub(super) fn places(connection: &Connection, study: &str) -> Result<Vec<Place>, LedgerError> {
    let mut statement = connection
        .prepare_cached("SELECT source, url FROM place WHERE study = ?1 ORDER BY ordinal")?;
    let rows = statement.query_map([study], |row| {
        let url: String = row.get(1)?;
        Ok(Place { source: row.get(0)?, retrieve_url: (!url.is_empty()).then_some(url) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The fetch takes the most urgent of its plans; without any, and opened by nobody, it is dropped,
/// and one that was dropped or evicted and is wanted again waits for its turn.
pub(super) fn reorder(connection: &Connection, study: &str, now: Time) -> Result<(), LedgerError> {
    let sql = format!("SELECT max(p.urgent), min(p.due_at) FROM {WANTED_BY} AND c.study = ?1");
    let (urgent, due_at): (Option<bool>, Option<i64>) = connection
        .prepare_cached(&sql)?
        .query_row([study], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or((None, None));
    match (urgent, due_at) {
        (Some(urgent), Some(due_at)) => connection
            .prepare_cached(
                "UPDATE fetch SET urgent = ?2, due_at = ?3,
                   next_at = CASE WHEN state IN ('dropped', 'evicted') THEN ?4 ELSE next_at END,
                   state = CASE WHEN state IN ('dropped', 'evicted') THEN 'waiting'
                                ELSE state END
                 WHERE study = ?1",
            )?
            .execute(params![study, urgent, due_at, now.0])?,
        _ => connection
            .prepare_cached(
                "UPDATE fetch SET state = 'dropped', ended_at = ?2, reader = NULL
                 WHERE study = ?1 AND state = 'waiting' AND opened_at IS NULL",
            )?
            .execute(params![study, now.0])?,
    };
    Ok(())
}

fn write_link(connection: &Connection, study: &str, one: &Judged) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE considered SET link = ?3,
               outcome = CASE WHEN ?3 = 'apart' THEN 'apart' ELSE outcome END,
               contradicted = ?3 = 'apart',
               why = CASE WHEN ?3 = 'apart' THEN ?4 ELSE why END,
               why_zh = CASE WHEN ?3 = 'apart' THEN '' ELSE why_zh END
             WHERE registration = ?1 AND study = ?2",
        )?
        .execute(params![one.registration, study, one.link.name(), one.words])?;
    Ok(())
}

/// A fetch that was dropped meanwhile stays dropped unless everything is here. One that somebody
/// opened is tried again for them for [`OPENED_KEEP_MS`].
fn write_end(
    connection: &Connection,
    study: &str,
    have: u32,
    bytes: u64,
    end: &FetchEnd,
    now: Time,
) -> Result<(), LedgerError> {
    let (state, fault, next_at, disk_full) = match end {
        FetchEnd::Here => ("here", None, None, false),
        FetchEnd::Again { fault, next_at, disk_full } => {
            ("waiting", Some(fault), Some(next_at.0), *disk_full)
        }
        FetchEnd::Apart { reason } => ("apart", Some(reason), None, false),
        FetchEnd::Failed { fault } => ("failed", Some(fault), None, false),
        FetchEnd::Yielded => return write_yielded(connection, study, have, bytes, now),
    };
    connection
        .prepare_cached(
            "UPDATE fetch SET
               state = CASE WHEN state IN ('dropped', 'evicted') AND ?2 = 'waiting'
                            THEN state ELSE ?2 END,
               have = ?3, bytes = bytes + ?4, fault = ?5, next_at = coalesce(?6, next_at),
               disk_full = ?7, attempts = attempts + 1,
               expected = CASE WHEN ?2 = 'here' THEN ?3 ELSE expected END,
               ended_at = CASE WHEN ?2 = 'waiting' THEN NULL ELSE ?8 END,
               reader = CASE WHEN ?2 = 'waiting' THEN reader END,
               opened_at = CASE WHEN ?2 = 'waiting' AND opened_at > ?9 THEN opened_at END
             WHERE study = ?1",
        )?
        .execute(params![
            study,
            state,
            have,
            bytes as i64,
            fault,
            next_at,
            disk_full,
            now.0,
            now.0 - OPENED_KEEP_MS
        ])?;
    Ok(())
}

/// Making room is no attempt and no fault.
fn write_yielded(
    connection: &Connection,
    study: &str,
    have: u32,
    bytes: u64,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE fetch SET have = ?2, bytes = bytes + ?3, next_at = ?4
             WHERE study = ?1 AND state = 'waiting'",
        )?
        .execute(params![study, have, bytes as i64, now.0])?;
    Ok(())
}
