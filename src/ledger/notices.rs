//! Notices: which doctor is told that a patient has studies made elsewhere.
//!
//! A notice names the plans of its patient; what it shows is what these plans have found, read
//! anew each time, so that what is found later stands in the same notice. It belongs to one
//! session, or to the account's list alone where it could not be told which window is meant.

use rusqlite::{OptionalExtension, Row, params};

use super::plans::ids;
use super::{Ledger, LedgerError, StudyShown, audit, sessions, stored};
use crate::limits::{NOTICE_PLANS_MAX, NOTICE_STUDIES_MAX, NOTICES_SHOWN_MAX};
use crate::model::{Identifier, NoticeKind, Standard, StudyOutcome, Time};

pub(super) const TABLES: &str = "
CREATE TABLE notice(
  id INTEGER PRIMARY KEY,
  hospital TEXT NOT NULL,
  user TEXT NOT NULL,
  session INTEGER,                   -- NULL: in the account's list only
  kind TEXT NOT NULL,
  sealed BLOB NOT NULL,              -- StoredNotice as JSON
  at INTEGER NOT NULL,
  shown_at INTEGER,                  -- first sent to its window
  acknowledged_at INTEGER
) STRICT;
CREATE INDEX notice_user ON notice(hospital, user, id);

CREATE TABLE notice_plan(
  plan INTEGER NOT NULL,
  notice INTEGER NOT NULL,
  PRIMARY KEY(notice, plan)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_of_plan ON notice_plan(plan);
";

/// What a doctor is to be told.
pub struct NewNotice {
    /// The hospital's code.
    pub hospital: String,
    /// The account.
    pub user: String,
    /// The session whose window it goes to; `None`: the account's list only.
    pub session: Option<i64>,
    /// Why.
    pub kind: NoticeKind,
    /// Of whom. Personal.
    pub patient: String,
    /// What is ordered: code and name of each item.
    pub exams: Vec<(String, String)>,
    /// The plans whose studies it shows.
    pub plans: Vec<i64>,
}

/// A notice as it was made.
#[derive(Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its number.
    pub id: i64,
    /// Why.
    pub kind: NoticeKind,
    /// Of whom. Personal.
    pub patient: String,
    /// What is ordered: code and name of each item.
    pub exams: Vec<(String, String)>,
    /// What a person confirmed that the items are.
    pub standards: Vec<Standard>,
    /// When.
    pub at: Time,
    /// Whether it went to the session, or stands in the list only.
    pub precise: bool,
    /// When the doctor had seen it.
    pub acknowledged_at: Option<Time>,
}

const COLUMNS: &str = "id, kind, sealed, at, session, acknowledged_at, hospital";

impl Ledger {
    /// The plans of a hospital's patient that somebody still counts on; at most
    /// [`NOTICE_PLANS_MAX`], the latest visits first. `grace_ms` is how long after a visit that is.
    pub fn plans_of(
        &self,
        hospital: &str,
        numbers: &[Identifier],
        grace_ms: i64,
        now: Time,
    ) -> Result<Vec<i64>, LedgerError> {
        self.read(|connection| {
            let mut found = Vec::new();
            for number in numbers {
                let hash = self.keys().identifier(number);
                let plans = ids(
                    connection,
                    "SELECT p.registration FROM identifier i
                     JOIN registration r ON r.id = i.registration
                     JOIN plan p ON p.registration = i.registration
                     WHERE i.hash = ?1 AND r.hospital = ?2
                       AND p.state IN ('searching', 'fetching', 'ready', 'not ready')
                       AND max(p.due_at, r.updated_at) >= ?3
                     ORDER BY p.due_at DESC",
                    params![hash, hospital, now.plus_ms(-grace_ms).0],
                )?;
                for plan in plans {
                    if found.len() < NOTICE_PLANS_MAX && !found.contains(&plan) {
                        found.push(plan);
                    }
                }
            }
            Ok(found)
        })
    }

