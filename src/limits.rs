//! Every bound that Forepost keeps, with its unit and the reason for its size.
//!
//! Relations between them are asserted at compile time: changing one that breaks another does not
//! build.

/// Bytes of a request body on the hospital door. The largest ordinary body is a registration of
/// 2 KB; an array of a day's settlements is about 1 MB.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Levels of nesting in a JSON body. The deepest interface of the five documents has six.
pub const JSON_DEPTH_MAX: usize = 32;

/// Values in a JSON body: 4 MB of the shortest useful pairs stay below it.
pub const JSON_NODES_MAX: usize = 400_000;

/// Bytes of a part's header block. Two or three lines are usual; a line of HTTP is refused by most
/// servers at this length too.
pub const PART_HEADER_BYTES_MAX: usize = 8 << 10;

/// Characters of a boundary. RFC 2046, 5.1.1 allows 70; some gateways write longer ones.
pub const BOUNDARY_CHARACTERS_MAX: usize = 200;

/// Milliseconds in which a request's head must have arrived.
pub const HEAD_WAIT_MS: u64 = 10_000;

/// Milliseconds in which a request's body must have arrived. A hospital's slowest line carries
/// [`BODY_BYTES_MAX`] in it at 1.2 Mbit/s.
pub const BODY_WAIT_MS: u64 = 30_000;

/// Connections of one zone at once: 300 workstations of six each, and the servers.
pub const CONNECTIONS_MAX: usize = 2_048;

/// Requests of one zone under work at once; past it the answer is 503.
pub const REQUESTS_MAX: usize = 1_024;

/// Milliseconds that open requests are given to end after SIGTERM.
pub const DRAIN_MS: u64 = 30_000;

/// Jobs waiting for the ledger's writer in each of its two lines: every request under work may have
/// one, and every flow.
pub const LEDGER_JOBS_MAX: usize = 2_048;

/// Jobs in one commit. Larger batches gain nothing measurable and delay the first of them.
pub const LEDGER_BATCH_MAX: usize = 256;

/// Jobs of the flows that one commit takes although answers that somebody waits for would fill it:
/// a quarter, which delays such an answer by a third of a commit.
pub const LEDGER_LATER_SHARE: usize = 64;

/// Reading connections to the ledger.
pub const LEDGER_READERS_MAX: usize = 8;

/// Pages in the ledger's write-ahead log after which a checkpoint is due: 16 MB of 4 KB pages.
pub const LEDGER_CHECKPOINT_PAGES: i64 = 4_096;

/// Bytes kept aside for repair when the disk is full: the ledger's largest batch, many times.
pub const LEDGER_RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes free on the disk at which a reserve that was given up is made again: many times its size,
/// so that it takes nothing from who is still short of room.
pub const LEDGER_RESERVE_ROOM_BYTES: u64 = 96 * 1024 * 1024;

/// Milliseconds that the service's writer and a verb's wait for each other. Commits take
/// milliseconds, the longest (a whole dictionary) a second or two; a HIS that is told 500 may never
/// send again, so it waits rather. Past this something is stuck.
pub const LEDGER_TURN_WAIT_MS: u64 = 30_000;

/// Rows of one dictionary of one hospital. A large hospital has 5,000 examination items; the rest
/// is for those that list every price of every year. Its answer then takes about 30 MB.
pub const DICTIONARY_ROWS_MAX: usize = 100_000;

/// Bytes of a table that a person hands to a verb: [`DICTIONARY_ROWS_MAX`] rows of 600 bytes.
pub const SHEET_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Copies of one dictionary that the history keeps: a quarter's, when it changes daily.
pub const DICTIONARY_COPIES_MAX: usize = 100;

/// Changes that the history keeps of one published copy; beyond it (a first copy, a new numbering)
/// only their counts are kept, because the list would say no more than the dictionary itself.
pub const DICTIONARY_CHANGES_KEPT_MAX: usize = 10_000;

/// Reasons and warnings told about one copy; the counts say how many there were.
pub const DICTIONARY_REMARKS_MAX: usize = 1_000;

/// Tries to take a copy while others are published in between: by a verb, while a poll is read.
pub const DICTIONARY_TRIES_MAX: usize = 5;

/// Answers with dictionaries that are kept ready: both kinds for each of a few callers' hospitals.
pub const DICTIONARY_ANSWERS_MAX: usize = 16;

/// Bytes of the answers that are kept ready; a longer one is made anew at each request.
pub const DICTIONARY_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Plans whose sources are searched at once.
pub const SEARCHES_MAX: usize = 8;

/// Fetches under way at once, over all sources.
pub const FETCHES_MAX: usize = 4;

/// Requests of one fetch at once: one streams while others wait for a source's disk.
pub const LANES_MAX: usize = 4;

/// Pieces between a door and the cache's writer: about 4 MB of read buffers.
pub const PIECES_MAX: usize = 64;

/// Attempts of one search or one fetch before its plan is told that it fails. The work goes on
/// until the visit is over.
pub const ATTEMPTS_BEFORE_CAUSE: u32 = 5;

/// Milliseconds before a failed search or fetch is tried again, the first time.
pub const RETRY_MS_MIN: i64 = 2_000;

