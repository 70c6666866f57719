//! Examinations that are ordered: what a doctor will want to compare with is brought first.

use serde_json::{Value, json};

use crate::support::cloud::{Cloud, Step};
use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::programs::openssl;
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{PATIENCE, wait_for};

const ORDER: &str = "/iuWorkStation/checkAgain";
const OPEN: &str = "/iuWorkStation/swipingIdCardNo";

/// A chest CT, which the registration's department of cardiology looks for, and an MR of the knee,
/// which it does not. A plan has room for one of them, the CT by the first guess.
fn studies(patient: &Patient, seed: u64) -> [Study; 2] {
    let chest = Study::of(patient, seed);
    let knee = Study {
        modality: "MR",
        description: "右膝关节MR平扫".into(),
        accession: format!("A{}", seed + 1),
        ..Study::of(patient, seed + 1)
    };
    [chest, knee]
}

/// An appliance whose plans have 4 MB: seven slices of CT count 3.7, of MR 1.8.
fn narrow(cloud: &Cloud) -> Setup {
    let more = "[prefetch]\nplan_megabytes_max = 4\n".to_owned();
    Setup { more, ..Setup::with(&[cloud.source("region")]) }
}

/// Imports a dictionary and confirms what its item of the knee is.
fn confirm(forepost: &Forepost) {
    let file = forepost.data().parent().unwrap().join("items.csv");
    let csv = "examCode,examName,examBodyPart,modality\nK1,膝关节MR平扫,膝关节,MRI\n";
    std::fs::write(&file, csv).unwrap();
    let file = file.to_string_lossy().into_owned();
    let at = ["--hospital", "123456"];
    for verb in [
        ["dict", "import", &file, "--by", "office", "--kind", "exam", at[0], at[1]].as_slice(),
        ["map", "confirm", "--by", "office", "--exam", "K1", at[0], at[1]].as_slice(),
    ] {
        let output = forepost.verb(verb);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What the HIS sends when a patient is opened or, with items, something is ordered.
fn call(patient: &Patient, items: &[&str]) -> Value {
    let mut call = json!({
        "hospitalld": "123456", "idCardNo": patient.id_card, "patientName": patient.name,
        "mobilePhone": format!("1380000{:04}", patient.number), "hisUserId": "his-0015",
        "patientType": "1", "clientIp": "192.0.2.10", "doctorType": "1",
        "doctorCode": "D110199000015", "doctorIdCardNo": Patient::new(1).id_card,
    });
    if !items.is_empty() {
        let item = |code: &&str| json!({ "examCode": code, "examName": "膝关节MR平扫" });
        call["examList"] = items.iter().map(item).collect();
    }
    call
}

fn accept(forepost: &Forepost, target: &str, call: &Value) {
    for key in ["idCardNo", "patientName", "mobilePhone", "hisUserId", "doctorIdCardNo"] {
        forepost.keep_secret(call[key].as_str().map(str::to_owned));
    }
    let media = [("Content-Type", "application/json")];
    let reply = forepost.ask("POST", target, &media, call.to_string().as_bytes());
    let told = (reply.status, reply.json());
    assert_eq!(told, (200, json!({"code": 200, "data": {}, "message": ""})), "{target}");
}

/// The decisions of a plan: outcome and explanation of each study, in the order given.
fn decisions(forepost: &Forepost, plan: &Value, studies: &[Study; 2]) -> [(String, String); 2] {
    let shown = forepost.verb_json(&["plans", "show", &plan["id"].to_string(), "--json"]);
    let rows = shown["studies"].as_array().unwrap().clone();
    studies.each_ref().map(|study| {
        let row = rows.iter().find(|row| row["study"] == study.uid().as_str());
        let row = row.unwrap_or_else(|| panic!("{} in {rows:#?}", study.uid()));
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("outcome"), text("why"))
    })
}

/// Waits until the MR of the knee is chosen and here.
fn await_knee(forepost: &Forepost, registration: &Value, studies: &[Study; 2]) -> Value {
    let ready = wait_for(PATIENCE, || {
        let plan = forepost.plan(registration);
        let [_, (knee, _)] = decisions(forepost, &plan, studies);
        (knee == "chosen" && plan["state"] == "ready").then_some(plan)
    });
    ready.unwrap_or_else(|| panic!("the knee never came: {:#}", forepost.plan(registration)))
}

#[test]
fn what_is_ordered_before_the_first_search_is_chosen_first_once_a_person_has_mapped_it() {
    let patient = Patient::new(800);
    let studies = studies(&patient, 800);
    let orthanc = Orthanc::with(&studies.each_ref());
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(narrow(&cloud));
    confirm(&forepost);
    accept(&forepost, ORDER, &call(&patient, &["K1", "nobody-mapped"]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    let [(chest, _), (knee, why)] = decisions(&forepost, &plan, &studies);
    assert_eq!((knee.as_str(), chest.as_str()), ("chosen", "over budget"));
    assert!(why.contains("body part 40 (as ordered)"), "{why}");
    assert!(why.contains("department 10 (as ordered)"), "{why}");
    assert_eq!(plan["have"], json!(studies[1].instances()));
}

#[test]
fn an_order_after_the_search_brings_more_without_asking_a_source_or_fetching_twice() {
    let patient = Patient::new(801);
    let studies = studies(&patient, 810);
    let orthanc = Orthanc::with(&studies.each_ref());
    let cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::start(narrow(&cloud));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let first = forepost.await_state(&registration, "ready");
    let [(chest, why), (knee, _)] = decisions(&forepost, &first, &studies);
    assert_eq!((chest.as_str(), knee.as_str()), ("chosen", "over budget"), "{why}");
    assert!(why.contains("body part 40 (chest fits)"), "{why}");
    let searches = cloud.count(Step::Search);
    let asked = cloud.asked().len();

    // Nobody has said what K1 is: the order is kept and changes nothing.
    accept(&forepost, ORDER, &call(&patient, &["K1"]));
    let looked = || forepost.log().matches("plan searched").count() == 2;
    wait_for(PATIENCE, || looked().then_some(())).expect("the plan is decided again");
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["ready_at_ms"], first["ready_at_ms"], "it was ready all the while");
    assert_eq!(forepost.metric("plans_ready_total"), 1.0, "and became so once");
    assert_eq!(cloud.asked().len(), asked);

    confirm(&forepost);
    accept(&forepost, ORDER, &call(&patient, &["K1"]));
    let plan = await_knee(&forepost, &registration, &studies);
    let [(chest, _), (_, why)] = decisions(&forepost, &plan, &studies);
    assert_eq!(chest, "chosen", "what is here stays");
    assert!(why.contains("as ordered"), "{why}");
    let both = json!(studies[0].instances() + studies[1].instances());
    assert_eq!((&plan["have"], &plan["expected"]), (&both, &both));
    assert_eq!(cloud.count(Step::Search), searches, "no source is searched again");
    let fetched = cloud.asked().split_off(asked);
    let knee = studies[1].uid();
    assert!(fetched.iter().all(|one| one.target.contains(&knee)), "{fetched:#?}");

    // The same order again, and a start: nothing more is asked of anybody.
    let asked = cloud.asked().len();
    accept(&forepost, ORDER, &call(&patient, &["K1"]));
    accept(&forepost, OPEN, &call(&patient, &[]));
    forepost.await_state(&registration, "ready");
    assert_eq!(forepost.stop().code(), Some(0));
    forepost.restart();
    forepost.await_state(&registration, "ready");
    assert_eq!(cloud.asked().len(), asked);
    let deeds = forepost.verb_json(&["audit", "show", "--json"]);
    let deeds: Vec<&str> =
        deeds.as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    let times = |what: &str| deeds.iter().filter(|one| **one == what).count();
    assert_eq!((times("examination ordered"), times("patient opened")), (3, 1), "{deeds:?}");
}

#[test]
fn an_order_counts_for_its_patient_alone_and_is_known_by_a_number_under_sm2() {
    let [patient, other] = [Patient::new(802), Patient::new(803)];
    let studies = [studies(&patient, 820), studies(&other, 830)];
    let orthanc = Orthanc::with(&studies.iter().flatten().collect::<Vec<_>>());
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(narrow(&cloud));
    confirm(&forepost);
    let key = forepost.verb_json(&["keys", "new", "autumn", "--json"]);
    let file = forepost.data().parent().unwrap().join("public.pem");
    std::fs::write(&file, key["public"]["pem"].as_str().unwrap()).unwrap();
    let arguments = ["pkeyutl", "-encrypt", "-pubin", "-inkey", file.to_str().unwrap()];
    let sealed = hex::encode(openssl(&arguments, patient.id_card.as_bytes()));
    let mut ordered = call(&patient, &["K1"]);
    ordered["idCardNo"] = json!(sealed);
    // The service looks for new keys now and then; until then the number stays unread.
    let registrations = [patient.registration(26, 0), other.registration(26, 1)];
    forepost.keep_secret([patient.id_card.clone()]);
    forepost.accept(&registrations[0]);
    forepost.accept(&registrations[1]);
    for registration in &registrations {
        forepost.await_state(registration, "ready");
    }
    let opened = wait_for(PATIENCE, || {
        accept(&forepost, ORDER, &ordered);
        let plan = forepost.plan(&registrations[0]);
        (decisions(&forepost, &plan, &studies[0])[1].0 == "chosen").then_some(())
    });
    opened.expect("the order reaches its patient");
    await_knee(&forepost, &registrations[0], &studies[0]);
    let plan = forepost.plan(&registrations[1]);
    let [(_, _), (knee, why)] = decisions(&forepost, &plan, &studies[1]);
    assert_eq!(knee, "over budget", "{why}");
}

#[test]
fn an_order_that_names_nobody_or_nothing_is_refused_with_every_fault() {
    let forepost = Forepost::start(Setup::default());
    let refused = json!({ "hospitalld": "123456", "hisUserId": "his-0015" });
    let media = [("Content-Type", "application/json")];
    for target in [ORDER, OPEN] {
        let reply = forepost.ask("POST", target, &media, refused.to_string().as_bytes());
        let told = reply.json();
        assert_ne!(told["code"], 200, "{told}");
        assert!(told["message"].as_str().unwrap().contains("idCardNo"), "{told}");
    }
}
