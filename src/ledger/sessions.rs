//! Sessions of doctors at their workstations.
//!
//! A session begins with the HIS's word that a doctor logged in. It has a window once somebody
//! shows the one-time code that the login made; from then on the window's secret is the session.
//! Both stand here as SHA-256 only. A session ends by the HIS's logout, by the window's own, when
//! another doctor takes the browser over, or by its age; a restart ends none.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::plans::ids;
use super::writer::Writing;
use super::{Ledger, LedgerError, audit, stored};
use crate::limits::{CODE_MS, SESSION_MS_MAX, SESSIONS_OF_USER_MAX};
use crate::model::{DictionaryKind, Doctor, Time};
use crate::seal::Keys;

pub(super) const TABLES: &str = "
CREATE TABLE session(
  id INTEGER PRIMARY KEY,
  hospital TEXT NOT NULL,
  user TEXT NOT NULL,                -- hisUserId, an account
  department TEXT NOT NULL,
  department_code TEXT NOT NULL,
  sealed BLOB NOT NULL,              -- StoredDoctor as JSON
  code BLOB,                         -- SHA-256 of the one-time code, until it is shown
  window BLOB,                       -- SHA-256 of the window's secret
  address TEXT NOT NULL DEFAULT '',  -- from which the window was opened
  mac TEXT NOT NULL,                 -- as the launcher reported it
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  ended_by TEXT
) STRICT;
CREATE UNIQUE INDEX session_code ON session(code) WHERE code IS NOT NULL;
CREATE UNIQUE INDEX session_window ON session(window) WHERE window IS NOT NULL;
CREATE INDEX session_began ON session(began_at);
CREATE INDEX session_open ON session(hospital, user) WHERE ended_at IS NULL;
";

/// SHA-256 of a code or of a window's secret.
pub type Digest = [u8; 32];

/// A session that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub doctor: Doctor,
    /// From which address its window was opened; empty before that.
    pub address: String,
    /// What the launcher reported; empty where none did.
    pub mac: String,
    /// Whether its window was opened.
    pub is_open: bool,
}

const COLUMNS: &str =
    "id, hospital, user, department, department_code, sealed, address, mac, window IS NOT NULL";

