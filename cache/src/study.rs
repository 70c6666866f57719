//! A snapshot of one study: what of it was whole when it was taken.
//!
//! A snapshot never changes; while the study arrives, each durable batch makes a new one. It
//! keeps the records file open, so that metadata can be read even after the study was removed;
//! objects are opened by name and are then gone.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::dataset::{self, Reading};
use crate::error::CacheError;
use crate::folder::object_name;
use crate::header::Header;
use crate::limits::{HEAD_BYTES, SUSPECTS_MAX};
use crate::pixels::Pixels;
use crate::records::{self, Extent, Span};
use crate::rows::{SeriesRow, StudyRow};
use crate::uid::Uid;

/// One listed instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// SOP Instance UID.
    pub sop: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Class UID.
    pub class: Arc<str>,
    /// Transfer Syntax UID of the file.
    pub transfer_syntax: Arc<str>,
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC-32 (IEEE) of the file.
    pub crc32: u32,
    /// Series Number; 0 if absent.
    pub series_number: i32,
    /// Instance Number; 0 if absent.
    pub number: i32,
    /// Rows of a frame in pixels; 0 if absent.
    pub rows: u32,
    /// Columns of a frame in pixels; 0 if absent.
    pub columns: u32,
    /// Number of Frames; at least 1.
    pub frames: u32,
    pub(crate) pixels: Option<Pixels>,
    pub(crate) span: Span,
}

impl Instance {
    /// Where its frames lie, if that is in memory; else [`Study::pixels`] finds it in the file.
    pub fn pixels(&self) -> Option<&Pixels> {
        self.pixels.as_ref()
    }
}

/// What is whole of one study.
#[derive(Debug)]
pub struct Study {
    folder: PathBuf,
    records: Option<Arc<File>>,
    row: Option<Arc<StudyRow>>,
    series: Vec<SeriesRow>,
    instances: Vec<Instance>,
    /// Positions in `instances`, sorted by SOP Instance UID; made when first asked for.
    by_sop: OnceLock<Vec<u32>>,
    extent: Extent,
    suspects: Arc<Suspects>,
    /// Its instances that are not durable yet; empty but for [`Study::ahead`].
    ahead: HashMap<Uid, Ahead>,
}

/// What the disk does not hold for good yet: whoever has it open reads it whatever becomes of it.
#[derive(Debug)]
struct Ahead {
    file: File,
    json: Vec<u8>,
}

/// Studies of which a reader found something other than recorded, until somebody looks.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<HashSet<Uid>>);

impl Suspects {
    /// Who reads asks again and again; the study counts once.
    fn add(&self, study: &Uid) {
        let mut studies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if studies.len() < SUSPECTS_MAX {
            studies.insert(study.clone());
        }
    }

    pub(crate) fn take(&self) -> Vec<Uid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

/// An instance about to be listed.
pub(crate) struct Arrived<'a> {
    pub(crate) header: &'a Header,
    pub(crate) bytes: u64,
    pub(crate) crc32: u32,
    pub(crate) pixels: Option<&'a Pixels>,
    pub(crate) span: Span,
}

