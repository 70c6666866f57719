//! Notices: which doctor is told that a patient has studies made elsewhere.
//!
//! A notice names the plans of its patient; what it shows is what these plans have found, read
//! anew each time, so that what is found later stands in the same notice. It belongs to one
//! session, or to the account's list alone where it could not be told which window is meant.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::departments::COUNTING;
use super::plans::ids;
use super::writer::Writing;
use super::{
    FetchShown, Ledger, LedgerError, StudyShown, audit, fetches, ordered, readers, sessions, stored,
};
use crate::limits::{
    NOTICE_PLANS_MAX, NOTICE_REPEAT_MS, NOTICE_STUDIES_MAX, NOTICES_PRUNED_MAX, NOTICES_SHOWN_MAX,
};
use crate::model::{
    Department, Doctor, FetchState, Identifier, NoticeKind, NoticeUse, Standard, StudyOutcome,
    Time, UtcOffset,
};

pub(super) const TABLES: &str = "
CREATE TABLE notice(
  id INTEGER PRIMARY KEY,
  hospital TEXT NOT NULL,
  user TEXT NOT NULL,
  session INTEGER,                   -- NULL: in the account's list only
  department TEXT NOT NULL,
  department_code TEXT NOT NULL,
  kind TEXT NOT NULL,
  sealed BLOB NOT NULL,              -- StoredNotice as JSON
  at INTEGER NOT NULL,
  shown_at INTEGER,                  -- first sent to its window
  acknowledged_at INTEGER
) STRICT;
CREATE INDEX notice_user ON notice(hospital, user, id);
CREATE INDEX notice_at ON notice(at);

CREATE TABLE notice_plan(
  plan INTEGER NOT NULL,
  notice INTEGER NOT NULL,
  PRIMARY KEY(notice, plan)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_of_plan ON notice_plan(plan);

CREATE TABLE notice_use(
  id INTEGER PRIMARY KEY,
  notice INTEGER NOT NULL,
  at INTEGER NOT NULL,
  what TEXT NOT NULL,
  sealed BLOB NOT NULL               -- the doctor's reason
) STRICT;
CREATE INDEX notice_use_notice ON notice_use(notice, what);
";

/// What a doctor is to be told.
pub struct NewNotice {
    /// The hospital's code.
    pub hospital: String,
    /// The account.
    pub user: String,
    /// The session whose window it goes to; `None`: the account's list only.
    pub session: Option<i64>,
    /// Where the doctor works.
    pub department: Department,
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
    /// Whether it went to a window before.
    pub was_shown: bool,
    /// When the doctor had seen it.
    pub acknowledged_at: Option<Time>,
}

/// What a doctor decided upon a notice, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// When.
    pub at: Time,
    /// The account.
    pub user: String,
    /// The word of [`NoticeUse`].
    pub what: String,
    /// Whose plan, where the notice had one.
    pub plan: Option<i64>,
    /// As the doctor typed it. It may be personal.
    pub text: String,
}

/// How notices of one account were used on one day. Nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeFigures {
    /// The day's beginning.
    pub day: Time,
    /// The hospital's code.
    pub hospital: String,
    /// The department by its code, with the dictionary's name or its latest.
    pub department: Department,
    /// Whether the dictionary has it; where not, somebody should say which one it is.
    pub is_listed: bool,
    /// The account.
    pub user: String,
    /// Patients opened and orders made.
    pub queried: u32,
    /// Notices that reached a window.
    pub notified: u32,
    /// Of all, those of which a study was opened.
    pub opened: u32,
    /// Examinations ordered all the same.
    pub ordered_anyway: u32,
    /// Orders taken back.
    pub withdrawn: u32,
}

/// The notices that a session may see: its own and those of the account's list.
const SEEN: &str = "hospital = ?1 AND user = ?2 AND at >= ?3 AND (session IS NULL OR session = ?4)";

