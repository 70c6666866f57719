//! The cache as a whole: its lock, its rows, its opened studies and its index.
//!
//! Locks are taken in the order `opened`, `rows`, `index`; none is held while an object or a
//! records file is read.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::arrival::{Arrival, Object};
use crate::error::CacheError;
use crate::folder::{self, INCOMING, LOCK, RECORDS, Room, STUDIES, TRASH, object_name};
use crate::index::{self, Index};
use crate::leaving::Leaving;
use crate::limits::{LOCK_LOOK, LOCK_WAIT, OPENED_BYTES_MAX, OPENED_STUDIES_MAX, SERIES_ROWS_MAX};
use crate::rows::{SeriesRow, StudyRow};
use crate::search::{Rows, SeriesQuery, StudyQuery};
use crate::study::{Study, Suspects};
use crate::uid::Uid;

/// A cache folder held open for writing. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

/// How much is here, and how the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Studies with at least one whole instance.
    pub studies: u64,
    /// Their series.
    pub series: u64,
    /// Their instances.
    pub instances: u64,
    /// Bytes of their objects.
    pub bytes: u64,
    /// State of the index; while it is rebuilt the other numbers are of what was read so far.
    pub index: IndexState,
}

/// A study as what may leave is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Study Instance UID.
    pub study: Uid,
    /// Bytes of its objects.
    pub bytes: u64,
    /// When an instance was last listed or taken out, in milliseconds since 1970; 0 if the file
    /// system does not tell.
    pub written_ms: i64,
}

impl Held {
    pub(crate) fn of(folder: &Path, row: &StudyRow) -> Held {
        let written = fs::metadata(folder.join(RECORDS)).map(|at| at.mtime() * 1_000);
        Held { study: row.study.clone(), bytes: row.bytes, written_ms: written.unwrap_or_default() }
    }
}

/// Whether searches see everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// They do.
    Whole,
    /// Study records are being read again: studies not yet read are found by UID only.
    Rebuilding {
        /// Studies read.
        done: u64,
        /// Studies there were when it began.
        of: u64,
    },
    /// sled failed while in use. Searches see everything, from memory; the next start rebuilds.
    Lost,
}

impl Cache {
    /// Opens a cache folder, made if it is not there (its parent must be). One process at a time.
    pub fn open(folder: &Path) -> Result<Cache, CacheError> {
        Cache::open_as(folder, true)
    }

    /// Opens it; `trusting` the index if it was closed cleanly.
    pub(crate) fn open_as(folder: &Path, trusting: bool) -> Result<Cache, CacheError> {
        const STEP: &str = "making the cache folder";
        folder::make_durable(folder).map_err(CacheError::io(STEP))?;
        let lock = hold(folder)?;
        // What was on its way in when the last run ended was never acknowledged.
        folder::delete(&folder.join(INCOMING)).map_err(CacheError::io(STEP))?;
        for name in [STUDIES, TRASH, INCOMING] {
            folder::make_durable(&folder.join(name)).map_err(CacheError::io(STEP))?;
        }
        let clean = index::take_marker(folder)?;
        let mut found = None;
        if let (true, Some(studies)) = (trusting, clean) {
            match Index::open(folder).and_then(|index| Ok((index.rows()?, index))) {
                Ok((rows, index)) if rows.len() as u64 == studies => found = Some((rows, index)),
                Ok((rows, _)) => {
                    let got = rows.len();
                    log::warn!("search index has {got} of {studies} studies, rebuilding it");
                }
                Err(error) => log::warn!(error:?; "search index unusable, rebuilding it"),
            }
        }
        empty_trash(folder);
        let (rows, index, missing) = match found {
            Some((rows, index)) => (rows, index, Vec::new()),
            None => {
                index::set_aside(folder)?;
                let studies = folder::studies(folder).map_err(CacheError::io("listing studies"))?;
                (Vec::new(), Index::open(folder)?, studies)
            }
        };
        let cache = Cache { inner: Arc::new(Inner::new(folder, lock, index)) };
        for row in rows {
            cache.inner.write_rows().put(Arc::new(row));
        }
        cache.inner.start_rebuild(missing);
        Ok(cache)
    }

