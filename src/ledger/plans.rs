//! Plans: which search is due, what it brought, and whether everything is here.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Writing;
use super::{
    Ledger, LedgerError, Ordered, fetches, ordered, pushed, readers, registrations, stored,
};
use crate::limits::ATTEMPTS_BEFORE_CAUSE;
use crate::model::{
    Cause, Doctor, FetchState, FoundStudy, Link, Place, PlanState, Registration, StudyOutcome, Time,
};

/// Why a study was considered, in the doctors' language.
pub(super) const IN_CHINESE: &str =
    "ALTER TABLE considered ADD COLUMN why_zh TEXT NOT NULL DEFAULT '';";

/// A plan whose search is due.
pub struct ClaimedPlan {
    /// The registration.
    pub id: i64,
    /// Opened.
    pub registration: Registration,
    /// Attempts so far of each source that has not answered; sources never asked are missing.
    pub unanswered: HashMap<String, u32>,
    /// Sources that have answered.
    pub answered: Vec<String>,
    /// What the answers so far brought, with every place that was named.
    pub found: Vec<(FoundStudy, Vec<Place>)>,
    /// The studies chosen so far.
    pub chosen: HashSet<String>,
    /// Of these, those that are here or were tried to bring.
    pub begun: HashSet<String>,
    /// The doctor whose opening of the patient made the plan, where one did. Personal.
    pub reader: Option<Doctor>,
}

/// What one source said to one search.
pub enum SearchEnd {
    /// It answered.
    Answered,
    /// It cannot be asked, and has pushed nothing yet.
    Awaited {
        /// When it is looked for again.
        next_at: Time,
    },
    /// It did not; it is asked again at that time.
    Failed {
        /// For `plans show`: no personal data.
        fault: String,
        /// When it is asked again.
        next_at: Time,
    },
}

/// A study with the decision about it.
pub struct Considered {
    /// The search answer of its best place.
    pub study: FoundStudy,
    /// Every place, best first.
    pub places: Vec<Place>,
    /// The decision.
    pub outcome: StudyOutcome,
    /// The guard's word.
    pub link: Link,
    /// Its rank among the others.
    pub score: i64,
    /// The explanation in English, without personal data.
    pub why: String,
    /// The same in Chinese.
    pub why_zh: String,
}

/// A plan after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Where it stands.
    pub state: PlanState,
    /// Whether this step brought it there.
    pub new: bool,
    /// Milliseconds from ready to the visit, once it is ready; negative when it was late.
    pub lead_ms: Option<i64>,
}

/// A plan as `plans list` shows it. Holds nothing personal.
#[derive(Debug, Clone)]
pub struct PlanShown {
    /// The registration's number.
    pub id: i64,
    /// The hospital's code.
    pub hospital: String,
    /// Where it stands.
    pub state: String,
    /// In-patient or emergency.
    pub urgent: bool,
    /// When it was accepted.
    pub received_at: Time,
    /// The visit.
    pub due_at: Time,
    /// When everything was here.
    pub ready_at: Option<Time>,
    /// Milliseconds from ready to the visit.
    pub lead_ms: Option<i64>,
    /// The one cause why not.
    pub cause: Option<String>,
    /// Studies considered.
    pub found: u32,
    /// Studies chosen.
    pub chosen: u32,
    /// Instances here of the chosen ones, as last settled.
    pub have: u64,
    /// Instances expected of the chosen ones.
    pub expected: u64,
}

/// A study of a plan as `plans show` shows it.
#[derive(Debug, Clone)]
pub struct StudyShown {
    /// What the source said. Personal.
    pub study: FoundStudy,
    /// The decision's word.
    pub outcome: String,
    /// The guard's word.
    pub link: String,
    /// Its rank.
    pub score: i64,
    /// Why, in English.
    pub why: String,
    /// The same in Chinese; empty for what an older version considered.
    pub why_zh: String,
    /// Its fetch, where it has one.
    pub fetch: Option<FetchShown>,
}

