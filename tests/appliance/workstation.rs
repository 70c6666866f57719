//! Doctors at their workstations: the right notice on the right screen, and nobody else's.

use std::time::{Duration, Instant};

use base64::prelude::*;
use forepost::seal::sm2::Sm2Key;
use serde_json::{Value, json};

use crate::support::cloud::{Act, Asked, Cloud, Step};
use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::programs::{openssl, python};
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::window::{Told, Window, log_in};
use crate::support::{PATIENCE, wait_for};

const ORDER: &str = "/iuWorkStation/checkAgain";
const OPEN: &str = "/iuWorkStation/swipingIdCardNo";

/// Two workstations.
const HERE: &str = "192.0.2.10";
const THERE: &str = "192.0.2.20";

/// Long enough for a notice that must not come.
const QUIET: Duration = Duration::from_millis(700);

/// An appliance that believes what a proxy on this machine says of workstations.
pub fn setup(sources: &[String]) -> Setup {
    let callers = "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n\
                   images = true\nlogins = true\n";
    let more = "[workstation]\nproxies = [\"127.0.0.1\"]\n\
                viewer = \"https://viewer.example/open?study={study}&ticket={ticket}\"\n";
    Setup { callers: callers.into(), more: more.into(), ..Setup::with(sources) }
}

/// What the HIS sends when `user` opens a patient at `address` or, with items, orders something.
pub fn call(patient: &Patient, user: &str, address: &str, items: &[&str]) -> Value {
    let mut call = json!({
        "hospitalld": "123456", "idCardNo": patient.id_card, "patientName": patient.name,
        "mobilePhone": format!("1380000{:04}", patient.number), "hisUserId": user,
        "hisUserName": "测试", "patientType": "1", "clientIp": address, "doctorType": "1",
        "doctorCode": "D110199000015", "doctorIdCardNo": Patient::new(1).id_card,
    });
    if !items.is_empty() {
        let item = |name: &&str| json!({ "examCode": "X1", "examName": name });
        call["examList"] = items.iter().map(item).collect();
    }
    call
}

pub fn say(forepost: &Forepost, target: &str, call: &Value) {
    for key in ["idCardNo", "patientName", "mobilePhone", "doctorIdCardNo"] {
        forepost.keep_secret(call[key].as_str().map(str::to_owned));
    }
    let media = [("Content-Type", "application/json")];
    let reply = forepost.ask("POST", target, &media, call.to_string().as_bytes());
    let told = (reply.status, reply.json());
    assert_eq!(told, (200, json!({"code": 200, "data": {}, "message": ""})), "{target}");
}

/// A patient with a study at another hospital, and an appliance that has one source.
pub struct House {
    pub patient: Patient,
    pub study: Study,
    pub forepost: Forepost,
    pub cloud: Cloud,
    /// Behind the cloud.
    _orthanc: Orthanc,
}

impl House {
    pub fn of(number: u32) -> House {
        House::with(number, |_| ())
    }

    /// One that is set up otherwise.
    pub fn with(number: u32, change: impl FnOnce(&mut Setup)) -> House {
        let patient = Patient::new(number);
        let study = Study::of(&patient, u64::from(number));
        let orthanc = Orthanc::with(&[&study]);
        let cloud = Cloud::before(&orthanc);
        let mut setup = setup(&[cloud.source("region")]);
        change(&mut setup);
        let forepost = Forepost::start(setup);
        House { patient, study, forepost, cloud, _orthanc: orthanc }
    }

    /// One where the patient is registered and the study is here.
    pub fn ready(number: u32) -> House {
        let house = House::of(number);
        let registration = house.patient.registration(26, 0);
        house.forepost.accept(&registration);
        house.forepost.await_state(&registration, "ready");
        house
    }
}

fn notice(one: &Told) -> bool {
    one.event == "notice"
}

/// The deeds of the audit, the first one first.
fn deeds(forepost: &Forepost) -> Vec<(String, String, Option<String>)> {
    let deeds = forepost.verb_json(&["audit", "show", "--json"]);
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let deeds = deeds.as_array().unwrap().iter().rev();
    deeds
        .map(|one| (text(one, "who"), text(one, "what"), one["study"].as_str().map(str::to_owned)))
        .collect()
}