    /// Flushes the index and marks it clean. Arrivals must be over, else the next start rebuilds.
    /// Reading goes on working; arrivals and removals are refused. Closing twice is no error.
    pub fn close(&self) -> Result<(), CacheError> {
        let arriving = {
            let mut opened = self.inner.opened();
            if std::mem::replace(&mut opened.closed, true) {
                return Ok(());
            }
            !opened.claims.is_empty()
        };
        self.inner.stop.store(true, Ordering::Relaxed);
        self.inner.wait_for_rebuild();
        let index = self.inner.write_index().take();
        let whole = *held(&self.inner.state) == IndexState::Whole;
        if arriving {
            log::warn!("cache closed while a study arrives, its index will be rebuilt");
            return Ok(());
        }
        if let Some(index) = index
            && whole
        {
            // The marker comes last: it vouches for what was synced before it.
            index.close(&self.inner.folder)?;
            index::put_marker(&self.inner.folder, self.stats().studies)?;
        }
        held(&self.inner.lock).take();
        Ok(())
    }

    /// Begins to write a study, or to add to it. One at a time a study: `Busy` otherwise.
    pub fn arrival(&self, study: &Uid) -> Result<Arrival, CacheError> {
        self.inner.claim(study, Claim::Opening)?;
        Arrival::open(&self.inner, study).inspect_err(|_| self.inner.release(study, None))
    }

    /// Begins an object whose study is not known before its header is read: it ends by
    /// [`Object::complete`] and is kept by the [`Arrival`] of its study. [`CacheError::DiskFull`]
    /// when fewer than [`crate::limits::SPARE_BYTES`] are free.
    pub fn incoming(&self) -> Result<Object, CacheError> {
        let name = self.inner.next_incoming.fetch_add(1, Ordering::Relaxed);
        Object::create(self.inner.folder.join(INCOMING).join(name.to_string()))
    }

    /// A snapshot of what is whole of a study; `None` if nothing is.
    pub fn study(&self, study: &Uid) -> Result<Option<Arc<Study>>, CacheError> {
        self.inner.study(study)
    }

    /// The same, if it is in memory already: never waits for the disk. `None` does not say that
    /// the study is not here.
    pub fn study_at_hand(&self, study: &Uid) -> Option<Arc<Study>> {
        let mut opened = self.inner.opened();
        match opened.claims.get(study) {
            Some(Claim::Arriving(now)) => now.some_row().map(|_| now.clone()),
            Some(Claim::Removing | Claim::Mending) => None,
            Some(Claim::Opening) | None => opened.touch(study),
        }
    }

    /// A study that arrives, with instances that are whole and not durable yet: for who follows
    /// it, and for nobody else, since a power cut takes them back. `None`: nothing is ahead of the
    /// disk.
    pub fn study_ahead(&self, study: &Uid) -> Option<Arc<Study>> {
        self.inner.opened().ahead.get(study).cloned()
    }

    /// A study's row.
    pub fn row(&self, study: &Uid) -> Option<Arc<StudyRow>> {
        if let Some(row) = self.inner.read_rows().get(study) {
            return Some(row.clone());
        }
        if !self.inner.rebuilding() {
            return None;
        }
        self.inner.study(study).ok().flatten()?.some_row().cloned()
    }

    /// Whole and durable instances of a study.
    pub fn instances_here(&self, study: &Uid) -> u32 {
        self.row(study).map_or(0, |row| row.instances)
    }

    /// Studies that match, newest Study Date first, then by UID. While the index is rebuilt,
    /// studies asked for by UID are found, others as far as they were read.
    pub fn search_studies(&self, query: &StudyQuery) -> Vec<Arc<StudyRow>> {
        if let Some(studies) = &query.study
            && self.inner.rebuilding()
        {
            // Reading a study puts its row where the search looks.
            studies.iter().for_each(|study| drop(self.row(study)));
        }
        self.inner.read_rows().search(query)
    }