impl Study {
    /// The study of a folder; without records it has no instances.
    pub(crate) fn load(folder: PathBuf, study: &Uid) -> Result<Study, CacheError> {
        let file = match File::open(folder.join(crate::folder::RECORDS)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Study::empty(folder));
            }
            Err(error) => return Err(CacheError::io("opening study records")(error)),
        };
        let mut building = Building::default();
        let mut seen = HashSet::new();
        let extent = records::scan(&file, &mut |span, record| {
            // A record of another study cannot be ours; the first of a doubled instance counts.
            if record.study == *study && seen.insert(record.sop.clone()) {
                let (bytes, crc32) = (record.bytes, record.crc32);
                let known = building.knows(&record.series);
                if known {
                    building.add_known(span, record);
                } else {
                    let header = record.header();
                    let pixels = record.pixels.as_ref();
                    building.add(&Arrived { header: &header, bytes, crc32, pixels, span });
                }
            }
            Ok(())
        })?;
        let mut loaded = building.finish(folder, Some(Arc::new(file)));
        loaded.extent = extent;
        Ok(loaded)
    }

    pub(crate) fn empty(folder: PathBuf) -> Study {
        Building::default().finish(folder, None)
    }

    /// The study after a batch became durable.
    pub(crate) fn extended(&self, batch: &[Arrived], records: &Arc<File>, extent: u64) -> Study {
        let mut study = self.with(batch, Some(records.clone()));
        study.extent = Extent { whole: extent, file: extent };
        study
    }

    /// The study as it will be once a batch is durable, for who cannot wait for that: each instance
    /// with its open file and its DICOM JSON.
    pub(crate) fn ahead(&self, batch: Vec<(Arrived, File, Vec<u8>)>) -> Study {
        let mut ahead = HashMap::with_capacity(batch.len());
        let mut arrived = Vec::with_capacity(batch.len());
        for (one, file, json) in batch {
            ahead.insert(one.header.sop.clone(), Ahead { file, json });
            arrived.push(one);
        }
        Study { ahead, ..self.with(&arrived, self.records.clone()) }
    }

    fn with(&self, batch: &[Arrived], records: Option<Arc<File>>) -> Study {
        let mut building = Building {
            row: self.row.as_deref().cloned(),
            series: self.series.clone(),
            instances: Vec::with_capacity(self.instances.len() + batch.len()),
            last: 0,
        };
        building.instances.extend_from_slice(&self.instances);
        for arrived in batch {
            building.add(arrived);
        }
        let mut study = building.finish(self.folder.clone(), records);
        study.suspects = self.suspects.clone();
        study
    }

    /// The same study, whose readers tell what they find damaged.
    pub(crate) fn telling(mut self, suspects: &Arc<Suspects>) -> Study {
        self.suspects = suspects.clone();
        self
    }

    /// The row of the study; `None` only for a study without instances, which callers of the
    /// cache never see.
    pub(crate) fn some_row(&self) -> Option<&Arc<StudyRow>> {
        self.row.as_ref()
    }

    /// The study's row.
    pub fn row(&self) -> &StudyRow {
        self.row.as_deref().expect("the cache hands out studies with instances only")
    }

    /// Its series, ordered by number, then UID.
    pub fn series(&self) -> &[SeriesRow] {
        &self.series
    }

    /// Its instances, ordered by series number, series UID, instance number, SOP Instance UID.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// One instance.
    pub fn instance(&self, sop: &Uid) -> Option<&Instance> {
        let by_sop = self.by_sop.get_or_init(|| {
            let mut positions: Vec<u32> = (0..self.instances.len() as u32).collect();
            let sop = |at: &u32| &self.instances[*at as usize].sop;
            positions.sort_unstable_by(|a, b| sop(a).cmp(sop(b)));
            positions
        });
        let found = by_sop.binary_search_by(|at| self.instances[*at as usize].sop.cmp(sop)).ok()?;
        Some(&self.instances[by_sop[found] as usize])
    }

    /// Where the frames of an instance lie in its file. Reads the file where the record does not
    /// say: it was written by an older version, or they are too many.
    pub fn pixels(&self, instance: &Instance) -> Result<Pixels, CacheError> {
        match &instance.pixels {
            Some(pixels) => Ok(pixels.clone()),
            None => Ok(self.read(instance, None)?.pixels),
        }
    }

    /// Where in its file a value lies that the metadata name by a `BulkDataURI`. `None`: they name
    /// none so. Reads the data set.
    pub fn bulk(&self, instance: &Instance, uri: &str) -> Result<Option<Range<u64>>, CacheError> {
        Ok(self.read(instance, Some(uri))?.bulk)
    }

    fn read(&self, instance: &Instance, wanted: Option<&str>) -> Result<Reading, CacheError> {
        let file = self.object(instance)?;
        let mut head = vec![0; instance.bytes.min(HEAD_BYTES as u64) as usize];
        file.read_exact_at(&mut head, 0).map_err(CacheError::io("reading an object"))?;
        dataset::read(&head, Some(&file), instance.bytes, wanted)
    }

    /// DICOM JSON of one instance (PS3.18 Annex F). Bulk data are named by a `BulkDataURI` relative
    /// to the instance.
    pub fn metadata(&self, instance: &Instance) -> Result<Vec<u8>, CacheError> {
        let mut out = Vec::new();
        self.append_metadata(instance, &mut out)?;
        Ok(out)
    }

    /// Appends the DICOM JSON object of one instance; on an error nothing is appended.
    pub fn append_metadata(
        &self,
        instance: &Instance,
        out: &mut Vec<u8>,
    ) -> Result<(), CacheError> {
        let damaged = || {
            self.suspects.add(&self.row().study);
            CacheError::RecordDamaged { study: self.row().study.clone() }
        };
        if let Some(ahead) = self.ahead.get(&instance.sop) {
            out.extend_from_slice(&ahead.json);
            return Ok(());
        }
        let file = self.records.as_ref().ok_or_else(damaged)?;
        let start = out.len();
        match records::read_json(file, instance.span, out) {
            Ok(true) => Ok(()),
            Ok(false) => Err(damaged()),
            Err(error) => {
                out.truncate(start);
                match error.kind() {
                    io::ErrorKind::UnexpectedEof => Err(damaged()),
                    _ => Err(CacheError::io("reading metadata")(error)),
                }
            }
        }
    }

    /// The JSON array of all instances, or of one series', in order. Some kilobytes an instance:
    /// for a study of thousands, [`Study::append_metadata`] in pieces needs less memory.
    pub fn all_metadata(&self, series: Option<&Uid>) -> Result<Vec<u8>, CacheError> {
        let mut out = vec![b'['];
        for instance in &self.instances {
            if series.is_none_or(|series| *series == instance.series) {
                if out.len() > 1 {
                    out.push(b',');
                }
                self.append_metadata(instance, &mut out)?;
            }
        }
        out.push(b']');
        Ok(out)
    }

    /// Opens the Part 10 file of an instance, its size compared with the record.
    pub fn object(&self, instance: &Instance) -> Result<File, CacheError> {
        if let Some(file) = self.object_ahead(instance)? {
            return Ok(file);
        }
        match File::open(self.folder.join(object_name(&instance.sop))) {
            Ok(file) => self.checked(instance, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.damaged(instance, None))
            }
            Err(error) => Err(CacheError::io("opening an object")(error)),
        }
    }

    fn object_ahead(&self, instance: &Instance) -> Result<Option<File>, CacheError> {
        let ahead = self.ahead.get(&instance.sop);
        let file = ahead.map(|ahead| ahead.file.try_clone()).transpose();
        file.map_err(CacheError::io("opening an object"))
    }

    /// The file, if it has the size that its record says.
    fn checked(&self, instance: &Instance, file: File) -> Result<File, CacheError> {
        let got = file.metadata().map_err(CacheError::io("opening an object"))?.len();
        if got == instance.bytes { Ok(file) } else { Err(self.damaged(instance, Some(got))) }
    }

    fn damaged(&self, instance: &Instance, got: Option<u64>) -> CacheError {
        self.suspects.add(&self.row().study);
        CacheError::ObjectDamaged {
            study: self.row().study.clone(),
            sop: instance.sop.clone(),
            got,
            expected: instance.bytes,
        }
    }

    /// The same, if the kernel knows the file already: never waits for the disk. `None`: it does
    /// not, or is too old to tell (Linux 5.12).
    pub fn object_at_once(&self, instance: &Instance) -> Result<Option<File>, CacheError> {
        if let Some(file) = self.object_ahead(instance)? {
            return Ok(Some(file));
        }
        let path = self.folder.join(object_name(&instance.sop));
        let Ok(path) = CString::new(path.into_os_string().into_vec()) else { return Ok(None) };
        // SAFETY: zeroes are a valid `open_how`: no flags, no mode, no way of resolving.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_CACHED;
        let size = size_of::<libc::open_how>();
        // SAFETY: the path ends with a zero, `how` is of the size that is named; both outlive the
        // call.
        let opened =
            unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &how, size) };
        if opened < 0 {
            return Ok(None);
        }
        // SAFETY: the kernel has just opened it for us alone.
        let file = unsafe { File::from_raw_fd(opened as RawFd) };
        self.checked(instance, file).map(Some)
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Estimate of the memory it holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        const INSTANCE: usize = size_of::<Instance>() + 96;
        const SERIES: usize = size_of::<SeriesRow>() + 1500;
        let pixels = self.instances.iter().filter_map(Instance::pixels).map(Pixels::memory);
        let pixels: usize = pixels.sum();
        2000 + self.instances.len() * INSTANCE + self.series.len() * SERIES + pixels
    }
}