const COLUMNS: &str = "id, kind, sealed, at, session, acknowledged_at, hospital, shown_at";

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
                let since = now.plus_ms(-grace_ms);
                let plans = ordered::counted_on(connection, &hash, hospital, since)?;
                for plan in plans {
                    if found.len() < NOTICE_PLANS_MAX && !found.contains(&plan) {
                        found.push(plan);
                    }
                }
            }
            Ok(found)
        })
    }

    /// Keeps a notice, unless the same was kept within [`NOTICE_REPEAT_MS`], which then shows what
    /// the plans of this one find, too.
    pub async fn tell(&self, notice: NewNotice, now: Time) -> Result<i64, LedgerError> {
        self.commit_first(move |writing| match same(writing, &notice, now)? {
            Some(known) => {
                write_plans(writing.connection, known, &notice.plans)?;
                Ok(known)
            }
            None => write(writing, &notice, now),
        })
        .await
    }

    /// What a session did upon a notice, with the doctor's reason where one is wanted; `study`, of
    /// which study.
    pub async fn use_notice(
        &self,
        session: &sessions::Session,
        notice: i64,
        what: NoticeUse,
        (reason, study): (String, Option<String>),
        now: Time,
    ) -> Result<(), LedgerError> {
        let session = session.clone();
        self.commit_first(move |writing| {
            write_use(writing, notice, what, &reason, now)?;
            record(writing, notice, what.name(), &session, study.as_deref(), now)
        })
        .await
    }

    /// A doctor opens the patient of another notice of the hospital, for a reason: the session gets
    /// a notice of its own. `None`: the hospital has no such notice.
    pub async fn break_glass(
        &self,
        session: sessions::Session,
        notice: i64,
        reason: String,
        now: Time,
    ) -> Result<Option<i64>, LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            let found: Option<Vec<u8>> = connection
                .prepare_cached("SELECT sealed FROM notice WHERE id = ?1 AND hospital = ?2")?
                .query_row(params![notice, session.doctor.hospital], |row| row.get(0))
                .optional()?;
            let Some(sealed) = found else { return Ok(None) };
            let opened = writing.keys.open("notice.sealed", notice, &sealed)?;
            let (patient, _) = stored::notice_from(&opened)?;
            let plans = plans_in(connection, notice)?;
            let doctor = &session.doctor;
            let own = NewNotice {
                hospital: doctor.hospital.clone(),
                user: doctor.user.clone(),
                session: Some(session.id),
                department: Department {
                    code: doctor.department_code.clone(),
                    name: doctor.department.clone(),
                },
                kind: NoticeKind::Opened,
                patient,
                exams: Vec::new(),
                plans,
            };
            let id = write(writing, &own, now)?;
            write_use(writing, id, NoticeUse::GlassBroken, &reason, now)?;
            record(writing, id, NoticeUse::GlassBroken.name(), &session, None, now)?;
            Ok(Some(id))
        })
        .await
    }

    /// How notices were used since a moment, per day, department and account: what hospitals count.
    /// `offset` is the hospital's wall clock.
    pub fn notice_figures(
        &self,
        since: Time,
        offset: UtcOffset,
    ) -> Result<Vec<NoticeFigures>, LedgerError> {
        let sql = figures();
        let [opened, anyway, taken] =
            [NoticeUse::Opened, NoticeUse::OrderedAnyway, NoticeUse::Withdrawn]
                .map(NoticeUse::name);
        let epoch = Time(0).wall(offset);
        let ahead_ms = Time::from_wall(epoch, UtcOffset::from_minutes(0).unwrap_or(offset));
        let ahead_ms = ahead_ms.map_or(0, |time| time.0);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let wanted = params![since.0, ahead_ms, opened, anyway, taken];
            let rows = statement.query_map(wanted, |row| {
                let listed: Option<String> = row.get(3)?;
                let (latest, own): (Option<String>, String) = (row.get(4)?, row.get(5)?);
                let is_listed = listed.is_some();
                let name = listed.or(latest).unwrap_or(own);
                Ok(NoticeFigures {
                    day: Time(row.get::<_, i64>(0)? * 86_400_000 - ahead_ms),
                    hospital: row.get(1)?,
                    department: Department { code: row.get(2)?, name },
                    is_listed,
                    user: row.get(6)?,
                    queried: row.get(7)?,
                    notified: row.get(8)?,
                    opened: row.get(9)?,
                    ordered_anyway: row.get(10)?,
                    withdrawn: row.get(11)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The notices of an account that a session may see, its own and those of the list, the latest
    /// first; at most [`NOTICES_SHOWN_MAX`].
    pub fn notices(
        &self,
        session: &sessions::Session,
        since: Time,
    ) -> Result<Vec<Notice>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM notice WHERE {SEEN} ORDER BY id DESC LIMIT ?5");
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

    /// One of them, however many there are.
    pub fn notice(
        &self,
        session: &sessions::Session,
        notice: i64,
        since: Time,
    ) -> Result<Option<Notice>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM notice WHERE id = ?5 AND {SEEN}");
        let doctor = &session.doctor;
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let wanted = params![doctor.hospital, doctor.user, since.0, session.id, notice];
            let mut rows = statement.query(wanted)?;
            rows.next()?.map(|row| self.read_notice(connection, row)).transpose()
        })
    }

    /// A doctor wants a study of a notice now: its plans choose it, so that what arrives is held
    /// against the patient like every chosen study. Sources that ask are told who wants it; of two
    /// doctors who want the same, it is the last one.
    pub async fn want_of_notice(
        &self,
        doctor: Doctor,
        notice: i64,
        study: String,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            let plans = ids(
                connection,
                "UPDATE considered SET outcome = 'chosen'
                 WHERE study = ?1 AND outcome IN ('over budget', 'too many')
                   AND registration IN (SELECT plan FROM notice_plan WHERE notice = ?2)
                 RETURNING registration",
                params![study, notice],
            )?;
            for plan in plans {
                fetches::want_study(connection, plan, &study, None, now)?;
            }
            let reader = readers::note(writing, &doctor)?;
            fetches::wait_for(connection, &study, reader)
        })
        .await
    }

    fn read_notice(&self, connection: &Connection, row: &Row<'_>) -> Result<Notice, LedgerError> {
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
            was_shown: row.get::<_, Option<i64>>(7)?.is_some(),
            acknowledged_at: row.get::<_, Option<i64>>(5)?.map(Time),
        })
    }

    /// What the plans of a notice found that was made elsewhere and is not kept apart, best first,
    /// each study once; at most [`NOTICE_STUDIES_MAX`].
    pub fn notice_studies(&self, notice: i64) -> Result<Vec<StudyShown>, LedgerError> {
        let outside = [StudyOutcome::Chosen, StudyOutcome::OverBudget, StudyOutcome::TooMany];
        self.read(|connection| {
            let plans = plans_in(connection, notice)?;
            let mut studies: Vec<StudyShown> = Vec::new();
            for plan in plans {
                for one in self.studies_shown(connection, plan)? {
                    // What another plan's guard put apart is not shown by this one.
                    let apart = |fetch: &FetchShown| fetch.state == FetchState::Apart.name();
                    let counts = outside.iter().any(|outcome| outcome.name() == one.outcome)
                        && !one.fetch.as_ref().is_some_and(apart);
                    let known = studies.iter().any(|other| other.study.study == one.study.study);
                    if counts && !known && studies.len() < NOTICE_STUDIES_MAX {
                        studies.push(one);
                    }
                }
            }
            Ok(studies)
        })
    }

    /// What doctors decided upon notices since a moment, with their reasons, the latest first.
    pub fn reasons(&self, since: Time, limit: usize) -> Result<Vec<Reason>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT u.id, u.at, n.user, u.what, u.sealed,
                   (SELECT min(plan) FROM notice_plan p WHERE p.notice = n.id)
                 FROM notice_use u JOIN notice n ON n.id = u.notice
                 WHERE u.at >= ?1 AND u.what <> ?2 ORDER BY u.id DESC LIMIT ?3",
            )?;
            let opened = NoticeUse::Opened.name();
            let mut rows = statement.query(params![since.0, opened, limit as i64])?;
            let mut reasons = Vec::new();
            while let Some(row) = rows.next()? {
                let sealed: Vec<u8> = row.get(4)?;
                let plain = self.keys().open("notice_use.sealed", row.get(0)?, &sealed)?;
                reasons.push(Reason {
                    at: Time(row.get(1)?),
                    user: row.get(2)?,
                    what: row.get(3)?,
                    plan: row.get(5)?,
                    text: String::from_utf8_lossy(&plain).into_owned(),
                });
            }
            Ok(reasons)
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

    /// Deletes notices, sessions and links from before a moment, at most [`NOTICES_PRUNED_MAX`] of
    /// each; gives how many. Who was shown what stays in the audit; so do notices that a reason
    /// opened.
    pub async fn prune_notices(&self, before: Time) -> Result<usize, LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            let old = ids(
                connection,
                "SELECT id FROM notice WHERE at < ?1 AND NOT EXISTS
                   (SELECT 1 FROM notice_use u WHERE u.notice = notice.id
                      AND u.what = 'glass broken') ORDER BY id LIMIT ?2",
                params![before.0, NOTICES_PRUNED_MAX as i64],
            )?;
            for table in ["notice_plan WHERE notice", "notice_use WHERE notice", "notice WHERE id"]
            {
                let sql = format!("DELETE FROM {table} = ?1");
                let mut delete = connection.prepare_cached(&sql)?;
                for notice in &old {
                    delete.execute([notice])?;
                }
            }
            let sessions = connection
                .prepare_cached(
                    "DELETE FROM session WHERE id IN
                       (SELECT id FROM session WHERE began_at < ?1 ORDER BY id LIMIT ?2)",
                )?
                .execute(params![before.0, NOTICES_PRUNED_MAX as i64])?;
            let links = connection
                .prepare_cached(
                    "DELETE FROM study_link WHERE id IN
                       (SELECT id FROM study_link WHERE made_at < ?1 ORDER BY id LIMIT ?2)",
                )?
                .execute(params![before.0, NOTICES_PRUNED_MAX as i64])?;
            Ok(old.len() + sessions + links)
        })
        .await
    }

    /// Keeps what a doctor did, or tried, with a patient's studies.
    pub async fn note_deed(
        &self,
        session: &sessions::Session,
        notice: i64,
        (deed, study): (&'static str, Option<String>),
        now: Time,
    ) -> Result<(), LedgerError> {
        let session = session.clone();
        self.commit_first(move |writing| {
            record(writing, notice, deed, &session, study.as_deref(), now)
        })
        .await
    }
}

