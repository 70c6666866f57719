//! Registrations: one commit of registration, plan and audit.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Writing;
use super::{Awaited, Ledger, LedgerError, audit, deliveries, fetches, pushed, readers, stored};
use crate::limits::TAKE_UP_PAGE;
use crate::model::{
    Cause, Doctor, Identifier, Link, NewDelivery, PlanOrder, PlanState, Registration, Time,
};
use crate::seal::Lookup;

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The registration, which is also the plan's number.
    pub id: i64,
    /// Whether the visit was unknown before.
    pub new: bool,
    /// Where its plan stands now.
    pub state: PlanState,
}

/// How a registration came, and what goes on because of it.
pub struct Arriving {
    /// Its body as it came; `None`: the one kept before stays.
    pub body: Option<Bytes>,
    /// What is kept to be sent in the same commit.
    pub onward: Vec<NewDelivery>,
    /// By which Patient IDs sources may push its studies.
    pub awaited: Vec<Awaited>,
    /// Who sent it.
    pub caller: String,
    /// The doctor who opened the patient, where no registration came. Personal.
    pub reader: Option<Doctor>,
}

/// A registration whose plan waits for an identifier that somebody can read.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The plan's number.
    pub id: i64,
    /// With what was sent as `idCardNo`.
    pub registration: Registration,
    /// The row as it was read. No two seals are the same, so it tells whether the row was written
    /// since.
    sealed: Vec<u8>,
}

/// A study linked to a registration that carries a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedStudy {
    /// Study Instance UID.
    pub study: String,
    /// How sure.
    pub link: Link,
}

impl Ledger {
    /// Keeps a registration and its plan. The visit key makes a repeat an update
    /// (imaging cloud's document, 3.4.2, reading 12). Returns once the commit is on the disk.
    pub async fn register(
        &self,
        registration: Registration,
        arriving: Arriving,
        order: PlanOrder,
        now: Time,
    ) -> Result<Registered, LedgerError> {
        let kept = self.keep(registration, arriving, order, None, now).await?;
        Ok(kept.expect("whatever the row was, it is written"))
    }

    /// Keeps a registration that waited, now that its number could be read; `None` when the sender
    /// has changed it since, whose word counts.
    pub async fn take_up(
        &self,
        waiting: Waiting,
        awaited: Vec<Awaited>,
        caller: String,
        order: PlanOrder,
        now: Time,
    ) -> Result<Option<Registered>, LedgerError> {
        let Waiting { registration, sealed, .. } = waiting;
        let reader = None;
        let arriving = Arriving { body: None, onward: Vec::new(), awaited, caller, reader };
        self.keep(registration, arriving, order, Some(sealed), now).await
    }

    /// Writes a registration; with `unchanged`, only over that row.
    async fn keep(
        &self,
        registration: Registration,
        arriving: Arriving,
        order: PlanOrder,
        unchanged: Option<Vec<u8>>,
        now: Time,
    ) -> Result<Option<Registered>, LedgerError> {
        let keys = self.keys();
        let visit = keys.visit(&registration.hospital, registration.visit.as_str());
        let stored = stored::registration_bytes(&registration);
        self.commit_first(move |writing| {
            let found = find(writing, &registration.hospital, &visit)?;
            let sealed = found.as_ref().map(|(_, sealed)| sealed);
            if unchanged.is_some() && sealed != unchanged.as_ref() {
                return Ok(None);
            }
            let id = match found {
                Some((id, _)) => id,
                None => take_id(writing),
            };
            let same_patient = match &found {
                None => false,
                Some((id, sealed)) => is_same_patient(writing, *id, sealed, &registration)?,
            };
            let row = Row { id, visit: &visit, stored: &stored, body: arriving.body.as_deref() };
            write_row(writing, &row, &registration, now)?;
            // In the same commit: a study that is pushed from now on finds the plan, one that was
            // pushed before is found by the plan's search.
            pushed::write_awaited(writing, id, &arriving.awaited)?;
            let state = write_plan(writing.connection, id, &order, same_patient, now)?;
            if unchanged.is_none() && (found.is_some() || arriving.reader.is_some()) {
                write_reader(writing, id, arriving.reader.as_ref())?;
            }
            let caller = arriving.caller.as_str();
            audit::record(writing.connection, "registration", caller, Some(id), None, now)?;
            for delivery in &arriving.onward {
                deliveries::enqueue(writing, delivery, now)?;
            }
            Ok(Some(Registered { id, new: found.is_none(), state }))
        })
        .await
    }