    /// Series that match, in the order of their studies, then by number and UID; at most
    /// [`SERIES_ROWS_MAX`].
    pub fn search_series(&self, query: &SeriesQuery) -> Result<Vec<Arc<SeriesRow>>, CacheError> {
        let mut found = Vec::new();
        for row in self.search_studies(&query.studies) {
            let series = self.inner.series_rows(&row)?;
            found.extend(series.into_iter().filter(|row| query.matches(row)).map(Arc::new));
            if found.len() >= SERIES_ROWS_MAX {
                found.truncate(SERIES_ROWS_MAX);
                break;
            }
        }
        Ok(found)
    }

    /// The study that an instance is listed in. Opened studies are asked first, then each study
    /// folder for the object's name: 10 to 50 ms for 6,000 studies. For questions that name no
    /// study; who knows the study asks [`Study::instance`].
    pub fn study_of_instance(&self, sop: &Uid) -> Option<Uid> {
        let lists = |study: &Study| study.instance(sop).is_some();
        let snapshots: Vec<Arc<Study>> = self.inner.opened().snapshots().cloned().collect();
        if let Some(study) = snapshots.iter().find(|study| lists(study)) {
            return study.some_row().map(|row| row.study.clone());
        }
        let studies: Vec<Uid> = if self.inner.rebuilding() {
            folder::studies(&self.inner.folder).unwrap_or_default()
        } else {
            self.inner.read_rows().studies().cloned().collect()
        };
        let name = object_name(sop);
        studies.into_iter().find(|study| {
            self.inner.study_folder(study).join(&name).exists()
                && matches!(self.inner.study(study), Ok(Some(study)) if lists(&study))
        })
    }

    /// Takes a study into hands to remove it: from now on nobody finds it, until it is removed or
    /// let go. `Open` while somebody reads it, `Busy` while it arrives or is being removed.
    pub fn leaving(&self, study: &Uid) -> Result<Leaving, CacheError> {
        self.inner.claim_unread(study)?;
        Ok(Leaving::new(&self.inner, study))
    }

    /// Removes a study, whoever reads it: moved out of sight durably, then deleted. Gives the bytes
    /// of its objects, 0 if it was not here. `Busy` while it arrives or is being removed.
    pub fn remove_study(&self, study: &Uid) -> Result<u64, CacheError> {
        self.inner.claim(study, Claim::Removing)?;
        self.inner.remove_claimed(study)
    }

    /// How much is here.
    pub fn stats(&self) -> Stats {
        let index = *held(&self.inner.state);
        let rows = self.inner.read_rows();
        Stats {
            studies: rows.len() as u64,
            series: rows.series,
            instances: rows.instances,
            bytes: rows.bytes,
            index,
        }
    }

    /// The studies of which readers found a record or an object missing, cut short or damaged since
    /// this was last asked; at most [`crate::limits::SUSPECTS_MAX`] at a time.
    pub fn suspects(&self) -> Vec<Uid> {
        self.inner.suspects.take()
    }

    /// What is here, study by study, in no order. While the index is rebuilt, as far as it is.
    pub fn held(&self) -> Vec<Held> {
        let rows: Vec<Arc<StudyRow>> = self.inner.read_rows().all().cloned().collect();
        let held = |row: Arc<StudyRow>| {
            let folder = self.inner.study_folder(&row.study);
            Held::of(&folder, &row)
        };
        rows.into_iter().map(held).collect()
    }

    /// The room on the cache folder's disk.
    pub fn room(&self) -> Result<Room, CacheError> {
        folder::room_in(&self.inner.folder)
    }

