//! One attempt, judged; and what a destination is shown and sent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::model::UtcOffset;
use crate::seal::rsa::RsaKey;
use crate::seal::sm2::Sm2Key;
use crate::upstream::SignPart;

fn end(status: u16, body: &str) -> &'static str {
    let interface = catalog::find(crate::settlement::PUSH).unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    judge(interface, status, None, body.as_bytes()).0.name()
}

#[test]
fn an_answer_is_judged_by_its_body_and_in_doubt_it_is_ambiguous() {
    for body in [r#"{"code":200}"#, r#"{"code":"0"}"#, "{\"code\" : \" 200 \",\"x\":1}"] {
        assert_eq!(end(200, body), "delivered", "{body}");
    }
    assert_eq!(end(200, r#"{"code":400,"message":"x"}"#), "refused");
    assert_eq!(end(400, r#"{"code":400}"#), "refused");
    assert_eq!(end(200, r#"{"code":401}"#), "not taken");
    assert_eq!(end(200, r#"{"code":500}"#), "ambiguous");
    assert_eq!(end(200, r#"{"code":7777}"#), "ambiguous");
    for body in ["", "<html>", "{}", "[]", r#"{"code":true}"#, r#"{"code":null}"#, "{\"code"] {
        assert_eq!(end(200, body), "ambiguous", "{body}");
    }
    assert_eq!(end(500, r#"{"code":200}"#), "ambiguous", "status and body disagree");
    for (status, expected) in [
        (301, "not taken"),
        (400, "refused"),
        (401, "not taken"),
        (404, "not taken"),
        (413, "refused"),
        (429, "not taken"),
        (500, "ambiguous"),
        (502, "ambiguous"),
        (503, "not taken"),
        (504, "ambiguous"),
    ] {
        assert_eq!(end(status, "<html>"), expected, "{status}");
    }
}

#[test]
fn a_code_cannot_carry_a_line_or_a_name_into_a_log() {
    let interface = catalog::find(crate::settlement::PUSH).unwrap();
    let body = "{\"code\":\"4\\n00 \u{5f20}\u{4e09} aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
    let (_, receipt) = judge(interface, StatusCode::OK, None, body.as_bytes());
    assert_eq!(receipt.code, "400aaaaaaaaaaaaa");
}

/// A platform that gives out `token-1`, `token-2` …, and denies so many calls.
#[derive(Default)]
struct Cloud {
    given: AtomicUsize,
    denies: AtomicUsize,
    took: Mutex<Vec<(String, Value)>>,
}

async fn get_token(State(cloud): State<Arc<Cloud>>) -> String {
    let number = cloud.given.fetch_add(1, Ordering::SeqCst) + 1;
    json!({"status": 0, "result": {"token": format!("token-{number}")}}).to_string()
}

async fn take(State(cloud): State<Arc<Cloud>>, headers: HeaderMap, body: Bytes) -> String {
    let shown = headers.get("token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if cloud.denies.load(Ordering::SeqCst) > 0 {
        cloud.denies.fetch_sub(1, Ordering::SeqCst);
        return json!({"code": "401", "message": "token"}).to_string();
    }
    let body = serde_json::from_slice(&body).expect("a JSON body");
    cloud.took.lock().unwrap().push((shown.to_owned(), body));
    json!({"code": 200}).to_string()
}

/// Starts one; gives its base address.
async fn start() -> (Arc<Cloud>, String) {
    let cloud = Arc::new(Cloud::default());
    let router = Router::new()
        .route("/getToken", post(get_token))
        .fallback(take)
        .with_state(Arc::clone(&cloud));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (cloud, base)
}

fn claimed(interface: &str, body: Value) -> ClaimedDelivery {
    ClaimedDelivery {
        id: 1,
        interface: interface.into(),
        hospital: "H1".into(),
        destination: "cloud".into(),
        body: body.to_string().into_bytes(),
        attempt: 1,
        deadline_at: None,
    }
}

/// A public key of 1024 bits, made for this test; its private half was thrown away.
const RSA_KEY: &str = include_str!("../../../tests/fixtures/rsa_public.pem");

fn with_token(base: &str) -> DestinationOptions {
    let mut options =
        DestinationOptions::new("cloud".into(), base.into(), vec!["ic-register-push".into()]);
    let token = TokenOptions {
        name: "cloud".into(),
        url: format!("{base}/getToken"),
        public_key: RsaKey::from_text(RSA_KEY).unwrap(),
        parts: SignPart::DOCUMENT.to_vec(),
        app_id: "app".into(),
        org_id: "org".into(),
        license: "license".into(),
        offset: UtcOffset::china(),
        life: Duration::from_secs(7_200),
        grace: Duration::from_secs(900),
        authorities_pem: String::new(),
        client_certificate: None,
        waits: Default::default(),
    };
    options.login = Login::Token("token".into(), Box::new(token));
    options
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_delivery_made() {
    let (cloud, base) = start().await;
    let platform = Platform::new(&[with_token(&base)]).ok().unwrap();
    let one = claimed("ic-register-push", json!({"patientName": "x"}));
    assert_eq!(platform.carry(&one).await.0, AttemptEnd::Delivered);
    assert_eq!(platform.carry(&one).await.0, AttemptEnd::Delivered);
    assert_eq!(cloud.given.load(Ordering::SeqCst), 1, "kept from call to call");
    cloud.denies.store(1, Ordering::SeqCst);
    assert_eq!(platform.carry(&one).await.0, AttemptEnd::Delivered);
    let shown: Vec<String> = cloud.took.lock().unwrap().iter().map(|one| one.0.clone()).collect();
    assert_eq!(shown, ["token-1", "token-1", "token-2"]);
    cloud.denies.store(usize::MAX, Ordering::SeqCst);
    let (end, _) = platform.carry(&one).await;
    assert!(matches!(end, AttemptEnd::NotTaken { .. }), "{end:?}");
    assert_eq!(cloud.given.load(Ordering::SeqCst), 2, "a platform that refuses all is left alone");
}

#[tokio::test]
async fn identity_numbers_leave_under_the_destinations_key() {
    let (cloud, base) = start().await;
    let key = Sm2Key::generate().unwrap();
    let mut options = DestinationOptions::new("cloud".into(), base, vec!["ic-check-again".into()]);
    let form = Form::from_name("c1c2c3").unwrap();
    let encoding = Encoding::from_name("base64").unwrap();
    options.seal = Some(Seal { key: key.public(), form, encoding });
    let platform = Platform::new(&[options]).ok().unwrap();
    let body = json!({"idCardNo": "110199199001010011", "doctorIdCardNo": "", "mac": "1"});
    let one = claimed("ic-check-again", body);
    assert_eq!(platform.carry(&one).await.0, AttemptEnd::Delivered);
    let took = cloud.took.lock().unwrap().pop().unwrap().1;
    let sent = took["idCardNo"].as_str().unwrap();
    assert!(!sent.contains("110199"));
    let opened = key.decrypt(sent, None).unwrap();
    assert_eq!((opened.0.as_str(), opened.1), ("110199199001010011", form));
    assert_eq!(took["mac"], "1");
}
