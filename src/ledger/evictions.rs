//! What may leave the cache, and what left it.
//!
//! Always holds: that a study is here is taken back in a commit before its first file goes, so
//! that no plan counts on what is being deleted; who wants it later finds no fetch that is done.

use rusqlite::{Connection, OptionalExtension, params};

use super::fetches::{WANTED_BY, refresh_choosers};
use super::{Ledger, LedgerError, audit, pushed};
use crate::model::Time;

/// When a study was last opened is asked of every study that could leave.
pub(super) const MIGRATION: &str =
    "CREATE INDEX access_opened ON access(study, minute) WHERE kind <> 'search';";

/// How a study in the cache stands with the registrations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footing {
    /// An open plan waits for it or counts on it, or somebody opened it and it is on its way.
    pub wanted: bool,
    /// A plan chose it once.
    pub matched: bool,
    /// When the last of the visits that chose it was over, cancelled or given up.
    pub over_at: Option<Time>,
    /// When its objects or metadata were last read, to the minute.
    pub opened_at: Option<Time>,
}

impl Ledger {
    /// How each of these studies stands, in their order.
    pub fn footings(&self, studies: &[&str]) -> Result<Vec<Footing>, LedgerError> {
        self.read(|connection| studies.iter().map(|study| footing(connection, study)).collect())
    }

    /// Takes back that a study is here, because it leaves; kept with who decided it. `false`: an
    /// open plan wants it, and nothing is changed.
    pub async fn evict(&self, study: String, who: String, now: Time) -> Result<bool, LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            if is_wanted(connection, &study)? {
                return Ok(false);
            }
            take_back(connection, &study, 0, now)?;
            audit::record(connection, "cache evict", &who, None, Some(&study), now)?;
            Ok(true)
        })
        .await
    }

    /// Keeps that instances of a study were damaged and taken out, `left` of them being whole: it
    /// is fetched again, now if an open plan wants it, else when one does.
    pub async fn damaged(
        &self,
        study: String,
        left: u32,
        who: String,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            lose(writing.connection, &study, left, now)?;
            audit::record(writing.connection, "damage found", &who, None, Some(&study), now)
        })
        .await
    }

    /// Starts the retention clock of ready plans whose visit nobody declared over: `visit_ms`
    /// after the visit, of in-patients `stay_ms` after their admission, and as long after the last
    /// registration. Returns how many.
    pub async fn end_visits(
        &self,
        now: Time,
        visit_ms: i64,
        stay_ms: i64,
    ) -> Result<usize, LedgerError> {
        self.commit(move |writing| {
            let ended = writing
                .connection
                .prepare_cached(
                    "UPDATE plan SET state = 'over', updated_at = ?1, over_at = ?1
                     WHERE state = 'ready' AND due_at < ?1 - min(?2, ?3)
                       AND EXISTS(SELECT 1 FROM registration r WHERE r.id = plan.registration
                         AND max(plan.due_at, r.updated_at)
                             < ?1 - CASE r.patient_type WHEN '2' THEN ?3 ELSE ?2 END)",
                )?
                .execute(params![now.0, visit_ms, stay_ms])?;
            pushed::forget_awaited(writing.connection, now)?;
            Ok(ended)
        })
        .await
    }

    /// Lets fetches that found no room go on at once. Returns how many.
    pub async fn room_again(&self, now: Time) -> Result<usize, LedgerError> {
        self.commit(move |writing| {
            let rows = writing
                .connection
                .prepare_cached(
                    "UPDATE fetch SET next_at = min(next_at, ?1)
                     WHERE state = 'waiting' AND disk_full",
                )?
                .execute([now.0])?;
            Ok(rows)
        })
        .await
    }
}

/// Sends a study of which instances are gone back to fetching, or has it fetched by who wants it
/// next.
pub(super) fn lose(
    connection: &Connection,
    study: &str,
    have: u32,
    now: Time,
) -> Result<(), LedgerError> {
    if !is_wanted(connection, study)? {
        return take_back(connection, study, have, now);
    }
    connection
        .prepare_cached(
            "UPDATE fetch SET reader = CASE WHEN state = 'waiting' THEN reader END,
               state = 'waiting', have = ?2, next_at = ?3, attempts = 0, ended_at = NULL
             WHERE study = ?1",
        )?
        .execute(params![study, have, now.0])?;
    refresh_choosers(connection, study, now)
}

/// A study that is kept apart stays so: what was told of its patient is still true.
fn take_back(
    connection: &Connection,
    study: &str,
    have: u32,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE fetch SET state = 'evicted', have = ?2, ended_at = ?3, reader = NULL
             WHERE study = ?1 AND state NOT IN ('apart', 'waiting')",
        )?
        .execute(params![study, have, now.0])?;
    Ok(())
}

/// By an open plan, or by who opened it and has not all of it yet.
fn is_wanted(connection: &Connection, study: &str) -> Result<bool, LedgerError> {
    let sql = format!(
        "SELECT EXISTS(SELECT 1 FROM {WANTED_BY} AND c.study = ?1)
           OR EXISTS(SELECT 1 FROM fetch
                WHERE study = ?1 AND state = 'waiting' AND opened_at IS NOT NULL)"
    );
    Ok(connection.prepare_cached(&sql)?.query_row([study], |row| row.get(0))?)
}

fn footing(connection: &Connection, study: &str) -> Result<Footing, LedgerError> {
    let (chosen, over_at): (i64, Option<i64>) = connection
        .prepare_cached(
            "SELECT count(*), max(coalesce(p.over_at, p.updated_at))
             FROM considered c JOIN plan p ON p.registration = c.registration
             WHERE c.study = ?1 AND c.outcome = 'chosen'",
        )?
        .query_row([study], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let minute: Option<i64> = connection
        .prepare_cached(
            "SELECT minute FROM access WHERE study = ?1 AND kind <> 'search'
             ORDER BY minute DESC LIMIT 1",
        )?
        .query_row([study], |row| row.get(0))
        .optional()?;
    Ok(Footing {
        wanted: is_wanted(connection, study)?,
        matched: chosen > 0,
        over_at: over_at.map(Time),
        opened_at: minute.map(|minute| Time(minute * 60_000)),
    })
}