    /// Returns when a rebuild of the index that was under way has ended.
    pub fn wait_for_rebuild(&self) {
        self.inner.wait_for_rebuild();
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

/// Why a study is in someone's hands.
pub(crate) enum Claim {
    /// An arrival reads what is there; nothing is written yet.
    Opening,
    /// An arrival writes; the snapshot holds what is durable, which the file no longer tells.
    Arriving(Arc<Study>),
    /// What is damaged is taken out of it; readers come again.
    Mending,
    /// It is on its way out.
    Removing,
}

/// Studies in hands, and those kept open for the next reader.
#[derive(Default)]
pub(crate) struct Opened {
    claims: HashMap<Uid, Claim>,
    /// Studies that arrive, as they will be when what is on its way to the disk is there.
    ahead: HashMap<Uid, Arc<Study>>,
    kept: HashMap<Uid, (Arc<Study>, u64)>,
    kept_bytes: usize,
    /// Every snapshot that somebody may hold.
    lent: HashMap<Uid, Vec<Weak<Study>>>,
    /// Length of `lent` at which what nobody holds any more is next swept out of it.
    sweep_at: usize,
    /// Counts uses, to know which was used last.
    uses: u64,
    /// Studies being read without a claim; who claims or releases one meanwhile makes what was
    /// read stale: it is not kept, and its row not put.
    reading: HashMap<Uid, Reading>,
    closed: bool,
}

#[derive(Default)]
struct Reading {
    readers: u32,
    stale: bool,
}

impl Opened {
    fn claim(&mut self, study: &Uid, claim: Claim) -> Result<(), CacheError> {
        if self.closed {
            return Err(CacheError::Closed);
        }
        if self.claims.contains_key(study) {
            return Err(CacheError::Busy { study: study.clone() });
        }
        self.make_stale(study);
        self.claims.insert(study.clone(), claim);
        Ok(())
    }

    fn begin_reading(&mut self, study: &Uid) {
        self.reading.entry(study.clone()).or_default().readers += 1;
    }

    /// Whether what was read is as it was.
    fn end_reading(&mut self, study: &Uid) -> bool {
        let Some(reading) = self.reading.get_mut(study) else { return false };
        reading.readers -= 1;
        let fresh = !reading.stale;
        if reading.readers == 0 {
            self.reading.remove(study);
        }
        fresh
    }

    fn make_stale(&mut self, study: &Uid) {
        if let Some(reading) = self.reading.get_mut(study) {
            reading.stale = true;
        }
    }

    fn snapshots(&self) -> impl Iterator<Item = &Arc<Study>> {
        let arriving = self.claims.values().filter_map(|claim| match claim {
            Claim::Arriving(study) => Some(study),
            Claim::Opening | Claim::Mending | Claim::Removing => None,
        });
        self.kept.values().map(|(study, _)| study).chain(arriving)
    }

    /// Notes a snapshot that is about to be handed out.
    fn lend(&mut self, uid: &Uid, study: &Arc<Study>) {
        let held = |one: &Weak<Study>| one.strong_count() > 0;
        if self.lent.len() >= self.sweep_at.max(OPENED_STUDIES_MAX) {
            self.lent.retain(|_, lent| lent.iter().any(held));
            self.sweep_at = 2 * self.lent.len();
        }
        let lent = self.lent.entry(uid.clone()).or_default();
        lent.retain(held);
        if !lent.iter().any(|one| one.as_ptr() == Arc::as_ptr(study)) {
            lent.push(Arc::downgrade(study));
        }
    }

    /// Whether somebody holds a snapshot of a study, or is reading one. Handles are taken under
    /// this lock only, or from one that is counted here.
    fn is_open(&self, study: &Uid) -> bool {
        let kept = self.kept.get(study).map(|(kept, _)| kept);
        let outside = |one: &Arc<Study>| {
            let ours = 1 + usize::from(kept.is_some_and(|kept| Arc::ptr_eq(kept, one)));
            Arc::strong_count(one) > ours
        };
        self.reading.contains_key(study)
            || self
                .lent
                .get(study)
                .is_some_and(|lent| lent.iter().filter_map(Weak::upgrade).any(|one| outside(&one)))
    }

    fn touch(&mut self, study: &Uid) -> Option<Arc<Study>> {
        self.uses += 1;
        let (kept, used) = self.kept.get_mut(study)?;
        *used = self.uses;
        Some(kept.clone())
    }

    fn keep(&mut self, uid: &Uid, study: Arc<Study>) {
        self.forget(uid);
        self.lend(uid, &study);
        self.uses += 1;
        self.kept_bytes += study.memory();
        self.kept.insert(uid.clone(), (study, self.uses));
        while self.kept.len() > OPENED_STUDIES_MAX || self.kept_bytes > OPENED_BYTES_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, study: &Uid) {
        if let Some((study, _)) = self.kept.remove(study) {
            self.kept_bytes -= study.memory();
        }
    }
}

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    lock: Mutex<Option<File>>,
    opened: Mutex<Opened>,
    rows: RwLock<Rows>,
    index: RwLock<Option<Index>>,
    state: Mutex<IndexState>,
    rebuild: Mutex<Option<JoinHandle<()>>>,
    stop: AtomicBool,
    suspects: Arc<Suspects>,
    next_incoming: AtomicU64,
}

impl Inner {
    fn new(folder: &Path, lock: File, index: Index) -> Inner {
        Inner {
            folder: folder.to_owned(),
            lock: Mutex::new(Some(lock)),
            opened: Mutex::default(),
            rows: RwLock::default(),
            index: RwLock::new(Some(index)),
            state: Mutex::new(IndexState::Whole),
            rebuild: Mutex::new(None),
            stop: AtomicBool::new(false),
            suspects: Arc::default(),
            next_incoming: AtomicU64::new(0),
        }
    }

