//! `forepost doctor` against real peers, well and ill: what it says, and what it says to do.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::power::Disk;
use crate::support::archive;
use crate::support::cloud::{Act, Cloud};
use crate::support::databases::{Database, System};
use crate::support::forepost::{Forepost, first_of};
use crate::support::his;
use crate::support::http::{self, Reply};
use crate::support::orthanc::{self, Orthanc};
use crate::support::patient::{Patient, personal};
use crate::support::platform::{Platform, settlement};
use crate::support::programs::openssl;
use crate::support::setup::Setup;
use crate::support::tls::TlsServer;
use crate::support::{PATIENCE, wait_for};

const DAY: i64 = 86_400;

/// Everything that the verb says, whether something fails or not.
fn looked(forepost: &Forepost, arguments: &[&str]) -> Value {
    let output = forepost.verb(&[&["doctor", "--json"], arguments].concat());
    let words = String::from_utf8_lossy(&output.stderr);
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in what it said, and on stderr {words}"));
    let expected = if told["failing"].as_u64() == Some(0) { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(expected), "{told:#}");
    told
}

/// An appliance that was started once, so that its data is there, and does not run.
fn prepared(setup: Setup) -> Forepost {
    let mut forepost = Forepost::start(setup);
    forepost.stop();
    forepost
}

/// Step and state of each finding of a subject.
fn steps(told: &Value, subject: &str) -> Vec<(String, String)> {
    let findings = told["findings"].as_array().expect("findings are a list");
    let text = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
    let own = findings.iter().filter(|one| one["subject"] == subject);
    own.map(|one| (text(one, "step"), text(one, "state"))).collect()
}

/// One finding.
fn finding<'a>(told: &'a Value, subject: &str, step: &str) -> &'a Value {
    let findings = told["findings"].as_array().expect("findings are a list");
    let found = findings.iter().find(|one| one["subject"] == subject && one["step"] == step);
    found.unwrap_or_else(|| panic!("no {step} of {subject} in {told:#}"))
}

/// That a step failed or warns, with these words and this next step in each language.
fn says(told: &Value, subject: &str, step: &str, state: &str, words: [&str; 2], next: [&str; 2]) {
    let found = finding(told, subject, step);
    assert_eq!(found["state"], state, "{found:#}");
    for (key, wanted) in
        [("zh", words[0]), ("en", words[1]), ("next_zh", next[0]), ("next_en", next[1])]
    {
        let text = found[key].as_str().unwrap_or_default();
        assert!(text.contains(wanted), "{key}: {wanted} in {found:#}");
    }
}

fn fine(steps: &[&str]) -> Vec<(String, String)> {
    steps.iter().map(|step| ((*step).to_owned(), "fine".to_owned())).collect()
}

