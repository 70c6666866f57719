//! What doctors see, in a real Chromium. The pictures lie in the folder `screens` of the build.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::PATIENCE;
use crate::support::browser::Browser;
use crate::support::cloud::{Act, Cloud};
use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, days_ago};
use crate::support::study::Study;
use crate::support::wait_for;
use crate::support::window::{Window, log_in};
use crate::support::wire::Wire;
use crate::workstation::{House, call, say, setup};

const OPEN: &str = "/iuWorkStation/swipingIdCardNo";
const ORDER: &str = "/iuWorkStation/checkAgain";

/// Where pictures lie; emptied by nobody, so that the last run can be looked at.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
    std::fs::create_dir_all(&folder).expect("a folder for pictures can be made");
    folder
}

/// How long a network is away that comes back.
const CUT: Duration = Duration::from_secs(30);

/// The path of a window for a login.
fn path(forepost: &Forepost, user: &str, doctor: &str) -> String {
    let fields = format!(
        "hisUserId={user}&type=1&doctorName={doctor}&department=%E5%86%85%E7%A7%91&departmentCode=1"
    );
    log_in(forepost, &fields)
}

/// The address of a window for a login.
fn login(forepost: &Forepost, user: &str, doctor: &str) -> String {
    format!("http://{}{}", forepost.hospital(), path(forepost, user, doctor))
}

/// Waits until a selector finds so many.
fn await_count(browser: &mut Browser, name: &str, selector: &str, count: usize) {
    let found = wait_for(PATIENCE, || {
        let found = browser.texts(name, selector);
        (found.len() == count).then_some(())
    });
    found.unwrap_or_else(|| panic!("{name}: not {count} of {selector}"));
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
        browser.wait(name, "#app #state.live");
        let at = browser.window(name, "reload", json!({}));
        assert_eq!(at, json!(format!("http://{}/workstation/", forepost.hospital())));
        browser.wait(name, "#state.live");
        assert_eq!(browser.window(name, "stored", json!({})), json!([0, 0, ""]));
    }
    say(&forepost, ORDER, &call(&patient, "7", "192.0.2.10", &["膝关节MR平扫"]));
    browser.wait("one", "#notices li .same");
    let line = browser.texts("one", "#notices li").remove(0);
    assert!(line.contains("与所开检查相同 × 1") && !line.contains(&patient.name), "{line}");
    assert_eq!(browser.window("one", "title", json!({})), json!("(1) 外院影像提醒"));
    browser.pictures("one", &folder, "notices");
    assert!(browser.texts("two", "#notices li").is_empty(), "not the other doctor");
    browser.pictures("two", &folder, "nothing");

    // By the keyboard to the patient's studies: the ordered one first, what peers wrote as text,
    // the name on pointing.
    browser.window("one", "press", json!({ "keys": "ArrowDown" }));
    browser.window("one", "press", json!({ "keys": "Enter" }));
    browser.wait("one", ".study.same");
    let rows = browser.texts("one", ".study");
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].contains("<b>邻市</b>骨科医院\"'&"), "{rows:#?}");
    assert!(rows[0].contains("与所开检查相同"), "{rows:#?}");
    assert!(!browser.texts("one", ".name").concat().contains(&patient.name));
    browser.window("one", "hover", json!({ "selector": ".name" }));
    assert!(browser.texts("one", ".name").concat().contains(&patient.name));
    browser.pictures("one", &folder, "patient");
    browser.click("one", ".study.same .why summary");
    let why = browser.texts("one", ".study.same .why").concat();
    assert!(why.contains("已选取") && why.contains("姓名相符"), "{why}");
    browser.window("one", "press", json!({ "keys": "Escape" }));
    browser.wait("one", "#notices li.seen");
    browser.click("one", "#notices a.look");
    browser.click("one", ".study.same a.open");
    browser.wait("one", "a.images");
    browser.pictures("one", &folder, "study");

    // In English, too.
    say(&forepost, OPEN, &call(&patient, "8", "192.0.2.20", &[]));
    browser.wait("two", "#notices li");
    let line = browser.texts("two", "#notices li").remove(0);
    assert!(line.contains("3 outside studies"), "{line}");
    browser.pictures("two", &folder, "notices-english");
    browser.click("two", "#notices a.look");
    browser.wait("two", ".study");
    let page = browser.texts("two", "body").concat();
    let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let ours = browser.texts("two", "h1 a, button, a, .study .how, footer");
    assert!(!ours.iter().any(|text| han(text)), "untranslated: {ours:?}");
    assert!(page.contains("no report delivered"), "{page}");
    browser.pictures("two", &folder, "patient-english");
    // Forms of our own pages are not taken for another site's.
    browser.window("one", "press", json!({ "keys": "b" }));
    browser.click("one", ".decide button");
    browser.wait("one", "#notices");
    browser.click("two", "#logout");
    browser.wait("two", ".ended");
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
    let wire = Wire::to(&forepost.hospital());
    let mut browser = Browser::start();
    let address = "192.0.2.10";
    let url = format!("http://{}{}", wire.address, path(&forepost, "7", "A"));
    browser.open("one", &url, address, "zh-CN");
    browser.wait("one", "#app #state.live");
    say(&forepost, OPEN, &call(&patients[0], "7", address, &[]));
    browser.wait("one", "#notices li");

    // A patient's page is left when nobody touches it.
    browser.click("one", "#notices a.look");
    browser.wait("one", ".study");
    browser.wait("one", "#notices li.seen");

    // What comes while the network is cut is there afterwards, once.
    wire.cut();
    let cut = Instant::now();
    browser.wait("one", "#state.lost");
    say(&forepost, OPEN, &call(&patients[1], "7", address, &[]));
    std::thread::sleep(CUT.saturating_sub(cut.elapsed()));
    assert_eq!(browser.texts("one", "#notices li").len(), 1);
    wire.mend(&forepost.hospital());
    browser.wait("one", "#state.live");
    await_count(&mut browser, "one", "#notices li", 2);

    // The same across a restart.
    browser.click("one", "#notices li .acknowledge");
    browser.window("one", "await_gone", json!({ "selector": "#notices li.new" }));
    forepost.stop();
    browser.wait("one", "#state.lost");
    forepost.restart();
    wire.mend(&forepost.hospital());
    browser.wait("one", "#state.live");
    await_count(&mut browser, "one", "#notices li.seen", 2);
    say(&forepost, OPEN, &call(&patients[2], "7", address, &[]));
    await_count(&mut browser, "one", "#notices li", 3);
    assert_eq!(forepost.metric("notices_shown_total"), 1.0, "since the restart");

    let out = forepost.get("/hrball/?hisUserId=7&type=2").json();
    assert_eq!(out["code"], 200);
    browser.wait("one", ".ended");
    let page = browser.texts("one", "body").concat();
    assert!(!page.contains("**"), "nothing of a patient stays on the screen: {page}");
    browser.window("one", "reload", json!({}));
    browser.wait("one", ".ended");
    assert_eq!(browser.window("one", "noise", json!({})), json!([]));
}

