//! Every number that bounds the cache, with its unit and its reason.

use std::time::Duration;

/// Longest UID in characters (PS3.5 §9.1).
pub const UID_CHARS_MAX: usize = 64;

/// Largest object in bytes. Whole-slide and long cine objects stay below it; a value length in
/// DICOM ends at 4 GiB, and no source of this product holds an object of several such values.
pub const OBJECT_BYTES_MAX: u64 = 16 << 30;

/// First bytes of an arriving object kept in memory for reading its header. A CT header is under
/// 16 KiB; what lies further is read back from the page cache, which costs less than copying
/// whole objects to be ready for the rare long header.
pub const HEAD_BYTES: usize = 64 << 10;

/// Bytes read back at once where a data set goes on beyond [`HEAD_BYTES`].
pub const WINDOW_BYTES: usize = 64 << 10;

/// Bytes read back at once behind the pixels, where only item headers of 8 bytes are wanted.
pub const FRAGMENT_WINDOW_BYTES: usize = 512;

/// Longest text or number value read, in bytes. A longer one is bulk data: a structured report's
/// longest text is well below it, and a length field is only a claim.
pub const VALUE_BYTES_MAX: u32 = 1 << 20;

/// Longest binary value carried inside the metadata, in bytes; longer ones are bulk data, which the
/// metadata only name (PS3.18 §F.2.6 leaves the choice to the server).
pub const INLINE_BYTES_MAX: u32 = 1 << 10;

/// Deepest nesting of sequences read. Structured reports nest about ten deep; without a bound a
/// file of item headers would exhaust the stack.
pub const SEQUENCE_DEPTH_MAX: usize = 32;

/// Most elements read from one object. An enhanced object of 10,000 frames has about a million.
pub const ELEMENTS_MAX: u32 = 8_000_000;

/// Most fragments of encapsulated pixels whose places are told; their list takes 8 MB. A slide of
/// 200,000 by 100,000 pixels has 76,000 tiles of 512.
pub const FRAGMENTS_MAX: usize = 1 << 20;

/// Most fragments whose places are kept in the record and in memory, at 4 and 8 bytes each. Of an
/// object with more they are found again from the file for every question.
pub const FRAGMENTS_KEPT_MAX: usize = 1 << 16;

/// Largest DICOM JSON of one instance, in bytes. The element that would pass it is left out.
pub const JSON_BYTES_MAX: usize = 64 << 20;

/// Longest text kept in a header field or a row, in bytes: a person's name is at most three
/// groups of 64 characters (PS3.5 §6.2), four bytes each.
pub const FIELD_BYTES_MAX: usize = 3 * 64 * 4;

/// Largest record in `study.records`, in bytes: the metadata and its fixed part.
pub const RECORD_BYTES_MAX: u32 = (JSON_BYTES_MAX + (1 << 20)) as u32;

/// Bytes of a deflated data set inflated into memory to read its header.
pub const INFLATED_HEAD_BYTES: usize = 1 << 20;

/// Largest deflated data set once inflated, in bytes: deflate packs 1000 : 1 at best, so that
/// a small hostile object could otherwise keep a thread busy for hours.
pub const INFLATED_BYTES_MAX: u64 = 4 << 30;

/// Bytes that arriving objects leave free on their disk. What is promised to senders is kept on the
/// same one as a rule: its write-ahead log may grow by 64 MB before it is started over.
pub const SPARE_BYTES: u64 = 64 << 20;

/// Bytes of one object between two looks at the room that is left. Four fetches of four lanes that
/// look at the same moment and then write on take no more than the spare room; the object that
/// finds it gone is deleted.
pub const ROOM_LOOK_BYTES: u64 = 4 << 20;

/// Bytes of each of two objects compared at once.
pub const COMPARE_BYTES: usize = 256 << 10;

/// Instances in a batch that is synced and listed together.
pub const BATCH_INSTANCES: usize = 32;

/// Metadata gathered for one batch, in bytes, before it is sent though not full: enhanced objects
/// bring megabytes each, and three batches may be in memory.
pub const BATCH_METADATA_BYTES: usize = 32 << 20;

/// Longest wait of a kept instance for its batch to fill.
pub const BATCH_AGE_MAX: Duration = Duration::from_millis(200);

/// Batches under way or waiting for the disk in one arrival; then the writer waits. Each holds
/// up to [`BATCH_INSTANCES`] open files.
pub const BATCHES_WAITING_MAX: usize = 2;

/// Memory of opened study indexes kept for the next reader, in bytes.
pub const OPENED_BYTES_MAX: usize = 64 << 20;

/// Opened study indexes kept; each holds one file descriptor.
pub const OPENED_STUDIES_MAX: usize = 256;

/// Memory for sled's pages, in bytes: rows are read once at start.
pub const SLED_BYTES: u64 = 16 << 20;

/// Series rows in one answer; a question that matches more is too wide to be meant.
pub const SERIES_ROWS_MAX: usize = 100_000;

/// Studies noted as suspect until somebody looks; a disk that is gone makes all of them so.
pub const SUSPECTS_MAX: usize = 256;

/// Findings of a verification kept with their text; beyond it they are counted.
pub const FINDINGS_MAX: usize = 10_000;

/// Tries to open sled while a handle that was closed a moment ago lets go of its file.
pub const SLED_OPEN_TRIES: u32 = 40;

/// Pause between two such tries.
pub const SLED_OPEN_PAUSE: Duration = Duration::from_millis(25);

const _: () = assert!(FRAGMENTS_KEPT_MAX <= FRAGMENTS_MAX);
const _: () = assert!(FRAGMENTS_MAX < ELEMENTS_MAX as usize);
const _: () = assert!(INLINE_BYTES_MAX <= VALUE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX as usize >= WINDOW_BYTES);
const _: () = assert!(
    RECORD_BYTES_MAX as usize > JSON_BYTES_MAX + 64 * FIELD_BYTES_MAX + 8 * FRAGMENTS_KEPT_MAX
);
const _: () = assert!(FIELD_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(BATCHES_WAITING_MAX >= 2);
const _: () = assert!(16 * ROOM_LOOK_BYTES <= SPARE_BYTES);

/// How long the lock of a cache folder is waited for: a restart may begin before the last threads
/// of the run before have let go.
pub const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked at meanwhile.
pub const LOCK_LOOK: Duration = Duration::from_millis(20);
