//! A source that speaks DICOM's own protocol: C-FIND for the search and the manifest, C-GET for the
//! objects (PS3.4 C, Study Root).
//!
//! What for: the archives of hospitals and of older clouds, which have no DICOMweb. What always
//! holds: an object is handed on as the peer sent it, and ended only when its last fragment came;
//! whether everything came is told by the peer's own list of instances, not by the status of a
//! C-GET, which some servers call a success although sub-operations failed.
//!
//! On the wire: before a series is got its instances are listed, for their SOP classes: an
//! association must name what it can receive before it begins, and one carries 128 contexts. Where
//! the classes of a series need more, their instances are asked for in groups, by lists of UIDs.
//! A peer that keeps the classes to itself is offered the common ones.
//! Refused: C-MOVE, for which the peer must be told a port of ours; guessing what failed from the
//! peer's words.
//! Start reading at the `impl Source`.

mod lines;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use forepost_cache::Uid;
use jiff::civil::Date;
use log::warn;
use tokio::time::{Instant, timeout};

use self::lines::{Line, Lines};
use super::account::{Account, Asked};
use super::dicom_json::{self, AnswerError, Page};
use super::handover::Handover;
use super::limits::{INSTANCES_MAX, LISTED_MAX, LISTED_WAIT, SERIES_MAX, STUDIES_MAX};
use super::options::{self, DimseOptions, OptionsError};
use super::pace::Pace;
use super::peer;
use crate::dicom::limits::UIDS_MAX;
use crate::dicom::services::{self, Arriving, Retrieval, Retrieved};
use crate::dicom::{COMMON_CLASSES, Level, Node, NodeWaits, Proposal, Query};
use crate::dicom::{file_head, packed, proposals};
use crate::fault::Fault;
use crate::model::{
    FoundStudy, ListedInstance, ListedSeries, Listing, Place, Registration, Wanted,
};
use crate::prefetch::{KnownAs, Lane, PatientKey, Source, Work};

const SOP_CLASS: u32 = 0x0008_0016;
const SOP_INSTANCE: u32 = 0x0008_0018;
const STUDY_DATE: u32 = 0x0008_0020;
const MODALITY: u32 = 0x0008_0060;
const PATIENT_ID: u32 = 0x0010_0020;
const PATIENT_ID_ISSUER: u32 = 0x0010_0021;
const STUDY: u32 = 0x0020_000d;
const SERIES: u32 = 0x0020_000e;
const INSTANCE_NUMBER: u32 = 0x0020_0013;
const SERIES_INSTANCES: u32 = 0x0020_1209;

/// What every archive knows of a study (PS3.4 C.6.2.1.2), and what most do.
const STUDY_FIELDS: &[u32] = &[
    0x0008_0030, // Study Time
    0x0008_0061, // Modalities in Study
    0x0008_1030, // Study Description
    0x0010_0010, // Patient's Name
    0x0010_0030, // Patient's Birth Date
    0x0010_0040, // Patient's Sex
    STUDY,
    0x0020_1208, // Number of Study Related Instances
];

/// What some archives tell of a study although it belongs to a series or an instance.
const STUDY_FIELDS_MORE: &[u32] = &[
    0x0008_0051, // Issuer of Accession Number Sequence
    0x0008_0080, // Institution Name
    0x0008_0082, // Institution Code Sequence
    0x0010_1010, // Patient's Age
    0x0018_0015, // Body Part Examined
];

/// The step of a fault of a C-GET whose sub-operations failed in part.
const PART_FAILED: &str = "part failed";

/// An archive.
pub struct DimseSource {
    name: String,
    patient_keys: Vec<PatientKey>,
    object_bytes_max: u64,
    search_wait: std::time::Duration,
    lines: Lines,
    pace: Option<Pace>,
    listed: Mutex<Remembered>,
}

impl DimseSource {
    /// Checks the options; nothing is connected yet.
    pub fn new(options: &DimseOptions) -> Result<DimseSource, OptionsError> {
        options::check(&options.patient_keys)?;
        Ok(DimseSource {
            name: options.name.clone(),
            patient_keys: options.patient_keys.clone(),
            object_bytes_max: options.object_bytes_max,
            search_wait: options.waits.search,
            lines: Lines::new(node(options)?, options.parallel.get()),
            pace: options.bytes_per_second.map(Pace::new),
            listed: Mutex::default(),
        })
    }