    /// The plans behind `after` that wait for an identifier, at most [`TAKE_UP_PAGE`], in the order
    /// of their numbers.
    pub fn plans_without_identifier(&self, after: i64) -> Result<Vec<Waiting>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                // The states are named as in the index of open plans, so that it is used.
                "SELECT r.id, r.sealed FROM plan p JOIN registration r ON r.id = p.registration
                 WHERE p.state IN ('searching', 'fetching', 'no identifier')
                   AND p.state = 'no identifier' AND p.registration > ?1
                 ORDER BY p.registration LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, TAKE_UP_PAGE as i64])?;
            let mut waiting = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, sealed): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
                let opened = self.keys().open("registration.sealed", id, &sealed)?;
                let registration = stored::registration_from(&opened)?;
                waiting.push(Waiting { id, registration, sealed });
            }
            Ok(waiting)
        })
    }

    /// The studies linked to registrations that carry one of these numbers, those kept apart
    /// included, so that the caller can leave them out of what the objects' own ids match.
    pub fn linked(&self, numbers: &[Identifier]) -> Result<Vec<LinkedStudy>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT c.study, c.link FROM identifier i
                 JOIN considered c ON c.registration = i.registration
                 WHERE i.hash = ?1 AND c.outcome <> 'own'",
            )?;
            let mut linked = Vec::new();
            for number in numbers {
                let hash = self.keys().identifier(number);
                let mut rows = statement.query([hash])?;
                while let Some(row) = rows.next()? {
                    let link: String = row.get(1)?;
                    let link = Link::from_name(&link)
                        .ok_or(LedgerError::Unreadable { what: "considered.link" })?;
                    linked.push(LinkedStudy { study: row.get(0)?, link });
                }
            }
            Ok(linked)
        })
    }
}

/// The registration of a plan, opened.
pub(super) fn load(
    connection: &Connection,
    keys: &crate::seal::Keys,
    id: i64,
) -> Result<Registration, LedgerError> {
    let sealed: Vec<u8> = connection
        .prepare_cached("SELECT sealed FROM registration WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    stored::registration_from(&keys.open("registration.sealed", id, &sealed)?)
}

fn take_id(writing: &mut Writing<'_>) -> i64 {
    let id = *writing.next_registration;
    *writing.next_registration += 1;
    id
}

fn find(
    writing: &Writing<'_>,
    hospital: &str,
    visit: &[u8],
) -> Result<Option<(i64, Vec<u8>)>, LedgerError> {
    let found = writing
        .connection
        .prepare_cached("SELECT id, sealed FROM registration WHERE hospital = ?1 AND visit = ?2")?
        .query_row(params![hospital, visit], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found)
}

/// Whether the guard would compare the same things and the sources be asked for the same numbers.
/// A row that does not open is another patient: it is searched again.
fn is_same_patient(
    writing: &Writing<'_>,
    id: i64,
    sealed: &[u8],
    registration: &Registration,
) -> Result<bool, LedgerError> {
    let Ok(opened) = writing.keys.open("registration.sealed", id, sealed) else {
        return Ok(false);
    };
    let before = stored::registration_from(&opened)?;
    Ok(before.person == registration.person && before.identifiers == registration.identifiers)
}

/// For whom a plan is searched: a doctor who opened the patient, until a registration comes.
fn write_reader(
    writing: &Writing<'_>,
    plan: i64,
    reader: Option<&Doctor>,
) -> Result<(), LedgerError> {
    let reader = reader.map(|doctor| readers::note(writing, doctor)).transpose()?.flatten();
    writing
        .connection
        .prepare_cached("UPDATE plan SET reader = ?2 WHERE registration = ?1")?
        .execute(params![plan, reader])?;
    Ok(())
}

/// A row of `registration` before it is sealed.
struct Row<'a> {
    id: i64,
    visit: &'a [u8],
    stored: &'a [u8],
    body: Option<&'a [u8]>,
}

