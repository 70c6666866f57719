//! The other side of the pipe: one process, one connection, one statement at a time.
//!
//! A vendor's driver runs here and nowhere else, so that it can neither hang nor crash the daemon.
//! Always holds: only SELECT is run; a row is told whole or not at all; nothing is written to the
//! standard error, where a driver's words could hold values. The process ends when its standard
//! input does, even while a driver hangs: the daemon may have been killed. Start at [`run`].

use std::borrow::Cow;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::sync::mpsc;

use odbc_api::buffers::{ColumnBuffer, ColumnarBuffer, Slice, TextColumn, TextColumnSlice};
use odbc_api::{Connection, ConnectionOptions, Cursor, Environment, Error, ResultSetMetadata};

use super::limits::{
    BATCH_BYTES_MAX, BATCH_ROWS_MAX, COLUMNS_MAX, DISCONNECT_WAIT, DISPLAY_SIZE_UNKNOWN,
    READER_MEMORY_BYTES_MAX, VALUE_UNITS_MAX, VALUE_UNITS_MIN,
};
use super::wire::{Cell, Charset, DatabaseError, Open, Order, Read, Told};
use super::words::told_words;

/// Orders that wait: the daemon gives the next one when the last is answered.
const ORDERS_MAX: usize = 1;

/// Why an order was not carried out.
enum Failure {
    /// The database's or the reader's own words for the daemon.
    Told(DatabaseError),
    /// The daemon no longer listens.
    Pipe,
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Failure {
        Failure::Pipe
    }
}

/// Serves orders from the standard input until it ends.
pub fn run() {
    limit_process();
    let orders = read_orders();
    let mut out = BufWriter::with_capacity(1 << 18, std::io::stdout().lock());
    let Ok(Order::Open(open)) = orders.recv() else { return };
    let environment = match Environment::new() {
        Ok(environment) => environment,
        Err(error) => {
            let _ = tell(&mut out, &Told::Error(database_error(&error, "")));
            return;
        }
    };
    let connection = match connect(&environment, &open) {
        Ok(connection) => connection,
        Err(error) => {
            let _ = tell(&mut out, &Told::Error(database_error(&error, "")));
            return;
        }
    };
    let opened = connection.database_management_system_name().and_then(|system| {
        let quote = connection.identifier_quote_char()?.filter(|quote| *quote != ' ');
        set_read_only(&connection, &system)?;
        Ok(Told::Opened { system, quote })
    });
    let opened = opened.unwrap_or_else(|error| Told::Error(database_error(&error, "")));
    let mut told = tell(&mut out, &opened);
    while told.is_ok() {
        let Ok(Order::Read(read)) = orders.recv() else { return };
        told = match statement(&connection, &open, &read, &mut out) {
            Ok(rows) => tell(&mut out, &Told::End(rows)),
            Err(Failure::Told(error)) => tell(&mut out, &Told::Error(error)),
            Err(Failure::Pipe) => return,
        };
    }
}

/// No dump of what a crashing driver held, and a wall around its memory.
fn limit_process() {
    let set = |resource, bytes| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: setrlimit reads the structure it is given and nothing else.
        unsafe { libc::setrlimit(resource, &limit) };
    };
    set(libc::RLIMIT_CORE, 0);
    set(libc::RLIMIT_DATA, READER_MEMORY_BYTES_MAX);
}

/// Reads orders on a thread of its own. When the input ends, the connection is given a moment to be
/// closed, and then the process ends in any case.
#[allow(clippy::disallowed_methods, reason = "a reader has no ledger and no cache to close")]
fn read_orders() -> mpsc::Receiver<Order> {
    let (orders, queue) = mpsc::sync_channel(ORDERS_MAX);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(std::io::stdin().lock()).lines();
        while let Some(Ok(line)) = lines.next() {
            let Ok(order) = serde_json::from_str(&line) else { break };
            if orders.send(order).is_err() {
                break;
            }
        }
        drop(orders);
        std::thread::sleep(DISCONNECT_WAIT);
        std::process::exit(0);
    });
    queue
}

