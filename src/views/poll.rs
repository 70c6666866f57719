//! One poll of one view: read all of it, hand on what is new, forget what is gone.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::child::{Line, Reader, ReaderPlace, Refused};
use super::columns::{self, Matched};
use super::known::Known;
use super::limits::{
    FORGOTTEN_ROWS_MAX, HANDED_ROWS_MAX, PARKED_ROWS_MAX, POLL_WAIT, VIEW_ROWS_MAX, WHOLE_ROWS_MAX,
    WORDS_CHARACTERS_MAX,
};
use super::options::{DatabaseOptions, ViewOptions};
use super::{CheckedRow, Parts, Polled, RowEnd, Taker, Takes, statement};
use crate::catalog::{self, Mode};
use crate::fault::Fault;
use crate::ledger::{ParkedRow, ViewPoll, ViewShown};
use crate::model::{Time, UtcOffset};
use crate::seal::Lookup;

/// Rows between two looks at clock and pace.
const ROWS_PER_LOOK: u64 = 256;

/// How far reading may lag behind its pace and still catch up: a late timer of a busy machine.
const CATCH_UP: Duration = Duration::from_millis(50);

/// A view with everything that its polls need.
pub(super) struct Poll<'a> {
    pub parts: &'a Parts,
    pub database: &'a DatabaseOptions,
    pub view: &'a ViewOptions,
    pub taker: &'a dyn Taker,
}

/// A view whose database is connected.
pub(super) struct Opened {
    pub reader: Reader,
    /// As it is written in SQL.
    pub table: String,
    pub matched: Matched,
    names: Vec<String>,
}

/// A row whose hash is not known.
type NewRow = (Lookup, Vec<u8>);

/// What a poll carries with it.
struct Progress {
    kept: ViewShown,
    known: Known,
    polled: Polled,
    parked: u64,
    rows: u64,
    new: u64,
    whole: Vec<CheckedRow>,
}

