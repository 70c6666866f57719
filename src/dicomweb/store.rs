//! STOW-RS (PS3.18 10.5): objects in, and the word about each of them.
//!
//! What must hold: the answer leaves when the fate of every object is on the disk; a body is read
//! in pieces, however long it is; a sender that is silent or creeps is let go. The statuses are
//! those of PS3.18 table 10.5.3-1, the reasons those of PS3.7 C and PS3.4 B.2.3.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use forepost_cache::Uid;
use forepost_cache::dicom_json::ObjectWriter;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::limits::{SENDER_BYTES_MIN, SENDER_WAIT, STORE_PIECE_BYTES_MIN};
use super::reply::DicomwebError;
use super::{Server, accept, accept_parameter, own_base, respond};
use crate::codec::multipart::{Event, MediaType, MultipartError, Reader};
use crate::fault::Fault;
use crate::ledger::AccessKind;
use crate::prefetch::Piece;
use crate::storage::{Kept, Named, OBJECTS_MAX, Outcome, Receiving, Refusal, Storage};

/// Referenced SOP Class UID.
const CLASS: u32 = 0x0008_1150;
/// Referenced SOP Instance UID.
const INSTANCE: u32 = 0x0008_1155;
/// Retrieve URL.
const RETRIEVE_URL: u32 = 0x0008_1190;
/// Failure Reason.
const FAILURE_REASON: u32 = 0x0008_1197;
/// Failed SOP Sequence.
const FAILED: u32 = 0x0008_1198;
/// Referenced SOP Sequence.
const STORED: u32 = 0x0008_1199;
/// Other Failures Sequence: of objects that cannot be named.
const OTHER_FAILURES: u32 = 0x0008_119a;

/// Why objects that were sent are not taken, all of them together.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// A caller that may see images and not put any here.
    #[error("caller may not store")]
    MayNotStore,
    /// A body that is neither objects nor one object.
    #[error("body of another media type")]
    MediaType,
    /// The body cannot be read as what it says it is.
    #[error("broken body: {0}")]
    Body(MultipartError),
    /// A body without objects.
    #[error("no object in the body")]
    NoObject,
    /// More objects than one request may bring.
    #[error("more than {OBJECTS_MAX} objects in one request")]
    TooManyObjects,
    /// The body ended before its end, with the connection.
    #[error("the body broke off: {0}")]
    BrokeOff(axum::Error),
    /// The sender is too slow, or silent.
    #[error("the body comes too slowly")]
    Slow,
    /// As many senders are sending as may.
    #[error("too many senders at once")]
    Senders,
    /// The flow that keeps objects failed.
    #[error("{0}")]
    Failed(Fault),
}

impl StoreError {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            StoreError::MayNotStore => StatusCode::FORBIDDEN,
            StoreError::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StoreError::Body(_) | StoreError::NoObject | StoreError::BrokeOff(_) => {
                StatusCode::BAD_REQUEST
            }
            StoreError::TooManyObjects => StatusCode::PAYLOAD_TOO_LARGE,
            StoreError::Slow => StatusCode::REQUEST_TIMEOUT,
            StoreError::Senders => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the sender reads: what is wrong and what to do.
    pub(super) fn sentence(&self) -> String {
        let words = match self {
            StoreError::MayNotStore => {
                "This caller may see images and not store them: set `store = true` in its \
                 [[caller]]. 该调用方只可调阅、不可存入影像，请在其 caller 中设置 store = true。"
            }
            StoreError::MediaType => {
                "Send multipart/related; type=\"application/dicom\"; boundary=…, or one object as \
                 application/dicom. 请以 multipart/related; type=\"application/dicom\" 或单个 \
                 application/dicom 发送。"
            }
            StoreError::Body(error) => {
                return format!(
                    "The body is broken: {error}. Objects before that place are kept. \
                     请求体格式错误；此前完整的实例已保存。"
                );
            }
            StoreError::NoObject => "There is no object in the body. 请求体中没有任何实例。",
            StoreError::TooManyObjects => {
                return format!(
                    "More than {OBJECTS_MAX} objects in one request; those before are kept: send \
                     the others in another one. 单次请求最多 {OBJECTS_MAX} 个实例，之前的已保存，\
                     其余请另行发送。"
                );
            }
            StoreError::BrokeOff(_) => {
                "The body broke off; whole objects are kept. 请求中断；完整的实例已保存。"
            }
            StoreError::Slow => {
                "The body comes too slowly; whole objects are kept. \
                 请求体传输过慢；完整的实例已保存。"
            }
            StoreError::Senders => {
                "Too many senders at once; try again. 同时发送者过多，请稍后重试。"
            }
            StoreError::Failed(_) => {
                "Failed here; the log has the reason under the x-request-id of this answer. \
                 本机故障，请按应答头 x-request-id 在日志中查找原因。"
            }
        };
        words.into()
    }
}

