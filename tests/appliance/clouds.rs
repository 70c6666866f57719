//! Clouds that are down, slow, wrong or hostile. The HIS notices nothing; the plan waits, says
//! why, and ends when the cloud lets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cloud::{Act, Asked, Cloud, Step};
use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::wait_for;

/// One patient with one study in an archive behind a cloud.
struct Scene {
    patient: Patient,
    study: Study,
    // Declared before the archive, so that the cloud in front of it goes first.
    cloud: Cloud,
    _orthanc: Orthanc,
}

impl Scene {
    fn new(number: u32) -> Scene {
        let patient = Patient::new(number);
        let study = Study { series: vec![30], ..Study::of(&patient, u64::from(number)) };
        Scene::with(patient, study)
    }

    fn with(patient: Patient, study: Study) -> Scene {
        let orthanc = Orthanc::with(&[&study]);
        Scene { patient, study, cloud: Cloud::before(&orthanc), _orthanc: orthanc }
    }

    fn forepost(&self) -> Forepost {
        Forepost::start(Setup::with(&[self.cloud.source("region")]))
    }

    /// Every object of the study is here as it was made.
    fn check_whole(&self, forepost: &Forepost) {
        check_whole(forepost, &self.study);
    }
}

/// Every object of a study is here as it was made.
pub fn check_whole(forepost: &Forepost, study: &Study) {
    let target = format!("/studies/{}/instances?limit=1000", study.uid());
    assert_eq!(forepost.qido(&target).len(), study.instances());
    for object in study.objects() {
        let file = forepost.study_folder(&study.uid()).join(format!("{}.dcm", object.sop));
        assert!(std::fs::read(&file).unwrap() == object.bytes, "{}", object.sop);
    }
}

/// Treats the first `times` requests for which `which` holds by `act`; the others pass.
fn first(
    times: usize,
    which: impl Fn(&Asked) -> bool + Send + 'static,
    act: impl Fn() -> Act + Send + 'static,
) -> impl FnMut(&Asked) -> Act + Send + 'static {
    let mut left = times;
    move |asked| {
        if left > 0 && which(asked) {
            left -= 1;
            return act();
        }
        Act::Pass
    }
}

/// The fault that the plan shows of its search at `source`.
fn search_fault(plan: &Value, source: &str) -> String {
    let searches = plan["searches"].as_array().expect("a plan lists its searches");
    let one = searches.iter().find(|one| one["source"] == source);
    one.and_then(|one| one["fault"].as_str()).unwrap_or_default().to_owned()
}

fn fetch(plan: &Value) -> &Value {
    &plan["studies"][0]["fetch"]
}

#[test]
fn a_cloud_that_is_down_costs_the_his_nothing_and_its_studies_come_when_it_is_up() {
    let mut scene = Scene::new(400);
    scene.cloud.down();
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| !search_fault(plan, "region").is_empty());
    assert_eq!(plan["state"], "searching", "{plan:#}");
    scene.cloud.up();
    forepost.await_state(&registration, "ready");
    scene.check_whole(&forepost);
}

#[test]
fn a_cloud_that_dies_in_the_middle_of_a_study_is_asked_for_the_missing_instances_only() {
    let scene = Scene::new(401);
    let one = scene.study.objects()[0].bytes.len();
    // Twelve objects and a half, with their part headers.
    let cut = one * 12 + one / 2;
    scene.cloud.behave(first(1, |asked| asked.retrieves(), move || Act::Cut(cut)));
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| fetch(plan)["attempts"] == 1);
    let have = fetch(&plan)["have"].as_u64().unwrap() as usize;
    assert!((11..=12).contains(&have), "what came whole is kept: {plan:#}");
    forepost.await_state(&registration, "ready");
    scene.check_whole(&forepost);
    let retrieved: Vec<Asked> = scene.cloud.asked().into_iter().filter(Asked::retrieves).collect();
    assert_eq!(retrieved[0].step, Step::Series, "a lone long series is taken as a whole");
    let again = &retrieved[1..];
    assert!(again.iter().all(|asked| asked.step == Step::Instance), "{again:#?}");
    assert_eq!(again.len(), 30 - have, "nothing that is here is asked for again");
    let mut targets: Vec<&str> = again.iter().map(|asked| asked.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), 30 - have, "nothing is asked for twice");
}

