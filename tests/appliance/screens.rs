//! What doctors see, in a real Chromium. The pictures lie in the folder `screens` of the build.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::browser::Browser;
use crate::support::cloud::Cloud;
use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, days_ago};
use crate::support::study::Study;
use crate::support::wait_for;
use crate::support::window::log_in;
use crate::workstation::{House, call, say, setup};

const OPEN: &str = "/iuWorkStation/swipingIdCardNo";
const ORDER: &str = "/iuWorkStation/checkAgain";

/// Where pictures lie; emptied by nobody, so that the last run can be looked at.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
    std::fs::create_dir_all(&folder).expect("a folder for pictures can be made");
    folder
}

/// The address of a window for a login.
fn login(forepost: &Forepost, user: &str, doctor: &str) -> String {
    let fields = format!(
        "hisUserId={user}&type=1&doctorName={doctor}&department=%E5%86%85%E7%A7%91&departmentCode=1"
    );
    format!("http://{}{}", forepost.hospital(), log_in(forepost, &fields))
}

fn studies(patient: &Patient) -> Vec<Study> {
    let chest = Study::of(patient, 950);
    let knee = Study {
        modality: "MR",
        description: "右膝关节MR平扫".into(),
        institution: "<b>邻市</b>骨科医院\"'&".into(),
        date: days_ago(200),
        accession: "A951".into(),
        ..Study::of(patient, 951)
    };
    let long = Study {
        description: "腹部盆腔增强扫描三期重建及血管成像，附加延迟期".into(),
        date: days_ago(10),
        accession: "A952".into(),
        ..Study::of(patient, 952)
    };
    vec![chest, knee, long]
}

#[test]
fn two_doctors_at_two_screens_see_each_their_own() {
    let patient = Patient::new(920);
    let studies = studies(&patient);
    let orthanc = Orthanc::with(&studies.iter().collect::<Vec<_>>());
    let cloud = Cloud::before(&orthanc);
    let forepost = Forepost::start(setup(&[cloud.source("region")]));
    let (folder, mut browser) = (folder(), Browser::start());
    // The code is gone from the address, and nothing but the cookie is kept.
    let doctors = [("one", "7", "192.0.2.10", "zh-CN"), ("two", "8", "192.0.2.20", "en-US")];
    for (name, user, address, language) in doctors {
        let url = login(&forepost, user, "%E6%9D%8E%E5%8C%BB%E7%94%9F");
        browser.open(name, &url, address, language);
        browser.wait(name, "#state.live");
        let at = browser.window(name, "reload", json!({}));
        assert_eq!(at, json!(format!("http://{}/workstation/", forepost.hospital())));
        browser.wait(name, "#state.live");
        assert_eq!(browser.window(name, "stored", json!({})), json!([0, 0, ""]));
    }
    say(&forepost, ORDER, &call(&patient, "7", "192.0.2.10", &["膝关节MR平扫"]));
    browser.wait("one", "#notices li em");
    let line = browser.texts("one", "#notices li").remove(0);
    assert!(line.contains("与所开检查相同 × 1") && !line.contains(&patient.name), "{line}");
    assert_eq!(browser.window("one", "title", json!({})), json!("(1) 外院影像提醒"));
    browser.pictures("one", &folder, "notices");
    assert!(browser.texts("two", "#notices li").is_empty(), "not the other doctor");
    browser.pictures("two", &folder, "nothing");

    // The patient's studies: the ordered one first, what peers wrote as text, the name on pointing.
    browser.click("one", "#notices li a");
    browser.wait("one", "tr.same");
    let rows = browser.texts("one", "tbody tr");
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].contains("<b>邻市</b>骨科医院\"'&"), "{rows:#?}");
    assert!(rows[0].contains("与所开检查相同"), "{rows:#?}");
    assert!(!browser.texts("one", ".name").concat().contains(&patient.name));
    browser.window("one", "hover", json!({ "selector": ".name" }));
    assert!(browser.texts("one", ".name").concat().contains(&patient.name));
    browser.pictures("one", &folder, "patient");
    browser.click("one", "tr.same a");
    browser.wait("one", "a.open");
    browser.pictures("one", &folder, "study");

    // In English, too.
    say(&forepost, OPEN, &call(&patient, "8", "192.0.2.20", &[]));
    browser.wait("two", "#notices li");
    let line = browser.texts("two", "#notices li").remove(0);
    assert!(line.contains("3 outside studies"), "{line}");
    browser.pictures("two", &folder, "notices-english");
    browser.click("two", "#notices li a");
    browser.wait("two", "tbody tr");
    let page = browser.texts("two", "body").concat();
    let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let heads = browser.texts("two", "h1, th, button, a");
    assert!(!heads.iter().any(|text| han(text)), "untranslated: {heads:?}");
    assert!(page.contains("no report delivered"), "{page}");
    browser.pictures("two", &folder, "patient-english");
    // Forms of our own pages are not taken for another site's.
    browser.click("one", "a[accesskey=b]");
    browser.click("one", "form.decide button");
    browser.wait("one", "#state.live");
    browser.click("two", "a[accesskey=b]");
    browser.wait("two", "#state.live");
    browser.click("two", "header form button:not([type])");
    let gone = browser.texts("two", "body").concat();
    assert!(gone.contains("Log in at the HIS again"), "{gone}");
    let csv = http::ask(&forepost.console(), "GET", "/use.csv", &[], b"").unwrap().text();
    assert!(csv.contains("\"7\",\"1\",\"1\",\"1\",\"1\",\"0\""), "{csv}");
    for (name, ..) in doctors {
        let noise = browser.window(name, "noise", json!({}));
        assert_eq!(noise, json!([]), "complaints, or something from elsewhere");
    }
}