/// A server of SNTP (RFC 4330) that is so many milliseconds ahead of this machine.
fn time_server(ahead_ms: i64) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("a bound address").to_string();
    std::thread::spawn(move || {
        let mut packet = [0; 48];
        while let Ok((48, from)) = socket.recv_from(&mut packet) {
            let mut answer = [0; 48];
            // Version 4, a server, of stratum 2; the question's time comes back as its origin.
            (answer[0], answer[1]) = (4 << 3 | 4, 2);
            answer[24..32].copy_from_slice(&packet[40..48]);
            let now = forepost::clock::wall().0 + ahead_ms;
            let (seconds, rest) = (now.div_euclid(1_000) + 2_208_988_800, now.rem_euclid(1_000));
            let stamp = ((seconds as u64) << 32) | (((rest as u64) << 32) / 1_000);
            answer[32..40].copy_from_slice(&stamp.to_be_bytes());
            answer[40..48].copy_from_slice(&stamp.to_be_bytes());
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

#[test]
fn peers_that_are_well_are_told_so_and_get_no_record() {
    let orthanc = Orthanc::start();
    let platform = Platform::start();
    let database = Database::start(System::Postgres);
    his::make(&database, "his", his::name_with_blank(System::Postgres), None);
    let web = Cloud::before(&orthanc);
    let pacs = archive::dimse_source("pacs", &orthanc.dicom, orthanc::TITLE, "");
    let mut setup = Setup::with(&[web.source("region"), pacs]);
    setup.more = platform.for_settlements();
    setup.more.push_str(&his::tables(&database.connection("his"), "", ""));
    setup.root = format!("time_server = \"{}\"\n", time_server(0));
    let forepost = prepared(setup);

    let told = looked(&forepost, &[]);
    assert_eq!(steps(&told, "source region"), fine(&["tcp", "call"]), "{told:#}");
    assert_eq!(steps(&told, "source pacs"), fine(&["tcp", "association", "call"]), "{told:#}");
    assert_eq!(steps(&told, "destination cloud"), fine(&["tcp", "call"]), "{told:#}");
    assert_eq!(steps(&told, "database his")[..2], fine(&["tcp", "credentials"]), "{told:#}");
    // The view of the tests has no column for the doctor.
    let words = ["缺少必填字段：outpatientDocCode", "lacks required columns: outpatientDocCode"];
    says(&told, "database his", "view", "warning", words, ["补齐字段", "[views.columns]"]);
    let ledger = ["open", "integrity", "reserve", "account"];
    assert_eq!(steps(&told, "ledger"), fine(&ledger), "{told:#}");
    assert_eq!(steps(&told, "keys"), fine(&["mode"]), "{told:#}");
    assert_eq!(finding(&told, "clock", "offset")["state"], "fine");
    assert!(finding(&told, "clock", "offset")["clock_ahead_ms"].as_i64().unwrap().abs() < 2_000);
    assert_eq!(told["failing"], 0, "{told:#}");
    assert!(platform.bodies().iter().all(Value::is_null), "no record was sent");
    // One search for nobody, and no patient's number in it.
    let asked: Vec<String> = web.asked().into_iter().map(|one| one.target).collect();
    assert!(asked.len() == 1 && asked[0].contains("StudyInstanceUID=2.25."), "{asked:?}");

    let only = looked(&forepost, &["--only", "source pacs", "--only", "clock"]);
    let findings = only["findings"].as_array().unwrap().iter();
    let subjects: BTreeSet<&str> = findings.map(|one| one["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, BTreeSet::from(["clock", "source pacs"]));
    assert_eq!(forepost.verb(&["doctor", "--only", "sauce"]).status.code(), Some(64));

    let plain = forepost.verb(&["doctor"]);
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert!(plain.contains("source pacs\n  ok   tcp"), "{plain}");
    assert!(plain.trim_end().lines().last().unwrap().contains("0 failing"), "{plain}");
}

#[test]
fn a_database_that_lets_nobody_in_or_lacks_a_view_is_told() {
    let database = Database::start(System::Postgres);
    let stranger = database.connection("his").replace("UID=admin", "UID=nobody_here");
    let forepost = prepared(Setup { more: his::tables(&stranger, "", ""), ..Setup::default() });
    let told = looked(&forepost, &["--only", "database"]);
    says(
        &told,
        "database his",
        "credentials",
        "failing",
        ["数据库拒绝登录", "does not exist"],
        ["password_file", "may log in"],
    );

    let more = his::tables(&database.connection("his"), "", "");
    let forepost = prepared(Setup { more, ..Setup::default() });
    let told = looked(&forepost, &["--only", "database"]);
    says(
        &told,
        "database his",
        "view",
        "failing",
        ["视图 registrations 不可读", "view registrations cannot be read"],
        ["forepost views test registrations", "allowed to read it"],
    );
}

#[test]
fn the_days_of_a_certificate_are_counted_and_its_faults_named() {
    let servers = [
        ("twenty", "127.0.0.1", 20 * DAY + 3_600, true),
        ("five", "127.0.0.1", 5 * DAY + 3_600, true),
        ("half", "127.0.0.1", DAY / 2 + 600, true),
        ("over", "127.0.0.1", -3 * DAY - 3_600, true),
        ("long", "127.0.0.1", 300 * DAY, true),
        ("unknown", "127.0.0.1", 300 * DAY, false),
        ("other", "other.example", 300 * DAY, true),
    ];
    let mut setup = Setup::default();
    for (name, made_out_to, ends_in, is_known) in servers {
        let server = TlsServer::start(made_out_to, ends_in);
        let authority = match is_known {
            true => format!("ca_files = [\"{{folder}}/{name}.pem\"]\n"),
            false => String::new(),
        };
        setup.files.push((Box::leak(format!("{name}.pem").into_boxed_str()), server.authority));
        setup.sources.push(format!(
            "[[source]]\nname = \"{name}\"\nurl = \"https://{}/dicom-web\"\n{authority}\
             [[source.patient_key]]\nkind = \"idCardNo\"\n",
            server.address
        ));
    }
    let forepost = prepared(setup);
    let told = looked(&forepost, &["--only", "source"]);
    let renew = ["更换证书", "replaced"];
    let says = |name: &str, state: &str, words: [&str; 2], next: [&str; 2]| {
        says(&told, &format!("source {name}"), "tls", state, words, next);
    };
    says("twenty", "warning", ["还有 20 天到期", "ends in 20 days"], ["更换证书", "replace it"]);
    says("five", "warning", ["还有 5 天到期", "ends in 5 days"], ["更换证书", "replace it"]);
    says("half", "failing", ["还有 12 小时到期", "ends in 12 h"], ["更换证书", "replace it"]);
    says("over", "failing", ["已过期 3 天", "ended 3 days ago"], renew);
    let authority = ["由未知机构签发", "authority that is not known"];
    says("unknown", "failing", authority, ["ca_files", "ca_files"]);
    let name = ["不是签给 127.0.0.1 的", "not made out to 127.0.0.1"];
    says("other", "failing", name, ["重新签发", "made anew"]);
    assert_eq!(steps(&told, "source long"), fine(&["tcp", "tls", "call"]));
    // What still works is called all the same.
    assert_eq!(finding(&told, "source half", "call")["state"], "fine");
    assert!(finding(&told, "source over", "tls")["certificate_ends_ms"].is_i64());
}

#[test]
fn every_way_to_fail_has_its_own_words_and_next_step() {
    let orthanc = Orthanc::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = Cloud::alone(|_| Act::status(401));
    let absent = Cloud::alone(|_| Act::status(404));
    let page = Cloud::alone(|_| Act::Answer(200, Vec::new(), b"<html>log in</html>".to_vec()));
    let silent = Cloud::alone(|_| Act::Hang);
    let title = archive::dimse_source("title", &orthanc.dicom, "WRONG", "");
    let no_dicom = archive::dimse_source("web", &absent.address.to_string(), "REGION", "");
    let key = "[[source.patient_key]]\nkind = \"idCardNo\"\n";
    let at =
        |name: &str, url: &str| format!("[[source]]\nname = \"{name}\"\nurl = \"{url}\"\n{key}");
    let token = "[[source.header]]\nname = \"Authorization\"\nvalue_file = \"{folder}/token\"\n";
    let setup = Setup {
        files: vec![("token", "Bearer wrong-4711".into())],
        ..Setup::with(&[
            at("name", "http://archive.nowhere.invalid/dicom-web"),
            at("closed", &format!("http://{closed}/dicom-web")),
            at("plain", &format!("https://{}/dicom-web", absent.address)),
            refusing.source("token") + token,
            absent.source("path"),
            page.source("page"),
            silent.source("silent"),
            title,
            no_dicom,
        ])
    };
    let forepost = prepared(setup);
    let told = looked(&forepost, &["--only", "source"]);
    for (name, step, words, next) in [
        ("name", "dns", ["无法解析", "does not resolve"], ["getent hosts", "/etc/resolv.conf"]),
        ("closed", "tcp", ["拒绝连接", "no connection"], ["核对端口", "check the port"]),
        ("plain", "tls", ["TLS", "TLS"], ["端口可能不是 TLS", "speaks no TLS"]),
        ("token", "credentials", ["status 401", "status 401"], ["核对", "check the credentials"]),
        ("path", "call", ["没有这个地址", "not this address"], ["`url`", "the path in `url`"]),
        ("page", "call", ["格式", "not what was asked for"], ["登录页", "login page"]),
        ("silent", "call", ["没有应答", "not answered"], ["停滞", "hangs"]),
        ("title", "association", ["WRONG", "WRONG"], ["called_ae", "FOREPOST and this machine"]),
        ("web", "association", ["没有与", "no association"], ["DICOM", "forepost dicom echo"]),
    ] {
        says(&told, &format!("source {name}"), step, "failing", words, next);
    }
    assert_eq!(told["failing"], 9, "one failing step each: {told:#}");
    assert!(!told.to_string().contains("wrong-4711"), "{told:#}");
}

#[test]
fn a_clock_that_is_wrong_is_told_by_how_much() {
    let offset = |ahead_ms: i64| {
        let root = format!("time_server = \"{}\"\n", time_server(ahead_ms));
        let forepost = prepared(Setup { root, ..Setup::default() });
        finding(&looked(&forepost, &["--only", "clock"]), "clock", "offset").clone()
    };
    let [right, late, wrong] = [0, 10_000, -120_000].map(offset);
    assert_eq!(right["state"], "fine", "{right:#}");
    assert_eq!(late["state"], "warning", "{late:#}");
    assert!(late["zh"].as_str().unwrap().contains("慢 10."), "{late:#}");
    assert!(late["next_en"].as_str().unwrap().contains("timedatectl set-ntp true"), "{late:#}");
    assert_eq!(wrong["state"], "failing", "{wrong:#}");
    assert!((119_000..121_000).contains(&wrong["clock_ahead_ms"].as_i64().unwrap()), "{wrong:#}");

    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let root = format!("time_server = \"{}\"\n", deaf.local_addr().unwrap());
    let told = looked(&prepared(Setup { root, ..Setup::default() }), &["--only", "clock"]);
    let words = ["没有应答", "does not answer"];
    says(&told, "clock", "offset", "warning", words, ["UDP 123", "UDP port 123"]);
}

#[test]
fn a_full_disk_and_wrong_modes_are_told() {
    let Some(mut disk) = Disk::make() else {
        println!("skipped: no disk of its own (needs root, mkfs.ext4 and a loop device)");
        return;
    };
    disk.mount();
    let data = disk.folder().join("data");
    let forepost = prepared(Setup { data: Some(data.clone()), ..Setup::default() });
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(data.join(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("", 0o777);
    let told = looked(&forepost, &["--only", "disk"]);
    says(&told, "disk", "mode", "failing", ["777", "777"], ["chmod 750", "chmod 750"]);
    mode("", 0o750);
    mode("keys", 0o755);
    let told = looked(&forepost, &["--only", "ledger"]);
    says(&told, "keys", "mode", "failing", ["755", "755"], ["chmod 700", "chmod 700"]);
    mode("keys/ledger.keys", 0o644);
    let told = looked(&forepost, &["--only", "ledger"]);
    says(&told, "keys", "read", "failing", ["644", "644"], ["chmod 600", "chmod 600"]);
    mode("keys/ledger.keys", 0o600);
    std::os::unix::fs::chown(data.join("ledger/forepost.db"), Some(4711), None).unwrap();
    let told = looked(&forepost, &["--only", "disk"]);
    let words = ["不属于 uid 0", "does not belong to uid 0"];
    says(&told, "disk", "owner", "failing", words, ["chown -R", "chown -R"]);
    std::os::unix::fs::chown(data.join("ledger/forepost.db"), Some(0), None).unwrap();

    std::fs::remove_file(data.join("ledger/reserve")).unwrap();
    let mut filler = std::fs::File::create(disk.folder().join("filler")).unwrap();
    // What a look frees of the ledger's own log is filled as well.
    let told = wait_for(PATIENCE, || {
        // A piece that finds no room whole is not taken in part.
        let mut piece = 1 << 20;
        while piece >= 512 {
            if filler.write_all(&vec![7; piece]).is_err() {
                piece /= 2;
            }
        }
        let told = looked(&forepost, &["--only", "disk", "--only", "ledger"]);
        (finding(&told, "disk", "sync")["state"] == "failing").then_some(told)
    });
    let told = told.expect("nothing more can be written");
    let words = ["不再接收任何影像", "nothing is taken in"];
    says(&told, "disk", "room", "failing", words, ["cache evict", "cache evict"]);
    let words = ["无法在", "nothing can be written"];
    says(&told, "disk", "sync", "failing", words, ["磁盘已满", "the disk is full"]);
    says(&told, "ledger", "reserve", "warning", ["不在", "gone"], ["腾出", "make room"]);
}

/// The tables by which a destination wants a token, which is had there; the key is `{folder}/rsa`.
fn token_table(tokens: &Cloud) -> String {
    format!(
        "[destination.token]\nurl = \"http://{}/getToken\"\npublic_key = \"{{folder}}/rsa\"\n\
         app_id_file = \"{{folder}}/app\"\norg_id_file = \"{{folder}}/org\"\n\
         license_file = \"{{folder}}/license\"\n",
        tokens.address
    )
}

/// What the files of [`token_table`] hold.
fn token_files() -> Vec<(&'static str, String)> {
    let private = openssl(&["genrsa", "2048"], b"");
    let public = openssl(&["rsa", "-pubout"], &private);
    vec![
        ("rsa", String::from_utf8(public).unwrap()),
        ("app", "app-of-the-cloud-1234".into()),
        ("org", "org-of-the-cloud-1234".into()),
        ("license", "licence-of-the-cloud-1234".into()),
    ]
}

#[test]
fn a_token_is_had_or_its_refusal_told_and_one_that_ends_counted() {
    let platform = Platform::start();
    let tokens = |answer: Value| Cloud::alone(move |_| Act::json(&answer));
    let giving = tokens(json!({"status": 0, "result": {"token": "token-in-use-0815"}}));
    let refusing = tokens(json!({"status": 401, "message": "appId"}));
    let destination = |name: &str, tokens: &Cloud| {
        platform.destination(name, &["ic-settlement-push"]) + &token_table(tokens)
    };
    let claims = |days: i64| {
        let ends = forepost::clock::now().0 / 1_000 + days * DAY + 3_600;
        let claims = json!({"iss": "cloud", "exp": ends}).to_string();
        format!("Bearer e30.{}.c2lnbg", BASE64_URL_SAFE_NO_PAD.encode(claims))
    };
    let source = Cloud::alone(|_| Act::json(&json!([])));
    let header = "[[source.header]]\nname = \"Authorization\"\nvalue_file = \"{folder}/jwt\"\n";
    let mut setup = Setup::with(&[source.source("region") + header]);
    setup.more = destination("giving", &giving) + &destination("refusing", &refusing);
    setup.files = token_files();
    setup.files.push(("jwt", claims(6)));
    let forepost = prepared(setup);
    let told = looked(&forepost, &["--only", "destination", "--only", "source"]);
    let steps_of_giving = fine(&["tcp", "tcp", "credentials", "call"]);
    assert_eq!(steps(&told, "destination giving"), steps_of_giving, "{told:#}");
    let words = ["对方拒绝了身份", "refuses who we are"];
    let next = ["核对", "check the credentials"];
    says(&told, "destination refusing", "credentials", "failing", words, next);
    let words =
        ["标头 Authorization 的令牌还有 6 天到期", "in header Authorization ends in 6 days"];
    says(&told, "source region", "token", "warning", words, ["申请新令牌", "ask the platform"]);
    assert!(platform.bodies().iter().all(Value::is_null), "no record was sent");
    for secret in ["token-in-use-0815", "licence-of", "e30."] {
        assert!(!told.to_string().contains(secret), "{secret} in {told:#}");
    }
}

/// What the console answers.
fn console(forepost: &Forepost, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
    http::ask(&forepost.console(), method, target, headers, b"").expect("the console answers")
}

#[test]
fn the_daemon_looks_when_it_is_asked_and_shows_lights_in_words() {
    let server = TlsServer::start("127.0.0.1", 5 * DAY + 3_600);
    let source = format!(
        "[[source]]\nname = \"region\"\nurl = \"https://{}/dicom-web\"\nca_files = \
         [\"{{folder}}/ca.pem\"]\n[[source.patient_key]]\nkind = \"idCardNo\"\n",
        server.address
    );
    let gone = archive::dimse_source("pacs", "archive.nowhere.invalid:104", "PACS", "");
    let mut setup = Setup::with(&[source, gone]);
    setup.files.push(("ca.pem", server.authority));
    setup.root = format!("time_server = \"{}\"\n", time_server(-10_000));
    let forepost = Forepost::start(setup);
    assert_eq!(console(&forepost, "GET", "/health", &[]).json()["doctor"], Value::Null);
    assert!(console(&forepost, "GET", "/doctor", &[]).text().contains("三分钟"));

    let foreign = [("Origin", "http://evil.example")];
    assert_eq!(console(&forepost, "POST", "/doctor/check", &foreign).status, 403);
    // A name may lead here that somebody else gave.
    let mut named = TcpStream::connect(forepost.console()).unwrap();
    let head = "POST /doctor/check HTTP/1.1\r\nHost: front.evil.example\r\nContent-Length: 0\r\n\
                Connection: close\r\n\r\n";
    named.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    named.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(console(&forepost, "POST", "/doctor/check", &[]).status, 303);
    let told = wait_for(PATIENCE, || {
        let health = console(&forepost, "GET", "/health", &[]);
        assert_eq!(health.status, 200, "the clouds are no part of health");
        let told = health.json()["doctor"].clone();
        (!told.is_null()).then_some(told)
    });
    let told = told.expect("the daemon looks when it is asked");
    assert_eq!(finding(&told, "source pacs", "dns")["state"], "failing");
    assert_eq!(finding(&told, "zone console", "listen")["state"], "fine");

    let page = console(&forepost, "GET", "/doctor", &[]);
    let text = page.text();
    for wanted in ["红 故障 Failing", "黄 注意 Warning", "绿 正常 Fine", "getent hosts", "立即检查"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(page.header("content-security-policy").is_some());

    let metrics = forepost.metrics();
    let value = |name: &str| forepost.metric(name);
    assert!((5.0..5.1).contains(&(value("certificate_expiry_seconds") / DAY as f64)), "{metrics}");
    assert!(metrics.contains("expiry_alarm_level{subject=\"source region\"} 7"), "{metrics}");
    assert!((9.0..11.0).contains(&value("clock_offset_seconds")), "{metrics}");
    assert!(metrics.contains("doctor_findings{state=\"failing\"} 1"), "{metrics}");
    let lines = |log: &str| log.lines().filter(|one| one.contains("so many days")).count();
    assert_eq!(lines(&forepost.log()), 1, "the level is told when it changes");
    let at = told["at_ms"].clone();
    assert_eq!(console(&forepost, "POST", "/doctor/check", &[]).status, 303);
    let again = wait_for(PATIENCE, || {
        let now = console(&forepost, "GET", "/health", &[]).json()["doctor"]["at_ms"].clone();
        (now != at).then_some(())
    });
    again.expect("it looks again");
    assert_eq!(lines(&forepost.log()), 1, "and not again while it stays");
}

/// The files of a bundle, one after another.
fn unpacked(bytes: &[u8]) -> String {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let mut all = String::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        all.push_str(&format!("=== {}\n", entry.path().unwrap().display()));
        entry.read_to_string(&mut all).expect("every file is text");
    }
    all
}

fn written(forepost: &Forepost, path: &str) -> Output {
    forepost.verb(&["doctor", "--bundle", path])
}

#[test]
fn a_bundle_holds_what_the_maker_needs_and_no_secret_and_nobody() {
    let platform = Platform::start();
    let source = Cloud::alone(|_| Act::json(&json!([])));
    let token = "jwt-of-the-source-0815";
    let header = "[[source.header]]\nname = \"Authorization\"\nvalue_file = \"{folder}/token\"\n";
    let mut setup = Setup::with(&[source.source("region") + header]);
    setup.callers = "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n\
                     images = true\ntoken_file = \"{folder}/caller\"\n"
        .into();
    let answer = json!({"status": 0, "result": {"token": "token-in-use-0815"}});
    let tokens = Cloud::alone(move |_| Act::json(&answer));
    setup.more = platform.for_settlements() + &token_table(&tokens);
    setup.files = token_files();
    setup.files.push(("token", format!("Bearer {token}")));
    setup.files.push(("caller", "token-of-the-his-4711".into()));
    let secrets = [
        token,
        "token-of-the-his-4711",
        "token-in-use-0815",
        "app-of-the-cloud-1234",
        "org-of-the-cloud-1234",
        "licence-of-the-cloud-1234",
    ];
    let forepost = Forepost::start(setup);
    let authorised = [
        ("Content-Type", "application/json;charset=UTF-8"),
        ("Authorization", "Bearer token-of-the-his-4711"),
    ];
    let mut kept: BTreeSet<String> = secrets.iter().map(|one| (*one).to_owned()).collect();
    for number in 0..20 {
        let registration = Patient::new(number).registration(20, i64::from(number));
        kept.extend(personal(&registration));
        let body = registration.to_string();
        let reply =
            forepost.ask("POST", crate::support::forepost::REGISTER, &authorised, body.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let settled = settlement(7);
    kept.extend(crate::support::platform::personal(&settled));
    let body = settled.to_string();
    let reply =
        forepost.ask("POST", crate::support::forepost::SETTLE, &authorised, body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let came = wait_for(PATIENCE, || (!platform.came().is_empty()).then_some(()));
    came.expect("the settlement is delivered");
    assert!(platform.last_headers().contains(&("token".into(), "token-in-use-0815".into())));
    let keys = std::fs::read_to_string(forepost.data().join("keys/ledger.keys")).unwrap();
    kept.extend(keys.split_whitespace().filter(|word| word.len() == 64).map(str::to_owned));
    forepost.keep_secret(kept.iter().cloned());

    // The verb asks the console at the address of the configuration, which a hospital's names.
    let config = forepost.log_path().with_file_name("forepost.toml");
    let named = std::fs::read_to_string(&config).unwrap().replace(
        "[zone.console]\nlisten = \"127.0.0.1:0\"",
        &format!("[zone.console]\nlisten = \"{}\"", forepost.console()),
    );
    std::fs::write(&config, named).unwrap();

    let path = forepost.log_path().with_file_name("bundle.tar.gz");
    let shown = path.to_str().unwrap();
    let output = written(&forepost, shown);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let bytes = std::fs::read(&path).unwrap();
    let text = unpacked(&bytes);
    if let Some(at) = first_of(&kept, text.as_bytes()) {
        panic!("a secret or somebody in the bundle: {}", text[at..].lines().next().unwrap());
    }
    for wanted in [
        "findings.json",
        "\"interface\": \"ic-settlement-push\"",
        "\"registrations\": 20",
        "token_file = \"(text of",
        "value_file = \"(text of",
        "license_file = \"(text of",
        "# TYPE registrations_kept gauge",
        "=== forepost-diagnostics/memory.txt",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // Nothing is written over.
    assert_eq!(written(&forepost, shown).status.code(), Some(1));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
