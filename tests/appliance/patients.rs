//! Whose study it is: own and outside, the guard, and what a cancelled or ended visit changes.

use serde_json::{Value, json};

use crate::support::cloud::{Act, Cloud, Step};
use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::study::Study;

/// The row of a study in a plan.
fn study_of<'a>(plan: &'a Value, study: &Study) -> &'a Value {
    let rows = plan["studies"].as_array().expect("a plan lists its studies");
    rows.iter().find(|row| row["study"] == study.uid().as_str()).expect("the study was considered")
}

fn is_found(forepost: &Forepost, patient_id: &str) -> bool {
    !forepost.qido(&format!("/studies?PatientID={patient_id}")).is_empty()
}

#[test]
fn what_this_hospital_made_is_left_out_by_code_and_by_name() {
    let patient = Patient::new(300);
    let outside = Study::of(&patient, 300);
    let by_code = Study {
        institution: "门诊影像科".into(),
        institution_code: "123456".into(),
        ..Study::of(&patient, 301)
    };
    let by_name = Study {
        institution: "本市第一人民医院".into(),
        institution_code: String::new(),
        ..Study::of(&patient, 302)
    };
    let orthanc = Orthanc::with(&[&outside, &by_code, &by_name]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["found"], 3);
    assert_eq!(study_of(&plan, &outside)["outcome"], "chosen");
    assert!(forepost.study_folder(&outside.uid()).exists());
    for own in [&by_code, &by_name] {
        let fate = study_of(&plan, own);
        let kept_out = fate["outcome"] == "own" || fate["fetch"]["state"] == "apart";
        assert!(kept_out, "{fate:#}");
        assert!(!forepost.study_folder(&own.uid()).exists());
    }
}

#[test]
fn a_study_that_contradicts_the_patient_is_kept_apart_and_found_by_no_patient_key() {
    let patient = Patient::new(301);
    let right = Study::of(&patient, 310);
    let other_name = Study { pn: "Zhou^Haiyan=周^海燕".into(), ..Study::of(&patient, 311) };
    let other_sex = match patient.sex {
        'M' => "F",
        _ => "M",
    };
    let other_sex = Study { sex: other_sex.into(), ..Study::of(&patient, 312) };
    let other_birth = Study { birth_date: "19010203".into(), ..Study::of(&patient, 313) };
    let wrong = [other_name, other_sex, other_birth];
    let orthanc = Orthanc::with(&[&right, &wrong[0], &wrong[1], &wrong[2]]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    forepost.keep_secret(["周海燕".to_owned(), "Zhou^Haiyan".to_owned()]);
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(study_of(&plan, &right)["link"], "confirmed", "{plan:#}");
    for study in &wrong {
        let fate = study_of(&plan, study);
        assert_eq!((&fate["outcome"], &fate["link"]), (&json!("apart"), &json!("apart")));
        assert!(fate["why"].as_str().unwrap().contains("contradicts"), "{fate:#}");
        assert!(!forepost.study_folder(&study.uid()).exists());
    }
    let visit = registration["outpatientNumber"].as_str().unwrap();
    assert_eq!(forepost.qido(&format!("/studies?PatientID={visit}")).len(), 1);
    assert_eq!(forepost.qido(&format!("/studies?PatientID={}", patient.id_card)).len(), 1);
}

#[test]
fn the_first_header_is_judged_where_the_search_answer_said_nothing() {
    let patient = Patient::new(302);
    let stranger = Study { pn: "Zhou^Haiyan=周^海燕".into(), ..Study::of(&patient, 320) };
    let right = Study::of(&patient, 321);
    let orthanc = Orthanc::with(&[&stranger, &right]);
    let cloud = Cloud::before(&orthanc);
    cloud.behave(|asked| match asked.step {
        Step::Search => Act::Change(Box::new(|reply| {
            let mut rows = reply.json();
            for row in rows.as_array_mut().expect("a list") {
                let row = row.as_object_mut().expect("a study");
                for tag in ["00100010", "00100030", "00100040", "00080080", "00080082"] {
                    row.remove(tag);
                }
            }
            reply.body = rows.to_string().into_bytes();
        })),
        _ => Act::Pass,
    });
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    forepost.keep_secret(["周海燕".to_owned(), "Zhou^Haiyan".to_owned()]);
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    let fate = study_of(&plan, &stranger);
    assert_eq!((&fate["fetch"]["state"], &fate["outcome"]), (&json!("apart"), &json!("apart")));
    let why = fate["why"].as_str().unwrap();
    assert!(!why.starts_with("chosen") && why.contains("contradicts"), "{fate:#}");
    assert!(!forepost.study_folder(&stranger.uid()).exists(), "nothing of it stays");
    let fate = study_of(&plan, &right);
    assert_eq!((&fate["fetch"]["state"], &fate["link"]), (&json!("here"), &json!("confirmed")));
    let visit = registration["outpatientNumber"].as_str().unwrap();
    let rows = forepost.qido(&format!("/studies?PatientID={visit}"));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["0020000D"]["Value"][0], right.uid());
}

