//! What a person confirmed: which examination of a hospital is which in words that hospitals share;
//! and the code list that was imported. Nothing here is personal.

use rusqlite::{Row, params};

use super::{Ledger, LedgerError, audit};
use crate::model::{Standard, Time};

pub(super) const MIGRATION: &str = "
CREATE TABLE mapping(
  hospital TEXT NOT NULL,
  exam_code TEXT NOT NULL,
  exam_name TEXT NOT NULL,           -- as it was when it was confirmed
  modality TEXT NOT NULL,
  body_part TEXT NOT NULL,
  code TEXT NOT NULL,                -- WS/T 364.8-2023, or empty
  confirmed_by TEXT NOT NULL,
  confirmed_at INTEGER NOT NULL,
  PRIMARY KEY(hospital, exam_code)
) STRICT, WITHOUT ROWID;

CREATE TABLE standard_code(
  code TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  modality TEXT NOT NULL,
  body_part TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A confirmed mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingShown {
    /// The hospital's code.
    pub hospital: String,
    /// `examCode` of the hospital.
    pub exam_code: String,
    /// `examName` when it was confirmed.
    pub exam_name: String,
    /// What it is.
    pub standard: Standard,
    /// Who confirmed it.
    pub confirmed_by: String,
    /// When.
    pub confirmed_at: Time,
}

/// A line of the imported code list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandardCode {
    /// Its name in the list.
    pub name: String,
    /// The code, and what the list says beside it, empty where it says nothing.
    pub standard: Standard,
}

impl Ledger {
    /// Everything that was confirmed, by hospital and code.
    pub fn mappings(&self) -> Result<Vec<MappingShown>, LedgerError> {
        self.read(|connection| {
            let sql = format!("SELECT {MAPPING} ORDER BY hospital, exam_code");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([], shown)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps what a person confirmed, in one commit; what was confirmed before is replaced.
    pub async fn confirm_mappings(&self, mappings: Vec<MappingShown>) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let mut put = writing.connection.prepare_cached(
                "INSERT OR REPLACE INTO mapping(hospital, exam_code, exam_name, modality,
                   body_part, code, confirmed_by, confirmed_at)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for one in &mappings {
                put.execute(params![
                    one.hospital,
                    one.exam_code,
                    one.exam_name,
                    one.standard.modality,
                    one.standard.body_part,
                    one.standard.code,
                    one.confirmed_by,
                    one.confirmed_at.0
                ])?;
            }
            if let Some(one) = mappings.first() {
                let (by, at) = (&one.confirmed_by, one.confirmed_at);
                audit::record(writing.connection, "mappings confirmed", by, None, None, at)?;
            }
            Ok(())
        })
        .await
    }

    /// The imported code list, by code.
    pub fn standard_codes(&self) -> Result<Vec<StandardCode>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT code, name, modality, body_part FROM standard_code ORDER BY code",
            )?;
            let rows = statement.query_map([], |row| {
                let standard =
                    Standard { code: row.get(0)?, modality: row.get(2)?, body_part: row.get(3)? };
                Ok(StandardCode { name: row.get(1)?, standard })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Puts this code list in the place of the one before, in the name of `by`.
    pub async fn replace_standard_codes(
        &self,
        codes: Vec<StandardCode>,
        by: String,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            writing.connection.prepare_cached("DELETE FROM standard_code")?.execute([])?;
            let mut put = writing.connection.prepare_cached(
                "INSERT OR REPLACE INTO standard_code(code, name, modality, body_part)
                 VALUES(?1, ?2, ?3, ?4)",
            )?;
            for one in &codes {
                let standard = &one.standard;
                put.execute([&standard.code, &one.name, &standard.modality, &standard.body_part])?;
            }
            audit::record(writing.connection, "code list imported", &by, None, None, now)
        })
        .await
    }
}

const MAPPING: &str = "hospital, exam_code, exam_name, modality, body_part, code, confirmed_by, \
                       confirmed_at FROM mapping";

fn shown(row: &Row<'_>) -> Result<MappingShown, rusqlite::Error> {
    Ok(MappingShown {
        hospital: row.get(0)?,
        exam_code: row.get(1)?,
        exam_name: row.get(2)?,
        standard: Standard { modality: row.get(3)?, body_part: row.get(4)?, code: row.get(5)? },
        confirmed_by: row.get(6)?,
        confirmed_at: Time(row.get(7)?),
    })
}
