//! The doors themselves: TLS, health, metrics, the way out, and a configuration that is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use forepost::limits::{CONNECTIONS_MAX, REQUESTS_MAX};

use crate::support::forepost::{Forepost, REGISTER};
use crate::support::http;
use crate::support::patient::{Patient, personal};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, wait_for};

#[test]
fn registrations_are_taken_over_https() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let zone = "listen_tls = \"127.0.0.1:0\"\ncertificate = \"{folder}/door.pem\"\n\
                certificate_key = \"{folder}/door.key\"\n";
    let files = vec![("door.pem", made.cert.pem()), ("door.key", made.signing_key.serialize_pem())];
    let setup = Setup { hospital_zone: zone.to_owned(), files, ..Setup::default() };
    let forepost = Forepost::start(setup);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let registration = Patient::new(100).registration(26, 0);
    let port = forepost.hospital_tls().rsplit(':').next().unwrap().to_owned();
    let mut curl = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--max-time", "20", "--data-binary", "@-", "--cacert"])
        .arg(&authority)
        .args(["-H", "Content-Type: application/json", "--resolve"])
        .arg(format!("localhost:{port}:127.0.0.1"))
        .arg(format!("https://localhost:{port}{REGISTER}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    curl.stdin.take().unwrap().write_all(registration.to_string().as_bytes()).unwrap();
    let answer = curl.wait_with_output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(told["code"], 200);
    assert_eq!(forepost.plans().len(), 1);
}

#[test]
fn the_authority_that_the_verb_makes_signs_for_our_names_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["certificate", "localhost", "192.0.2.1", "--folder", &at("")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.contains(&at("authority.pem")) && said.contains("chgrp forepost"), "{said}");
    let text = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    let zone = "listen_tls = \"127.0.0.1:0\"\ncertificate = \"{folder}/door.pem\"\n\
                certificate_key = \"{folder}/door.key\"\n";
    let files = vec![("door.pem", text("door.pem")), ("door.key", text("door.key"))];
    let setup = Setup { hospital_zone: zone.to_owned(), files, ..Setup::default() };
    let forepost = Forepost::start(setup);
    let port = forepost.hospital_tls().rsplit(':').next().unwrap().to_owned();
    for (host, expected) in
        [("localhost", "2 404"), ("192.0.2.1", "2 404"), ("other.test", "0 000")]
    {
        let answer = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "--noproxy", "*", "--max-time", "20", "--http2"])
            .args(["-w", "%{http_version} %{http_code}", "--cacert", &at("authority.pem")])
            .args(["--connect-to", &format!("{host}:443:127.0.0.1:{port}")])
            .arg(format!("https://{host}/nothing"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout), expected, "{host}");
    }
    // Somebody who stole its key can do nothing else with it.
    for (name, purpose, expected) in [
        ("DNS:localhost", "sslserver", true),
        ("DNS:bank.test", "sslserver", false),
        ("IP:10.0.0.1", "sslserver", false),
        ("DNS:localhost", "sslclient", false),
        ("DNS:localhost", "smimesign", false),
    ] {
        let script = "openssl req -newkey rsa:2048 -nodes -keyout stolen.key -subj /CN=x \
                      -out stolen.csr 2>/dev/null; \
                      echo subjectAltName=$0 > names.cnf; \
                      openssl x509 -req -in stolen.csr -CA authority.pem -CAkey authority.key \
                      -CAcreateserial -extfile names.cnf -out stolen.pem 2>/dev/null; \
                      openssl verify -purpose $1 -CAfile authority.pem stolen.pem";
        let verified = Command::new("sh")
            .args(["-c", script, name, purpose])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(verified.status.success(), expected, "{name} {purpose}: {verified:?}");
    }
}

#[test]
fn plain_http_on_the_door_with_tls_is_turned_away() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let zone = "listen = \"127.0.0.1:0\"\nlisten_tls = \"127.0.0.1:0\"\n\
                certificate = \"{folder}/door.pem\"\ncertificate_key = \"{folder}/door.key\"\n";
    let files = vec![("door.pem", made.cert.pem()), ("door.key", made.signing_key.serialize_pem())];
    let setup = Setup { hospital_zone: zone.to_owned(), files, ..Setup::default() };
    let forepost = Forepost::start(setup);
    let body = Patient::new(101).registration(26, 0).to_string();
    let answer = http::ask(&forepost.hospital_tls(), "POST", REGISTER, &[], body.as_bytes());
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(forepost.metric("registrations_kept"), 0.0);
}

#[test]
fn an_address_that_is_not_allowed_is_not_answered_at_all() {
    let zone = "listen = \"127.0.0.1:0\"\nallow = [\"192.0.2.0/24\"]\n".to_owned();
    let forepost = Forepost::start(Setup { hospital_zone: zone, ..Setup::default() });
    assert!(forepost.try_ask("GET", "/dicom-web/studies", &[], b"").is_err());
    assert_eq!(forepost.metric("connections_refused_total"), 1.0);
}