#[test]
fn a_study_that_nothing_confirms_is_here_and_marked() {
    let patient = Patient::new(303);
    let silent = Study {
        pn: String::new(),
        birth_date: String::new(),
        sex: String::new(),
        ..Study::of(&patient, 330)
    };
    let orthanc = Orthanc::with(&[&silent]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(study_of(&plan, &silent)["link"], "unconfirmed", "{plan:#}");
    assert!(is_found(&forepost, registration["insuranceId"].as_str().unwrap()));
}

#[test]
fn a_cancelled_visit_wants_nothing_and_one_that_comes_back_is_searched_again() {
    let patient = Patient::new(304);
    let study = Study::of(&patient, 340);
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    // While objects are refused, the plan stays at fetching.
    cloud.behave(|asked| if asked.retrieves() { Act::status(503) } else { Act::Pass });
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let mut registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "fetching");
    registration["quitType"] = json!("1");
    forepost.accept(&registration);
    let plan = forepost.plan(&registration);
    assert_eq!(plan["state"], "cancelled");
    let asked = crate::support::wait_for(crate::support::PATIENCE, || {
        let row = forepost.plan(&registration);
        (study_of(&row, &study)["fetch"]["state"] == "dropped").then(|| cloud.asked().len())
    });
    assert!(asked.is_some(), "nobody wants the study any more");
    cloud.behave(|_| Act::Pass);
    // Another patient's whole chain passes meanwhile: time enough for a fetch that should not be.
    let other = Patient::new(305);
    orthanc.store(&Study::of(&other, 341));
    let meanwhile = other.registration(26, 5);
    forepost.accept(&meanwhile);
    forepost.await_state(&meanwhile, "ready");
    assert!(!forepost.study_folder(&study.uid()).join("study.records").exists());
    registration["quitType"] = json!("0");
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    assert!(is_found(&forepost, &patient.id_card));
}

