//! The cloud zone: `getExamDict` and `getDeptInfo` (imaging cloud's document, 3.5.2, 3.7.2).
//!
//! Answered from the ledger alone, so the HIS may be down. An answer is written once a version and
//! kept as bytes; what is published in between, by a poll or by a verb of another process, is seen
//! by its version at the next request.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::Mutex;

use super::caller::{Caller, Callers, Peer, RequestId};
use super::reply;
use crate::catalog::table::Field;
use crate::catalog::{self, Answer, Interface, Outcome, Zone};
use crate::dictionary::{Dictionary, visible};
use crate::fault::Fault;
use crate::limits::{DICTIONARY_ANSWER_BYTES_MAX, DICTIONARY_ANSWERS_MAX};
use crate::model::{DictionaryKind, DictionaryRow, Time};

/// What stands behind the door.
pub struct CloudDoor {
    callers: Callers,
    dictionary: Dictionary,
    clock: fn() -> Time,
    kept: Mutex<Vec<Kept>>,
}

/// What an answer was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    kind: DictionaryKind,
    hospitals: Vec<String>,
    success: i32,
}

/// An answer that is kept ready.
#[derive(Clone)]
struct Kept {
    asked: Asked,
    versions: Vec<i64>,
    etag: HeaderValue,
    body: Bytes,
}

/// What becomes of a request.
enum Told {
    /// The dictionary, or that it is the one the caller has.
    Whole(Kept),
    /// Anything else, in the envelope.
    Short(Answer),
}

impl CloudDoor {
    /// A door that has answered nothing yet.
    pub fn new(callers: Callers, dictionary: Dictionary, clock: fn() -> Time) -> CloudDoor {
        CloudDoor { callers, dictionary, clock, kept: Mutex::default() }
    }

    async fn tell(
        &self,
        caller: &Caller,
        interface: &'static Interface,
        kind: DictionaryKind,
        query: &str,
    ) -> Told {
        let mut hospitals = visible(&self.dictionary.hospitals, &caller.hospitals);
        if let Some(asked) = hospital_of(query) {
            hospitals.retain(|code| *code == asked);
            if hospitals.is_empty() {
                let message = "hospitalld:不是可查询的医院".to_owned();
                return Told::Short(reply::refusal(interface, message));
            }
        }
        let success = caller.success_code;
        let success = success.unwrap_or_else(|| Answer::of(interface, Outcome::Success).code);
        match self.find(interface, Asked { kind, hospitals, success }).await {
            Ok(Some(kept)) => Told::Whole(kept),
            Ok(None) => Told::Short(Answer {
                message: "字典尚未取得：本机从未收到过该医院的完整字典".into(),
                ..Answer::of(interface, Outcome::Failed)
            }),
            Err(fault) => {
                log::error!(interface = interface.id, fault:% = fault; "no dictionary");
                Told::Short(reply::outcome(interface, Outcome::Failed))
            }
        }
    }

    /// The answer, kept or made; `None` when no hospital of it ever had a copy. Those that wait
    /// for the same answer wait for one that makes it.
    async fn find(
        &self,
        interface: &'static Interface,
        asked: Asked,
    ) -> Result<Option<Kept>, Fault> {
        let mut kept = self.kept.lock().await;
        let mut versions = Vec::with_capacity(asked.hospitals.len());
        for hospital in &asked.hospitals {
            let shown = self.dictionary.ledger.dictionary(hospital, asked.kind)?;
            versions.push(shown.map_or(0, |shown| shown.version));
        }
        if versions.iter().all(|version| *version == 0) {
            return Ok(None);
        }
        if let Some(at) = kept.iter().position(|one| one.asked == asked) {
            let one = kept.remove(at);
            if one.versions == versions {
                kept.push(one.clone());
                return Ok(Some(one));
            }
        }
        let dictionary = self.dictionary.clone();
        let made = tokio::task::spawn_blocking(move || make(&dictionary, interface, asked));
        let made = made.await.map_err(|error| Fault::ours("answer", error.to_string()))??;
        kept.push(made.clone());
        while kept.len() > DICTIONARY_ANSWERS_MAX || bytes(&kept) > DICTIONARY_ANSWER_BYTES_MAX {
            kept.remove(0);
        }
        Ok(Some(made))
    }
}

fn bytes(kept: &[Kept]) -> usize {
    kept.iter().map(|one| one.body.len()).sum()
}

/// The zone's answers.
pub fn router(door: Arc<CloudDoor>) -> Router {
    Router::new().fallback(answer).with_state(door)
}

async fn answer(State(door): State<Arc<CloudDoor>>, request: Request<Body>) -> Response<Body> {
    let found = match reply::interfaces(Zone::Cloud, &request) {
        Ok(interfaces) => interfaces.iter().find_map(|one| Some((*one, kind_of(one)?))),
        Err(bare) => return *bare,
    };
    let Some((interface, kind)) = found else { return reply::bare(StatusCode::NOT_FOUND) };
    let started = (door.clock)();
    let peer = request.extensions().get::<Peer>().copied();
    let caller = peer
        .and_then(|peer| door.callers.identify(peer, request.headers(), |one| one.dictionaries));
    let (name, mirror) = caller.map_or(("unknown", false), |one| (&one.name, one.mirror_status));
    let told = match caller {
        None => Told::Short(reply::outcome(interface, Outcome::Denied)),
        Some(caller) => {
            door.tell(caller, interface, kind, request.uri().query().unwrap_or_default()).await
        }
    };
    let code = match &told {
        Told::Whole(kept) => kept.asked.success,
        Told::Short(answer) => answer.code,
    };
    let milliseconds = (door.clock)().since_ms(started);
    reply::note(interface, name, request.extensions().get::<RequestId>(), code, milliseconds);
    match told {
        Told::Whole(kept) => whole(kept, request.headers().get(header::IF_NONE_MATCH)),
        Told::Short(answer) => reply::envelope(interface, answer, mirror),
    }
}