#[test]
fn a_window_outlives_a_cut_a_restart_and_ends_with_the_logout() {
    let patients = [Patient::new(921), Patient::new(922), Patient::new(923)];
    let studies: Vec<Study> =
        patients.iter().map(|one| Study::of(one, 50 + u64::from(one.number))).collect();
    let orthanc = Orthanc::with(&studies.iter().collect::<Vec<_>>());
    let cloud = Cloud::before(&orthanc);
    let mut idle = setup(&[cloud.source("region")]);
    idle.more.push_str("idle_seconds = 5\n");
    let mut forepost = Forepost::start(idle);
    let mut browser = Browser::start();
    let address = "192.0.2.10";
    browser.open("one", &login(&forepost, "7", "A"), address, "zh-CN");
    browser.wait("one", "#state.live");
    say(&forepost, OPEN, &call(&patients[0], "7", address, &[]));
    browser.wait("one", "#notices li");

    // A patient's page is left when nobody touches it.
    browser.click("one", "#notices li a");
    browser.wait("one", "tbody tr");
    browser.wait("one", "#state.live");
    browser.wait("one", "#notices li.seen");

    // What comes while the network is cut is there afterwards, once.
    browser.window("one", "offline", json!({ "off": true }));
    say(&forepost, OPEN, &call(&patients[1], "7", address, &[]));
    std::thread::sleep(Duration::from_secs(2));
    browser.window("one", "offline", json!({ "off": false }));
    let both =
        wait_for(PATIENCE, || (browser.texts("one", "#notices li").len() == 2).then_some(()));
    both.expect("the second notice comes with the network");

    // The same across a restart on the same address.
    browser.click("one", "#notices li button");
    browser.window("one", "await_gone", json!({ "selector": "#notices li.new" }));
    forepost.stop();
    browser.wait("one", "#state.lost");
    forepost.restart();
    let url = format!("http://{}/workstation/", forepost.hospital());
    browser.window("one", "go", json!({ "url": url }));
    browser.wait("one", "#state.live");
    let seen =
        wait_for(PATIENCE, || (browser.texts("one", "#notices li.seen").len() == 2).then_some(()));
    seen.expect("both notices, and that they were seen");
    say(&forepost, OPEN, &call(&patients[2], "7", address, &[]));
    let three =
        wait_for(PATIENCE, || (browser.texts("one", "#notices li").len() == 3).then_some(()));
    three.expect("the third notice comes to the reconnected window");

    let out = forepost.get("/hrball/?hisUserId=7&type=2").json();
    assert_eq!(out["code"], 200);
    let gone = wait_for(PATIENCE, || {
        (browser.texts("one", "body").concat() == "已退出登录").then_some(())
    });
    gone.expect("nothing of a patient stays on the screen");
    browser.window("one", "reload", json!({}));
    assert!(browser.texts("one", "body").concat().contains("请在 HIS 中重新登录"));
}

#[test]
fn a_browser_without_scripts_or_streams_shows_the_same() {
    let house = House::ready(924);
    let (patient, forepost) = (&house.patient, &house.forepost);
    let mut browser = Browser::start();
    for (without, user, address) in [("scripts", "7", "192.0.2.10"), ("streams", "8", "192.0.2.20")]
    {
        browser.open_without(without, without, &login(forepost, user, "A"), address, "zh-CN");
        say(forepost, ORDER, &call(patient, user, address, &["胸部CT平扫"]));
        // The page comes again by itself.
        browser.wait(without, "#plain li em");
        let row = browser.texts(without, "#plain li").remove(0);
        assert!(row.contains("与所开检查相同 × 1") && !row.contains(&patient.name), "{row}");
        let page = browser.texts(without, "body").concat();
        assert!(!page.contains("暂无提醒"), "{page}");
        browser.pictures(without, &folder(), &format!("without-{without}"));
        browser.click(without, "#plain li a");
        browser.wait(without, "tr.same");
        browser.click(without, "tr.same a");
        browser.wait(without, "a.open");
    }
}
