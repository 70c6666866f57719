//! Whether the ledger's own file is in order, for `doctor`.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{Ledger, LedgerError, open_reader, schema};

/// Faults of the file that are told; one is enough to act upon.
const FAULTS_MAX: usize = 5;

/// What a check of the file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileCheck {
    /// Every page hangs together.
    Sound,
    /// What SQLite says of it: tables, pages and row numbers, no content.
    Damaged(Vec<String>),
    /// The time was over before all of it was read; so far nothing was found.
    Unfinished,
}

impl Ledger {
    /// The version of the tables, and that which this program writes.
    pub fn versions(&self) -> Result<(i64, i64), LedgerError> {
        let found = self.read(schema::version)?;
        Ok((found, schema::NEWEST))
    }

    /// Reads the file's pages and holds them against each other (`PRAGMA quick_check`), for at most
    /// so long: it holds back the checkpoint meanwhile.
    pub fn check_file(&self, wait: Duration) -> Result<FileCheck, LedgerError> {
        let connection = open_reader(&self.shared.file)?;
        let (finished, waiting) = channel::<()>();
        let interrupt = connection.get_interrupt_handle();
        let told = std::thread::scope(|scope| {
            scope.spawn(move || {
                if waiting.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            });
            let told = connection.prepare(&format!("PRAGMA quick_check({FAULTS_MAX})")).and_then(
                |mut check| {
                    check
                        .query_map([], |row| row.get::<_, String>(0))?
                        .collect::<Result<Vec<_>, _>>()
                },
            );
            drop(finished);
            told
        });
        match told {
            Ok(lines) if lines == ["ok"] => Ok(FileCheck::Sound),
            Ok(lines) => Ok(FileCheck::Damaged(lines)),
            Err(error) => match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(FileCheck::Unfinished),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                    Ok(FileCheck::Damaged(vec![error.to_string()]))
                }
                _ => Err(error.into()),
            },
        }
    }
}
