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

/// Milliseconds for which a listener rests after a connection that could not be taken: descriptors
/// that ran out come back as others end.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Connections of one zone at once: 300 workstations of six each, and the servers.
pub const CONNECTIONS_MAX: usize = 2_048;

/// Requests of one zone under work at once; past it the answer is 503.
pub const REQUESTS_MAX: usize = 1_024;

/// Milliseconds that open requests are given to end after SIGTERM.
pub const DRAIN_MS: u64 = 30_000;

/// Milliseconds of them that a connection has for its first request: who has just connected is
/// sending it, who connected in advance may never.
pub const DRAIN_FIRST_MS: u64 = 1_000;

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

/// Bytes to which the write-ahead log's file is cut back when it begins anew: four checkpoints'
/// worth, more than it takes under load. Only a reader that stays makes it longer, for as long.
pub const LEDGER_LOG_BYTES: i64 = 4 * LEDGER_CHECKPOINT_PAGES * 4_096;

/// Milliseconds for which a checkpoint that insists waits for readers to end, while the writer
/// waits for it: as long as the page of a list takes.
pub const LEDGER_INSIST_MS: u64 = 100;

/// Backups that the ledger remembers: a quarter's.
pub const BACKUPS_REMEMBERED: i64 = 100;

/// Tries to find a moment at which nobody reads an older state of the ledger, and milliseconds
/// between two of them: together longer than any list takes.
pub const SNAPSHOT_TRIES_MAX: u32 = 100;
/// See [`SNAPSHOT_TRIES_MAX`].
pub const SNAPSHOT_PAUSE_MS: u64 = 200;

/// Bytes a second that a backup takes from the disk. 1 GB takes 50 s, and a disk that gives
/// 150 MB/s keeps seven eighths for who is acknowledged.
pub const BACKUP_BYTES_PER_SECOND: u64 = 20_000_000;

/// Bytes of a backup after which they are synced. The ledger's own sync on the same disk waits for
/// as many at most: with 4 MB an acknowledgement in a hundred took five times as long.
pub const BACKUP_SYNC_BYTES: u64 = 512 << 10;

/// Bytes of one file that the configuration names: a certificate with its chain has 10 KB.
pub const NAMED_FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that the configuration names: every caller, source and destination with a handful.
pub const NAMED_FILES_MAX: usize = 1_000;

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

/// Fetches under way at once that begin at one source: a slow one takes no other's turn.
pub const FETCHES_MAX: usize = 4;

/// Fetches under way at once, over all sources: each holds up to [`PIECES_MAX`] pieces.
pub const FETCHES_ALL_MAX: usize = 16;

/// Fetches under way at once of studies that somebody opened, beside the others.
pub const OPENED_FETCHES_MAX: usize = 16;

/// Milliseconds for which a study that was opened is tried again without being opened again: the
/// doctor who saw it fail comes back within minutes, or not.
pub const OPENED_KEEP_MS: i64 = 600_000;

/// Milliseconds for which a study that no source has is not asked for again.
pub const ABSENT_KEEP_MS: i64 = 60_000;

/// Studies remembered as being nowhere: about 400 KB.
pub const ABSENT_MAX: usize = 4_096;

/// Studies nobody registered of which sources are asked at once.
pub const ASKED_MAX: usize = 8;

/// Seconds that a source may take to say whether it has a study that somebody waits for.
pub const ASK_WAIT_S: u64 = 10;

/// Milliseconds between two looks at a study that is being followed as it arrives.
pub const FOLLOW_LOOK_MS: u64 = 2;

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

/// Milliseconds for which it stays known what a plan that ended had awaited.
pub const AWAITED_KEEP_MS: i64 = 86_400_000;

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

/// Milliseconds for which a search waits for all sources before it settles what some have said: a
/// doctor who opened the patient waits with it.
pub const SEARCH_PATIENCE_MS: u64 = 3_000;

/// Milliseconds after which a source that was not waited for is asked again, if its answer was lost
/// with the process: twice what a search takes unless it is configured otherwise.
pub const SEARCH_LATE_MS: i64 = 120_000;

