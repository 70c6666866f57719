//! The one map from what went wrong to what a viewer's engineer reads.
//!
//! The public text is English and Chinese and names what to change; the private text goes to the
//! log, joined with it by the request id.

use axum::body::Body;
use forepost_cache::{CacheError, NoFrame, UidError};
use http::{HeaderValue, Response, StatusCode, header};

use super::store::StoreError;
use crate::fault::{Blame, Fault};
use crate::ledger::LedgerError;

/// Why a request of this door is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum DicomwebError {
    /// Neither address nor token is a caller's that may see images.
    #[error("caller not known")]
    UnknownCaller,
    /// The path is none of DICOMweb's.
    #[error("no such resource")]
    NoSuchResource,
    /// The resource is the standard's, but this version does not make it.
    #[error("resource {what} is not made by this version")]
    NotMade {
        /// The step of the path.
        what: &'static str,
    },
    /// Something other than GET or HEAD, or than POST where objects are taken.
    #[error("method not allowed")]
    Method {
        /// Whether the resource takes objects.
        stores: bool,
    },
    /// Objects that were sent are not taken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A UID of the path is none.
    #[error("{level} in the path: {source}")]
    PathUid {
        /// Which one.
        level: &'static str,
        /// What is wrong with it.
        source: UidError,
    },
    /// A part of the query is neither UTF-8 nor GBK, or badly percent-encoded.
    #[error("key {key}: not decodable")]
    Undecodable {
        /// The key, where it can be named.
        key: String,
    },
    /// A key's value has another form.
    #[error("key {key}: expected {expected}")]
    KeyValue {
        /// Keyword.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A key's value is longer than any that could match.
    #[error("key {key}: more than {limit} bytes")]
    KeyTooLong {
        /// Keyword.
        key: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A key that has one value was given twice.
    #[error("key {key}: given twice")]
    KeyTwice {
        /// Keyword.
        key: &'static str,
    },
    /// A list is too long.
    #[error("{what}: more than {limit}")]
    TooMany {
        /// Which list.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Instances of all studies were asked for.
    #[error("instances asked for without a study")]
    TooWide,
    /// No representation that the caller accepts.
    #[error("not acceptable, offered {offered}")]
    NotAcceptable {
        /// What there is.
        offered: &'static str,
    },
    /// The object has another transfer syntax, and none is made from another.
    #[error("transfer syntax not acceptable, stored is {stored}")]
    Syntax {
        /// What is stored.
        stored: String,
    },
    /// A frame or a value cannot be given.
    #[error(transparent)]
    Piece(#[from] PieceError),
    /// The study, series, instance or value is not here.
    #[error("{level} not here")]
    NotHere {
        /// Which level is missing.
        level: &'static str,
    },
    /// A study broke off while it was being fetched for this request.
    #[error("fetching: {fault}")]
    Interrupted {
        /// What the fetch ended with.
        fault: String,
        /// Whose fault it is.
        blame: Blame,
    },
    /// Nothing of the study has come in the time that a request waits.
    #[error("nothing of it has arrived yet")]
    NotYet,
    /// It could not be asked for.
    #[error(transparent)]
    Opening(#[from] Fault),
    /// The cache failed.
    #[error("cache: {0}")]
    Cache(#[from] CacheError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Reading an object failed.
    #[error("reading object {sop}: {source}")]
    Read {
        /// SOP Instance UID.
        sop: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread for the disk ended by a panic.
    #[error("a thread that read the disk ended by a panic")]
    Panicked,
}

impl DicomwebError {
    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            DicomwebError::UnknownCaller => StatusCode::UNAUTHORIZED,
            DicomwebError::NoSuchResource
            | DicomwebError::NotMade { .. }
            | DicomwebError::NotHere { .. } => StatusCode::NOT_FOUND,
            DicomwebError::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            DicomwebError::Store(error) => error.status(),
            DicomwebError::PathUid { .. }
            | DicomwebError::Undecodable { .. }
            | DicomwebError::KeyValue { .. }
            | DicomwebError::KeyTooLong { .. }
            | DicomwebError::KeyTwice { .. }
            | DicomwebError::TooMany { .. }
            | DicomwebError::TooWide => StatusCode::BAD_REQUEST,
            DicomwebError::NotAcceptable { .. } | DicomwebError::Syntax { .. } => {
                StatusCode::NOT_ACCEPTABLE
            }
            DicomwebError::Piece(error) => error.status(),
            DicomwebError::Interrupted { blame: Blame::Peer, .. } => StatusCode::BAD_GATEWAY,
            DicomwebError::NotYet
            | DicomwebError::Interrupted { .. }
            | DicomwebError::Ledger(LedgerError::Overloaded { .. } | LedgerError::Closed)
            | DicomwebError::Cache(CacheError::Busy { .. } | CacheError::Closed) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            DicomwebError::Cache(_)
            | DicomwebError::Ledger(_)
            | DicomwebError::Opening(_)
            | DicomwebError::Read { .. }
            | DicomwebError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the caller reads: what is wrong and what to do, without a value that was sent.
    fn sentence(&self) -> String {
        match self {
            DicomwebError::UnknownCaller => {
                "This address or token is not configured as a caller that may see images. \
                 此地址或令牌未被配置为可调阅影像的调用方，请在配置文件的 caller 中添加。"
                    .into()
            }
            DicomwebError::NoSuchResource => {
                "No such DICOMweb resource. 没有此 DICOMweb 资源，请检查地址。".into()
            }
            DicomwebError::NotMade { what } => format!(
                "\"{what}\" is not made by this version: retrieve the instance itself. \
                 本版本不提供 {what}，请直接获取完整实例。"
            ),
            DicomwebError::Method { stores: false } => {
                "Only GET and HEAD are served here. 此处只支持 GET 与 HEAD。".into()
            }
            DicomwebError::Method { stores: true } => {
                "Only GET, HEAD and POST are served here. 此处只支持 GET、HEAD 与 POST。".into()
            }
            DicomwebError::Store(error) => error.sentence(),
            DicomwebError::PathUid { level, source } => format!(
                "The UID of the {level} in the path is malformed: {source}. \
                 路径中的 UID（{level}）格式错误。"
            ),
            DicomwebError::Undecodable { key } => format!(
                "The value of {key} is not percent-encoded UTF-8. \
                 参数 {key} 的值不是百分号编码的 UTF-8。"
            ),
            DicomwebError::KeyValue { key, expected } => {
                format!("The value of {key} should be {expected}. 参数 {key} 的值格式错误。")
            }
            DicomwebError::KeyTooLong { key, limit } => format!(
                "The value of {key} is longer than {limit} bytes. \
                 参数 {key} 的值超过 {limit} 字节。"
            ),
            DicomwebError::KeyTwice { key } => {
                format!("{key} is given twice. 参数 {key} 重复。")
            }
            DicomwebError::TooMany { what, limit } => {
                format!("More than {limit} values of {what}. {what} 的值超过 {limit} 个。")
            }
            DicomwebError::TooWide => {
                "Name a StudyInstanceUID or SOPInstanceUID to search for instances. \
                 按实例查询时必须给出 StudyInstanceUID 或 SOPInstanceUID。"
                    .into()
            }
            DicomwebError::NotAcceptable { offered } => format!(
                "None of the accepted media types is available; offered: {offered}. \
                 无法提供所要求的媒体类型，可提供：{offered}。"
            ),
            DicomwebError::Syntax { stored } => format!(
                "Stored in transfer syntax {stored}, and not converted: accept it or \
                 transfer-syntax=*. 存储的传输语法为 {stored}，不作转换，请接受该语法或使用 \
                 transfer-syntax=*。"
            ),
            DicomwebError::Piece(error) => error.sentence(),
            DicomwebError::NotHere { level } => {
                format!("This {level} is not in the local cache. 本机缓存中没有此对象（{level}）。")
            }
            other => other.failure().to_owned(),
        }
    }

    /// The same where the caller did nothing wrong.
    fn failure(&self) -> &'static str {
        match self {
            DicomwebError::Interrupted { blame: Blame::Peer, .. } => {
                "The place that has this study did not deliver it; try again. \
                 影像来源未能提供此检查，请稍后重试。"
            }
            DicomwebError::NotYet => {
                "This study is being fetched, and nothing of it has come yet; try again. \
                 此检查正在调取，尚未收到影像，请稍后重试。"
            }
            _ => {
                "Failed here; the log has the reason under the x-request-id of this answer. \
                 本机故障，请按应答头 x-request-id 在日志中查找原因。"
            }
        }
    }

    /// The answer.
    pub(super) fn reply(&self) -> Response<Body> {
        let status = self.status();
        let mut response = Response::new(Body::from(self.sentence() + "\n"));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        if let DicomwebError::Method { stores } = self {
            let allowed = if *stores { "GET, HEAD, POST" } else { "GET, HEAD" };
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if let DicomwebError::Piece(PieceError::Range { bytes }) = self
            && let Ok(value) = HeaderValue::from_str(&format!("bytes */{bytes}"))
        {
            headers.insert(header::CONTENT_RANGE, value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Why a frame or a value of an object cannot be given.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    /// The frames or the value are stored otherwise than accepted, and none is made from another.
    #[error("not acceptable, stored is {stored}")]
    Stored {
        /// Media type and transfer syntax.
        stored: String,
    },
    /// The list of frames is none.
    #[error("list of frames malformed")]
    FrameList,
    /// There is no such frame, or it cannot be told.
    #[error("frame: {source}; stored is {stored}")]
    Frame {
        /// Why not.
        source: NoFrame,
        /// Transfer Syntax UID.
        stored: String,
    },
    /// The range of bytes that is asked for lies behind the end.
    #[error("no such range in {bytes} bytes")]
    Range {
        /// Bytes that are there.
        bytes: u64,
    },
}

impl PieceError {
    fn status(&self) -> StatusCode {
        match self {
            PieceError::FrameList => StatusCode::BAD_REQUEST,
            PieceError::Frame { source: NoFrame::NoPixels | NoFrame::Beyond { .. }, .. } => {
                StatusCode::NOT_FOUND
            }
            PieceError::Stored { .. }
            | PieceError::Frame {
                source: NoFrame::Deflated | NoFrame::NotTold | NoFrame::WithinByte,
                ..
            } => StatusCode::NOT_ACCEPTABLE,
            PieceError::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    fn sentence(&self) -> String {
        match self {
            PieceError::Stored { stored } => format!(
                "Stored as {stored}, and not converted: accept that media type with this \
                 transfer-syntax or transfer-syntax=*. 存储为 {stored}，不作转换，请接受该媒体类型\
                 及该传输语法，或使用 transfer-syntax=*。"
            ),
            PieceError::FrameList => "Frames are numbers from 1, separated by commas, each once. \
                 帧号从 1 开始，以逗号分隔，不得重复。"
                .into(),
            PieceError::Frame { source, stored } => frame_sentence(*source, stored),
            PieceError::Range { bytes } => {
                format!("Only {bytes} bytes are there. 内容只有 {bytes} 字节，请求的范围超出。")
            }
        }
    }
}

/// What the caller reads where there is no such frame, or no way to tell it.
fn frame_sentence(source: NoFrame, stored: &str) -> String {
    match source {
        NoFrame::NoPixels => {
            "This instance has no pixel data that could be read. 此实例没有可读取的像素数据。"
                .into()
        }
        NoFrame::Beyond { count } => {
            format!("This instance has {count} frames. 此实例共有 {count} 帧，请求的帧不存在。")
        }
        NoFrame::Deflated => format!(
            "Stored in transfer syntax {stored}, deflated as a whole: no frame can be taken out, \
             retrieve the instance itself. 存储的传输语法 {stored} 为整体压缩，无法单独取帧，\
             请直接获取完整实例。"
        ),
        NoFrame::NotTold => format!(
            "Stored in transfer syntax {stored} without telling where its frames begin: retrieve \
             the instance itself. 存储的传输语法为 {stored}，对象未说明各帧的位置，\
             请直接获取完整实例。"
        ),
        NoFrame::WithinByte => {
            "Frames of single bits that begin within a byte are not taken apart: retrieve the \
             instance itself. 单比特图像的帧不按字节对齐，无法单独取帧，请直接获取完整实例。"
                .into()
        }
    }
}
