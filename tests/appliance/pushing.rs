//! Sources that push: what a cloud sends unasked is the registered patient's or nobody's.

use serde_json::{Value, json};

use crate::stow::{bytes, check_here, multipart, send_by};
use crate::support::forepost::Forepost;
use crate::support::http::Reply;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{PATIENCE, wait_for};

/// The region pushes, the hospital's own PACS stores, the HIS registers.
fn setup() -> Setup {
    let callers = "[[caller]]\nname = \"his\"\naddresses = [\"127.0.0.1\"]\npush = true\n\
                   images = true\n\
                   [[caller]]\nname = \"region\"\nstore = true\ntoken_file = \"{folder}/region\"\n\
                   [[caller]]\nname = \"pacs\"\nstore = true\ntoken_file = \"{folder}/pacs\"\n";
    let source = "[[source]]\nname = \"region\"\nkind = \"push\"\n\
                  [[source.patient_key]]\nkind = \"idCardNo\"\n";
    let files = vec![("region", REGION.to_owned()), ("pacs", PACS.to_owned())];
    let sources = vec![source.to_owned()];
    Setup { callers: callers.into(), sources, files, ..Setup::default() }
}

const REGION: &str = "token-of-the-region";
const PACS: &str = "token-of-the-pacs";

fn post(forepost: &Forepost, token: &str, objects: &[&[u8]]) -> Reply {
    let authorization = format!("Bearer {token}");
    let media = "multipart/related; type=\"application/dicom\"; boundary=parts";
    let headers = [("Content-Type", media), ("Authorization", &authorization)];
    forepost.ask("POST", "/dicom-web/studies", &headers, &multipart(objects))
}

fn push(forepost: &Forepost, study: &Study) {
    let reply = post(forepost, REGION, &bytes(&study.objects()));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn unmatched(forepost: &Forepost) -> Vec<Value> {
    let list = forepost.verb_json(&["plans", "unmatched", "--json"]);
    list.as_array().unwrap().clone()
}

/// Waits until a pushed study is counted whole and belongs to nobody.
fn await_unmatched(forepost: &Forepost, study: &Study) -> Value {
    let found = wait_for(PATIENCE, || {
        unmatched(forepost).into_iter().find(|one| {
            one["study"] == study.uid().as_str() && one["instances"] == study.instances()
        })
    });
    found.unwrap_or_else(|| panic!("not unmatched: {:?}", unmatched(forepost)))
}

/// How many studies each patient key finds.
fn found_by(forepost: &Forepost, study: &Study) -> [usize; 5] {
    let pn = study.pn.split(['^', '=']).next().unwrap();
    [
        format!("PatientID={}", study.patient_id),
        format!("PatientName={pn}*"),
        format!("PatientBirthDate={}", study.birth_date),
        format!("StudyDate={}", study.date),
        format!("PatientID={}&StudyInstanceUID={}", study.patient_id, study.uid()),
    ]
    .map(|query| forepost.qido(&format!("/studies?{query}")).len())
}

#[test]
fn what_a_cloud_pushes_for_a_registration_is_ready_before_the_visit() {
    let patient = Patient::new(950);
    let study = Study::of(&patient, 950);
    let forepost = Forepost::start(setup());
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let waits = forepost.plan(&registration);
    assert_eq!((&waits["state"], &waits["cause"]), (&json!("searching"), &Value::Null));
    // A real archive sends it with its own DICOMweb plugin.
    let orthanc = Orthanc::with(&[&study]);
    send_by(&orthanc, &forepost, Some(REGION));
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["found"], &plan["chosen"]), (&json!(1), &json!(1)), "{plan:#}");
    assert_eq!((&plan["have"], &plan["expected"]), (&json!(7), &json!(7)), "{plan:#}");
    let lead = plan["lead_ms"].as_i64().unwrap();
    assert!((25 * 3_600_000..=26 * 3_600_000).contains(&lead), "ready {lead} ms before");
    let one = &plan["studies"][0];
    assert_eq!((&one["source"], &one["link"]), (&json!("region"), &json!("confirmed")));
    // By its own number and by the visit's, which is in no object.
    let visit = registration["outpatientNumber"].as_str().unwrap();
    assert_eq!(forepost.qido(&format!("/studies?PatientID={visit}")).len(), 1);
    assert_eq!(found_by(&forepost, &study), [1; 5]);
    assert_eq!(unmatched(&forepost), [] as [Value; 0]);
    check_here(&forepost, &study);
    assert_eq!(forepost.metric("pushed_studies_total"), 1.0);
    // A second study of the patient, later, in two pieces with a pause between them.
    let more = Study { date: study.date.clone(), ..Study::of(&patient, 951) };
    let objects = more.objects();
    assert_eq!(post(&forepost, REGION, &bytes(&objects[..3])).status, 200);
    let plan = forepost.await_plan(&registration, |plan| {
        plan["chosen"] == 2 && plan["state"] == "ready" && plan["have"] == 10
    });
    assert_eq!(plan["expected"], 10, "{plan:#}");
    assert_eq!(post(&forepost, REGION, &bytes(&objects[3..])).status, 200);
    forepost.await_plan(&registration, |plan| plan["state"] == "ready" && plan["have"] == 14);
}