impl Poll<'_> {
    /// Whether the database is to be left alone now.
    pub fn is_paused(&self, now: Time) -> bool {
        let wall = now.wall(self.parts.offset);
        self.database.pauses.iter().any(|pause| pause.contains(wall))
    }

    /// Polls once and says how it ended, in the log, the metrics and the ledger.
    pub async fn run(&self) {
        let began = (self.parts.clock)();
        let polled = tokio::time::timeout(POLL_WAIT, self.poll(began)).await;
        let ended = polled.unwrap_or_else(|_| {
            let detail = format!("the poll took more than {} s", POLL_WAIT.as_secs());
            Err(Fault::peer("deadline", detail))
        });
        let (view, now) = (self.view.name.as_str(), (self.parts.clock)());
        let milliseconds = now.since_ms(began);
        let (outcome, whole_rows) = match &ended {
            Ok((rows, new)) => {
                log::info!(view, rows, new, milliseconds; "view read");
                ("whole", Some(*rows))
            }
            Err(fault) => {
                log::warn!(view, milliseconds; "view not read whole: {fault}");
                (fault.step, None)
            }
        };
        metrics::counter!("view_polls_total", "view" => self.view.name.clone(),
            "outcome" => outcome)
        .increment(1);
        let kept = match self.parts.ledger.view(view).await {
            Ok(kept) => {
                let poll = ViewPoll { outcome, whole_rows, at: now };
                self.parts.ledger.end_view_poll(kept.id, poll).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            log::error!(view; "the end of a poll is not kept: {error}");
        }
    }

    /// Reads the whole view; says how many rows it has and how many of them were taken.
    async fn poll(&self, began: Time) -> Result<(u64, u64), Fault> {
        let mut progress = self.begin(began).await?;
        let mut opened = open(&self.parts.reader, self.database, self.view).await?;
        // Said until it has worked once; afterwards `views test` says it to who asks.
        if progress.kept.whole_at.is_none() && !opened.matched.missing.is_empty() {
            let fields = opened.matched.missing.join(", ");
            log::warn!(view = self.view.name.as_str(); "the view lacks required columns: {fields}");
        }
        let conditions = opened.conditions(self.view, began, self.parts.offset)?;
        let sql = opened.statement(&conditions)?;
        opened.reader.read(sql, VIEW_ROWS_MAX).await?;
        let mut new: Vec<NewRow> = Vec::new();
        let mut pace = Pace::new(self.database.rows_per_second_max);
        while let Line::Row(line) = opened.reader.next().await? {
            progress.rows += 1;
            let hash = self.parts.ledger.view_row_hash(&self.view.name, line);
            let is_new = match self.taker.takes() {
                Takes::Whole => true,
                Takes::Changes => {
                    !progress.known.see(&hash) && !new.iter().any(|(other, _)| *other == hash)
                }
            };
            if is_new {
                new.push((hash, line.to_vec()));
            }
            if new.len() == HANDED_ROWS_MAX {
                self.hand_on(&opened.matched, &mut progress, std::mem::take(&mut new)).await?;
            }
            if progress.rows % ROWS_PER_LOOK == 0 {
                self.count_read(ROWS_PER_LOOK);
                if self.is_paused((self.parts.clock)()) {
                    return Err(Fault::ours("pause", "the database's pause began"));
                }
                pace.keep(ROWS_PER_LOOK).await;
            }
        }
        self.count_read(progress.rows % ROWS_PER_LOOK);
        let Opened { reader, matched, .. } = opened;
        // The connection is not held while the last rows are taken.
        reader.close().await;
        self.hand_on(&matched, &mut progress, new).await?;
        self.finish(progress).await
    }

    async fn begin(&self, began: Time) -> Result<Progress, Fault> {
        let ledger = self.parts.ledger.clone();
        let kept = ledger.view(&self.view.name).await?;
        let id = kept.id;
        let hashes = tokio::task::spawn_blocking(move || ledger.view_rows(id)).await;
        let hashes = hashes.map_err(|_| Fault::ours("ledger", "reading hashes panicked"))??;
        let late = |whole: Time| began.since_ms(whole) > 2 * self.view.interval_ms;
        let polled = Polled {
            began,
            previous_whole: kept.whole_at,
            was_down: kept.whole_at.is_none_or(late),
            unreadable: match self.taker.takes() {
                Takes::Whole => 0,
                Takes::Changes => kept.parked,
            },
        };
        let (known, parked) = (Known::new(hashes), kept.parked);
        Ok(Progress { kept, known, polled, parked, rows: 0, new: 0, whole: Vec::new() })
    }

    /// Hands new rows to the taker; then, and only then, their hashes are written.
    async fn hand_on(
        &self,
        matched: &Matched,
        progress: &mut Progress,
        new: Vec<NewRow>,
    ) -> Result<(), Fault> {
        let (mut hashes, mut rows, mut parked) = (Vec::new(), Vec::new(), Vec::new());
        for (hash, line) in new {
            match self.check(matched, &line) {
                Ok(row) => {
                    hashes.push((hash, line));
                    rows.push(row);
                }
                Err(reason) => parked.push(ParkedRow { hash, reason, row: line }),
            }
        }
        progress.polled.unreadable += parked.len() as u64;
        let mut taken = Vec::new();
        match self.taker.takes() {
            Takes::Whole => {
                progress.whole.append(&mut rows);
                if progress.whole.len() > WHOLE_ROWS_MAX {
                    let detail = format!("more than {WHOLE_ROWS_MAX} rows in a dictionary");
                    return Err(Fault::peer("rows", detail));
                }
                // A row that is parked already is seen, and stays so.
                parked.retain(|row| !progress.known.see(&row.hash));
            }
            Takes::Changes if rows.is_empty() => {}
            Takes::Changes => {
                let expected = rows.len();
                let ends = self.taker.take(rows, progress.polled).await?;
                if ends.len() != expected {
                    let detail = format!("{} ends of {expected} rows", ends.len());
                    return Err(Fault::ours("taker", detail));
                }
                for ((hash, row), end) in hashes.into_iter().zip(ends) {
                    match end {
                        RowEnd::Taken => taken.push(hash),
                        RowEnd::Unreadable(reason) => {
                            parked.push(ParkedRow { hash, reason, row });
                        }
                    }
                }
            }
        }
        self.keep(progress, taken, parked).await
    }

    async fn keep(
        &self,
        progress: &mut Progress,
        taken: Vec<Lookup>,
        parked: Vec<ParkedRow>,
    ) -> Result<(), Fault> {
        let name = || self.view.name.clone();
        metrics::counter!("view_rows_new_total", "view" => name()).increment(taken.len() as u64);
        metrics::counter!("view_rows_parked_total", "view" => name())
            .increment(parked.len() as u64);
        progress.new += taken.len() as u64;
        progress.parked += parked.len() as u64;
        if !taken.is_empty() || !parked.is_empty() {
            let now = (self.parts.clock)();
            self.parts.ledger.keep_view_rows(progress.kept.id, taken, parked, now).await?;
        }
        if progress.parked > PARKED_ROWS_MAX {
            let detail = format!("more than {PARKED_ROWS_MAX} rows cannot be read");
            return Err(Fault::peer("parked", detail));
        }
        Ok(())
    }

    /// The view was read whole: a dictionary is handed over, and what was not seen is forgotten.
    async fn finish(&self, mut progress: Progress) -> Result<(u64, u64), Fault> {
        if self.taker.takes() == Takes::Whole {
            let rows = std::mem::take(&mut progress.whole);
            let (all, expected) = (rows.len() as u64, rows.len());
            let ends = self.taker.take(rows, progress.polled).await?;
            if ends.len() != expected {
                return Err(Fault::ours(
                    "taker",
                    format!("{} ends of {expected} rows", ends.len()),
                ));
            }
            metrics::counter!("view_rows_new_total", "view" => self.view.name.clone())
                .increment(all);
            progress.new = all;
        }
        let gone: Vec<Lookup> = progress.known.unseen().collect();
        for some in gone.chunks(FORGOTTEN_ROWS_MAX) {
            self.parts.ledger.forget_view_rows(progress.kept.id, some.to_vec()).await?;
        }
        Ok((progress.rows, progress.new))
    }

    /// What the catalogue says of a row; the reason holds no value.
    fn check(&self, matched: &Matched, line: &[u8]) -> Result<CheckedRow, String> {
        let mut object = columns::object(&matched.found, line)?;
        let mode = self.hospital_of(&mut object)?;
        let value = Value::Object(object);
        let checked = catalog::check(self.view.interface, &value, mode, &self.parts.overlay);
        if checked.faults.is_empty() {
            return Ok(CheckedRow { record: checked.record, body: value.to_string().into() });
        }
        let faults: Vec<&str> = checked.faults.iter().map(|one| one.message_en.as_str()).collect();
        Err(faults.join("; ").chars().take(WORDS_CHARACTERS_MAX).collect())
    }

    /// How the row is checked. As at the hospital's door: the code of the only hospital served is
    /// filled in where it is missing, and a code that is served by nobody here is refused.
    fn hospital_of(&self, object: &mut Map<String, Value>) -> Result<Mode, String> {
        const FIELD: &str = "hospitalld";
        let sent = object.get(FIELD).and_then(Value::as_str).map(str::trim);
        match (sent.filter(|code| !code.is_empty()), self.parts.hospitals.as_slice()) {
            (None, [only]) => {
                object.insert(FIELD.to_owned(), Value::String(only.code.clone()));
                Ok(only.mode)
            }
            (None, _) => Ok(Mode::Lenient),
            (Some(code), served) => {
                let found = served.iter().find(|hospital| hospital.code == code);
                let refused = || format!("{FIELD}: not a hospital that is served here");
                found.map(|hospital| hospital.mode).ok_or_else(refused)
            }
        }
    }

    fn count_read(&self, rows: u64) {
        metrics::counter!("view_rows_read_total", "view" => self.view.name.clone()).increment(rows);
    }
}

