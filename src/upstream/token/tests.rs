//! The keeper against a platform over HTTP, and its `sign` against OpenSSL.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::fault::{Blame, Retry};
use crate::upstream::Credentials;
use crate::upstream::dicomweb::tests::server::{JSON, Server, reply};
use crate::upstream::dicomweb::tests::{issued, tls};

const NOW: Time = Time(1_795_219_200_000);
const HOUR: i64 = 3_600_000;

/// A platform that gives out `token-1`, `token-2` and so on.
#[derive(Default)]
struct Platform {
    given: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    /// Answers with status 1 in the body.
    refuses: AtomicBool,
    /// Never answers.
    hangs: AtomicBool,
    signs: Mutex<Vec<String>>,
}

async fn get_token(Shared(platform): Shared<Arc<Platform>>, body: Bytes) -> Response {
    let at_once = platform.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    platform.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "nothing but the sign: {body}");
    platform.signs.lock().unwrap().push(body["sign"].as_str().unwrap().to_owned());
    // Long enough for every caller of a test to wait behind the first.
    tokio::time::sleep(Duration::from_millis(100)).await;
    if platform.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    platform.at_once.fetch_sub(1, Ordering::SeqCst);
    let number = platform.given.fetch_add(1, Ordering::SeqCst) + 1;
    if platform.refuses.load(Ordering::SeqCst) {
        return json!({"status": 1, "message": "license"}).to_string().into_response();
    }
    json!({"status": "0", "result": {"token": format!("token-{number}")}})
        .to_string()
        .into_response()
}

/// A running platform; it ends with its value.
struct Running {
    platform: Arc<Platform>,
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start() -> Running {
    let platform = Arc::new(Platform::default());
    let router = Router::new()
        .route("/openapi/v1/auth/getToken", post(get_token))
        .with_state(Arc::clone(&platform));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/openapi/v1/auth/getToken", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Running { platform, url, task }
}

/// Runs OpenSSL; gives what it prints.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut program = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl starts; .ci/setup installs it");
    program.stdin.take().unwrap().write_all(input).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

/// A private key as PEM, and its public half.
fn key_pair(bits: u16) -> (Vec<u8>, String) {
    let size = format!("rsa_keygen_bits:{bits}");
    let private = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &size], b"");
    let public = openssl(&["pkey", "-pubout"], &private);
    (private, String::from_utf8(public).unwrap())
}

fn options(url: &str, public: &str) -> TokenOptions {
    TokenOptions {
        name: "region".into(),
        url: url.into(),
        public_key: RsaKey::from_text(public).unwrap(),
        parts: SignPart::DOCUMENT.to_vec(),
        app_id: "app-17".into(),
        org_id: "45010000".into(),
        license: "license-secret".into(),
        offset: UtcOffset::china(),
        life: Duration::from_secs(2 * 3600),
        grace: Duration::from_secs(900),
        authorities_pem: String::new(),
        client_certificate: None,
        waits: Waits::default(),
    }
}

fn keeper(url: &str) -> TokenKeeper {
    TokenKeeper::new(options(url, &key_pair(1024).1)).unwrap()
}

