//! A source that speaks DICOMweb: QIDO-RS for the search and the manifest, WADO-RS for the objects
//! (PS3.18 10.6, 10.4).
//!
//! What for: regional clouds and national indexes, as the field's archives speak. What always
//! holds: a study is asked for only at the source's own origin or at a listed host; an answer is
//! complete or a fault, never silently short; what came whole before a fault has been handed on.
//! On the wire: pages of rows until a page brings nothing new, because servers disagree on `limit`
//! and `offset`; objects as one multipart body in any transfer syntax, in the order of the server.
//! Refused: taking a body's end for its completeness. Orthanc ends a study by closing the
//! connection, with neither a length nor chunks, so only the closing delimiter proves it whole.
//! Start reading at the `impl Source`.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use forepost_cache::Uid;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::civil::Date;
use log::warn;
use reqwest::Url;
use tokio::time::Instant;

use super::dicom_json::{self, AnswerError, INSTANCE_FIELDS, Page, SERIES_FIELDS, STUDY_FIELDS};
use super::handover::Handover;
use super::limits::{
    ANSWER_BYTES_MAX, EPILOGUE_BYTES_MAX, EPILOGUE_WAIT, INSTANCES_MAX, MANIFEST_PAGE_ROWS,
    PAGES_MAX, SEARCH_PAGE_ROWS, SERIES_MAX, STUDIES_MAX,
};
use super::options::{self, DicomwebOptions, OptionsError};
use super::peer::{self, Answer, Ask, Peer};
use super::platform::Seal;
use crate::codec::multipart::{Event, MediaType, MultipartError, Reader};
use crate::fault::Fault;
use crate::model::{
    Doctor, FoundStudy, ListedInstance, ListedSeries, Listing, Place, Registration, Wanted,
};
use crate::prefetch::{KnownAs, Lane, PatientKey, Source, Work};

/// PS3.18 10.6.1.4: what a search answers with.
/// A UID that was made for this question and given to no study (PS3.5 B.2).
const NOBODYS_STUDY: &str = "2.25.233271419812049683127735909114057262111";

const JSON: &str = "application/dicom+json, application/json;q=0.5";
/// PS3.18 8.7.3.5.2: as stored, whatever the transfer syntax.
const OBJECTS: &str = r#"multipart/related; type="application/dicom"; transfer-syntax=*"#;

/// Headers by which a source is told who reads: the doctor's national code, its type, and the
/// identity number under the source's SM2 key. Ours: no standard has any.
const READER_CODE: HeaderName = HeaderName::from_static("x-reader-code");
const READER_TYPE: HeaderName = HeaderName::from_static("x-reader-type");
const READER_ID: HeaderName = HeaderName::from_static("x-reader-id");

/// A DICOMweb server and the hosts that it may point to.
#[derive(Clone)]
pub struct DicomwebSource {
    name: String,
    base: Url,
    index: bool,
    patient_keys: Vec<PatientKey>,
    object_bytes_max: u64,
    search_wait: std::time::Duration,
    peer: Arc<Peer>,
    asks_reader: bool,
    seal: Option<Seal>,
    /// Who reads, where it is asked for somebody.
    reader: Option<HeaderMap>,
}

impl DicomwebSource {
    /// Checks the options and prepares the clients; nothing is connected yet.
    pub fn new(options: &DicomwebOptions) -> Result<DicomwebSource, OptionsError> {
        let base = base(&options.base_url)?;
        options::check(&options.patient_keys)?;
        Ok(DicomwebSource {
            name: options.name.clone(),
            peer: Arc::new(Peer::new(options, &base)?),
            base,
            index: options.index,
            patient_keys: options.patient_keys.clone(),
            object_bytes_max: options.object_bytes_max,
            search_wait: options.waits.search,
            asks_reader: options.reader,
            seal: options.seal.clone(),
            reader: None,
        })
    }