#[test]
fn a_visit_that_is_over_keeps_its_studies_and_fetches_no_more() {
    let patient = Patient::new(306);
    let study = Study::of(&patient, 350);
    let orthanc = Orthanc::with(&[&study]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let mut registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    registration["outpatientType"] = json!("1");
    forepost.accept(&registration);
    assert_eq!(forepost.plan(&registration)["state"], "over");
    assert!(is_found(&forepost, &patient.id_card), "it may still be read");

    let stay = Patient::new(307);
    orthanc.store(&Study::of(&stay, 351));
    let mut registration = stay.registration(26, 7);
    registration["patientType"] = json!("2");
    registration["outpatientDateTime"] = json!("2020-01-01 08:00:00");
    registration["admissionDateTime"] = json!("2020-01-01 08:00:00");
    registration["dischargedDateTime"] = json!("2020-01-09 08:00:00");
    forepost.accept(&registration);
    let plan = forepost.plan(&registration);
    assert_eq!(plan["state"], "over", "discharged in the past: {plan:#}");
}

/// Somebody whose number other people's programs have put under SM2: key, and texts.
fn sm2_vectors() -> (Patient, String, Vec<String>) {
    let file: toml::Table = include_str!("../fixtures/sm2.toml").parse().expect("the fixture");
    let id_card = file["plain"].as_str().unwrap().to_owned();
    let texts = file["vector"].as_array().unwrap().iter();
    let texts = texts.map(|vector| vector["text"].as_str().unwrap().trim().to_owned()).collect();
    let birth_date = id_card[6..14].to_owned();
    let patient = Patient { id_card, birth_date, sex: 'M', ..Patient::new(308) };
    (patient, file["key_hex"].as_str().unwrap().to_owned(), texts)
}

fn without_key(patient: &Patient, text: &str, seconds: i64) -> Value {
    let mut registration = patient.registration(26, seconds);
    registration["idCardNo"] = json!(text);
    registration
}

#[test]
fn a_number_under_sm2_is_opened_where_the_key_is_here() {
    let (patient, key, texts) = sm2_vectors();
    let orthanc = Orthanc::with(&[&Study::of(&patient, 360)]);
    let cloud = Cloud::before(&orthanc);
    let setup = Setup {
        more: "[intake]\nsm2_key_file = \"{folder}/sm2.key\"\n".to_owned(),
        files: vec![("sm2.key", key)],
        ..Setup::with(&[cloud.source("region")])
    };
    let forepost = Forepost::start(setup);
    forepost.keep_secret([patient.id_card.clone()]);
    assert!(texts.len() >= 5, "several programs, several forms");
    for (at, text) in texts.iter().enumerate() {
        let registration = without_key(&patient, text, at as i64);
        forepost.accept(&registration);
        let plan = forepost.await_state(&registration, "ready");
        assert_eq!(plan["chosen"], 1, "{text}: {plan:#}");
    }
    assert!(is_found(&forepost, &patient.id_card));
}

#[test]
fn a_number_that_cannot_be_opened_is_kept_and_taken_up_when_the_key_comes() {
    let (patient, key, texts) = sm2_vectors();
    let orthanc = Orthanc::with(&[&Study::of(&patient, 370)]);
    let cloud = Cloud::before(&orthanc);
    let mut forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    forepost.keep_secret([patient.id_card.clone(), texts[0].clone()]);
    let registration = without_key(&patient, &texts[0], 0);
    forepost.accept(&registration);
    let plan = forepost.plan(&registration);
    assert_eq!(plan["state"], "no identifier", "{plan:#}");
    assert_eq!(plan["cause"], "no usable identifier");
    assert_eq!(cloud.asked().len(), 0, "nobody is asked for a number nobody can read");
    forepost.stop();
    forepost.setup.more = "[intake]\nsm2_key_file = \"{folder}/sm2.key\"\n".to_owned();
    forepost.setup.files = vec![("sm2.key", key)];
    forepost.restart();
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["chosen"], &plan["cause"]), (&json!(1), &Value::Null), "{plan:#}");
    assert!(is_found(&forepost, registration["outpatientNumber"].as_str().unwrap()));
}

#[test]
fn a_number_with_a_wrong_check_character_is_kept_and_never_searched() {
    let patient = Patient::new(309);
    let orthanc = Orthanc::with(&[&Study::of(&patient, 380)]);
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(Setup::with(&[cloud.source("region")]));
    let mut wrong = patient.id_card.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == '5' { '6' } else { '5' });
    let registration = without_key(&patient, &wrong, 0);
    forepost.accept(&registration);
    let plan = forepost.plan(&registration);
    assert_eq!(
        (&plan["state"], &plan["cause"]),
        (&json!("no identifier"), &json!("no usable identifier"))
    );
    assert_eq!(cloud.asked().len(), 0);
}