#[test]
fn a_patient_whom_nobody_registered_is_told_to_the_one_window_that_opened_him() {
    let patient = Patient::new(900);
    let study = Study::of(&patient, 900);
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::start(setup(&[cloud.source("region")]));
    let mut windows = [("7", HERE), ("7", THERE), ("8", HERE)]
        .map(|(user, address)| Window::of(&forepost, user, address));
    windows.iter_mut().for_each(|window| window.listen(&forepost));
    say(&forepost, OPEN, &call(&patient, "7", THERE, &[]));
    let told = windows[1].await_told(notice).data;
    assert_eq!((&told["kind"], &told["studies"]), (&json!("opened"), &json!(1)), "{told}");
    assert_eq!((&told["precise"], &told["acknowledged"]), (&json!(true), &json!(false)));
    assert!(!told.to_string().contains(&patient.name), "the name is masked: {told}");
    // The images arrive because the patient was opened, and the notice follows them.
    windows[1].await_told(|one| one.data["here"] == 1);
    for other in [&windows[0], &windows[2]] {
        assert!(other.told_after(QUIET / 2).is_empty(), "{:#?}", other.told());
    }
    assert_eq!(forepost.metric("notices_shown_total"), 1.0);

    // Read by this window alone, with the name; a study page leads to the viewer.
    let id = &told["id"];
    let page = windows[1].ask(&forepost, "GET", &format!("/workstation/patient/{id}"));
    let text = page.text();
    assert_eq!(page.status, 200);
    for words in [&patient.name, "邻市人民医院", "胸部平扫", "已到本院", "报告未送达"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    let opened = format!("/workstation/study/{id}/{}", study.uid());
    let page = windows[1].ask(&forepost, "GET", &opened);
    let images = format!("/workstation/open/{id}/{}", study.uid());
    assert!(page.text().contains(&images), "{}", page.text());
    let viewer = format!("https://viewer.example/open?study={}&ticket=", study.uid());
    let led = windows[1].ask(&forepost, "GET", &images);
    assert!(led.header("location").unwrap().starts_with(&viewer), "{led:?}");
    for reply in [page, windows[1].ask(&forepost, "GET", "/workstation/")] {
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
    for (window, target) in [(0, opened.clone()), (2, format!("/workstation/patient/{id}"))] {
        assert_eq!(windows[window].ask(&forepost, "GET", &target).status, 403, "{target}");
    }
    let guessed = format!("/workstation/study/{id}/2.25.1");
    assert_eq!(windows[1].ask(&forepost, "GET", &guessed).status, 403);

    // A stream that was cut begins with everything, and a restart loses nothing.
    forepost.stop();
    forepost.restart();
    windows.iter_mut().for_each(|window| window.listen(&forepost));
    let again = wait_for(PATIENCE, || {
        let told = windows[1].told();
        let last = told.last().filter(|one| one.data["acknowledged"] == true);
        last.map(|one| one.data["id"].clone())
    });
    assert_eq!(again.as_ref(), Some(id), "the same notice, which the doctor has seen");
    for other in [&windows[0], &windows[2]] {
        assert!(other.told_after(QUIET / 2).is_empty(), "{:#?}", other.told());
    }
    let refused = deeds(&forepost).iter().filter(|(_, what, _)| what == "refused").count();
    assert_eq!(refused, 3);
    let known = deeds(&forepost);
    let shown = known.iter().find(|(_, what, _)| what == "study opened").unwrap();
    assert!(shown.0.starts_with("doctor 7 session"), "{shown:?}");
    assert_eq!(shown.2.as_deref(), Some(study.uid().as_str()));
}

#[test]
fn an_order_is_told_only_where_the_very_examination_was_made_elsewhere() {
    let house = House::ready(901);
    let (patient, cloud, forepost) = (&house.patient, &house.cloud, &house.forepost);
    let searches = cloud.count(Step::Search);
    let mut window = Window::of(forepost, "7", HERE);
    window.listen(forepost);
    say(forepost, ORDER, &call(patient, "7", HERE, &["膝关节MR平扫"]));
    assert!(window.told_after(QUIET).is_empty(), "a chest CT is no MR of the knee");
    say(forepost, ORDER, &call(patient, "7", HERE, &["血常规", "胸部CT平扫"]));
    let told = window.await_told(notice).data;
    assert_eq!((&told["kind"], &told["same"]), (&json!("ordered"), &json!(1)), "{told}");
    let words = told["newest"].as_str().unwrap();
    assert!(words.contains("胸部平扫") && words.contains("邻市人民医院"), "{words}");
    assert_eq!(cloud.count(Step::Search), searches, "the registration's answers do");
    let page = window.ask(forepost, "GET", &format!("/workstation/patient/{}", told["id"]));
    assert!(page.text().contains("与所开检查相同"), "{}", page.text());
}

#[test]
fn unknown_and_contradicting_places_leave_the_notice_in_the_list() {
    let house = House::of(902);
    let (patient, forepost) = (&house.patient, &house.forepost);
    forepost.accept(&patient.registration(26, 0));
    let fields = "hisUserId=7&type=1&doctorName=A&mac=02-00-5E-00-53-01";
    let mut window = Window::open(forepost, &log_in(forepost, fields), HERE);
    window.listen(forepost);
    let mut contradicting = call(patient, "7", HERE, &[]);
    contradicting["mac"] = json!("02:00:5E:00:53:02");
    // The second is the first one over again for the list, and makes no second notice.
    for call in [call(patient, "7", THERE, &[]), contradicting] {
        say(forepost, OPEN, &call);
        let listed = wait_for(PATIENCE, || {
            let told = window.told();
            let ids = told.iter().filter(|one| one.data["precise"] == false);
            let ids: std::collections::BTreeSet<i64> =
                ids.map(|one| one.data["id"].as_i64().unwrap()).collect();
            (ids.len() == 1).then_some(())
        });
        listed.expect("it stands in the list");
    }
    assert!(window.told().iter().all(|one| one.data["precise"] == false));
    let mut known = call(patient, "7", "", &[]);
    known["clientIp"] = Value::Null;
    known["mac"] = json!("02005e005301");
    say(forepost, OPEN, &known);
    window.await_told(|one| one.data["precise"] == true);
    // A doctor without a window is told nothing, and the HIS hears no difference.
    say(forepost, OPEN, &call(patient, "9", HERE, &[]));
    let metrics = forepost.metrics();
    for (to, times) in [("list", 2), ("window", 1), ("no window", 1)] {
        let line = format!("notices_total{{to=\"{to}\"}} {times}");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[test]
fn a_logout_a_takeover_and_a_code_that_was_shown_end_what_they_should() {
    let house = House::of(903);
    let (patient, forepost) = (&house.patient, &house.forepost);
    forepost.accept(&patient.registration(26, 0));
    let path = log_in(forepost, "hisUserId=7&type=1&doctorName=A");
    let mut window = Window::open(forepost, &path, HERE);
    let replayed = forepost.ask("GET", &path, &[("X-Forwarded-For", THERE)], b"");
    assert_eq!(replayed.status, 401, "a stolen link opens nothing");
    assert_eq!(window.ask(forepost, "GET", &path).status, 200, "the same browser goes on");

    // Another doctor at the same browser: the first one's window is nobody's any more.
    let path = log_in(forepost, "hisUserId=8&type=1&doctorName=B");
    let headers = [("Cookie", window.cookie.as_str()), ("X-Forwarded-For", HERE)];
    let taken = forepost.ask("GET", &path, &headers, b"");
    assert_eq!(taken.status, 200);
    assert_eq!(window.ask(forepost, "GET", "/workstation/").status, 401);
    window.cookie = taken.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    window.listen(forepost);
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    assert!(window.told_after(QUIET).is_empty(), "not the doctor who is there now");

    // The HIS logs the doctor out at one workstation of two.
    let mut other = Window::of(forepost, "8", THERE);
    other.listen(forepost);
    let logout = "/hrball/?hisUserId=8&type=2";
    let reply = forepost.ask("GET", logout, &[("X-Forwarded-For", HERE)], b"");
    assert_eq!(reply.json()["code"], 200);
    window.await_told(|one| one.event == "ended");
    assert_eq!(window.ask(forepost, "GET", "/workstation/events").status, 401);
    assert_eq!(other.ask(forepost, "GET", "/workstation/").status, 200);
    say(forepost, OPEN, &call(patient, "8", THERE, &[]));
    other.await_told(notice);
    assert_eq!(other.ask(forepost, "POST", "/workstation/logout").status, 401);
    other.await_told(|one| one.event == "ended");
    assert_eq!(other.ask(forepost, "GET", "/workstation/").status, 401);
    assert_eq!(window.told_after(Duration::ZERO).len(), 1, "{:#?}", window.told());
}

#[test]
fn what_an_attacker_tries_is_refused() {
    let forepost = Forepost::start(setup(&[]));
    let window = Window::of(&forepost, "7", HERE);
    for (headers, expected) in [
        (vec![], 200),
        (vec![("Sec-Fetch-Site", "same-origin")], 200),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Origin", "http://evil.example")], 403),
        (vec![("Origin", "null")], 403),
    ] {
        let reply = window.ask_as(&forepost, "GET", "/workstation/", &headers);
        assert_eq!(reply.status, expected, "{headers:?}");
    }
    let foreign = [("Origin", "http://evil.example")];
    let reply = window.ask_as(&forepost, "POST", "/workstation/acknowledge/1", &foreign);
    assert_eq!(reply.status, 403);
    // Nor does a stream tell one session what another was told.
    let stream = window.ask(&forepost, "GET", "/workstation/events?session=999");
    assert_eq!(stream.status, 401);
    let path = log_in(&forepost, "hisUserId=7&type=1");
    for expected in [200, 401] {
        assert_eq!(forepost.get(&path).status, expected, "a code is good once");
    }
    let known = deeds(&forepost);
    let count = |what: &str| known.iter().filter(|(_, deed, _)| deed == what).count();
    assert_eq!((count("asked by another site"), count("code refused")), (4, 1), "{known:?}");
    for target in [
        "/workstation/patient/1",
        "/workstation/patient/-1",
        "/workstation/study/1/2.25.1",
        "/workstation/study/1/..%2f..",
    ] {
        assert_eq!(window.ask(&forepost, "GET", target).status, 403, "{target}");
        assert_eq!(forepost.get(target).status, if target.contains("..") { 403 } else { 401 });
    }
    for cookie in ["forepost_window=", "forepost_window=0", "forepost_window=\u{7f}", ""] {
        let reply = forepost.ask("GET", "/workstation/events", &[("Cookie", cookie)], b"");
        assert!([400, 401].contains(&reply.status), "{cookie:?}: {}", reply.status);
    }
    // Without a proxy that is believed, an address in a header is anybody's words.
    let plain = Setup { more: String::new(), ..setup(&[]) };
    let direct = Forepost::start(plain);
    let mut forged = Window::of(&direct, "7", THERE);
    forged.listen(&direct);
    let patient = Patient::new(904);
    say(&direct, OPEN, &call(&patient, "7", THERE, &[]));
    say(&direct, OPEN, &call(&patient, "7", "127.0.0.1", &[]));
    let metrics = direct.metrics();
    for to in ["list", "window"] {
        assert!(metrics.contains(&format!("notices_total{{to=\"{to}\"}} 1")), "{to}");
    }
}

#[test]
fn a_login_is_read_in_the_shapes_that_the_document_prints() {
    let forepost = Forepost::start(setup(&[]));
    let number = Patient::new(3).id_card;
    let key = forepost.verb_json(&["keys", "new", "doctors", "--json"]);
    let file = forepost.data().parent().unwrap().join("public.pem");
    std::fs::write(&file, key["public"]["pem"].as_str().unwrap()).unwrap();
    let arguments = ["pkeyutl", "-encrypt", "-pubin", "-inkey", file.to_str().unwrap()];
    let sealed = hex::encode(openssl(&arguments, number.as_bytes()));
    forepost.keep_secret([number, "李医生".to_owned()]);
    for fields in [
        "hisUserId=1001&type=1&doctorName=$E6$9D$8E$E5$8C$BB$E7$94$9F".to_owned(),
        "hisUserId=1001&type=1%20&doctorName=%E6%9D%8E%E5%8C%BB%E7%94%9F".to_owned(),
        format!(
            "%22hisUserId=1001&type=1&%20doctorSex=1&doctorIdCardNo={sealed}&hospitalId=123456\
                 &{{phoneNumber}}=13800000001%22"
        ),
        "WYHT://hisUserId=1001&type=1".to_owned(),
    ] {
        let path = log_in(&forepost, &fields);
        let window = Window::open(&forepost, &path, HERE);
        let page = window.ask(&forepost, "GET", "/workstation/");
        assert_eq!(page.status, 200, "{fields}");
        assert_eq!(page.text().contains("李医生"), fields.contains("doctorName"), "{fields}");
    }
    let html = [("Accept", "text/html,application/xhtml+xml")];
    let reply = forepost.ask("GET", "/hrball/?hisUserId=1001&type=1", &html, b"");
    assert_eq!(reply.status, 303);
    assert!(reply.header("location").unwrap().starts_with("/workstation/?code="));
    for (fields, words) in [
        ("type=1", vec!["hisUserId"]),
        ("hisUserId=1&type=3&hospitalId=999999", vec!["type", "hospitalId"]),
        ("", vec!["hisUserId", "type"]),
    ] {
        let told = forepost.get(&format!("/hrball/?{fields}")).json();
        assert_eq!(told["code"], 400, "{told}");
        let message = told["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    let setup = window_less();
    assert_eq!(setup.get("/hrball/?hisUserId=1&type=1").json()["code"], 401);
    for (target, words) in [
        ("/workstation/setup", "/hrball/?hisUserId"),
        ("/workstation/setup.reg", "HKEY_CURRENT_USER\\Software\\Classes\\WYHT"),
        ("/workstation/setup.desktop", "x-scheme-handler/wyht"),
    ] {
        let reply = setup.get(target);
        let text = reply.text();
        assert!(text.contains(words) && text.contains(&setup.hospital()), "{target}: {text}");
    }
}

/// An appliance whose only caller may not log doctors in.
fn window_less() -> Forepost {
    Forepost::start(Setup::default())
}

#[test]
fn under_load_every_notice_arrives_once_and_within_a_second() {
    const SESSIONS: usize = 300;
    const CALLS: usize = 1_200;
    const EVERY: Duration = Duration::from_millis(50);
    let patients: Vec<Patient> = (910..914).map(Patient::new).collect();
    let studies: Vec<Study> =
        patients.iter().map(|one| Study::of(one, 900 + u64::from(one.number))).collect();
    let orthanc = Orthanc::with(&studies.iter().collect::<Vec<_>>());
    let cloud = Cloud::before(&orthanc);
    let quiet = Setup { log: "info", ..setup(&[cloud.source("region")]) };
    let forepost = Forepost::start(quiet);
    for (at, patient) in (0..).zip(&patients) {
        let registration = patient.registration(26, at);
        forepost.accept(&registration);
        forepost.await_state(&registration, "ready");
    }
    let mut windows: Vec<Window> = (0..SESSIONS)
        .map(|n| Window::of(&forepost, &format!("{n}"), &format!("192.0.2.{}", 1 + n % 250)))
        .collect();
    windows.iter_mut().for_each(|window| window.listen(&forepost));
    let begun = Instant::now();
    let mut said = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let due = begun + EVERY * n as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (window, patient) = (n * 7 % SESSIONS, &patients[n / SESSIONS % patients.len()]);
        let address = &windows[window].address;
        let at = Instant::now();
        say(&forepost, OPEN, &call(patient, &format!("{window}"), address, &[]));
        said.push((window, at));
    }
    let told = || windows.iter().map(|window| window.told().len()).sum::<usize>();
    wait_for(PATIENCE, || (told() >= CALLS).then_some(())).expect("every notice arrives");
    std::thread::sleep(QUIET);
    assert_eq!(told(), CALLS, "each once");
    let mut late: Vec<Duration> = Vec::new();
    for (number, window) in windows.iter().enumerate() {
        let calls: Vec<Instant> =
            said.iter().filter(|(to, _)| *to == number).map(|(_, at)| *at).collect();
        let told = window.told();
        assert_eq!(calls.len(), told.len(), "window {number}");
        late.extend(calls.iter().zip(&told).map(|(call, told)| told.at - *call));
    }
    late.sort();
    let p95 = late[late.len() * 95 / 100];
    println!("{CALLS} notices to {SESSIONS} windows: p95 {p95:?}, last {:?}", late[late.len() - 1]);
    assert!(p95 < Duration::from_secs(1), "{p95:?}");
}

#[test]
fn a_slow_source_holds_up_nobody_and_what_it_has_comes_into_the_same_notice() {
    const SLOW: Duration = Duration::from_secs(7);
    let patient = Patient::new(905);
    let near = Study::of(&patient, 905);
    let far = Study {
        institution: "远市人民医院".into(),
        accession: "A9050".into(),
        ..Study::of(&patient, 9050)
    };
    let archives = [Orthanc::with(&[&near]), Orthanc::with(&[&far])];
    let clouds = archives.each_ref().map(Cloud::before);
    clouds[1].behave(|asked| match asked.step {
        Step::Search => Act::Later(SLOW, Box::new(Act::Pass)),
        _ => Act::Pass,
    });
    let sources = [clouds[0].source("near"), clouds[1].source("far")];
    let forepost = Forepost::start(setup(&sources));
    let mut window = Window::of(&forepost, "7", HERE);
    window.listen(&forepost);
    let begun = Instant::now();
    say(&forepost, OPEN, &call(&patient, "7", HERE, &[]));
    let first = window.await_told(notice);
    let waited = first.at - begun;
    assert!(waited < Duration::from_millis(4_500), "told after {waited:?}");
    assert_eq!(first.data["studies"], 1);
    window.await_told(|one| one.data["here"] == 1);
    let later = window.await_told(|one| one.data["studies"] == 2);
    assert!(later.at - begun >= SLOW);
    assert_eq!(later.data["id"], first.data["id"], "the same notice");
    window.await_told(|one| one.data["here"] == 2);
    assert_eq!(clouds.map(|cloud| cloud.count(Step::Search)), [1, 1], "each asked once");
}

#[test]
fn what_doctors_do_with_a_notice_is_counted_and_a_reason_opens_another_patient() {
    let house = House::ready(906);
    let (patient, study, forepost) = (&house.patient, &house.study, &house.forepost);
    let mut windows = [("7", HERE, "101"), ("8", THERE, "=1+1")].map(|(user, address, code)| {
        let fields = format!(
            "hisUserId={user}&type=1&doctorName=A&department=%E5%86%85%E7%A7%91\
             &departmentCode={code}"
        );
        Window::open(forepost, &log_in(forepost, &fields), address)
    });
    windows.iter_mut().for_each(|window| window.listen(forepost));
    say(forepost, ORDER, &call(patient, "7", HERE, &["胸部CT平扫"]));
    let id = windows[0].await_told(notice).data["id"].clone();
    let form = |window: &Window, target: String, body: &str| {
        let headers = [
            ("Cookie", window.cookie.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        forepost.ask("POST", &target, &headers, body.as_bytes())
    };
    let page = windows[0].ask(forepost, "GET", &format!("/workstation/patient/{id}")).text();
    assert!(page.contains("仍需检查"), "{page}");
    let reason = "reason=%E6%80%A5%E8%AF%8A%E6%8A%A2%E6%95%91";
    let decide = format!("/workstation/decide/{id}");
    assert_eq!(form(&windows[1], decide.clone(), "what=withdrawn").status, 403);
    assert_eq!(form(&windows[0], decide, &format!("{reason}&what=anyway")).status, 303);
    windows[0].ask(forepost, "GET", &format!("/workstation/study/{id}/{}", study.uid()));

    // Another doctor's patient opens for a reason, and for nothing less.
    let target = format!("/workstation/patient/{id}");
    let refused = windows[1].ask(forepost, "GET", &target);
    assert!(refused.status == 403 && refused.text().contains("紧急调阅"), "{}", refused.text());
    let glass = format!("/workstation/glass/{id}");
    for empty in ["", "reason=", "reason=%20%20%20", "reason=%0a%0a"] {
        assert_eq!(form(&windows[1], glass.clone(), empty).status, 403, "{empty:?}");
    }
    assert_eq!(form(&windows[1], "/workstation/glass/999".into(), reason).status, 403);
    let opened = form(&windows[1], glass, reason);
    assert_eq!(opened.status, 303);
    let page = windows[1].ask(forepost, "GET", opened.header("location").unwrap());
    assert!(page.text().contains(&patient.name), "{}", page.text());
    assert_eq!(windows[1].ask(forepost, "GET", &target).status, 403, "the other notice stays shut");

    let whats: Vec<String> = deeds(forepost).into_iter().map(|(_, what, _)| what).collect();
    for what in ["ordered all the same", "study opened", "glass broken", "refused"] {
        assert!(whats.iter().any(|one| one == what), "{what} in {whats:?}");
    }
    let csv = http::ask(&forepost.console(), "GET", "/use.csv", &[], b"").unwrap().text();
    let rows: Vec<Vec<String>> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect())
        .collect();
    let own = rows.iter().find(|row| row[5] == "7").expect("a row of the account");
    assert_eq!(own[1..], ["123456", "101", "内科", "0", "7", "1", "1", "1", "1", "0"], "{csv}");
    let other = rows.iter().find(|row| row[5] == "8").expect("a row of the other");
    assert_eq!(other[2], "'=1+1", "no spreadsheet takes it for a formula");
    assert!(!csv.contains(&patient.name) && !csv.contains("急诊抢救"), "{csv}");
    let page = http::ask(&forepost.console(), "GET", "/use", &[], b"").unwrap().text();
    assert!(page.contains("<td>内科</td>"), "{page}");

    let reasons = forepost.verb_json(&["audit", "reasons", "--json"]);
    let told: Vec<&Value> = reasons.as_array().unwrap().iter().map(|one| &one["what"]).collect();
    assert_eq!(told, ["glass broken", "ordered all the same"]);
    for one in reasons.as_array().unwrap() {
        assert_eq!(one["reason"], "急诊抢救", "{one}");
        assert!(one["plan"].is_i64(), "{one}");
    }

    // A department that is called otherwise from now on keeps its figures under its code.
    let fields = "hisUserId=7&type=1&doctorName=A&department=%E5%BF%83%E5%86%85&departmentCode=101";
    windows[0] = Window::open(forepost, &log_in(forepost, fields), HERE);
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    let csv = http::ask(&forepost.console(), "GET", "/use.csv", &[], b"").unwrap().text();
    let of_seven: Vec<&str> = csv.lines().filter(|line| line.contains("\"7\"")).collect();
    assert_eq!(of_seven.len(), 1, "{csv}");
    assert!(of_seven[0].contains("\"心内\",\"0\",\"7\",\"2\""), "{csv}");

    // A department of the dictionary has its code and its name from there.
    let file = forepost.data().parent().unwrap().join("departments.csv");
    std::fs::write(&file, "deptCode,deptName\n201,神经内科\n").unwrap();
    let file = file.to_string_lossy();
    let import =
        ["dict", "import", &file, "--by", "office", "--kind", "dept", "--hospital", "123456"];
    let output = forepost.verb(&import);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let neurology = "%E7%A5%9E%E7%BB%8F%E5%86%85%E7%A7%91";
    let fields = format!("hisUserId=9&type=1&doctorName=A&department={neurology}");
    let _window = Window::open(forepost, &log_in(forepost, &fields), HERE);
    say(forepost, OPEN, &call(patient, "9", HERE, &[]));
    let csv = http::ask(&forepost.console(), "GET", "/use.csv", &[], b"").unwrap().text();
    assert!(csv.contains("\"201\",\"神经内科\",\"1\",\"9\",\"1\""), "{csv}");
}

/// What the figures say of an account: department's code, name, whether it is listed, and queried.
fn counted(forepost: &Forepost, user: &str) -> Vec<[String; 4]> {
    let csv = http::ask(&forepost.console(), "GET", "/use.csv", &[], b"").unwrap().text();
    let rows = csv.lines().skip(1).map(|line| {
        line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect::<Vec<_>>()
    });
    let rows = rows.filter(|row| row[5] == user);
    rows.map(|row| [2, 3, 4, 6].map(|column: usize| row[column].clone())).collect()
}

#[test]
fn a_department_that_no_dictionary_has_is_mapped_by_hand_and_counts_for_the_past() {
    let house = House::ready(915);
    let (patient, forepost) = (&house.patient, &house.forepost);
    let file = forepost.data().parent().unwrap().join("departments.csv");
    std::fs::write(&file, "deptCode,deptName\n201,神经内科\n202,心内科\n").unwrap();
    let file = file.to_string_lossy();
    let import =
        ["dict", "import", &file, "--by", "office", "--kind", "dept", "--hospital", "123456"];
    assert!(forepost.verb(&import).status.success());
    let open = |user: &str, department: &str| {
        let fields = format!("hisUserId={user}&type=1&doctorName=A&{department}");
        let window = Window::open(forepost, &log_in(forepost, &fields), HERE);
        say(forepost, OPEN, &call(patient, user, HERE, &[]));
        window
    };
    // 神内"<b>, without a code; another with a code that the dictionary does not have.
    let (by_name, by_code) =
        ("department=%E7%A5%9E%E5%86%85%22%3Cb%3E", "department=B&departmentCode=N9");
    let _windows = [open("7", by_name), open("8", by_code)];
    assert_eq!(counted(forepost, "8"), [["N9", "B", "0", "1"]]);
    let ask = |method: &str, target: &str, headers: &[(&str, &str)], body: &str| {
        http::ask(&forepost.console(), method, target, headers, body.as_bytes()).unwrap()
    };
    let page = ask("GET", "/use", &[], "").text();
    for words in [
        "<option value=\"name:神内&quot;&lt;b&gt;\"> 神内&quot;&lt;b&gt;</option>",
        "<option value=\"code:N9\">N9 B</option>",
        "<option value=\"202\">202 心内科</option>",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }

    // At the console, by a form of its own page and no other's.
    let own = format!("http://{}", forepost.console());
    let named = "hospital=123456&named=name%3A%E7%A5%9E%E5%86%85%22%3Cb%3E";
    let form = format!("{named}&department=201&by=%E5%BC%A0%E5%B7%A5");
    let (map, unmap) = ("/use/department/map", "/use/department/unmap");
    for headers in [vec![], vec![("Origin", "http://evil.example")]] {
        assert_eq!(ask("POST", map, &headers, &form).status, 403, "{headers:?}");
    }
    let origin = [("Origin", own.as_str())];
    for broken in ["", &format!("{named}&department=201&by=%20"), "named=N9&department=201&by=a"] {
        assert_eq!(ask("POST", map, &origin, broken).status, 400, "{broken}");
    }
    let foreign = ask("POST", map, &origin, &format!("{named}&department=999&by=a"));
    assert!(foreign.status == 409 && foreign.text().contains("字典中没有所选的科室"));
    assert_eq!(counted(forepost, "7")[0][0], "");
    let kept = ask("POST", map, &origin, &form);
    assert_eq!((kept.status, kept.header("location")), (303, Some("/use")));
    assert_eq!(counted(forepost, "7"), [["201", "神经内科", "1", "1"]], "the past, too");
    let page = ask("GET", "/use", &[], "").text();
    assert!(!page.contains("<option value=\"name:") && page.contains("<td>张工</td>"), "{page}");
    assert_eq!(page.matches("/use/department/unmap").count(), 1);

    // By the command line, changed, and for a session that begins later.
    let of = ["--code", "N9", "--by", "李工", "--json"];
    for to in ["201", "202"] {
        let mapped = forepost.verb_json(&[&["department", "map", "--to", to], &of[..]].concat());
        assert_eq!(mapped, json!({ "mapped": 1 }));
        assert_eq!(counted(forepost, "8")[0][0], to);
    }
    let unknown = ["department", "map", "--to", "201", "--code", "N1", "--by", "李工"];
    let output = forepost.verb(&unknown);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let _window = open("9", by_code);
    assert_eq!(counted(forepost, "9"), [["202", "心内科", "1", "1"]]);
    let listed = forepost.verb_json(&["department", "list", "--json"]);
    assert_eq!(listed["unlisted"], json!([]), "{listed}");
    assert_eq!(listed["mapped"].as_array().unwrap().len(), 2, "{listed}");

    // Taken back, it leaves nothing behind but the audit.
    assert_eq!(ask("POST", unmap, &origin, &format!("{named}&by=a")).status, 303);
    forepost.verb_json(&[&["department", "unmap"], &of[..]].concat());
    assert_eq!(counted(forepost, "7"), [["", "神内\"\"<b>", "0", "1"]]);
    assert_eq!(counted(forepost, "9"), [["N9", "B", "0", "1"]]);
    let listed = forepost.verb_json(&["department", "list", "--json"]);
    assert_eq!(listed["mapped"], json!([]), "{listed}");
    assert_eq!(listed["unlisted"].as_array().unwrap().len(), 2, "{listed}");
    let deeds = forepost.verb_json(&["audit", "show", "--json"]);
    let deeds = deeds.as_array().unwrap().iter().filter(|one| one["detail"] != "");
    let deeds: Vec<&Value> = deeds.collect();
    assert_eq!(deeds.len(), 5, "{deeds:?}");
    assert_eq!(
        (&deeds[2]["who"], &deeds[2]["what"], &deeds[2]["detail"]),
        (&json!("李工"), &json!("department mapped"), &json!("123456: N9 = 202")),
    );
}

#[test]
fn reports_that_came_with_a_study_are_read_on_its_page() {
    let patient = Patient::new(907);
    let study = Study::of(&patient, 907);
    let orthanc = Orthanc::with(&[&study]);
    let folder = tempfile::tempdir().unwrap();
    let made = python(
        "make_reports.py",
        &[
            &folder.path().to_string_lossy(),
            &study.uid(),
            &study.patient_id,
            &study.pn,
            &study.birth_date,
            &study.sex,
            &study.institution,
            &study.date,
        ],
    );
    for path in made["paths"].as_array().unwrap() {
        orthanc.store_file(std::path::Path::new(path.as_str().unwrap()));
    }
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(setup(&[cloud.source("region")]));
    let mut window = Window::of(&forepost, "7", HERE);
    window.listen(&forepost);
    say(&forepost, OPEN, &call(&patient, "7", HERE, &[]));
    let told = window.await_told(|one| one.data["here"] == 1).data;
    let uid = study.uid();
    let page = window.ask(&forepost, "GET", &format!("/workstation/study/{}/{uid}", told["id"]));
    let text = page.text();
    for words in ["放射学报告", "所见", "右肺上叶小结节 &lt;5mm&gt;", "建议随访。"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    let document = format!("/workstation/document/{}/{uid}/{uid}.9.1", told["id"]);
    assert!(text.contains(&document), "{text}");
    let got = window.ask(&forepost, "GET", &document);
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/pdf")));
    // A value of odd length is padded (PS3.5, 6.2).
    let pdf = made["pdf"].as_str().unwrap().as_bytes();
    assert_eq!(got.body[..pdf.len()], *pdf);
    for other in [format!("{uid}.8.1"), format!("{uid}.1.1"), "2.25.1".to_owned()] {
        let target = format!("/workstation/document/{}/{uid}/{other}", told["id"]);
        assert_eq!(window.ask(&forepost, "GET", &target).status, 403, "{target}");
    }
    let known = deeds(&forepost);
    assert!(known.iter().any(|(_, what, _)| what == "report opened"), "{known:?}");
}

#[test]
fn a_study_beyond_the_budget_comes_when_the_doctor_asks_and_is_held_against_the_patient() {
    let patient = Patient::new(908);
    let studies = [908, 9080]
        .map(|seed| Study { accession: format!("A{seed}"), ..Study::of(&patient, seed) });
    let orthanc = Orthanc::with(&studies.each_ref());
    let cloud = Cloud::before(&orthanc);
    let mut narrow = setup(&[cloud.source("region")]);
    narrow.more.push_str("[prefetch]\nplan_studies_max = 1\n");
    let forepost = Forepost::start(narrow);
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    let mut window = Window::of(&forepost, "7", HERE);
    window.listen(&forepost);
    say(&forepost, OPEN, &call(&patient, "7", HERE, &[]));
    let told = window.await_told(notice).data;
    assert_eq!((&told["studies"], &told["here"]), (&json!(2), &json!(1)), "{told}");
    let page = window.ask(&forepost, "GET", &format!("/workstation/patient/{}", told["id"])).text();
    let fetch = page.split('"').find(|text| text.starts_with("/workstation/fetch/")).unwrap();
    assert_eq!(window.ask(&forepost, "POST", fetch).status, 303);
    window.await_told(|one| one.data["here"] == 2);
    let shown = forepost.verb_json(&["plans", "show", &plan["id"].to_string(), "--json"]);
    for study in shown["studies"].as_array().unwrap() {
        // As a chosen study it was held against the registration by its first header.
        assert_eq!(study["outcome"], "chosen", "{study}");
    }
    let deeds = forepost.verb_json(&["audit", "show", "--json"]);
    let wanted = deeds.as_array().unwrap().iter().find(|one| one["what"] == "study wanted");
    assert_eq!(wanted.unwrap()["plan"], plan["id"], "whose study it is stands in the audit");
}

/// The private key of the example of GB/T 32918.5, annex C: a source's.
const SOURCE_KEY: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";

/// What a request says of who reads: code, type, and the number under SM2.
fn reader(asked: &Asked) -> [Option<String>; 3] {
    ["x-reader-code", "x-reader-type", "x-reader-id"].map(|name| {
        let found = asked.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone())
    })
}

/// What gmssl reads of a number under the source's key, in the form that is sent by default.
fn opened_by_gmssl(sealed: &str) -> String {
    let bare = sealed.strip_prefix("04").expect("C1 begins with 04");
    let (x, y) = Sm2Key::from_pem_or_hex(SOURCE_KEY).unwrap().public().coordinates();
    let digits = "00112233445566778899aabbccddeeff";
    // It seals something, too, and gives nothing for a text of which the key stream is zeros: one
    // of 256 texts of a byte.
    let task = json!({
        "public": format!("{x}{y}"), "private": SOURCE_KEY, "plain": digits, "ours": {"1": bare},
        "key": digits, "start": digits,
    });
    python("ciphers.py", &[&task.to_string()])["opened"]["1"].as_str().unwrap().to_owned()
}

/// A source's section with these lines.
fn asking(source: String, lines: &str) -> String {
    source.replacen("[[source.patient_key]]", &format!("{lines}[[source.patient_key]]"), 1)
}

#[test]
fn a_source_that_asks_is_told_who_reads_what_is_fetched_for_a_doctor_and_no_other_source_is() {
    let patient = Patient::new(916);
    let studies = [916, 9160]
        .map(|seed| Study { accession: format!("A{seed}"), ..Study::of(&patient, seed) });
    let orthanc = Orthanc::with(&studies.each_ref());
    let nothing = || Cloud::alone(|_| Act::json(&json!([])));
    let (region, unsealed, silent) = (Cloud::before(&orthanc), nothing(), nothing());
    let key = Sm2Key::from_pem_or_hex(SOURCE_KEY).unwrap().public().pem();
    let sealed = "reader = true\nsm2 = { public_key = \"{folder}/region.pem\" }\n";
    let mut narrow = setup(&[
        asking(region.source("region"), sealed),
        asking(unsealed.source("unsealed"), "reader = true\n"),
        silent.source("silent"),
    ]);
    narrow.files.push(("region.pem", key));
    narrow.more.push_str("[prefetch]\nplan_studies_max = 1\n");
    let forepost = Forepost::start(narrow);
    let number = Patient::new(3).id_card;
    forepost.keep_secret([number.clone(), "D110199000016".to_owned()]);
    let log_in_as = |user: &str, code: &str| {
        let fields = format!(
            "hisUserId={user}&type=1&doctorName=A&doctorType=1&doctorCode={code}\
             &doctorIdCardNo={number}"
        );
        let mut window = Window::open(&forepost, &log_in(&forepost, &fields), HERE);
        window.listen(&forepost);
        window
    };

    // What a registration wants is nobody's reading; "fetch now" is.
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    let window = log_in_as("7", "D110199000016");
    say(&forepost, OPEN, &call(&patient, "7", HERE, &[]));
    let told = window.await_told(notice).data;
    let before = region.asked();
    for asked in &before {
        assert_eq!(reader(asked), [None, None, None], "{}", asked.target);
    }
    let page = window.ask(&forepost, "GET", &format!("/workstation/patient/{}", told["id"])).text();
    let fetch = page.split('"').find(|text| text.starts_with("/workstation/fetch/")).unwrap();
    assert_eq!(window.ask(&forepost, "POST", fetch).status, 303);
    window.await_told(|one| one.data["here"] == 2);
    let fetched = &region.asked()[before.len()..];
    assert!(fetched.iter().any(Asked::retrieves), "{fetched:?}");
    for asked in fetched {
        let [code, kind, id] = reader(asked);
        assert_eq!((code.as_deref(), kind.as_deref()), (Some("D110199000016"), Some("1")));
        assert!(!id.as_ref().unwrap().contains(&number));
    }
    let [.., id] = reader(&fetched[0]);
    assert_eq!(opened_by_gmssl(&id.unwrap()), number);

    // So is the look-up of a patient whom a doctor opens and nobody registered. A code that is no
    // ASCII travels in percent signs.
    let other = Patient::new(917);
    let window = log_in_as("8", "%E5%8C%BB1");
    let before = [&region, &unsealed, &silent].map(|cloud| cloud.asked().len());
    say(&forepost, OPEN, &call(&other, "8", HERE, &[]));
    let searches = |cloud: &Cloud, before: usize| -> Vec<[Option<String>; 3]> {
        let asked = wait_for(PATIENCE, || {
            let asked = cloud.asked().split_off(before);
            (!asked.is_empty()).then_some(asked)
        });
        asked.expect("every source is asked").iter().map(reader).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    for search in searches(&region, before[0]) {
        assert_eq!(search[..2], [text("%E5%8C%BB1"), text("1")]);
        assert_eq!(opened_by_gmssl(search[2].as_ref().unwrap()), number);
    }
    for search in searches(&unsealed, before[1]) {
        assert_eq!(search, [text("%E5%8C%BB1"), text("1"), None], "no key, no number");
    }
    searches(&silent, before[2]);
    for asked in silent.asked() {
        assert_eq!(reader(&asked), [None, None, None]);
    }
    drop(window);

    // A login need not say who it is; the call must.
    let before = region.asked().len();
    let nameless = Window::of(&forepost, "9", HERE);
    let third = Patient::new(918);
    say(&forepost, OPEN, &call(&third, "9", HERE, &[]));
    for search in searches(&region, before) {
        assert_eq!(search[..2], [text("D110199000015"), text("1")]);
        assert_eq!(opened_by_gmssl(search[2].as_ref().unwrap()), Patient::new(1).id_card);
    }
    // The third notice of this appliance.
    assert_eq!(nameless.ask(&forepost, "GET", "/workstation/patient/3").status, 200);

    // The audit says who it was, in its own words.
    let deeds = forepost.verb_json(&["audit", "show", "--json"]);
    let wanted =
        deeds.as_array().unwrap().iter().find(|one| one["what"] == "study wanted").unwrap();
    assert_eq!(wanted["doctor_code"], "D110199000016", "{wanted}");
    assert_eq!(wanted["doctor_type"], "1", "{wanted}");
    let of_nine = |one: &&Value| one["who"].as_str().unwrap().starts_with("doctor 9 session");
    let shown: Vec<&Value> = deeds.as_array().unwrap().iter().filter(of_nine).collect();
    let shown = shown.iter().find(|one| one["what"] == "outside studies shown").unwrap();
    assert_eq!(shown["doctor_code"], "D110199000015", "{shown}");
    assert!(!deeds.to_string().contains(&number));
}

/// A text under the key that vendors were given, in the forms that they send: by gmssl and OpenSSL.
fn in_every_form(plain: &str) -> Vec<String> {
    let key = Sm2Key::from_pem_or_hex(SOURCE_KEY).unwrap();
    let (x, y) = key.public().coordinates();
    let digits = "00112233445566778899aabbccddeeff";
    let task = json!({
        "public": format!("{x}{y}"), "private": SOURCE_KEY, "plain": plain, "ours": {},
        "key": digits, "start": digits,
    });
    let made = python("ciphers.py", &[&task.to_string()]);
    let mut forms = Vec::new();
    for mode in ["1", "0"] {
        let bare = made["sm2"][mode].as_str().unwrap();
        let base64 = BASE64_STANDARD.encode(hex::decode(bare).unwrap());
        forms.extend([bare.to_owned(), format!("04{bare}"), bare.to_uppercase(), base64]);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("public.pem");
    std::fs::write(&file, key.public().pem()).unwrap();
    let arguments = ["pkeyutl", "-encrypt", "-pubin", "-inkey", file.to_str().unwrap()];
    let sealed = openssl(&arguments, plain.as_bytes());
    forms.extend([hex::encode(&sealed), BASE64_STANDARD.encode(&sealed)]);
    forms
}

#[test]
fn numbers_under_sm2_are_read_through_the_door_in_every_form_that_others_make() {
    let region = Cloud::alone(|_| Act::json(&json!([])));
    let sealed = "reader = true\nsm2 = { public_key = \"{folder}/region.pem\" }\n";
    let mut with_key = setup(&[asking(region.source("region"), sealed)]);
    let key = Sm2Key::from_pem_or_hex(SOURCE_KEY).unwrap();
    with_key.files.push(("region.pem", key.public().pem()));
    with_key.files.push(("own", SOURCE_KEY.to_owned()));
    with_key.more.push_str("[intake]\nsm2_key_file = \"{folder}/own\"\n");
    let forepost = Forepost::start(with_key);
    let number = Patient::new(3).id_card;
    forepost.keep_secret([number.clone()]);
    let doctors = in_every_form(&number);
    for (at, of_doctor) in doctors.iter().enumerate() {
        let patient = Patient::new(940 + at as u32);
        let user = format!("{at}");
        // As a HIS fills the template: base64 as it is, plus and all.
        let fields = format!("hisUserId={user}&type=1&doctorIdCardNo={of_doctor}");
        let _window = Window::open(&forepost, &log_in(&forepost, &fields), HERE);
        let before = region.asked().len();
        let mut opened = call(&patient, &user, HERE, &[]);
        opened["idCardNo"] = json!(in_every_form(&patient.id_card)[at]);
        opened.as_object_mut().unwrap().remove("doctorIdCardNo");
        say(&forepost, OPEN, &opened);
        forepost.keep_secret([patient.id_card.clone()]);
        let asked = wait_for(PATIENCE, || region.asked().get(before).cloned());
        let asked = asked.unwrap_or_else(|| panic!("nobody is asked for form {at}"));
        assert!(asked.target.contains(&patient.id_card), "form {at}: {}", asked.target);
        let [_, _, id] = reader(&asked);
        assert_eq!(id.map(|id| opened_by_gmssl(&id)).as_ref(), Some(&number), "form {at}");
    }
    assert_eq!(doctors.len(), 10);
}

#[test]
fn a_doctor_who_logs_in_again_keeps_what_was_told() {
    let house = House::ready(909);
    let (patient, forepost) = (&house.patient, &house.forepost);
    // The HIS opens the patient before the browser has shown the code.
    let path = log_in(forepost, "hisUserId=7&type=1&doctorName=A");
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    let mut window = Window::open(forepost, &path, HERE);
    window.listen(forepost);
    let listed = window.await_told(notice);
    assert_eq!(listed.data["precise"], false, "{:?}", listed.data);
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    let told = window.await_told(|one| one.data["precise"] == true);
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    assert_eq!(window.told_after(QUIET).len(), 2, "the same call makes no second notice");
    let path = log_in(forepost, "hisUserId=7&type=1&doctorName=A");
    let headers = [("Cookie", window.cookie.as_str()), ("X-Forwarded-For", HERE)];
    let again = forepost.ask("GET", &path, &headers, b"");
    window.await_told(|one| one.event == "ended");
    window.cookie = again.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let page = window.ask(forepost, "GET", &format!("/workstation/patient/{}", told.data["id"]));
    assert_eq!(page.status, 200, "what was told to the doctor before");
    // A HIS that logs in at every step ends no window by it.
    for _ in 0..20 {
        log_in(forepost, "hisUserId=7&type=1&doctorName=A");
    }
    assert_eq!(window.ask(forepost, "GET", "/workstation/").status, 200);
}

#[test]
fn a_link_opens_one_study_once_at_the_workstation_that_made_it() {
    let viewer = "[[caller]]\nname = \"viewer\"\ntoken_file = \"{folder}/viewer\"\nimages = true\n";
    let house = House::with(927, |setup| {
        setup.callers.push_str(viewer);
        setup.files.push(("viewer", "the viewer's token".into()));
    });
    let (patient, study, forepost) = (&house.patient, &house.study, &house.forepost);
    let mut window = Window::of(forepost, "7", HERE);
    window.listen(forepost);
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    let id = window.await_told(notice).data["id"].clone();
    let uid = study.uid();
    let door = "/workstation/IHEInvokeImageDisplay?requestType=STUDY";
    let link = || {
        let led = window.ask(forepost, "GET", &format!("/workstation/open/{id}/{uid}"));
        let (_, ticket) = led.header("location").unwrap().split_once("&ticket=").unwrap();
        format!("{door}&studyUID={uid}&ticket={ticket}")
    };
    let at =
        |address, target: &str| forepost.ask("GET", target, &[("X-Forwarded-For", address)], b"");

    // Stolen before it was used, forged, of another study: nothing, and it is not used up.
    let made = link();
    assert!(!made.contains(&patient.id_card));
    let forged = made.replace("&ticket=", "&ticket=9");
    for (target, address) in [
        (made.clone(), THERE),
        (forged, HERE),
        (made.replace(&uid.to_string(), "2.25.1"), HERE),
        (made.replace("STUDY", "PATIENT"), HERE),
        (format!("{door}&studyUID={uid}&ticket="), HERE),
        (format!("{door}&studyUID=x&ticket=1-00"), HERE),
        (door.to_owned(), HERE),
    ] {
        assert_eq!(at(address, &target).status, 403, "{target}");
    }
    // Opened once by another browser of the workstation, which then sees this study alone.
    let page = at(HERE, &made);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("胸部平扫"), "{}", page.text());
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("Path=/workstation"), "{cookie}");
    let cookie = [("Cookie", cookie.split(';').next().unwrap())];
    assert_eq!(at(HERE, &made).status, 403, "it was used");
    let own = format!("/workstation/study/{id}/{uid}");
    for (target, expected) in [
        (own.as_str(), 200),
        (&format!("/workstation/study/{id}/2.25.1"), 401),
        (&format!("/workstation/open/{id}/{uid}"), 401),
        (&format!("/workstation/patient/{id}"), 401),
        ("/workstation/", 401),
    ] {
        assert_eq!(forepost.ask("GET", target, &cookie, b"").status, expected, "{target}");
    }
    let fetch = format!("/workstation/fetch/{id}/{uid}");
    assert_eq!(forepost.ask("POST", &fetch, &cookie, b"").status, 401);
    // A window's cookie whose session is over is in nobody's way.
    let both = format!("forepost_window=00; {}", cookie[0].1);
    assert_eq!(forepost.ask("GET", &own, &[("Cookie", &both)], b"").status, 200);
    // A viewer's server asks for itself.
    let headers = [("Authorization", "Bearer the viewer's token"), ("Accept", "application/json")];
    let told = forepost.ask("GET", &link(), &headers, b"").json();
    assert_eq!((&told["study"], &told["linked"]), (&json!(uid), &json!(true)), "{told}");
    // With the doctor goes what the link opened.
    let unused = link();
    forepost.get("/hrball/?hisUserId=7&type=2");
    assert_eq!(forepost.ask("GET", &own, &cookie, b"").status, 401);
    assert_eq!(at(HERE, &unused).status, 403);
    let known = deeds(forepost);
    for (what, expected) in [
        ("images opened", 3),
        ("link opened", 2),
        ("link from elsewhere", 1),
        ("link forged", 3),
        ("link used again", 1),
        ("link after the session", 1),
    ] {
        let count = known.iter().filter(|(_, deed, _)| deed == what).count();
        assert_eq!(count, expected, "{what}: {known:#?}");
    }
}

#[test]
fn names_may_stand_unmasked_and_a_source_may_show_its_reports() {
    let more = "mask_names = false\n[[workstation.report]]\nsource = \"region\"\n\
                address = \"https://region.example/report?study={study}\"\n";
    let house = House::with(928, |setup| setup.more.push_str(more));
    let (patient, forepost) = (&house.patient, &house.forepost);
    let mut window = Window::of(forepost, "7", HERE);
    window.listen(forepost);
    say(forepost, OPEN, &call(patient, "7", HERE, &[]));
    let told = window.await_told(notice).data;
    assert_eq!(told["patient"], json!(patient.name));
    let address = format!("https://region.example/report?study={}", house.study.uid());
    for target in
        [format!("patient/{}", told["id"]), format!("study/{}/{}", told["id"], house.study.uid())]
    {
        let target = format!("/workstation/{target}");
        let page = window.ask(forepost, "GET", &target).text();
        assert!(page.contains(&format!("href=\"{address}\"")), "{page}");
        let english = [("Accept", "application/json"), ("Accept-Language", "en")];
        let said = window.ask_as(forepost, "GET", &target, &english).json();
        let study = if said["page"] == "study" { &said } else { &said["studies"][0] };
        assert_eq!(study["reportLink"], json!(address));
        assert!(study["why"].as_str().unwrap().starts_with("chosen"), "{said}");
    }
}