    /// What the source is told of a doctor; what is not known is left out. Code and type in percent
    /// signs, as far as they are not plain letters and digits.
    fn headers_of(&self, doctor: &Doctor) -> HeaderMap {
        let number = match &self.seal {
            Some(seal) if !doctor.id_number.is_empty() => {
                seal.text(&doctor.id_number).unwrap_or_else(|fault| {
                    let source = self.name.as_str();
                    log::error!(source; "who reads is told without the number: {fault}");
                    String::new()
                })
            }
            _ => String::new(),
        };
        let texts = [
            (READER_CODE, encoded(&doctor.code)),
            (READER_TYPE, encoded(&doctor.kind)),
            (READER_ID, number),
        ];
        let told = texts.into_iter().filter(|(_, text)| !text.is_empty());
        told.filter_map(|(name, text)| {
            let mut value = HeaderValue::from_str(&text).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
    }

    /// Asks for one study that nobody has, for `doctor`; says how many rows came all the same.
    pub async fn probe(&self) -> Result<usize, Fault> {
        let deadline = Instant::now() + self.search_wait;
        let pages = Pages {
            step: "search",
            url: under(self.base.clone(), &["studies"]),
            query: format!("StudyInstanceUID={NOBODYS_STUDY}"),
            shape: "/studies?…",
            study: None,
            page_rows: 1,
            pages_max: 1,
            rows_max: 1,
        };
        let mut answer = self.peer.ask(pages.ask(0, deadline)).await?;
        let page = page(&mut answer, |body| dicom_json::studies(body, &self.name)).await;
        Ok(answer.close(page)?.received)
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
        let mut query = format!("PatientID={}", encoded(&patient));
        if let Some(issuer) = issuer {
            query.push_str(&format!("&IssuerOfPatientID={}", encoded(&issuer)));
        }
        query.push_str(&format!("&StudyDate={}-", since.strftime("%Y%m%d")));
        self.studies(query).await
    }

    async fn locate_now(&self, study: &Uid) -> Result<Option<FoundStudy>, Fault> {
        let found = self.studies(format!("StudyInstanceUID={}", study.as_str())).await?;
        // A server that does not know the key answers with every study that it has.
        Ok(found.into_iter().find(|one| one.study == *study))
    }

    /// The studies that a query finds, as far as they can be had.
    async fn studies(&self, mut query: String) -> Result<Vec<FoundStudy>, Fault> {
        query.push_str(&format!("&includefield={}", STUDY_FIELDS.join(",")));
        let pages = Pages {
            step: "search",
            url: under(self.base.clone(), &["studies"]),
            query,
            shape: "/studies?…",
            study: None,
            page_rows: SEARCH_PAGE_ROWS,
            pages_max: PAGES_MAX,
            rows_max: STUDIES_MAX,
        };
        let read = |body: &[u8]| dicom_json::studies(body, &self.name);
        let key = |study: &FoundStudy| (study.study.clone(), study.place.retrieve_url.clone());
        let (mut studies, more) = self.rows(pages, read, key).await?;
        if more {
            self.dropped("limit", 1, "more studies than are read");
        }
        studies.truncate(STUDIES_MAX);
        Ok(studies.into_iter().filter_map(|study| self.placed(study)).collect())
    }

    /// The study with the place where it is had; `None` when that is nowhere we may go.
    fn placed(&self, mut study: FoundStudy) -> Option<FoundStudy> {
        let url = study.place.retrieve_url.take();
        let url = url.map(|text| Url::parse(&text));
        if !self.index {
            // The source serves it; another host is taken only where one is listed.
            let url = url.and_then(Result::ok).filter(|url| self.peer.reaches_other(url));
            study.place.retrieve_url = url.map(String::from);
            return Some(study);
        }
        match url {
            Some(Ok(url)) if self.peer.reaches(&url) => {
                study.place.retrieve_url = Some(url.into());
                return Some(study);
            }
            Some(Ok(url)) => self.dropped("unlisted host", 1, &peer::host(&url)),
            Some(Err(_)) => self.dropped("no address", 1, "its retrieve URL is none"),
            None => self.dropped("no address", 1, "an index without a retrieve URL"),
        }
        None
    }

    /// Counts rows that are not used, and says why.
    fn dropped(&self, reason: &'static str, rows: usize, detail: &str) {
        let labels = [("source", self.name.clone()), ("reason", reason.to_owned())];
        metrics::counter!("upstream_rows_dropped_total", &labels).increment(rows as u64);
        warn!(source = self.name.as_str(), reason, rows, detail; "dropped rows of an answer");
    }

    async fn series_now(&self, place: &Place, study: &Uid) -> Result<Vec<ListedSeries>, Fault> {
        let pages = Pages {
            step: "series",
            url: under(self.study_url(place, study)?, &["series"]),
            query: format!("includefield={}", SERIES_FIELDS.join(",")),
            shape: "/studies/{study}/series?…",
            study: Some(study),
            page_rows: SEARCH_PAGE_ROWS,
            pages_max: PAGES_MAX,
            rows_max: SERIES_MAX,
        };
        let key = |listed: &ListedSeries| listed.series.clone();
        let (series, more) = self.rows(pages, dicom_json::series, key).await?;
        if more {
            let detail = format!("a study of more than {SERIES_MAX} series");
            return Err(Fault::peer("too large", detail).for_good());
        }
        Ok(series)
    }

    async fn instances_now(
        &self,
        place: &Place,
        study: &Uid,
        listing: &Listing,
    ) -> Result<Vec<ListedInstance>, Fault> {
        let url = self.study_url(place, study)?;
        let (path, shape) = match listing {
            Listing::Study => (vec!["instances"], "/studies/{study}/instances?…"),
            Listing::Series(series) | Listing::One(series) => (
                vec!["series", series.as_str(), "instances"],
                "/studies/{study}/series/{series}/instances?…",
            ),
        };
        let one = matches!(listing, Listing::One(_));
        let pages = Pages {
            step: "instances",
            url: under(url, &path),
            query: format!("includefield={}", INSTANCE_FIELDS.join(",")),
            shape,
            study: Some(study),
            page_rows: if one { 1 } else { MANIFEST_PAGE_ROWS },
            pages_max: if one { 1 } else { PAGES_MAX },
            rows_max: INSTANCES_MAX,
        };
        let key = |instance: &ListedInstance| instance.sop.clone();
        let (instances, more) = self.rows(pages, dicom_json::instances, key).await?;
        if (more && !one) || instances.len() > INSTANCES_MAX {
            let detail = format!("a study of more than {INSTANCES_MAX} instances");
            return Err(Fault::peer("too large", detail).for_good());
        }
        Ok(instances)
    }

    /// Every row of all pages, once each; and whether the server has more than are read.
    async fn rows<T, K: Eq + Hash>(
        &self,
        pages: Pages<'_>,
        read: impl Fn(&[u8]) -> Result<Page<T>, AnswerError>,
        key: impl Fn(&T) -> K,
    ) -> Result<(Vec<T>, bool), Fault> {
        let _permit = self.peer.permit().await;
        let deadline = Instant::now() + self.search_wait;
        let (mut rows, mut seen, mut offset) = (Vec::new(), HashSet::new(), 0);
        for _ in 0..pages.pages_max {
            let ask = Ask { reader: self.reader.as_ref(), ..pages.ask(offset, deadline) };
            let mut answer = self.peer.ask(ask).await?;
            let page = page(&mut answer, &read).await;
            let warned = answer.warns_of_more();
            let page = answer.close(page)?;
            if page.skipped > 0 {
                self.dropped("no UID", page.skipped, pages.step);
            }
            let unread = page.received > page.rows.len() + page.skipped;
            let known = rows.len();
            rows.extend(page.rows.into_iter().filter(|row| seen.insert(key(row))));
            if unread || rows.len() > pages.rows_max {
                return Ok((rows, true));
            }
            offset += page.received;
            // Nothing new: the server disregards the offset. Fewer than asked for: the end, unless
            // it says that it cuts pages. More: it does not page, and this was everything.
            let new = rows.len() > known;
            if !(new && (page.received == pages.page_rows || warned)) {
                return Ok((rows, false));
            }
        }
        Ok((rows, true))
    }

    async fn retrieve_now(
        &self,
        place: &Place,
        study: &Uid,
        wanted: &Wanted,
        lane: &Lane,
    ) -> Result<(), Fault> {
        let study_url = self.study_url(place, study)?;
        let (url, shape) = match wanted {
            Wanted::Study => (study_url, "/studies/{study}"),
            Wanted::Series(series) => {
                (under(study_url, &["series", series.as_str()]), "/studies/{study}/series/{series}")
            }
            Wanted::Instance(series, sop) => (
                under(study_url, &["series", series.as_str(), "instances", sop.as_str()]),
                "/studies/{study}/series/{series}/instances/{instance}",
            ),
        };
        let _permit = self.peer.permit().await;
        let (step, accept, study) = ("retrieve", OBJECTS, Some(study));
        let reader = self.reader.as_ref();
        let ask = Ask { step, url, shape, study, accept, reader, deadline: None };
        let mut answer = self.peer.ask(ask).await?;
        let result = self.objects(&mut answer, lane).await;
        answer.close(result)
    }

    /// Hands on the objects of an answer.
    async fn objects(&self, answer: &mut Answer, lane: &Lane) -> Result<(), Fault> {
        if answer.no_content() {
            return Err(Fault::peer("absent", "status 204").for_good());
        }
        let media = answer.media_type();
        let mut intake = Intake::new(self, lane);
        match media.essence.as_str() {
            "multipart/related" => {
                let boundary = media.parameter("boundary").unwrap_or("");
                let reader = Reader::new(boundary).map_err(|error| broken(&error))?;
                intake.multipart(answer, reader).await
            }
            "application/dicom" if answer.framed() => intake.single(answer).await,
            "application/dicom" => {
                Err(Fault::peer("half a body", "a single object whose end cannot be proven"))
            }
            _ => Err(wrong_type(&media)),
        }
    }

    /// Where the study lies, without a slash at the end. A stored place is judged again: the list
    /// of hosts may have changed.
    fn study_url(&self, place: &Place, study: &Uid) -> Result<Url, Fault> {
        let Some(text) = &place.retrieve_url else {
            return Ok(under(self.base.clone(), &["studies", study.as_str()]));
        };
        let url = Url::parse(text)
            .map_err(|error| Fault::ours("no address", error.to_string()).for_good())?;
        if self.peer.reaches(&url) { Ok(url) } else { Err(peer::unlisted(&url)) }
    }
}

impl Source for DicomwebSource {
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

    fn for_reader(&self, doctor: &Doctor) -> Option<Arc<dyn Source>> {
        let headers = self.asks_reader.then(|| self.headers_of(doctor))?;
        if headers.is_empty() {
            return None;
        }
        Some(Arc::new(DicomwebSource { reader: Some(headers), ..self.clone() }))
    }

    fn series<'a>(&'a self, place: &'a Place, study: &'a Uid) -> Work<'a, Vec<ListedSeries>> {
        Box::pin(self.series_now(place, study))
    }

