//! A study's objects on their way in.
//!
//! What must hold: an instance is listed only after its batch is durable. The steps of a batch:
//! object files are written under `arriving/` and synced; renamed to their names; the study
//! folder is synced (and `studies/`, the first time); the records are appended and synced; only
//! then readers see them. Power may fail after each: what is left is a file in `arriving/`
//! (deleted by the next arrival), an object without a record (overwritten by the next, or taken
//! in by `rebuild`), or a torn record (cut off).
//!
//! Who follows an arrival sees its first batch ahead of that ([`Arrival::show`]): a doctor who
//! waits for the first image does not wait for the disk as well. Nobody else sees it.
//!
//! While one batch is synced in the arrival's thread, the caller writes the next; the kernel is
//! asked to begin writing back each object as soon as it is kept, so that a sync finds little
//! left to do. A sync that fails is never retried: the arrival is dead (the kernel may have
//! dropped the pages), its records are cut back.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::cache::{Inner, held};
use crate::dataset::{self, Reading};
use crate::error::CacheError;
use crate::folder::{self, ARRIVING, RECORDS, object_name};
use crate::header::Header;
use crate::limits::{
    BATCH_AGE_MAX, BATCH_INSTANCES, BATCH_METADATA_BYTES, BATCHES_WAITING_MAX, COMPARE_BYTES,
    HEAD_BYTES, OBJECT_BYTES_MAX, ROOM_LOOK_BYTES, SPARE_BYTES,
};
use crate::pixels::Pixels;
use crate::records;
use crate::study::{Arrived, Study};
use crate::uid::Uid;

/// A study held for writing. Dropped: what was not sealed or synced yet is deleted, the study is
/// let go.
pub struct Arrival {
    cache: Arc<Inner>,
    study: Uid,
    folder: PathBuf,
    /// Listed or kept.
    known: HashSet<Uid>,
    /// Nothing was listed when it began.
    created: bool,
    batch: Vec<Whole>,
    batch_metadata: usize,
    batch_since: Option<Instant>,
    next_name: u64,
    writer: Option<Writer>,
    shared: Arc<Shared>,
    abandoned: bool,
}

/// What [`Arrival::seal`] made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Instances listed now, of the whole study.
    pub instances: u32,
    /// Bytes of objects that this arrival made durable.
    pub bytes: u64,
}

impl Arrival {
    /// Begins on a study that the cache has claimed for it.
    pub(crate) fn open(cache: &Arc<Inner>, study: &Uid) -> Result<Arrival, CacheError> {
        const STEP: &str = "making a study folder";
        let folder = cache.study_folder(study);
        folder::make(&folder).map_err(CacheError::io(STEP))?;
        let arriving = folder.join(ARRIVING);
        // What an earlier arrival left there was never listed.
        folder::delete(&arriving).map_err(CacheError::io("emptying arriving"))?;
        folder::make(&arriving).map_err(CacheError::io(STEP))?;
        let now = cache.begin_arrival(study)?;
        Ok(Arrival {
            cache: cache.clone(),
            study: study.clone(),
            folder,
            known: now.instances().iter().map(|instance| instance.sop.clone()).collect(),
            created: now.instances().is_empty(),
            batch: Vec::new(),
            batch_metadata: 0,
            batch_since: None,
            next_name: 0,
            writer: None,
            shared: Arc::new(Shared::new(now)),
            abandoned: false,
        })
    }

    /// Begins an object; its bytes follow by [`Object::write`]. [`CacheError::DiskFull`] when fewer
    /// than [`SPARE_BYTES`] are free.
    pub fn begin(&mut self) -> Result<Object, CacheError> {
        self.alive()?;
        let path = self.folder.join(ARRIVING).join(self.next_name.to_string());
        self.next_name += 1;
        Object::create(path)
    }

    /// Ends an object: it must be a Part 10 file of this study, and whole as far as can be told.
    /// On an error its file is deleted.
    pub fn complete(&mut self, object: Object) -> Result<Whole, CacheError> {
        let whole = object.complete()?;
        self.of_this_study(&whole)?;
        Ok(whole)
    }

    fn of_this_study(&self, whole: &Whole) -> Result<(), CacheError> {
        let got = &whole.header.study;
        if *got == self.study {
            return Ok(());
        }
        Err(CacheError::WrongStudy { got: got.clone(), expected: self.study.clone() })
    }

