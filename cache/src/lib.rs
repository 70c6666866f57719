//! A disposable store of DICOM studies: one folder a study, readable without us.
//!
//! What for: objects come in at the speed of the disk, are never listed before a power cut could
//! spare them, are found by what they say of themselves, and go out again byte for byte as they
//! came. It knows no patients, no HTTP and no configuration; it runs on plain threads.
//!
//! What must always hold: an instance is listed only after its batch is durable; what is listed
//! is whole; the index can be lost at any moment without losing a study.
//!
//! On disk, under the cache folder: `lock` (one writer); `studies/<Study UID>/` with
//! `<SOP UID>.dcm` (Part 10, as received), `study.records` (the truth of what is whole, see
//! `records`) and `arriving/`; `incoming/` (objects of senders, until their study is known);
//! `trash/`; `index/` (sled, search rows) and `index.clean`.
//!
//! Refused: rows of instances in sled, and SOP Instance UID → study in sled (see `index`); a
//! database for the records (the folder must be readable by anything, and disposable piece by
//! piece); dicom-object for reading headers (see `dataset`).
//!
//! Start with [`Cache`], then [`Arrival`] for the way in and [`Study`] for the way out.

mod arrival;
mod cache;
mod charset;
mod check;
mod dataset;
pub mod dicom_json;
mod error;
mod folder;
#[cfg(fuzzing)]
pub mod fuzzing;
mod header;
mod index;
mod inflate;
mod leaving;
pub mod limits;
mod pixels;
mod records;
mod rows;
mod search;
mod study;
mod uid;

pub use arrival::{Arrival, Object, Sealed, Whole};
pub use cache::{Cache, Held, IndexState, Stats};
pub use check::{Finding, Measure, RebuildReport, RepairReport, VerifyReport};
pub use dataset::implicit_json;
pub use error::CacheError;
pub use folder::Room;
pub use header::{Header, Texts};
pub use leaving::{Leaving, Mended};
pub use pixels::{NoFrame, Pixels};
pub use rows::{SeriesRow, StudyRow};
pub use search::{DateRange, DateRangeError, SeriesQuery, StudyQuery};
pub use study::{Instance, Study};
pub use uid::{Uid, UidError};
