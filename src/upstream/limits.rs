//! The numbers of this door, each with its unit and its reason.

use std::time::Duration;

/// Bytes that are still read behind the last delimiter so that the connection can be used again.
/// An epilogue that is longer costs the peer its connection.
pub const EPILOGUE_BYTES_MAX: usize = 64 << 10;

/// How long that reading may take: past it a new connection is the cheaper one.
pub const EPILOGUE_WAIT: Duration = Duration::from_millis(500);

/// Bytes of one page of a search answer. A row takes about 1.5 KB, so [`MANIFEST_PAGE_ROWS`] rows
/// take 750 KB; the rest is for servers that disregard `limit`.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Bytes of a hospital's whole dictionary: [`crate::limits::DICTIONARY_ROWS_MAX`] rows of 400
/// bytes, and half as much again for those who indent.
pub const DICTIONARY_BYTES_MAX: usize = 64 << 20;

/// JSON values of such an answer: eight fields a row by the document, two more for a vendor's own.
pub const DICTIONARY_NODES_MAX: usize = 12 * crate::limits::DICTIONARY_ROWS_MAX;

/// Rows asked for per page of a study search: one patient has rarely more studies.
pub const SEARCH_PAGE_ROWS: usize = 100;

/// Rows asked for per page of a manifest: a thin-slice CT series fits, and a server that reads its
/// files to answer begins within seconds.
pub const MANIFEST_PAGE_ROWS: usize = 500;

/// Studies of one patient that one source may announce; what is beyond is not read.
pub const STUDIES_MAX: usize = 1_000;

/// Instances of one study. Beyond it a study is not fetched: half a manifest would pass for whole.
/// The largest studies in practice (cine MR, breast tomosynthesis in single frames) have 10,000.
pub const INSTANCES_MAX: usize = 20_000;

/// Pages of one search or manifest, for servers whose pages are smaller than asked.
pub const PAGES_MAX: usize = 250;

/// Values read of one element; of those that are read, Modalities in Study has the most.
pub const VALUES_MAX: usize = 32;

/// Bytes of one value. The longest that is read is a Retrieve URL; a PN has 3 × 64 characters.
/// A longer value counts as absent: cut, it would mean something else.
pub const VALUE_BYTES_MAX: usize = 4 << 10;

/// Levels of JSON within a row that are read: element, list, item, element, list, PN groups. What
/// lies deeper is skipped without recursion.
pub const LEVELS_MAX: usize = 7;

/// Name, address, TCP and TLS together.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// From the request to the status line: an archive may first have to look for its files.
pub const HEAD_WAIT: Duration = Duration::from_secs(30);

/// Between two pieces of a body.
pub const IDLE_WAIT: Duration = Duration::from_secs(30);

/// All pages of a search or of a manifest.
pub const SEARCH_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that a peer may ask for by `Retry-After`: one hour. A plan's deadline is the
/// visit, so a peer does not get to put it off until tomorrow.
pub const RETRY_AFTER_MS_MAX: i64 = 3_600_000;

/// Bytes a second that a peer must send on average while it is waited for, over [`IDLE_WAIT`].
/// Below it a CT slice takes nine minutes: such a peer holds a place among the parallel requests
/// that another one could use. Time that our own disk or pace takes does not count.
pub const RATE_FLOOR_BYTES: u64 = 1 << 10;

/// Idle connections are closed after this time: shorter than the 60 s that most gateways keep them,
/// so that a request is not sent into a connection that is being closed.
pub const POOL_IDLE_WAIT: Duration = Duration::from_secs(50);

/// Bytes of one object: an uncompressed tomosynthesis volume or a cine loop takes up to 2 GB.
pub const OBJECT_BYTES_MAX: u64 = 4 << 30;

/// Bytes below which pieces of an object are joined before they go into the lane. The HTTP library
/// cuts a body without length or chunks (Orthanc's studies) into pieces of 8 KB, and waking the
/// keeper for each costs more than copying them together.
pub const PIECE_BYTES_MIN: usize = 64 << 10;

/// Time whose share of bytes may be caught up after a pause: long enough for a late timer of a busy
/// machine, too short to be seen as a burst on a hospital's line.
pub const PACE_CATCH_UP: Duration = Duration::from_millis(50);

/// Series of one study. The largest studies of hybrid scanners have about 200.
pub const SERIES_MAX: usize = 2_000;

/// Bytes of the answer to a request for a token: some lines of JSON.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Characters of a token. The document allows 256; signed tokens of other platforms take a few KB.
pub const TOKEN_CHARACTERS_MAX: usize = 4 << 10;

/// Milliseconds after a failed renewal in which no other is tried: a platform that is down is not
/// asked by every delivery that waits.
pub const TOKEN_PAUSE_MS: i64 = 2_000;

/// Milliseconds after a refusal's renewal in which another refusal renews nothing.
pub const TOKEN_REFUSED_MS: i64 = 30_000;

/// How long an association that did its work is kept for the next request of the same fetch. Peers
/// end idle ones after 10 s at the earliest.
pub const PARK_WAIT: Duration = Duration::from_secs(5);

/// Instances whose classes are remembered between the list of a series and its retrieval: two of
/// the largest studies, 6 MB.
pub const LISTED_MAX: usize = 2 * INSTANCES_MAX;

/// How long they are remembered: from a fetch's beginning to its end, and not until an archive has
/// taken in more.
pub const LISTED_WAIT: Duration = Duration::from_secs(600);

const _: () = assert!(TOKEN_CHARACTERS_MAX < TOKEN_ANSWER_BYTES_MAX);
const _: () = assert!(SEARCH_PAGE_ROWS <= STUDIES_MAX);
const _: () = assert!(SEARCH_PAGE_ROWS * PAGES_MAX >= SERIES_MAX);
const _: () = assert!(MANIFEST_PAGE_ROWS * PAGES_MAX >= INSTANCES_MAX);
const _: () = assert!(ANSWER_BYTES_MAX / MANIFEST_PAGE_ROWS > VALUE_BYTES_MAX);
const _: () = assert!(HEAD_WAIT.as_secs() < SEARCH_WAIT.as_secs());
