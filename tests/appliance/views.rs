//! Views of a hospital's database: PostgreSQL and MariaDB hold what a HIS would show, and rows
//! become plans. What goes wrong with databases goes wrong here: rows half written, a charset that
//! is not what it says, locks, a server that stops or hangs.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forepost::catalog::{self, Mode, Overlay};
use forepost::clock;
use forepost::fault::Fault;
use forepost::ledger::Ledger;
use forepost::model::UtcOffset;
use forepost::seal::Keys;
use forepost::views::{
    self, CheckedRow, DatabaseOptions, Polled, ReaderPlace, RowEnd, Served, Taker, Takes,
    ViewOptions, Views, Work,
};
use serde_json::Value;

use crate::support::databases::{Database, System};
use crate::support::forepost::Forepost;
use crate::support::his;
use crate::support::patient::{Patient, due_at, personal};
use crate::support::setup::Setup;
use crate::support::wait_for;

/// Rows of the large view.
const MANY: u32 = 10_000;

/// How long ten thousand rows may take.
const LONG: Duration = Duration::from_secs(180);

fn setup(more: String) -> Setup {
    Setup { more, log: "info", ..Setup::default() }
}

impl Forepost {
    /// Polls of views that ended so.
    fn polls(&self, outcome: &str) -> u64 {
        let (text, label) = (self.metrics(), format!("outcome=\"{outcome}\""));
        let lines = text.lines().filter(|line| line.starts_with("view_polls_total{"));
        let polls = lines.filter(|line| line.contains(&label));
        polls.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Waits for a poll that begins from now on and ends so.
    fn await_poll(&self, outcome: &str) {
        // The one that is under way may have passed what was just changed.
        let before = self.polls(outcome);
        self.await_that(&format!("two polls ended as {outcome}"), || {
            self.polls(outcome) >= before + 2
        });
    }

    fn await_that(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let held = wait_for(LONG, || holds().then_some(()));
        assert!(held.is_some(), "after {LONG:?}: {what}");
    }

    fn new_rows(&self) -> u64 {
        self.metric("view_rows_new_total") as u64
    }

    fn listed(&self) -> Value {
        let output = self.verb(&["views", "list", "--json"]);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        list[0].clone()
    }
}

fn rows_become_plans_and_changes_are_seen(system: System) {
    let database = Database::start(system);
    his::make(&database, "his", "View_Register_Info", None);
    let registrations = his::registrations(MANY);
    his::insert(&database, "his", 0, &registrations);
    let mut forepost = Forepost::start(setup(his::tables(&database.connection("his"), "", "")));
    registrations.iter().take(500).for_each(|one| forepost.keep_secret(personal(one)));
    forepost.await_that("every row is a registration", || {
        forepost.metric("registrations_kept") as u32 == MANY
    });
    let plans = forepost.plans();
    assert!(registrations.iter().all(|one| plans.contains_key(&due_at(one))));
    let id = plans[&due_at(&registrations[7])]["id"].to_string();
    let shown = forepost.verb(&["plans", "show", &id]);
    let name = registrations[7]["patientName"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains(name));

    forepost.await_poll("whole");
    assert_eq!(forepost.new_rows(), u64::from(MANY), "a poll without changes takes nothing");
    database.sql("his", "UPDATE visits SET outpatientType = '1' WHERE id < 50");
    forepost.await_poll("whole");
    assert_eq!(forepost.new_rows(), u64::from(MANY) + 50);
    let over = forepost.plans().values().filter(|plan| plan["state"] == "over").count();
    assert_eq!(over, 50);

    database.sql("his", "DELETE FROM visits WHERE id BETWEEN 100 AND 109");
    forepost.await_poll("whole");
    assert_eq!(forepost.new_rows(), u64::from(MANY) + 50, "a row that is gone is no news");
    his::insert(&database, "his", 100, &registrations[100..110]);
    forepost.await_poll("whole");
    assert_eq!(forepost.new_rows(), u64::from(MANY) + 60, "a row that comes back is new");
    assert_eq!(forepost.metric("registrations_kept") as u32, MANY);

    forepost.kill();
    forepost.restart();
    forepost.await_poll("whole");
    assert_eq!(forepost.new_rows(), 0, "what was taken is known after a kill");
}

#[test]
fn ten_thousand_rows_of_postgresql_become_plans_and_changes_are_seen() {
    rows_become_plans_and_changes_are_seen(System::Postgres);
}

#[test]
fn ten_thousand_rows_of_mariadb_become_plans_and_changes_are_seen() {
    rows_become_plans_and_changes_are_seen(System::MariaDb);
}

#[test]
fn a_view_is_found_under_the_name_with_a_blank() {
    for system in [System::Postgres, System::MariaDb] {
        let database = Database::start(system);
        his::make(&database, "his", his::name_with_blank(system), None);
        his::insert(&database, "his", 0, &his::registrations(3));
        let forepost = Forepost::start(setup(his::tables(&database.connection("his"), "", "")));
        forepost.await_poll("whole");
        assert_eq!(forepost.plans().len(), 3);
        assert_eq!(forepost.polls("database"), 0);
    }
}

#[test]
fn only_the_part_that_the_configuration_names_is_read() {
    for system in [System::Postgres, System::MariaDb] {
        let database = Database::start(system);
        his::make(&database, "his", "HIS_VISITS", None);
        his::insert(&database, "his", 0, &his::registrations(20));
        let old = "outpatientDateTime = '2020-01-01 08:00:00'";
        database.sql("his", &format!("UPDATE visits SET {old} WHERE id < 5"));
        let lines = "view = \"HIS_VISITS\"\nwhere = \"outpatientDeptCode = '301' OR 1 = 0\"\n\
                     date_column = \"OUTPATIENTDATETIME\"\ndays = 7\n\
                     [views.columns]\nwardNo = \"OutpatientDocHisUid\"";
        let connection = database.connection("his");
        let forepost = Forepost::start(setup(his::tables(&connection, "", lines)));
        forepost.await_poll("whole");
        assert_eq!(forepost.plans().len(), 15);
        let test = forepost.verb(&["views", "test", "registrations", "--json"]);
        let seen: Value = serde_json::from_slice(&test.stdout).unwrap();
        assert_eq!(seen["rows"], 15);
        assert_eq!(
            seen["columns"]["wardNo"].as_str().unwrap().to_lowercase(),
            "outpatientdochisuid"
        );
    }
}

#[test]
fn a_database_that_is_declared_latin1_and_holds_gbk_is_read() {
    let database = Database::start(System::MariaDb);
    his::make(&database, "his", "View_Register_Info", Some("latin1"));
    let mut registrations = his::registrations(40);
    let latin = |one: &mut Value| {
        for key in ["patientName", "patientSex", "outpatientDeptName", "outpatientDocName"] {
            one[key] = Value::String(String::new());
        }
    };
    let chinese = registrations.clone();
    registrations.iter_mut().for_each(latin);
    his::insert(&database, "his", 0, &registrations);
    for (id, one) in chinese.iter().enumerate() {
        let name = his::gbk(one["patientName"].as_str().unwrap());
        let (sex, department) = (his::gbk(one["patientSex"].as_str().unwrap()), his::gbk("心内科"));
        let set =
            format!("patientName = {name}, patientSex = {sex}, outpatientDeptName = {department}");
        database.sql("his", &format!("UPDATE visits SET {set} WHERE id = {id}"));
    }
    let connection = format!("{};CHARSET=latin1", database.connection("his"));
    let tables = his::tables(&connection, "charset = \"gbk\"", "");
    let forepost = Forepost::start(setup(tables));
    chinese.iter().for_each(|one| forepost.keep_secret(personal(one)));
    forepost.await_poll("whole");
    let plans = forepost.plans();
    assert_eq!(plans.len(), 40);
    let id = plans[&due_at(&chinese[3])]["id"].to_string();
    let shown = forepost.verb(&["plans", "show", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(chinese[3]["patientName"].as_str().unwrap()), "{shown}");
    assert!(shown.contains("心内科"), "{shown}");
}

#[test]
fn rows_that_cannot_be_read_are_parked_and_the_others_go_on() {
    let database = Database::start(System::MariaDb);
    his::make(&database, "his", "View_Register_Info", Some("latin1"));
    let registrations: Vec<Value> = his::registrations(30)
        .into_iter()
        .map(|mut one| {
            for key in ["patientName", "patientSex", "outpatientDeptName", "outpatientDocName"] {
                one[key] = Value::String("WANG".to_owned());
            }
            one
        })
        .collect();
    his::insert(&database, "his", 0, &registrations);
    // Half a character; nothing at all; no way to find the visit again; far too long; not ours.
    for set in [
        "patientName = X'CDF5D0' WHERE id = 1",
        "patientName = NULL WHERE id = 2",
        "outpatientNumber = NULL WHERE id = 3",
        "patientName = REPEAT('A', 1500) WHERE id = 4",
        "hospitalld = '999999' WHERE id = 5",
    ] {
        database.sql("his", &format!("UPDATE visits SET {set}"));
    }
    let connection = format!("{};CHARSET=latin1", database.connection("his"));
    let forepost = Forepost::start(setup(his::tables(&connection, "charset = \"gbk\"", "")));
    registrations.iter().for_each(|one| forepost.keep_secret(personal(one)));
    forepost.await_poll("whole");
    assert_eq!(forepost.plans().len(), 25);
    let listed = forepost.listed();
    assert_eq!((&listed["parked"], &listed["rows"]), (&5.into(), &30.into()));
    let words = listed.to_string();
    for reason in [
        "patientName: broken characters",
        "patientName: missing",
        "outpatientNumber",
        "hospitalld: not a hospital",
    ] {
        assert!(words.contains(reason), "{reason} in {words}");
    }
    for value in registrations.iter().flat_map(personal).filter(|value| value.len() > 8) {
        assert!(!words.contains(&value), "a value in {words}");
    }
    // Parked once, however often they are read; a person's retry tries them again.
    assert_eq!(forepost.metric("view_rows_parked_total"), 5.0);
    assert!(forepost.verb(&["views", "retry", "registrations"]).status.success());
    forepost.await_poll("whole");
    assert_eq!(forepost.metric("view_rows_parked_total"), 10.0);
    // Repaired, deleted: gone from the list.
    database.sql("his", "UPDATE visits SET patientName = 'WANG' WHERE id IN (1, 2, 4)");
    database.sql("his", "DELETE FROM visits WHERE id = 3");
    forepost.await_poll("whole");
    assert_eq!(forepost.plans().len(), 28);
    assert_eq!(forepost.listed()["parked"], 1);
}

#[test]
fn a_preview_masks_what_is_personal() {
    let database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    let registrations = his::registrations(30);
    his::insert(&database, "his", 0, &registrations);
    let forepost = Forepost::start(setup(his::tables(&database.connection("his"), "", "")));
    let output = forepost.verb(&["views", "preview", "registrations", "--rows", "4", "--json"]);
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["first"].as_array().unwrap().len(), 4);
    assert_eq!(seen["first"][0]["outpatientDeptName"], "心内科");
    assert_eq!(seen["first"][0]["outpatientDateTime"], "*".repeat(19));
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    for value in registrations.iter().flat_map(personal) {
        assert!(!words.contains(&value), "{words}");
    }
}

#[test]
fn a_locked_view_is_given_up_and_read_when_the_lock_is_gone() {
    let database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    his::insert(&database, "his", 0, &his::registrations(10));
    let mut lock = database.client("his");
    let mut input = lock.stdin.take().unwrap();
    input.write_all(b"BEGIN; LOCK TABLE visits IN ACCESS EXCLUSIVE MODE;\n").unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'";
    wait_for(LONG, || (database.ask("his", held) != "0").then_some(())).expect("the lock is held");
    let lines = "statement_seconds = 1";
    let forepost = Forepost::start(setup(his::tables(&database.connection("his"), lines, "")));
    forepost.await_that("a poll is given up", || forepost.polls("database") >= 1);
    assert_eq!(forepost.plans().len(), 0);
    assert!(forepost.log().contains("57014"), "the log names the SQLSTATE: {}", forepost.log());
    drop(input);
    lock.wait().unwrap();
    forepost.await_poll("whole");
    assert_eq!(forepost.plans().len(), 10);
}

#[test]
fn a_driver_whose_server_freezes_is_killed_and_the_next_poll_works() {
    let database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    his::insert(&database, "his", 0, &his::registrations(MANY));
    let lines = "statement_seconds = 1\nrows_per_second_max = 2000";
    let forepost = Forepost::start(setup(his::tables(&database.connection("his"), lines, "")));
    forepost.await_that("the poll is under way", || forepost.new_rows() >= 1_000);
    let session = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
                   AND pid <> pg_backend_pid()";
    let session: i32 = database.ask("his", session).parse().expect("one connection");
    // SAFETY: kill takes two numbers; the process is the session of our own server.
    unsafe { libc::kill(session, libc::SIGSTOP) };
    forepost.await_that("the driver is given up", || forepost.polls("deadline") == 1);
    assert!(forepost.new_rows() < u64::from(MANY));
    forepost.await_that("the next poll is whole", || forepost.polls("whole") >= 1);
    assert_eq!(forepost.new_rows(), u64::from(MANY));
    // SAFETY: as above; a frozen session would keep the server from its end.
    unsafe { libc::kill(session, libc::SIGCONT) };
}

#[test]
fn a_statement_that_sleeps_past_the_deadline_is_killed_and_the_next_poll_works() {
    let database = Database::start(System::MariaDb);
    his::make(&database, "his", "visits_view", None);
    his::insert(&database, "his", 0, &his::registrations(3));
    database.sql(
        "his",
        "CREATE TABLE naps(seconds integer); INSERT INTO naps VALUES (30);
         CREATE VIEW View_Register_Info AS SELECT * FROM visits_view
         WHERE (SELECT SLEEP(seconds) FROM naps) = 0;",
    );
    let lines = "statement_seconds = 1";
    let forepost = Forepost::start(setup(his::tables(&database.connection("his"), lines, "")));
    forepost.await_that("a poll is given up", || forepost.metric("view_polls_total") >= 1.0);
    assert_eq!(forepost.polls("whole"), 0);
    assert_eq!(forepost.get("/dicom-web/studies").status, 200, "the daemon goes on");
    database.sql("his", "UPDATE naps SET seconds = 0");
    forepost.await_that("a poll is whole", || forepost.polls("whole") >= 1);
    assert_eq!(forepost.plans().len(), 3);
}

#[test]
fn a_server_that_stops_in_the_middle_of_a_poll_loses_and_doubles_nothing() {
    let mut database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    his::insert(&database, "his", 0, &his::registrations(MANY));
    let lines = "rows_per_second_max = 2000";
    let connection = database.connection("his");
    let forepost = Forepost::start(setup(his::tables(&connection, lines, "")));
    forepost.await_that("the poll is under way", || forepost.new_rows() >= 2_000);
    database.kill();
    forepost.await_that("the poll has failed", || {
        forepost.metric("view_polls_total") as u64 > forepost.polls("whole")
    });
    assert_eq!(forepost.polls("whole"), 0);
    let before = forepost.new_rows();
    assert!(before < u64::from(MANY), "the server stopped in the middle");
    database.restart();
    forepost.await_that("the next poll is whole", || forepost.polls("whole") >= 1);
    assert_eq!(forepost.new_rows(), u64::from(MANY), "what was taken is not taken again");
    assert_eq!(forepost.metric("registrations_kept") as u32, MANY);
}

#[test]
fn two_views_of_one_database_use_one_connection_at_a_time() {
    let database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    his::insert(&database, "his", 0, &his::registrations(2));
    // Slow enough to be seen at work: a quarter of a second a row.
    let view = |name: &str| {
        format!(
            "CREATE VIEW {name} AS SELECT v.*, s.s FROM View_Register_Info v, \
         LATERAL (SELECT pg_sleep(0.25)::text || v.hospitalld AS s) s WHERE s.s <> ''"
        )
    };
    database.sql("his", &format!("{}; {};", view("slow_a"), view("slow_b")));
    let second = "[[views]]\nname = \"second\"\ninterface = \"ic-register-view\"\n\
                  database = \"his\"\nview = \"slow_b\"\ninterval_seconds = 1\n";
    let tables = his::tables(&database.connection("his"), "", "view = \"slow_a\"\n");
    let forepost = Forepost::start(setup(format!("{tables}{second}")));
    let query = "SELECT string_agg(substring(query from 'slow_[ab]'), ',') FROM pg_stat_activity \
                 WHERE state = 'active' AND query LIKE '%FROM slow_%' AND pid <> pg_backend_pid()";
    let (mut a, mut b) = (0, 0);
    forepost.await_that("both were seen at work", || {
        let seen = database.ask("his", query);
        assert!(!seen.contains(','), "two at once: {seen}");
        a += usize::from(seen == "slow_a");
        b += usize::from(seen == "slow_b");
        a >= 5 && b >= 5
    });
    assert_eq!(forepost.metric("view_polls_total") as u64, forepost.polls("whole"));
}

#[test]
fn a_database_is_left_alone_in_its_pause() {
    let database = Database::start(System::Postgres);
    his::make(&database, "his", "View_Register_Info", None);
    his::insert(&database, "his", 0, &his::registrations(2));
    // All of the day but the minute before midnight, and that minute, too.
    let lines = "pause = [\"00:00-23:59\", \"23:58-00:01\"]";
    let forepost = Forepost::start(setup(his::tables(&database.connection("his"), lines, "")));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(forepost.metric("view_polls_total"), 0.0);
    assert_eq!(forepost.plans().len(), 0);
}

#[test]
fn a_password_is_sent_and_told_to_nobody() {
    let database = Database::start(System::MariaDb);
    his::make(&database, "his", "View_Register_Info", None);
    his::insert(&database, "his", 0, &his::registrations(2));
    database.sql(
        "his",
        "CREATE USER forepost@'127.0.0.1' IDENTIFIED BY 'geheim;}x+1'; \
         GRANT SELECT ON his.* TO forepost@'127.0.0.1'",
    );
    let connection = database.connection("his").replace("UID=root", "UID=forepost");
    let lines = "password_file = \"{folder}/his.password\"";
    let more = his::tables(&connection, lines, "");
    let files = vec![("his.password", "geheim;}x+1\n".to_owned())];
    let mut forepost = Forepost::start(Setup { files, ..setup(more) });
    forepost.await_poll("whole");
    assert_eq!(forepost.plans().len(), 2);
    forepost.stop();
    forepost.setup.files = vec![("his.password", "verboten-77".to_owned())];
    forepost.restart();
    forepost.await_that("a wrong password fails", || forepost.polls("database") >= 1);
    let log = forepost.log();
    assert!(!log.contains("geheim") && !log.contains("verboten"), "{log}");
    assert!(log.contains("Access denied"), "{log}");
}

#[test]
fn a_view_that_is_not_there_is_told_with_the_databases_words() {
    let database = Database::start(System::Postgres);
    let forepost = Forepost::start(setup(his::tables(&database.connection("his"), "", "")));
    forepost.await_that("polls fail", || forepost.polls("database") >= 1);
    let log = forepost.log();
    assert!(log.contains("42P01") && log.contains("view_register_info"), "{log}");
    let output = forepost.verb(&["views", "test", "registrations"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(forepost.listed()["outcome"], "database");
    forepost.accept(&Patient::new(1).registration(26, 0));
}

/// Plays a flow: keeps what it is given, and fails while it is told to.
struct Keeper {
    takes: Takes,
    failing: AtomicBool,
    given: Mutex<Vec<(Vec<String>, Polled)>>,
}

impl Keeper {
    fn new(takes: Takes, failing: bool) -> Arc<Keeper> {
        let (failing, given) = (AtomicBool::new(failing), Mutex::default());
        Arc::new(Keeper { takes, failing, given })
    }

    fn given(&self) -> Vec<(Vec<String>, Polled)> {
        self.given.lock().unwrap().clone()
    }
}

impl Taker for Keeper {
    fn takes(&self) -> Takes {
        self.takes
    }

    fn take<'a>(&'a self, rows: Vec<CheckedRow>, polled: Polled) -> Work<'a, Vec<RowEnd>> {
        let code = |row: &CheckedRow| row.record.text("deptCode").unwrap().to_owned();
        let codes: Vec<String> = rows.iter().map(code).collect();
        Box::pin(async move {
            let ends = codes.iter().map(|_| RowEnd::Taken).collect();
            self.given.lock().unwrap().push((codes, polled));
            match self.failing.load(Ordering::SeqCst) {
                true => Err(Fault::ours("taker", "told to fail")),
                false => Ok(ends),
            }
        })
    }
}

/// Polls `View_Dept_Info` of `database` for `keeper` while `during` looks on.
fn poll_departments(database: &Database, keeper: &Arc<Keeper>, during: impl FnOnce(&Ledger)) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path(), Keys::new(&[(1, [7; 32])], &[9; 32])).unwrap();
    let interface = catalog::find("ic-dept-view").unwrap();
    let view = ViewOptions {
        name: "departments".to_owned(),
        interface,
        database: "his".to_owned(),
        tables: views::addresses(interface),
        columns: BTreeMap::new(),
        condition: None,
        range: None,
        interval_ms: 200,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let parts = views::Parts {
        ledger: ledger.clone(),
        databases: vec![DatabaseOptions::new("his".to_owned(), database.connection("his"))],
        views: vec![(view, Arc::clone(keeper) as Arc<dyn Taker>)],
        hospitals: vec![Served { code: "123456".to_owned(), mode: Mode::Lenient }],
        overlay: Overlay::default(),
        offset: UtcOffset::china(),
        clock: clock::now,
        reader: ReaderPlace::Program(env!("CARGO_BIN_EXE_forepost").into()),
    };
    let polling = runtime.block_on(async { Views::start(parts) });
    during(&ledger);
    runtime.block_on(polling.stop());
}