/// Bytes of a login's text: a dozen short fields, one of them a number under SM2 in hexadecimal.
pub const LOGIN_BYTES_MAX: usize = 4_096;

/// Bytes of the block in a launcher that holds the server's address: its mark of 17, a scheme, a
/// name of a host, a port. `launcher/launcher.h` has the same number.
pub const LAUNCHER_BLOCK_BYTES: usize = 256;

/// Fields of a login; the document names eleven.
pub const LOGIN_FIELDS_MAX: usize = 32;

/// Milliseconds for which the one-time code of a login opens a window: the HIS opens it at once.
pub const CODE_MS: i64 = 120_000;

/// Milliseconds after which a session ends that nobody ended: a long shift.
pub const SESSION_MS_MAX: i64 = 16 * 3_600_000;

/// Sessions of one account at a time: a consulting room, a ward, an office.
pub const SESSIONS_OF_USER_MAX: usize = 8;

/// Plans of one patient that a notice shows the studies of.
pub const NOTICE_PLANS_MAX: usize = 8;

/// Studies that a notice shows.
pub const NOTICE_STUDIES_MAX: usize = 200;

/// Notices that a window lists: a day of an out-patient doctor has some eighty patients.
pub const NOTICES_SHOWN_MAX: usize = 100;

/// Sessions that listen for notices at once, of which some windows of one browser share one.
pub const STREAMS_MAX: usize = 1_000;

/// Streams of one session: a doctor's tabs.
pub const STREAMS_OF_SESSION_MAX: usize = 16;

/// Milliseconds within which the same call makes no second notice: a HIS repeats what it got no
/// answer to, and some call at every swipe of the card.
pub const NOTICE_REPEAT_MS: i64 = 10 * 60_000;

/// Encapsulated documents that are in memory on their way to browsers.
pub const DOCUMENTS_MAX: usize = 4;

/// Milliseconds between two signs of life on a stream of notices; proxies drop what is silent for
/// a minute.
pub const STREAM_SIGN_MS: u64 = 15_000;

/// Milliseconds within which a link to one study is opened: a viewer starts in seconds.
pub const LINK_MS: i64 = 60_000;

/// Plans that have moved on and whose windows are not told yet; beyond it all windows look again.
pub const PLANS_MOVED_MAX: usize = 1_024;

/// Departments that no dictionary has and that are shown. A hospital has some hundred in all.
pub const UNLISTED_SHOWN_MAX: usize = 500;

/// Characters of the name of whoever decides.
pub const BY_CHARACTERS_MAX: usize = 100;

/// Milliseconds for which sessions, notices and what became of them are kept: a year, and a month
/// to count it.
pub const NOTICES_KEEP_MS: i64 = 400 * 86_400_000;

/// Milliseconds between two looks for what is older.
pub const NOTICES_PRUNE_MS: u64 = 3_600_000;

/// Notices, and sessions, that one commit deletes: a commit stays short.
pub const NOTICES_PRUNED_MAX: usize = 2_000;

/// Milliseconds for which an ordered examination is remembered: it is made within days, an MR
/// within weeks of its order.
pub const ORDERED_MS: i64 = 30 * 86_400_000;

/// Ordered examinations of one patient that the choice of studies looks at: an in-patient has some
/// ten in a month.
pub const ORDERED_WANTED_MAX: usize = 64;

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

/// Milliseconds between two looks at the room on the cache's disk. A second of the fastest fetches
/// writes 120 MB, which is less than what lies between mark and floor of any disk that is meant.
pub const ROOM_LOOK_MS: u64 = 1_000;

/// Studies that leave the cache between two looks at what else may leave. At a second or less for
/// the largest, a new plan's wish is respected within minutes.
pub const EVICTIONS_MAX: usize = 256;

/// Milliseconds until it is looked again at what may leave, after nothing could: asking about
/// 48,000 studies takes a second or two.
pub const EVICTION_PAUSE_MS: i64 = 60_000;