    fn instances<'a>(
        &'a self,
        place: &'a Place,
        study: &'a Uid,
        listing: &'a Listing,
    ) -> Work<'a, Vec<ListedInstance>> {
        Box::pin(self.instances_now(place, study, listing))
    }

    fn retrieve<'a>(
        &'a self,
        place: &'a Place,
        study: &'a Uid,
        wanted: &'a Wanted,
        lane: &'a Lane,
    ) -> Work<'a, ()> {
        Box::pin(self.retrieve_now(place, study, wanted, lane))
    }
}

/// A search over pages.
struct Pages<'a> {
    step: &'static str,
    url: Url,
    query: String,
    shape: &'static str,
    study: Option<&'a Uid>,
    page_rows: usize,
    pages_max: usize,
    rows_max: usize,
}

impl<'a> Pages<'a> {
    fn ask(&self, offset: usize, deadline: Instant) -> Ask<'a> {
        let mut url = self.url.clone();
        // A Retrieve URL may carry a query of its own, a signature for example.
        let own = url.query().map_or_else(String::new, |query| format!("{query}&"));
        let (query, limit) = (&self.query, self.page_rows);
        url.set_query(Some(&format!("{own}{query}&limit={limit}&offset={offset}")));
        let deadline = Some(deadline);
        let (step, shape, study) = (self.step, self.shape, self.study);
        Ask { step, url, shape, study, accept: JSON, reader: None, deadline }
    }
}