async fn text(keeper: &TokenKeeper, now: Time) -> String {
    keeper.token(now).await.unwrap().value().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_its_life_is_over() {
    let running = start().await;
    let keeper = keeper(&running.url);
    for (now, expected) in [
        (NOW, "token-1"),
        (NOW.plus_ms(2 * HOUR - 1), "token-1"),
        (NOW.plus_ms(2 * HOUR), "token-2"),
        (NOW.plus_ms(4 * HOUR - 1), "token-2"),
        // The clock was set back.
        (NOW, "token-3"),
    ] {
        assert_eq!(text(&keeper, now).await, expected);
    }
}

#[tokio::test]
async fn twenty_callers_at_once_make_one_renewal() {
    let running = start().await;
    let keeper = Arc::new(keeper(&running.url));
    for round in 1..=2 {
        let callers: Vec<_> = (0..20)
            .map(|caller| {
                let keeper = Arc::clone(&keeper);
                // Each has read the clock for itself; the first to ask need not be the earliest.
                let now = NOW.plus_ms(20 - caller);
                tokio::spawn(async move { keeper.token(now).await.unwrap() })
            })
            .collect();
        for caller in callers {
            let token = caller.await.unwrap();
            assert_eq!(token.value(), &format!("token-{round}"));
            // All say so, and all mean the same token.
            keeper.refused(&token);
        }
        assert_eq!(running.platform.given.load(Ordering::SeqCst), round);
        assert_eq!(running.platform.most_at_once.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_refusal_renews_once_and_a_second_one_waits() {
    let running = start().await;
    let keeper = keeper(&running.url);
    let first = keeper.token(NOW).await.unwrap();
    keeper.refused(&first);
    let second = keeper.token(NOW.plus_ms(10)).await.unwrap();
    assert_ne!(second, first);
    keeper.refused(&first);
    assert_eq!(keeper.token(NOW.plus_ms(20)).await, Ok(second.clone()), "an old refusal is old");
    keeper.refused(&second);
    let fault = keeper.token(NOW.plus_ms(30)).await.unwrap_err();
    assert_eq!((fault.step, fault.blame), ("token refused", Blame::Peer));
    assert_eq!(fault.retry, Retry::AfterMs(TOKEN_REFUSED_MS - 20));
    assert_eq!(running.platform.given.load(Ordering::SeqCst), 2, "nobody asks in vain");
    assert_eq!(text(&keeper, NOW.plus_ms(10 + TOKEN_REFUSED_MS)).await, "token-3");
}

#[tokio::test]
async fn a_platform_that_refuses_is_a_fault_for_all_who_wait_and_is_left_alone() {
    let running = start().await;
    running.platform.refuses.store(true, Ordering::SeqCst);
    let keeper = Arc::new(keeper(&running.url));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let keeper = Arc::clone(&keeper);
            tokio::spawn(async move { keeper.token(NOW).await.unwrap_err() })
        })
        .collect();
    for caller in callers {
        let fault = caller.await.unwrap();
        assert_eq!(fault.to_string(), "token refused: code 1 in the body");
        assert_eq!(fault.retry, Retry::AfterMs(TOKEN_PAUSE_MS));
    }
    assert_eq!(running.platform.given.load(Ordering::SeqCst), 1);
    running.platform.refuses.store(false, Ordering::SeqCst);
    assert!(keeper.token(NOW.plus_ms(TOKEN_PAUSE_MS - 1)).await.is_err());
    assert_eq!(text(&keeper, NOW.plus_ms(TOKEN_PAUSE_MS)).await, "token-2");
}

#[tokio::test]
async fn a_platform_that_is_down_lets_the_old_token_go_on_for_its_grace() {
    let running = start().await;
    let keeper = keeper(&running.url);
    let token = keeper.token(NOW).await.unwrap();
    running.task.abort();
    // The listener goes with its task, and open connections with it.
    while TcpListener::bind(running.url[7..].split('/').next().unwrap()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = NOW.plus_ms(2 * HOUR + 60_000);
    assert_eq!(keeper.token(late).await, Ok(token.clone()));
    let gone = NOW.plus_ms(2 * HOUR + 900_000);
    let fault = keeper.token(gone).await.unwrap_err();
    assert_eq!((fault.step, fault.blame), ("connect", Blame::Peer));
    assert!(!fault.to_string().contains("secret"));
    // A refused one has no grace.
    let again = keeper.token(NOW.plus_ms(HOUR)).await;
    assert_eq!(again, Ok(token.clone()), "before its end nobody is asked");
    keeper.refused(&token);
    assert!(keeper.token(NOW.plus_ms(HOUR)).await.is_err());
}

#[tokio::test]
async fn a_platform_that_hangs_is_waited_for_only_so_long() {
    let running = start().await;
    running.platform.hangs.store(true, Ordering::SeqCst);
    let waits = Waits { head: Duration::from_millis(400), ..Waits::default() };
    let (_, public) = key_pair(1024);
    let options = TokenOptions { waits, ..options(&running.url, &public) };
    let keeper = Arc::new(TokenKeeper::new(options).unwrap());
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let keeper = Arc::clone(&keeper);
            tokio::spawn(async move { keeper.token(NOW).await.unwrap_err() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().step, "timeout");
    }
    assert_eq!(running.platform.signs.lock().unwrap().len(), 1, "one waits for all");
}

#[tokio::test]
async fn the_sign_opens_under_the_private_key_as_the_configured_parts() {
    let running = start().await;
    for (bits, parts, expected) in [
        (1024, SignPart::DOCUMENT.to_vec(), "app-17,45010000,license-secret"),
        (
            2048,
            vec![SignPart::AppId, SignPart::License, SignPart::Time],
            "app-17,license-secret,2026-11-21 08:00:00",
        ),
    ] {
        let (private, public) = key_pair(bits);
        let options = TokenOptions { parts, ..options(&running.url, &public) };
        TokenKeeper::new(options).unwrap().token(NOW).await.unwrap();
        let sign = running.platform.signs.lock().unwrap().pop().unwrap();
        let sealed = BASE64_STANDARD.decode(&sign).unwrap();
        assert_eq!(sealed.len(), usize::from(bits) / 8);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), private).unwrap();
        let key = file.path().to_str().unwrap();
        let plain = openssl(&["pkeyutl", "-decrypt", "-inkey", key], &sealed);
        assert_eq!(String::from_utf8(plain).unwrap(), expected);
    }
    for part in SignPart::ALL {
        assert_eq!(SignPart::from_name(part.name()), Some(part));
    }
}

#[tokio::test]
async fn a_call_shows_the_token_in_its_own_header_and_renews_it_after_a_refusal() {
    let running = start().await;
    let credentials = Credentials::token("token", Arc::new(keeper(&running.url))).unwrap();
    for expected in ["token-1", "token-2"] {
        let mut head = HeaderMap::new();
        let put = credentials.put(&mut head, NOW).await.unwrap();
        assert_eq!(head["token"], expected);
        assert!(!format!("{head:?} {put:?}").contains(expected), "it is not printed");
        assert!(credentials.refused(put.as_ref()));
    }
    assert!(Credentials::token("to ken", Arc::new(keeper(&running.url))).is_err());
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_the_platform_wants_one() {
    let (servers, clients) = (issued(), issued());
    let server = Server::tls(tls(&servers, Some(&clients)), |_| {
        let mut acts = reply("200 OK", JSON, r#"{"code":200,"data":{"token":"t-1"}}"#);
        // The server does not read bodies, so that its connections serve one request.
        acts.pop();
        acts
    })
    .await;
    let (_, public) = key_pair(1024);
    let mut options = options(&format!("{}/getToken", server.origin), &public);
    options.authorities_pem = servers.authority.pem();
    let without = TokenKeeper::new(options.clone()).unwrap();
    assert_eq!(without.token(NOW).await.unwrap_err().blame, Blame::Peer);
    options.client_certificate = Some(ClientCertificate {
        chain_pem: clients.certificate.pem(),
        key_pem: clients.key.serialize_pem().into(),
    });
    assert_eq!(text(&TokenKeeper::new(options).unwrap(), NOW).await, "t-1");
    assert_eq!(server.targets(), ["/getToken"], "without it nothing was asked");
}

#[test]
fn options_that_cannot_work_are_refused() {
    let (_, public) = key_pair(1024);
    for url in ["platform/getToken", "ftp://a/b", "http://u:secret@a/b", "http://a/b?c=1"] {
        let error = TokenKeeper::new(options(url, &public)).err().unwrap();
        assert!(matches!(error, OptionsError::BaseUrl { .. }), "{url}");
        assert!(!error.to_string().contains("secret"));
    }
    let license = "x".repeat(117).into();
    let error = TokenKeeper::new(TokenOptions { license, ..options("http://a/b", &public) });
    assert!(matches!(error.err(), Some(OptionsError::Sign(_))));
}
