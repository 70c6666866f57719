//! The numbers of the checks, each with its unit and its reason.

use std::time::Duration;

/// A name to addresses: a resolver asks its second server after five seconds.
pub const NAME_WAIT: Duration = Duration::from_secs(6);

/// One address to a connection. A line to another province takes 0.1 s; what takes longer than
/// this is dropped on its way.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 3;

/// A TLS handshake, or the negotiation of an association.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);

/// A harmless call and its answer. Whoever needs longer for nothing is too slow for a doctor.
pub const CALL_WAIT: Duration = Duration::from_secs(15);

/// Milliseconds from which an answer to nothing counts as slow: a patient's search asks several
/// times as much, and the doctor waits for it.
pub const CALL_SLOW_MS: u128 = 5_000;

/// Everything together. More than one peer's waits in a row, as all are checked side by side.
pub const DOCTOR_WAIT: Duration = Duration::from_secs(60);

/// Milliseconds of the clock's error from which it is told of. Clocks that are kept are right to
/// some hundredths of a second; at two seconds nobody keeps this one.
pub const CLOCK_WARNING_MS: i64 = 2_000;

/// Milliseconds from which it counts as failing: platforms refuse signs and tokens that are a
/// minute old or from the future, and a step of that size is one that the deadlines follow
/// ([`crate::limits::CLOCK_STEP_MS`]).
pub const CLOCK_FAILING_MS: i64 = crate::limits::CLOCK_STEP_MS;

/// A question for the time: one packet there and back. Asked twice, as packets get lost.
pub const TIME_WAIT: Duration = Duration::from_secs(2);

/// Questions until one is answered.
pub const TIME_ASKED_MAX: usize = 2;

/// Milliseconds of one synced write from which a disk is told of: the HIS waits for one, and a
/// healthy disk takes 1 to 30.
pub const SYNC_SLOW_MS: u128 = 250;

/// Milliseconds from which it counts as failing: at 200 registrations a minute, several of which
/// share a sync, the queue no longer empties.
pub const SYNC_FAILING_MS: u128 = 2_000;

/// One synced write. A disk that takes longer is not there.
pub const SYNC_WAIT: Duration = Duration::from_secs(20);

/// Percent of a disk's inodes in use from which it is told of.
pub const INODES_PERCENT: u64 = 90;

/// Reading the ledger's file through. 1 GB takes some seconds; a larger one is checked in part.
pub const LEDGER_CHECK_WAIT: Duration = Duration::from_secs(10);

/// Bytes of the ledger's write-ahead log from which it is told of: the checkpoint is due at 16 MB,
/// and only a reader that does not end keeps it from coming.
pub const LEDGER_LOG_BYTES: u64 = 256 << 20;

/// Milliseconds after which an open delivery is told of: a day at a cloud that is away is what
/// Forepost is for.
pub const DELIVERY_OLD_MS: i64 = 86_400_000;

/// Milliseconds after which a backup is late: a night, and four hours for a slow one.
pub const BACKUP_LATE_MS: i64 = 28 * 3_600_000;

/// Milliseconds after which there is none to speak of: three days, a weekend.
pub const BACKUP_MISSING_MS: i64 = 72 * 3_600_000;

/// From the daemon's start to its first look: what came due meanwhile goes first.
pub const FIRST_WAIT: Duration = Duration::from_secs(180);

/// From one look to the next.
pub const DAILY_WAIT: Duration = Duration::from_secs(86_400);

/// Between two looks at what is known to end: a mark is passed at an hour, not at a look.
pub const WATCH_WAIT: Duration = Duration::from_secs(3_600);

/// Columns of a line on a serial console.
pub const COLUMNS: usize = 79;

/// Lines of our own log that go into a bundle: a busy day has some thousand.
pub const BUNDLE_LOG_LINES: usize = 5_000;

/// Bytes of one file of a bundle; a longer one keeps its end.
pub const BUNDLE_FILE_BYTES_MAX: usize = 4 << 20;

/// A program of the system that tells something for a bundle.
pub const PROGRAM_WAIT: Duration = Duration::from_secs(15);

const _: () = assert!(
    NAME_WAIT.as_secs()
        + 3 * CONNECT_WAIT.as_secs()
        + HANDSHAKE_WAIT.as_secs()
        + CALL_WAIT.as_secs()
        < DOCTOR_WAIT.as_secs()
);
const _: () = assert!(ADDRESSES_MAX == 3, "the sum above counts them");
const _: () = assert!(CLOCK_WARNING_MS < CLOCK_FAILING_MS);
const _: () = assert!(SYNC_SLOW_MS < SYNC_FAILING_MS);