/// The figures since ?1, by days of a wall clock that is ?2 ms ahead; ?3 to ?5 are words of
/// [`NoticeUse`]. A department is what a person said that it is; its name is the dictionary's, else
/// what it was last called.
fn figures() -> String {
    format!(
        "WITH used AS (
           SELECT n.*, CAST((n.at + ?2) / 86400000 AS INTEGER) AS day,
             CASE WHEN n.department_code = '' THEN n.department ELSE '' END AS called,
             EXISTS(SELECT 1 FROM notice_use u WHERE u.notice = n.id AND u.what = ?3) AS opened,
             EXISTS(SELECT 1 FROM notice_use u WHERE u.notice = n.id AND u.what = ?4) AS anyway,
             EXISTS(SELECT 1 FROM notice_use u WHERE u.notice = n.id AND u.what = ?5) AS taken
           FROM notice n WHERE n.at >= ?1),
         counted AS (
           SELECT day, hospital, department_code, called, max(department) AS department, user,
             count(*) AS queried, count(shown_at) AS notified, sum(opened) AS opened,
             sum(anyway) AS anyway, sum(taken) AS taken
           FROM used GROUP BY day, hospital, department_code, called, user),
         bound AS (
           SELECT c.*, coalesce(m.department, c.department_code) AS code
           FROM counted c LEFT JOIN ({COUNTING}) m ON m.hospital = c.hospital
             AND m.code = c.department_code AND m.name = c.called)
         SELECT day, hospital, code,
           (SELECT r.name FROM dictionary d JOIN dictionary_row r ON r.dictionary = d.id
              WHERE d.hospital = bound.hospital AND d.kind = 'dept' AND r.code = bound.code),
           (SELECT l.department FROM notice l WHERE l.hospital = bound.hospital
              AND l.department_code = bound.code AND bound.code <> ''
              ORDER BY l.id DESC LIMIT 1), max(department), user,
           sum(queried), sum(notified), sum(opened), sum(anyway), sum(taken)
         FROM bound GROUP BY day, hospital, code, CASE WHEN code = '' THEN department END, user
         ORDER BY day DESC, hospital, code, user"
    )
}