/// Connects and finds the view under one of its names.
pub(super) async fn open(
    place: &ReaderPlace,
    database: &DatabaseOptions,
    view: &ViewOptions,
) -> Result<Opened, Fault> {
    let mut reader = Reader::open(place, database.open()).await?;
    let mut first = None;
    let quote = reader.quote;
    for table in view.tables.iter().flat_map(|name| statement::tables(name, quote)) {
        match reader.read(statement::of_no_row(&table), 0).await {
            Ok(names) => {
                while let Line::Row(_) = reader.next().await? {}
                let matched = columns::matched(view.interface, &view.columns, &names);
                if matched.found.is_empty() {
                    let detail = format!("none of {} columns is one of the fields", names.len());
                    return Err(Fault::peer("columns", detail));
                }
                return Ok(Opened { reader, table, matched, names });
            }
            Err(Refused::Database(error)) => {
                first.get_or_insert(Refused::Database(error));
            }
            Err(Refused::Reader(fault)) => return Err(fault),
        }
    }
    Err(first.map_or_else(|| Fault::ours("view", "no name to ask for"), Fault::from))
}

impl Opened {
    /// The configured conditions in SQL.
    pub fn conditions(
        &self,
        view: &ViewOptions,
        now: Time,
        offset: UtcOffset,
    ) -> Result<Vec<String>, Fault> {
        let mut conditions: Vec<String> = view.condition.iter().cloned().collect();
        if let Some(range) = &view.range {
            let absent = || Fault::peer("columns", "the date column is not in the view");
            let name = self.names.iter().find(|name| name.eq_ignore_ascii_case(&range.column));
            let column = statement::column(name.ok_or_else(absent)?, self.reader.quote);
            let since = statement::since(
                &column.ok_or_else(absent)?,
                &range.format,
                range.days,
                now,
                offset,
            );
            conditions.push(since.ok_or_else(|| Fault::ours("view", "a date cannot be written"))?);
        }
        Ok(conditions)
    }

    /// The statement that reads every column that a field has.
    pub fn statement(&self, conditions: &[String]) -> Result<String, Fault> {
        let columns: Option<Vec<String>> = self
            .matched
            .found
            .iter()
            .map(|(_, name)| statement::column(name, self.reader.quote))
            .collect();
        let columns =
            columns.ok_or_else(|| Fault::peer("columns", "a column's name cannot be written"))?;
        Ok(statement::of_rows(&columns, &self.table, conditions))
    }
}

/// Holds reading back to the configured rate. What was not read in time is not caught up with.
struct Pace {
    rows_per_second: Option<NonZeroU32>,
    due: Instant,
}

impl Pace {
    fn new(rows_per_second: Option<NonZeroU32>) -> Pace {
        Pace { rows_per_second, due: Instant::now() }
    }

    /// Waits for the time that so many rows more may take.
    async fn keep(&mut self, rows: u64) {
        let Some(rate) = self.rows_per_second else { return };
        let begun = Instant::now().checked_sub(CATCH_UP).unwrap_or(self.due);
        let wait = Duration::from_secs_f64(rows as f64 / f64::from(rate.get()));
        self.due = self.due.max(begun) + wait;
        tokio::time::sleep_until(self.due.into()).await;
    }
}