    /// Whether the data set of a whole object is that of the listed instance of the same UID, byte
    /// by byte and in the same transfer syntax; what stands before it (PS3.10 7.1) says who wrote
    /// the file. `None`: no such instance is listed, or not yet.
    pub fn is_listed_alike(&self, whole: &Whole) -> Result<Option<bool>, CacheError> {
        let study = held(&self.shared.progress).study.clone();
        let Some(listed) = study.instance(&whole.header.sop) else { return Ok(None) };
        if *listed.transfer_syntax != *whole.header.transfer_syntax {
            return Ok(Some(false));
        }
        let there = study.object(listed)?;
        let from = dataset::start(&there, listed.bytes)?;
        let length = listed.bytes - from.min(listed.bytes);
        if length != whole.bytes - whole.data_set_at.min(whole.bytes) {
            return Ok(Some(false));
        }
        same_bytes((&there, from), (&whole.file, whole.data_set_at), length).map(Some)
    }

    /// Takes a whole object into the open batch; a full batch goes to the disk. `false`: the
    /// instance is here already, and this one was dropped.
    pub fn keep(&mut self, whole: Whole) -> Result<bool, CacheError> {
        self.alive()?;
        self.of_this_study(&whole)?;
        if !self.known.insert(whole.header.sop.clone()) {
            return Ok(false);
        }
        self.batch_metadata += whole.json.len();
        self.batch_metadata += whole.pixels.as_ref().map_or(0, Pixels::memory);
        self.batch.push(whole);
        self.batch_since.get_or_insert_with(Instant::now);
        let full = self.batch.len() >= BATCH_INSTANCES;
        if full || self.batch_metadata >= BATCH_METADATA_BYTES {
            self.send()?;
        }
        self.tick();
        Ok(true)
    }

    /// Sends the open batch to the disk if it has waited long enough; to be called when idle.
    /// A failure shows at the next call that can fail.
    pub fn tick(&mut self) {
        let due = self.batch_since.is_some_and(|since| since.elapsed() >= BATCH_AGE_MAX);
        if due && let Err(error) = self.send() {
            self.shared.fail(error);
        }
    }

    /// Sends the open batch to the disk unless another is under way: somebody waits for what is in
    /// it. What comes while the disk is busy still leaves together.
    pub fn hurry(&mut self) {
        let idle = held(&self.shared.progress).waiting == 0;
        if idle && let Err(error) = self.send() {
            self.shared.fail(error);
        }
    }

    /// Shows what is kept to who follows the study ([`crate::Cache::study_ahead`]), before it is
    /// durable. Only as long as nothing of this arrival went to the disk: from then on listing
    /// follows closely, and a view of the whole study for every instance would cost more than it
    /// saves. `false`: nothing is shown.
    pub fn show(&mut self) -> Result<bool, CacheError> {
        if self.writer.is_some() || self.batch.is_empty() {
            return Ok(false);
        }
        let mut batch = Vec::with_capacity(self.batch.len());
        for whole in &self.batch {
            let file = whole.file.try_clone().map_err(CacheError::io("showing an object"))?;
            batch.push((whole.arrived(records::Span::default()), file, whole.json.clone()));
        }
        let ahead = held(&self.shared.progress).study.ahead(batch);
        self.cache.publish_ahead(&self.study, Arc::new(ahead));
        Ok(true)
    }

