//! What becomes of the rows of each interface's views (imaging cloud's document, 3.4 to 3.7).

use std::sync::Arc;

use futures_util::future::join_all;

use super::{CheckedRow, Polled, RowEnd, Taker, Takes, Work};
use crate::catalog::{self, Interface};
use crate::dictionary::Dictionary;
use crate::fault::Fault;
use crate::intake::Intake;
use crate::model::{DictionaryKind, Time};
use crate::onward::Onward;
use crate::settlement::{Arrived, Settlements};

/// Who a record from a view comes from, in the audit and among the senders of SM2 texts.
const CALLER: &str = "view";

/// Rows of `View_Register_Info` become registrations.
pub struct Registrations {
    /// The flow.
    pub intake: Arc<Intake>,
    /// What goes on to a platform.
    pub onward: Arc<Onward>,
    /// The interface by which a registration goes on.
    pub push: &'static Interface,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

impl Taker for Registrations {
    fn takes(&self) -> Takes {
        Takes::Changes
    }

    fn take<'a>(&'a self, rows: Vec<CheckedRow>, _: Polled) -> Work<'a, Vec<RowEnd>> {
        Box::pin(async move {
            let now = (self.clock)();
            let mut ends = Vec::with_capacity(rows.len());
            for row in rows {
                let read = self.intake.read(&row.record, CALLER, now).await;
                ends.push(match read {
                    Err(fault) => Err(fault.to_string()),
                    Ok(registration) => {
                        let (push, record) = (self.push, &row.record);
                        let onward =
                            self.onward.registration(push, record, &registration, CALLER, now);
                        let onward = onward.await;
                        Ok(self.intake.accept(registration, row.body, onward, CALLER, now))
                    }
                });
            }
            // Together they share commits; they are handed to the writer in their order, so of two
            // rows of one visit the later one stands.
            let kept = ends.into_iter().map(|end| async {
                match end {
                    Err(reason) => Ok(RowEnd::Unreadable(reason)),
                    Ok(accepting) => accepting.await.map(|_| RowEnd::Taken).map_err(Fault::from),
                }
            });
            let kept: Result<Vec<RowEnd>, Fault> = join_all(kept).await.into_iter().collect();
            self.onward.bell.ring();
            kept
        })
    }
}

/// Rows of `view_setlInfoList` become settlements.
pub struct Settled {
    /// The flow.
    pub settlements: Arc<Settlements>,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

impl Taker for Settled {
    fn takes(&self) -> Takes {
        Takes::Changes
    }

    fn take<'a>(&'a self, rows: Vec<CheckedRow>, polled: Polled) -> Work<'a, Vec<RowEnd>> {
        Box::pin(async move {
            let taken = rows.iter().map(|_| RowEnd::Taken).collect();
            let arrived = |row: CheckedRow| Arrived { record: row.record, settled_at: None };
            let arrived: Vec<Arrived> = rows.into_iter().map(arrived).collect();
            self.settlements.accept(&arrived, polled.was_down, (self.clock)()).await?;
            Ok(taken)
        })
    }
}

/// All rows of `View_ProjectItemCode_Info` or `View_Dept_Info` become a copy of a dictionary, one
/// for each hospital that they name.
pub struct Dictionaries {
    /// The flow.
    pub dictionary: Dictionary,
    /// Which one.
    pub kind: DictionaryKind,
    /// The hospital of rows that name none.
    pub hospital: String,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

impl Taker for Dictionaries {
    fn takes(&self) -> Takes {
        Takes::Whole
    }

    fn take<'a>(&'a self, rows: Vec<CheckedRow>, polled: Polled) -> Work<'a, Vec<RowEnd>> {
        Box::pin(async move {
            // The others go on; what too many missing ones would drop waits for a person.
            if polled.unreadable > 0 {
                let (kind, rows) = (self.kind.name(), polled.unreadable);
                log::warn!(kind, rows; "rows of a dictionary's view cannot be read");
            }
            let taken = rows.iter().map(|_| RowEnd::Taken).collect();
            let records = rows.into_iter().map(|row| row.record).collect();
            let (hospital, kind) = (self.hospital.as_str(), self.kind);
            self.dictionary.take_whole(hospital, kind, records, CALLER, (self.clock)()).await?;
            Ok(taken)
        })
    }
}

/// The interface by which a registration goes on to a platform.
pub fn register_push() -> &'static Interface {
    catalog::find("ic-register-push").expect("the catalogue of this build has it")
}