/// A fetch as people are shown it.
#[derive(Debug, Clone)]
pub struct FetchShown {
    /// Where it stands.
    pub state: String,
    /// Instances here.
    pub have: u64,
    /// Instances expected.
    pub expected: Option<u64>,
    /// Tries so far.
    pub attempts: u32,
    /// The last fault.
    pub fault: Option<String>,
}

/// A source's answer as `plans show` shows it.
#[derive(Debug, Clone)]
pub struct SearchShown {
    /// The source.
    pub source: String,
    /// When it answered.
    pub answered_at: Option<Time>,
    /// Tries so far.
    pub attempts: u32,
    /// The last fault.
    pub fault: Option<String>,
}

impl Ledger {
    /// The plans whose search is due, most urgent first, without those in `claimed`.
    pub fn due_plans(
        &self,
        now: Time,
        limit: usize,
        claimed: &dyn Fn(i64) -> bool,
    ) -> Result<Vec<ClaimedPlan>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT registration FROM plan
                 WHERE state IN ('searching', 'fetching', 'no identifier') AND next_at <= ?1
                 ORDER BY urgent DESC, due_at",
            )?;
            let mut rows = statement.query([now.0])?;
            let mut due = Vec::new();
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                if claimed(id) {
                    continue;
                }
                due.push(self.claim_plan(connection, id)?);
                if due.len() >= limit {
                    break;
                }
            }
            Ok(due)
        })
    }

    /// A plan as it stands, for who asks sources for it.
    pub fn claimed_plan(&self, id: i64) -> Result<ClaimedPlan, LedgerError> {
        self.read(|connection| self.claim_plan(connection, id))
    }

    /// The earliest moment at which a search or a fetch falls due; `None` when nothing waits.
    pub fn next_due(&self) -> Result<Option<Time>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT min(at) FROM (
                   SELECT min(next_at) AS at FROM plan
                     WHERE state IN ('searching', 'fetching', 'no identifier')
                   UNION ALL SELECT min(next_at) FROM fetch WHERE state = 'waiting')",
            )?;
            Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Time))
        })
    }

    /// Keeps what the sources said to one search and what was decided: one commit. By the numbers
    /// of `registration` its studies will be found. `wanted` is what was known to be ordered when
    /// it was decided: where that has changed since, it is decided again.
    pub async fn settle_search(
        &self,
        id: i64,
        registration: &Registration,
        ends: Vec<(String, SearchEnd)>,
        considered: Vec<Considered>,
        wanted: Vec<Ordered>,
        now: Time,
    ) -> Result<Settled, LedgerError> {
        let hospital = registration.hospital.clone();
        let numbers = registration.identifiers.iter();
        let numbers: Vec<_> = numbers.map(|one| self.keys().identifier(one)).collect();
        self.commit(move |writing| {
            let connection = writing.connection;
            let open = plan_state(connection, id)?;
            if !matches!(open, PlanState::Searching | PlanState::Fetching) {
                // Cancelled, over or replaced while the sources were being asked.
                return Ok(Settled { state: open, new: false, lead_ms: None });
            }
            for (source, end) in &ends {
                write_search(connection, id, source, end, now)?;
            }
            if !considered.is_empty() {
                registrations::write_identifiers(connection, id, &numbers)?;
            }
            for one in &considered {
                fetches::write_places(connection, one.study.study.as_str(), &one.places)?;
                if write_considered(writing, id, one)? {
                    fetches::want(connection, id, one, now)?;
                } else {
                    // It may have been chosen before something better was known.
                    fetches::reorder(connection, one.study.study.as_str(), now)?;
                }
            }
            for (source, _) in &ends {
                pushed::look_again(connection, id, source, now)?;
            }
            let changed = ordered::ordered(connection, &hospital, &numbers, now)? != wanted;
            let next: Option<i64> = connection
                .prepare_cached(
                    "SELECT min(next_at) FROM search
                     WHERE registration = ?1 AND answered_at IS NULL",
                )?
                .query_row([id], |row| row.get(0))?;
            connection
                .prepare_cached(
                    "UPDATE plan SET next_at = ?2, attempts = attempts + 1 WHERE registration = ?1",
                )?
                .execute(params![id, if changed { Some(now.0) } else { next }])?;
            refresh(connection, id, now)
        })
        .await
    }

    /// Ends plans whose visit, and whose last registration, are longer past than `grace_ms`;
    /// returns how many. A stay is registered after it began, so the visit alone would end it.
    pub async fn expire_plans(&self, now: Time, grace_ms: i64) -> Result<usize, LedgerError> {
        self.commit(move |writing| {
            let late = ids(
                writing.connection,
                "SELECT p.registration FROM plan p JOIN registration r ON r.id = p.registration
                 WHERE state IN ('searching', 'fetching', 'no identifier')
                   AND p.due_at < ?1 AND r.updated_at < ?1",
                params![now.0 - grace_ms],
            )?;
            for id in &late {
                let cause = cause_of(writing.connection, *id)?;
                writing
                    .connection
                    .prepare_cached(
                        "UPDATE plan SET state = 'not ready', cause = ?2, next_at = NULL,
                           updated_at = ?3 WHERE registration = ?1",
                    )?
                    .execute(params![id, cause.name(), now.0])?;
                fetches::reorder_wanted_by(writing.connection, *id, now)?;
            }
            Ok(late.len())
        })
        .await
    }

    /// Plans for people, the nearest visit first.
    pub fn plans(&self, limit: usize) -> Result<Vec<PlanShown>, LedgerError> {
        self.read(|connection| {
            let sql = format!("{PLAN_SHOWN} ORDER BY p.due_at DESC LIMIT ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([limit as i64], plan_shown)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One plan with its registration, searches and studies.
    #[allow(clippy::type_complexity, reason = "the four parts of one page, read at one moment")]
    pub fn plan(
        &self,
        id: i64,
    ) -> Result<Option<(PlanShown, Registration, Vec<SearchShown>, Vec<StudyShown>)>, LedgerError>
    {
        self.read(|connection| {
            let sql = format!("{PLAN_SHOWN} WHERE p.registration = ?1");
            let plan = connection.prepare_cached(&sql)?.query_row([id], plan_shown).optional()?;
            let Some(plan) = plan else { return Ok(None) };
            let registration = registrations::load(connection, self.keys(), id)?;
            let searches = searches_shown(connection, id)?;
            Ok(Some((plan, registration, searches, self.studies_shown(connection, id)?)))
        })
    }

    fn claim_plan(&self, connection: &Connection, id: i64) -> Result<ClaimedPlan, LedgerError> {
        let registration = registrations::load(connection, self.keys(), id)?;
        let mut unanswered = HashMap::new();
        let mut answered = Vec::new();
        for search in searches_shown(connection, id)? {
            if search.answered_at.is_some() {
                answered.push(search.source);
            } else {
                unanswered.insert(search.source, search.attempts);
            }
        }
        let (mut chosen, mut begun, mut found) = (HashSet::new(), HashSet::new(), Vec::new());
        for shown in self.studies_shown(connection, id)? {
            let study = shown.study.study.as_str();
            if shown.outcome == StudyOutcome::Chosen.name() {
                chosen.insert(study.to_owned());
                let tried = |fetch: &FetchShown| {
                    fetch.attempts > 0 || fetch.state == FetchState::Here.name()
                };
                if shown.fetch.as_ref().is_some_and(tried) {
                    begun.insert(study.to_owned());
                }
            }
            let mut places = fetches::places(connection, study)?;
            if places.is_empty() {
                // Of a version that kept the places of chosen studies only.
                places.push(shown.study.place.clone());
            }
            found.push((shown.study, places));
        }
        let reader: Option<i64> = connection
            .prepare_cached("SELECT reader FROM plan WHERE registration = ?1")?
            .query_row([id], |row| row.get(0))?;
        let reader = readers::load(connection, self.keys(), reader)?;
        Ok(ClaimedPlan { id, registration, unanswered, answered, found, chosen, begun, reader })
    }

    pub(super) fn studies_shown(
        &self,
        connection: &Connection,
        id: i64,
    ) -> Result<Vec<StudyShown>, LedgerError> {
        let mut statement = connection.prepare_cached(
            "SELECT c.id, c.study, c.sealed, c.outcome, c.link, c.score, c.why,
                    f.state, f.have, f.expected, f.attempts, f.fault, c.why_zh
             FROM considered c LEFT JOIN fetch f ON f.study = c.study
             WHERE c.registration = ?1 ORDER BY c.score DESC, c.study",
        )?;
        let mut rows = statement.query([id])?;
        let mut shown = Vec::new();
        while let Some(row) = rows.next()? {
            let sealed: Vec<u8> = row.get(2)?;
            let plain = self.keys().open("considered.sealed", row.get(0)?, &sealed)?;
            shown.push(StudyShown {
                study: stored::study_from(&row.get::<_, String>(1)?, &plain)?,
                outcome: row.get(3)?,
                link: row.get(4)?,
                score: row.get(5)?,
                why: row.get(6)?,
                why_zh: row.get(12)?,
                fetch: fetch_shown(row)?,
            });
        }
        Ok(shown)
    }
}

/// Brings the state of an open plan in line with its searches and fetches.
pub(super) fn refresh(connection: &Connection, id: i64, now: Time) -> Result<Settled, LedgerError> {
    let state = plan_state(connection, id)?;
    match state {
        PlanState::Searching | PlanState::Fetching | PlanState::Ready | PlanState::NotReady => {}
        PlanState::NoIdentifier | PlanState::Cancelled | PlanState::Over => {
            return Ok(Settled { state, new: false, lead_ms: None });
        }
    }
    let (unanswered, was_ready): (bool, bool) = connection
        .prepare_cached(
            "SELECT next_at IS NOT NULL, ready_at IS NOT NULL FROM plan WHERE registration = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (waiting, failed): (i64, i64) = connection
        .prepare_cached(
            "SELECT coalesce(sum(f.state IN ('waiting', 'dropped', 'evicted')), 0),
                    coalesce(sum(f.state = 'failed'), 0)
             FROM considered c JOIN fetch f ON f.study = c.study
             WHERE c.registration = ?1 AND c.outcome = 'chosen'",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let next = match (unanswered, waiting, failed) {
        (true, _, _) => PlanState::Searching,
        (false, 0, 0) => PlanState::Ready,
        (false, 0, _) => PlanState::NotReady,
        (false, _, _) => PlanState::Fetching,
    };
    let cause = match next {
        PlanState::Ready => None,
        PlanState::NotReady => Some(cause_of(connection, id)?),
        _ => standing_cause(connection, id)?,
    };
    connection
        .prepare_cached(
            "UPDATE plan SET state = ?2, cause = ?3, updated_at = ?4,
               ready_at = CASE WHEN ?2 = 'ready' THEN coalesce(ready_at, ?4) END,
               lead_ms = CASE WHEN ?2 = 'ready' THEN due_at - coalesce(ready_at, ?4) END
             WHERE registration = ?1",
        )?
        .execute(params![id, next.name(), cause.map(Cause::name), now.0])?;
    let lead_ms = connection
        .prepare_cached("SELECT lead_ms FROM plan WHERE registration = ?1")?
        .query_row([id], |row| row.get(0))?;
    // A plan that was decided again without anything new was ready all the while.
    let new = next != state && !(next == PlanState::Ready && was_ready);
    Ok(Settled { state: next, new, lead_ms })
}

/// The cause worth showing while the work still goes on: only after several tries.
fn standing_cause(connection: &Connection, id: i64) -> Result<Option<Cause>, LedgerError> {
    let disk_full: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM considered c JOIN fetch f ON f.study = c.study
             WHERE c.registration = ?1 AND c.outcome = 'chosen' AND f.state = 'waiting'
               AND f.disk_full",
        )?
        .query_row([id], |row| row.get(0))?;
    if disk_full > 0 {
        return Ok(Some(Cause::DiskFull));
    }
    let searches: Option<i64> = connection
        .prepare_cached(
            "SELECT max(attempts) FROM search WHERE registration = ?1 AND answered_at IS NULL",
        )?
        .query_row([id], |row| row.get(0))?;
    if searches.unwrap_or(0) >= i64::from(ATTEMPTS_BEFORE_CAUSE) {
        return Ok(Some(Cause::SearchUnanswered));
    }
    let fetches: Option<i64> = connection
        .prepare_cached(
            "SELECT max(f.attempts) FROM considered c JOIN fetch f ON f.study = c.study
             WHERE c.registration = ?1 AND c.outcome = 'chosen' AND f.state = 'waiting'",
        )?
        .query_row([id], |row| row.get(0))?;
    let failing = fetches.unwrap_or(0) >= i64::from(ATTEMPTS_BEFORE_CAUSE);
    Ok(failing.then_some(Cause::RetrieveFailing))
}

/// The one cause of a plan that ends unready.
fn cause_of(connection: &Connection, id: i64) -> Result<Cause, LedgerError> {
    if plan_state(connection, id)? == PlanState::NoIdentifier {
        return Ok(Cause::NoIdentifier);
    }
    if let Some(standing) = standing_cause(connection, id)? {
        return Ok(standing);
    }
    let unanswered: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM search WHERE registration = ?1 AND attempts > 0
               AND answered_at IS NULL",
        )?
        .query_row([id], |row| row.get(0))?;
    if unanswered > 0 {
        return Ok(Cause::SearchUnanswered);
    }
    let faulty: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM considered c JOIN fetch f ON f.study = c.study
             WHERE c.registration = ?1 AND c.outcome = 'chosen' AND f.state <> 'here'
               AND f.fault IS NOT NULL",
        )?
        .query_row([id], |row| row.get(0))?;
    if faulty > 0 {
        return Ok(Cause::RetrieveFailing);
    }
    let awaited: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM search WHERE registration = ?1 AND attempts = 0
               AND answered_at IS NULL",
        )?
        .query_row([id], |row| row.get(0))?;
    Ok(if awaited > 0 { Cause::NothingPushed } else { Cause::LateRegistration })
}