impl Server {
    pub(super) async fn store(
        &self,
        storage: Arc<Storage>,
        parts: &Parts,
        body: Body,
        caller: &str,
        study: Option<Uid>,
    ) -> Result<Response<Body>, DicomwebError> {
        let media = accept::json(&parts.headers, accept_parameter(&parts.uri)?.as_deref())?;
        let reader = reader(parts)?;
        let receiving = storage.receive(caller, study).ok_or(StoreError::Senders)?;
        let mut taking =
            Taking { body: Arriving::new(body, SENDER_WAIT), receiving, held: BytesMut::new() };
        match reader {
            Some(reader) => taking.multipart(reader).await?,
            None => taking.single().await?,
        }
        let outcomes = taking.receiving.end().await.map_err(StoreError::Failed)?;
        let mut studies: Vec<Uid> = stored(&outcomes).map(|named| named.study.clone()).collect();
        studies.sort_unstable();
        studies.dedup();
        self.lookup.audit(caller, AccessKind::Store, &studies, (self.clock)()).await?;
        log(parts, caller, &outcomes);
        let base = self.retrieve_base.clone().unwrap_or_else(|| own_base(parts));
        let text = words(&outcomes, &studies, &base);
        let mut response = respond(parts, media, Some(text.len() as u64), Body::from(text))?;
        *response.status_mut() = status(&outcomes);
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        Ok(response)
    }
}

/// What reads the body; `None`: it is one object.
fn reader(parts: &Parts) -> Result<Option<Reader>, StoreError> {
    let value = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = MediaType::parse(value.unwrap_or_default());
    let of_objects = |of: &str| of.eq_ignore_ascii_case("application/dicom");
    match media.essence.as_str() {
        "multipart/related" if media.parameter("type").is_none_or(of_objects) => {
            let boundary = media.parameter("boundary").unwrap_or_default();
            Reader::new(boundary).map(Some).map_err(StoreError::Body)
        }
        "application/dicom" => Ok(None),
        _ => Err(StoreError::MediaType),
    }
}

/// A body on its way to the disk.
struct Taking {
    body: Arriving,
    receiving: Receiving,
    /// Small pieces, not yet handed on.
    held: BytesMut,
}

impl Taking {
    async fn multipart(&mut self, mut reader: Reader) -> Result<(), StoreError> {
        let (mut objects, mut wanted) = (0, true);
        while !reader.finished() {
            let Some(chunk) = self.body.next().await? else {
                return reader.end().map_err(StoreError::Body);
            };
            reader.feed(chunk);
            while let Some(event) = reader.event().map_err(StoreError::Body)? {
                match event {
                    Event::PartStart { content_type } => {
                        objects += 1;
                        if objects > OBJECTS_MAX {
                            return Err(StoreError::TooManyObjects);
                        }
                        // Of another type nothing is handed on, which is no object either.
                        let media = MediaType::parse(&content_type);
                        wanted = matches!(media.essence.as_str(), "application/dicom" | "");
                        self.put(Piece::Begin).await?;
                    }
                    Event::Data(bytes) if wanted => self.hand_on(bytes).await?,
                    Event::Data(_) | Event::Finished => {}
                    Event::PartEnd => self.end().await?,
                }
            }
        }
        // The epilogue is read to its end, or the connection could not be used again.
        while self.body.next().await?.is_some() {}
        if objects == 0 { Err(StoreError::NoObject) } else { Ok(()) }
    }

    async fn single(&mut self) -> Result<(), StoreError> {
        let Some(first) = self.body.next().await? else { return Err(StoreError::NoObject) };
        self.put(Piece::Begin).await?;
        self.hand_on(first).await?;
        while let Some(chunk) = self.body.next().await? {
            self.hand_on(chunk).await?;
        }
        self.end().await
    }

