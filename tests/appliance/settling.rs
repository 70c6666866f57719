//! Settlements beside the registrations of a campaign, taken by a platform that misbehaves.
//!
//! The promises: the newest content of every acknowledged settlement comes to the platform; of one
//! settlement nothing older comes behind something newer; the sums of the ledger hold after every
//! blow; the evidence is whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::deliveries::hasten;
use crate::queue::verify;
use crate::support::Dice;
use crate::support::forepost::Forepost;
use crate::support::platform::{Platform, Weather, settlement};

/// The versions of a settlement, from 1.
#[derive(Default, Clone, Copy)]
struct Versions {
    /// The newest that was sent.
    sent: u32,
    /// The newest that was acknowledged; 0 none.
    acknowledged: u32,
}

/// The settlements of a campaign.
pub struct Settling {
    platform: Platform,
    dice: Dice,
    settlements: Vec<Versions>,
}

impl Settling {
    pub fn new(seed: u64) -> Settling {
        let platform = Platform::start();
        let mut weather = Dice::new(seed ^ 0x5e77);
        platform.behave(move |_| match weather.below(24) {
            0 => Weather::status(503),
            1 => Weather::code(json!(500)),
            2 => Weather::Breaks,
            3 => Weather::Half,
            4 => Weather::Hangs,
            _ => Weather::Fair,
        });
        Settling { platform, dice: Dice::new(seed ^ 0x5e78), settlements: Vec::new() }
    }

    /// The `[[destination]]` that leads to the platform.
    pub fn destination(&self) -> String {
        self.platform.for_settlements()
    }

    /// Pushes one: mostly a new one, else a newer version of an earlier one.
    pub fn push(&mut self, forepost: &Forepost, stop: &AtomicBool) {
        let known = self.settlements.len() as u64;
        let number = match known > 0 && self.dice.below(10) < 4 {
            // The last ones are still on their way.
            true => known - 1 - self.dice.below(known.min(20)),
            false => {
                self.settlements.push(Versions::default());
                known
            }
        } as usize;
        let versions = &mut self.settlements[number];
        versions.sent += 1;
        let reply = forepost.try_settle(&body(number, versions.sent));
        // As with registrations: after the blow an answer would not leave a real machine.
        let lives = !stop.load(Ordering::SeqCst);
        if lives && reply.is_ok_and(|reply| reply.status == 200 && reply.json()["code"] == 200) {
            versions.acknowledged = versions.sent;
        }
    }

    /// The sums hold after every blow.
    pub fn check_round(&self, forepost: &Forepost) {
        for one in forepost.queue()["interfaces"].as_array().expect("interfaces are a list") {
            assert_eq!(one["holds"], true, "{one}");
        }
    }

    /// Nobody kills any more, and the platform takes what comes: everything arrives.
    pub fn check_end(&self, forepost: &Forepost) {
        self.platform.behave(|_| Weather::Fair);
        hasten(forepost);
        for (number, versions) in self.settlements.iter().enumerate() {
            let held = self.platform.holds(&body(number, 0)).map_or(0, |body| version(&body));
            let (acknowledged, sent) = (versions.acknowledged, versions.sent);
            assert!(
                (acknowledged..=sent).contains(&held),
                "of settlement {number} version {acknowledged} was acknowledged and {sent} sent; \
                 the platform has {held}"
            );
        }
        let mut newest: BTreeMap<String, u32> = BTreeMap::new();
        for came in self.platform.bodies() {
            let number = came["setlId"].as_str().expect("settlements have it").to_owned();
            let before = newest.entry(number).or_default();
            assert!(*before <= version(&came), "{came} came behind version {before}");
            *before = version(&came);
        }
        let exported = forepost.verb(&["export", "evidence"]);
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let file = tempfile::NamedTempFile::new().expect("a file for the evidence");
        let verified = verify(file.path(), &String::from_utf8_lossy(&exported.stdout));
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }

    /// What the campaign saw of them.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let acknowledged = self.settlements.iter().filter(|one| one.acknowledged > 0).count();
        let sent: u32 = self.settlements.iter().map(|one| one.sent).sum();
        vec![
            ("settlements acknowledged", acknowledged.to_string()),
            ("contents of settlements sent by the HIS", sent.to_string()),
            ("deliveries that came to the platform", self.platform.came().len().to_string()),
        ]
    }
}

fn body(number: usize, version: u32) -> Value {
    let mut body = settlement(10_000 + number as u32);
    body["medListCodg"] = json!(format!("V{version}"));
    body
}

fn version(body: &Value) -> u32 {
    let text = body["medListCodg"].as_str().expect("settlements have it");
    text[1..].parse().expect("the campaign's own versions")
}