fn make_departments(database: &Database, count: usize) {
    let rows: Vec<String> = (0..count).map(|at| format!("('科室{at}', 'D{at}')")).collect();
    database.sql(
        "his",
        &format!(
            "CREATE TABLE View_Dept_Info(deptName varchar(50), deptCode varchar(20));
             INSERT INTO View_Dept_Info VALUES {};",
            rows.join(", ")
        ),
    );
}

#[test]
fn a_dictionary_is_handed_over_whole_and_tells_of_rows_it_lacks() {
    let database = Database::start(System::MariaDb);
    make_departments(&database, 3_000);
    database.sql("his", "UPDATE View_Dept_Info SET deptName = NULL WHERE deptCode = 'D7'");
    let keeper = Keeper::new(Takes::Whole, false);
    poll_departments(&database, &keeper, |ledger| {
        wait_for(LONG, || (keeper.given().len() >= 3).then_some(())).expect("three polls");
        let view = &ledger.views().unwrap()[0];
        assert_eq!((view.parked, view.whole_rows), (1, Some(3_000)));
        database.sql("his", "UPDATE View_Dept_Info SET deptName = '七科' WHERE deptCode = 'D7'");
        let healed = || (ledger.views().unwrap()[0].parked == 0).then_some(());
        wait_for(LONG, healed).expect("a row that is repaired is no longer parked");
    });
    let given = keeper.given();
    assert!(
        given[..3].iter().all(|(codes, polled)| codes.len() == 2_999 && polled.unreadable == 1)
    );
    let (codes, polled) = given.last().unwrap();
    assert_eq!((codes.len(), polled.unreadable), (3_000, 0));
    assert_eq!((given[0].1.was_down, given[0].1.previous_whole), (true, None));
    assert!(given[1].1.previous_whole.is_some());
}

#[test]
fn rows_that_a_flow_did_not_keep_come_again() {
    let database = Database::start(System::MariaDb);
    make_departments(&database, 450);
    let keeper = Keeper::new(Takes::Changes, true);
    poll_departments(&database, &keeper, |ledger| {
        wait_for(LONG, || (keeper.given().len() >= 2).then_some(())).expect("two polls");
        assert_eq!(ledger.views().unwrap()[0].whole_at, None);
        keeper.failing.store(false, Ordering::SeqCst);
        let whole = || ledger.views().unwrap()[0].whole_at;
        let first = wait_for(LONG, whole).expect("a whole poll");
        wait_for(LONG, || (whole() > Some(first)).then_some(())).expect("one more");
    });
    let given = keeper.given();
    let (failed, taken) = given.split_at(given.len() - 3);
    assert!(failed.iter().all(|(codes, _)| *codes == given[0].0), "the same rows each time");
    let taken: Vec<&String> = taken.iter().flat_map(|(codes, _)| codes).collect();
    assert_eq!(taken.len(), 450, "and then each of them once");
    assert!(given.iter().all(|(_, polled)| polled.was_down));
}
