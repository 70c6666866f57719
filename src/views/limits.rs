//! The numbers of this door, each with its unit and its reason.

use std::time::Duration;

/// UTF-16 units or bytes of one value. Fields of the documents hold 256 characters; a longer value
/// is told as such and its row is parked.
pub const VALUE_UNITS_MAX: usize = 1_024;

/// UTF-16 units or bytes of room for a value whose column says that it is shorter: drivers count
/// signs and fractions differently.
pub const VALUE_UNITS_MIN: usize = 64;

/// Display sizes from here on are a driver's word for "unknown" (psqlodbc's MaxVarcharSize is 255).
pub const DISPLAY_SIZE_UNKNOWN: usize = 255;

/// Columns of one statement. The widest view of the documents has 70.
pub const COLUMNS_MAX: usize = 256;

/// Bytes that a reader's buffers for one batch of rows may take.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Rows that a reader fetches at once: past it nothing is gained.
pub const BATCH_ROWS_MAX: usize = 1_000;

/// Bytes of a reader's memory (RLIMIT_DATA). A driver that holds a whole result instead of
/// streaming it runs into this wall in its own process. Our allocator's first reservation of 1 GB
/// counts, and stacks of threads do.
pub const READER_MEMORY_BYTES_MAX: u64 = 3 << 30;

/// Bytes of one line between daemon and reader: [`COLUMNS_MAX`] values as JSON, most of which are
/// far shorter than they may be.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Characters of a database's words that are passed on.
pub const WORDS_CHARACTERS_MAX: usize = 400;

/// Rows of one view. A hospital's day of registrations is 10,000; a view without a date range that
/// keeps everything holds a million after a few months. The hashes of so many take 32 MB.
pub const VIEW_ROWS_MAX: u64 = 2_000_000;

/// Rows of a view that is handed over whole: the largest dictionaries have 20,000 items.
pub const WHOLE_ROWS_MAX: usize = 50_000;

/// New rows that a taker gets at once, and that one commit of their hashes covers.
pub const HANDED_ROWS_MAX: usize = 200;

/// Hashes that one commit forgets.
pub const FORGOTTEN_ROWS_MAX: usize = 1_000;

/// Rows of one view that may be parked. Past it the poll fails: more are unreadable for one reason,
/// which is the charset or a column's name.
pub const PARKED_ROWS_MAX: u64 = 10_000;

/// Seconds in which a connection or a statement must answer, and between two rows, by default.
pub const STATEMENT_SECONDS: u32 = 60;

/// How much longer than the database a reader is given, so that a database that keeps its own
/// limit ends the statement itself; then the reader is killed.
pub const READER_GRACE: Duration = Duration::from_secs(3);

/// How long a reader may take to disconnect when its orders have ended.
pub const DISCONNECT_WAIT: Duration = Duration::from_secs(1);

/// How long one poll may take in all: two million rows at a pace of 400 a second.
pub const POLL_WAIT: Duration = Duration::from_secs(5_000);

/// Seconds between two polls of a view, by default.
pub const INTERVAL_SECONDS: i64 = 60;

const _: () = assert!(DISCONNECT_WAIT.as_secs() < READER_GRACE.as_secs());
const _: () = assert!(VALUE_UNITS_MIN <= DISPLAY_SIZE_UNKNOWN);
const _: () = assert!(DISPLAY_SIZE_UNKNOWN <= VALUE_UNITS_MAX);
const _: () = assert!(WHOLE_ROWS_MAX as u64 <= VIEW_ROWS_MAX);
const _: () = assert!(BATCH_BYTES_MAX / (COLUMNS_MAX * VALUE_UNITS_MAX * 4) >= 1, "a row fits");
