//! Who did what, and who looked at which study.

use rusqlite::{Connection, params};

use super::sessions::{Session, who};
use super::writer::Writing;
use super::{Ledger, LedgerError, readers};
use crate::model::Time;

/// What was decided, where its kind does not say it all.
pub(super) const DETAIL: &str = "ALTER TABLE audit ADD COLUMN detail TEXT NOT NULL DEFAULT '';";

/// What a caller did with a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessKind {
    /// It was named in the answer to a search.
    Search,
    /// Its metadata were read.
    Metadata,
    /// Its objects were read.
    Retrieve,
    /// Objects of it were sent here.
    Store,
}

impl AccessKind {
    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            AccessKind::Search => "search",
            AccessKind::Metadata => "metadata",
            AccessKind::Retrieve => "retrieve",
            AccessKind::Store => "store",
        }
    }
}

/// One access; a row for each caller, study, kind and minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// The caller's configured name.
    pub caller: String,
    /// Study Instance UID.
    pub study: String,
    /// What was done.
    pub kind: AccessKind,
    /// Minutes since 1970.
    pub minute: i64,
}

/// Something that was done, and by whom: a caller by its configured name, or a person who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When; of accesses the first in its minute.
    pub at: Time,
    /// Who.
    pub who: String,
    /// What, in a word or two.
    pub what: String,
    /// The study that was looked at.
    pub study: Option<String>,
    /// The plan whose registration came.
    pub plan: Option<i64>,
    /// The delivery that was decided about.
    pub delivery: Option<i64>,
    /// What was decided, where `what` does not say it all; names no patient.
    pub detail: String,
    /// The doctor's `doctorType` and `doctorCode`, where a doctor did it and they are known.
    pub doctor: Option<(String, String)>,
}

/// Which deeds are asked for.
#[derive(Debug, Clone)]
pub struct Deeds {
    /// Of this study only.
    pub study: Option<String>,
    /// Of this caller or person only.
    pub who: Option<String>,
    /// From then on.
    pub since: Time,
    /// At most so many.
    pub limit: usize,
}

impl Ledger {
    /// Accesses to studies, registrations, and what persons decided; the latest first.
    pub fn deeds(&self, wanted: &Deeds) -> Result<Vec<Deed>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT at, who, what, study, plan, delivery, detail, reader FROM (
                   SELECT at, caller AS who, kind AS what, study, NULL AS plan, NULL AS delivery,
                       '' AS detail, NULL AS reader
                     FROM access
                   UNION ALL SELECT at, caller, kind, study, registration, NULL, detail, reader
                     FROM audit
                   UNION ALL SELECT at, coalesce(json_extract(detail, '$.by'), ''),
                       coalesce(json_extract(detail, '$.decision'), ''), NULL, NULL, delivery,
                       '', NULL
                     FROM evidence WHERE event = 'decided' AND json_valid(detail))
                 WHERE at >= ?1 AND (?2 IS NULL OR study = ?2) AND (?3 IS NULL OR who = ?3)
                 ORDER BY at DESC LIMIT ?4",
            )?;
            let limit = wanted.limit as i64;
            let wanted = params![wanted.since.0, wanted.study, wanted.who, limit];
            let mut rows = statement.query(wanted)?;
            let mut deeds = Vec::new();
            while let Some(row) = rows.next()? {
                let doctor = readers::load(connection, self.keys(), row.get(7)?)?;
                deeds.push(Deed {
                    at: Time(row.get(0)?),
                    who: row.get(1)?,
                    what: row.get(2)?,
                    study: row.get(3)?,
                    plan: row.get(4)?,
                    delivery: row.get(5)?,
                    detail: row.get(6)?,
                    doctor: doctor.map(|doctor| (doctor.kind, doctor.code)),
                });
            }
            Ok(deeds)
        })
    }

    /// Keeps accesses; those already kept change nothing.
    pub async fn keep_accesses(&self, accesses: Vec<Access>, now: Time) -> Result<(), LedgerError> {
        self.commit_first(move |writing| {
            let mut insert = writing.connection.prepare_cached(
                "INSERT OR IGNORE INTO access(caller, study, minute, kind, at)
                 VALUES(?1, ?2, ?3, ?4, ?5)",
            )?;
            for one in &accesses {
                insert.execute(params![
                    one.caller,
                    one.study,
                    one.minute,
                    one.kind.name(),
                    now.0
                ])?;
            }
            Ok(())
        })
        .await
    }
}

pub(super) fn record(
    connection: &Connection,
    kind: &str,
    caller: &str,
    registration: Option<i64>,
    study: Option<&str>,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO audit(at, kind, caller, registration, study) VALUES(?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![now.0, kind, caller, registration, study])?;
    Ok(())
}

/// What a doctor did. The row says which doctor it was, for the session is forgotten one day.
pub(super) fn record_reading(
    writing: &Writing<'_>,
    kind: &str,
    session: &Session,
    registration: Option<i64>,
    study: Option<&str>,
    now: Time,
) -> Result<(), LedgerError> {
    let reader = readers::note(writing, &session.doctor)?;
    let who = who(&session.doctor.user, session.id);
    writing
        .connection
        .prepare_cached(
            "INSERT INTO audit(at, kind, caller, registration, study, reader)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![now.0, kind, who, registration, study, reader])?;
    Ok(())
}

/// A person's decision about what the tables hold; `detail` says which.
pub(super) fn record_decision(
    connection: &Connection,
    kind: &str,
    by: &str,
    detail: &str,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT INTO audit(at, kind, caller, detail) VALUES(?1, ?2, ?3, ?4)")?
        .execute(params![now.0, kind, by, detail])?;
    Ok(())
}
