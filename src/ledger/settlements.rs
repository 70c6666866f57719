//! Settlements: which records are one and the same, and the delivery each of them becomes.
//!
//! Two records are the same when their keys are ([`Settlement::key`]) and they are of one study.
//! A study is known by its accession number, by its order number, or by both, and not every record
//! carries both: the numbers that two records have in common decide. Where they speak against each
//! other, or for two stored records at once, a person decides: nothing is merged on a guess.

use rusqlite::{Connection, params};

use super::plans::ids;
use super::writer::Writing;
use super::{DeliveryShown, Enqueued, Ledger, LedgerError, deliveries};
use crate::model::{NewDelivery, Settlement, Time};
use crate::seal::Lookup;

pub(super) const TABLES: &str = "
CREATE TABLE settlement(
  id INTEGER PRIMARY KEY,
  key BLOB NOT NULL,                 -- HMAC of hospital and key
  accession BLOB,                    -- HMAC; NULL where no record gave it
  study_order BLOB,
  delivery INTEGER,                  -- the newest of its deliveries
  examination INTEGER                -- 1: known, 0: no examination that is known; NULL: not judged
) STRICT;
CREATE INDEX settlement_key ON settlement(key);
CREATE INDEX settlement_unknown ON settlement(id) WHERE examination = 0;
";

/// Self-pay records all have one key, so that a key alone finds a part of everything that was ever
/// kept; a record is found by its key with one of its study's numbers.
pub(super) const BY_NUMBERS: &str = "
CREATE INDEX settlement_accession ON settlement(accession, key) WHERE accession IS NOT NULL;
CREATE INDEX settlement_order ON settlement(study_order, key) WHERE study_order IS NOT NULL;
DROP INDEX settlement_key;
";

/// Why a settlement waits for a person.
const UNCLEAR: &str = "may be one of several stored settlements: its study's numbers do not say";

/// A settlement with what is sent of it.
#[derive(Debug, Clone)]
pub struct KeptSettlement {
    /// The record.
    pub settlement: Settlement,
    /// One delivery a destination. The identity is written here, where the stored record is found.
    pub deliveries: Vec<NewDelivery>,
}

/// A stored record with the same key.
struct Stored {
    id: i64,
    accession: Option<Lookup>,
    study_order: Option<Lookup>,
}

/// How two records of one key stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Study {
    Same,
    Other,
    Unclear,
}

impl Ledger {
    /// Keeps settlements and their deliveries: all of them, or on an error none.
    pub async fn settle(
        &self,
        settlements: Vec<KeptSettlement>,
        now: Time,
    ) -> Result<Vec<Enqueued>, LedgerError> {
        self.commit_first(move |writing| {
            let mut ends = Vec::new();
            for mut one in settlements {
                let Identified { id, identity, unclear } = identify(writing, &one.settlement)?;
                if let Some(id) = id {
                    judge_examination(writing.connection, id, &one.settlement)?;
                }
                for delivery in &mut one.deliveries {
                    delivery.identity.clone_from(&identity);
                    if unclear {
                        delivery.parked = Some(UNCLEAR);
                    }
                    let end = deliveries::enqueue(writing, delivery, now)?;
                    if let Some(id) = id {
                        note_delivery(writing.connection, id, end.delivery())?;
                    }
                    ends.push(end);
                }
            }
            Ok(ends)
        })
        .await
    }

    /// Deliveries of settlements for a part that no known examination has, the newest first.
    pub fn settlements_of_unknown_examinations(
        &self,
        limit: usize,
    ) -> Result<Vec<DeliveryShown>, LedgerError> {
        self.read(|connection| {
            let deliveries = ids(
                connection,
                "SELECT delivery FROM settlement WHERE examination = 0 AND delivery IS NOT NULL
                 ORDER BY id DESC LIMIT ?1",
                [limit as i64],
            )?;
            deliveries::by_numbers(connection, &deliveries)
        })
    }
}

/// Which stored record a new one is.
struct Identified {
    /// Its row; `None` where a person must say which.
    id: Option<i64>,
    /// What it is called among the deliveries.
    identity: String,
    /// Whether a person must say which one it is.
    unclear: bool,
}