fn kind_of(interface: &Interface) -> Option<DictionaryKind> {
    match interface.id {
        "ic-exam-dict-get" => Some(DictionaryKind::Exam),
        "ic-dept-get" => Some(DictionaryKind::Dept),
        _ => None,
    }
}

/// The dictionary, or 304 where the caller has it already (RFC 9110, 13.1.2).
fn whole(kept: Kept, known: Option<&HeaderValue>) -> Response<Body> {
    let known = known.and_then(|known| known.to_str().ok()).unwrap_or_default();
    let etag = kept.etag.to_str().unwrap_or_default();
    let has_it = known
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/") == etag);
    let mut response = if has_it {
        reply::bare(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(Body::from(kept.body));
        let json = HeaderValue::from_static("application/json;charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    };
    response.headers_mut().insert(header::ETAG, kept.etag);
    // Kept by whoever likes to, but asked about each time.
    let ask = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, ask);
    response
}

/// The hospital that the query names: `hospitalld` as the document's tables write it, or
/// `hospitalId` as its templates do, in any case. Codes are letters and digits, so nothing is
/// decoded.
fn hospital_of(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let named = ["hospitalld", "hospitalId"].iter().any(|it| it.eq_ignore_ascii_case(key));
        (named && !value.trim().is_empty()).then(|| value.trim().to_owned())
    })
}

fn make(
    dictionary: &Dictionary,
    interface: &'static Interface,
    asked: Asked,
) -> Result<Kept, Fault> {
    let fields = row_fields(interface);
    let mut versions = Vec::with_capacity(asked.hospitals.len());
    let mut list = String::from("[");
    for hospital in &asked.hospitals {
        let (version, rows) = dictionary.ledger.dictionary_rows(hospital, asked.kind)?;
        versions.push(version);
        for row in &rows {
            if list.len() > 1 {
                list.push(',');
            }
            write_row(&mut list, fields, hospital, row);
        }
    }
    list.push(']');
    let success = Answer { code: asked.success, ..Answer::of(interface, Outcome::Success) };
    let body = catalog::answer_with_list(interface, &success, &list)
        .ok_or_else(|| Fault::ours("answer", "the envelope has no place for a list"))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
    let etag = format!("\"{}\"", hex::encode(&digest.as_ref()[..16]));
    let etag = HeaderValue::from_str(&etag).expect("hexadecimal digits are a header");
    Ok(Kept { asked, versions, etag, body: body.into() })
}

/// The fields of a row of the answer, in the order of the document.
fn row_fields(interface: &'static Interface) -> &'static [Field] {
    let fields = interface.answers.first().map_or(&[][..], |answer| answer.fields);
    fields.iter().find(|field| field.name == "datas").map_or(&[], |field| field.children)
}

/// Every field of the document, empty where the hospital has nothing to say, all as texts, as the
/// document's examples print them.
fn write_row(list: &mut String, fields: &[Field], hospital: &str, row: &DictionaryRow) {
    let text = |name: &str| match name {
        "hospitalld" => hospital,
        "examCode" | "deptCode" => &row.code,
        "examName" | "deptName" => &row.name,
        "modality" => &row.modality,
        "examBodyPart" => &row.body_part,
        "examPrice" => &row.price,
        "checkStatus" => &row.check_status,
        "sourceType" => &row.source_type,
        _ => "",
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|field| format!("{}:{}", Value::from(field.name), Value::from(text(field.name))))
        .collect();
    list.push('{');
    list.push_str(&pairs.join(","));
    list.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_the_hospital_are_read_and_an_empty_one_is_none() {
        for query in ["hospitalld=H1", "a=b&hospitalId=H1", "HOSPITALID=H1&x", "hospitalLd=H1"] {
            assert_eq!(hospital_of(query).as_deref(), Some("H1"), "{query}");
        }
        for query in ["", "hospitalld=", "hospital=H1", "hospitalld"] {
            assert_eq!(hospital_of(query), None, "{query}");
        }
    }

    #[test]
    fn a_row_has_every_field_of_the_document_in_its_order() {
        let row = DictionaryRow {
            code: "CT\"1".into(),
            name: "头颅CT平扫".into(),
            modality: "CT".into(),
            price: "180.00".into(),
            ..DictionaryRow::default()
        };
        let interface = catalog::find("ic-exam-dict-get").unwrap();
        let mut text = String::new();
        write_row(&mut text, row_fields(interface), "H1", &row);
        let expected = "{\"hospitalld\":\"H1\",\"modality\":\"CT\",\"examCode\":\"CT\\\"1\",\
                        \"examName\":\"头颅CT平扫\",\"examBodyPart\":\"\",\"examPrice\":\"180.00\",\
                        \"checkStatus\":\"\",\"sourceType\":\"\"}";
        assert_eq!(text, expected);
    }
}
