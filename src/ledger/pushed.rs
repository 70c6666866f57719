//! What clouds push unasked: whom they may push for, and what they pushed.
//!
//! A registration says by which Patient IDs a push source knows the patient; a study that comes is
//! kept under the hash of its own. Whichever is there first, the other finds it by the hash. A
//! pushed study that no registration took is *unmatched*: no patient key finds it.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::plans::{ids, refresh};
use super::writer::Writing;
use super::{Ledger, LedgerError};
use crate::limits::{AWAITED_KEEP_MS, NOTICES_PRUNED_MAX, PUSH_RECENT_MS, RETRY_MS_MIN};
use crate::model::{Identifier, IdentifierKind, Time};
use crate::seal::{Keys, Lookup};

pub(super) const TABLES: &str = "
CREATE TABLE awaited(                -- by which Patient IDs a push source knows a registration
  source TEXT NOT NULL,
  patient BLOB NOT NULL,             -- HMAC of source, Patient ID and issuer
  registration INTEGER NOT NULL,
  PRIMARY KEY(source, patient, registration)
) STRICT, WITHOUT ROWID;
CREATE INDEX awaited_registration ON awaited(registration);

CREATE TABLE pushed(
  study TEXT PRIMARY KEY,
  source TEXT NOT NULL,
  state TEXT NOT NULL,               -- 'arriving' until nothing came for a while, then 'here'
  patient BLOB NOT NULL,             -- HMAC of source, Patient ID and issuer of its objects
  patient_any BLOB NOT NULL,         -- the same without the issuer
  instances INTEGER NOT NULL DEFAULT 0,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pushed_patient ON pushed(source, patient);
CREATE INDEX pushed_patient_any ON pushed(source, patient_any);
CREATE INDEX pushed_arriving ON pushed(study) WHERE state = 'arriving';
";

/// Registrations that await a pushed study, and studies that are awaited.
const MATCH: &str = "pushed u JOIN awaited a ON a.source = u.source
    AND a.patient IN (u.patient, u.patient_any)";

/// No registration took it.
const UNMATCHED: &str =
    "NOT EXISTS(SELECT 1 FROM considered c WHERE c.study = u.study AND c.link <> 'apart')";

/// A Patient ID by which a source may push studies of a registration. Personal.
#[derive(Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The source.
    pub source: String,
    /// Patient ID (0010,0020) as the source knows it.
    pub patient: String,
    /// Issuer of Patient ID (0010,0021); empty: any.
    pub issuer: String,
}

/// A study that is pushed, with the patient of its first object. Personal.
pub struct Push {
    /// Study Instance UID.
    pub study: String,
    /// Who pushes it, and for whom.
    pub of: Awaited,
    /// Whether nothing of it was here before: what was here by another way stays found.
    pub new: bool,
}

/// An unmatched study as `plans unmatched` shows it. Names nobody.
#[derive(Debug, Clone)]
pub struct UnmatchedShown {
    /// Study Instance UID.
    pub study: String,
    /// Who pushed it.
    pub source: String,
    /// Instances here, as last counted.
    pub instances: u32,
    /// When the first of it came.
    pub first_at: Time,
    /// Whether a registration with its number is of somebody else, by name, sex or birth.
    pub contradicted: bool,
}

/// What became of a pushed study that is complete for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushEnd {
    /// Plans that are searched again because of it.
    pub plans: usize,
    /// Whether a registration had taken it before.
    pub taken: bool,
}

impl Ledger {
    /// Keeps that a study is being pushed, before the first of it is listed.
    pub async fn push_began(&self, push: Push, now: Time) -> Result<(), LedgerError> {
        let [patient, patient_any] = hashes(self.keys(), &push.of);
        self.commit(move |writing| {
            let connection = writing.connection;
            let known = connection
                .prepare_cached(
                    "UPDATE pushed SET state = 'arriving', last_at = ?2 WHERE study = ?1",
                )?
                .execute(params![push.study, now.0])?;
            if known == 0 && push.new {
                connection
                    .prepare_cached(
                        "INSERT INTO pushed
                           (study, source, state, patient, patient_any, first_at, last_at)
                         VALUES(?1, ?2, 'arriving', ?3, ?4, ?5, ?5)",
                    )?
                    .execute(params![push.study, push.of.source, patient, patient_any, now.0])?;
            }
            Ok(())
        })
        .await
    }

