//! What more than one door reads of a request.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::reply;
use crate::limits::BODY_WAIT_MS;

/// The host that a request names: in its address (HTTP/2), else in its head.
pub fn host(parts: &Parts) -> Option<&str> {
    let named = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    parts.uri.authority().map(|one| one.as_str()).or(named)
}

/// A body of at most so many bytes, within [`BODY_WAIT_MS`]; else a bare 413, 408 or 400.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Response<Body>> {
    let limited = Limited::new(body, bytes_max);
    let collected =
        tokio::time::timeout(Duration::from_millis(BODY_WAIT_MS), limited.collect()).await;
    match collected {
        Err(_) => Err(reply::bare(StatusCode::REQUEST_TIMEOUT)),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(reply::bare(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(_)) => Err(reply::bare(StatusCode::BAD_REQUEST)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}
