//! Departments that HISes name and their dictionary does not have, and which of its departments a
//! person said that they are. Nothing here is personal.
//!
//! What the HIS said stays in sessions and notices as it came; a mapping is applied where figures
//! are read. So it counts for the past too, and one that is changed or withdrawn leaves nothing
//! behind. A department that the dictionary has is never mapped: its word goes before a person's.

use rusqlite::{Connection, Row, params};

use super::{Ledger, LedgerError, audit};
use crate::limits::UNLISTED_SHOWN_MAX;
use crate::model::{Department, DictionaryKind, Time};

pub(super) const MIGRATION: &str = "
CREATE TABLE department_mapping(
  hospital TEXT NOT NULL,
  code TEXT NOT NULL,                -- as the HIS says it, or empty
  name TEXT NOT NULL,                -- where there is no code, else empty
  department TEXT NOT NULL,          -- its code in the dictionary
  confirmed_by TEXT NOT NULL,
  confirmed_at INTEGER NOT NULL,
  PRIMARY KEY(hospital, code, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_department ON session(hospital, department_code, department, began_at);
CREATE INDEX notice_department ON notice(hospital, department_code, department, at);
";

/// The mappings that count, `(hospital, code, name, department)`: those of departments that the
/// dictionary does not have.
pub(super) const COUNTING: &str = "
    SELECT m.hospital, m.code, m.name, m.department FROM department_mapping m
    WHERE NOT EXISTS(SELECT 1 FROM dictionary d JOIN dictionary_row r ON r.dictionary = d.id
      WHERE d.hospital = m.hospital AND d.kind = 'dept' AND r.code = m.code)";

/// A department that a HIS names and its dictionary does not have, nor has a person said which of
/// the dictionary it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlistedDepartment {
    /// The hospital's code.
    pub hospital: String,
    /// As it was named last; without a code, by its name alone.
    pub department: Department,
    /// When it was named last.
    pub named_at: Time,
}

/// What a person said that an unlisted department is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartmentMapping {
    /// The hospital's code.
    pub hospital: String,
    /// As the HIS names it: by its code, else by its name, the other one empty.
    pub named: Department,
    /// The dictionary's code of what it is.
    pub department: String,
    /// Who said so.
    pub confirmed_by: String,
    /// When.
    pub confirmed_at: Time,
}

/// Why a department is not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DepartmentRefusal {
    /// Neither a session nor a notice has such a department.
    #[error("no doctor of this hospital was logged in with this department")]
    NeverNamed,
    /// The dictionary has the department itself.
    #[error("the dictionary has this department itself")]
    Listed,
    /// The dictionary does not have what it is to be mapped to.
    #[error("the dictionary has no department with the code that it is to be mapped to")]
    NotInDictionary,
    /// It was not mapped, so there is nothing to withdraw.
    #[error("this department is not mapped")]
    NotMapped,
}

/// How a department is known: by its code, else by its name, the other one empty.
pub fn key_of(department: &Department) -> Department {
    match department.code.is_empty() {
        true => Department { code: String::new(), name: department.name.clone() },
        false => Department { code: department.code.clone(), name: String::new() },
    }
}