/// The plans that a notice names, in the order of their numbers.
fn plans_in(connection: &Connection, notice: i64) -> Result<Vec<i64>, LedgerError> {
    let sql = "SELECT plan FROM notice_plan WHERE notice = ?1 ORDER BY plan";
    ids(connection, sql, params![notice])
}

/// The notice that this one would repeat: of the same patient, as one plan of both says. Who opens
/// a patient before the sources have answered has a plan of his own beside the registration's, and
/// names both the next time.
fn same(writing: &Writing<'_>, notice: &NewNotice, now: Time) -> Result<Option<i64>, LedgerError> {
    let connection = writing.connection;
    let late = ids(
        connection,
        "SELECT id FROM notice WHERE hospital = ?1 AND user = ?2 AND session IS ?3 AND kind = ?4
           AND at > ?5 ORDER BY id DESC",
        params![
            notice.hospital,
            notice.user,
            notice.session,
            notice.kind.name(),
            now.0 - NOTICE_REPEAT_MS
        ],
    )?;
    for id in late {
        if !plans_in(connection, id)?.iter().any(|plan| notice.plans.contains(plan)) {
            continue;
        }
        let sealed: Vec<u8> = connection
            .prepare_cached("SELECT sealed FROM notice WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        let (_, exams) = stored::notice_from(&writing.keys.open("notice.sealed", id, &sealed)?)?;
        if exams == notice.exams {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn write(writing: &Writing<'_>, notice: &NewNotice, now: Time) -> Result<i64, LedgerError> {
    let connection = writing.connection;
    connection
        .prepare_cached(
            "INSERT INTO notice(hospital, user, session, department, department_code, kind, sealed,
               at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, x'', ?7)",
        )?
        .execute(params![
            notice.hospital,
            notice.user,
            notice.session,
            notice.department.name,
            notice.department.code,
            notice.kind.name(),
            now.0
        ])?;
    let id = connection.last_insert_rowid();
    let stored = stored::notice_bytes(&notice.patient, &notice.exams);
    let sealed = writing.keys.seal("notice.sealed", id, &stored);
    connection
        .prepare_cached("UPDATE notice SET sealed = ?2 WHERE id = ?1")?
        .execute(params![id, sealed])?;
    write_plans(connection, id, &notice.plans)?;
    Ok(id)
}

fn write_plans(connection: &Connection, notice: i64, plans: &[i64]) -> Result<(), LedgerError> {
    let mut put = connection
        .prepare_cached("INSERT OR IGNORE INTO notice_plan(notice, plan) VALUES(?1, ?2)")?;
    for plan in plans {
        put.execute(params![notice, plan])?;
    }
    Ok(())
}

/// One row of the audit for each plan of the notice, which says whose it is; one without, where
/// there is no such notice.
fn record(
    writing: &Writing<'_>,
    notice: i64,
    deed: &str,
    session: &sessions::Session,
    study: Option<&str>,
    now: Time,
) -> Result<(), LedgerError> {
    let plans = plans_in(writing.connection, notice)?;
    if plans.is_empty() {
        return audit::record_reading(writing, deed, session, None, study, now);
    }
    for plan in plans {
        audit::record_reading(writing, deed, session, Some(plan), study, now)?;
    }
    Ok(())
}

fn write_use(
    writing: &Writing<'_>,
    notice: i64,
    what: NoticeUse,
    reason: &str,
    now: Time,
) -> Result<(), LedgerError> {
    let connection = writing.connection;
    connection
        .prepare_cached("INSERT INTO notice_use(notice, at, what, sealed) VALUES(?1, ?2, ?3, x'')")?
        .execute(params![notice, now.0, what.name()])?;
    let id = connection.last_insert_rowid();
    let sealed = writing.keys.seal("notice_use.sealed", id, reason.as_bytes());
    connection
        .prepare_cached("UPDATE notice_use SET sealed = ?2 WHERE id = ?1")?
        .execute(params![id, sealed])?;
    Ok(())
}
