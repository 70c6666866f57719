//! The numbers of this door, each with its unit and its reason.

use std::time::Duration;

use crate::limits::{QIDO_RESULTS_DEFAULT, QIDO_RESULTS_MAX};

/// Bytes of an object read at once where they pass through memory. One piece is on its way to the
/// socket while the next is read, so a request holds two, whatever the size of the study.
pub const PIECE_BYTES: usize = 256 << 10;

/// Bytes of a mapped object given to the connection at once. They take no memory of ours; the bound
/// keeps the question whether the kernel has them short (a byte a page).
pub const MAPPED_PIECE_BYTES: usize = 4 << 20;

/// Bytes of metadata after which a piece of the answer is full. A CT slice takes 4 KB, so most
/// studies are answered in a few pieces; an enhanced object may pass it alone.
pub const METADATA_PIECE_BYTES: usize = 512 << 10;

/// Bytes of a matching key's value. A person's name has at most 64 characters a component group
/// (PS3.5, 6.2); longer patterns with wildcards would only cost time.
pub const KEY_BYTES_MAX: usize = 256;

/// UIDs in one key, or values in one list: 64 KB of URL.
pub const LIST_VALUES_MAX: usize = 1_000;

/// How long the first instance of a study that is fetched for its reader may take. Browsers and
/// proxies give up after 60 s; the fetch goes on all the same, for the next try.
pub const FIRST_WAIT: Duration = Duration::from_secs(30);

/// Frames in one request: a list of five digits each stays within the head that the listener takes,
/// and no cine is longer.
pub const FRAME_NUMBERS_MAX: usize = 4_096;

/// Parameters of one query.
pub const PARAMETERS_MAX: usize = 256;

/// SOP Instance UIDs in a search that names no study. Each may ask every study folder, which
/// takes about 50 ms where there are 48,000.
pub const LOOSE_INSTANCES_MAX: usize = 16;

/// Studies whose series are asked for at once: a search ends soon after its page is full.
pub const STUDIES_AT_ONCE: usize = 64;

/// Warnings in one answer: a head stays far below what proxies accept (8 KB).
pub const WARNINGS_MAX: usize = 8;

/// Media ranges of one request that are looked at.
pub const MEDIA_RANGES_MAX: usize = 64;

/// How long a sender may be silent in the middle of its body.
pub const SENDER_WAIT: Duration = Duration::from_secs(30);

/// Bytes that must have come whenever a sender has been waited for that long: 1 KB a second. Below
/// it a CT slice takes nine minutes, and a place among the senders is held for nothing. The time
/// that our own disk takes does not count.
pub const SENDER_BYTES_MIN: u64 = 30 << 10;

/// Bytes below which pieces of an object are joined before they go to the disk: a TLS record or a
/// chunk may be small, and waking the disk's thread for each costs more than copying.
pub const STORE_PIECE_BYTES_MIN: usize = 64 << 10;

const _: () = assert!(PIECE_BYTES <= MAPPED_PIECE_BYTES);
const _: () = assert!(STUDIES_AT_ONCE <= QIDO_RESULTS_DEFAULT);
const _: () = assert!(LIST_VALUES_MAX <= QIDO_RESULTS_MAX);
const _: () = assert!(LOOSE_INSTANCES_MAX <= LIST_VALUES_MAX);
