//! Doctors, as they were when they read something or had it fetched.
//!
//! A session is forgotten after a while and the audit is not, so who read stands in rows of its
//! own: one for a doctor as long as type, code and number stay the same, sealed, and never
//! forgotten. What is searched and fetched for a doctor points there too, so that a source that
//! asks who reads is told also after a restart.

use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Writing;
use super::{LedgerError, stored};
use crate::model::Doctor;
use crate::seal::{Keys, sm2};

pub(super) const MIGRATION: &str = "
CREATE TABLE reader(
  id INTEGER PRIMARY KEY,
  hospital TEXT NOT NULL,
  user TEXT NOT NULL,                -- hisUserId, an account
  hash BLOB NOT NULL,                -- HMAC of type, code and number
  sealed BLOB NOT NULL,              -- StoredDoctor as JSON
  UNIQUE(hospital, user, hash)
) STRICT;
ALTER TABLE audit ADD COLUMN reader INTEGER;
ALTER TABLE plan ADD COLUMN reader INTEGER;   -- for whom it is searched; NULL: a registration
ALTER TABLE fetch ADD COLUMN reader INTEGER;  -- for whom it waits; NULL unless it waits
";

/// The row of a doctor, made where there is none; `None` where nothing is known but the account,
/// which the audit says itself.
pub(super) fn note(writing: &Writing<'_>, doctor: &Doctor) -> Result<Option<i64>, LedgerError> {
    let mut doctor = doctor.clone();
    // A number that did not open says nothing, and is another text at each login.
    if sm2::looks_encrypted(&doctor.id_number) {
        doctor.id_number.clear();
    }
    if [&doctor.kind, &doctor.code, &doctor.id_number].iter().all(|text| text.is_empty()) {
        return Ok(None);
    }
    let connection = writing.connection;
    let hash = writing.keys.doctor(&doctor.kind, &doctor.code, &doctor.id_number);
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM reader WHERE hospital = ?1 AND user = ?2 AND hash = ?3")?
        .query_row(params![doctor.hospital, doctor.user, hash], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known);
    }
    connection
        .prepare_cached("INSERT INTO reader(hospital, user, hash, sealed) VALUES(?1, ?2, ?3, x'')")?
        .execute(params![doctor.hospital, doctor.user, hash])?;
    let id = connection.last_insert_rowid();
    let sealed = writing.keys.seal("reader.sealed", id, &stored::doctor_bytes(&doctor));
    connection
        .prepare_cached("UPDATE reader SET sealed = ?2 WHERE id = ?1")?
        .execute(params![id, sealed])?;
    Ok(Some(id))
}

/// The doctor of a row, where a row is named; without a department, which no row has.
pub(super) fn load(
    connection: &Connection,
    keys: &Keys,
    reader: Option<i64>,
) -> Result<Option<Doctor>, LedgerError> {
    let Some(id) = reader else { return Ok(None) };
    let (hospital, user, sealed): (String, String, Vec<u8>) = connection
        .prepare_cached("SELECT hospital, user, sealed FROM reader WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let doctor = stored::doctor_from(&keys.open("reader.sealed", id, &sealed)?)?;
    Ok(Some(Doctor { hospital, user, ..doctor }))
}
