//! The one map from what went wrong to what a viewer's engineer reads.
//!
//! The public text is English and Chinese and names what to change; the private text goes to the
//! log, joined with it by the request id.

use axum::body::Body;
use forepost_cache::{CacheError, UidError};
use http::{HeaderValue, Response, StatusCode, header};

use crate::fault::Fault;
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
    /// Something other than GET or HEAD.
    #[error("method not allowed")]
    Method,
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
    /// The study, series or instance is not here.
    #[error("{level} not here")]
    NotHere {
        /// Which level is missing.
        level: &'static str,
    },
    /// The source of a study broke off while it was being fetched for this request.
    #[error("fetching: {fault}")]
    Interrupted {
        /// What the fetch ended with.
        fault: String,
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
            DicomwebError::Method => StatusCode::METHOD_NOT_ALLOWED,
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
            DicomwebError::Interrupted { .. } => StatusCode::BAD_GATEWAY,
            DicomwebError::NotYet
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
            DicomwebError::Method => {
                "Only GET and HEAD are served here. 此处只支持 GET 与 HEAD。".into()
            }
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
            DicomwebError::NotHere { level } => {
                format!("This {level} is not in the local cache. 本机缓存中没有此对象（{level}）。")
            }
            other => other.failure().to_owned(),
        }
    }

    /// The same where the caller did nothing wrong.
    fn failure(&self) -> &'static str {
        match self {
            DicomwebError::Interrupted { .. } => {
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
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