impl Identified {
    fn row(id: i64) -> Identified {
        Identified { id: Some(id), identity: format!("settlement {id}"), unclear: false }
    }
}

/// Finds the stored record that this one is, or stores it.
fn identify(writing: &Writing<'_>, one: &Settlement) -> Result<Identified, LedgerError> {
    let connection = writing.connection;
    let look_up = |number: &str| writing.keys.settlement(&one.hospital, number);
    let key = look_up(&one.key());
    let accession = one.accession.as_deref().map(look_up);
    let study_order = one.study_order.as_deref().map(look_up);
    let mut same = Vec::new();
    let mut unclear = false;
    for stored in stored(connection, &key, &accession, &study_order)? {
        let pairs = [(&stored.accession, &accession), (&stored.study_order, &study_order)];
        match study(pairs) {
            Study::Same => same.push(stored),
            Study::Unclear => unclear = true,
            Study::Other => {}
        }
    }
    match (same.as_slice(), unclear) {
        ([], false) => {
            connection
                .prepare_cached(
                    "INSERT INTO settlement(key, accession, study_order) VALUES(?1, ?2, ?3)",
                )?
                .execute(params![key, accession, study_order])?;
            Ok(Identified::row(connection.last_insert_rowid()))
        }
        ([stored], false) => {
            connection
                .prepare_cached(
                    "UPDATE settlement SET accession = coalesce(accession, ?2),
                       study_order = coalesce(study_order, ?3) WHERE id = ?1",
                )?
                .execute(params![stored.id, accession, study_order])?;
            Ok(Identified::row(stored.id))
        }
        // The same record sent again is the same question again.
        _ => {
            let numbers = [&one.accession, &one.study_order];
            let numbers = numbers.map(|one| one.as_deref().unwrap_or_default());
            let identity = format!("unclear {}\0{}\0{}", one.key(), numbers[0], numbers[1]);
            Ok(Identified { id: None, identity, unclear: true })
        }
    }
}

/// Whether the part that was examined is one that is known here: of the imported code list, or of
/// an examination that a person mapped. Judged only where there is something to hold it against.
fn judge_examination(
    connection: &Connection,
    id: i64,
    one: &Settlement,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE settlement SET examination = CASE
               WHEN EXISTS(SELECT 1 FROM standard_code WHERE code = ?2)
                 OR EXISTS(SELECT 1 FROM mapping WHERE hospital = ?3 AND code = ?2) THEN 1
               WHEN EXISTS(SELECT 1 FROM standard_code)
                 OR EXISTS(SELECT 1 FROM mapping WHERE hospital = ?3 AND code <> '') THEN 0
               END
             WHERE id = ?1",
        )?
        .execute(params![id, one.exam_part, one.hospital])?;
    Ok(())
}

fn note_delivery(connection: &Connection, id: i64, delivery: i64) -> Result<(), LedgerError> {
    connection
        .prepare_cached("UPDATE settlement SET delivery = ?2 WHERE id = ?1")?
        .execute([id, delivery])?;
    Ok(())
}

/// Compares the numbers that both records have.
fn study(pairs: [(&Option<Lookup>, &Option<Lookup>); 2]) -> Study {
    let mut equal = pairs.iter().filter_map(|(a, b)| Some(a.as_ref()? == b.as_ref()?));
    match (equal.next(), equal.next()) {
        (Some(true), None | Some(true)) => Study::Same,
        (Some(false), None | Some(false)) => Study::Other,
        // With no number in common they are two: every self-pay record has the key of all others.
        (None, _) => Study::Other,
        // One number says yes and the other no.
        (Some(_), Some(_)) => Study::Unclear,
    }
}

/// The records of this key that have a number in common with these; with all others it is two.
fn stored(
    connection: &Connection,
    key: &Lookup,
    accession: &Option<Lookup>,
    study_order: &Option<Lookup>,
) -> Result<Vec<Stored>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, accession, study_order FROM settlement
           WHERE key = ?1 AND accession = ?2
         UNION SELECT id, accession, study_order FROM settlement
           WHERE key = ?1 AND study_order = ?3
         ORDER BY id",
    )?;
    let rows = statement.query_map(params![key, accession, study_order], |row| {
        Ok(Stored { id: row.get(0)?, accession: row.get(1)?, study_order: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
