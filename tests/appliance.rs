//! The appliance, seen from outside: the real binary between a HIS that pushes and archives that
//! answer, well or badly. The archive is a real Orthanc, dcmqrscp or pynetdicom; what is served
//! is read by Python's dicomweb-client and by DCMTK. Every test has its own processes, ports and
//! folders.
//!
//! Start reading at `support/forepost.rs`, then `appliance/chain.rs`.

#![allow(clippy::unwrap_used, reason = "the whole crate is tests; a failed unwrap is a failure")]

mod support;

#[path = "appliance/audit.rs"]
mod audit;
#[path = "appliance/backup.rs"]
mod backup;
#[path = "appliance/campaign.rs"]
mod campaign;
#[path = "appliance/chain.rs"]
mod chain;
#[path = "appliance/ciphers.rs"]
mod ciphers;
#[path = "appliance/clouds.rs"]
mod clouds;
#[path = "appliance/deliveries.rs"]
mod deliveries;
#[path = "appliance/demo.rs"]
mod demo;
#[path = "appliance/dictionaries.rs"]
mod dictionaries;
#[path = "appliance/dimse.rs"]
mod dimse;
#[path = "appliance/doctor.rs"]
mod doctor;
#[path = "appliance/doors.rs"]
mod doors;
#[path = "appliance/every_way.rs"]
mod every_way;
#[path = "appliance/eviction.rs"]
mod eviction;
#[path = "appliance/frames.rs"]
mod frames;
#[path = "appliance/full.rs"]
mod full;
#[path = "appliance/host.rs"]
mod host;
#[path = "appliance/keys.rs"]
mod keys;
#[path = "appliance/launcher.rs"]
mod launcher;
#[path = "appliance/load.rs"]
mod load;
#[path = "appliance/model.rs"]
mod model;
#[path = "appliance/opening.rs"]
mod opening;
#[path = "appliance/ordered.rs"]
mod ordered;
#[path = "appliance/patients.rs"]
mod patients;
#[path = "appliance/power.rs"]
mod power;
#[path = "appliance/pushing.rs"]
mod pushing;
#[path = "appliance/queue.rs"]
mod queue;
#[path = "appliance/register.rs"]
mod register;
#[path = "appliance/reload.rs"]
mod reload;
#[path = "appliance/screens.rs"]
mod screens;
#[path = "appliance/setup_verb.rs"]
mod setup_verb;
#[path = "appliance/simulate.rs"]
mod simulate;
#[path = "appliance/stow.rs"]
mod stow;
#[path = "appliance/upgrading.rs"]
mod upgrading;
#[path = "appliance/verification.rs"]
mod verification;
#[path = "appliance/views.rs"]
mod views;
#[path = "appliance/workstation.rs"]
mod workstation;
