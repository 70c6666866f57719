//! Links to one study, good once, for a viewer or for another browser of the same workstation.
//!
//! In the manner of IHE's Invoke Image Display (RAD TF-2 4.106) a link names a study and nobody.
//! Its ticket is the number of a row here under a signature; the row says for which session of
//! which doctor it was made, and whether it was opened before. What a link shows ends with the
//! session for which it was made.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use rusqlite::{OptionalExtension, params};

use super::{Digest, Ledger, LedgerError, Session, audit, sessions};
use crate::limits::{LINK_MS, SESSION_MS_MAX};
use crate::model::Time;

pub(super) const TABLES: &str = "
CREATE TABLE study_link(
  id INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  notice INTEGER NOT NULL,
  study TEXT NOT NULL,
  made_at INTEGER NOT NULL,
  opened_at INTEGER,
  window BLOB                        -- SHA-256 of the secret that the opening earned
) STRICT;
CREATE UNIQUE INDEX study_link_window ON study_link(window) WHERE window IS NOT NULL;
CREATE INDEX study_link_made ON study_link(made_at);
";

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// For whom it was made.
    pub session: Session,
    /// The notice whose study it is.
    pub notice: i64,
    /// Study Instance UID (0020,000D).
    pub study: String,
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFault {
    /// The signature is not ours, or not of this study.
    Forged,
    /// It was opened before.
    Used,
    /// It was made more than [`LINK_MS`] ago.
    Late,
    /// The session for which it was made has ended.
    Ended,
    /// It was opened at another address than the session's window.
    Elsewhere,
}

impl LinkFault {
    /// The audit's word.
    pub fn name(self) -> &'static str {
        match self {
            LinkFault::Forged => "link forged",
            LinkFault::Used => "link used again",
            LinkFault::Late => "link too late",
            LinkFault::Ended => "link after the session",
            LinkFault::Elsewhere => "link from elsewhere",
        }
    }
}

impl Ledger {
    /// The ticket of a link to one study of a notice: a number, a hyphen, 32 hexadecimal digits.
    pub async fn make_link(
        &self,
        session: &Session,
        notice: i64,
        study: String,
        now: Time,
    ) -> Result<String, LedgerError> {
        let session = session.id;
        self.commit_first(move |writing| {
            writing
                .connection
                .prepare_cached(
                    "INSERT INTO study_link(session, notice, study, made_at)
                     VALUES(?1, ?2, ?3, ?4)",
                )?
                .execute(params![session, notice, study, now.0])?;
            let id = writing.connection.last_insert_rowid();
            Ok(format!("{id}-{}", hex::encode(writing.keys.link(id, &study))))
        })
        .await
    }

    /// Opens a link, once. `address` is where it is opened; `None`: by a program that may see every
    /// image anyway. From now on `window` is the secret of what it shows. Opened or refused, it is
    /// audited.
    pub async fn open_link(
        &self,
        ticket: &str,
        study: String,
        address: Option<String>,
        window: Digest,
        now: Time,
    ) -> Result<Result<Linked, LinkFault>, LedgerError> {
        let signed = self.signed(ticket, &study);
        self.commit_first(move |writing| {
            let connection = writing.connection;
            let deny = |who: &str, fault: LinkFault| {
                audit::record(connection, fault.name(), who, None, Some(&study), now)?;
                Ok(Err(fault))
            };
            let Some(id) = signed else { return deny("unknown", LinkFault::Forged) };
            let row: Option<(i64, i64, i64, bool)> = connection
                .prepare_cached(
                    "SELECT session, notice, made_at, opened_at IS NOT NULL FROM study_link
                     WHERE id = ?1",
                )?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            let Some((session, notice, made_at, used)) = row else {
                return deny("unknown", LinkFault::Late);
            };
            let since = now.plus_ms(-SESSION_MS_MAX);
            let Some(session) = sessions::going_on(connection, writing.keys, session, since)?
            else {
                return deny(&format!("session {session}"), LinkFault::Ended);
            };
            let deed =
                |what| audit::record_reading(writing, what, &session, None, Some(&study), now);
            let elsewhere = address.is_some_and(|address| address != session.address);
            let fault = match (used, now.0 - made_at > LINK_MS, elsewhere) {
                (true, ..) => Some(LinkFault::Used),
                (_, true, _) => Some(LinkFault::Late),
                (.., true) => Some(LinkFault::Elsewhere),
                (false, false, false) => None,
            };
            if let Some(fault) = fault {
                deed(fault.name())?;
                return Ok(Err(fault));
            }
            connection
                .prepare_cached("UPDATE study_link SET opened_at = ?2, window = ?3 WHERE id = ?1")?
                .execute(params![id, now.0, window])?;
            deed("link opened")?;
            Ok(Ok(Linked { session, notice, study }))
        })
        .await
    }

    /// The number of a link whose signature is ours.
    fn signed(&self, ticket: &str, study: &str) -> Option<i64> {
        let (id, signature) = ticket.split_once('-')?;
        let id: i64 = id.parse().ok()?;
        let signature = hex::decode(signature).ok()?;
        verify_slices_are_equal(&signature, &self.keys().link(id, study)).ok()?;
        Some(id)
    }

    /// What an opened link shows, as long as its session goes on.
    pub fn study_linked(&self, window: &Digest, now: Time) -> Result<Option<Linked>, LedgerError> {
        self.read(|connection| {
            let found: Option<(i64, i64, String)> = connection
                .prepare_cached("SELECT session, notice, study FROM study_link WHERE window = ?1")?
                .query_row([window], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((session, notice, study)) = found else { return Ok(None) };
            let since = now.plus_ms(-SESSION_MS_MAX);
            let session = sessions::going_on(connection, self.keys(), session, since)?;
            Ok(session.map(|session| Linked { session, notice, study }))
        })
    }
}
