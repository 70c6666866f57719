//! Sections 3.5 to 3.7 of the imaging cloud's document, each in its second way: settlements and
//! dictionaries that come from views of the hospital's database.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::databases::{Database, System};
use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::setup::Setup;
use crate::support::wait_for;

const SETTLE: &str = "/standardInterface/standardHttp/saveSetlInfoList";
const ZEROS: &str = "00000000000000000000";
const LONG: Duration = Duration::from_secs(60);

/// The three views that are not registrations, with a time of settlement in a column of its own.
const TABLES: &str = "
CREATE TABLE view_setlInfoList(accessionNo varchar(40), studyOrderId varchar(40),
  setlId varchar(40), medListCodg varchar(40), feedetlSn varchar(40), examPart varchar(20),
  hospitalld varchar(20), js_sj varchar(40));
CREATE TABLE View_ProjectItemCode_Info(modality varchar(20), examCode varchar(40),
  examName varchar(100), examBodyPart varchar(100), examPrice varchar(20), checkStatus varchar(4),
  sourceType varchar(4), hospitalld varchar(20));
CREATE TABLE View_Dept_Info(deptName varchar(50), deptCode varchar(20), remark varchar(50),
  hospitalld varchar(20));";

fn view(interface: &str, more: &str) -> String {
    format!(
        "[[views]]\nname = \"{interface}\"\ninterface = \"{interface}\"\ndatabase = \"his\"\n\
         interval_seconds = 1\n{more}"
    )
}

fn setup(database: &Database) -> Setup {
    let more = [
        "[zone.cloud]\nlisten = \"127.0.0.1:0\"\n".to_owned(),
        // Nobody listens there: what is accepted stays where it can be counted.
        "[[destination]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:9\"\n\
         interfaces = [\"ic-settlement-push\"]\n"
            .to_owned(),
        format!("[[databases]]\nname = \"his\"\nconnection = \"{}\"\n", database.connection("his")),
        view("ic-settlement-view", "columns = { setlTime = \"js_sj\" }\n"),
        view("ic-exam-dict-view", ""),
        view("ic-dept-view", ""),
    ];
    let callers = Setup::default().callers.replace("images = true", "dictionaries = true");
    Setup { more: more.concat(), callers, log: "info", ..Setup::default() }
}

/// Three self-pay items of one study: both serial numbers are the constant.
fn items() -> Vec<Value> {
    let item = |code: &str, part: &str| {
        json!({
            "hospitalld": "123456", "accessionNo": "A7001", "studyOrderId": "O7001",
            "setlId": ZEROS, "feedetlSn": ZEROS, "medListCodg": code, "examPart": part,
        })
    };
    vec![item("M1", "B01010ZZZ"), item("M2", "B01010ZZZ"), item("M1", "B02010ZZZ")]
}

fn insert(database: &Database, one: &Value, at: &str) {
    let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    database.sql(
        "his",
        &format!(
            "INSERT INTO view_setlInfoList VALUES ('{}', '{}', '{}', '{}', '{}', '{}', '{}', {at})",
            text("accessionNo"),
            text("studyOrderId"),
            text("setlId"),
            text("medListCodg"),
            text("feedetlSn"),
            text("examPart"),
            text("hospitalld")
        ),
    );
}

fn queue(forepost: &Forepost) -> Value {
    let output = forepost.verb(&["queue", "list", "--json"]);
    serde_json::from_slice(&output.stdout).expect("the queue is listed")
}

fn dictionary(forepost: &Forepost, name: &str) -> Value {
    let target = format!("/standardHttp/{name}");
    let reply = http::ask(&forepost.cloud(), "GET", &target, &[], b"");
    reply.expect("the cloud zone answers").json()
}