#[test]
fn a_cloud_that_dies_and_an_appliance_that_dies_still_fetch_nothing_twice() {
    let scene = Scene::new(402);
    let one = scene.study.objects()[0].bytes.len();
    let retrieved = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&retrieved);
    scene.cloud.behave(move |asked| match asked.retrieves() {
        true if counted.fetch_add(1, Ordering::SeqCst) == 0 => Act::Cut(one * 20 + 100),
        true => Act::Hang,
        false => Act::Pass,
    });
    let mut forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let seen =
        wait_for(crate::support::PATIENCE, || (retrieved.load(Ordering::SeqCst) > 1).then_some(()));
    assert!(seen.is_some(), "the fetch is tried again");
    forepost.kill();
    let before = scene.cloud.asked().len();
    scene.cloud.behave(|_| Act::Pass);
    forepost.restart();
    forepost.await_state(&registration, "ready");
    scene.check_whole(&forepost);
    let again: Vec<Asked> =
        scene.cloud.asked().split_off(before).into_iter().filter(Asked::retrieves).collect();
    assert!(again.iter().all(|asked| asked.step == Step::Instance), "{again:#?}");
    assert!((10..=12).contains(&again.len()), "about a third was missing, got {}", again.len());
}

#[test]
fn a_cloud_that_says_429_is_left_alone_for_as_long_as_it_asks() {
    let scene = Scene::new(403);
    let wait = || Act::Answer(429, vec![("Retry-After", "5".to_owned())], Vec::new());
    scene.cloud.behave(first(1, |asked| asked.step == Step::Search, wait));
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    let searches: Vec<Asked> =
        scene.cloud.asked().into_iter().filter(|asked| asked.step == Step::Search).collect();
    let pause = searches[1].at.duration_since(searches[0].at);
    assert!(pause >= Duration::from_secs(5), "asked again after {pause:?}");
    scene.check_whole(&forepost);
}

/// A fault of one step that is over at the next try.
fn recovers(number: u32, step: fn(&Asked) -> bool, act: impl Fn() -> Act + Send + 'static) {
    let scene = Scene::new(number);
    scene.cloud.behave(first(1, step, act));
    let mut setup = Setup::with(&[scene.cloud.source("region")]);
    let waits = "head_seconds = 2\nidle_seconds = 2\n[[source.patient_key]]";
    setup.sources[0] = setup.sources[0].replace("[[source.patient_key]]", waits);
    let forepost = Forepost::start(setup);
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], 30, "{plan:#}");
    scene.check_whole(&forepost);
    let asked = scene.cloud.asked().into_iter().filter(step).count();
    assert!(asked >= 2, "the fault was met: asked {asked} times");
}

#[test]
fn a_search_that_fails_with_500_is_asked_again() {
    recovers(410, |asked| asked.step == Step::Search, || Act::status(500));
}

#[test]
fn a_manifest_that_fails_with_500_is_asked_again() {
    recovers(411, |asked| asked.step == Step::Manifest, || Act::status(500));
}

#[test]
fn objects_that_fail_with_503_are_asked_for_again() {
    recovers(412, Asked::retrieves, || Act::status(503));
}

#[test]
fn a_search_that_hangs_is_given_up_and_asked_again() {
    recovers(413, |asked| asked.step == Step::Search, || Act::Hang);
}

#[test]
fn objects_that_hang_are_given_up_and_asked_for_again() {
    recovers(414, Asked::retrieves, || Act::Hang);
}

#[test]
fn half_a_search_answer_is_no_answer() {
    recovers(415, |asked| asked.step == Step::Search, || Act::Cut(150));
}

#[test]
fn half_a_manifest_is_no_manifest() {
    recovers(416, |asked| asked.step == Step::Manifest, || Act::Cut(150));
}

#[test]
fn a_study_without_its_last_byte_is_asked_for_again() {
    let last = || Act::Change(Box::new(|reply| drop(reply.body.drain(reply.body.len() - 60..))));
    recovers(417, Asked::retrieves, last);
}

#[test]
fn a_search_answer_of_the_wrong_type_is_asked_for_again() {
    let page = || {
        let media = vec![("Content-Type", "text/html".to_owned())];
        Act::Answer(200, media, b"<html>maintenance</html>".to_vec())
    };
    recovers(418, |asked| asked.step == Step::Search, page);
}

#[test]
fn objects_of_the_wrong_type_are_asked_for_again() {
    let page = || {
        let media = vec![("Content-Type", "text/html".to_owned())];
        Act::Answer(200, media, b"<html>maintenance</html>".to_vec())
    };
    recovers(419, Asked::retrieves, page);
}

