//! The rows of all studies and series in sled, so that a start need not read every record.
//!
//! On disk: tree `studies`, key Study UID; tree `series`, key Study UID, NUL, Series UID; values
//! are encoded rows, mostly under 1 KB. Nothing here is needed: sled does not sync on Linux and
//! may be lost or broken by a power cut, so it is trusted only if the marker `index.clean` says
//! that it was closed, flushed and synced. Without the marker it is not even opened: opening a
//! broken one has been seen to panic and to loop.
//!
//! Every call runs under `catch_unwind`; after one failure the index is given up for this run.
//!
//! Refused here: rows of instances (1.5 GB of disk and 100 MB of memory a million), and SOP
//! Instance UID → study, which was measured with a number as value: a million instances take
//! 290 MB of disk, 95 MB of memory in spite of a small cache, and 16 us an instance as it arrives.
//! A study folder *is* that map: whether `<SOP UID>.dcm` lies in it is one look-up in the kernel's
//! name cache (see `Cache::study_of_instance`), at most 8 us a study, that cannot be stale and
//! costs nothing while studies arrive. Only questions that name an instance without its study pay.

use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use crate::error::CacheError;
use crate::folder::{CLEAN, INDEX, sync, trash_place};
use crate::limits::{SLED_BYTES, SLED_OPEN_PAUSE, SLED_OPEN_TRIES};
use crate::rows::{SeriesRow, StudyRow};
use crate::study::Study;
use crate::uid::Uid;

/// sled, opened.
pub(crate) struct Index {
    db: sled::Db,
    studies: sled::Tree,
    series: sled::Tree,
}

impl Index {
    /// Opens or creates the index.
    pub(crate) fn open(cache: &Path) -> Result<Index, CacheError> {
        const STEP: &str = "opening it";
        let config = sled::Config::new()
            .path(cache.join(INDEX))
            .cache_capacity(SLED_BYTES)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None);
        let mut tries = 0;
        loop {
            tries += 1;
            let opened = guarded(STEP, || {
                let db = config.open()?;
                let (studies, series) = (db.open_tree("studies")?, db.open_tree("series")?);
                Ok(Index { db, studies, series })
            });
            match opened {
                // sled's own lock is let go by a thread some time after its handle is dropped.
                Err(CacheError::Index { source: Some(sled::Error::Io(_)), .. })
                    if tries < SLED_OPEN_TRIES =>
                {
                    thread::sleep(SLED_OPEN_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    /// All study rows; a row that cannot be read is a failure of the index.
    pub(crate) fn rows(&self) -> Result<Vec<StudyRow>, CacheError> {
        guarded("reading study rows", || {
            self.studies.iter().map(|entry| StudyRow::decode(&entry?.1).ok_or(strange())).collect()
        })
    }

    /// The series rows of a study, by number, then UID.
    pub(crate) fn series(&self, study: &Uid) -> Result<Vec<SeriesRow>, CacheError> {
        let mut rows: Vec<SeriesRow> = guarded("reading series rows", || {
            let stored = self.series.scan_prefix(prefix(study));
            stored.map(|entry| SeriesRow::decode(&entry?.1).ok_or(strange())).collect()
        })?;
        rows.sort_by(|a, b| (a.number, &a.series).cmp(&(b.number, &b.series)));
        Ok(rows)
    }

    /// Writes the rows of a study that differ from those it had before.
    pub(crate) fn put(&self, before: Option<&Study>, study: &Study) -> Result<(), CacheError> {
        let Some(row) = study.some_row() else { return Ok(()) };
        let known = |row: &SeriesRow| {
            before.is_some_and(|before| {
                before
                    .series()
                    .iter()
                    .any(|old| old.series == row.series && old.instances == row.instances)
            })
        };
        guarded("writing rows", || {
            for series in study.series().iter().filter(|series| !known(series)) {
                let mut key = prefix(&row.study);
                key.extend_from_slice(series.series.as_str().as_bytes());
                self.series.insert(key, series.encode())?;
            }
            self.studies.insert(row.study.as_str(), row.encode())?;
            Ok(())
        })
    }

    /// Takes the rows of a study away.
    pub(crate) fn remove(&self, study: &Uid) -> Result<(), CacheError> {
        guarded("removing rows", || {
            self.studies.remove(study.as_str())?;
            for key in self.series.scan_prefix(prefix(study)).keys() {
                self.series.remove(key?)?;
            }
            Ok(())
        })
    }

    /// Writes all to disk, lets sled go and makes its files durable.
    pub(crate) fn close(self, cache: &Path) -> Result<(), CacheError> {
        guarded("flushing it", || self.db.flush().map(|_| ()))?;
        guarded("closing it", move || {
            drop(self);
            Ok(())
        })?;
        sync_all(&cache.join(INDEX)).map_err(CacheError::io("syncing the index"))
    }
}

/// How many studies the index had when the last run closed it; `None` when it was not closed. The
/// marker is taken away, durably, so that a crash of this run is seen by the next.
pub(crate) fn take_marker(cache: &Path) -> Result<Option<u64>, CacheError> {
    let marker = cache.join(CLEAN);
    let text = match fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CacheError::io("reading the marker of the index")(error)),
    };
    fs::remove_file(&marker)
        .and_then(|()| sync(cache))
        .map_err(CacheError::io("removing the marker of the index"))?;
    Ok(text.trim().parse().ok())
}

/// Says, durably, that the index was closed with the rows of so many studies: an index that was
/// lost behind the marker is told by their number.
pub(crate) fn put_marker(cache: &Path, studies: u64) -> Result<(), CacheError> {
    let put = || {
        let mut file = File::create(cache.join(CLEAN))?;
        writeln!(file, "{studies}")?;
        file.sync_all()?;
        sync(cache)
    };
    put().map_err(CacheError::io("writing the marker of the index"))
}

/// Moves the index aside, unopened.
pub(crate) fn set_aside(cache: &Path) -> Result<(), CacheError> {
    let moved = || match fs::rename(cache.join(INDEX), trash_place(cache, INDEX)) {
        Ok(()) => sync(cache),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    moved().map_err(CacheError::io("moving the index aside"))
}

fn prefix(study: &Uid) -> Vec<u8> {
    [study.as_str().as_bytes(), b"\0"].concat()
}

fn strange() -> sled::Error {
    sled::Error::ReportableBug("a row is not of this version".to_owned())
}

fn guarded<T>(
    step: &'static str,
    call: impl FnOnce() -> Result<T, sled::Error>,
) -> Result<T, CacheError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(CacheError::Index { step, source: Some(source) }),
        Err(_) => Err(CacheError::Index { step, source: None }),
    }
}

fn sync_all(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync(folder)
}