#[test]
fn three_self_pay_items_pushed_and_seen_in_the_view_are_three_settlements() {
    let database = Database::start(System::Postgres);
    database.sql("his", TABLES);
    let forepost = Forepost::start(setup(&database));
    let body = json!({ "list": items() }).to_string();
    let json = [("Content-Type", "application/json")];
    for _ in 0..2 {
        let reply = forepost.ask("POST", SETTLE, &json, body.as_bytes());
        assert_eq!(reply.json()["code"], 200, "{}", reply.text());
    }
    items().iter().for_each(|one| insert(&database, one, "NULL"));
    let other = json!({
        "hospitalld": "123456", "accessionNo": "A7002", "setlId": "S1", "feedetlSn": "F1",
        "medListCodg": "M9", "examPart": "B01010ZZZ",
    });
    let settled_at = jiff::Timestamp::now().as_millisecond() - 3_600_000;
    let wall = forepost::model::Time(settled_at).wall(forepost::model::UtcOffset::china());
    let given = wall.strftime("%Y-%m-%d %H:%M:%S").to_string();
    insert(&database, &other, &format!("'{given}'"));
    let seen = wait_for(LONG, || {
        (forepost.metric("view_rows_new_total") >= 4.0).then(|| queue(&forepost))
    });
    let seen = seen.expect("the view is read");
    let interface = &seen["interfaces"][0];
    assert_eq!((&interface["accepted"], &interface["holds"]), (&json!(4), &json!(true)));
    let deliveries = seen["deliveries"].as_array().unwrap();
    let starts: Vec<&str> = deliveries.iter().map(|one| one["start"].as_str().unwrap()).collect();
    assert_eq!(starts.iter().filter(|start| **start == "given").count(), 1, "{starts:?}");
    let own = deliveries.iter().find(|one| one["start"] == "given").unwrap();
    assert_eq!(own["starts_at_ms"], settled_at / 1_000 * 1_000, "of the column");
    let id = own["id"].to_string();
    let shown = forepost.verb(&["queue", "show", &id, "--bodies", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, other, "the time is for us and does not go on");
    forepost.check_privacy();
}

#[test]
fn a_row_first_seen_while_the_poll_was_down_is_possibly_late() {
    let database = Database::start(System::MariaDb);
    database.sql("his", TABLES);
    insert(&database, &items()[0], "NULL");
    let forepost = Forepost::start(setup(&database));
    let starts = || -> Vec<String> {
        let listed = queue(&forepost);
        let deliveries = listed["deliveries"].as_array().unwrap().iter();
        deliveries.map(|one| one["start"].as_str().unwrap().to_owned()).collect()
    };
    wait_for(LONG, || (starts() == ["possibly late"]).then_some(())).expect("the first poll");
    let polled = || forepost.metric("view_polls_total");
    let before = polled();
    wait_for(LONG, || (polled() > before + 6.0).then_some(())).expect("polls in their interval");
    insert(&database, &items()[1], "NULL");
    let both = wait_for(LONG, || (starts().len() == 2).then(&starts));
    let mut both = both.expect("the new row is seen");
    both.sort();
    assert_eq!(both, ["arrival", "possibly late"]);
}

#[test]
fn dictionaries_of_views_are_answered_while_the_database_is_down() {
    let mut database = Database::start(System::MariaDb);
    database.sql("his", TABLES);
    database.sql(
        "his",
        "INSERT INTO View_ProjectItemCode_Info VALUES
           ('MRI', 'E1', '头颅磁共振平扫', '头颅', '420.50', '0', '2', '123456'),
           ('CT', 'E2', '胸部CT增强', '胸部', '310.00', '1', '2', NULL);
         INSERT INTO View_Dept_Info VALUES ('心内科', 'D1', NULL, '123456');",
    );
    let forepost = Forepost::start(setup(&database));
    let full = |name: &str, count: usize| {
        let answer = dictionary(&forepost, name);
        (answer["datas"].as_array().map(Vec::len) == Some(count)).then_some(answer)
    };
    let exams = wait_for(LONG, || full("getExamDict", 2)).expect("examinations are published");
    wait_for(LONG, || full("getDeptInfo", 1)).expect("departments are published");
    let of = |code: &str| {
        let rows = exams["datas"].as_array().unwrap();
        rows.iter().find(|row| row["examCode"] == code).expect("the item is there").clone()
    };
    assert_eq!(of("E1")["modality"], "MR");
    assert_eq!(of("E1")["examPrice"], "420.50");
    assert_eq!(of("E2")["checkStatus"], "1");
    assert_eq!(of("E2")["hospitalld"], "123456", "of the only hospital served");
    database.kill();
    assert_eq!(dictionary(&forepost, "getExamDict"), exams);
}