    /// Says goodbye on associations that wait for more to do.
    pub async fn end(&self) {
        self.lines.end().await;
    }

    async fn search_now(
        &self,
        registration: &Registration,
        since: Date,
    ) -> Result<Vec<FoundStudy>, Fault> {
        let patient = options::patient(&self.patient_keys, registration);
        let Some(KnownAs { patient, issuer }) = patient else {
            return Ok(Vec::new());
        };
        let mut query = Query::new(Level::Study)
            .key(PATIENT_ID, patient)
            .key(STUDY_DATE, format!("{}-", since.strftime("%Y%m%d")))
            .returning(STUDY_FIELDS);
        if let Some(issuer) = issuer {
            query = query.key(PATIENT_ID_ISSUER, issuer);
        }
        self.studies(query).await
    }

    async fn locate_now(&self, study: &Uid) -> Result<Option<FoundStudy>, Fault> {
        let query = Query::new(Level::Study).key(STUDY, study.as_str()).returning(STUDY_FIELDS);
        let found = self.studies(query).await?;
        Ok(found.into_iter().find(|one| one.study == *study))
    }

    async fn studies(&self, query: Query) -> Result<Vec<FoundStudy>, Fault> {
        let whole = query.clone().returning(STUDY_FIELDS_MORE);
        let read = |json: &[u8]| dicom_json::studies(json, &self.name);
        let answer = match self.rows("search", None, &whole, STUDIES_MAX, read).await {
            // Some archives refuse a key that they file under another level.
            Err(fault) if fault.step == "status" => {
                self.rows("search", None, &query, STUDIES_MAX, read).await?
            }
            answer => answer?,
        };
        let (mut studies, more) = answer;
        if more {
            self.dropped("limit", 1, "more studies than are read");
        }
        studies.iter_mut().for_each(|study| study.place.retrieve_url = None);
        Ok(studies)
    }

    async fn series_now(&self, study: &Uid) -> Result<Vec<ListedSeries>, Fault> {
        let query = Query::new(Level::Series).key(STUDY, study.as_str()).returning(&[
            SERIES,
            MODALITY,
            SERIES_INSTANCES,
        ]);
        let (series, more) =
            self.rows("series", Some(study), &query, SERIES_MAX, dicom_json::series).await?;
        if more {
            let detail = format!("a study of more than {SERIES_MAX} series");
            return Err(Fault::peer("too large", detail).for_good());
        }
        Ok(series)
    }

    async fn instances_now(
        &self,
        study: &Uid,
        listing: &Listing,
    ) -> Result<Vec<ListedInstance>, Fault> {
        let series = match listing {
            Listing::Series(series) => return Ok(self.list(study, series).await?.to_vec()),
            Listing::One(series) => {
                let listed = self.list(study, series).await?;
                return Ok(listed.get(listed.len() / 2).cloned().into_iter().collect());
            }
            Listing::Study => self.series_now(study).await?,
        };
        let mut instances = Vec::new();
        for one in series {
            instances.extend_from_slice(&self.list(study, &one.series).await?);
            if instances.len() > INSTANCES_MAX {
                let detail = format!("a study of more than {INSTANCES_MAX} instances");
                return Err(Fault::peer("too large", detail).for_good());
            }
        }
        Ok(instances)
    }

    /// The instances of a series, asked for now, and remembered for their classes.
    async fn list(&self, study: &Uid, series: &Uid) -> Result<Arc<[ListedInstance]>, Fault> {
        let query = Query::new(Level::Image)
            .key(STUDY, study.as_str())
            .key(SERIES, series.as_str())
            .returning(&[SOP_INSTANCE, SOP_CLASS, INSTANCE_NUMBER]);
        let read = dicom_json::instances;
        let (instances, more) =
            self.rows("instances", Some(study), &query, INSTANCES_MAX, read).await?;
        if more {
            let detail = format!("a series of more than {INSTANCES_MAX} instances");
            return Err(Fault::peer("too large", detail).for_good());
        }
        let instances: Arc<[ListedInstance]> = instances.into();
        self.remembered(|listed| listed.keep(series, Arc::clone(&instances)));
        Ok(instances)
    }