/// Reads one page.
async fn page<T>(
    answer: &mut Answer,
    read: impl Fn(&[u8]) -> Result<Page<T>, AnswerError>,
) -> Result<Page<T>, Fault> {
    let media = answer.media_type();
    let body = answer.body(ANSWER_BYTES_MAX).await?;
    let json = ["application/dicom+json", "application/json", ""];
    if !body.is_empty() && !json.contains(&media.essence.as_str()) {
        return Err(wrong_type(&media));
    }
    read(&body).map_err(|error| Fault::peer("broken answer", error.to_string()))
}

/// The way of objects from one answer into the lane.
struct Intake<'a> {
    source: &'a DicomwebSource,
    handover: Handover<'a>,
}

impl<'a> Intake<'a> {
    fn new(source: &'a DicomwebSource, lane: &'a Lane) -> Intake<'a> {
        Intake { source, handover: Handover::new(lane, source.object_bytes_max) }
    }

    async fn multipart(&mut self, answer: &mut Answer, mut reader: Reader) -> Result<(), Fault> {
        while !reader.finished() {
            let Some(chunk) = answer.chunk().await? else {
                return reader.end().map_err(|error| broken(&error));
            };
            self.source.peer.pass(chunk.len()).await;
            reader.feed(chunk);
            while let Some(event) = reader.event().map_err(|error| broken(&error))? {
                match event {
                    Event::PartStart { content_type } => {
                        let media = MediaType::parse(&content_type);
                        if !matches!(media.essence.as_str(), "application/dicom" | "") {
                            return Err(wrong_type(&media));
                        }
                        self.handover.begin().await?;
                    }
                    Event::Data(bytes) => self.handover.bytes(bytes).await?,
                    Event::PartEnd => self.handover.end().await?,
                    Event::Finished => {}
                }
            }
        }
        answer.drain(EPILOGUE_BYTES_MAX, EPILOGUE_WAIT).await;
        if self.handover.objects() == 0 {
            return Err(Fault::peer("absent", "a body without a part"));
        }
        Ok(())
    }

    /// PS3.18 8.7.3.2: some servers give a single instance without the envelope.
    async fn single(&mut self, answer: &mut Answer) -> Result<(), Fault> {
        self.handover.begin().await?;
        while let Some(chunk) = answer.chunk().await? {
            self.source.peer.pass(chunk.len()).await;
            self.handover.bytes(chunk).await?;
        }
        if self.handover.object_bytes() == 0 {
            return Err(Fault::peer("absent", "an empty body"));
        }
        self.handover.end().await
    }
}