    pub(crate) fn study_folder(&self, study: &Uid) -> PathBuf {
        self.folder.join(STUDIES).join(study.as_str())
    }

    /// Takes a study into hands.
    pub(crate) fn claim(&self, study: &Uid, claim: Claim) -> Result<(), CacheError> {
        self.opened().claim(study, claim)
    }

    /// Takes a study that nobody reads into hands, to remove it.
    fn claim_unread(&self, study: &Uid) -> Result<(), CacheError> {
        let mut opened = self.opened();
        if opened.is_open(study) {
            return Err(CacheError::Open { study: study.clone() });
        }
        opened.claim(study, Claim::Removing)
    }

    /// Lets a study go; readers see `last` from now on, or what is on disk.
    pub(crate) fn release(&self, study: &Uid, last: Option<Arc<Study>>) {
        let mut opened = self.opened();
        opened.make_stale(study);
        opened.claims.remove(study);
        opened.ahead.remove(study);
        match last {
            Some(last) if last.some_row().is_some() => opened.keep(study, last),
            _ => opened.forget(study),
        }
    }

    /// Hands an arrival the study as it is on disk and makes it the one that readers see.
    pub(crate) fn begin_arrival(&self, study: &Uid) -> Result<Arc<Study>, CacheError> {
        let kept = self.opened().touch(study);
        let now = match kept {
            Some(kept) => kept,
            None => Arc::new(self.load(study)?),
        };
        // While the index is rebuilt, the rebuild passes over studies in hands.
        let missing = self.read_rows().get(study).is_none();
        self.publish(study, None, &now, missing);
        Ok(now)
    }

    /// Shows a batch that became durable.
    pub(crate) fn publish(
        &self,
        uid: &Uid,
        before: Option<&Study>,
        study: &Arc<Study>,
        rows: bool,
    ) {
        {
            let mut opened = self.opened();
            opened.lend(uid, study);
            opened.claims.insert(uid.clone(), Claim::Arriving(study.clone()));
            opened.ahead.remove(uid);
        }
        // Without the lock, since sled may wait for the disk: the claim keeps removals away.
        if rows {
            self.put_rows(before, study);
        }
    }

    /// Shows who follows an arrival what is not durable yet.
    pub(crate) fn publish_ahead(&self, uid: &Uid, study: Arc<Study>) {
        let mut opened = self.opened();
        opened.lend(uid, &study);
        opened.ahead.insert(uid.clone(), study);
    }

    fn put_rows(&self, before: Option<&Study>, study: &Study) {
        if let Some(row) = study.some_row() {
            self.write_rows().put(row.clone());
            self.with_index(|index| index.put(before, study));
        }
    }

