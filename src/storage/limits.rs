//! The numbers of this flow, each with its unit and its reason.

use std::time::Duration;

/// Senders at once; past it they are asked to come again. Each may hold [`UNSETTLED_MAX`] files
/// open and a thread; sixteen fill the disk of any machine that this runs on.
pub const SENDERS_MAX: usize = 16;

/// Pieces between a door and the disk for one sender: about 1 MB of read buffers.
pub const PIECES_MAX: usize = 16;

/// Objects of one request. The largest studies in practice (cine MR, tomosynthesis in single
/// frames) have 10,000; the answer to so many takes about 6 MB.
pub const OBJECTS_MAX: usize = 20_000;

/// Objects of one sender whose fate is not known yet: two batches of the cache, so that one is
/// filled while the other is synced.
pub const UNSETTLED_MAX: usize = 64;

/// Broken objects of one request that the log hears of; all are counted.
pub const REFUSALS_SAID_MAX: u32 = 16;

/// Objects of one sender that go to the shelf of their study together: a batch of the cache.
pub const SHELF_MAX: usize = forepost_cache::limits::BATCH_INSTANCES;

/// Such bundles that wait at one shelf, of all senders of the study; then they wait themselves.
pub const SHELF_WAITING_MAX: usize = SENDERS_MAX;

/// Milliseconds without anything new after which a pushed study counts as complete for now.
/// Archives send a study in many requests, one behind the other; what comes later is counted again.
pub const PUSH_QUIET_MS: i64 = 3_000;

/// Pause between two looks for studies that have become quiet.
pub const PUSH_LOOK: Duration = Duration::from_millis(500);

/// Pause between two looks at a study that somebody else holds.
pub const STUDY_LOOK: Duration = Duration::from_millis(50);

/// Such looks: 20 s. A source's fetch may hold a study for longer than a sender waits, who is told
/// to come again.
pub const STUDY_LOOKS_MAX: u32 = 400;

const _: () = assert!(2 * SHELF_MAX <= UNSETTLED_MAX, "the oldest object is on its shelf");
const _: () = assert!(SENDERS_MAX * UNSETTLED_MAX <= 1024, "descriptors stay few");