#[test]
fn what_nobody_registered_for_is_found_by_no_patient_key_until_somebody_does() {
    let patient = Patient::new(952);
    let study = Study::of(&patient, 952);
    let mut forepost = Forepost::start(setup());
    push(&forepost, &study);
    // From the first moment, before it is counted.
    assert_eq!(found_by(&forepost, &study), [0; 5]);
    let shown = await_unmatched(&forepost, &study);
    assert_eq!((&shown["source"], &shown["contradicted"]), (&json!("region"), &json!(false)));
    assert_eq!(found_by(&forepost, &study), [0; 5]);
    let named = forepost.qido(&format!("/studies?StudyInstanceUID={}", study.uid()));
    assert_eq!(named.len(), 1, "by its UID it is found");
    forepost.kill();
    forepost.restart();
    assert_eq!(found_by(&forepost, &study), [0; 5]);
    let somebody_else = Patient::new(953).registration(20, 1);
    forepost.accept(&somebody_else);
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["have"], &plan["expected"]), (&json!(7), &json!(7)), "{plan:#}");
    assert_eq!(found_by(&forepost, &study), [1; 5]);
    assert_eq!(unmatched(&forepost), [] as [Value; 0]);
    assert_eq!(forepost.plan(&somebody_else)["state"], "searching");
}

#[test]
fn a_pushed_study_that_contradicts_the_registration_stays_apart() {
    let patient = Patient::new(954);
    // Somebody else's study under the patient's number.
    let other = Patient::new(955);
    let study = Study { patient_id: patient.id_card.clone(), ..Study::of(&other, 954) };
    let forepost = Forepost::start(setup());
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    push(&forepost, &study);
    let plan = forepost.await_plan(&registration, |plan| plan["found"] == 1);
    assert_eq!((&plan["chosen"], &plan["state"]), (&json!(0), &json!("searching")), "{plan:#}");
    assert_eq!(plan["studies"][0]["outcome"], "apart");
    assert_eq!(await_unmatched(&forepost, &study)["contradicted"], true);
    assert_eq!(found_by(&forepost, &study), [0; 5]);
    // The right one still comes.
    let right = Study::of(&patient, 956);
    push(&forepost, &right);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["found"], &plan["chosen"]), (&json!(2), &json!(1)), "{plan:#}");
    // Nor does another patient's object slip into it.
    let mut foreign = Study { series: vec![4, 4], ..Study::of(&other, 956) }.objects();
    let reply = post(&forepost, REGION, &[&foreign.pop().unwrap().bytes]);
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(reply.json()["00081198"]["Value"][0]["00081197"]["Value"][0], 0xa900);
}

#[test]
fn what_the_hospital_itself_stores_is_found_by_its_own_number() {
    let forepost = Forepost::start(setup());
    let study = Study::of(&Patient::new(957), 957);
    let reply = post(&forepost, PACS, &bytes(&study.objects()));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(found_by(&forepost, &study), [1; 5]);
    // A cloud that pushes the same study later takes nothing away.
    push(&forepost, &study);
    assert_eq!(found_by(&forepost, &study), [1; 5]);
    // One that a cloud pushed first is the hospital's as soon as the hospital sends it.
    let second = Study { date: "20260203".into(), ..Study::of(&Patient::new(958), 958) };
    push(&forepost, &second);
    assert_eq!(found_by(&forepost, &second), [0; 5]);
    assert_eq!(post(&forepost, PACS, &bytes(&second.objects())).status, 200);
    assert_eq!(found_by(&forepost, &second), [1; 5]);
}

#[test]
fn a_plan_for_which_nothing_was_pushed_ends_with_that_cause() {
    let patient = Patient::new(959);
    let more = "[prefetch]\ngrace_hours = 0\n".to_owned();
    let mut forepost = Forepost::start(Setup { more, ..setup() });
    let registration = patient.registration(-1, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| {
        plan["searches"].as_array().is_some_and(|searches| searches.len() == 1)
    });
    assert_eq!((&plan["state"], &plan["cause"]), (&json!("searching"), &Value::Null), "{plan:#}");
    assert_eq!(plan["searches"][0]["attempts"], 0);
    // A start ends at once what a minute would have ended.
    forepost.stop();
    forepost.restart();
    let plan = forepost.await_state(&registration, "not ready");
    assert_eq!(plan["cause"], "nothing was pushed", "{plan:#}");
}

#[test]
fn a_push_that_a_kill_cut_short_is_settled_by_the_next_start() {
    let patient = Patient::new(960);
    let study = Study::of(&patient, 960);
    let mut forepost = Forepost::start(setup());
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    push(&forepost, &study);
    forepost.kill();
    forepost.restart();
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["have"], &plan["expected"]), (&json!(7), &json!(7)), "{plan:#}");
    assert_eq!(found_by(&forepost, &study), [1; 5]);
}
