//! Dictionaries: clouds ask, and are answered whatever the HIS does meanwhile.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cloud::{Act, Cloud};
use crate::support::forepost::Forepost;
use crate::support::http::{self, Reply};
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::{PATIENCE, wait_for};

const EXAM: &str = "/standardHttp/getExamDict";
const DEPT: &str = "/standardHttp/getDeptInfo";

/// Two hospitals, and a cloud that may read all their dictionaries.
fn setup() -> Setup {
    Setup {
        hospitals: "[[hospital]]\ncode = \"123456\"\n[[hospital]]\ncode = \"654321\"\n".into(),
        callers: "[[caller]]\nname = \"region\"\naddresses = [\"127.0.0.1\"]\n\
                  dictionaries = true\n"
            .into(),
        more: "[zone.cloud]\nlisten = \"127.0.0.1:0\"\n".into(),
        ..Setup::default()
    }
}

/// The same with a HIS of the first hospital that is asked for examination items.
fn setup_with(his: &Cloud) -> Setup {
    let more = format!(
        "{}[[dictionary_source]]\nname = \"his\"\nkind = \"exam\"\nhospital = \"123456\"\n\
         url = \"http://{}\"\n",
        setup().more,
        his.address
    );
    Setup { more, ..setup() }
}

fn ask(forepost: &Forepost, target: &str, headers: &[(&str, &str)]) -> Reply {
    http::ask(&forepost.cloud(), "GET", target, headers, b"").expect("the cloud zone answers")
}

/// The rows of a good answer.
fn rows(forepost: &Forepost, target: &str) -> Vec<Value> {
    let reply = ask(forepost, target, &[]);
    let told = reply.json();
    assert_eq!((reply.status, &told["code"]), (200, &json!(200)), "{told}");
    told["datas"].as_array().expect("a list").clone()
}

fn codes(rows: &[Value], key: &str) -> Vec<String> {
    rows.iter().map(|row| row[key].as_str().expect("a text").to_owned()).collect()
}

fn item(number: usize) -> Value {
    json!({
        "modality": "MRI", "examCode": format!("E{number:06}"), "examName": "腰椎MRI检查",
        "examBodyPart": "腰椎", "examPrice": "800.00", "checkStatus": "0", "sourceType": "1",
    })
}

fn items(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let rows: Vec<Value> = numbers.map(item).collect();
    json!({"message": "成功", "code": 0, "datas": rows}).to_string().into_bytes()
}

fn good(body: Vec<u8>) -> Act {
    Act::Answer(200, vec![("Content-Type", "application/json".to_owned())], body)
}

/// A HIS that always gives these items.
fn his(numbers: std::ops::Range<usize>) -> Cloud {
    Cloud::alone(move |_| good(items(numbers.clone())))
}

/// Starts again, so that the HIS is asked at once, and waits until it was.
fn poll_again(forepost: &mut Forepost, his: &Cloud) {
    let asked = his.asked().len();
    let polls = |forepost: &Forepost| forepost.metric("dictionary_polls_total");
    forepost.stop();
    forepost.restart();
    wait_for(PATIENCE, || (his.asked().len() > asked && polls(forepost) > 0.0).then_some(()))
        .expect("the HIS is asked and its answer taken");
}

fn await_rows(forepost: &Forepost, target: &str, count: usize) -> Vec<Value> {
    let found = wait_for(PATIENCE, || {
        let told = ask(forepost, target, &[]).json();
        let list = told["datas"].as_array()?;
        (told["code"] == 200 && list.len() == count).then(|| list.clone())
    });
    found.unwrap_or_else(|| panic!("never {count} rows at {target}"))
}

#[test]
fn a_cloud_is_answered_while_the_his_is_down_and_after_a_restart() {
    let mut his = his(0..3);
    let mut forepost = Forepost::start(setup_with(&his));
    await_rows(&forepost, EXAM, 3);
    his.down();
    for _ in 0..2 {
        let rows = rows(&forepost, EXAM);
        let expected = json!({
            "hospitalld": "123456", "modality": "MR", "examCode": "E000000",
            "examName": "腰椎MRI检查", "examBodyPart": "腰椎", "examPrice": "800.00",
            "checkStatus": "0", "sourceType": "1",
        });
        assert_eq!(rows[0], expected);
        assert_eq!(rows.len(), 3);
        forepost.kill();
        forepost.restart();
    }
    assert_eq!(forepost.metric("dictionary_rows"), 3.0);
}