    /// Nothing more of the study came for a while: counts it, and sends the plans that await it to
    /// search again, which finds it.
    pub async fn push_ended(
        &self,
        study: String,
        instances: u32,
        now: Time,
    ) -> Result<PushEnd, LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            if instances == 0 {
                connection
                    .prepare_cached("DELETE FROM pushed WHERE study = ?1")?
                    .execute([&study])?;
                return Ok(PushEnd { plans: 0, taken: false });
            }
            connection
                .prepare_cached(
                    "UPDATE pushed SET state = 'here', instances = ?2 WHERE study = ?1",
                )?
                .execute(params![study, instances])?;
            count_again(connection, &study, instances, now)?;
            let sql = format!(
                "SELECT DISTINCT a.registration FROM {MATCH}
                 JOIN plan p ON p.registration = a.registration
                 WHERE u.study = ?1 AND p.state IN ('searching', 'fetching', 'ready')
                   AND NOT EXISTS(SELECT 1 FROM considered c
                     WHERE c.registration = a.registration AND c.study = u.study)"
            );
            let awaiting = ids(connection, &sql, [&study])?;
            let source: Option<String> = connection
                .prepare_cached("SELECT source FROM pushed WHERE study = ?1")?
                .query_row([&study], |row| row.get(0))
                .optional()?;
            for plan in &awaiting {
                search_again(connection, *plan, source.as_deref().unwrap_or_default(), now, now)?;
            }
            let sql = format!("SELECT count(*) FROM pushed u WHERE u.study = ?1 AND {UNMATCHED}");
            let unmatched: i64 =
                connection.prepare_cached(&sql)?.query_row([&study], |row| row.get(0))?;
            Ok(PushEnd { plans: awaiting.len(), taken: unmatched == 0 })
        })
        .await
    }

    /// Forgets that a study was pushed: a sender of the hospital's own vouches for it.
    pub async fn push_forgotten(&self, study: String) -> Result<(), LedgerError> {
        let known = self.read(|connection| {
            let sql = "SELECT count(*) FROM pushed WHERE study = ?1";
            let count: i64 =
                connection.prepare_cached(sql)?.query_row([&study], |row| row.get(0))?;
            Ok(count > 0)
        })?;
        if !known {
            return Ok(());
        }
        self.commit(move |writing| {
            let sql = "DELETE FROM pushed WHERE study = ?1";
            writing.connection.prepare_cached(sql)?.execute([&study])?;
            Ok(())
        })
        .await
    }

    /// Studies of which more may still be coming, as a restart finds them.
    pub fn pushes_arriving(&self) -> Result<Vec<String>, LedgerError> {
        self.read(|connection| {
            let sql = "SELECT study FROM pushed WHERE state = 'arriving'";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// What was pushed for any of these, and is complete for now.
    pub fn pushed_of(&self, awaited: &[Awaited]) -> Result<Vec<String>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT study FROM pushed
                 WHERE source = ?1 AND (patient = ?2 OR patient_any = ?2) AND state = 'here'",
            )?;
            let mut studies = Vec::new();
            for one in awaited {
                let rows = statement
                    .query_map(params![one.source, hash(self.keys(), one)], |row| row.get(0))?;
                for study in rows {
                    let study: String = study?;
                    if !studies.contains(&study) {
                        studies.push(study);
                    }
                }
            }
            Ok(studies)
        })
    }

    /// Which of these studies no registration took.
    pub fn unmatched_among<'a>(
        &self,
        studies: impl Iterator<Item = &'a str>,
    ) -> Result<HashSet<String>, LedgerError> {
        self.read(|connection| {
            let any: bool = connection
                .prepare_cached("SELECT EXISTS(SELECT 1 FROM pushed)")?
                .query_row([], |row| row.get(0))?;
            let mut unmatched = HashSet::new();
            if !any {
                return Ok(unmatched);
            }
            let sql = format!("SELECT count(*) FROM pushed u WHERE u.study = ?1 AND {UNMATCHED}");
            let mut statement = connection.prepare_cached(&sql)?;
            for study in studies {
                if statement.query_row([study], |row| row.get::<_, i64>(0))? > 0 {
                    unmatched.insert(study.to_owned());
                }
            }
            Ok(unmatched)
        })
    }

    /// Unmatched studies for people, the latest first.
    pub fn unmatched(&self, limit: usize) -> Result<Vec<UnmatchedShown>, LedgerError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT u.study, u.source, u.instances, u.first_at,
                   EXISTS(SELECT 1 FROM considered c WHERE c.study = u.study)
                 FROM pushed u WHERE {UNMATCHED} ORDER BY u.first_at DESC LIMIT ?1"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([limit as i64], |row| {
                Ok(UnmatchedShown {
                    study: row.get(0)?,
                    source: row.get(1)?,
                    instances: row.get(2)?,
                    first_at: Time(row.get(3)?),
                    contradicted: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// By which Patient IDs a registration is known now; those of before go.
pub(super) fn write_awaited(
    writing: &Writing<'_>,
    registration: i64,
    awaited: &[Awaited],
) -> Result<(), LedgerError> {
    let connection = writing.connection;
    connection
        .prepare_cached("DELETE FROM awaited WHERE registration = ?1")?
        .execute([registration])?;
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO awaited(source, patient, registration) VALUES(?1, ?2, ?3)",
    )?;
    for one in awaited {
        insert.execute(params![one.source, hash(writing.keys, one), registration])?;
    }
    Ok(())
}

/// Plans that ended await nothing more; a registration that comes again says anew what it awaits. A
/// day later, so that a plan that ends is still told by what it awaited.
pub(super) fn forget_awaited(connection: &Connection, now: Time) -> Result<usize, LedgerError> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM awaited WHERE registration IN (SELECT a.registration FROM awaited a
               JOIN plan p ON p.registration = a.registration
               WHERE p.state IN ('over', 'cancelled', 'not ready') AND p.updated_at < ?1
               LIMIT ?2)",
        )?
        .execute(params![now.0 - AWAITED_KEEP_MS, NOTICES_PRUNED_MAX as i64])?;
    Ok(forgotten)
}