fn write_row(
    writing: &Writing<'_>,
    row: &Row<'_>,
    registration: &Registration,
    now: Time,
) -> Result<(), LedgerError> {
    let sealed = writing.keys.seal("registration.sealed", row.id, row.stored);
    let body = row.body.map(|body| writing.keys.seal("registration.body", row.id, body));
    writing
        .connection
        .prepare_cached(
            "INSERT INTO registration
               (id, hospital, visit, sealed, body, patient_type, received_at, updated_at)
             VALUES(?1, ?2, ?3, ?4, coalesce(?5, x''), ?6, ?7, ?7)
             ON CONFLICT(id) DO UPDATE SET sealed = excluded.sealed,
               body = coalesce(?5, registration.body),
               patient_type = excluded.patient_type, updated_at = excluded.updated_at",
        )?
        .execute(params![
            row.id,
            registration.hospital,
            row.visit,
            sealed,
            body,
            registration.patient_type.code(),
            now.0
        ])?;
    Ok(())
}

/// The numbers by which the studies of a registration are found. They are written when there are
/// studies, not at the registration: most patients have none elsewhere, and a random key in an
/// index is the dearest write there is.
pub(super) fn write_identifiers(
    connection: &Connection,
    id: i64,
    hashes: &[Lookup],
) -> Result<(), LedgerError> {
    connection.prepare_cached("DELETE FROM identifier WHERE registration = ?1")?.execute([id])?;
    let mut insert = connection
        .prepare_cached("INSERT OR IGNORE INTO identifier(hash, registration) VALUES(?1, ?2)")?;
    for hash in hashes {
        insert.execute(params![hash, id])?;
    }
    Ok(())
}

fn write_plan(
    connection: &Connection,
    id: i64,
    order: &PlanOrder,
    same_patient: bool,
    now: Time,
) -> Result<PlanState, LedgerError> {
    let before: Option<String> = connection
        .prepare_cached("SELECT state FROM plan WHERE registration = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let before = match &before {
        None => None,
        Some(word) => {
            Some(PlanState::from_name(word).ok_or(LedgerError::Unreadable { what: "plan.state" })?)
        }
    };
    let state = order.state(before, same_patient);
    let search_again =
        state == PlanState::Searching && (before != Some(PlanState::Searching) || !same_patient);
    if before.is_some() && (search_again || !same_patient) {
        forget_search(connection, id, same_patient)?;
    }
    let cause = match state {
        PlanState::NoIdentifier => Some(Cause::NoIdentifier),
        PlanState::Cancelled => Some(Cause::Cancelled),
        PlanState::Searching
        | PlanState::Fetching
        | PlanState::Ready
        | PlanState::NotReady
        | PlanState::Over => None,
    };
    connection
        .prepare_cached(
            "INSERT INTO plan
               (registration, state, urgent, due_at, next_at, over_at, updated_at, cause)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9)
             ON CONFLICT(registration) DO UPDATE SET state = excluded.state,
               urgent = excluded.urgent, due_at = excluded.due_at,
               next_at = CASE WHEN excluded.state IN ('searching', 'fetching') AND NOT ?8
                              THEN plan.next_at ELSE excluded.next_at END,
               over_at = CASE WHEN excluded.over_at IS NULL THEN NULL
                              ELSE coalesce(plan.over_at, excluded.over_at) END,
               attempts = CASE WHEN ?8 THEN 0 ELSE plan.attempts END,
               cause = CASE WHEN ?8 THEN NULL ELSE coalesce(?9, plan.cause) END,
               ready_at = CASE WHEN ?8 THEN NULL ELSE plan.ready_at END,
               lead_ms = CASE WHEN ?8 THEN NULL
                              WHEN plan.ready_at IS NULL THEN NULL
                              ELSE excluded.due_at - plan.ready_at END,
               updated_at = excluded.updated_at",
        )?
        .execute(params![
            id,
            state.name(),
            order.urgent,
            order.due_at.0,
            (state == PlanState::Searching).then_some(now.0),
            (state == PlanState::Over).then_some(now.0),
            now.0,
            search_again,
            cause.map(Cause::name)
        ])?;
    if before.is_some() {
        fetches::reorder_wanted_by(connection, id, now)?;
    }
    Ok(state)
}

/// Another search is due. What was found for another patient goes: the links would be wrong.
fn forget_search(connection: &Connection, id: i64, same_patient: bool) -> Result<(), LedgerError> {
    connection.prepare_cached("DELETE FROM search WHERE registration = ?1")?.execute([id])?;
    if !same_patient {
        connection
            .prepare_cached(
                "UPDATE considered SET outcome = 'apart', link = 'apart', contradicted = 0
                 WHERE registration = ?1",
            )?
            .execute([id])?;
        write_identifiers(connection, id, &[])?;
    }
    Ok(())
}
