//! The one map from what went wrong to what the caller of the hospital zone reads.

use axum::body::Body;
use http::{Request, Response, StatusCode, header};

use super::RequestId;
use crate::catalog::{self, Answer, FieldFault, Interface, Match, Outcome, Zone};

/// A bare status for what never reached an interface: 404, 405, 413, 503.
pub fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The interfaces of a zone at the address of a request; else a bare 404, or a 405 that names the
/// methods.
pub(super) fn interfaces(
    zone: Zone,
    request: &Request<Body>,
) -> Result<&'static [&'static Interface], Box<Response<Body>>> {
    match catalog::by_address(zone, request.method().as_str(), request.uri().path()) {
        Match::Found(interfaces) => Ok(interfaces),
        Match::Unknown => Err(Box::new(bare(StatusCode::NOT_FOUND))),
        Match::WrongMethod(allowed) => {
            let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
            if let Ok(allowed) = header::HeaderValue::from_str(&allowed.join(", ")) {
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            Err(Box::new(response))
        }
    }
}

/// Keeps the line in the log and the metrics of a request that an interface answered.
pub(super) fn note(
    interface: &'static Interface,
    caller: &str,
    id: Option<&RequestId>,
    code: i32,
    milliseconds: i64,
) {
    metrics::counter!("interface_requests_total", "interface" => interface.id,
        "code" => code.to_string())
    .increment(1);
    metrics::histogram!("interface_milliseconds", "interface" => interface.id)
        .record(milliseconds as f64);
    let id = id.map_or("", |id| &id.0);
    log::info!(request_id = id, caller, interface = interface.id, code, milliseconds; "answered");
}

/// What an interface says, in its own envelope. HTTP 200 unless the caller wants the code
/// mirrored: many HIS clients throw on every other status (imaging cloud's SUMMARY, decision 4).
pub(super) fn envelope(
    interface: &'static Interface,
    answer: Answer,
    mirror: bool,
) -> Response<Body> {
    let code = u16::try_from(answer.code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let status = if mirror { code.unwrap_or(StatusCode::OK) } else { StatusCode::OK };
    let mut response = Response::new(Body::from(catalog::answer(interface, answer)));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The document's sentence for an outcome.
pub(super) fn outcome(interface: &'static Interface, outcome: Outcome) -> Answer {
    Answer::of(interface, outcome)
}

/// Every wrong field in one sentence.
pub(super) fn faults(interface: &'static Interface, faults: &[FieldFault]) -> Answer {
    Answer::faults(interface, faults)
}

/// A refusal with a sentence of our own.
pub(super) fn refusal(interface: &'static Interface, message: String) -> Answer {
    Answer { message: message.into(), ..Answer::of(interface, Outcome::Faulty) }
}