/// A study may have come while its source was being asked: then the source is asked again soon.
pub(super) fn look_again(
    connection: &Connection,
    registration: i64,
    source: &str,
    now: Time,
) -> Result<(), LedgerError> {
    let sql = format!(
        "SELECT count(*) FROM {MATCH} WHERE a.registration = ?1 AND u.source = ?2
           AND u.state = 'here' AND u.last_at > ?3
           AND NOT EXISTS(SELECT 1 FROM considered c
             WHERE c.registration = a.registration AND c.study = u.study)"
    );
    let missed: i64 = connection
        .prepare_cached(&sql)?
        .query_row(params![registration, source, now.0 - PUSH_RECENT_MS], |row| row.get(0))?;
    if missed > 0 {
        search_again(connection, registration, source, now.plus_ms(RETRY_MS_MIN), now)?;
    }
    Ok(())
}

fn search_again(
    connection: &Connection,
    registration: i64,
    source: &str,
    at: Time,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO search(registration, source, attempts, next_at) VALUES(?1, ?2, 0, ?3)
             ON CONFLICT(registration, source) DO UPDATE SET answered_at = NULL, attempts = 0,
               next_at = excluded.next_at, fault = NULL",
        )?
        .execute(params![registration, source, at.0])?;
    connection
        .prepare_cached(
            "UPDATE plan SET state = 'searching', next_at = ?2, updated_at = ?3
             WHERE registration = ?1",
        )?
        .execute(params![registration, at.0, now.0])?;
    Ok(())
}

/// More of a study came than its fetch has counted: it is counted again.
fn count_again(
    connection: &Connection,
    study: &str,
    instances: u32,
    now: Time,
) -> Result<(), LedgerError> {
    let grown = connection
        .prepare_cached(
            "UPDATE fetch SET state = 'waiting', next_at = ?3, attempts = 0, ended_at = NULL
             WHERE study = ?1 AND state = 'here' AND have < ?2",
        )?
        .execute(params![study, instances, now.0])?;
    if grown == 0 {
        return Ok(());
    }
    let sql = "SELECT registration FROM considered WHERE study = ?1 AND outcome = 'chosen'";
    for plan in ids(connection, sql, [study])? {
        refresh(connection, plan, now)?;
    }
    Ok(())
}

/// Under the source's own issuer, and under any.
fn hashes(keys: &Keys, of: &Awaited) -> [Lookup; 2] {
    let any = Awaited { issuer: String::new(), ..of.clone() };
    [hash(keys, of), hash(keys, &any)]
}

/// Numbers are compared as everywhere: trimmed, upper case, an identity number in 18 characters.
fn hash(keys: &Keys, of: &Awaited) -> Lookup {
    let patient = Identifier::new(IdentifierKind::IdCardNo, &of.patient);
    let patient = patient.as_ref().map_or("", Identifier::value);
    keys.pushed(&of.source, patient, of.issuer.trim())
}
