//! Campaigns: the appliance dies again and again, by SIGKILL or by a power cut of its disk, and
//! what it promised must still hold. FOREPOST_CAMPAIGN_SECONDS says for how long,
//! FOREPOST_CAMPAIGN_SEED repeats one.
//!
//! The promises: every acknowledged registration is there; every plan ends; no instance is listed
//! that is not whole and readable, byte by byte what its study was made of. What is promised of
//! settlements stands in `settling.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cloud::{Act, Cloud};
use crate::support::evidence::{self, campaign_seed, campaign_time};
use crate::support::forepost::{Forepost, REGISTER};
use crate::support::orthanc::Orthanc;
use crate::support::patient::{Patient, due_at, personal};
use crate::support::setup::Setup;
use crate::support::study::Study;
use crate::support::{Dice, wait_for};

#[path = "settling.rs"]
mod settling;

/// Fewer kills than this prove nothing.
const KILLS_MIN: u32 = 40;
/// People with a study in the archive. Registrations beyond them want the same studies again.
const PEOPLE: u32 = 60;
/// Studies that are lost between two rounds.
const LOST_A_ROUND: usize = 8;
/// How long all plans may take to end once nobody kills any more.
const END_WAIT: Duration = Duration::from_secs(120);

/// What a campaign has done and seen.
struct Campaign {
    seed: u64,
    dice: Dice,
    people: Vec<Patient>,
    /// Every object of every study, by its SOP Instance UID.
    objects: BTreeMap<String, Vec<u8>>,
    studies: Vec<String>,
    cloud: Cloud,
    _orthanc: Orthanc,
    settling: settling::Settling,
    /// Registrations that were acknowledged, by the moment of their visit, as last sent.
    acknowledged: BTreeMap<i64, Value>,
    /// Visits whose last message was sent and not answered: it may have been kept or not.
    unanswered: BTreeSet<i64>,
    sent: u32,
    rounds: u32,
    /// Rounds whose end found an object half written.
    while_arriving: u32,
    /// What lay half written after the last blow.
    half_written: BTreeSet<PathBuf>,
    instances_read: u64,
    name: &'static str,
    began: Instant,
}

impl Campaign {
    /// An archive with a study for everybody, behind a cloud that now and then breaks off.
    fn new(name: &'static str) -> Campaign {
        let seed = campaign_seed();
        let people: Vec<Patient> = (600..600 + PEOPLE).map(Patient::new).collect();
        let orthanc = Orthanc::start();
        let mut objects = BTreeMap::new();
        let mut studies = Vec::new();
        for (at, person) in people.iter().enumerate() {
            let series = vec![8 + at % 5, 24];
            let study = Study { series, side: 64, ..Study::of(person, 60_000 + at as u64) };
            orthanc.store(&study);
            studies.push(study.uid());
            objects.extend(study.objects().into_iter().map(|object| (object.sop, object.bytes)));
        }
        let cloud = Cloud::before(&orthanc);
        let mut dice = Dice::new(seed ^ 0xc10d);
        cloud.behave(move |asked| match dice.below(40) {
            0 => Act::status(500),
            1 if asked.retrieves() => Act::Cut(20_000),
            _ => Act::Pass,
        });
        Campaign {
            seed,
            dice: Dice::new(seed),
            people,
            objects,
            studies,
            cloud,
            _orthanc: orthanc,
            settling: settling::Settling::new(seed),
            acknowledged: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            sent: 0,
            rounds: 0,
            while_arriving: 0,
            half_written: BTreeSet::new(),
            instances_read: 0,
            name,
            began: Instant::now(),
        }
    }

    fn setup(&self) -> Setup {
        // Slow enough that a study is still arriving when the blow falls.
        let key = "[[source.patient_key]]";
        let slow = format!("kilobytes_per_second_max = 2000\n{key}");
        let source = self.cloud.source("region").replace(key, &slow);
        let more = self.settling.destination();
        Setup { log: "info", more, ..Setup::with(&[source]) }
    }

    /// The next message of a HIS: mostly a new visit, else one sent again, cancelled or seen.
    fn next_message(&mut self) -> Value {
        let known: Vec<i64> = self.acknowledged.keys().copied().collect();
        if known.is_empty() || self.dice.below(10) < 6 {
            let person = &self.people[self.dice.below(u64::from(PEOPLE)) as usize];
            self.sent += 1;
            return person.registration(24, i64::from(self.sent) * 5);
        }
        let visit = known[self.dice.below(known.len() as u64) as usize];
        let mut again = self.acknowledged[&visit].clone();
        match self.dice.below(4) {
            0 => again["quitType"] = json!("1"),
            1 => again["outpatientType"] = json!("1"),
            2 => {
                again["quitType"] = json!("0");
                again["outpatientType"] = json!("0");
            }
            _ => {}
        }
        again
    }