fn broken(error: &MultipartError) -> Fault {
    let step = match error {
        MultipartError::Truncated { .. } => "half a body",
        MultipartError::Boundary { .. }
        | MultipartError::DelimiterLine { .. }
        | MultipartError::HeaderTooLong { .. } => "broken body",
    };
    Fault::peer(step, error.to_string())
}

/// Names the type only when it is one: a peer's text goes to the log.
fn wrong_type(media: &MediaType) -> Fault {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"/+.-".contains(&byte);
    let essence = &media.essence;
    let named = !essence.is_empty() && essence.len() <= 80 && essence.bytes().all(token);
    Fault::peer("wrong type", if named { essence.as_str() } else { "no media type" })
}

fn base(text: &str) -> Result<Url, OptionsError> {
    let refused = || OptionsError::BaseUrl { got: peer::without_user(text) };
    let url = Url::parse(text).map_err(|_| refused())?;
    let bare = url.query().is_none() && url.fragment().is_none();
    if peer::plain(&url) && bare { Ok(url) } else { Err(refused()) }
}

/// The URL with segments behind its path; its query stays.
fn under(mut url: Url, segments: &[&str]) -> Url {
    url.path_segments_mut()
        .expect("http and https URLs have a path")
        .pop_if_empty()
        .extend(segments);
    url
}

/// RFC 3986, 2.1 and 2.3. Not the encoding of forms: servers differ on `+`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests;