/// A study being put together.
#[derive(Default)]
struct Building {
    row: Option<StudyRow>,
    series: Vec<SeriesRow>,
    instances: Vec<Instance>,
    /// Position in `series` of the last instance's: instances come series by series.
    last: usize,
}

impl Building {
    fn knows(&mut self, series: &Uid) -> bool {
        if self.series.get(self.last).is_some_and(|row| row.series == *series) {
            return true;
        }
        match self.series.iter().position(|row| row.series == *series) {
            Some(position) => {
                self.last = position;
                true
            }
            None => false,
        }
    }

    fn add(&mut self, arrived: &Arrived) {
        let Arrived { header, bytes, crc32, pixels, span } = arrived;
        if self.row.is_none() {
            self.row = Some(StudyRow::new(header));
        }
        if !self.knows(&header.series) {
            self.series.push(SeriesRow::new(header));
            self.last = self.series.len() - 1;
        }
        let (class, transfer_syntax) = self.shared(&header.class, &header.transfer_syntax);
        self.push(Instance {
            sop: header.sop.clone(),
            series: self.series[self.last].series.clone(),
            class,
            transfer_syntax,
            bytes: *bytes,
            crc32: *crc32,
            series_number: header.series_number,
            number: header.instance_number,
            rows: header.rows,
            columns: header.columns,
            frames: header.frames,
            pixels: pixels.cloned(),
            span: *span,
        });
    }