    fn remembered<T>(&self, work: impl FnOnce(&mut Remembered) -> T) -> T {
        // A memory that somebody panicked over is still only a memory.
        work(&mut self.listed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every match once; and whether the peer has more than are read.
    async fn rows<T>(
        &self,
        step: &'static str,
        study: Option<&Uid>,
        query: &Query,
        rows_max: usize,
        read: impl Fn(&[u8]) -> Result<Page<T>, AnswerError>,
    ) -> Result<(Vec<T>, bool), Fault> {
        let asked = Asked { step, method: "C-FIND", shape: query.level().name(), study };
        let mut account = Account::new(&self.name, self.lines.node().address.clone(), asked);
        let result = match self.find(query, rows_max, false).await {
            Err(Lost::Again) => self.find(query, rows_max, true).await.map_err(Lost::fault),
            Err(Lost::For(fault)) => Err(fault),
            Ok(found) => Ok(found),
        };
        let result = result.and_then(|(matches, more)| {
            account.count(matches.iter().map(|one| one.len() as u64).sum());
            let page = read(&joined(&matches))
                .map_err(|error| Fault::peer("broken answer", error.to_string()))?;
            if page.skipped > 0 {
                self.dropped("no UID", page.skipped, step);
            }
            Ok((page.rows, more))
        });
        account.close(&result);
        result
    }

    async fn find(
        &self,
        query: &Query,
        rows_max: usize,
        fresh: bool,
    ) -> Result<(Vec<Vec<u8>>, bool), Lost> {
        let proposals = [Proposal::service(services::FIND)];
        let mut line = self.lines.line(&proposals, fresh).await?;
        let work = services::find(&mut line.association, query, rows_max);
        let found = timeout(self.search_wait, work).await;
        let found =
            found.unwrap_or_else(|_| Err(Fault::peer("timeout", "the list did not end in time")));
        match found {
            Ok((matches, false)) => {
                self.lines.park(line);
                Ok((matches, false))
            }
            Ok((matches, true)) => {
                line.association.abort().await;
                Ok((matches, true))
            }
            Err(fault) => Err(Lost::after(fault, line, false).await),
        }
    }

    async fn retrieve_now(&self, study: &Uid, wanted: &Wanted, lane: &Lane) -> Result<(), Fault> {
        match wanted {
            Wanted::Series(series) => self.retrieve_of(study, series, None, lane).await,
            Wanted::Instance(series, sop) => self.retrieve_of(study, series, Some(sop), lane).await,
            Wanted::Study => {
                let series = self.series_now(study).await?;
                if series.is_empty() {
                    return Err(Fault::peer("absent", "the place has no such study").for_good());
                }
                for one in series {
                    self.retrieve_of(study, &one.series, None, lane).await?;
                }
                Ok(())
            }
        }
    }

    /// A series, or one instance of it.
    async fn retrieve_of(
        &self,
        study: &Uid,
        series: &Uid,
        sop: Option<&Uid>,
        lane: &Lane,
    ) -> Result<(), Fault> {
        let listed = match self.remembered(|listed| listed.of(series)) {
            Some(listed) => listed,
            None => self.list(study, series).await?,
        };
        let mut due: Vec<&ListedInstance> =
            listed.iter().filter(|one| sop.is_none_or(|sop| one.sop == *sop)).collect();
        if due.is_empty() {
            self.remembered(|listed| listed.forget(series));
            return Err(Fault::peer("absent", "the place lists nothing of it").for_good());
        }
        let (all, groups) = (due.len(), packed(&classes(&due)));
        let mut handover = Handover::new(lane, self.object_bytes_max);
        let mut arrived = HashSet::new();
        for group in &groups {
            let in_group =
                |one: &&&ListedInstance| one.class.is_empty() || group.contains(&one.class);
            let now: Vec<&Uid> = due.iter().filter(in_group).map(|one| &one.sop).collect();
            let keys =
                Query::new(Level::Image).key(STUDY, study.as_str()).key(SERIES, series.as_str());
            let queries: Vec<Query> = if groups.len() == 1 && sop.is_none() {
                let series_keys = Query::new(Level::Series);
                vec![series_keys.key(STUDY, study.as_str()).key(SERIES, series.as_str())]
            } else {
                now.chunks(UIDS_MAX)
                    .map(|sops| keys.clone().key(SOP_INSTANCE, list(sops)))
                    .collect()
            };
            for query in queries {
                self.get(study, group, &query, &mut handover, &mut arrived).await?;
            }
            due.retain(|one| !arrived.contains(&one.sop));
        }
        if due.is_empty() {
            return Ok(());
        }
        self.remembered(|listed| listed.forget(series));
        let detail = format!("{} of {all} objects of a series did not come", due.len());
        Err(Fault::peer(PART_FAILED, detail))
    }

    /// One C-GET. Objects that came whole are handed on whatever becomes of the rest.
    async fn get(
        &self,
        study: &Uid,
        group: &[String],
        query: &Query,
        handover: &mut Handover<'_>,
        arrived: &mut HashSet<Uid>,
    ) -> Result<(), Fault> {
        // With C-FIND beside it, the list of the next series needs no other association.
        let mut contexts =
            vec![Proposal::service(services::GET), Proposal::service(services::FIND)];
        contexts.extend(proposals(group));
        let shape = query.level().name();
        let asked = Asked { step: "retrieve", method: "C-GET", shape, study: Some(study) };
        let host = self.lines.node().address.clone();
        let mut account = Account::new(&self.name, host, asked);
        let mut result = Err(Lost::Again);
        for fresh in [false, true] {
            if matches!(result, Err(Lost::Again)) {
                result = match self.lines.line(&contexts, fresh).await {
                    Ok(line) => self.get_on(line, query, handover, arrived, &mut account).await,
                    Err(fault) => Err(Lost::For(fault)),
                };
            }
        }
        let result = result.map_err(Lost::fault);
        match &result {
            Ok(retrieved) if retrieved.failed > 0 => account.outcome = PART_FAILED,
            result => account.close(result),
        }
        result.map(|_| ())
    }

    async fn get_on(
        &self,
        mut line: Line,
        query: &Query,
        handover: &mut Handover<'_>,
        arrived: &mut HashSet<Uid>,
        account: &mut Account,
    ) -> Result<Retrieved, Lost> {
        let before = handover.objects();
        match self.take(&mut line, query, handover, arrived, account).await {
            Ok(retrieved) => {
                self.lines.park(line);
                Ok(retrieved)
            }
            Err(fault) => {
                let begun = handover.objects() > before || handover.object_bytes() > 0;
                Err(Lost::after(fault, line, begun).await)
            }
        }
    }

    async fn take(
        &self,
        line: &mut Line,
        query: &Query,
        handover: &mut Handover<'_>,
        arrived: &mut HashSet<Uid>,
        account: &mut Account,
    ) -> Result<Retrieved, Fault> {
        let mut retrieval = Retrieval::begin(&mut line.association, query).await?;
        let mut coming = None;
        loop {
            match retrieval.next().await? {
                Arriving::Object(object) => {
                    handover.begin().await?;
                    let source = &self.lines.node().called;
                    let (class, syntax) = (&object.class, &object.syntax);
                    let head = file_head(class, &object.instance, syntax, source)?;
                    handover.bytes(head.into()).await?;
                    coming = Some(object.instance);
                }
                Arriving::Bytes(bytes) => self.pass(bytes, handover, account).await?,
                Arriving::End => {
                    handover.end().await?;
                    arrived.extend(coming.take());
                }
                Arriving::Done(retrieved) => {
                    account.status = retrieved.status;
                    return Ok(retrieved);
                }
            }
        }
    }

    async fn pass(
        &self,
        bytes: Bytes,
        handover: &mut Handover<'_>,
        account: &mut Account,
    ) -> Result<(), Fault> {
        account.count(bytes.len() as u64);
        if let Some(pace) = &self.pace {
            pace.pass(bytes.len()).await;
        }
        handover.bytes(bytes).await
    }

    /// Counts matches that are not used, and says why.
    fn dropped(&self, reason: &'static str, rows: usize, detail: &str) {
        let labels = [("source", self.name.clone()), ("reason", reason.to_owned())];
        metrics::counter!("upstream_rows_dropped_total", &labels).increment(rows as u64);
        warn!(source = self.name.as_str(), reason, rows, detail; "dropped rows of an answer");
    }
}

impl Source for DimseSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn search<'a>(
        &'a self,
        registration: &'a Registration,
        since: Date,
    ) -> Work<'a, Vec<FoundStudy>> {
        Box::pin(self.search_now(registration, since))
    }

    fn locate<'a>(&'a self, study: &'a Uid) -> Work<'a, Option<FoundStudy>> {
        Box::pin(self.locate_now(study))
    }

    fn understands(&self, registration: &Registration) -> bool {
        options::patient(&self.patient_keys, registration).is_some()
    }

    fn series<'a>(&'a self, _: &'a Place, study: &'a Uid) -> Work<'a, Vec<ListedSeries>> {
        Box::pin(self.series_now(study))
    }

    fn instances<'a>(
        &'a self,
        _: &'a Place,
        study: &'a Uid,
        listing: &'a Listing,
    ) -> Work<'a, Vec<ListedInstance>> {
        Box::pin(self.instances_now(study, listing))
    }

    fn retrieve<'a>(
        &'a self,
        _: &'a Place,
        study: &'a Uid,
        wanted: &'a Wanted,
        lane: &'a Lane,
    ) -> Work<'a, ()> {
        Box::pin(self.retrieve_now(study, wanted, lane))
    }
}

