//! `forepost doctor`: whether this machine and everybody it talks to are in order, and what to do
//! where they are not.
//!
//! What for: an engineer of the hospital runs it when something does not work, `setup` runs its
//! checks on each answer, and the daemon runs it daily for the health page. What always holds: a
//! check changes nothing, sends no record and nothing personal, and ends within its limit; checks
//! run side by side, and their findings stand in the order of the configuration; a step that was
//! not reached is not told. Refused: guessing behind a fault; what a peer said is shown as it is.
//! Start at [`all`].

use std::path::Path;

use crate::config::{Config, SourceOptions, Zone};
pub use crate::model::{Finding, FindingState as State, Measured, Words};
use crate::model::{Time, UtcOffset};
use crate::prefetch::eviction::Marks;
use crate::upstream::{DestinationOptions, DictionaryOptions};
use crate::views::{DatabaseOptions, ViewOptions};

/// A `[[source]]`: name, connection, certificate, credentials, one search for a UID that nobody
/// has. Who pushes is called by nobody and is only named.
pub async fn source(options: &SourceOptions, now: Time) -> Vec<Finding> {
    let _ = (options, now);
    Vec::new()
}

/// A `[[destination]]`: name, connection, certificate, token. Nothing is delivered.
pub async fn destination(options: &DestinationOptions, now: Time) -> Vec<Finding> {
    let _ = (options, now);
    Vec::new()
}

/// A `[[dictionary_source]]`: name, connection, certificate, its dictionary read and dropped.
pub async fn dictionary_source(options: &DictionaryOptions, now: Time) -> Vec<Finding> {
    let _ = (options, now);
    Vec::new()
}

/// A `[[databases]]` with those of the views that are its own: connection, and one count a view.
pub async fn database(
    options: &DatabaseOptions,
    views: &[ViewOptions],
    now: Time,
    offset: UtcOffset,
) -> Vec<Finding> {
    let _ = (options, views, now, offset);
    Vec::new()
}

/// A zone of our own, `hospital`, `cloud` or `console`: the addresses are this machine's, their
/// ports free or ours, the certificate good.
pub async fn zone(name: &str, zone: &Zone, now: Time) -> Vec<Finding> {
    let _ = (name, zone, now);
    Vec::new()
}

/// The machine's clock: believed, kept by somebody, and how far from the time server's.
pub async fn clock(time_server: Option<&str>, now: Time) -> Vec<Finding> {
    let _ = (time_server, now);
    Vec::new()
}

/// The disk below a folder: room against the marks, inodes, mode, owner, one synced file.
pub async fn disk(folder: &Path, marks: &Marks) -> Vec<Finding> {
    let _ = (folder, marks);
    Vec::new()
}

/// The ledger and its keys in the folder `data`, read beside a running service.
pub async fn ledger(data: &Path) -> Vec<Finding> {
    let _ = data;
    Vec::new()
}

/// Everything that the configuration names, in its order.
pub async fn all(config: &Config, now: Time) -> Vec<Finding> {
    let _ = (config, now);
    Vec::new()
}
