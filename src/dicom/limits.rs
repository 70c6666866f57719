//! The numbers of DICOM's protocol, each with its unit and its reason.

use std::time::Duration;

/// Bytes of a PDU that we take, without its six of header. DCMTK and Orthanc send up to 128 KB, and
/// larger ones gain nothing measurable; a peer that claims more ends its association.
pub const PDU_BYTES_MAX: u32 = 131_072;

/// Bytes of a peer's largest PDU below which it is not talked to: each would carry next to nothing.
pub const PDU_BYTES_MIN: u32 = 128;

/// Bytes of a PDU that we send, however large the peer would take them.
pub const PDU_BYTES_SENT_MAX: u32 = 65_536;

/// Bytes of a command set. Twenty elements take some hundred; a list of 2,000 attributes fits.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;

/// Characters of what is said of a PDU that cannot be read.
pub const FAULT_CHARACTERS_MAX: usize = 120;

/// Bytes of a UID (PS3.5 9.1).
pub const UID_BYTES_MAX: usize = 64;

/// Bytes of a data set that comes with a request which no service here takes: read and dropped, so
/// that it can be answered.
pub const DROPPED_BYTES_MAX: usize = 1 << 20;

/// Fragments of a command set: all send it in one.
pub const COMMAND_FRAGMENTS_MAX: usize = 64;

/// Bytes of one C-FIND match. A row has about 500.
pub const MATCH_BYTES_MAX: usize = 1 << 20;

/// Bytes of all matches of one C-FIND, as for an answer of DICOMweb.
pub const MATCHES_BYTES_MAX: usize = 32 << 20;

/// Bytes of the list of failed instances that may follow a C-GET: 20,000 of 65.
pub const FAILED_LIST_BYTES_MAX: usize = 2 << 20;

/// Presentation contexts of one association: the odd numbers up to 255 (PS3.8 9.3.2.2).
pub const CONTEXTS_MAX: usize = 128;

/// SOP Instance UIDs in one C-GET: 33 KB of request, which small servers still take.
pub const UIDS_MAX: usize = 500;

/// Answers of a C-GET in a row that bring no object: an archive that fetches a tape says "pending"
/// every few seconds, and ten minutes of it are enough.
pub const PENDING_MAX: usize = 1_000;

/// Objects in one C-GET: a study's instances at most.
pub const OBJECTS_MAX: usize = 20_000;

/// How long a polite end may take. What was asked for is here; the peer only says goodbye.
pub const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// Bytes a second that a peer must send of an object on average, over the wait between two PDUs.
/// Below it a CT slice takes nine minutes, and its place is wanted by others.
pub const RATE_FLOOR_BYTES: u64 = 1 << 10;

/// Associations of peers that are open at once. A hospital has some ten archives, and each of them
/// verifies by one.
pub const ASSOCIATIONS_MAX: usize = 64;

/// Peers that are being told at once that there is no place. Beyond them a connection is closed.
pub const REFUSALS_MAX: usize = 64;

/// For a peer's request for an association after it connected, and before that for its TLS
/// handshake (PS3.8 9.2, ARTIM).
pub const ASSOCIATE_WAIT: Duration = Duration::from_secs(10);

/// For a peer's next request. Monitoring that holds its association open asks every minute at most
/// where it is made for that; who only verifies is done in one.
pub const REQUEST_WAIT: Duration = Duration::from_secs(90);

/// For what an archive came for, when we stop: a C-ECHO takes some milliseconds.
pub const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// How long a stop may take in all: [`DRAIN_WAIT`], then the last word and the peer's hanging up,
/// each within [`RELEASE_WAIT`].
pub const STOP_WAIT: Duration = Duration::from_secs(10);

const _: () = assert!(STOP_WAIT.as_secs() > DRAIN_WAIT.as_secs() + 2 * RELEASE_WAIT.as_secs());
const _: () = assert!(PDU_BYTES_MIN < PDU_BYTES_SENT_MAX && PDU_BYTES_SENT_MAX <= PDU_BYTES_MAX);
const _: () = assert!(UIDS_MAX * 65 < PDU_BYTES_SENT_MAX as usize, "a request fits one PDU");
const _: () = assert!(MATCH_BYTES_MAX <= MATCHES_BYTES_MAX);