    /// Keeps a notice.
    pub async fn tell(&self, notice: NewNotice, now: Time) -> Result<i64, LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            connection
                .prepare_cached(
                    "INSERT INTO notice(hospital, user, session, kind, sealed, at)
                     VALUES(?1, ?2, ?3, ?4, x'', ?5)",
                )?
                .execute(params![
                    notice.hospital,
                    notice.user,
                    notice.session,
                    notice.kind.name(),
                    now.0
                ])?;
            let id = connection.last_insert_rowid();
            let stored = stored::notice_bytes(&notice.patient, &notice.exams);
            let sealed = writing.keys.seal("notice.sealed", id, &stored);
            connection
                .prepare_cached("UPDATE notice SET sealed = ?2 WHERE id = ?1")?
                .execute(params![id, sealed])?;
            for plan in &notice.plans {
                connection
                    .prepare_cached("INSERT INTO notice_plan(notice, plan) VALUES(?1, ?2)")?
                    .execute(params![id, plan])?;
            }
            Ok(id)
        })
        .await
    }

    /// The notices of an account that a session may see, its own and those of the list, the latest
    /// first; at most [`NOTICES_SHOWN_MAX`].
    pub fn notices(
        &self,
        session: &sessions::Session,
        since: Time,
    ) -> Result<Vec<Notice>, LedgerError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM notice WHERE hospital = ?1 AND user = ?2 AND at >= ?3
               AND (session IS NULL OR session = ?4) ORDER BY id DESC LIMIT ?5"
        );
        let doctor = &session.doctor;
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![
                doctor.hospital,
                doctor.user,
                since.0,
                session.id,
                NOTICES_SHOWN_MAX as i64
            ])?;
            let mut notices = Vec::new();
            while let Some(row) = rows.next()? {
                notices.push(self.read_notice(connection, row)?);
            }
            Ok(notices)
        })
    }

    fn read_notice(
        &self,
        connection: &rusqlite::Connection,
        row: &Row<'_>,
    ) -> Result<Notice, LedgerError> {
        let (id, kind, sealed): (i64, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let opened = self.keys().open("notice.sealed", id, &sealed)?;
        let (patient, exams) = stored::notice_from(&opened)?;
        let hospital: String = row.get(6)?;
        let mut standards = Vec::new();
        for (code, _) in &exams {
            let standard = connection
                .prepare_cached(
                    "SELECT modality, body_part, code FROM mapping
                     WHERE hospital = ?1 AND exam_code = ?2",
                )?
                .query_row(params![hospital, code], |row| {
                    Ok(Standard {
                        modality: row.get(0)?,
                        body_part: row.get(1)?,
                        code: row.get(2)?,
                    })
                })
                .optional()?;
            standards.extend(standard);
        }
        Ok(Notice {
            id,
            kind: NoticeKind::from_name(&kind)
                .ok_or(LedgerError::Unreadable { what: "notice.kind" })?,
            patient,
            exams,
            standards,
            at: Time(row.get(3)?),
            precise: row.get::<_, Option<i64>>(4)?.is_some(),
            acknowledged_at: row.get::<_, Option<i64>>(5)?.map(Time),
        })
    }

    /// What the plans of a notice found that was made elsewhere and is not kept apart, best first,
    /// each study once; at most [`NOTICE_STUDIES_MAX`].
    pub fn notice_studies(&self, notice: i64) -> Result<Vec<StudyShown>, LedgerError> {
        let outside = [StudyOutcome::Chosen, StudyOutcome::OverBudget, StudyOutcome::TooMany];
        self.read(|connection| {
            let plans =
                ids(connection, "SELECT plan FROM notice_plan WHERE notice = ?1", params![notice])?;
            let mut studies: Vec<StudyShown> = Vec::new();
            for plan in plans {
                for one in self.studies_shown(connection, plan)? {
                    let counts = outside.iter().any(|outcome| outcome.name() == one.outcome);
                    let known = studies.iter().any(|other| other.study.study == one.study.study);
                    if counts && !known && studies.len() < NOTICE_STUDIES_MAX {
                        studies.push(one);
                    }
                }
            }
            Ok(studies)
        })
    }

    /// The sessions to which notices of a plan went.
    pub fn sessions_of_plan(&self, plan: i64) -> Result<Vec<i64>, LedgerError> {
        self.read(|connection| {
            ids(
                connection,
                "SELECT DISTINCT s.id FROM notice_plan p JOIN notice n ON n.id = p.notice
                 JOIN session s ON s.hospital = n.hospital AND s.user = n.user
                 WHERE p.plan = ?1 AND s.ended_at IS NULL
                   AND (n.session IS NULL OR n.session = s.id)",
                params![plan],
            )
        })
    }

    /// Keeps that the doctor has seen a notice of the session's.
    pub async fn acknowledge(
        &self,
        session: sessions::Session,
        notice: i64,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit_first(move |writing| {
            let doctor = &session.doctor;
            writing
                .connection
                .prepare_cached(
                    "UPDATE notice SET acknowledged_at = coalesce(acknowledged_at, ?5)
                     WHERE id = ?1 AND hospital = ?2 AND user = ?3
                       AND (session IS NULL OR session = ?4)",
                )?
                .execute(params![notice, doctor.hospital, doctor.user, session.id, now.0])?;
            Ok(())
        })
        .await
    }

    /// Keeps that notices were sent to their window. Returns those that were not before.
    pub async fn note_shown(&self, notices: Vec<i64>, now: Time) -> Result<usize, LedgerError> {
        self.commit_first(move |writing| {
            let mut update = writing.connection.prepare_cached(
                "UPDATE notice SET shown_at = ?2 WHERE id = ?1 AND shown_at IS NULL",
            )?;
            let mut new = 0;
            for notice in &notices {
                new += update.execute(params![notice, now.0])?;
            }
            Ok(new)
        })
        .await
    }

    /// Keeps what a doctor did, or tried, with a patient's studies.
    pub async fn note_deed(
        &self,
        session: &sessions::Session,
        deed: &'static str,
        study: Option<String>,
        now: Time,
    ) -> Result<(), LedgerError> {
        let who = sessions::who(&session.doctor.user, session.id);
        self.commit_first(move |writing| {
            audit::record(writing.connection, deed, &who, None, study.as_deref(), now)
        })
        .await
    }
}
