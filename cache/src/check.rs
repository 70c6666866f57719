//! `verify`, `repair` and `rebuild`: what opens every object or every record.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::arrival::Checked;
use crate::cache::{Cache, Held};
use crate::dataset;
use crate::error::CacheError;
use crate::folder::{self, Room, STUDIES};
use crate::leaving::Mended;
use crate::limits::FINDINGS_MAX;
use crate::study::{Instance, Study};
use crate::uid::Uid;

/// What [`Cache::verify`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Study folders.
    pub studies: u64,
    /// Recorded instances whose object was opened.
    pub instances: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings in all.
    pub findings_count: u64,
    /// The first [`FINDINGS_MAX`] of them.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be. Says UIDs and numbers only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The message of each says what it is; fields are the UIDs and byte counts.
pub enum Finding {
    /// Also seen while the study arrives.
    #[error("study {study}: {bytes} bytes behind the last whole record")]
    TornRecords { study: Uid, bytes: u64 },
    /// Its records cannot be read at all.
    #[error("study {study}: records unreadable: {reason}")]
    UnreadableRecords { study: Uid, reason: String },
    /// Also seen while the study arrives; `rebuild` takes it in.
    #[error("study {study}: object {sop} has no record")]
    Unrecorded { study: Uid, sop: Uid },
    /// A recorded object's file is gone.
    #[error("study {study}: object {sop} is missing")]
    Missing { study: Uid, sop: Uid },
    /// A recorded object's file has another size.
    #[error("study {study}: object {sop} has {got} bytes instead of {expected}")]
    WrongSize { study: Uid, sop: Uid, got: u64, expected: u64 },
    /// Its bytes changed.
    #[error("study {study}: object {sop} has another checksum than recorded")]
    WrongChecksum { study: Uid, sop: Uid },
    /// Its header names another study, series or instance than its record.
    #[error("study {study}: object {sop} identifies itself as another")]
    WrongIdentifiers { study: Uid, sop: Uid },
    /// It cannot be opened or read.
    #[error("study {study}: object {sop} unreadable: {reason}")]
    Unreadable { study: Uid, sop: Uid, reason: String },
}

/// What [`Cache::measure`] counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Studies with at least one whole instance.
    pub studies: u64,
    /// Their series.
    pub series: u64,
    /// Their instances.
    pub instances: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// What [`Cache::rebuild`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Studies listed now.
    pub studies: u64,
    /// Instances listed now.
    pub instances: u64,
    /// Objects that had no record and have one now.
    pub adopted: u64,
    /// Objects without a record that are not whole or belong elsewhere; left as they are.
    pub refused: u64,
}

/// What [`Cache::repair`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// What was found.
    pub verified: VerifyReport,
    /// The studies that are not as they were recorded, with what was done.
    pub mended: Vec<(Uid, Mended)>,
}