/// The peer as the options describe it.
pub fn node(options: &DimseOptions) -> Result<Node, OptionsError> {
    let tls = match &options.tls {
        None => None,
        Some(tls) => {
            let certificate = tls.client_certificate.as_ref();
            Some(Arc::new(peer::tls(&tls.authorities_pem, certificate)?))
        }
    };
    let waits = &options.waits;
    Ok(Node {
        address: options.address.clone(),
        called: options.called.clone(),
        calling: options.calling.clone(),
        tls,
        waits: NodeWaits { connect: waits.connect, associate: waits.head, idle: waits.idle },
    })
}

/// What became of a request that failed.
enum Lost {
    /// The peer had ended a parked association; a new one may serve.
    Again,
    /// It failed.
    For(Fault),
}

impl Lost {
    /// Ends the line. An association that was parked and gave nothing is given another chance.
    async fn after(fault: Fault, line: Line, begun: bool) -> Lost {
        let ended = matches!(fault.step, "connection lost" | "aborted");
        let again = line.reused && !begun && ended;
        line.association.abort().await;
        if again { Lost::Again } else { Lost::For(fault) }
    }

    fn fault(self) -> Fault {
        match self {
            Lost::Again => Fault::peer("connection lost", "the peer ends its associations at once"),
            Lost::For(fault) => fault,
        }
    }
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Lost {
        Lost::For(fault)
    }
}