#[test]
fn before_the_first_copy_the_answer_says_so_and_is_no_empty_list_of_success() {
    let forepost = Forepost::start(setup());
    let told = ask(&forepost, EXAM, &[]).json();
    assert_eq!((&told["code"], &told["datas"]), (&json!(500), &json!([])));
    assert!(told["message"].as_str().unwrap().contains("尚未取得"), "{told}");
}

#[test]
fn an_etag_spares_the_second_transfer_until_something_changes() {
    let source = his(0..3);
    let mut forepost = Forepost::start(setup_with(&source));
    await_rows(&forepost, EXAM, 3);
    let first = ask(&forepost, EXAM, &[]);
    let etag = first.header("etag").expect("an ETag").to_owned();
    let again = ask(&forepost, EXAM, &[("If-None-Match", &format!("\"other\", W/{etag}"))]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(etag.as_str()));
    source.behave(|_| good(items(0..4)));
    poll_again(&mut forepost, &source);
    await_rows(&forepost, EXAM, 4);
    let changed = ask(&forepost, EXAM, &[("If-None-Match", &etag)]);
    assert_eq!(changed.status, 200);
}

#[test]
fn callers_have_their_own_hospitals_and_their_own_code_of_success() {
    let callers = "[[caller]]\nname = \"zero\"\naddresses = [\"127.0.0.1\"]\n\
                   token_file = \"{folder}/zero\"\ndictionaries = true\nsuccess_code = 0\n\
                   hospitals = [\"654321\"]\n\
                   [[caller]]\nname = \"region\"\naddresses = [\"127.0.0.1\"]\n\
                   token_file = \"{folder}/region\"\ndictionaries = true\n\
                   [[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n";
    let files = vec![("zero", "token-zero-1".to_owned()), ("region", "token-region".to_owned())];
    let forepost = Forepost::start(Setup { callers: callers.into(), files, ..setup() });
    for hospital in ["123456", "654321"] {
        let csv = format!("deptCode,deptName\nD{hospital},放射科\n");
        import(&forepost, &csv, &["--kind", "dept", "--hospital", hospital]);
    }
    let told = |token: &str, target: &str| ask(&forepost, target, &[("token", token)]).json();
    let all = told("token-region", DEPT);
    assert_eq!(all["code"], 200);
    let depts = codes(all["datas"].as_array().unwrap(), "deptCode");
    assert_eq!(depts, ["D123456", "D654321"]);
    for parameter in ["hospitalld", "hospitalId"] {
        let one = told("token-region", &format!("{DEPT}?{parameter}=123456"));
        assert_eq!(codes(one["datas"].as_array().unwrap(), "deptCode"), ["D123456"]);
    }
    let own = told("token-zero-1", DEPT);
    assert_eq!((&own["code"], &own["datas"][0]["hospitalld"]), (&json!(0), &json!("654321")));
    assert_eq!(told("token-zero-1", &format!("{DEPT}?hospitalId=123456"))["code"], 400);
    assert_eq!(told("token-zero-1", &format!("{DEPT}?hospitalId=999"))["code"], 400);
    assert_eq!(told("nobody", DEPT)["code"], 401);
    assert_eq!(ask(&forepost, "/standardHttp/other", &[]).status, 404);
    assert_eq!(forepost.get(DEPT).status, 404, "the hospital zone does not know it");
    let posted = http::ask(&forepost.cloud(), "POST", DEPT, &[], b"").unwrap();
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
}

