//! The interfaces that the hospital calls: registrations, settlements and what it says of a patient
//! it has before it, which have flows of their own, and whatever else the configuration sends on to
//! a platform.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde_json::Value;

use super::caller::{Callers, Peer, RequestId};
use super::reply;
use super::request::read_body;
use crate::catalog::{self, Answer, Checked, FieldFault, Interface, Mode, Outcome, Overlay, Zone};
use crate::codec::json;
use crate::intake::{self, Intake};
use crate::ledger::LedgerError;
use crate::limits::{BATCH_RECORDS_MAX, BODY_BYTES_MAX, JSON_DEPTH_MAX, JSON_NODES_MAX};
use crate::model::Time;
use crate::notice::Notices;
use crate::onward::Onward;
use crate::settlement::{self, Arrived, Settlements};

/// Faults that one answer names, over all records of its body.
const FAULTS_TOLD_MAX: usize = 200;

/// Registrations.
const REGISTER: &str = "ic-register-push";

/// A hospital that is served.
#[derive(Debug, Clone)]
pub struct Hospital {
    /// Its insurance code.
    pub code: String,
    /// How its bodies are checked.
    pub mode: Mode,
}

/// What stands behind the door.
pub struct HospitalDoor {
    /// Who may call.
    pub callers: Callers,
    /// The hospitals served.
    pub hospitals: Vec<Hospital>,
    /// The site's changes to the rules.
    pub overlay: Overlay,
    /// Registrations.
    pub intake: Arc<Intake>,
    /// Settlements.
    pub settlements: Arc<Settlements>,
    /// The field beside the document's own in which the hospital gives the time of a settlement.
    pub settled_at_field: Option<String>,
    /// What goes on to a platform as it is.
    pub onward: Arc<Onward>,
    /// Doctors who are told.
    pub notices: Arc<Notices>,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

/// Everything that is not another door's answers here: the paths of the documents.
pub fn router(door: Arc<HospitalDoor>) -> Router {
    Router::new().fallback(answer).with_state(door)
}

/// What is told of a request beside its answer: by whom, and how it ended.
struct Told {
    caller: String,
    mirror: bool,
    answer: Answer,
}

async fn answer(State(door): State<Arc<HospitalDoor>>, request: Request<Body>) -> Response<Body> {
    let interface = match reply::interfaces(Zone::Hospital, &request) {
        Ok(interfaces) => interfaces.iter().find(|one| door.serves(one.id)),
        Err(bare) => return *bare,
    };
    let Some(interface) = interface.copied() else { return reply::bare(StatusCode::NOT_FOUND) };
    let started = (door.clock)();
    let id = request.extensions().get::<RequestId>().cloned();
    let told = match door.take(interface, request).await {
        Ok(told) => told,
        Err(bare) => return bare,
    };
    let milliseconds = (door.clock)().since_ms(started);
    reply::note(interface, &told.caller, id.as_ref(), told.answer.code, milliseconds);
    reply::envelope(interface, told.answer, told.mirror)
}

impl HospitalDoor {
    /// Whether somebody does something with what comes by this interface.
    fn serves(&self, interface: &str) -> bool {
        matches!(interface, REGISTER | intake::ORDER | intake::OPEN)
            || self.onward.routes.has(interface)
    }

    async fn take(
        &self,
        interface: &'static Interface,
        request: Request<Body>,
    ) -> Result<Told, Response<Body>> {
        let peer = request.extensions().get::<Peer>().copied();
        let caller =
            peer.and_then(|peer| self.callers.identify(peer, request.headers(), |one| one.push));
        let Some(caller) = caller else {
            let answer = reply::outcome(interface, Outcome::Denied);
            return Ok(Told { caller: "unknown".into(), mirror: false, answer });
        };
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = read_body(request.into_body(), BODY_BYTES_MAX).await?;
        let answer = self.keep(interface, &caller.name, content_type.as_deref(), body).await;
        Ok(Told { caller: caller.name.clone(), mirror: caller.mirror_status, answer })
    }