#[test]
fn a_study_arrives_while_the_doctor_looks() {
    let house = House::of(925);
    let (patient, forepost) = (&house.patient, &house.forepost);
    // The first series comes at once, the next when a while has passed.
    let mut retrieved = 0;
    house.cloud.behave(move |asked| {
        retrieved += usize::from(asked.retrieves());
        match asked.retrieves() && retrieved > 1 {
            true => Act::Later(Duration::from_secs(6), Box::new(Act::Pass)),
            false => Act::Pass,
        }
    });
    let (folder, mut browser) = (folder(), Browser::start());
    browser.open("one", &login(forepost, "7", "A"), "192.0.2.10", "zh-CN");
    browser.wait("one", "#state.live");
    say(forepost, OPEN, &call(patient, "7", "192.0.2.10", &[]));
    browser.click("one", "#notices a.look");
    browser.wait("one", ".study .arriving");
    let some = wait_for(PATIENCE, || {
        let text = browser.texts("one", ".study .arriving").concat();
        let here: u32 = text.split(' ').nth(1)?.parse().ok()?;
        (here > 0).then_some(text)
    });
    let some = some.expect("the first series shows on the open page");
    assert!(some.ends_with(&format!("/ {}", house.study.instances())), "{some}");
    browser.pictures("one", &folder, "arriving");
    // The pages without the application show it, too.
    let at = browser.window("one", "url", json!({}));
    browser.plain_tab("plain", "one", at.as_str().expect("an address"));
    browser.wait("plain", "td[data-study]");
    assert!(browser.texts("plain", "td[data-study]").concat().contains("到达中"));
    browser.window("one", "await_gone", json!({ "selector": ".study .arriving" }));
    assert!(browser.texts("one", ".study").concat().contains("已到本院"));
    let here = wait_for(PATIENCE, || {
        let text = browser.texts("plain", "td[data-study]").concat();
        (text == "已到本院").then_some(())
    });
    here.expect("it came to the plain page");
    assert_eq!(browser.window("one", "noise", json!({})), json!([]));
}

