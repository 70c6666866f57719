//! Settlements on their way out: what a HIS pushes reaches the platform once, in its newest form,
//! whatever the platform does, and what became of it can be shown.
//!
//! The end of each test, in `Forepost`'s own, holds the sums of the ledger against each other and
//! looks for the settlements' numbers in every log line, file name and file of the ledger.

use std::process::Output;
use std::time::Duration;

use forepost::clock;
use forepost::model::UtcOffset;
use serde_json::{Value, json};

use crate::support::forepost::{Forepost, SETTLE};
use crate::support::patient::Patient;
use crate::support::platform::{Platform, SELF_PAY, Weather, settlement};
use crate::support::setup::Setup;
use crate::support::{PATIENCE, wait_for};

/// The document's own example (imaging cloud's document, 3.6.2).
const EXAMPLE: &str =
    include_str!("../../interfaces/imaging-cloud/ic-settlement-push.request.example");

pub const HOUR_MS: i64 = 3_600_000;

/// A moment so many hours ago, on the wall of the hospital.
pub fn hours_ago(hours: i64) -> String {
    let then = clock::now().plus_ms(-hours * HOUR_MS);
    then.wall(UtcOffset::china()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A platform in fair weather, and an appliance that sends settlements to it.
pub fn pair() -> (Platform, Forepost) {
    let platform = Platform::start();
    let forepost = Forepost::start(Setup::sending(&[platform.for_settlements()]));
    (platform, forepost)
}

/// Waits until so many bodies have come, and looks that there are no more.
pub fn await_bodies(platform: &Platform, count: usize) -> Vec<Value> {
    let came = wait_for(PATIENCE, || (platform.came().len() >= count).then(|| platform.bodies()));
    let came = came.unwrap_or_else(|| panic!("{} of {count} bodies came", platform.came().len()));
    assert_eq!(came.len(), count, "{came:#?}");
    came
}

/// The numbers of those that wait, and whether any is under way; from one look.
fn open(forepost: &Forepost) -> (Vec<i64>, bool) {
    let deliveries = forepost.deliveries();
    let waiting = deliveries.iter().filter(|(_, one)| one["state"] == "waiting");
    let waiting = waiting.map(|(id, _)| *id).collect();
    (waiting, deliveries.values().any(|one| one["state"] == "in flight"))
}

/// Waits until nothing waits and nothing is under way.
pub fn await_end(forepost: &Forepost) {
    let ended = wait_for(PATIENCE, || (open(forepost) == (Vec::new(), false)).then_some(()));
    assert!(ended.is_some(), "deliveries that do not end: {:#}", forepost.queue());
}

/// The same, but nothing waits for its turn: what waits is tried again, as a person could.
pub fn hasten(forepost: &Forepost) {
    let ended = wait_for(PATIENCE, || {
        let (waiting, under_way) = open(forepost);
        // One that has just left is refused, and that is right.
        if !waiting.is_empty() {
            decide(forepost, "retry", &waiting);
        }
        (waiting.is_empty() && !under_way).then_some(())
    });
    assert!(ended.is_some(), "deliveries that do not end: {:#}", forepost.queue());
}

pub fn in_state(forepost: &Forepost, state: &str) -> Vec<i64> {
    let deliveries = forepost.deliveries();
    deliveries.iter().filter(|(_, one)| one["state"] == state).map(|(id, _)| *id).collect()
}

pub fn changed(number: u32, item: &str) -> Value {
    let mut changed = settlement(number);
    changed["medListCodg"] = json!(item);
    changed
}

/// What a person says of these deliveries.
pub fn decide(forepost: &Forepost, verb: &str, ids: &[i64]) -> Output {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    let mut arguments = vec!["queue", verb, "--by", "li"];
    arguments.extend(ids.iter().map(String::as_str));
    forepost.verb(&arguments)
}

pub fn retry(forepost: &Forepost, id: i64) {
    let output = decide(forepost, "retry", &[id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn one_record_an_array_and_a_list_arrive_each_record_for_itself() {
    let (platform, forepost) = pair();
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();
    forepost.accept_settlements(&example);
    forepost.accept_settlements(&json!([settlement(1), settlement(2)]));
    forepost.accept_settlements(&json!({ "list": [settlement(3), settlement(4)] }));
    let came = await_bodies(&platform, 5);
    for sent in [example].into_iter().chain((1..=4).map(settlement)) {
        assert!(came.contains(&sent), "{sent} is not among {came:#?}");
    }
    assert!(platform.came().iter().all(|one| one.path == SETTLE));
    let media = platform.last_headers().into_iter().find(|(name, _)| name == "content-type");
    assert_eq!(media.unwrap().1, "application/json;charset=UTF-8");
    await_end(&forepost);
    assert_eq!(in_state(&forepost, "delivered").len(), 5);
    for name in ["deliveries_accepted", "deliveries_by_state", "deliveries_attempts"] {
        assert_eq!(forepost.metric(name), 5.0, "{name}");
    }
}

#[test]
fn an_empty_list_is_taken_and_sends_nothing() {
    let (platform, forepost) = pair();
    for body in [json!([]), json!({ "list": [] })] {
        forepost.accept_settlements(&body);
    }
    forepost.accept_settlements(&settlement(10));
    assert_eq!(await_bodies(&platform, 1), [settlement(10)]);
}

#[test]
fn every_wrong_record_of_a_batch_is_named_and_none_is_kept() {
    let (platform, forepost) = pair();
    let mut without_item = settlement(20);
    without_item.as_object_mut().unwrap().remove("medListCodg");
    let mut without_study = settlement(22);
    without_study["accessionNo"] = json!("");
    without_study.as_object_mut().unwrap().remove("studyOrderId");
    without_study.as_object_mut().unwrap().remove("setlId");
    let reply = forepost.settle(&json!([without_item, settlement(21), without_study]));
    let told = reply.json();
    assert_eq!((reply.status, &told["code"]), (200, &json!(400)), "{told}");
    let message = told["message"].as_str().unwrap();
    for expected in ["第1条", "medListCodg", "第3条", "accessionNo", "setlId"] {
        assert!(message.contains(expected), "{expected} is not named: {message}");
    }
    assert!(!message.contains("第2条"), "{message}");
    assert_eq!(forepost.deliveries().len(), 0);
    assert_eq!(platform.came().len(), 0);
}

#[test]
fn a_body_part_that_is_no_code_is_taken_and_sent_as_it_came() {
    let (platform, forepost) = pair();
    let mut odd = settlement(30);
    odd["examPart"] = json!("胸部");
    forepost.accept_settlements(&odd);
    assert_eq!(await_bodies(&platform, 1), [odd]);
    assert_eq!(forepost.metric("interface_warnings_total"), 2.0, "its length and its form");
}

#[test]
fn three_items_that_a_patient_pays_alone_are_three_and_sent_again_are_none() {
    let (platform, forepost) = pair();
    let item = |code: &str| {
        let mut item = changed(40, code);
        (item["setlId"], item["feedetlSn"]) = (json!(SELF_PAY), json!(SELF_PAY));
        item
    };
    let three = json!([item("C1"), item("C2"), item("C3")]);
    forepost.accept_settlements(&three);
    await_bodies(&platform, 3);
    await_end(&forepost);
    forepost.accept_settlements(&three);
    forepost.accept_settlements(&settlement(41));
    assert_eq!(await_bodies(&platform, 4)[3], settlement(41), "only what is new");
    assert_eq!(forepost.deliveries().len(), 4);
}

#[test]
fn a_changed_record_takes_the_place_of_what_was_not_sent() {
    let (mut platform, forepost) = pair();
    platform.down();
    forepost.accept_settlements(&settlement(50));
    forepost.await_delivery(1, |one| one["attempts"].as_array().unwrap().len() == 1);
    forepost.await_delivery_state(1, "waiting");
    forepost.accept_settlements(&changed(50, "C2"));
    forepost.accept_settlements(&changed(50, "C3"));
    platform.up();
    hasten(&forepost);
    assert_eq!(await_bodies(&platform, 1), [changed(50, "C3")]);
    assert_eq!(in_state(&forepost, "replaced"), [1, 2]);
    let first = forepost.delivery(1);
    assert_eq!(
        (&first["replaced_by"], &first["attempts"][0]["outcome"]),
        (&json!(2), &json!("not taken"))
    );
    assert_eq!(forepost.delivery(3)["deadline_at_ms"], first["deadline_at_ms"], "no time is won");
}

#[test]
fn a_changed_record_follows_the_attempt_that_is_under_way() {
    let (platform, forepost) = pair();
    platform.behave(|_| Weather::Hangs);
    forepost.accept_settlements(&settlement(60));
    await_bodies(&platform, 1);
    forepost.accept_settlements(&changed(60, "C2"));
    forepost.accept_settlements(&changed(60, "C3"));
    assert_eq!(forepost.delivery(3)["state"], "waiting", "one attempt of a thing at a time");
    forepost.await_delivery_state(1, "replaced");
    forepost.await_delivery(3, |one| one["attempts"].as_array().unwrap().len() == 1);
    platform.behave(|_| Weather::Fair);
    hasten(&forepost);
    assert_eq!(in_state(&forepost, "delivered"), [3]);
    let bodies = platform.bodies();
    let newer = bodies.iter().position(|body| *body == changed(60, "C3")).unwrap();
    assert!(!bodies[newer..].contains(&settlement(60)), "{bodies:#?}");
    assert!(!bodies.contains(&changed(60, "C2")), "{bodies:#?}");
    assert_eq!(platform.holds(&settlement(60)), Some(changed(60, "C3")));
}

#[test]
fn a_record_that_may_be_one_of_two_waits_for_a_person() {
    let (platform, forepost) = pair();
    let without = |key: &str, item: &str| {
        let mut record = changed(70, item);
        record.as_object_mut().unwrap().remove(key);
        record
    };
    let (by_accession, by_order) = (without("studyOrderId", "C1"), without("accessionNo", "C2"));
    forepost.accept_settlements(&json!([by_accession, by_order]));
    await_bodies(&platform, 2);
    let both = changed(70, "C3");
    forepost.accept_settlements(&both);
    forepost.accept_settlements(&both);
    assert_eq!(in_state(&forepost, "parked"), [3], "the same question is asked once");
    forepost.accept_settlements(&settlement(71));
    assert_eq!(await_bodies(&platform, 3)[2], settlement(71));
    assert_eq!(forepost.delivery(3)["attempts"], json!([]));
    retry(&forepost, 3);
    assert_eq!(await_bodies(&platform, 4)[3], both);
}

#[test]
fn a_study_is_known_by_either_of_its_numbers() {
    let (platform, forepost) = pair();
    let without = |number: u32, key: &str, item: &str| {
        let mut record = changed(number, item);
        record.as_object_mut().unwrap().remove(key);
        record
    };
    for (number, key) in [(80, "studyOrderId"), (81, "accessionNo")] {
        forepost.accept_settlements(&without(number, key, "C1"));
        await_end(&forepost);
        forepost.accept_settlements(&changed(number, "C1"));
        await_end(&forepost);
    }
    // What both have in common says that it is the same study; its other number is learned.
    assert_eq!(in_state(&forepost, "parked"), Vec::<i64>::new());
    await_bodies(&platform, 4);
    platform.behave(|_| Weather::Hangs);
    forepost.accept_settlements(&without(80, "accessionNo", "C2"));
    await_bodies(&platform, 5);
    forepost.accept_settlements(&without(80, "studyOrderId", "C3"));
    forepost.await_delivery(5, |one| one["replaced_by"] == 6);
    platform.behave(|_| Weather::Fair);
    // Another study with the same serial numbers is another settlement.
    let mut other = settlement(80);
    (other["accessionNo"], other["studyOrderId"]) = (json!("ACC999999999"), json!("ORD999999999"));
    forepost.accept_settlements(&other);
    assert_eq!(forepost.delivery(7)["replaced_by"], Value::Null);
    hasten(&forepost);
    assert_eq!(in_state(&forepost, "delivered"), [1, 2, 3, 4, 6, 7]);
}

#[test]
fn the_clock_runs_from_the_hospitals_own_time_where_it_is_given() {
    let platform = Platform::start();
    let mut setup = Setup::sending(&[platform.for_settlements()]);
    setup.more.push_str("[settlement]\nsettled_at_field = \"setlTime\"\n");
    let forepost = Forepost::start(setup);
    let mut given = settlement(90);
    given["setlTime"] = json!(hours_ago(5));
    let mut implausible = settlement(91);
    implausible["setlTime"] = json!("1999-01-01 08:00:00");
    forepost.accept_settlements(&json!([given, implausible, settlement(92)]));
    let came = await_bodies(&platform, 3);
    assert!(came.iter().all(|body| body.get("setlTime").is_none()), "{came:#?}");
    let starts = [1, 2, 3].map(|id| {
        let one = forepost.delivery(id);
        let number = |key: &str| one[key].as_i64().unwrap();
        assert_eq!(number("deadline_at_ms") - number("starts_at_ms"), 24 * HOUR_MS);
        let before = number("accepted_at_ms") - number("starts_at_ms");
        (one["start"].as_str().unwrap().to_owned(), (before + HOUR_MS / 2) / HOUR_MS)
    });
    let arrival = ("arrival".to_owned(), 0);
    assert_eq!(starts, [("given".to_owned(), 5), arrival.clone(), arrival]);
}

/// What one attempt in a weather must come to.
struct Case {
    weather: Weather,
    state: &'static str,
    outcome: &'static str,
    status: u16,
    code: &'static str,
    fault: &'static str,
}

fn cases() -> Vec<Case> {
    let says = |body: &str| Weather::Says(200, Vec::new(), body.into());
    let busy = Weather::Says(429, vec![("Retry-After", "600".into())], String::new());
    let case = |weather, state, outcome, status, code, fault| Case {
        weather,
        state,
        outcome,
        status,
        code,
        fault,
    };
    vec![
        case(busy, "waiting", "not taken", 429, "", "status 429"),
        case(Weather::status(503), "waiting", "not taken", 503, "", "status 503"),
        case(Weather::status(500), "waiting", "ambiguous", 500, "", "status 500"),
        case(Weather::status(404), "waiting", "not taken", 404, "", "status 404"),
        case(Weather::code(json!(500)), "waiting", "ambiguous", 200, "500", "code 500"),
        case(Weather::code(json!(400)), "parked", "refused", 200, "400", "code 400"),
        case(Weather::code(json!("400")), "parked", "refused", 200, "400", "code 400"),
        case(Weather::code(json!(401)), "waiting", "not taken", 200, "401", "code 401"),
        case(Weather::Kept(json!({"code": "200"})), "delivered", "delivered", 200, "200", ""),
        case(Weather::Kept(json!({"code": 0})), "delivered", "delivered", 200, "0", ""),
        case(says("<html>ok</html>"), "waiting", "ambiguous", 200, "", "no code"),
        case(Weather::Half, "waiting", "ambiguous", 200, "", "half an answer"),
        case(Weather::Breaks, "waiting", "ambiguous", 0, "", "connection lost"),
        case(Weather::Hangs, "waiting", "ambiguous", 0, "", "no answer within 1 s"),
        case(Weather::Slow(Duration::from_millis(400)), "delivered", "delivered", 200, "200", ""),
    ]
}

#[test]
fn each_misbehaviour_of_the_platform_is_told_as_what_it_is() {
    let platform = Platform::start();
    let one_at_a_time = format!("{}parallel_max = 1\n", platform.for_settlements());
    let forepost = Forepost::start(Setup::sending(&[one_at_a_time]));
    let count = cases().len() as u32;
    platform.behave(move |body| {
        let number: u32 = body["setlId"].as_str().unwrap()[2..].parse().unwrap();
        // Between two of them all is well, so that the destination does not rest.
        match number % 2 {
            0 => cases().swap_remove((number as usize - 100) / 2).weather,
            _ => Weather::Fair,
        }
    });
    let all: Vec<Value> = (100..100 + 2 * count).map(settlement).collect();
    forepost.accept_settlements(&json!(all));
    let attempted = 2.0 * f64::from(count);
    let done = wait_for(PATIENCE, || {
        let ended = forepost.metric("delivery_attempts_total");
        (ended >= attempted).then_some(())
    });
    assert!(done.is_some(), "{:#}", forepost.queue());
    for (at, case) in cases().into_iter().enumerate() {
        let delivery = forepost.delivery(2 * at as i64 + 1);
        let attempt = &delivery["attempts"][0];
        assert_eq!(delivery["state"], case.state, "{:?}: {delivery:#}", case.weather);
        let told = (attempt["outcome"].as_str(), attempt["status"].as_u64());
        assert_eq!(told, (Some(case.outcome), Some(case.status.into())), "{delivery:#}");
        assert_eq!(attempt["code"], case.code, "{delivery:#}");
        let fault = attempt["fault"].as_str().unwrap();
        assert!(fault.contains(case.fault), "{:?}: {fault}", case.weather);
        assert_eq!(delivery["fault"], attempt["fault"]);
    }
    let asked = forepost.delivery(1);
    let wait = asked["next_at_ms"].as_i64().unwrap()
        - asked["attempts"][0]["ended_at_ms"].as_i64().unwrap();
    assert!((599_000..=601_000).contains(&wait), "Retry-After of 600 s became {wait} ms");
    platform.behave(|_| Weather::Fair);
    let parked = in_state(&forepost, "parked");
    assert_eq!(parked.len(), 2);
    decide(&forepost, "retry", &parked);
    hasten(&forepost);
    assert_eq!(in_state(&forepost, "delivered").len(), all.len());
    for one in all {
        assert_eq!(platform.holds(&one), Some(one));
    }
}

#[test]
fn what_a_closed_door_refused_goes_when_it_opens_again() {
    let (mut platform, forepost) = pair();
    platform.down();
    forepost.accept_settlements(&settlement(130));
    let waits = forepost.await_delivery(1, |one| {
        one["state"] == "waiting" && one["attempts"][0]["outcome"] == "not taken"
    });
    let fault = waits["fault"].as_str().unwrap();
    assert!(fault.starts_with("connect: "), "{fault}");
    let wait = waits["next_at_ms"].as_i64().unwrap()
        - waits["attempts"][0]["ended_at_ms"].as_i64().unwrap();
    assert!((15_000..=30_000).contains(&wait), "{wait} ms");
    platform.up();
    // Nobody hastens it.
    assert_eq!(await_bodies(&platform, 1), [settlement(130)]);
    forepost.await_delivery_state(1, "delivered");
}

#[test]
fn a_process_killed_under_way_sends_again_after_its_start_and_loses_nothing() {
    let (platform, mut forepost) = pair();
    platform.behave(|_| Weather::Hangs);
    let all: Vec<Value> = (140..150).map(settlement).collect();
    forepost.accept_settlements(&json!(all));
    // Eight at a time leave.
    await_bodies(&platform, 8);
    forepost.kill();
    assert_eq!(in_state(&forepost, "in flight").len(), 8);
    platform.behave(|_| Weather::Fair);
    forepost.restart();
    await_end(&forepost);
    assert_eq!(in_state(&forepost, "delivered").len(), 10);
    let bodies = await_bodies(&platform, 18);
    for (at, one) in all.iter().enumerate() {
        let times = bodies.iter().filter(|body| *body == one).count();
        assert_eq!(times, if at < 8 { 2 } else { 1 }, "{one}");
    }
    let attempts = forepost.delivery(1)["attempts"].clone();
    assert_eq!(attempts[0]["outcome"], "ambiguous");
    assert_eq!(attempts[0]["fault"], "the process ended under way");
    assert_eq!(attempts[1]["outcome"], "delivered");
}

#[test]
fn sigterm_lets_an_attempt_end_and_begins_no_other() {
    let platform = Platform::start();
    let one_at_a_time = format!("{}parallel_max = 1\n", platform.for_settlements());
    let mut forepost = Forepost::start(Setup::sending(&[one_at_a_time]));
    platform.behave(|_| Weather::Slow(Duration::from_millis(600)));
    forepost.accept_settlements(&json!([settlement(150), settlement(151)]));
    await_bodies(&platform, 1);
    assert_eq!(forepost.stop().code(), Some(0));
    assert_eq!(
        (in_state(&forepost, "delivered"), in_state(&forepost, "waiting")),
        (vec![1], vec![2])
    );
    assert_eq!(platform.came().len(), 1);
    forepost.restart();
    assert_eq!(await_bodies(&platform, 2)[1], settlement(151));
}

#[test]
fn another_address_in_the_configuration_takes_what_waited_for_the_old_one() {
    let (mut old, new) = (Platform::start(), Platform::start());
    old.down();
    let mut forepost = Forepost::start(Setup::sending(&[old.for_settlements()]));
    forepost.accept_settlements(&settlement(160));
    forepost.await_delivery(1, |one| one["fault"] != "");
    assert_eq!(forepost.stop().code(), Some(0));
    forepost.setup = Setup::sending(&[new.for_settlements()]);
    forepost.restart();
    hasten(&forepost);
    assert_eq!(await_bodies(&new, 1), [settlement(160)]);
    assert_eq!(old.came().len(), 0);
}

#[test]
fn what_waits_for_a_destination_that_is_configured_no_more_stays_and_goes_on_later() {
    let (platform, mut forepost) = pair();
    platform.behave(|_| Weather::status(503));
    forepost.accept_settlements(&settlement(161));
    forepost.await_delivery(1, |one| one["fault"] != "");
    forepost.stop();
    let other = platform.destination("other", &["ic-settlement-push"]);
    forepost.setup = Setup::sending(&[other]);
    platform.behave(|_| Weather::Fair);
    forepost.restart();
    forepost.accept_settlements(&settlement(162));
    await_bodies(&platform, 2);
    forepost.await_delivery_state(2, "delivered");
    assert_eq!(forepost.delivery(1)["state"], "waiting");
    forepost.stop();
    forepost.setup = Setup::sending(&[platform.for_settlements()]);
    forepost.restart();
    hasten(&forepost);
    assert_eq!(platform.holds(&settlement(161)), Some(settlement(161)));
}

#[test]
fn two_destinations_each_get_everything_and_wait_only_for_themselves() {
    let (well, mut ill) = (Platform::start(), Platform::start());
    ill.down();
    let to = |platform: &Platform, name| platform.destination(name, &["ic-settlement-push"]);
    let forepost = Forepost::start(Setup::sending(&[to(&ill, "city"), to(&well, "province")]));
    let all: Vec<Value> = (170..190).map(settlement).collect();
    forepost.accept_settlements(&json!(all));
    await_bodies(&well, 20);
    let of_city = |state: &str| {
        let deliveries = forepost.deliveries().into_values();
        deliveries.filter(|one| one["destination"] == "city" && one["state"] == state).count()
    };
    let waits = wait_for(PATIENCE, || (of_city("waiting") == 20).then_some(()));
    assert!(waits.is_some(), "{:#}", forepost.queue());
    ill.up();
    hasten(&forepost);
    await_bodies(&ill, 20);
    await_bodies(&well, 20);
    assert_eq!(in_state(&forepost, "delivered").len(), 40);
}

#[test]
fn a_hospital_may_keep_what_no_insurance_pays() {
    let platform = Platform::start();
    let mut setup = Setup::sending(&[platform.for_settlements()]);
    setup.hospitals.push_str("insured_only = true\n");
    let forepost = Forepost::start(setup);
    let mut alone = settlement(190);
    alone["feedetlSn"] = json!(SELF_PAY);
    forepost.accept_settlements(&json!([alone, settlement(191)]));
    assert_eq!(await_bodies(&platform, 1), [settlement(191)]);
    assert_eq!(forepost.deliveries().len(), 1);
    assert_eq!(forepost.metric("settlements_left_out_total"), 1.0);
}

#[test]
fn registrations_and_look_ups_go_on_to_a_platform_that_wants_them() {
    let platform = Platform::start();
    let wanted = ["ic-register-push", "ic-swiping-id-card", "ic-check-again"];
    let forepost = Forepost::start(Setup::sending(&[platform.destination("cloud", &wanted)]));
    let person = Patient::new(700);
    let registration = person.registration(26, 0);
    forepost.accept(&registration);
    await_bodies(&platform, 1);
    await_end(&forepost);
    // Sent again it is the same; changed it goes on again.
    forepost.accept(&registration);
    let mut cancelled = registration.clone();
    cancelled["quitType"] = json!("1");
    forepost.accept(&cancelled);
    await_bodies(&platform, 2);
    let mut opened = json!({
        "hospitalld": "123456", "idCardNo": person.id_card, "patientName": person.name,
        "mobilePhone": "13800000700", "hisUserId": "his-15", "patientType": "1",
        "clientIp": "192.0.2.10", "doctorType": "1", "doctorCode": "D110199000015",
        "doctorIdCardNo": Patient::new(701).id_card,
    });
    let look_ups = ["/iuWorkStation/swipingIdCardNo", "/iuWorkStation/checkAgain"];
    forepost.keep_secret(["his-15", "D110199000015", "13800000700"].map(str::to_owned));
    forepost.keep_secret([person.id_card.clone(), Patient::new(701).id_card]);
    for (target, times) in [(look_ups[0], 2), (look_ups[1], 1)] {
        opened["examList"] = json!([{ "examCode": "CX001", "examName": "胸部侧位" }]);
        if target == look_ups[0] {
            opened.as_object_mut().unwrap().remove("examList");
        }
        for _ in 0..times {
            let media = [("Content-Type", "application/json")];
            let reply = forepost.ask("POST", target, &media, opened.to_string().as_bytes());
            let told = (reply.status, reply.json());
            assert_eq!(told, (200, json!({"code": 200, "data": {}, "message": ""})), "{target}");
        }
    }
    // A card swiped twice is two calls: the document gives them no identity.
    let came = await_bodies(&platform, 5);
    assert_eq!((&came[0], &came[1]), (&registration, &cancelled));
    let paths: Vec<String> = platform.came().into_iter().skip(2).map(|one| one.path).collect();
    let times = |path: &str| paths.iter().filter(|one| *one == path).count();
    assert_eq!([times(look_ups[0]), times(look_ups[1])], [2, 1]);
    assert!(came[2..].iter().all(|body| body["idCardNo"] == json!(person.id_card)), "{came:#?}");
    assert_eq!(forepost.settle(&settlement(195)).status, 404, "nobody wants settlements here");
}