#[test]
fn a_truncated_object_inside_a_whole_answer_is_not_kept() {
    let scene = Scene::with(
        Patient::new(420),
        Study { series: vec![1], ..Study::of(&Patient::new(420), 420) },
    );
    let object = scene.study.objects().remove(0).bytes;
    let short = object[..object.len() - 300].to_vec();
    let framed = move || {
        let mut body = b"--b\r\nContent-Type: application/dicom\r\n\r\n".to_vec();
        body.extend_from_slice(&short);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let media = "multipart/related; type=\"application/dicom\"; boundary=b".to_owned();
        Act::Answer(200, vec![("Content-Type", media)], body)
    };
    scene.cloud.behave(first(1, Asked::retrieves, framed));
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| {
        fetch(plan)["attempts"].as_u64().is_some_and(|attempts| attempts >= 1)
    });
    assert_ne!(fetch(&plan)["state"], "failed", "a broken object may be whole next time");
    forepost.await_state(&registration, "ready");
    scene.check_whole(&forepost);
}

#[test]
fn a_redirect_is_never_followed() {
    let scene = Scene::new(421);
    let elsewhere = Cloud::alone(|_| Act::status(200));
    let target = format!("{}/studies", elsewhere.base());
    scene.cloud.behave(move |asked| match asked.step {
        Step::Search | Step::Manifest => Act::Pass,
        _ => Act::Answer(302, vec![("Location", target.clone())], Vec::new()),
    });
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "not ready");
    assert_eq!(plan["cause"], "retrieve failing", "{plan:#}");
    assert!(fetch(&plan)["fault"].as_str().unwrap().contains("302"), "{plan:#}");
    assert_eq!(elsewhere.asked().len(), 0);
}

#[test]
fn a_redirect_of_the_search_is_never_followed_and_named() {
    let scene = Scene::new(422);
    let elsewhere = Cloud::alone(|_| Act::json(&json!([])));
    let target = format!("{}/studies", elsewhere.base());
    scene.cloud.behave(move |_| Act::Answer(301, vec![("Location", target.clone())], Vec::new()));
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| !search_fault(plan, "region").is_empty());
    assert!(search_fault(&plan, "region").contains("301"), "{plan:#}");
    assert_eq!(plan["state"], "searching");
    assert_eq!(elsewhere.asked().len(), 0);
}

/// A national index: it knows the studies of an archive, and says where they lie.
fn index(rows: Value, retrieve: impl Fn(&str) -> String + Send + 'static) -> Cloud {
    Cloud::alone(move |asked| {
        if asked.step != Step::Search {
            return Act::status(404);
        }
        let mut rows = rows.clone();
        for row in rows.as_array_mut().expect("a list of studies") {
            let study = row["0020000D"]["Value"][0].as_str().expect("its UID").to_owned();
            row["00081190"] = json!({"vr": "UR", "Value": [retrieve(&study)]});
        }
        Act::json(&rows)
    })
}

fn index_source(index: &Cloud, hosts: &str) -> String {
    let key = "[[source.patient_key]]";
    index.source("nation").replace(key, &format!("index = true\n{hosts}{key}"))
}

/// What an index would know of a study.
fn row_of(orthanc: &Orthanc, study: &Study) -> Value {
    let mut rows = orthanc.qido(&study.uid());
    rows[0]["00080080"] = json!({"vr": "LO", "Value": [study.institution]});
    rows
}

#[test]
fn a_retrieve_url_to_a_host_that_is_not_listed_is_not_asked() {
    let patient = Patient::new(430);
    let study = Study::of(&patient, 430);
    let orthanc = Orthanc::with(&[&study]);
    let archive = Cloud::before(&orthanc);
    let base = archive.base();
    let nation = index(row_of(&orthanc, &study), move |uid| format!("{base}/studies/{uid}"));
    let forepost = Forepost::start(Setup::with(&[index_source(&nation, "")]));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["chosen"], 0, "{plan:#}");
    assert_eq!(archive.asked().len(), 0);
    assert!(forepost.metric("upstream_rows_dropped_total") >= 1.0);
}

#[test]
fn a_listed_host_is_asked_with_its_own_credentials_and_no_others() {
    let patient = Patient::new(431);
    let study = Study::of(&patient, 431);
    let orthanc = Orthanc::with(&[&study]);
    let archive = Cloud::before(&orthanc);
    let base = archive.base();
    let nation = index(row_of(&orthanc, &study), move |uid| format!("{base}/studies/{uid}"));
    let hosts = format!(
        "[[source.header]]\nname = \"X-Nation\"\nvalue_file = \"{{folder}}/nation\"\n\
         [[source.host]]\norigin = \"http://{}\"\n[[source.host.header]]\nname = \"X-Archive\"\n\
         value_file = \"{{folder}}/archive\"\n",
        archive.address
    );
    let files =
        vec![("nation", "nation-secret-1".to_owned()), ("archive", "archive-secret-2".to_owned())];
    let forepost =
        Forepost::start(Setup { files, ..Setup::with(&[index_source(&nation, &hosts)]) });
    forepost.keep_secret(["nation-secret-1".to_owned(), "archive-secret-2".to_owned()]);
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["chosen"], 1, "{plan:#}");
    check_whole(&forepost, &study);
    let shows = |asked: &Asked, name: &str| {
        asked.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    for asked in archive.asked() {
        assert_eq!(shows(&asked, "x-archive").as_deref(), Some("archive-secret-2"));
        assert_eq!(shows(&asked, "x-nation"), None);
    }
    for asked in nation.asked() {
        assert_eq!(shows(&asked, "x-nation").as_deref(), Some("nation-secret-1"));
        assert_eq!(shows(&asked, "x-archive"), None);
    }
}