pub(super) fn plan_state(connection: &Connection, id: i64) -> Result<PlanState, LedgerError> {
    let word: String = connection
        .prepare_cached("SELECT state FROM plan WHERE registration = ?1")?
        .query_row([id], |row| row.get(0))?;
    PlanState::from_name(&word).ok_or(LedgerError::Unreadable { what: "plan.state" })
}

pub(super) fn ids(
    connection: &Connection,
    sql: &str,
    arguments: impl rusqlite::Params,
) -> Result<Vec<i64>, LedgerError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(arguments, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn write_search(
    connection: &Connection,
    id: i64,
    source: &str,
    end: &SearchEnd,
    now: Time,
) -> Result<(), LedgerError> {
    // What was never tried in vain counts no attempt: that is how it is told from what failed.
    let (answered, next_at, fault, attempt) = match end {
        SearchEnd::Answered => (Some(now.0), None, None, 1),
        SearchEnd::Awaited { next_at } => (None, Some(next_at.0), None, 0),
        SearchEnd::Failed { fault, next_at } => (None, Some(next_at.0), Some(fault.as_str()), 1),
    };
    connection
        .prepare_cached(
            "INSERT INTO search(registration, source, answered_at, attempts, next_at, fault)
             VALUES(?1, ?2, ?3, ?6, ?4, ?5)
             ON CONFLICT(registration, source) DO UPDATE SET answered_at = excluded.answered_at,
               attempts = attempts + ?6, next_at = excluded.next_at, fault = excluded.fault",
        )?
        .execute(params![id, source, answered, next_at, fault, attempt])?;
    Ok(())
}

/// The row keeps its id when the study was considered before: the sealed bytes carry it. What a
/// header said against it stands. Returns whether the study is chosen.
fn write_considered(
    writing: &Writing<'_>,
    registration: i64,
    one: &Considered,
) -> Result<bool, LedgerError> {
    let connection = writing.connection;
    let study = one.study.study.as_str();
    let (id, chosen): (i64, bool) = connection
        .prepare_cached(
            "INSERT INTO considered(registration, study, outcome, link, score, why, why_zh, sealed)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, x'')
             ON CONFLICT(registration, study) DO UPDATE SET
               outcome = CASE WHEN contradicted THEN outcome ELSE excluded.outcome END,
               link = CASE WHEN contradicted THEN link ELSE excluded.link END,
               why = CASE WHEN contradicted THEN why ELSE excluded.why END,
               why_zh = CASE WHEN contradicted THEN why_zh ELSE excluded.why_zh END,
               score = excluded.score
             RETURNING id, outcome = 'chosen'",
        )?
        .query_row(
            params![
                registration,
                study,
                one.outcome.name(),
                one.link.name(),
                one.score,
                one.why,
                one.why_zh
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
    let sealed = writing.keys.seal("considered.sealed", id, &stored::study_bytes(&one.study));
    connection
        .prepare_cached("UPDATE considered SET sealed = ?2 WHERE id = ?1")?
        .execute(params![id, sealed])?;
    Ok(chosen)
}

const PLAN_SHOWN: &str = "
    SELECT p.registration, r.hospital, p.state, p.urgent, r.received_at, p.due_at, p.ready_at,
           p.lead_ms, p.cause,
           (SELECT count(*) FROM considered c WHERE c.registration = p.registration),
           (SELECT count(*) FROM considered c WHERE c.registration = p.registration
              AND c.outcome = 'chosen'),
           (SELECT coalesce(sum(f.have), 0) FROM considered c JOIN fetch f ON f.study = c.study
              WHERE c.registration = p.registration AND c.outcome = 'chosen'),
           (SELECT coalesce(sum(f.expected), 0) FROM considered c JOIN fetch f
              ON f.study = c.study
              WHERE c.registration = p.registration AND c.outcome = 'chosen')
    FROM plan p JOIN registration r ON r.id = p.registration";

fn plan_shown(row: &Row<'_>) -> Result<PlanShown, rusqlite::Error> {
    Ok(PlanShown {
        id: row.get(0)?,
        hospital: row.get(1)?,
        state: row.get(2)?,
        urgent: row.get(3)?,
        received_at: Time(row.get(4)?),
        due_at: Time(row.get(5)?),
        ready_at: row.get::<_, Option<i64>>(6)?.map(Time),
        lead_ms: row.get(7)?,
        cause: row.get(8)?,
        found: row.get(9)?,
        chosen: row.get(10)?,
        have: row.get::<_, i64>(11)? as u64,
        expected: row.get::<_, i64>(12)? as u64,
    })
}

fn fetch_shown(row: &Row<'_>) -> Result<Option<FetchShown>, rusqlite::Error> {
    let Some(state) = row.get::<_, Option<String>>(7)? else { return Ok(None) };
    Ok(Some(FetchShown {
        state,
        have: row.get::<_, i64>(8)? as u64,
        expected: row.get::<_, Option<i64>>(9)?.map(|m| m as u64),
        attempts: row.get(10)?,
        fault: row.get(11)?,
    }))
}

fn searches_shown(connection: &Connection, id: i64) -> Result<Vec<SearchShown>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT source, answered_at, attempts, fault FROM search
         WHERE registration = ?1 ORDER BY source",
    )?;
    let rows = statement.query_map([id], |row| {
        Ok(SearchShown {
            source: row.get(0)?,
            answered_at: row.get::<_, Option<i64>>(1)?.map(Time),
            attempts: row.get(2)?,
            fault: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
