//! `GET /hrball/`: a doctor logged in at the HIS, or out (imaging cloud's document, 3.1).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::request::Parts;
use http::{Request, Response, header};
use serde_json::{Value, json};

use super::{Workstations, access, respond};
use crate::codec::login::Login;
use crate::http::{Peer, see};
use crate::ledger::LedgerError;
use crate::model::Doctor;
use crate::notice::hardware_address;
use crate::seal::sm2;

/// What it came to, in the envelope of the document's other interfaces.
enum Told {
    /// The doctor is logged in; the path opens the window, once.
    In(String),
    Out,
    /// The caller is not one that may log doctors in.
    Denied,
    /// Every wrong field with what is wrong of it.
    Refused(Vec<String>),
    Failed,
}

impl Told {
    fn code(&self) -> i32 {
        match self {
            Told::In(_) | Told::Out => 200,
            Told::Refused(_) => 400,
            Told::Denied => 401,
            Told::Failed => 500,
        }
    }
}

pub(super) async fn answer(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let told = workstations.log(&parts).await.unwrap_or_else(|error| {
        log::error!("a login is not kept: {error}");
        Told::Failed
    });
    let code = told.code();
    metrics::counter!("interface_requests_total", "interface" => "ic-login-http",
        "code" => code.to_string())
    .increment(1);
    log::info!(interface = "ic-login-http", code; "answered");
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if let Told::In(window) = &told
        && accept.is_some_and(|accept| accept.contains("text/html"))
    {
        return see(window);
    }
    let (data, message) = match told {
        Told::In(window) => (json!({ "window": window }), String::new()),
        Told::Out => (json!({}), String::new()),
        Told::Denied => (json!({}), "未授权的调用方".to_owned()),
        Told::Refused(faults) => (json!({}), faults.join("；")),
        Told::Failed => (json!({}), "系统繁忙，请稍后重试".to_owned()),
    };
    let body: Value = json!({ "code": code, "data": data, "message": message });
    respond("application/json;charset=UTF-8", body.to_string())
}

impl Workstations {
    async fn log(&self, parts: &Parts) -> Result<Told, LedgerError> {
        let peer = parts.extensions.get::<Peer>().copied();
        let caller =
            peer.and_then(|peer| self.callers.identify(peer, &parts.headers, |one| one.logins));
        let Some(caller) = caller else { return Ok(Told::Denied) };
        let login = match Login::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            Ok(login) => login,
            Err(fault) => return Ok(Told::Refused(vec![fault.to_string()])),
        };
        let text = |name: &str| login.text(name).unwrap_or_default().to_owned();
        let mut faults = Vec::new();
        if login.text("hisUserId").is_none() {
            faults.push("hisUserId:不能为空".to_owned());
        }
        let kind = login.text("type").unwrap_or_default();
        if !matches!(kind, "1" | "2") {
            faults.push("type:应为1（登录）或2（退出）".to_owned());
        }
        let hospital = match (login.text("hospitalld"), self.hospitals.as_slice()) {
            (None, [only]) => only.clone(),
            (Some(code), served) if served.iter().any(|one| one == code) => code.to_owned(),
            _ => {
                faults.push("hospitalId:不是本机服务的医院".to_owned());
                String::new()
            }
        };
        if !faults.is_empty() {
            return Ok(Told::Refused(faults));
        }
        let now = (self.clock)();
        if kind == "2" {
            let address = access::address(parts, &self.options.proxies);
            let address = address.map(|one| one.to_string()).unwrap_or_default();
            let ended = self.ledger.log_out(hospital, text("hisUserId"), address, now).await?;
            ended.into_iter().for_each(|session| self.notices.ended(session));
            return Ok(Told::Out);
        }
        let number = text("doctorIdCardNo");
        let mut id_number = self.opener.open(Some(&caller.name), &number).await.unwrap_or(number);
        // What did not open says nothing; the first call about a patient may say it.
        if sm2::looks_encrypted(&id_number) {
            id_number.clear();
        }
        let doctor = Doctor {
            hospital,
            user: text("hisUserId"),
            name: text("doctorName"),
            department: text("department"),
            department_code: text("departmentCode"),
            kind: text("doctorType"),
            code: text("doctorCode"),
            id_number,
        };
        let Some(code) = access::secret() else { return Ok(Told::Failed) };
        let mac = hardware_address(login.text("mac").unwrap_or_default());
        self.ledger.begin_session(doctor, access::hashed(&code), mac, now).await?;
        Ok(Told::In(format!("/workstation/?code={code}")))
    }
}