#[test]
fn the_tabs_of_a_browser_share_one_stream_and_a_takeover_ends_them_all() {
    let house = House::ready(926);
    let (patient, forepost) = (&house.patient, &house.forepost);
    let mut browser = Browser::start();
    let window = format!("http://{}/workstation/", forepost.hospital());
    browser.open("one", &login(forepost, "7", "A"), "192.0.2.10", "zh-CN");
    browser.wait("one", "#state.live");
    for tab in ["two", "three"] {
        browser.tab(tab, "one", &window);
        browser.wait(tab, "#state.live");
    }
    assert_eq!(forepost.metric("workstation_streams"), 1.0);
    say(forepost, OPEN, &call(patient, "7", "192.0.2.10", &[]));
    for tab in ["one", "two", "three"] {
        await_count(&mut browser, tab, "#notices li.new", 1);
    }
    browser.click("two", "#notices .acknowledge");
    browser.click("two", "#quiet");
    for tab in ["one", "three"] {
        await_count(&mut browser, tab, "#notices li.seen", 1);
        browser.wait(tab, ".ant-checkbox-checked");
    }

    // Another doctor at the same browser: nothing of the first one's is left in any tab.
    browser.tab("four", "one", &login(forepost, "8", "B"));
    browser.wait("four", "#state.live");
    for tab in ["one", "two", "three"] {
        browser.wait(tab, ".ended");
    }
    assert!(browser.texts("four", "#notices li").is_empty());
    let one = wait_for(PATIENCE, || (forepost.metric("workstation_streams") == 1.0).then_some(()));
    one.expect("the stream of the first doctor has ended");

    // Without workers each tab has a stream of its own.
    let alone = login(forepost, "9", "C");
    browser.open_without("workers", "alone", &alone, "192.0.2.30", "zh-CN");
    browser.wait("alone", "#state.live");
    say(forepost, OPEN, &call(patient, "9", "192.0.2.30", &[]));
    await_count(&mut browser, "alone", "#notices li.new", 1);
}

#[test]
fn a_browser_without_what_the_application_needs_shows_the_same() {
    let house = House::ready(924);
    let (patient, forepost) = (&house.patient, &house.forepost);
    let mut browser = Browser::start();
    let browsers = [
        ("scripts", "7", "192.0.2.10", "#plain"),
        ("streams", "8", "192.0.2.20", "#plain"),
        ("is", "9", "192.0.2.30", "#notices"),
    ];
    for (without, user, address, list) in browsers {
        browser.open_without(without, without, &login(forepost, user, "A"), address, "zh-CN");
        say(forepost, ORDER, &call(patient, user, address, &["胸部CT平扫"]));
        // The page comes again by itself, or is told.
        browser.wait(without, &format!("{list} li .same"));
        let row = browser.texts(without, &format!("{list} li")).remove(0);
        assert!(row.contains("与所开检查相同 × 1") && !row.contains(&patient.name), "{row}");
        let page = browser.texts(without, "body").concat();
        assert!(!page.contains("暂无提醒"), "{page}");
        assert!(browser.texts(without, "#app").is_empty());
        browser.pictures(without, &folder(), &format!("without-{without}"));
        browser.click(without, &format!("{list} li a.look"));
        browser.wait(without, "tr.same");
        browser.pictures(without, &folder(), &format!("patient-without-{without}"));
        browser.click(without, "tr.same a.go");
        browser.wait(without, "a.open");
        assert_eq!(browser.window(without, "noise", json!({})), json!([]));
    }
}

