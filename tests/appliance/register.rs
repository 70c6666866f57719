//! `saveDataStorage`: what is taken, what is refused, and in which words (imaging cloud's
//! document, 3.4.2).

use encoding_rs::GBK;
use serde_json::{Value, json};

use crate::support::forepost::{Forepost, REGISTER, first_of};
use crate::support::patient::{Patient, due_at};
use crate::support::setup::Setup;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The example as it comes out of the document, with its no-break spaces.
const AS_PRINTED: &str = include_str!("../fixtures/register/as-printed.json");

/// Every field that the document's table requires of an out-patient (3.4.2).
const REQUIRED: [&str; 15] = [
    "idCardNo",
    "mobilePhone",
    "patientName",
    "patientSex",
    "patientAge",
    "patientType",
    "outpatientNumber",
    "registDateTime",
    "outpatientDateTime",
    "outpatientDeptName",
    "outpatientDeptCode",
    "outpatientDocName",
    "outpatientDocHisUid",
    "quitType",
    "outpatientType",
];

/// Refused in the document's envelope with HTTP 200; gives the sentence.
fn refusal(forepost: &Forepost, headers: &[(&str, &str)], body: &[u8]) -> String {
    let reply = forepost.ask("POST", REGISTER, headers, body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let told = reply.json();
    assert_eq!(told["code"], 400, "{told}");
    let members = told.as_object().expect("the envelope is an object");
    assert_eq!(members.len(), 2, "nothing but code and message: {told}");
    told["message"].as_str().expect("a message").to_owned()
}

/// What a person sees of the only plan.
fn page_of_only_plan(forepost: &Forepost) -> String {
    let plans = forepost.plans();
    assert_eq!(plans.len(), 1, "one registration makes one plan");
    let id = plans.values().next().unwrap()["id"].to_string();
    let output = forepost.verb(&["plans", "show", &id]);
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("the page is text")
}

#[test]
fn the_documents_own_example_is_accepted_as_printed_and_cancels_its_visit() {
    assert!(AS_PRINTED.contains("2022-7-15\u{a0}09:30:00"), "the fixture keeps its odd blanks");
    let forepost = Forepost::start(Setup::default());
    let reply = forepost.ask("POST", REGISTER, &[JSON], AS_PRINTED.as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text().replace(' ', ""), r#"{"message":"请求成功","code":200}"#);
    assert_eq!(reply.header("content-type"), Some("application/json;charset=UTF-8"));
    let plans = forepost.plans();
    let plan = plans.values().next().expect("it is kept");
    assert_eq!((&plan["state"], &plan["hospital"]), (&json!("cancelled"), &json!("123456")));
}

#[test]
fn a_lenient_hospital_refuses_only_what_could_never_be_found_again() {
    let forepost = Forepost::start(Setup::default());
    let said = refusal(&forepost, &[JSON], br#"{"hospitalld":"123456"}"#);
    for name in ["outpatientNumber", "patientName", "idCardNo"] {
        assert!(said.contains(name), "{name} is missing in: {said}");
    }
    assert!(said.contains("不能"), "in the document's words: {said}");
    assert!(!said.contains("mobilePhone"), "what is only warned of is not refused: {said}");
    let least = json!({"outpatientNumber": "MZ-LEAST-1", "patientName": "李秀英",
        "healthNo": "88001234"});
    forepost.accept(&least);
    let stay = json!({"hospitalizationId": "ZY-LEAST-1", "patientName": "李秀英",
        "admissionRegistDateTime": "2026/07/01 08:00", "insuranceId": "77001234"});
    forepost.accept(&stay);
    assert_eq!(forepost.metric("registrations_kept"), 2.0);
}

#[test]
fn a_strict_hospital_names_every_wrong_field_of_the_table_at_once() {
    let hospitals = "[[hospital]]\ncode = \"123456\"\nstrict = true\n".to_owned();
    let forepost = Forepost::start(Setup { hospitals, ..Setup::default() });
    let said = refusal(&forepost, &[JSON], br#"{"hospitalld":"123456"}"#);
    for name in REQUIRED {
        assert!(said.contains(&format!("{name}:不能为空")), "{name} is missing in: {said}");
    }
    assert!(!said.contains("dischargedDateTime"), "nobody is discharged at admission: {said}");
    let whole = Patient::new(1).registration(26, 0);
    forepost.accept(&whole);
    for name in REQUIRED {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(name);
        let reply = forepost.push(&without);
        assert_eq!(reply.json()["message"], json!(format!("{name}:不能为空")), "{name}");
    }
    assert_eq!(forepost.metric("registrations_kept"), 1.0);
}

#[test]
fn a_strict_hospital_wants_the_fields_of_a_stay_from_in_patients_only() {
    let hospitals = "[[hospital]]\ncode = \"123456\"\nstrict = true\n".to_owned();
    let forepost = Forepost::start(Setup { hospitals, ..Setup::default() });
    let mut stay = Patient::new(2).registration(26, 0);
    stay["patientType"] = json!("2");
    let said = forepost.push(&stay).json()["message"].as_str().unwrap().to_owned();
    for name in [
        "admissionRegistDateTime",
        "admissionDateTime",
        "admissionDeptName",
        "admissionDeptCode",
        "currentDeptCode",
        "currentDeptName",
    ] {
        assert!(said.contains(&format!("{name}:不能为空")), "{name} is missing in: {said}");
    }
}

#[test]
fn a_body_in_gbk_is_read_with_and_without_its_charset() {
    let forepost = Forepost::start(Setup::default());
    let mut registration = Patient::new(3).registration(26, 0);
    registration["patientName"] = json!("欧阳建国");
    forepost.keep_secret(["欧阳建国".to_owned()]);
    let text = registration.to_string();
    let (body, ..) = GBK.encode(&text);
    for media in
        ["application/json;charset=GBK", "application/json; charset=gb2312", "application/json"]
    {
        let reply = forepost.ask("POST", REGISTER, &[("Content-Type", media)], &body);
        assert_eq!(reply.json()["code"], 200, "{media}: {}", reply.text());
        let page = page_of_only_plan(&forepost);
        assert!(page.contains("欧阳建国"), "{media}: {page}");
    }
}

#[test]
fn a_truncated_body_is_refused_at_every_cut_and_nothing_is_half_written() {
    let forepost = Forepost::start(Setup::default());
    let whole = Patient::new(4).registration(26, 0).to_string();
    forepost.keep_secret([Patient::new(4).name, Patient::new(4).id_card]);
    for cut in 0..whole.len() {
        refusal(&forepost, &[JSON], &whole.as_bytes()[..cut]);
    }
    assert_eq!(forepost.metric("registrations_kept"), 0.0);
    assert!(forepost.plans().is_empty());
    let reply = forepost.ask("POST", REGISTER, &[JSON], whole.as_bytes());
    assert_eq!(reply.json()["code"], 200);
}

#[test]
fn a_body_that_ends_before_its_length_leaves_nothing() {
    let forepost = Forepost::start(Setup::default());
    let body = Patient::new(5).registration(26, 0).to_string();
    let head =
        format!("POST {REGISTER} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    for cut in [1, body.len() / 2, body.len() - 1] {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(forepost.hospital()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..cut]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains("\"code\":200"), "{answer}");
    }
    assert_eq!(forepost.metric("registrations_kept"), 0.0);
}

#[test]
fn bodies_that_are_no_registration_get_a_clear_answer() {
    let forepost = Forepost::start(Setup::default());
    let deep = "[".repeat(100_000);
    let deep_objects = "{\"a\":".repeat(100_000);
    let wide = format!("[{}0]", "0,".repeat(1_500_000));
    let bodies: [(&str, &[u8]); 14] = [
        ("empty", b""),
        ("blank", b"  \r\n "),
        ("a NUL", b"\0"),
        ("NULs inside", b"{\"hospitalld\":\"123456\",\0\"patientName\":\"x\"}"),
        ("no JSON", b"hello"),
        ("XML", b"<?xml version=\"1.0\"?><a/>"),
        ("a list", b"[]"),
        ("a number", b"7"),
        ("null", b"null"),
        ("not text", b"{\"a\":\"\xff\xff\xff\"}"),
        ("a lone bracket", b"{"),
        ("100,000 lists", deep.as_bytes()),
        ("100,000 objects", deep_objects.as_bytes()),
        ("1,500,000 values", wide.as_bytes()),
    ];
    for (what, body) in bodies {
        let said = refusal(&forepost, &[JSON], body);
        assert!(!said.is_empty(), "{what}");
    }
    assert_eq!(forepost.metric("registrations_kept"), 0.0);
    forepost.accept(&Patient::new(6).registration(26, 0));
}

#[test]
fn the_content_type_does_not_decide_whether_a_body_is_read() {
    let forepost = Forepost::start(Setup::default());
    for (at, media) in [
        "text/plain",
        "application/octet-stream",
        "text/html;charset=utf-8",
        "application/x-www-form-urlencoded",
        "nonsense",
    ]
    .into_iter()
    .enumerate()
    {
        let body = Patient::new(7).registration(26, at as i64).to_string();
        let reply = forepost.ask("POST", REGISTER, &[("Content-Type", media)], body.as_bytes());
        assert_eq!(reply.json()["code"], 200, "{media}: {}", reply.text());
    }
    let body = Patient::new(7).registration(26, 9).to_string();
    assert_eq!(forepost.ask("POST", REGISTER, &[], body.as_bytes()).json()["code"], 200);
    let said = refusal(&forepost, &[("Content-Type", "multipart/form-data; boundary=x")], b"--x--");
    assert!(!said.is_empty());
}

#[test]
fn fifty_megabytes_are_refused_with_a_bare_413() {
    let forepost = Forepost::start(Setup::default());
    let mut body = b"{\"patientName\":\"".to_vec();
    body.resize(50_000_000, b'x');
    let reply = forepost.ask("POST", REGISTER, &[JSON], &body);
    assert_eq!((reply.status, reply.body.len()), (413, 0));
    forepost.accept(&Patient::new(8).registration(26, 0));
    assert_eq!(forepost.metric("registrations_kept"), 1.0);
}

#[test]
fn unknown_paths_and_methods_get_a_bare_status() {
    let forepost = Forepost::start(Setup::default());
    for path in [
        "/",
        "/standardInterface",
        "/standardInterface/standardHttp/nothing",
        "/../etc/passwd",
        "/standardHttp/getExamDict",
    ] {
        let reply = forepost.ask("POST", path, &[JSON], b"{}");
        assert_eq!((reply.status, reply.body.len()), (404, 0), "{path}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let reply = forepost.ask(method, REGISTER, &[], b"");
        assert_eq!((reply.status, reply.body.len()), (405, 0), "{method}");
        assert_eq!(reply.header("allow"), Some("POST"), "{method}");
    }
}

#[test]
fn a_caller_that_is_not_known_reads_401_in_the_envelope() {
    let callers = "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.9\"]\npush = true\n\
                   [[caller]]\nname = \"viewer\"\naddresses = [\"127.0.0.1\"]\nimages = true\n";
    let forepost = Forepost::start(Setup { callers: callers.to_owned(), ..Setup::default() });
    let reply = forepost.push(&Patient::new(9).registration(26, 0));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json(), json!({"message": "权限校验不通过", "code": 401}));
    assert_eq!(forepost.metric("registrations_kept"), 0.0);
    assert_eq!(forepost.get("/dicom-web/studies").status, 200, "it may read images");
}

#[test]
fn a_token_is_wanted_where_one_is_configured_and_the_code_mirrored_where_asked() {
    let callers = "[[caller]]\nname = \"his\"\ntoken_file = \"{folder}/his.token\"\npush = true\n\
                   [[caller]]\nname = \"strict his\"\ntoken_file = \"{folder}/mirror.token\"\n\
                   push = true\nmirror_status = true\n";
    let files = vec![
        ("his.token", "tokentokentoken-1\n".to_owned()),
        ("mirror.token", "tokentokentoken-2\n".to_owned()),
    ];
    let setup = Setup { callers: callers.to_owned(), files, ..Setup::default() };
    let forepost = Forepost::start(setup);
    forepost.keep_secret(["tokentokentoken".to_owned()]);
    let good = Patient::new(10).registration(26, 0).to_string();
    let try_with = |header: (&str, &str), body: &str| {
        let reply = forepost.ask("POST", REGISTER, &[JSON, header], body.as_bytes());
        (reply.status, reply.json()["code"].as_i64().unwrap())
    };
    assert_eq!(try_with(("Authorization", "Bearer tokentokentoken-1"), &good), (200, 200));
    assert_eq!(try_with(("token", "tokentokentoken-1"), &good), (200, 200));
    assert_eq!(try_with(("token", "tokentokentoken-1"), "{}"), (200, 400));
    assert_eq!(try_with(("token", "tokentokentoken-2"), "{}"), (400, 400));
    assert_eq!(try_with(("token", "tokentokentoken-2"), &good), (200, 200));
    assert_eq!(try_with(("token", "tokentokentoken-3"), &good), (200, 401));
    assert_eq!(try_with(("X-None", "1"), &good), (200, 401));
    assert_eq!(try_with(("Authorization", "Basic tokentokentoken-1"), &good), (200, 401));
}

#[test]
fn several_hospitals_are_told_apart_by_their_code() {
    let hospitals = "[[hospital]]\ncode = \"123456\"\n[[hospital]]\ncode = \"223344\"\n";
    let setup = Setup { hospitals: hospitals.to_owned(), ..Setup::default() };
    let forepost = Forepost::start(setup);
    let mut registration = Patient::new(11).registration(26, 0);
    forepost.accept(&registration);
    registration["hospitalld"] = json!("223344");
    registration["outpatientDateTime"] = json!("2030-01-01 08:00:00");
    forepost.accept(&registration);
    let of = |code: &str| forepost.plans().values().filter(|plan| plan["hospital"] == code).count();
    assert_eq!((of("123456"), of("223344")), (1, 1), "one visit number, two hospitals, two visits");
    registration["hospitalld"] = json!("999999");
    assert_eq!(forepost.push(&registration).json()["code"], 400);
    let members = registration.as_object_mut().unwrap();
    members.remove("hospitalld");
    let told = forepost.push(&registration).json();
    assert_eq!(told["code"], 400);
    assert!(told["message"].as_str().unwrap().contains("hospitalld"), "{told}");
    registration["hospitalId"] = json!("223344");
    forepost.accept(&registration);
    assert_eq!(forepost.plans().len(), 2);
}

#[test]
fn one_hospital_needs_no_code_in_the_body() {
    let forepost = Forepost::start(Setup::default());
    let mut registration = Patient::new(12).registration(26, 0);
    registration.as_object_mut().unwrap().remove("hospitalld");
    forepost.accept(&registration);
    assert_eq!(forepost.plan(&registration)["hospital"], "123456");
}

#[test]
fn the_same_visit_sent_again_changes_its_plan_and_adds_none() {
    let forepost = Forepost::start(Setup::default());
    let first = Patient::new(13).registration(26, 0);
    forepost.accept(&first);
    let mut moved = Patient::new(13).registration(50, 0);
    moved["outpatientNumber"] = first["outpatientNumber"].clone();
    moved["outpatientDeptName"] = json!("骨科");
    forepost.accept(&moved);
    let plans = forepost.plans();
    assert_eq!(plans.keys().copied().collect::<Vec<_>>(), [due_at(&moved)]);
    let page = page_of_only_plan(&forepost);
    assert!(page.contains("骨科") && !page.contains("心内科"), "{page}");
    assert_eq!(forepost.metric("registrations_kept"), 1.0);
}

#[test]
fn urgent_are_in_patients_emergencies_and_who_comes_soon() {
    let forepost = Forepost::start(Setup::default());
    let urgent = |change: &[(&str, &str)], hours: i64, number: u32| {
        let mut registration = Patient::new(number).registration(hours, i64::from(number));
        for (key, value) in change {
            registration[*key] = json!(value);
        }
        forepost.accept(&registration);
        let due = match registration.get("admissionDateTime") {
            Some(_) => {
                forepost.plans().into_values().next_back().expect("a plan")["urgent"].clone()
            }
            None => forepost.plan(&registration)["urgent"].clone(),
        };
        due == json!(true)
    };
    assert!(!urgent(&[], 26, 20));
    assert!(urgent(&[], 1, 21));
    assert!(urgent(&[("outpatientDeptName", "急诊内科")], 26, 22));
    let stay = [("patientType", "2"), ("admissionDateTime", "2035-01-01 08:00:00")];
    assert!(urgent(&stay, 26, 23));
}

#[test]
fn nothing_that_was_registered_can_be_read_in_the_ledgers_files() {
    let mut forepost = Forepost::start(Setup::default());
    let people: Vec<Patient> = (30..40).map(Patient::new).collect();
    let mut personal = Vec::new();
    for person in &people {
        let registration = person.registration(26, 0);
        personal.extend(crate::support::patient::personal(&registration));
        assert_eq!(forepost.push(&registration).json()["code"], 200);
    }
    assert_eq!(personal.len(), 7 * people.len());
    let metrics = crate::support::http::ask(&forepost.console(), "GET", "/metrics", &[], b"");
    let metrics = metrics.unwrap().text();
    assert!(personal.iter().all(|text| !metrics.contains(text.as_str())));
    forepost.kill();
    let ledger: Vec<_> = forepost.files().into_iter().filter(|path| path.is_file()).collect();
    assert!(ledger.iter().any(|path| path.ends_with("ledger/forepost.db")), "{ledger:?}");
    let personal = personal.into_iter().collect();
    for path in ledger {
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(first_of(&personal, &bytes), None, "personal data in {}", path.display());
    }
}

#[test]
fn keys_and_data_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let forepost = Forepost::start(Setup::default());
    forepost.accept(&Patient::new(41).registration(26, 0));
    let keys: Vec<_> = forepost
        .files()
        .into_iter()
        .filter(|path| path.is_file() && path.starts_with(forepost.data().join("keys")))
        .collect();
    assert!(!keys.is_empty());
    for key in keys {
        let mode = std::fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", key.display());
    }
    for folder in ["cache", "ledger", "keys"] {
        let mode = std::fs::metadata(forepost.data().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{folder} has mode {mode:o}");
    }
}

#[test]
fn a_registration_that_was_acknowledged_is_there_after_a_kill() {
    let mut forepost = Forepost::start(Setup::default());
    let registrations: Vec<Value> =
        (0..20).map(|at| Patient::new(42).registration(26, at)).collect();
    for registration in &registrations {
        forepost.accept(registration);
    }
    forepost.kill();
    forepost.restart();
    let plans = forepost.plans();
    assert!(registrations.iter().all(|one| plans.contains_key(&due_at(one))));
}
