//! What leaves the cache: whole studies, and instances whose bytes changed on the disk.
//!
//! What must hold: what leaves is out of sight, durably, before anything is deleted; a study that
//! somebody reads is not taken away under the reader; bytes that were found damaged are never
//! served again, and no rebuild takes them in.
//!
//! The steps of mending: readers are told to come again; the damaged objects are moved into the
//! trash, and both folders synced; the records are written anew without theirs, synced, and put in
//! the place of the old ones, and the folder is synced; then readers see what is left. Power may
//! fail after each: what is left is an object that its record says is there (it cannot be opened,
//! and the next verification finds it missing), or a half-written file beside the records, which
//! nothing reads.
//!
//! Refused: a mark in the record (a record is never written over, and a reader of its file that
//! does not know the mark would serve the object); keeping damaged bytes for later (they can be
//! fetched again, and somebody would serve them).

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::{Cache, Claim, Inner};
use crate::check::{Finding, VerifyReport, verify_object};
use crate::error::CacheError;
use crate::folder::{self, RECORDS, TRASH, object_name};
use crate::records;
use crate::study::Study;
use crate::uid::Uid;

/// The records without what was damaged, until they are in their place.
const RECORDS_ANEW: &str = "study.records.anew";

/// A study in hands to be removed: nobody finds it. Dropped: it is found again.
pub struct Leaving {
    cache: Arc<Inner>,
    study: Uid,
    held: bool,
}

impl Leaving {
    /// Of a study that the cache has claimed for it.
    pub(crate) fn new(cache: &Arc<Inner>, study: &Uid) -> Leaving {
        Leaving { cache: cache.clone(), study: study.clone(), held: true }
    }

    /// Moves it out of sight durably, then deletes it. Gives the bytes of its objects, 0 if it was
    /// not here.
    pub fn remove(mut self) -> Result<u64, CacheError> {
        self.held = false;
        self.cache.remove_claimed(&self.study)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.held {
            self.cache.release(&self.study, None);
        }
    }
}

/// What [`Cache::mend`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Objects taken out.
    pub taken: u32,
    /// Instances listed now, of the whole study.
    pub left: u32,
}

impl Cache {
    /// Takes instances that are not as recorded out of a study: those of `suspects` that are still
    /// so. Records behind a torn one are cut off. `Busy` while the study arrives or leaves.
    pub fn mend(&self, study: &Uid, suspects: &[Finding]) -> Result<Mended, CacheError> {
        let inner = self.inner();
        inner.claim(study, Claim::Mending)?;
        match mend(inner, study, suspects) {
            Ok((taken, Some(now))) => {
                inner.replace_rows(study, &now);
                let left = now.instances().len() as u32;
                inner.release(study, Some(now));
                Ok(Mended { taken, left })
            }
            Ok((taken, None)) => {
                inner.remove_claimed(study)?;
                Ok(Mended { taken, left: 0 })
            }
            Err(error) => {
                inner.release(study, None);
                Err(error)
            }
        }
    }
}

/// Mends a claimed study; `None`: nothing of it is whole.
fn mend(
    cache: &Inner,
    uid: &Uid,
    suspects: &[Finding],
) -> Result<(u32, Option<Arc<Study>>), CacheError> {
    let folder = cache.study_folder(uid);
    let study = Study::load(folder.clone(), uid)?;
    let mut scratch = VerifyReport::default();
    let suspects: HashSet<&Uid> = suspects.iter().filter_map(Finding::damaged).collect();
    let damaged: HashSet<&Uid> = study
        .instances()
        .iter()
        .filter(|one| suspects.contains(&one.sop))
        .filter(|one| verify_object(&study, uid, one, &mut scratch).is_some())
        .map(|one| &one.sop)
        .collect();
    let extent = study.extent();
    if damaged.is_empty() && extent.file == extent.whole {
        let study = cache.load(uid)?;
        return Ok((0, study.some_row().is_some().then(|| Arc::new(study))));
    }
    let trash = move_objects(cache, &folder, &damaged)
        .map_err(CacheError::io("moving damaged objects into the trash"))?;
    write_anew(&folder, uid, &damaged)?;
    for path in trash {
        folder::delete(&path).map_err(CacheError::io("deleting a damaged object"))?;
    }
    let taken = damaged.len() as u32;
    let mended = cache.load(uid)?;
    Ok((taken, mended.some_row().is_some().then(|| Arc::new(mended))))
}

/// Moves objects out of sight durably; gives where they lie now.
fn move_objects(cache: &Inner, from: &Path, damaged: &HashSet<&Uid>) -> io::Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    for sop in damaged {
        let trash = folder::trash_place(&cache.folder, sop.as_str());
        match fs::rename(from.join(object_name(sop)), &trash) {
            Ok(()) => moved.push(trash),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    folder::sync(&cache.folder.join(TRASH))?;
    folder::sync(from)?;
    Ok(moved)
}

/// Puts records without the damaged ones in the place of the study's.
fn write_anew(folder: &Path, uid: &Uid, damaged: &HashSet<&Uid>) -> Result<(), CacheError> {
    const STEP: &str = "writing study records anew";
    let anew = folder.join(RECORDS_ANEW);
    let from = File::open(folder.join(RECORDS)).map_err(CacheError::io(STEP))?;
    let to = File::create(&anew).map_err(CacheError::io(STEP))?;
    let mut out = BufWriter::new(&to);
    records::copy(&from, &mut out, &|record| {
        record.study == *uid && !damaged.contains(&record.sop)
    })?;
    out.flush()
        .and_then(|()| to.sync_all())
        .and_then(|()| fs::rename(&anew, folder.join(RECORDS)))
        .and_then(|()| folder::sync(folder))
        .map_err(CacheError::io(STEP))
}