/// The region and the index name the same study; the index says that an archive has it.
fn two_places(number: u32) -> (Patient, Study, Orthanc, Cloud, Cloud, Cloud) {
    let patient = Patient::new(number);
    let study = Study { series: vec![30], ..Study::of(&patient, u64::from(number)) };
    let orthanc = Orthanc::with(&[&study]);
    let region = Cloud::before(&orthanc);
    let archive = Cloud::before(&orthanc);
    let base = archive.base();
    let nation = index(row_of(&orthanc, &study), move |uid| format!("{base}/studies/{uid}"));
    (patient, study, orthanc, region, archive, nation)
}

fn both_sources(region: &Cloud, archive: &Cloud, nation: &Cloud) -> Setup {
    let hosts = format!("[[source.host]]\norigin = \"http://{}\"\n", archive.address);
    Setup::with(&[region.source("region"), index_source(nation, &hosts)])
}

#[test]
fn a_study_that_region_and_index_both_name_is_fetched_once() {
    let (patient, study, _orthanc, region, archive, nation) = two_places(440);
    let forepost = Forepost::start(both_sources(&region, &archive, &nation));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!((&plan["found"], &plan["chosen"]), (&json!(1), &json!(1)), "{plan:#}");
    check_whole(&forepost, &study);
    assert_eq!((region.count(Step::Search), nation.count(Step::Search)), (1, 1));
    assert_eq!(archive.asked().len(), 0, "the region is preferred and was enough");
}

#[test]
fn a_study_that_the_region_does_not_give_is_had_from_where_the_index_points() {
    let (patient, study, _orthanc, region, archive, nation) = two_places(441);
    region.behave(|asked| if asked.step == Step::Search { Act::Pass } else { Act::status(500) });
    let forepost = Forepost::start(both_sources(&region, &archive, &nation));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    check_whole(&forepost, &study);
    assert!(archive.asked().iter().any(Asked::retrieves));
}

#[test]
fn a_study_that_the_region_gives_by_half_is_completed_where_the_index_points() {
    let (patient, study, _orthanc, region, archive, nation) = two_places(442);
    let one = study.objects()[0].bytes.len();
    region.behave(move |asked| match asked.retrieves() {
        true => Act::Cut(one * 10 + 700),
        false => Act::Pass,
    });
    let forepost = Forepost::start(both_sources(&region, &archive, &nation));
    let registration = patient.registration(26, 0);
    forepost.accept(&registration);
    forepost.await_state(&registration, "ready");
    check_whole(&forepost, &study);
    let completed = archive.asked().iter().filter(|asked| asked.retrieves()).count();
    assert!((20..=21).contains(&completed), "only what is missing: {completed} requests");
}

#[test]
fn one_source_that_is_down_does_not_keep_the_others_studies_away() {
    let scene = Scene::new(443);
    let mut dead = Cloud::alone(|_| Act::Hang);
    dead.down();
    let sources = [dead.source("nation"), scene.cloud.source("region")];
    let forepost = Forepost::start(Setup::with(&sources));
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_plan(&registration, |plan| fetch(plan)["state"] == "here");
    assert_eq!(plan["state"], "searching", "one source has not answered yet");
    assert!(!search_fault(&plan, "nation").is_empty());
    scene.check_whole(&forepost);
}

#[test]
fn a_study_that_never_comes_ends_with_its_one_cause() {
    let scene = Scene::new(444);
    scene.cloud.behave(|asked| if asked.retrieves() { Act::status(404) } else { Act::Pass });
    let forepost = scene.forepost();
    let registration = scene.patient.registration(26, 0);
    forepost.accept(&registration);
    let plan = forepost.await_state(&registration, "not ready");
    assert_eq!(plan["cause"], "retrieve failing", "{plan:#}");
    assert_eq!(fetch(&plan)["state"], "failed");
}