#[test]
fn a_copy_that_drops_19_percent_is_published_and_one_that_drops_21_waits_for_a_person() {
    let source = his(0..100);
    let mut forepost = Forepost::start(setup_with(&source));
    await_rows(&forepost, EXAM, 100);
    source.behave(|_| good(items(0..81)));
    poll_again(&mut forepost, &source);
    await_rows(&forepost, EXAM, 81);
    source.behave(|_| good(items(18..81)));
    poll_again(&mut forepost, &source);
    await_held(&forepost);
    assert_eq!(rows(&forepost, EXAM).len(), 81, "the old one is answered meanwhile");
    // Asked again and answered the same, it stays one held copy.
    poll_again(&mut forepost, &source);
    assert_eq!(forepost.metric("dictionary_held"), 1.0);
    let copies = show(&forepost, &["dict", "show", "--kind", "exam", "--hospital", "123456"]);
    assert_eq!(copies["copies"].as_array().unwrap().len(), 3, "{copies}");
    let diff = show(&forepost, &["dict", "diff", "--kind", "exam", "--hospital", "123456"]);
    assert_eq!(diff["changes"].as_array().unwrap().len(), 18);
    assert_eq!(diff["changes"][0]["change"], "removed");
    done(&forepost.verb(&[
        "dict",
        "release",
        "--kind",
        "exam",
        "--hospital",
        "123456",
        "--by",
        "office",
    ]));
    assert_eq!(rows(&forepost, EXAM).len(), 63, "the running service sees the verb's decision");
    let copies = show(&forepost, &["dict", "show", "--kind", "exam", "--hospital", "123456"]);
    assert_eq!(copies["copies"][0]["decided_by"], "office");
    assert_eq!(forepost.metric("dictionary_held"), 0.0);
}