#[test]
fn over_tls_a_browser_speaks_http_2_and_notifies_the_desktop() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let house = House::with(929, |setup| {
        setup.hospital_zone = "listen = \"127.0.0.1:0\"\nlisten_tls = \"127.0.0.1:0\"\n\
                               certificate = \"{folder}/door.pem\"\n\
                               certificate_key = \"{folder}/door.key\"\n"
            .into();
        setup.files.push(("door.pem", made.cert.pem()));
        setup.files.push(("door.key", made.signing_key.serialize_pem()));
    });
    let (patient, forepost) = (&house.patient, &house.forepost);
    let mut browser = Browser::start();
    let url = format!("https://{}{}", forepost.hospital_tls(), path(forepost, "7", "A"));
    browser.open_without("silence", "one", &url, "192.0.2.10", "zh-CN");
    browser.wait("one", "#state.live");
    let protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    let spoken = browser.window("one", "evaluate", json!({ "script": protocol }));
    assert_eq!(spoken, json!("h2"));
    // The cookie leaves over TLS alone, and no script reads it.
    assert_eq!(browser.window("one", "stored", json!({})), json!([0, 0, ""]));
    say(forepost, ORDER, &call(patient, "7", "192.0.2.10", &["胸部CT平扫"]));
    browser.wait("one", "#notices li.new");
    let notified = browser.window("one", "evaluate", json!({ "script": "window.notified" }));
    let [masked, words] = [&notified[0][0], &notified[0][1]].map(|one| one.as_str().unwrap());
    assert!(masked.ends_with("**") && words == "1 项外院检查", "{notified}");
    // Who does not want to be disturbed is only shown.
    browser.click("one", "#quiet");
    say(forepost, OPEN, &call(patient, "7", "192.0.2.10", &[]));
    await_count(&mut browser, "one", "#notices li", 2);
    let notified = browser.window("one", "evaluate", json!({ "script": "window.notified.length" }));
    assert_eq!(notified, json!(1));
    assert_eq!(browser.window("one", "noise", json!({})), json!([]));
}

#[test]
fn a_reason_and_a_link_show_a_patient_until_nobody_looks() {
    let house = House::with(930, |setup| setup.more.push_str("idle_seconds = 5\n"));
    let (patient, forepost) = (&house.patient, &house.forepost);
    let (folder, mut browser) = (folder(), Browser::start());
    let address = "192.0.2.10";
    let mut window = Window::of(forepost, "7", address);
    window.listen(forepost);
    say(forepost, OPEN, &call(patient, "7", address, &[]));
    let id = window.await_told(|one| one.data["here"] == 1).data["id"].clone();

    // Another doctor, for a reason, by a page that began as a refusal.
    browser.open("other", &login(forepost, "8", "B"), "192.0.2.20", "zh-CN");
    browser.wait("other", "#state.live");
    let own = format!("http://{}/workstation/patient/{id}", forepost.hospital());
    browser.window("other", "go", json!({ "url": own }));
    browser.wait("other", ".glass");
    browser.pictures("other", &folder, "glass");
    let reason = json!({ "selector": ".glass input", "text": "夜班急会诊" });
    browser.window("other", "fill", reason);
    browser.click("other", ".glass button");
    browser.wait("other", ".study");
    browser.wait("other", "#state.live");
    assert_eq!(browser.texts("other", "#logout").len(), 1);
    // Nobody touches it: the list, with the notice that the reason made.
    await_count(&mut browser, "other", "#notices li", 1);

    // A link shows the study in another browser of the workstation, and leaves it, too.
    let study = format!("{id}/{}", house.study.uid());
    let led = window.ask(forepost, "GET", &format!("/workstation/open/{study}"));
    let (_, ticket) = led.header("location").unwrap().split_once("&ticket=").unwrap();
    let link = format!(
        "http://{}/workstation/IHEInvokeImageDisplay?requestType=STUDY&studyUID={}&ticket={ticket}",
        forepost.hospital(),
        house.study.uid()
    );
    let at = browser.open("linked", &link, address, "zh-CN");
    browser.wait("linked", "#app .series");
    assert!(browser.texts("linked", "#logout, a.images, a.back, .fetch").is_empty());
    assert!(at.contains("/workstation/"), "{at}");
    browser.pictures("linked", &folder, "linked");
    browser.window("linked", "reload", json!({}));
    browser.wait("linked", "#app .series");
    browser.wait("linked", ".ended");
    for name in ["other", "linked"] {
        assert_eq!(browser.window(name, "noise", json!({})), json!([]));
    }
}