impl Ledger {
    /// A doctor logged in; a department without a code gets the dictionary's. The code is good
    /// for one window within [`CODE_MS`]. Of more sessions than [`SESSIONS_OF_USER_MAX`] of one
    /// account the oldest end.
    pub async fn begin_session(
        &self,
        mut doctor: Doctor,
        code: Digest,
        mac: String,
        now: Time,
    ) -> Result<i64, LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            if doctor.department_code.is_empty() {
                doctor.department_code = department_code(connection, &doctor)?;
            }
            connection
                .prepare_cached(
                    "INSERT INTO session(hospital, user, department, department_code, sealed,
                       code, mac, began_at) VALUES(?1, ?2, ?3, ?4, x'', ?5, ?6, ?7)",
                )?
                .execute(params![
                    doctor.hospital,
                    doctor.user,
                    doctor.department,
                    doctor.department_code,
                    code,
                    mac,
                    now.0
                ])?;
            let id = connection.last_insert_rowid();
            let sealed = writing.keys.seal("session.sealed", id, &stored::doctor_bytes(&doctor));
            connection
                .prepare_cached("UPDATE session SET sealed = ?2 WHERE id = ?1")?
                .execute(params![id, sealed])?;
            make_room(connection, &doctor, now)?;
            record(writing, "doctor logged in", &doctor.user, id, now)?;
            Ok(id)
        })
        .await
    }

    /// Whether a session goes on.
    pub fn goes_on(&self, session: i64, now: Time) -> Result<bool, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT 1 FROM session WHERE id = ?1 AND ended_at IS NULL AND began_at >= ?2",
            )?;
            Ok(statement.exists(params![session, now.0 - SESSION_MS_MAX])?)
        })
    }

    /// A window shows the code: from now on `window` is the session's secret. The session whose
    /// secret the same browser held before, `former`, ends, and is told; what it was told of goes
    /// on to the same doctor. `None`: no such code, or it was shown
    /// before, or too late.
    pub async fn open_window(
        &self,
        code: Digest,
        window: Digest,
        former: Option<Digest>,
        address: String,
        now: Time,
    ) -> Result<Option<(Session, Option<i64>)>, LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            let id: Option<i64> = connection
                .prepare_cached(
                    "UPDATE session SET code = NULL, window = ?2, address = ?3
                     WHERE code = ?1 AND ended_at IS NULL AND began_at >= ?4 RETURNING id",
                )?
                .query_row(params![code, window, address, now.0 - CODE_MS], |row| row.get(0))
                .optional()?;
            let Some(id) = id else { return Ok(None) };
            let mut ended = None;
            if let Some(former) = former {
                ended = connection
                    .prepare_cached(
                        "UPDATE session SET ended_at = ?2, ended_by = 'taken over', window = NULL
                         WHERE window = ?1 AND ended_at IS NULL AND id <> ?3 RETURNING id",
                    )?
                    .query_row(params![former, now.0, id], |row| row.get::<_, i64>(0))
                    .optional()?;
            }
            if let Some(ended) = ended {
                // The same doctor again: what was told stays told.
                connection
                    .prepare_cached(
                        "UPDATE notice SET session = ?1 WHERE session = ?2 AND EXISTS
                           (SELECT 1 FROM session a JOIN session b ON a.hospital = b.hospital
                              AND a.user = b.user WHERE a.id = ?1 AND b.id = ?2)",
                    )?
                    .execute(params![id, ended])?;
            }
            let session = load(connection, writing.keys, id)?;
            make_room(connection, &session.doctor, now)?;
            record(writing, "window opened", &session.doctor.user, id, now)?;
            Ok(Some((session, ended)))
        })
        .await
    }

    /// The session of a window's secret, as long as it goes on.
    pub fn session_of(&self, window: &Digest, now: Time) -> Result<Option<Session>, LedgerError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM session
                 WHERE window = ?1 AND ended_at IS NULL AND began_at >= ?2"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![window, now.0 - SESSION_MS_MAX])?;
            rows.next()?.map(|row| session(row, self.keys())).transpose()
        })
    }

    /// The sessions of an account that have a window, or may still open one.
    pub fn sessions_of(
        &self,
        hospital: &str,
        user: &str,
        now: Time,
    ) -> Result<Vec<Session>, LedgerError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM session WHERE hospital = ?1 AND user = ?2
                   AND ended_at IS NULL AND began_at >= ?3
                   AND (window IS NOT NULL OR began_at >= ?4) ORDER BY id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let since = (now.0 - SESSION_MS_MAX, now.0 - CODE_MS);
            let mut rows = statement.query(params![hospital, user, since.0, since.1])?;
            let mut sessions = Vec::new();
            while let Some(row) = rows.next()? {
                sessions.push(session(row, self.keys())?);
            }
            Ok(sessions)
        })
    }

    /// The sessions of the doctor's account learn what their login left out of type, code and
    /// number.
    pub async fn complete_doctor(&self, doctor: Doctor, now: Time) -> Result<(), LedgerError> {
        self.commit_first(move |writing| {
            let Writing { connection, keys, .. } = writing;
            let of = ids(
                connection,
                "SELECT id FROM session WHERE hospital = ?1 AND user = ?2 AND ended_at IS NULL
                   AND began_at >= ?3",
                params![doctor.hospital, doctor.user, now.0 - SESSION_MS_MAX],
            )?;
            for id in of {
                let mut known = load(connection, keys, id)?.doctor;
                if known.complete(&doctor) {
                    let sealed = keys.seal("session.sealed", id, &stored::doctor_bytes(&known));
                    connection
                        .prepare_cached("UPDATE session SET sealed = ?2 WHERE id = ?1")?
                        .execute(params![id, sealed])?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The HIS says that a doctor logged out, from `address`: the sessions whose windows were
    /// opened there end; where none was, all of the account. Returns them.
    pub async fn log_out(
        &self,
        hospital: String,
        user: String,
        address: String,
        now: Time,
    ) -> Result<Vec<i64>, LedgerError> {
        self.commit_first(move |writing| {
            let mut end = writing.connection.prepare_cached(
                "UPDATE session SET ended_at = ?4, ended_by = 'logout', code = NULL, window = NULL
                 WHERE hospital = ?1 AND user = ?2 AND ended_at IS NULL
                   AND (?3 IS NULL OR address = ?3) RETURNING id",
            )?;
            let mut ended = Vec::new();
            for address in [Some(&address), None] {
                if ended.is_empty() {
                    let rows =
                        end.query_map(params![hospital, user, address, now.0], |row| row.get(0))?;
                    ended = rows.collect::<Result<Vec<i64>, _>>()?;
                }
            }
            for id in &ended {
                record(writing, "doctor logged out", &user, *id, now)?;
            }
            Ok(ended)
        })
        .await
    }

    /// Keeps that something was refused: to a session, or to an address where none was shown.
    pub async fn note_refused(
        &self,
        what: &'static str,
        session: Option<&Session>,
        address: String,
        now: Time,
    ) -> Result<(), LedgerError> {
        let session = session.cloned();
        self.commit_first(move |writing| match &session {
            Some(session) => audit::record_reading(writing, what, session, None, None, now),
            None => {
                let who = format!("address {address}");
                audit::record(writing.connection, what, &who, None, None, now)
            }
        })
        .await
    }

    /// A window logs itself out.
    pub async fn close_window(&self, session: Session, now: Time) -> Result<(), LedgerError> {
        self.commit_first(move |writing| {
            writing
                .connection
                .prepare_cached(
                    "UPDATE session SET ended_at = ?2, ended_by = 'window', window = NULL
                     WHERE id = ?1 AND ended_at IS NULL",
                )?
                .execute(params![session.id, now.0])?;
            record(writing, "doctor logged out", &session.doctor.user, session.id, now)
        })
        .await
    }
}

/// The code under which the hospital's dictionary has a department of that name; empty where it has
/// none, or several.
fn department_code(connection: &Connection, doctor: &Doctor) -> Result<String, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT r.code FROM dictionary d JOIN dictionary_row r ON r.dictionary = d.id
         WHERE d.hospital = ?1 AND d.kind = ?2 AND r.name = ?3 AND r.name <> '' LIMIT 2",
    )?;
    let kind = DictionaryKind::Dept.name();
    let rows =
        statement.query_map(params![doctor.hospital, kind, doctor.department], |row| row.get(0))?;
    let codes = rows.collect::<Result<Vec<String>, _>>()?;
    Ok(match codes.as_slice() {
        [only] => only.clone(),
        _ => String::new(),
    })
}

/// Ends logins whose code nobody showed in time; then, of windows and of open codes each, the
/// oldest above [`SESSIONS_OF_USER_MAX`]. A HIS that logs in at every step ends no window by it.
fn make_room(connection: &Connection, doctor: &Doctor, now: Time) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE session SET ended_at = ?3, ended_by = 'not opened', code = NULL
             WHERE hospital = ?1 AND user = ?2 AND ended_at IS NULL AND window IS NULL
               AND began_at < ?4",
        )?
        .execute(params![doctor.hospital, doctor.user, now.0, now.0 - CODE_MS])?;
    for opened in [true, false] {
        connection
            .prepare_cached(
                "UPDATE session SET ended_at = ?3, ended_by = 'too many', code = NULL, window = NULL
                 WHERE hospital = ?1 AND user = ?2 AND ended_at IS NULL
                   AND (window IS NOT NULL) = ?5 AND id NOT IN
                     (SELECT id FROM session WHERE hospital = ?1 AND user = ?2
                        AND ended_at IS NULL AND (window IS NOT NULL) = ?5
                        ORDER BY id DESC LIMIT ?4)",
            )?
            .execute(params![
                doctor.hospital,
                doctor.user,
                now.0,
                SESSIONS_OF_USER_MAX as i64,
                opened
            ])?;
    }
    Ok(())
}