#[test]
fn whatever_a_his_answers_instead_the_last_good_copy_stays() {
    let source = his(0..10);
    let mut forepost = Forepost::start(setup_with(&source));
    await_rows(&forepost, EXAM, 10);
    let bad: Vec<fn() -> Act> = vec![
        || Act::status(500),
        || good(b"<html><body>login</body></html>".to_vec()),
        || Act::Half(items(0..20)),
        || good(items(0..20)[..700].to_vec()),
        || good(br#"{"code":500,"message":"x","datas":[]}"#.to_vec()),
        || good(items(0..100_001)),
    ];
    for (at, act) in bad.into_iter().enumerate() {
        source.behave(move |_| act());
        poll_again(&mut forepost, &source);
        assert_eq!(rows(&forepost, EXAM).len(), 10, "answer {at}");
        assert_eq!(forepost.metric("dictionary_held"), 0.0, "answer {at}");
    }
    source.behave(|_| good(items(0..0)));
    poll_again(&mut forepost, &source);
    await_held(&forepost);
    assert_eq!(rows(&forepost, EXAM).len(), 10, "an empty list waits for a person");
}

#[test]
fn a_hundred_thousand_rows_are_taken_and_answered() {
    let source = his(0..100_000);
    let forepost = Forepost::start(setup_with(&source));
    let rows = await_rows(&forepost, EXAM, 100_000);
    assert_eq!(rows[99_999]["examCode"], "E099999");
}

#[test]
fn an_answer_in_gbk_with_numbers_for_texts_is_read() {
    let text = "{\"code\":\"200\",\"datas\":[{\"modality\":\"CT\",\"examCode\":17,\
                \"examName\":\"头颅CT平扫\",\"examBodyPart\":\"头部\",\"examPrice\":180.50,\
                \"checkStatus\":0,\"sourceType\":2,\"hospitalId\":\"654321\"}]}";
    let (gbk, _, _) = encoding_rs::GBK.encode(text);
    let body = gbk.into_owned();
    let source = Cloud::alone(move |_| {
        let media = ("Content-Type", "application/json;charset=GBK".to_owned());
        Act::Answer(200, vec![media], body.clone())
    });
    let forepost = Forepost::start(setup_with(&source));
    let rows = await_rows(&forepost, EXAM, 1);
    let row = &rows[0];
    assert_eq!((&row["examCode"], &row["examPrice"]), (&json!("17"), &json!("180.50")));
    assert_eq!((&row["examName"], &row["hospitalld"]), (&json!("头颅CT平扫"), &json!("654321")));
}

fn await_held(forepost: &Forepost) {
    let held = wait_for(PATIENCE, || (forepost.metric("dictionary_held") == 1.0).then_some(()));
    held.expect("a copy is held");
}

fn done(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn show(forepost: &Forepost, arguments: &[&str]) -> Value {
    let text = done(&forepost.verb(&[arguments, &["--json"]].concat()));
    serde_json::from_str(&text).expect("--json prints JSON")
}

/// Writes a file beside the configuration and imports it.
fn try_import(forepost: &Forepost, bytes: &[u8], arguments: &[&str]) -> Output {
    let file = forepost.data().parent().unwrap().join("import.csv");
    std::fs::write(&file, bytes).unwrap();
    let file = file.to_string_lossy().into_owned();
    forepost.verb(&[&["dict", "import", &file, "--by", "office"], arguments].concat())
}

fn import(forepost: &Forepost, csv: &str, arguments: &[&str]) -> Value {
    let output = try_import(forepost, csv.as_bytes(), &[arguments, &["--json"]].concat());
    serde_json::from_str(&done(&output)).expect("--json prints JSON")
}

#[test]
fn a_csv_with_mistakes_names_each_by_line_and_column_and_takes_the_rest() {
    let forepost = Forepost::start(setup());
    let csv = "\u{feff}检查项目编码（HIS）,EXAMNAME,modality,检查部位名称,examPrice,有效标记,\
               sourceType,备用\r\n\
               CT01,\"头颅CT平扫,\n薄层\",CT,头部,180.00,0,2,x\r\n\
               ,没有编码,CT,头部,1.00,0,2,\r\n\
               MR01,腰椎MRI检查,MRI,腰椎,八百,有效,1,\r\n\
               CT01,头颅CT平扫,CT,头部,190.00,1,2,\r\n\
               DR01,少一列,DX\r\n";
    let arguments = ["--kind", "exam", "--hospital", "123456"];
    let dry = try_import(&forepost, csv.as_bytes(), &[&arguments[..], &["--dry-run"]].concat());
    let words = format!("{}{}", done(&dry), String::from_utf8_lossy(&dry.stderr));
    for expected in ["added", "CT01", "MR01", "line 4, column 1", "line 5, column 5", "line 7"] {
        assert!(words.contains(expected), "{expected} in\n{words}");
    }
    assert_eq!(ask(&forepost, EXAM, &[]).json()["code"], 500, "a dry run changes nothing");
    let told = import(&forepost, csv, &arguments);
    assert_eq!((&told["left_out_count"], &told["hospitals"][0]["rows"]), (&json!(2), &json!(2)));
    let rows = rows(&forepost, EXAM);
    assert_eq!(codes(&rows, "examCode"), ["CT01", "MR01"]);
    let mr = &rows[1];
    assert_eq!((&mr["modality"], &mr["examPrice"]), (&json!("MR"), &json!("")));
    assert_eq!(mr["checkStatus"], "0", "有效 is 0");
    assert_eq!(rows[0]["examPrice"], "190.00", "the last of two rows counts");
    assert!(told["warnings"].to_string().contains("CT01 is there twice"), "{told}");
}

#[test]
fn a_csv_in_gbk_is_read_and_a_held_dictionary_stays_as_it_is() {
    let forepost = Forepost::start(setup());
    let arguments = ["--kind", "dept", "--hospital", "123456"];
    let (gbk, _, _) = encoding_rs::GBK.encode("科室编码,科室名称\nD1,放射科\nD2,内科\n");
    done(&try_import(&forepost, &gbk, &arguments));
    assert_eq!(rows(&forepost, DEPT)[0]["deptName"], "放射科");
    done(&forepost.verb(&[&["dict", "hold", "--by", "office"], &arguments[..]].concat()));
    let told = import(&forepost, "deptCode,deptName\nD1,影像科\nD2,内科\nD3,外科\n", &arguments);
    assert_eq!(told["hospitals"][0]["fate"], "held", "{told}");
    assert_eq!(rows(&forepost, DEPT).len(), 2);
    done(&forepost.verb(&[&["dict", "publish", "--by", "office"], &arguments[..]].concat()));
    assert_eq!(rows(&forepost, DEPT)[0]["deptName"], "影像科");
    let list = show(&forepost, &["dict", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 4, "both kinds of both hospitals: {list}");
    assert_eq!((&list[1]["kind"], &list[0]["version"]), (&json!("dept"), &json!(0)));
    assert_eq!(list[1]["held_by"], "office", "publishing once does not end the hold: {list}");
    done(&forepost.verb(&[&["dict", "release"], &arguments[..]].concat()));
    assert_eq!(show(&forepost, &["dict", "list"])[1]["held_by"], Value::Null);
}

#[test]
fn an_unusable_file_or_hospital_is_refused_with_words() {
    let forepost = Forepost::start(setup());
    let refused = |csv: &[u8], hospital: &str, words: &str| {
        let output = try_import(&forepost, csv, &["--kind", "exam", "--hospital", hospital]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(words), "{words} in {told}");
    };
    refused(b"examCode,examName\n", "999", "999");
    refused(b"", "123456", "header");
    refused(b"examName,modality\nx,CT\n", "123456", "examCode");
    refused(b"examCode,examName\n\xff\xff\xff\n", "123456", "GB18030");
    assert_eq!(ask(&forepost, EXAM, &[]).json()["code"], 500);
}

#[test]
fn a_kill_during_an_import_leaves_the_old_copy_or_the_new_one_whole() {
    let forepost = Forepost::start(setup());
    let csv = |price: usize| {
        let mut text = String::from("examCode,examName,examPrice\n");
        for number in 0..20_000 {
            text.push_str(&format!("E{number:06},胸部CT平扫,{price}.00\n"));
        }
        text
    };
    let arguments = ["--kind", "exam", "--hospital", "123456"];
    import(&forepost, &csv(1), &arguments);
    let file = forepost.data().parent().unwrap().join("import.csv");
    let mut killed = 0;
    for price in 2..10 {
        std::fs::write(&file, csv(price)).unwrap();
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_forepost"))
            .args(["dict", "import"])
            .arg(&file)
            .args(arguments)
            .arg("--config")
            .arg(forepost.data().parent().unwrap().join("forepost.toml"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 * price as u64));
        process.kill().unwrap();
        killed += usize::from(!process.wait().unwrap().success());
        let rows = rows(&forepost, EXAM);
        let first = &rows[0]["examPrice"];
        assert_eq!(rows.len(), 20_000);
        assert!(rows.iter().all(|row| row["examPrice"] == *first), "a mixture after the kill");
    }
    assert!(killed > 0, "no import was killed in time");
    import(&forepost, &csv(99), &arguments);
    assert_eq!(rows(&forepost, EXAM)[0]["examPrice"], "99.00");
}

#[test]
fn items_are_suggested_confirmed_by_a_person_exported_and_imported_again() {
    let mut forepost = Forepost::start(setup());
    let at = ["--hospital", "123456"];
    let csv = "examCode,examName,examBodyPart,modality\nC1,胸部CT平扫,胸部,CT\n\
               C2,肺CT平扫,肺,CT\nM1,腰椎MRI,脊柱,MRI\nX1,会诊,,\n";
    import(&forepost, csv, &["--kind", "exam", "--hospital", "123456"]);
    let suggested = show(&forepost, &["map", "suggest", at[0], at[1]]);
    let best = suggested.as_array().unwrap().last().unwrap();
    assert_eq!((suggested.as_array().unwrap().len(), &best["exam_code"]), (4, &json!("X1")));
    let confirm = |more: &[&str]| {
        forepost.verb(&[&["map", "confirm", "--by", "office", at[0], at[1]], more].concat())
    };
    done(&confirm(&["--exam", "C1", "--code", "A01020ZZZ"]));
    assert!(!confirm(&["--exam", "C1", "--code", "short"]).status.success());
    assert!(!confirm(&["--exam", "nobody"]).status.success());
    assert!(!confirm(&["--exam", "X1"]).status.success(), "nothing is known of it");
    let suggested = show(&forepost, &["map", "suggest", at[0], at[1]]);
    let like_it = &suggested[0];
    assert_eq!((&like_it["exam_code"], &like_it["code"]), (&json!("C2"), &json!("A01020ZZZ")));
    let file = forepost.data().parent().unwrap().join("map.csv");
    let file = file.to_string_lossy().into_owned();
    done(&forepost.verb(&["map", "export", &file, "--suggestions"]));
    let table = std::fs::read_to_string(&file).unwrap();
    assert!(table.starts_with("\u{feff}hospitalld,examCode"), "{table}");
    // The person marks the line of the spine in a spreadsheet.
    let marked: Vec<String> = table
        .lines()
        .map(|line| if line.contains(",M1,") { format!("{line}是") } else { line.to_owned() })
        .collect();
    std::fs::write(&file, marked.join("\r\n")).unwrap();
    done(&forepost.verb(&["map", "import", &file, "--by", "office"]));
    done(&confirm(&["--score-min", "90"]));
    forepost.kill();
    forepost.restart();
    let list = show(&forepost, &["map", "list"]);
    let told: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {}",
                text("exam_code"),
                text("modality"),
                text("body_part"),
                text("code")
            )
        })
        .collect();
    let expected = ["C1 CT CHEST A01020ZZZ", "C2 CT CHEST A01020ZZZ", "M1 MR LSPINE "];
    assert_eq!(told, expected);
    std::fs::write(&file, "code,name\nB0Z,脊柱\n").unwrap();
    let refused = forepost.verb(&["map", "import", &file, "--by", "office"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("line 2"), "{words}");
    std::fs::write(&file, "编码,名称\nA09999ZZZ,会诊\n").unwrap();
    done(&forepost.verb(&["map", "import", &file, "--by", "office"]));
    let last = show(&forepost, &["map", "suggest", at[0], at[1]]);
    assert_eq!((&last[0]["exam_code"], &last[0]["code"]), (&json!("X1"), &json!("A09999ZZZ")));
}

#[test]
fn registrations_are_acknowledged_while_a_verb_writes_a_hundred_thousand_rows() {
    let callers = format!(
        "{}[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n",
        setup().callers
    );
    let forepost = Forepost::start(Setup { callers, ..setup() });
    let mut csv = String::from("examCode,examName\n");
    for number in 0..100_000 {
        csv.push_str(&format!("E{number:06},胸部CT平扫\n"));
    }
    let arguments = ["--kind", "exam", "--hospital", "123456"];
    std::thread::scope(|scope| {
        let importing = scope.spawn(|| import(&forepost, &csv, &arguments));
        let mut number = 700;
        while !importing.is_finished() {
            forepost.accept(&Patient::new(number).registration(26, 0));
            number += 1;
        }
        assert!(number > 701, "nothing was registered meanwhile");
        let told = importing.join().unwrap();
        assert_eq!(told["hospitals"][0]["fate"], "published");
        assert_eq!(forepost.metric("registrations_kept"), f64::from(number - 700));
    });
    assert_eq!(forepost.metric("dictionary_rows"), 100_000.0);
}

#[test]
fn a_cloud_asks_over_tls_and_trusts_the_authority_it_was_given() {
    let authority = rcgen::CertifiedIssuer::self_signed(
        {
            let mut about = rcgen::CertificateParams::new(Vec::new()).unwrap();
            about.distinguished_name.push(rcgen::DnType::CommonName, "the cloud's authority");
            about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            about
        },
        rcgen::KeyPair::generate().unwrap(),
    )
    .unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let door = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let door = door.signed_by(&key, &authority).unwrap();
    let more = "[zone.cloud]\nlisten_tls = \"127.0.0.1:0\"\n\
                certificate = \"{folder}/door.pem\"\ncertificate_key = \"{folder}/door.key\"\n";
    let files = vec![("door.pem", door.pem()), ("door.key", key.serialize_pem())];
    let forepost = Forepost::start(Setup { more: more.to_owned(), files, ..setup() });
    import(
        &forepost,
        "examCode,examName\nE1,腰椎MRI检查\n",
        &["--kind", "exam", "--hospital", "123456"],
    );
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = [authority.pem(), stranger.cert.pem()].map(|pem| {
        let trusted = folder.path().join("trusted.pem");
        std::fs::write(&trusted, pem).unwrap();
        let port = forepost.cloud_tls().rsplit(':').next().unwrap().to_owned();
        let output = Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--max-time", "20", "--resolve"])
            .arg(format!("localhost:{port}:127.0.0.1"))
            .arg("--cacert")
            .arg(&trusted)
            .arg(format!("https://localhost:{port}{EXAM}?hospitalld=123456"))
            .output();
        output.expect("curl starts")
    });
    let answer: Value = serde_json::from_slice(&told[0].stdout).expect("an answer in JSON");
    assert_eq!(
        (&answer["code"], codes(answer["datas"].as_array().unwrap(), "examCode")),
        (&json!(200), vec!["E1".to_owned()])
    );
    assert_eq!(told[1].status.code(), Some(60), "curl: the certificate is not to be trusted");
    let plain = http::ask(&forepost.cloud_tls(), "GET", EXAM, &[], b"");
    assert!(plain.is_err(), "plain HTTP is turned away: {plain:?}");
}

#[test]
fn an_address_that_is_not_allowed_in_the_cloud_zone_is_not_answered_at_all() {
    let more = "[zone.cloud]\nlisten = \"127.0.0.1:0\"\nallow = [\"192.0.2.0/24\"]\n";
    let forepost = Forepost::start(Setup { more: more.into(), ..setup() });
    assert!(http::ask(&forepost.cloud(), "GET", EXAM, &[], b"").is_err());
}