    /// Pushes until `stop`, or until the appliance no longer answers.
    fn push_until(&mut self, forepost: &Forepost, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let message = self.next_message();
            let visit = due_at(&message);
            forepost.keep_secret(personal(&message));
            let json = [("Content-Type", "application/json")];
            let reply = forepost.try_ask("POST", REGISTER, &json, message.to_string().as_bytes());
            match reply {
                // After the blow no answer would leave a real machine. The simulated one still
                // speaks, and a sync that the cut overtook may look as if it had succeeded.
                Ok(_) if stop.load(Ordering::SeqCst) => {
                    self.unanswered.insert(visit);
                }
                Ok(reply) if reply.status == 200 && reply.json()["code"] == 200 => {
                    self.unanswered.remove(&visit);
                    self.acknowledged.insert(visit, message);
                }
                // Dying: neither a yes nor a no.
                Ok(_) | Err(_) => {
                    self.unanswered.insert(visit);
                    if forepost.try_ask("GET", "/", &[], b"").is_err() {
                        return;
                    }
                }
            }
            self.settling.push(forepost, stop);
            std::thread::sleep(Duration::from_millis(2 + self.dice.below(15)));
        }
    }

    /// Every acknowledged registration has its plan.
    fn check_registrations(&self, forepost: &Forepost) {
        let plans = forepost.plans();
        for (visit, message) in &self.acknowledged {
            let plan = plans.get(visit);
            let plan = plan.unwrap_or_else(|| panic!("visit {visit} was acknowledged and is lost"));
            if self.unanswered.contains(visit) {
                continue;
            }
            let expected = match (message["quitType"] == "1", message["outpatientType"] == "1") {
                (true, _) => Some("cancelled"),
                (false, true) => Some("over"),
                (false, false) => None,
            };
            let state = plan["state"].as_str().unwrap_or_default();
            match expected {
                Some(expected) => assert_eq!(state, expected, "visit {visit}: {plan}"),
                None => assert!(!["cancelled", "over"].contains(&state), "visit {visit}: {plan}"),
            }
        }
        assert!(plans.len() <= self.acknowledged.len() + self.unanswered.len());
    }

    /// What is listed of these studies is whole, readable and right.
    fn check_objects(&mut self, forepost: &Forepost, studies: &[String]) {
        for study in studies {
            let rows = forepost.qido(&format!("/studies/{study}/instances?limit=1000"));
            for row in rows {
                let text = |tag: &str| row[tag]["Value"][0].as_str().expect("a UID").to_owned();
                let (series, sop) = (text("0020000E"), text("00080018"));
                let target = format!("/dicom-web/studies/{study}/series/{series}/instances/{sop}");
                let accept = [("Accept", "application/dicom")];
                let reply = forepost.ask("GET", &target, &accept, b"");
                assert_eq!(reply.status, 200, "{sop} is listed and cannot be read");
                assert!(self.objects[&sop] == reply.body, "{sop} is listed and not as it was made");
                self.instances_read += 1;
            }
        }
    }

    fn some_studies(&mut self, number: usize) -> Vec<String> {
        let all = self.studies.len() as u64;
        (0..number).map(|_| self.studies[self.dice.below(all) as usize].clone()).collect()
    }

    /// Nobody kills any more: every plan ends, and everything holds.
    fn check_end(&mut self, forepost: &mut Forepost) {
        self.cloud.behave(|_| Act::Pass);
        let open = |forepost: &Forepost| -> Vec<Value> {
            let ended = ["ready", "not ready", "cancelled", "over"];
            let plans = forepost.plans().into_values();
            plans.filter(|plan| !ended.contains(&plan["state"].as_str().unwrap())).collect()
        };
        let ended = wait_for(END_WAIT, || open(forepost).is_empty().then_some(()));
        assert!(ended.is_some(), "plans that do not end: {:#?}", open(forepost));
        self.check_registrations(forepost);
        let all = self.studies.clone();
        self.check_objects(forepost, &all);
        let unready: Vec<Value> =
            forepost.plans().into_values().filter(|plan| plan["state"] == "not ready").collect();
        assert!(unready.is_empty(), "every study could be had in the end: {unready:#?}");
        self.check_ready(forepost);
        self.settling.check_end(forepost);
        assert_eq!(forepost.stop().code(), Some(0));
        let verify = forepost.verb(&["cache", "verify", "--json"]);
        assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    }

    /// Ready means that every instance is here.
    fn check_ready(&self, forepost: &Forepost) {
        let plans = forepost.plans();
        let ready = self.acknowledged.iter().filter(|(visit, _)| plans[visit]["state"] == "ready");
        let wanted: BTreeSet<&str> =
            ready.filter_map(|(_, message)| message["idCardNo"].as_str()).collect();
        for (person, study) in self.people.iter().zip(&self.studies) {
            if wanted.contains(person.id_card.as_str()) {
                let here = forepost.qido(&format!("/studies/{study}/instances?limit=1000")).len();
                let made = self.objects.keys().filter(|sop| sop.starts_with(study)).count();
                assert_eq!(here, made, "a plan is ready and {study} is not whole");
            }
        }
    }

    /// Whether it has to go on.
    fn goes_on(&self, rounds_min: u32) -> bool {
        self.began.elapsed() < campaign_time() || self.rounds < rounds_min
    }

    /// What a blow left half done; and some studies are lost altogether, so that studies arrive
    /// in every round.
    fn count_and_lose(&mut self, forepost: &Forepost) {
        let arriving = |path: &PathBuf| path.components().any(|one| one.as_os_str() == "arriving");
        let files = forepost.files().into_iter().filter(|path| path.is_file() && arriving(path));
        let half: BTreeSet<PathBuf> = files.collect();
        self.while_arriving += u32::from(half.difference(&self.half_written).next().is_some());
        self.half_written = half;
        for study in self.some_studies(LOST_A_ROUND) {
            let _ = std::fs::remove_dir_all(forepost.study_folder(&study));
        }
    }

    /// Looks whether everything holds after a restart.
    fn check_round(&mut self, forepost: &Forepost) {
        self.rounds += 1;
        self.check_registrations(forepost);
        self.settling.check_round(forepost);
        let some = self.some_studies(4);
        self.check_objects(forepost, &some);
    }
}

