//! What can go wrong in the cache. Messages name steps, UIDs and byte counts: no paths, no
//! personal data.

use std::io;

use crate::uid::Uid;

/// One failure of the cache; a variant names the step and carries what was got and expected.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Another process holds the cache folder.
    #[error("the cache folder is held by another process")]
    Locked,
    /// The cache was closed.
    #[error("the cache is closed")]
    Closed,
    /// The study is arriving or being removed by someone else.
    #[error("study {study} is busy")]
    Busy {
        /// The study.
        study: Uid,
    },
    /// Somebody reads the study that should leave.
    #[error("study {study} is open")]
    Open {
        /// The study.
        study: Uid,
    },
    /// The file system or a quota is full. Nothing of the batch was listed.
    #[error("disk full while {step}")]
    DiskFull {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a step.
    #[error("failed while {step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The arrival failed earlier; it accepts nothing more.
    #[error("the arrival of study {study} failed earlier")]
    Dead {
        /// The study.
        study: Uid,
    },
    /// Not a DICOM Part 10 file, or one without the identifiers that are indispensable.
    #[error("not a dicom object: {reason}")]
    NotDicom {
        /// What is missing.
        reason: &'static str,
    },
    /// The object belongs to another study.
    #[error("object of study {got} came when study {expected} was expected")]
    WrongStudy {
        /// Study of the object.
        got: Uid,
        /// Study of the arrival.
        expected: Uid,
    },
    /// The object ends before its data set does.
    #[error("object is cut off: {got} bytes of at least {expected}")]
    Truncated {
        /// Bytes needed, at least.
        expected: u64,
        /// Bytes there.
        got: u64,
    },
    /// A named limit was passed.
    #[error("{what} is over the limit of {limit} bytes")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes on disk were written by a version that this program does not know.
    #[error("{what} has format version {got}, this program knows {expected}")]
    Version {
        /// Which file.
        what: &'static str,
        /// Version found.
        got: u32,
        /// Version known.
        expected: u32,
    },
    /// A record that was whole when the study was opened is no longer.
    #[error("a record of study {study} is damaged")]
    RecordDamaged {
        /// The study.
        study: Uid,
    },
    /// A recorded object is missing or has another size.
    #[error("object {sop} of study {study} has {got:?} bytes, its record says {expected}")]
    ObjectDamaged {
        /// The study.
        study: Uid,
        /// The instance.
        sop: Uid,
        /// Bytes found; `None`: no such file.
        got: Option<u64>,
        /// Bytes recorded.
        expected: u64,
    },
    /// The index of search rows failed.
    #[error("the search index failed while {step}")]
    Index {
        /// What was being done.
        step: &'static str,
        /// What sled said; `None`: it panicked.
        source: Option<sled::Error>,
    },
}

impl CacheError {
    /// Names the step that the system refused; a full disk is told apart.
    pub(crate) fn io(step: &'static str) -> impl FnOnce(io::Error) -> CacheError {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CacheError::DiskFull { step, source }
            }
            _ => CacheError::Io { step, source },
        }
    }
}