    async fn keep(
        &self,
        interface: &'static Interface,
        caller: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Answer {
        let limits = json::Limits {
            bytes_max: BODY_BYTES_MAX,
            depth_max: JSON_DEPTH_MAX,
            nodes_max: JSON_NODES_MAX,
        };
        let mut value = match json::parse(&body, content_type, limits) {
            Ok(read) => read.value,
            Err(fault) => {
                log::warn!(caller, interface = interface.id; "body refused: {fault}");
                return reply::refusal(interface, fault.to_string());
            }
        };
        let records = match self.records(interface, caller, &mut value) {
            Ok(records) => records,
            Err(answer) => return answer,
        };
        let now = (self.clock)();
        let kept = match interface.id {
            REGISTER => self.register(interface, caller, records, body, now).await,
            intake::ORDER | intake::OPEN => {
                self.call(interface, caller, records, now).await.map(|()| None)
            }
            settlement::PUSH => {
                let given = |value: &Value| {
                    let field = self.settled_at_field.as_deref()?;
                    match value.get(field)? {
                        Value::String(text) => Some(text.clone()),
                        Value::Number(number) => Some(number.to_string()),
                        _ => None,
                    }
                };
                let arrived = |(value, checked): (&Value, Checked)| Arrived {
                    settled_at: given(value),
                    record: checked.record,
                };
                let arrived: Vec<Arrived> = records.into_iter().map(arrived).collect();
                self.settlements.accept(&arrived, false, now).await.map(|_| None)
            }
            _ => {
                let checked = records.into_iter().map(|(_, checked)| checked.record).collect();
                self.onward.accept(interface, checked, caller, now).await.map(|()| None)
            }
        };
        match kept {
            Ok(None) => reply::outcome(interface, Outcome::Success),
            Ok(Some(refusal)) => refusal,
            Err(error) => {
                log::error!(caller, interface = interface.id; "not kept: {error}");
                reply::outcome(interface, Outcome::Failed)
            }
        }
    }

    async fn call(
        &self,
        interface: &'static Interface,
        caller: &str,
        records: Vec<(&Value, Checked)>,
        now: Time,
    ) -> Result<(), LedgerError> {
        let mut calls = Vec::with_capacity(records.len());
        let mut told = Vec::with_capacity(records.len());
        for (_, Checked { record, .. }) in records {
            let onward = self.onward.call(interface, &record, caller, now).await;
            told.push(record.clone());
            calls.push((record, onward));
        }
        let goes_on = calls.iter().any(|(_, onward)| !onward.is_empty());
        self.intake.called(interface.id, calls, caller, now).await?;
        if goes_on {
            self.onward.bell.ring();
        }
        // A call that is repeated because this fails makes no second notice.
        for record in &told {
            self.notices.called(interface.id, record, caller, now).await?;
        }
        Ok(())
    }

    async fn register(
        &self,
        interface: &'static Interface,
        caller: &str,
        records: Vec<(&Value, Checked)>,
        body: Bytes,
        now: Time,
    ) -> Result<Option<Answer>, LedgerError> {
        for (_, checked) in records {
            let registration = match self.intake.read(&checked.record, caller, now).await {
                Ok(registration) => registration,
                Err(fault) => {
                    log::warn!(caller, interface = interface.id; "body refused: {fault}");
                    let sentence = "outpatientNumber:不能为空".into();
                    return Ok(Some(reply::refusal(interface, sentence)));
                }
            };
            let record = &checked.record;
            let onward =
                self.onward.registration(interface, record, &registration, caller, now).await;
            let goes_on = !onward.is_empty();
            self.intake.accept(registration, body.clone(), onward, caller, now).await?;
            if goes_on {
                self.onward.bell.ring();
            }
        }
        Ok(None)
    }

    /// The records of a body, checked; or the refusal that names every wrong field of all.
    fn records<'a>(
        &self,
        interface: &'static Interface,
        caller: &str,
        value: &'a mut Value,
    ) -> Result<Vec<(&'a Value, Checked)>, Answer> {
        for record in catalog::bodies_mut(interface, value) {
            if !record.is_object() {
                return Err(reply::refusal(interface, "请求体应为一个 JSON 对象".into()));
            }
        }
        let mut modes = Vec::new();
        for record in catalog::bodies_mut(interface, value) {
            let mode = self.hospital_of(record);
            modes.push(mode.map_err(|sentence| reply::refusal(interface, sentence))?);
        }
        if modes.len() > BATCH_RECORDS_MAX {
            let sentence = format!("一次最多 {BATCH_RECORDS_MAX} 条，收到 {} 条", modes.len());
            return Err(reply::refusal(interface, sentence));
        }
        let bodies = catalog::bodies(interface, value);
        let many = bodies.len() > 1;
        let mut faults: Vec<FieldFault> = Vec::new();
        let mut records = Vec::with_capacity(bodies.len());
        for (place, (body, mode)) in bodies.into_iter().zip(modes).enumerate() {
            let mut checked = catalog::check(interface, body, mode, &self.overlay);
            log_findings(caller, interface, &checked);
            for fault in &mut checked.faults {
                if many {
                    fault.message_zh = format!("第{}条 {}", place + 1, fault.message_zh);
                }
            }
            faults.append(&mut checked.faults);
            records.push((body, checked));
        }
        faults.truncate(FAULTS_TOLD_MAX);
        if faults.is_empty() { Ok(records) } else { Err(reply::faults(interface, &faults)) }
    }

    /// How the body is checked. The code of the only hospital served is filled in where it is
    /// missing; a code that is served by nobody here is refused.
    fn hospital_of(&self, value: &mut Value) -> Result<Mode, String> {
        let object = value.as_object_mut().expect("the caller saw an object");
        let sent = ["hospitalld", "hospitalId"].iter().find_map(|key| match object.get(*key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        match (sent, self.hospitals.as_slice()) {
            (None, [only]) => {
                object.insert("hospitalld".into(), Value::String(only.code.clone()));
                Ok(only.mode)
            }
            // The catalogue names the missing field together with all others.
            (None, _) => Ok(Mode::Lenient),
            (Some(code), served) => served
                .iter()
                .find(|hospital| hospital.code == code)
                .map(|hospital| hospital.mode)
                .ok_or_else(|| "hospitalld:不是本机服务的医院".to_owned()),
        }
    }
}

/// A refusal teaches (docs/ARCHITECTURE.md, 12): the log names rule, document and section, and
/// never a value.
fn log_findings(caller: &str, interface: &'static Interface, checked: &Checked) {
    for fault in &checked.faults {
        log::warn!(
            caller, interface = interface.id, rule = fault.rule.as_str(), document = fault.document,
            section = fault.section; "refused: {}", fault.message_en
        );
    }
    for warning in &checked.warnings {
        metrics::counter!("interface_warnings_total", "interface" => interface.id).increment(1);
        log::debug!(
            caller, interface = interface.id, rule = warning.rule.as_str(),
            document = warning.document, section = warning.section;
            "warning: {}", warning.message_en
        );
    }
}