#[test]
fn health_and_metrics_stand_on_the_console_zone_only() {
    let forepost = Forepost::start(Setup::default());
    forepost.accept(&Patient::new(102).registration(26, 0));
    let health = http::ask(&forepost.console(), "GET", "/health", &[], b"").unwrap();
    assert_eq!((health.status, &health.json()["status"]), (200, &serde_json::json!("ok")));
    assert_eq!(forepost.metric("registrations_kept"), 1.0);
    assert_eq!(forepost.metric("interface_requests_total"), 1.0);
    for target in ["/health", "/metrics"] {
        assert_eq!(forepost.get(target).status, 404, "{target}");
        let pushed = http::ask(&forepost.console(), "POST", REGISTER, &[], b"{}").unwrap();
        assert_eq!(pushed.status, 404);
    }
}

#[test]
fn sigterm_lets_an_open_request_end_and_then_leaves_with_success() {
    let mut forepost = Forepost::start(Setup::default());
    let registration = Patient::new(103).registration(26, 0);
    forepost.keep_secret(personal(&registration));
    let body = registration.to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let head = format!(
        "POST {REGISTER} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{first}",
        body.len()
    );
    let mut stream = std::net::TcpStream::connect(forepost.hospital()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // A second connection that has been answered proves that the first one was accepted: both
    // wait in one queue.
    assert_eq!(forepost.get("/").status, 404);
    let ending = std::thread::spawn({
        let (rest, log) = (rest.to_owned(), forepost.log_path());
        move || {
            let draining = wait_for(PATIENCE, || {
                std::fs::read_to_string(&log).ok()?.contains("draining").then_some(())
            });
            draining.expect("SIGTERM begins to drain");
            stream.write_all(rest.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
            answer
        }
    });
    let status = forepost.stop();
    let answer = ending.join().unwrap();
    assert!(answer.contains("\"code\":200"), "the open request was answered: {answer:?}");
    assert_eq!(status.code(), Some(0));
    assert!(forepost.log().contains("stopped"));
    forepost.restart();
    assert_eq!(forepost.plans().len(), 1);
}

#[test]
fn a_wrong_configuration_ends_with_64_and_names_every_mistake() {
    let more = "[[source]]\nname = \"region\"\ncolour = \"red\"\n".to_owned();
    let forepost = Forepost::prepare(Setup { more, ..Setup::default() });
    forepost.setup.write(forepost.data().parent().unwrap());
    for verb in ["check", "serve"] {
        let output = forepost.verb(&[verb]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{verb}: {words}");
        for key in ["source[0].url", "source[0].colour", "source[0].patient_key"] {
            assert!(words.contains(key), "{verb} does not name {key}: {words}");
        }
    }
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let callers = "[[caller]]\nname = \"his\"\ntoken_file = \"{folder}/his.token\"\npush = true\n";
    let files = vec![("his.token", "tokentokentoken-1".to_owned())];
    let forepost =
        Forepost::prepare(Setup { callers: callers.to_owned(), files, ..Setup::default() });
    let folder = forepost.data().parent().unwrap().to_owned();
    forepost.setup.write(&folder);
    assert_eq!(forepost.verb(&["check"]).status.code(), Some(0));
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.join("his.token"), open).unwrap();
    let output = forepost.verb(&["check"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("caller[0].token_file"));
}

/// A request whose body does not end, and the rest of that body.
fn slow_request(forepost: &Forepost, number: usize) -> (TcpStream, String) {
    let registration = Patient::new(5_000 + number as u32).registration(26, number as i64);
    forepost.keep_secret(personal(&registration));
    let body = registration.to_string();
    let (first, rest) = body.split_at(1);
    let mut stream = TcpStream::connect(forepost.hospital()).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {REGISTER} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{first}"
    )
    .unwrap();
    (stream, rest.to_owned())
}

fn health(forepost: &Forepost) -> u16 {
    http::ask(&forepost.console(), "GET", "/health", &[], b"").unwrap().status
}

/// Two ends of every connection are files of ours, and of the appliance that inherits the limit.
fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call fills the structure, which outlives it.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads the structure, which outlives it.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let needed = 2 * CONNECTIONS_MAX as u64;
    assert!(limit.rlim_cur > needed, "this machine allows {} open files", limit.rlim_cur);
}

#[test]
fn past_its_bounds_a_zone_says_503_or_lets_wait_and_the_console_answers_all_the_same() {
    allow_many_files();
    let forepost = Forepost::start(Setup { log: "info", ..Setup::default() });
    let address = forepost.hospital();
    let mut slow: Vec<_> = (1..REQUESTS_MAX).map(|at| slow_request(&forepost, at)).collect();
    assert_eq!(forepost.get("/").status, 404, "one more request has its place");
    slow.push(slow_request(&forepost, REQUESTS_MAX));
    let refused = wait_for(PATIENCE, || {
        let reply = forepost.get("/");
        (reply.status == 503).then_some(reply)
    });
    let refused = refused.expect("a request beyond the bound is refused");
    assert!(refused.body.is_empty(), "503 is bare: no interface was reached");
    assert!(forepost.metric("requests_overload_total") >= 1.0);
    assert_eq!(health(&forepost), 200);

    // Connections that only begin a request fill the places of the zone.
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in REQUESTS_MAX..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        idle.push(stream);
    }
    let mut waiting = TcpStream::connect(&address).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let early = waiting.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "it waits for a place");
    assert_eq!(health(&forepost), 200);

    // Every request ends well, and then there is a place for whoever waits.
    for (mut stream, rest) in slow {
        stream.write_all(rest.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(forepost.metric("registrations_kept"), REQUESTS_MAX as f64);
}