/// Who did it is the account with the number of its session.
fn record(
    writing: &Writing<'_>,
    kind: &str,
    user: &str,
    session: i64,
    now: Time,
) -> Result<(), LedgerError> {
    audit::record(writing.connection, kind, &who(user, session), None, None, now)
}

/// How the audit names a doctor.
pub(super) fn who(user: &str, session: i64) -> String {
    format!("doctor {user} session {session}")
}

/// A session that has not ended and began since then.
pub(super) fn going_on(
    connection: &Connection,
    keys: &Keys,
    id: i64,
    since: Time,
) -> Result<Option<Session>, LedgerError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM session WHERE id = ?1 AND ended_at IS NULL AND began_at >= ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![id, since.0])?;
    rows.next()?.map(|row| session(row, keys)).transpose()
}

fn load(connection: &Connection, keys: &Keys, id: i64) -> Result<Session, LedgerError> {
    let sql = format!("SELECT {COLUMNS} FROM session WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    let row = rows.next()?.ok_or(LedgerError::Unreadable { what: "session" })?;
    session(row, keys)
}

fn session(row: &Row<'_>, keys: &Keys) -> Result<Session, LedgerError> {
    let (id, sealed): (i64, Vec<u8>) = (row.get(0)?, row.get(5)?);
    let opened = keys.open("session.sealed", id, &sealed)?;
    let mut doctor = stored::doctor_from(&opened)?;
    doctor.hospital = row.get(1)?;
    doctor.user = row.get(2)?;
    doctor.department = row.get(3)?;
    doctor.department_code = row.get(4)?;
    Ok(Session { id, doctor, address: row.get(6)?, mac: row.get(7)?, is_open: row.get(8)? })
}