/// The instances of series that were listed a moment ago.
#[derive(Default)]
struct Remembered {
    series: HashMap<Uid, (Instant, Arc<[ListedInstance]>)>,
    instances: usize,
}

impl Remembered {
    fn keep(&mut self, series: &Uid, listed: Arc<[ListedInstance]>) {
        self.forget(series);
        if self.instances + listed.len() > LISTED_MAX {
            // What is forgotten is asked for again.
            *self = Remembered::default();
        }
        self.instances += listed.len();
        self.series.insert(series.clone(), (Instant::now(), listed));
    }

    fn of(&mut self, series: &Uid) -> Option<Arc<[ListedInstance]>> {
        let (since, listed) = self.series.get(series)?;
        (since.elapsed() < LISTED_WAIT).then(|| Arc::clone(listed))
    }

    fn forget(&mut self, series: &Uid) {
        if let Some((_, listed)) = self.series.remove(series) {
            self.instances -= listed.len();
        }
    }
}

/// The classes to be received, those of the peer's list first.
fn classes(due: &[&ListedInstance]) -> Vec<String> {
    let mut classes: Vec<String> = Vec::new();
    let mut unknown = false;
    for one in due {
        match one.class.as_str() {
            "" => unknown = true,
            class if classes.iter().any(|known| known == class) => {}
            class => classes.push(class.to_owned()),
        }
    }
    if unknown {
        let more: Vec<&str> = COMMON_CLASSES
            .iter()
            .copied()
            .filter(|one| !classes.iter().any(|c| c == one))
            .collect();
        classes.extend(more.into_iter().map(str::to_owned));
    }
    classes
}

/// A list of UIDs (PS3.4 C.2.2.2.2).
fn list(sops: &[&Uid]) -> String {
    sops.iter().map(|sop| sop.as_str()).collect::<Vec<_>>().join("\\")
}

/// Matches as one JSON array. One that cannot be read is an empty row, which is counted as dropped.
fn joined(matches: &[Vec<u8>]) -> Vec<u8> {
    let mut json = vec![b'['];
    for (at, one) in matches.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        match forepost_cache::implicit_json(one) {
            Ok(row) => json.extend_from_slice(&row),
            Err(_) => json.extend_from_slice(b"{}"),
        }
    }
    json.push(b']');
    json
}