impl Ledger {
    /// The departments that wait for a person, by hospital, those first that were named last; at
    /// most [`UNLISTED_SHOWN_MAX`].
    pub fn unlisted_departments(&self) -> Result<Vec<UnlistedDepartment>, LedgerError> {
        // Of one aggregate, SQLite takes the bare columns from the row of the maximum.
        let sql = format!(
            "WITH said AS (
               SELECT hospital, department_code AS code, department AS name, began_at AS at
                 FROM session
               UNION ALL SELECT hospital, department_code, department, at FROM notice),
             named AS (
               SELECT hospital, code, name, max(at) AS at FROM said
               WHERE code <> '' OR name <> ''
               GROUP BY hospital, code, CASE WHEN code = '' THEN name END)
             SELECT n.hospital, n.code, n.name, n.at FROM named n
             LEFT JOIN ({COUNTING}) c ON c.hospital = n.hospital AND c.code = n.code
               AND c.name = CASE WHEN n.code = '' THEN n.name ELSE '' END
             WHERE NOT EXISTS(
               SELECT 1 FROM dictionary d JOIN dictionary_row r ON r.dictionary = d.id
               WHERE d.hospital = n.hospital AND d.kind = 'dept'
                 AND r.code = coalesce(c.department, n.code))
             ORDER BY n.hospital, n.at DESC, n.code, n.name LIMIT ?1"
        );
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([UNLISTED_SHOWN_MAX as i64], |row| {
                Ok(UnlistedDepartment {
                    hospital: row.get(0)?,
                    department: Department { code: row.get(1)?, name: row.get(2)? },
                    named_at: Time(row.get(3)?),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Everything that persons said of departments, by hospital, code and name.
    pub fn department_mappings(&self) -> Result<Vec<DepartmentMapping>, LedgerError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT hospital, code, name, department, confirmed_by, confirmed_at
                 FROM department_mapping ORDER BY hospital, code, name",
            )?;
            let rows = statement.query_map([], shown)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Keeps what a person said that a department is; what was said of it before is replaced.
    pub async fn map_department(
        &self,
        mapping: DepartmentMapping,
    ) -> Result<Result<(), DepartmentRefusal>, LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            let DepartmentMapping { hospital, named, department, .. } = &mapping;
            let Department { code, name } = key_of(named);
            if is_listed(connection, hospital, &code)? {
                return Ok(Err(DepartmentRefusal::Listed));
            }
            if !is_listed(connection, hospital, department)? {
                return Ok(Err(DepartmentRefusal::NotInDictionary));
            }
            if !was_named(connection, hospital, &code, &name)? {
                return Ok(Err(DepartmentRefusal::NeverNamed));
            }
            let (by, at) = (&mapping.confirmed_by, mapping.confirmed_at);
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO department_mapping(hospital, code, name, department,
                       confirmed_by, confirmed_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![hospital, code, name, department, by, at.0])?;
            let detail = format!("{hospital}: {code}{name} = {department}");
            audit::record_decision(connection, "department mapped", by, &detail, at)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Takes back, in the name of `by`, what was said that a department is.
    pub async fn unmap_department(
        &self,
        hospital: String,
        named: Department,
        by: String,
        now: Time,
    ) -> Result<Result<(), DepartmentRefusal>, LedgerError> {
        self.commit_first(move |writing| {
            let connection = writing.connection;
            let Department { code, name } = key_of(&named);
            let rows = connection
                .prepare_cached(
                    "DELETE FROM department_mapping WHERE hospital = ?1 AND code = ?2
                       AND name = ?3",
                )?
                .execute(params![hospital, code, name])?;
            if rows == 0 {
                return Ok(Err(DepartmentRefusal::NotMapped));
            }
            let (kind, detail) = ("department unmapped", format!("{hospital}: {code}{name}"));
            audit::record_decision(connection, kind, &by, &detail, now)?;
            Ok(Ok(()))
        })
        .await
    }
}

fn is_listed(connection: &Connection, hospital: &str, code: &str) -> Result<bool, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM dictionary d JOIN dictionary_row r ON r.dictionary = d.id
         WHERE d.hospital = ?1 AND d.kind = ?2 AND r.code = ?3",
    )?;
    Ok(statement.exists(params![hospital, DictionaryKind::Dept.name(), code])?)
}

fn was_named(
    connection: &Connection,
    hospital: &str,
    code: &str,
    name: &str,
) -> Result<bool, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM (SELECT hospital, department_code, department FROM session
           UNION ALL SELECT hospital, department_code, department FROM notice)
         WHERE hospital = ?1 AND department_code = ?2 AND (?2 <> '' OR department = ?3)
           AND (?2 <> '' OR ?3 <> '')",
    )?;
    Ok(statement.exists(params![hospital, code, name])?)
}

fn shown(row: &Row<'_>) -> Result<DepartmentMapping, rusqlite::Error> {
    Ok(DepartmentMapping {
        hospital: row.get(0)?,
        named: Department { code: row.get(1)?, name: row.get(2)? },
        department: row.get(3)?,
        confirmed_by: row.get(4)?,
        confirmed_at: Time(row.get(5)?),
    })
}