/// Milliseconds between tries, at most.
pub const RETRY_MS_MAX: i64 = 300_000;

/// Milliseconds between two looks of a plan at what was pushed for it. What comes wakes the plan;
/// the look is for what was missed, and ten thousand plans of it are three a second.
pub const PUSH_LOOK_AGAIN_MS: i64 = 3_600_000;

/// Milliseconds for which a search that is settled looks once more for what was pushed while it
/// went on: many times as long as one takes.
pub const PUSH_RECENT_MS: i64 = 60_000;

/// Faults in a row that open a source's breaker.
pub const BREAKER_FAULTS: u32 = 5;

/// Milliseconds an open breaker waits before its probe.
pub const BREAKER_OPEN_MS: i64 = 30_000;

/// Studies in one QIDO-RS answer when the caller names no limit.
pub const QIDO_RESULTS_DEFAULT: usize = 200;

/// Studies, series or instances in one QIDO-RS answer.
pub const QIDO_RESULTS_MAX: usize = 5_000;

/// Callers, studies and minutes remembered so that the audit holds one row of each.
pub const AUDIT_SEEN_MAX: usize = 16_384;

/// Milliseconds before a visit within which it counts as an emergency.
pub const EMERGENCY_WINDOW_MS: i64 = 2 * 3_600_000;

/// Bytes of a destination's answer that are kept as its receipt: a code and a sentence fit many
/// times.
pub const RECEIPT_BYTES_MAX: usize = 4_096;

/// Bytes of a destination's answer that are read before it counts as unreadable.
pub const REPLY_BYTES_MAX: usize = 256 * 1024;

/// Deliveries claimed in one commit, over all destinations.
pub const CLAIMS_MAX: usize = 64;

/// Milliseconds between two attempts of one delivery, at least.
pub const DELIVERY_WAIT_MS_MIN: i64 = 15_000;

/// Milliseconds between two attempts of one delivery, at most; and always once its deadline has
/// passed.
pub const DELIVERY_WAIT_MS_MAX: i64 = 900_000;

/// Attempts to one destination under way at once, unless its section says otherwise.
pub const DELIVERIES_PARALLEL: usize = 8;

/// Records in one body that are taken: a day of a large hospital, sent at once.
pub const BATCH_RECORDS_MAX: usize = 5_000;

/// Milliseconds that the wall clock may run away from the machine's own before it has stepped.
pub const CLOCK_STEP_MS: i64 = 60_000;

/// Milliseconds after a step of the clock during which no alarm changes: what a step makes late
/// gets the time to be sent.
pub const ALARM_HOLD_MS: i64 = 600_000;

/// SM2 keys of the hospital: a rotation needs two, each vendor may want its own. A text that opens
/// under none costs a third of a millisecond for each of them and each form that it can have.
pub const SM2_KEYS_MAX: usize = 8;

/// Characters of an SM2 key's name, and of the name of who made it.
pub const SM2_KEY_NAME_MAX: usize = 64;

/// Bytes of an SM2 key's file: PEM under 1 KB, and the lines before it.
pub const SM2_KEY_FILE_BYTES_MAX: u64 = 4_096;

/// SM2 texts opened at once. One takes a third of a millisecond, so two cores open thousands a
/// second, and the smallest machine's other cores stay with its sockets.
pub const SM2_OPENINGS_MAX: usize = 2;

/// Senders whose form and key are remembered. A hospital has a handful of systems that push.
pub const SM2_SENDERS_MAX: usize = 256;

/// Milliseconds between two looks at the folder of SM2 keys.
pub const SM2_LOOK_MS: u64 = 5_000;

/// Plans without a readable identifier that are read at once when a key has come.
pub const TAKE_UP_PAGE: usize = 256;

const _: () = assert!(DELIVERY_WAIT_MS_MIN < DELIVERY_WAIT_MS_MAX);
const _: () = assert!(RECEIPT_BYTES_MAX <= REPLY_BYTES_MAX);
const _: () = assert!(DELIVERIES_PARALLEL <= CLAIMS_MAX);
const _: () = assert!(LEDGER_JOBS_MAX >= REQUESTS_MAX, "a request must find room for its job");
const _: () = assert!(LEDGER_BATCH_MAX <= LEDGER_JOBS_MAX);
const _: () = assert!(2 * LEDGER_LATER_SHARE <= LEDGER_BATCH_MAX, "answers have the larger part");
const _: () = assert!(4 * LEDGER_RESERVE_BYTES <= LEDGER_RESERVE_ROOM_BYTES);
const _: () = assert!(DICTIONARY_CHANGES_KEPT_MAX <= DICTIONARY_ROWS_MAX);
const _: () = assert!(RETRY_MS_MIN < RETRY_MS_MAX);
const _: () = assert!(FETCHES_MAX * LANES_MAX <= 64, "sockets to sources stay few");
const _: () = assert!(QIDO_RESULTS_DEFAULT <= QIDO_RESULTS_MAX);
const _: () = assert!(JSON_DEPTH_MAX < 128, "serde_json's own limit must stay behind ours");