fn tell(out: &mut impl Write, told: &Told) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, told).map_err(|_| Failure::Pipe)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn connect<'e>(environment: &'e Environment, open: &Open) -> Result<Connection<'e>, Error> {
    let options =
        ConnectionOptions { login_timeout_sec: Some(open.statement_seconds), packet_size: None };
    environment.connect_with_connection_string(&open.connection, options)
}

/// Where a session can be told to only read, it is. Elsewhere the statement's first word must do,
/// and the rights of the database's user.
fn set_read_only(connection: &Connection<'_>, system: &str) -> Result<(), Error> {
    let sql = match system {
        "PostgreSQL" => "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "MariaDB" | "MySQL" => "SET SESSION TRANSACTION READ ONLY",
        _ => return Ok(()),
    };
    connection.execute(sql, (), None).map(|_| ())
}

fn statement(
    connection: &Connection<'_>,
    open: &Open,
    read: &Read,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    if !read.sql.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("SELECT ")) {
        return Err(refusal("only SELECT is run"));
    }
    let failed = |error: Error| {
        // Without it PostgreSQL refuses every later statement of the transaction.
        let _ = connection.rollback();
        Failure::Told(database_error(&error, &read.sql))
    };
    let mut statement = connection.preallocate().map_err(failed)?;
    // Not every driver can; the daemon keeps the limit in any case.
    let _ = statement.set_query_timeout_sec(open.statement_seconds as usize);
    let cursor = statement.into_cursor(&read.sql, ()).map_err(failed)?;
    let Some(mut cursor) = cursor else { return Err(refusal("the statement gives no rows")) };
    let names: Result<Vec<String>, Error> = cursor.column_names().and_then(Iterator::collect);
    let names = names.map_err(failed)?;
    if names.is_empty() || names.len() > COLUMNS_MAX {
        let words = format!("{} columns, limit {COLUMNS_MAX}", names.len());
        return Err(refusal(&words));
    }
    let units = capacities(&mut cursor, names.len(), open.charset).map_err(failed)?;
    tell(out, &Told::Columns(names))?;
    match open.charset {
        Charset::Wide => tell_rows(cursor, &units, read, out, failed, wide),
        Charset::Utf8 => tell_rows(cursor, &units, read, out, failed, utf8),
        Charset::Gbk => tell_rows(cursor, &units, read, out, failed, gbk),
    }
}

/// Units of room for each column.
fn capacities(
    cursor: &mut impl ResultSetMetadata,
    columns: usize,
    charset: Charset,
) -> Result<Vec<usize>, Error> {
    // A character of UTF-8 or GB 18030 has at most four bytes, one of UTF-16 two units.
    let (factor, max) = match charset {
        Charset::Wide => (2, VALUE_UNITS_MAX),
        Charset::Utf8 | Charset::Gbk => (4, 4 * VALUE_UNITS_MAX),
    };
    (1..=columns as u16)
        .map(|column| {
            let characters = cursor.col_display_size(column)?.map_or(0, |size| size.get());
            Ok(match characters {
                1..DISPLAY_SIZE_UNKNOWN => (characters * factor).clamp(VALUE_UNITS_MIN, max),
                _ => max,
            })
        })
        .collect()
}

/// Reads a value as text, or gives its bytes where it is none in the configured charset.
type Decode<C> = fn(&[C]) -> Result<Cow<'_, str>, Vec<u8>>;

fn wide(units: &[u16]) -> Result<Cow<'_, str>, Vec<u8>> {
    // Numbers, dates and codes, which most values are, need no decoding.
    if units.iter().all(|unit| (0x20..0x7f).contains(unit)) {
        return Ok(Cow::Owned(units.iter().map(|unit| char::from(*unit as u8)).collect()));
    }
    let bytes = || units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    match String::from_utf16(units) {
        // What drivers write for a character that they could not convert.
        Ok(text) if text.contains(['\0', char::REPLACEMENT_CHARACTER]) => Err(bytes()),
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err(bytes()),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, Vec<u8>> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| bytes.to_vec())
}