    /// Waits until everything kept is durable and listed.
    pub fn seal(&mut self) -> Result<Sealed, CacheError> {
        self.alive()?;
        self.send()?;
        let mut progress = held(&self.shared.progress);
        while progress.waiting > 0 {
            progress = self.shared.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        let sealed =
            Sealed { instances: progress.study.instances().len() as u32, bytes: progress.bytes };
        drop(progress);
        self.alive()?;
        Ok(sealed)
    }

    /// Gives up: what is not durable yet is deleted, and the whole study too if nothing of it was
    /// listed when this arrival began.
    pub fn abandon(mut self) -> Result<(), CacheError> {
        self.stop();
        if !self.created {
            return Ok(());
        }
        self.abandoned = true;
        self.cache.remove_claimed(&self.study).map(|_| ())
    }

    /// The study.
    pub fn study(&self) -> &Uid {
        &self.study
    }

    /// Whether an instance is listed, or kept and on its way to it.
    pub fn has(&self, sop: &Uid) -> bool {
        self.known.contains(sop)
    }

    /// Instances listed, of the whole study.
    pub fn instances(&self) -> u32 {
        held(&self.shared.progress).study.instances().len() as u32
    }

    /// Takes an object that lies under its name without a record, as a crash between the rename
    /// and the record leaves it. `false`: it is not whole or not of this study.
    pub(crate) fn adopt(&mut self, sop: &Uid) -> Result<bool, CacheError> {
        let path = self.folder.join(object_name(sop));
        let file = File::open(&path).map_err(CacheError::io("opening an object"))?;
        let Checked { head, crc32, bytes } = Checked::read(&file)?;
        let reading = match dataset::read(&head, Some(&file), bytes, None) {
            Ok(reading) if reading.header.study == self.study && reading.header.sop == *sop => {
                reading
            }
            Ok(_) => return Ok(false),
            Err(CacheError::NotDicom { .. } | CacheError::Truncated { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let temp = Temp { path, armed: false };
        self.keep(Whole::new(reading, bytes, crc32, file, temp))
    }

    fn alive(&self) -> Result<(), CacheError> {
        let mut progress = held(&self.shared.progress);
        match progress.failed.take() {
            Some(error) => Err(error),
            None if progress.dead => Err(CacheError::Dead { study: self.study.clone() }),
            None => Ok(()),
        }
    }

    /// Sends the open batch to the arrival's thread; waits while that has enough to do.
    fn send(&mut self) -> Result<(), CacheError> {
        self.batch_since = None;
        self.batch_metadata = 0;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        if self.writer.is_none() {
            self.writer = Some(Writer::start(self)?);
        }
        held(&self.shared.progress).waiting += 1;
        let sent = self.writer.as_ref().is_some_and(|writer| writer.batches.send(batch).is_ok());
        if !sent {
            held(&self.shared.progress).waiting -= 1;
            self.shared.fail(CacheError::Dead { study: self.study.clone() });
            return self.alive();
        }
        Ok(())
    }

    /// Lets the thread finish what it was sent; the open batch is deleted.
    fn stop(&mut self) {
        self.batch.clear();
        if let Some(Writer { batches, thread }) = self.writer.take() {
            drop(batches);
            if thread.join().is_err() {
                log::error!(study:% = self.study; "the thread of an arrival ended by a panic");
            }
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.abandoned {
            return;
        }
        self.stop();
        let now = held(&self.shared.progress).study.clone();
        let mut left = folder::delete(&self.folder.join(ARRIVING));
        if now.instances().is_empty() {
            // Nothing came of it. A folder that holds an object without a record stays.
            left = left.and_then(|()| folder::delete(&self.folder.join(RECORDS)));
            left = left.and(match fs::remove_dir(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            });
        }
        if let Err(error) = left {
            log::warn!(study:% = self.study, error:?; "leftovers of an arrival not deleted");
        }
        self.cache.release(&self.study, Some(now));
    }
}

/// An object being written. Dropped: its file is deleted.
pub struct Object {
    file: File,
    temp: Temp,
    head: Vec<u8>,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl Object {
    /// An empty object in a new file.
    pub(crate) fn create(path: PathBuf) -> Result<Object, CacheError> {
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(CacheError::io("creating an object"))?;
        let temp = Temp { path, armed: true };
        leave_room(&file)?;
        Ok(Object { file, temp, head: Vec::new(), crc: crc32fast::Hasher::new(), bytes: 0 })
    }

    /// Ends the object: it must be a Part 10 file, of any study, and whole as far as can be told.
    /// On an error its file is deleted.
    pub fn complete(self) -> Result<Whole, CacheError> {
        let Object { file, temp, head, crc, bytes } = self;
        let reading = dataset::read(&head, Some(&file), bytes, None)?;
        write_back(&file);
        Ok(Whole::new(reading, bytes, crc.finalize(), file, temp))
    }

    /// Appends bytes, up to [`OBJECT_BYTES_MAX`] in all, as long as the disk has room to spare.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        if self.bytes + bytes.len() as u64 > OBJECT_BYTES_MAX {
            return Err(CacheError::TooLarge { what: "object", limit: OBJECT_BYTES_MAX });
        }
        let end = self.bytes + bytes.len() as u64;
        if end / ROOM_LOOK_BYTES > self.bytes / ROOM_LOOK_BYTES {
            leave_room(&self.file)?;
        }
        self.file.write_all(bytes).map_err(CacheError::io("writing an object"))?;
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An object that is whole, not yet kept. Dropped: its file is deleted.
pub struct Whole {
    /// What it says of itself.
    pub header: Header,
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the file.
    pub crc32: u32,
    /// What is odd in its data set, if something is: only what was read is in the metadata, and
    /// whether the object is complete could not be told.
    pub broken: Option<&'static str>,
    /// Where the data set begins in the file.
    data_set_at: u64,
    json: Vec<u8>,
    /// Where its frames lie, unless they are too many to be kept.
    pixels: Option<Pixels>,
    file: File,
    temp: Temp,
}

impl Whole {
    fn new(reading: Reading, bytes: u64, crc32: u32, file: File, temp: Temp) -> Whole {
        let Reading { header, json, broken, data_set_at, pixels, bulk: _ } = reading;
        let pixels = pixels.is_kept().then_some(pixels);
        Whole { header, bytes, crc32, broken, data_set_at, json, pixels, file, temp }
    }

    fn arrived(&self, span: records::Span) -> Arrived<'_> {
        let Whole { header, bytes, crc32, pixels, .. } = self;
        Arrived { header, bytes: *bytes, crc32: *crc32, pixels: pixels.as_ref(), span }
    }
}

/// A file that is deleted when dropped while armed.
struct Temp {
    path: PathBuf,
    armed: bool,
}

impl Drop for Temp {
    fn drop(&mut self) {
        // A file that stays is deleted with its folder by the next arrival.
        if self.armed && fs::remove_file(&self.path).is_err() {
            log::debug!("an unfinished object was not deleted");
        }
    }
}

/// How far the arrival's thread is.
struct Shared {
    progress: Mutex<Progress>,
    moved: Condvar,
}

struct Progress {
    /// What is durable and listed.
    study: Arc<Study>,
    /// Bytes made durable by this arrival.
    bytes: u64,
    /// Batches sent and not done.
    waiting: usize,
    /// The first failure, until it is told.
    failed: Option<CacheError>,
    dead: bool,
}

impl Shared {
    fn new(study: Arc<Study>) -> Shared {
        let progress = Progress { study, bytes: 0, waiting: 0, failed: None, dead: false };
        Shared { progress: Mutex::new(progress), moved: Condvar::new() }
    }

    fn fail(&self, error: CacheError) {
        let mut progress = held(&self.progress);
        if !progress.dead {
            progress.dead = true;
            progress.failed = Some(error);
        }
    }
}

/// The arrival's thread.
struct Writer {
    batches: SyncSender<Vec<Whole>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(arrival: &Arrival) -> Result<Writer, CacheError> {
        // One batch is being synced, the others wait in the channel.
        let (batches, received) = sync_channel(BATCHES_WAITING_MAX - 1);
        let mut disk = Disk {
            cache: arrival.cache.clone(),
            study: arrival.study.clone(),
            folder: arrival.folder.clone(),
            records: None,
            end: held(&arrival.shared.progress).study.extent().whole,
        };
        let shared = arrival.shared.clone();
        let thread = thread::Builder::new().name("cache-arrival".to_owned());
        let thread = thread.spawn(move || disk.run(&received, &shared));
        let thread = thread.map_err(CacheError::io("starting a thread"))?;
        Ok(Writer { batches, thread })
    }
}

/// The steps that make batches durable.
struct Disk {
    cache: Arc<Inner>,
    study: Uid,
    folder: PathBuf,
    records: Option<Arc<File>>,
    /// End of the last durable record; 0 where the file has no front yet.
    end: u64,
}

impl Disk {
    fn run(&mut self, batches: &Receiver<Vec<Whole>>, shared: &Shared) {
        for batch in batches {
            let dead = held(&shared.progress).dead;
            let before = held(&shared.progress).study.clone();
            let done = if dead { Ok(before.clone()) } else { self.commit(batch, &before) };
            match done {
                Ok(study) => {
                    let added = |study: &Study| study.some_row().map_or(0, |row| row.bytes);
                    let mut progress = held(&shared.progress);
                    progress.bytes += added(&study) - added(&before);
                    progress.study = study;
                }
                Err(error) => shared.fail(error),
            }
            held(&shared.progress).waiting -= 1;
            shared.moved.notify_all();
        }
    }

    fn commit(&mut self, mut batch: Vec<Whole>, before: &Study) -> Result<Arc<Study>, CacheError> {
        for whole in &batch {
            whole.file.sync_data().map_err(CacheError::io("syncing an object"))?;
        }
        let first = self.records.is_none();
        let records = self.records()?;
        for whole in &mut batch {
            let name = self.folder.join(object_name(&whole.header.sop));
            fs::rename(&whole.temp.path, name).map_err(CacheError::io("naming an object"))?;
            whole.temp.armed = false;
        }
        // The names are durable before the records that speak of them.
        folder::sync(&self.folder).map_err(CacheError::io("syncing a study folder"))?;
        if first {
            sync_parent(&self.folder).map_err(CacheError::io("syncing the studies folder"))?;
        }
        let spans = self.append(&records, &batch).inspect_err(|_| self.cut_back(&records))?;
        let arrived: Vec<Arrived> =
            batch.iter().zip(spans).map(|(whole, span)| whole.arrived(span)).collect();
        let study = Arc::new(before.extended(&arrived, &records, self.end));
        self.cache.publish(&self.study, Some(before), &study, true);
        Ok(study)
    }

    /// Appends and syncs the records of a batch; moves the end.
    fn append(&mut self, file: &File, batch: &[Whole]) -> Result<Vec<records::Span>, CacheError> {
        let mut bytes = Vec::new();
        let mut spans = Vec::with_capacity(batch.len());
        for whole in batch {
            let Whole { header, json, crc32, pixels, .. } = whole;
            let pixels = pixels.as_ref();
            let mut span = records::encode(&mut bytes, header, whole.bytes, *crc32, pixels, json)?;
            span.at += self.end;
            spans.push(span);
        }
        file.write_all_at(&bytes, self.end)
            .and_then(|()| file.sync_data())
            .map_err(CacheError::io("writing study records"))?;
        self.end += bytes.len() as u64;
        Ok(spans)
    }

    /// After a failed append nothing of it may be read as listed, though the page cache has it.
    fn cut_back(&self, file: &File) {
        if let Err(error) = file.set_len(self.end).and_then(|()| file.sync_all()) {
            log::error!(error:?; "study records not cut back after a failed write");
        }
    }

    /// The records file, opened once; a torn tail is cut off, a new file gets its front.
    fn records(&mut self) -> Result<Arc<File>, CacheError> {
        if let Some(file) = &self.records {
            return Ok(file.clone());
        }
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(self.folder.join(RECORDS))?;
            if file.metadata()?.len() > self.end {
                file.set_len(self.end)?;
            }
            if self.end == 0 {
                file.write_all_at(&records::front(), 0)?;
            } else if records::raise_version(&file)? {
                file.sync_data()?;
            }
            Ok(file)
        };
        let file = Arc::new(open().map_err(CacheError::io("opening study records"))?);
        self.end = self.end.max(records::FRONT_BYTES);
        self.records = Some(file.clone());
        Ok(file)
    }
}

fn sync_parent(folder: &Path) -> io::Result<()> {
    folder.parent().map_or(Ok(()), folder::sync)
}

/// An object file read from end to end.
pub(crate) struct Checked {
    pub(crate) head: Vec<u8>,
    pub(crate) crc32: u32,
    pub(crate) bytes: u64,
}

impl Checked {
    pub(crate) fn read(file: &File) -> Result<Checked, CacheError> {
        let mut buffer = vec![0; 1 << 20];
        let mut crc = crc32fast::Hasher::new();
        let mut checked = Checked { head: Vec::new(), crc32: 0, bytes: 0 };
        loop {
            let n = file
                .read_at(&mut buffer, checked.bytes)
                .map_err(CacheError::io("reading an object"))?;
            if n == 0 {
                checked.crc32 = crc.finalize();
                return Ok(checked);
            }
            crc.update(&buffer[..n]);
            if checked.bytes == 0 {
                checked.head.extend_from_slice(&buffer[..n.min(HEAD_BYTES)]);
            }
            checked.bytes += n as u64;
        }
    }
}

/// Whether so many bytes are the same in two files, each from its own place.
fn same_bytes(a: (&File, u64), b: (&File, u64), length: u64) -> Result<bool, CacheError> {
    let mut buffers = [vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]];
    let mut done = 0;
    while done < length {
        let n = (length - done).min(COMPARE_BYTES as u64) as usize;
        for ((file, from), buffer) in [a, b].into_iter().zip(&mut buffers) {
            file.read_exact_at(&mut buffer[..n], from + done)
                .map_err(CacheError::io("comparing two objects"))?;
        }
        if buffers[0][..n] != buffers[1][..n] {
            return Ok(false);
        }
        done += n as u64;
    }
    Ok(true)
}

/// The disk counts as full while less than [`SPARE_BYTES`] are free: a study can come later, what a
/// sender brings cannot. A file system that does not tell has room.
fn leave_room(file: &File) -> Result<(), CacheError> {
    if folder::room(file).map_or(true, |room| room.free >= SPARE_BYTES) {
        return Ok(());
    }
    Err(CacheError::io("leaving room on the disk")(io::ErrorKind::StorageFull.into()))
}

/// Asks the kernel to begin writing a file back; the sync that follows is what counts.
#[cfg(target_os = "linux")]
fn write_back(file: &File) {
    // SAFETY: the descriptor is open for the life of `file`; the call touches no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