    /// Uses the index, which one failure ends for this run.
    fn with_index(&self, call: impl FnOnce(&Index) -> Result<(), CacheError>) {
        let failed = self.read_index().as_ref().and_then(|index| call(index).err());
        if let Some(error) = failed {
            log::error!(error:?; "search index given up until the next start");
            // sled is not asked for anything again, not even to close: it may panic in drop.
            std::mem::forget(self.write_index().take());
            *held(&self.state) = IndexState::Lost;
        }
    }

    /// Reads a study's records, for who opens its objects.
    pub(crate) fn load(&self, study: &Uid) -> Result<Study, CacheError> {
        let loaded = Study::load(self.study_folder(study), study)?;
        Ok(loaded.telling(&self.suspects))
    }

    fn study(&self, study: &Uid) -> Result<Option<Arc<Study>>, CacheError> {
        let listed = |study: &Arc<Study>| study.some_row().map(|_| study.clone());
        {
            let mut opened = self.opened();
            match opened.claims.get(study) {
                Some(Claim::Arriving(now)) => return Ok(listed(now)),
                Some(Claim::Removing) => return Ok(None),
                Some(Claim::Mending) => return Err(CacheError::Busy { study: study.clone() }),
                Some(Claim::Opening) | None => {}
            }
            if let Some(kept) = opened.touch(study) {
                return Ok(Some(kept));
            }
            opened.begin_reading(study);
        }
        let loaded = self.load(study);
        let mut opened = self.opened();
        let fresh = opened.end_reading(study);
        match opened.claims.get(study) {
            // What was read may hold records that are not durable yet.
            Some(Claim::Arriving(now)) => return Ok(listed(now)),
            Some(Claim::Removing) => return Ok(None),
            Some(Claim::Mending) => return Err(CacheError::Busy { study: study.clone() }),
            Some(Claim::Opening) | None => {}
        }
        let Some(loaded) = listed(&Arc::new(loaded?)) else { return Ok(None) };
        opened.lend(study, &loaded);
        if fresh {
            opened.keep(study, loaded.clone());
            // Only while the index is rebuilt is a row missing. The lock is held, so that no
            // removal comes between.
            if self.read_rows().get(study).is_none() && !opened.closed {
                self.put_rows(None, &loaded);
            }
        }
        Ok(Some(loaded))
    }

    fn series_rows(&self, row: &StudyRow) -> Result<Vec<SeriesRow>, CacheError> {
        let stored = self.read_index().as_ref().map(|index| index.series(&row.study));
        if let Some(Ok(series)) = stored
            && series.len() == row.series as usize
        {
            return Ok(series);
        }
        Ok(self.study(&row.study)?.map_or(Vec::new(), |study| study.series().to_vec()))
    }

    /// Removes a study that is claimed, and lets it go.
    pub(crate) fn remove_claimed(&self, study: &Uid) -> Result<u64, CacheError> {
        const STEP: &str = "moving a study into the trash";
        self.opened().claims.insert(study.clone(), Claim::Removing);
        let moved = self.move_files(study);
        if moved.is_ok() {
            self.write_rows().remove(study);
            self.with_index(|index| index.remove(study));
        }
        // Durable before anything is deleted: a crash leaves the study whole, or in the trash.
        let synced = match &moved {
            Ok((_, Some(_))) => folder::sync(&self.folder.join(TRASH))
                .and_then(|()| folder::sync(&self.folder.join(STUDIES))),
            Ok((_, None)) | Err(_) => Ok(()),
        };
        self.release(study, None);
        let (bytes, trash) = moved?;
        synced.map_err(CacheError::io(STEP))?;
        if let Some(trash) = trash {
            folder::delete(&trash).map_err(CacheError::io("deleting a removed study"))?;
        }
        Ok(bytes)
    }