    /// Adds an instance of a series that has its row, without decoding its texts.
    fn add_known(&mut self, span: Span, record: &records::Record) {
        let (class, transfer_syntax) = self.shared(record.class, record.transfer_syntax);
        self.push(Instance {
            sop: record.sop.clone(),
            series: self.series[self.last].series.clone(),
            class,
            transfer_syntax,
            bytes: record.bytes,
            crc32: record.crc32,
            series_number: record.series_number,
            number: record.instance_number,
            rows: record.rows,
            columns: record.columns,
            frames: record.frames,
            pixels: record.pixels.clone(),
            span,
        });
    }

    fn push(&mut self, instance: Instance) {
        let row = &mut self.series[self.last];
        row.instances += 1;
        row.bytes += instance.bytes;
        self.instances.push(instance);
    }

    /// The same text as the instance before it, where it is the same.
    fn shared(&self, class: &str, syntax: &str) -> (Arc<str>, Arc<str>) {
        let last = self.instances.last();
        let same = |known: Option<&Arc<str>>, text: &str| match known {
            Some(known) if **known == *text => known.clone(),
            _ => text.into(),
        };
        (
            same(last.map(|last| &last.class), class),
            same(last.map(|last| &last.transfer_syntax), syntax),
        )
    }

    fn finish(mut self, folder: PathBuf, records: Option<Arc<File>>) -> Study {
        self.series.iter_mut().for_each(SeriesRow::refresh);
        self.series.sort_by(|a, b| (a.number, &a.series).cmp(&(b.number, &b.series)));
        self.instances.sort_by(|a, b| {
            (a.series_number, &a.series, a.number, &a.sop).cmp(&(
                b.series_number,
                &b.series,
                b.number,
                &b.sop,
            ))
        });
        let series = self.series;
        Study {
            folder,
            records,
            row: self.row.map(|row| Arc::new(row.with(&series))),
            series,
            instances: self.instances,
            by_sop: OnceLock::new(),
            extent: Extent { whole: 0, file: 0 },
            suspects: Arc::default(),
            ahead: HashMap::new(),
        }
    }
}