impl Drop for Campaign {
    /// The evidence of a failed campaign is worth as much as that of another.
    fn drop(&mut self) {
        let failures = u32::from(std::thread::panicking());
        let mut rows = vec![
            ("seed", self.seed.to_string()),
            ("rounds", self.rounds.to_string()),
            ("rounds that ended while an object was half written", self.while_arriving.to_string()),
            ("seconds", self.began.elapsed().as_secs().to_string()),
            ("visits acknowledged", self.acknowledged.len().to_string()),
            ("visits without an answer to their last message", self.unanswered.len().to_string()),
            ("instances read and compared", self.instances_read.to_string()),
        ];
        rows.extend(self.settling.rows());
        rows.push(("failures", failures.to_string()));
        evidence::write(self.name, &rows);
    }
}

#[test]
fn campaign_kill() {
    let mut campaign = Campaign::new("campaign_kill");
    let mut forepost = Forepost::start(campaign.setup());
    while campaign.goes_on(KILLS_MIN) {
        let life = Duration::from_millis(30 + campaign.dice.below(900));
        let stop = AtomicBool::new(false);
        let pid = forepost.process_id();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(life);
                // SAFETY: kill takes two numbers; the process is our own child, not yet waited for.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                stop.store(true, Ordering::SeqCst);
            });
            campaign.push_until(&forepost, &stop);
        });
        forepost.kill();
        campaign.count_and_lose(&forepost);
        forepost.restart();
        campaign.check_round(&forepost);
    }
    campaign.check_end(&mut forepost);
    assert!(campaign.while_arriving > 0, "no blow ever fell while an object was half written");
}

#[test]
fn campaign_power_cut() {
    // A night's ledger must not bring the disk to the floor at which fetches wait.
    let Some(mut disk) = crate::power::Disk::of(4 << 30) else {
        println!("skipped: a power cut needs root and loop devices, and this machine gives none");
        return;
    };
    let mut campaign = Campaign::new("campaign_power_cut");
    disk.mount();
    let setup = Setup { data: Some(disk.folder().join("data")), ..campaign.setup() };
    let mut forepost = Forepost::start(setup);
    while campaign.goes_on(crate::power::CUTS_MIN) {
        let life = Duration::from_millis(100 + campaign.dice.below(2_500));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(life);
                stop.store(true, Ordering::SeqCst);
                disk.cut();
            });
            campaign.push_until(&forepost, &stop);
        });
        forepost.kill();
        disk.come_back();
        campaign.count_and_lose(&forepost);
        forepost.restart();
        campaign.check_round(&forepost);
    }
    campaign.check_end(&mut forepost);
}