impl Cache {
    /// Opens every object of a cache folder and compares it with its record: size, checksum,
    /// identifiers. Needs no lock: while studies arrive, their newest objects may be found
    /// without records. `progress` gets studies done and in all.
    pub fn verify(
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<VerifyReport, CacheError> {
        let studies = folder::studies(folder).map_err(CacheError::io("listing studies"))?;
        let mut report = VerifyReport::default();
        for (done, uid) in (1..).zip(&studies) {
            verify_study(folder, uid, &mut report, &mut |_| true)?;
            report.studies += 1;
            progress(done, studies.len() as u64);
        }
        Ok(report)
    }

    /// The same for one study of an open cache. `go_on` gets the bytes of each object when it was
    /// read and may wait; where it says no, the rest is not read.
    pub fn verify_study(
        &self,
        study: &Uid,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<VerifyReport, CacheError> {
        let mut report = VerifyReport { studies: 1, ..VerifyReport::default() };
        verify_study(&self.inner().folder, study, &mut report, go_on)?;
        Ok(report)
    }

    /// Verifies a whole cache folder and takes what is damaged out of it, so that it is never
    /// served. Needs the lock. `progress` gets studies done and in all.
    pub fn repair(
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<RepairReport, CacheError> {
        let cache = Cache::open(folder)?;
        cache.wait_for_rebuild();
        let studies = folder::studies(folder).map_err(CacheError::io("listing studies"))?;
        let mut report = RepairReport::default();
        for (done, uid) in (1..).zip(&studies) {
            let found = cache.verify_study(uid, &mut |_| true)?;
            if found.damaged() {
                report.mended.push((uid.clone(), cache.mend(uid, &found.findings)?));
            }
            report.verified.merge(found);
            progress(done, studies.len() as u64);
        }
        cache.close()?;
        Ok(report)
    }

    /// What a cache folder holds, from the study records alone. Needs no lock.
    pub fn held_in(folder: &Path) -> Result<Vec<Held>, CacheError> {
        let mut held = Vec::new();
        for uid in folder::studies(folder).map_err(CacheError::io("listing studies"))? {
            let path = folder.join(STUDIES).join(uid.as_str());
            if let Some(row) = Study::load(path.clone(), &uid)?.some_row() {
                held.push(Held::of(&path, row));
            }
        }
        Ok(held)
    }

    /// The room on a cache folder's disk. Needs no lock.
    pub fn room_in(folder: &Path) -> Result<Room, CacheError> {
        folder::room_in(folder)
    }

    /// Counts what a cache folder holds, from the study records alone. Needs no lock.
    pub fn measure(folder: &Path) -> Result<Measure, CacheError> {
        let mut measure = Measure::default();
        for uid in folder::studies(folder).map_err(CacheError::io("listing studies"))? {
            let study = Study::load(folder.join(STUDIES).join(uid.as_str()), &uid)?;
            measure.studies += u64::from(!study.instances().is_empty());
            measure.series += study.series().len() as u64;
            measure.instances += study.instances().len() as u64;
            measure.bytes += study.instances().iter().map(|one| one.bytes).sum::<u64>();
        }
        Ok(measure)
    }

    /// Drops the index and reads all study records again; whole objects without a record get
    /// one. Needs the lock. `progress` gets studies done and in all.
    pub fn rebuild(
        folder: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<RebuildReport, CacheError> {
        let cache = Cache::open_as(folder, false)?;
        let studies = folder::studies(folder).map_err(CacheError::io("listing studies"))?;
        let mut report = RebuildReport::default();
        for (done, uid) in (1..).zip(&studies) {
            adopt_objects(&cache, folder, uid, &mut report)?;
            progress(done, studies.len() as u64);
        }
        cache.wait_for_rebuild();
        let stats = cache.stats();
        report.studies = stats.studies;
        report.instances = stats.instances;
        cache.close()?;
        Ok(report)
    }
}

fn adopt_objects(
    cache: &Cache,
    folder: &Path,
    uid: &Uid,
    report: &mut RebuildReport,
) -> Result<(), CacheError> {
    let study = cache.study(uid)?;
    let path = folder.join(STUDIES).join(uid.as_str());
    let objects = folder::objects(&path).map_err(CacheError::io("listing objects"))?;
    let recorded = |sop: &Uid| study.as_ref().is_some_and(|study| study.instance(sop).is_some());
    let unrecorded: Vec<Uid> = objects.into_iter().filter(|sop| !recorded(sop)).collect();
    if unrecorded.is_empty() {
        return Ok(());
    }
    let mut arrival = cache.arrival(uid)?;
    for sop in &unrecorded {
        match arrival.adopt(sop)? {
            true => report.adopted += 1,
            false => report.refused += 1,
        }
    }
    arrival.seal().map(|_| ())
}

fn verify_study(
    folder: &Path,
    uid: &Uid,
    report: &mut VerifyReport,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(), CacheError> {
    let path = folder.join(STUDIES).join(uid.as_str());
    // Names first: an object that arrives later has its record read, not the other way round.
    let objects = match folder::objects(&path) {
        Ok(objects) => objects,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CacheError::io("listing objects")(error)),
    };
    let study = match Study::load(path.clone(), uid) {
        Ok(study) => study,
        Err(error) => {
            let reason = error.to_string();
            report.add(Finding::UnreadableRecords { study: uid.clone(), reason });
            return Ok(());
        }
    };
    let extent = study.extent();
    if extent.file > extent.whole {
        let bytes = extent.file - extent.whole;
        report.add(Finding::TornRecords { study: uid.clone(), bytes });
    }
    for sop in objects {
        if study.instance(&sop).is_none() {
            report.add(Finding::Unrecorded { study: uid.clone(), sop });
        }
    }
    for instance in study.instances() {
        let before = report.bytes;
        if let Some(finding) = verify_object(&study, uid, instance, report) {
            report.add(finding);
        }
        if !go_on(report.bytes - before) {
            break;
        }
    }
    Ok(())
}

pub(crate) fn verify_object(
    study: &Study,
    uid: &Uid,
    instance: &Instance,
    report: &mut VerifyReport,
) -> Option<Finding> {
    let (of, sop) = (uid.clone(), instance.sop.clone());
    report.instances += 1;
    let opened = study.object(instance).and_then(|file| Ok((Checked::read(&file)?, file)));
    let (checked, file): (Checked, File) = match opened {
        Ok(opened) => opened,
        Err(CacheError::ObjectDamaged { got: None, .. }) => {
            return Some(Finding::Missing { study: of, sop });
        }
        Err(CacheError::ObjectDamaged { got: Some(got), expected, .. }) => {
            return Some(Finding::WrongSize { study: of, sop, got, expected });
        }
        Err(error) => {
            return Some(Finding::Unreadable { study: of, sop, reason: error.to_string() });
        }
    };
    report.bytes += checked.bytes;
    if checked.crc32 != instance.crc32 {
        return Some(Finding::WrongChecksum { study: of, sop });
    }
    match dataset::read(&checked.head, Some(&file), checked.bytes, None) {
        Ok(read) => {
            let header = read.header;
            let same = header.study == of && header.sop == sop && header.series == instance.series;
            (!same).then_some(Finding::WrongIdentifiers { study: of, sop })
        }
        Err(error) => Some(Finding::Unreadable { study: of, sop, reason: error.to_string() }),
    }
}

impl Finding {
    /// The recorded instance whose object is not as recorded.
    pub(crate) fn damaged(&self) -> Option<&Uid> {
        match self {
            Finding::Missing { sop, .. }
            | Finding::WrongSize { sop, .. }
            | Finding::WrongChecksum { sop, .. }
            | Finding::WrongIdentifiers { sop, .. }
            | Finding::Unreadable { sop, .. } => Some(sop),
            Finding::TornRecords { .. }
            | Finding::UnreadableRecords { .. }
            | Finding::Unrecorded { .. } => None,
        }
    }
}

impl VerifyReport {
    /// Whether something is found that [`Cache::mend`] takes out: an object without a record is
    /// not listed anyway, and records of a newer version are left alone.
    pub fn damaged(&self) -> bool {
        let torn = |finding: &Finding| matches!(finding, Finding::TornRecords { .. });
        self.findings.iter().any(|finding| torn(finding) || finding.damaged().is_some())
    }

    fn merge(&mut self, other: VerifyReport) {
        self.studies += other.studies;
        self.instances += other.instances;
        self.bytes += other.bytes;
        self.findings_count += other.findings_count;
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
    }

    fn add(&mut self, finding: Finding) {
        self.findings_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}