    /// Moves a study's folder into the trash, not yet durably; gives the bytes of its objects.
    fn move_files(&self, study: &Uid) -> Result<(u64, Option<PathBuf>), CacheError> {
        let folder = self.study_folder(study);
        let recorded = self.read_rows().get(study).map(|row| row.bytes);
        let bytes = match recorded {
            Some(bytes) => bytes,
            None => Study::load(folder.clone(), study)?.some_row().map_or(0, |row| row.bytes),
        };
        let trash = folder::trash_place(&self.folder, study.as_str());
        match fs::rename(&folder, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, None)),
            moved => {
                moved.map_err(CacheError::io("moving a study into the trash"))?;
                Ok((bytes, Some(trash)))
            }
        }
    }

    /// Puts the rows of a study that was mended in the place of its former ones.
    pub(crate) fn replace_rows(&self, study: &Uid, mended: &Study) {
        if let Some(row) = mended.some_row() {
            self.write_rows().put(row.clone());
            self.with_index(|index| index.remove(study).and_then(|()| index.put(None, mended)));
        }
    }

    fn rebuilding(&self) -> bool {
        matches!(*held(&self.state), IndexState::Rebuilding { .. })
    }

    /// Reads the records of these studies in a thread of its own, which lets go of the cache
    /// between two studies.
    fn start_rebuild(self: &Arc<Inner>, studies: Vec<Uid>) {
        if studies.is_empty() {
            return;
        }
        let of = studies.len() as u64;
        *held(&self.state) = IndexState::Rebuilding { done: 0, of };
        let weak = Arc::downgrade(self);
        let thread = thread::Builder::new().name("cache-rebuild".to_owned());
        match thread.spawn(move || rebuild(&weak, &studies)) {
            Ok(handle) => *held(&self.rebuild) = Some(handle),
            Err(error) => {
                log::error!(error:?; "search index cannot be rebuilt, studies answer by uid");
            }
        }
    }

    fn wait_for_rebuild(&self) {
        let thread = held(&self.rebuild).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("rebuilding the search index ended by a panic");
        }
    }

    pub(crate) fn opened(&self) -> MutexGuard<'_, Opened> {
        held(&self.opened)
    }

    fn read_index(&self) -> RwLockReadGuard<'_, Option<Index>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_index(&self) -> RwLockWriteGuard<'_, Option<Index>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_rows(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock whatever happened to its last holder: every change under these locks is whole at each
/// step, so a panic elsewhere must not take the cache down.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads each study, which puts its row. One that is in hands is passed over: an arrival puts the
/// row when it begins.
fn rebuild(cache: &Weak<Inner>, studies: &[Uid]) {
    let of = studies.len() as u64;
    for (done, study) in (1..).zip(studies) {
        let Some(cache) = cache.upgrade() else { return };
        if cache.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = cache.study(study) {
            log::warn!(study:%, error:?; "study left out of the index");
        }
        cache.opened().forget(study);
        let mut state = held(&cache.state);
        if let IndexState::Rebuilding { .. } = *state {
            *state = IndexState::Rebuilding { done, of };
        }
    }
    if let Some(cache) = cache.upgrade() {
        let mut state = held(&cache.state);
        if let IndexState::Rebuilding { .. } = *state {
            *state = IndexState::Whole;
        }
    }
}

fn hold(folder: &Path) -> Result<File, CacheError> {
    const STEP: &str = "locking the cache folder";
    let open = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
    let file = open.map_err(CacheError::io(STEP))?;
    // Whoever has just let go may hold it until its last thread ends.
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_LOOK),
            Err(TryLockError::WouldBlock) => return Err(CacheError::Locked),
            Err(TryLockError::Error(error)) => return Err(CacheError::io(STEP)(error)),
        }
    }
}

/// Deletes what earlier runs left in the trash, without holding up the start.
fn empty_trash(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder.join(TRASH)) else { return };
    let left: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    if left.is_empty() {
        return;
    }
    let thread = thread::Builder::new().name("cache-trash".to_owned());
    let started = thread.spawn(move || {
        for path in left {
            if let Err(error) = folder::delete(&path) {
                log::warn!(error:?; "trash of the cache not deleted");
            }
        }
    });
    if let Err(error) = started {
        log::warn!(error:?; "trash of the cache not deleted");
    }
}