/// Milliseconds after its last reading in which a study counts as open. A viewer asks for one
/// series after the other and holds nothing in between.
pub const OPEN_MS: i64 = 30 * 60_000;

/// Milliseconds that a study which no plan chose is left to find its registration.
pub const UNMATCHED_MS: i64 = 86_400_000;

/// One part in so many of a disk below which no fetch begins, where the site names no number.
pub const FETCH_FLOOR_SHARE: u64 = 50;

/// Free bytes below which no fetch begins, at least: what others bring still finds 16 MB above the
/// room that the cache leaves to the ledger.
pub const FETCH_FLOOR_BYTES_MIN: u64 = forepost_cache::limits::SPARE_BYTES + (16 << 20);

/// The same at most, where the site names no number: two large studies of each modality that a
/// hospital's own machines may send at once.
pub const FETCH_FLOOR_BYTES_MAX: u64 = 4_000_000_000;

/// Bytes that are read in a second to find damage. 7 TB take five days, and a disk that gives
/// 150 MB/s keeps nine tenths for who asks.
pub const SCRUB_BYTES_PER_SECOND: u64 = 16 << 20;

/// Milliseconds after a start before the first object is verified: what came due goes first.
pub const SCRUB_FIRST_MS: u64 = 5_000;

/// Milliseconds between two looks whether a fetch is still under way, or Forepost stops.
pub const SCRUB_LOOK_MS: u64 = 100;

/// Milliseconds between the end of one round through the cache and the beginning of the next.
pub const SCRUB_REST_MS: u64 = 86_400_000;

/// Milliseconds between two looks at what readers found damaged, while nothing else is verified.
pub const SUSPECTS_LOOK_MS: u64 = 1_000;

/// Days before a certificate or a token ends from which it is alarmed, and alarmed again: an order
/// at a provincial authority takes two to three weeks, one made good by hand the last week, and
/// the day after the last is too late.
pub const EXPIRY_DAYS: [u32; 3] = [30, 7, 1];

/// Plans without a readable identifier that are read at once when a key has come.
pub const TAKE_UP_PAGE: usize = 256;

/// Milliseconds between two lines for `systemctl status` where no watchdog says how often. A commit
/// each, so rarely enough that an idle disk may sleep between two.
pub const STATUS_EVERY_MS: u64 = 20_000;

const _: () = assert!(DRAIN_FIRST_MS < DRAIN_MS);
const _: () = assert!(DELIVERY_WAIT_MS_MIN < DELIVERY_WAIT_MS_MAX);
const _: () = assert!(RECEIPT_BYTES_MAX <= REPLY_BYTES_MAX);
const _: () = assert!(DELIVERIES_PARALLEL <= CLAIMS_MAX);
const _: () = assert!(LEDGER_JOBS_MAX >= REQUESTS_MAX, "a request must find room for its job");
const _: () = assert!(LEDGER_BATCH_MAX <= LEDGER_JOBS_MAX);
const _: () = assert!(2 * LEDGER_LATER_SHARE <= LEDGER_BATCH_MAX, "answers have the larger part");
const _: () = assert!(4 * LEDGER_RESERVE_BYTES <= LEDGER_RESERVE_ROOM_BYTES);
const _: () = assert!(DICTIONARY_CHANGES_KEPT_MAX <= DICTIONARY_ROWS_MAX);
const _: () = assert!(RETRY_MS_MIN < RETRY_MS_MAX);
const _: () = assert!(FETCH_FLOOR_BYTES_MIN > forepost_cache::limits::SPARE_BYTES);
const _: () = assert!(FETCH_FLOOR_BYTES_MIN < FETCH_FLOOR_BYTES_MAX);
const _: () = assert!(FETCHES_MAX * LANES_MAX <= 64, "sockets to sources stay few");
const _: () = assert!(QIDO_RESULTS_DEFAULT <= QIDO_RESULTS_MAX);
const _: () = assert!(JSON_DEPTH_MAX < 128, "serde_json's own limit must stay behind ours");