fn gbk(bytes: &[u8]) -> Result<Cow<'_, str>, Vec<u8>> {
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes);
    text.ok_or_else(|| bytes.to_vec())
}

/// Fetches in batches whose buffers stay within [`BATCH_BYTES_MAX`], and tells every row.
fn tell_rows<C: Copy + Default + 'static>(
    cursor: impl Cursor,
    units: &[usize],
    read: &Read,
    out: &mut impl Write,
    failed: impl Fn(Error) -> Failure,
    decode: Decode<C>,
) -> Result<u64, Failure>
where
    TextColumn<C>: ColumnBuffer + for<'a> Slice<Slice<'a> = TextColumnSlice<'a, C>>,
{
    let row_bytes: usize = units.iter().map(|units| (units + 1) * size_of::<C>() + 8).sum();
    let batch_rows = (BATCH_BYTES_MAX / row_bytes).clamp(1, BATCH_ROWS_MAX);
    let column =
        |(at, units): (usize, &usize)| (at as u16 + 1, TextColumn::new(batch_rows, *units));
    let buffer = ColumnarBuffer::new(units.iter().enumerate().map(column).collect());
    let mut cursor = cursor.bind_buffer(buffer).map_err(&failed)?;
    let mut told = 0;
    let mut line = Vec::new();
    while let Some(batch) = cursor.fetch().map_err(&failed)? {
        let columns: Vec<_> = (0..units.len()).map(|at| batch.column(at)).collect();
        for row in 0..batch.num_rows() {
            if told == read.rows_max {
                return Err(refusal(&format!("more than {} rows", read.rows_max)));
            }
            line.clear();
            for column in &columns {
                line.push(if line.is_empty() { b'[' } else { b',' });
                write_cell(column, row, decode, &mut line);
            }
            line.extend_from_slice(b"]\n");
            out.write_all(&line)?;
            told += 1;
        }
        // The daemon must not wait for the next batch to see this one.
        out.flush()?;
    }
    Ok(told)
}

fn write_cell<C: Copy>(
    column: &TextColumnSlice<'_, C>,
    row: usize,
    decode: Decode<C>,
    line: &mut Vec<u8>,
) {
    let Some(value) = column.get(row) else { return line.extend_from_slice(b"null") };
    let json = if value.len() >= column.max_len() {
        // What fills its room may have been cut.
        serde_json::to_writer(&mut *line, &Cell::Long { long: true })
    } else {
        match decode(value) {
            Ok(text) => serde_json::to_writer(&mut *line, &text),
            Err(bytes) => {
                serde_json::to_writer(&mut *line, &Cell::Broken { bytes: hex::encode(bytes) })
            }
        }
    };
    json.expect("a text is JSON and a vector takes it");
}

/// The reader's own refusal.
fn refusal(words: &str) -> Failure {
    Failure::Told(DatabaseError { state: String::new(), native: 0, words: words.to_owned() })
}

/// What the driver says, without what could be a value. `known` are texts of ours that may stand
/// in quotes, such as a statement; the connection string is never among them.
fn database_error(error: &Error, known: &str) -> DatabaseError {
    let record = match error {
        Error::Diagnostics { record, .. }
        | Error::UnsupportedOdbcApiVersion(record)
        | Error::InvalidRowArraySize { record, .. }
        | Error::UnableToRepresentNull(record)
        | Error::OracleOdbcDriverDoesNotSupport64Bit(record) => record,
        other => {
            let words = told_words("", &other.to_string(), known);
            return DatabaseError { state: String::new(), native: 0, words };
        }
    };
    let state = record.state.as_str().to_owned();
    let words = told_words(&state, &String::from_utf16_lossy(&record.message), known);
    DatabaseError { state, native: record.native_error, words }
}