    async fn hand_on(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.held.is_empty() && bytes.len() >= STORE_PIECE_BYTES_MIN {
            return self.put(Piece::Bytes(bytes)).await;
        }
        self.held.extend_from_slice(&bytes);
        if self.held.len() >= STORE_PIECE_BYTES_MIN {
            let piece = self.held.split().freeze();
            self.put(Piece::Bytes(piece)).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        if !self.held.is_empty() {
            let piece = self.held.split().freeze();
            self.put(Piece::Bytes(piece)).await?;
        }
        self.put(Piece::End).await
    }

    async fn put(&mut self, piece: Piece) -> Result<(), StoreError> {
        self.receiving.put(piece).await.map_err(StoreError::Failed)
    }
}

/// A body whose sender is watched.
struct Arriving {
    body: Body,
    /// How long its sender may be silent.
    wait: Duration,
    /// How long it was waited for, and what came meanwhile.
    waited: Duration,
    bytes: u64,
}

impl Arriving {
    fn new(body: Body, wait: Duration) -> Arriving {
        Arriving { body, wait, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next bytes, never empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let began = Instant::now();
            let frame = tokio::time::timeout(self.wait, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| StoreError::Slow)? else { return Ok(None) };
            self.waited += began.elapsed();
            let Ok(bytes) = frame.map_err(StoreError::BrokeOff)?.into_data() else { continue };
            self.bytes += bytes.len() as u64;
            if self.waited >= self.wait {
                if self.bytes < SENDER_BYTES_MIN {
                    return Err(StoreError::Slow);
                }
                (self.waited, self.bytes) = (Duration::ZERO, 0);
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// The objects that are here.
fn stored(outcomes: &[Outcome]) -> impl Iterator<Item = &Named> {
    outcomes.iter().filter(|one| one.end.is_ok()).filter_map(|one| one.object.as_ref())
}

/// PS3.18 table 10.5.3-1; where nothing is kept and this machine is why, a sender that comes again
/// helps.
fn status(outcomes: &[Outcome]) -> StatusCode {
    let kept = outcomes.iter().filter(|one| one.end.is_ok()).count();
    let ours = |one: &Outcome| one.end.is_err_and(|refusal| !refusal.is_about_object());
    if kept == outcomes.len() {
        StatusCode::OK
    } else if kept > 0 {
        StatusCode::ACCEPTED
    } else if outcomes.iter().any(ours) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::CONFLICT
    }
}

/// The Failure Reason (PS3.18 table 10.5.3-2): A7xx out of resources, A9xx not what was announced,
/// Cxxx not understood, 0110 processing failure; 0111 duplicate SOP instance (PS3.7 C.5.7).
fn reason(refusal: Refusal) -> i64 {
    match refusal {
        Refusal::Illegible => 0xc000,
        Refusal::OtherStudy | Refusal::OtherPatient => 0xa900,
        Refusal::Conflict => 0x0111,
        Refusal::TooLarge | Refusal::DiskFull | Refusal::Busy => 0xa700,
        Refusal::Failed => 0x0110,
    }
}

/// The answer (PS3.18 table 10.5.3-3) as a DICOM JSON object.
fn words(outcomes: &[Outcome], studies: &[Uid], base: &str) -> String {
    let (mut failed, mut kept, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        let mut item = ObjectWriter::new();
        if let Some(named) = &outcome.object {
            item.text(CLASS, "UI", &named.class).text(INSTANCE, "UI", named.sop.as_str());
        }
        match (&outcome.end, &outcome.object) {
            (Ok(Kept::Stored | Kept::Duplicate), Some(Named { study, series, sop, .. })) => {
                let url = format!("{base}/studies/{study}/series/{series}/instances/{sop}");
                kept.push(item.text(RETRIEVE_URL, "UR", &url).finish());
            }
            (Err(refusal), named) => {
                let item = item.number(FAILURE_REASON, "US", reason(*refusal)).finish();
                if named.is_some() { failed.push(item) } else { other.push(item) }
            }
            // What is here has a name.
            (Ok(_), None) => {}
        }
    }
    let mut answer = ObjectWriter::new();
    if let [study] = studies {
        answer.text(RETRIEVE_URL, "UR", &format!("{base}/studies/{study}"));
    }
    for (tag, items) in [(FAILED, failed), (STORED, kept), (OTHER_FAILURES, other)] {
        if !items.is_empty() {
            answer.items(tag, &items);
        }
    }
    answer.finish()
}

/// One line about what was sent; the door's own line says the status.
fn log(parts: &Parts, caller: &str, outcomes: &[Outcome]) {
    let number = parts.extensions.get::<crate::http::RequestId>().map_or("", |id| &*id.0);
    let count = |end: Kept| outcomes.iter().filter(|one| one.end == Ok(end)).count();
    let (new, again) = (count(Kept::Stored), count(Kept::Duplicate));
    let refused = outcomes.len() - new - again;
    log::info!(request = number, caller, new, again, refused; "objects came");
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt};

    use super::*;

    /// A body of pieces, each so long after the one before.
    fn body(pieces: usize, bytes: usize, pause: Duration) -> Body {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))
        });
        Body::from_stream(pieces)
    }

    async fn read(body: Body, wait: Duration) -> Result<u64, StoreError> {
        let (mut arriving, mut bytes) = (Arriving::new(body, wait), 0);
        while let Some(piece) = arriving.next().await? {
            bytes += piece.len() as u64;
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_sender_that_is_silent_or_creeps_is_let_go_and_a_steady_one_is_not() {
        let (wait, pause) = (Duration::from_millis(400), Duration::from_millis(40));
        let silent = read(body(2, 100_000, 2 * wait), wait).await;
        assert!(matches!(silent, Err(StoreError::Slow)));
        let creeping = read(body(30, 100, pause), wait).await;
        assert!(matches!(creeping, Err(StoreError::Slow)));
        let steady = read(body(30, 8_000, pause), wait).await;
        assert_eq!(steady.unwrap(), 240_000);
    }

    #[test]
    fn the_status_says_whose_fault_it_is() {
        let one = |end| Outcome { object: None, end };
        let (kept, again) = (one(Ok(Kept::Stored)), one(Ok(Kept::Duplicate)));
        let (theirs, ours) = (one(Err(Refusal::Conflict)), one(Err(Refusal::DiskFull)));
        for (outcomes, expected) in [
            (vec![kept.clone(), again], 200),
            (vec![kept.clone(), theirs.clone()], 202),
            (vec![kept, ours.clone()], 202),
            (vec![theirs.clone()], 409),
            (vec![theirs, ours.clone()], 503),
            (vec![ours], 503),
        ] {
            assert_eq!(status(&outcomes).as_u16(), expected, "{outcomes:?}");
        }
    }
}
