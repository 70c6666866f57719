//! `forepost export evidence|on-time|verify`: what can be proved to others.

use std::io::Write;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::{Value, json};

use super::{ConfigArgument, DONE, FAILED, fail, open_to_read};
use crate::clock;
use crate::config::Config;
use crate::ledger::{Chain, Evidence, Ledger, OnTime};
use crate::model::Time;

/// Lines of one export: some weeks of a large hospital.
const LINES_MAX: usize = 1_000_000;

/// What `export` can do.
#[derive(Subcommand)]
pub enum ExportVerb {
    /// A day's evidence as lines of JSON, each with the hash of the one before it.
    Evidence(EvidenceArguments),
    /// How many of a day's deliveries were on time.
    OnTime(DayArguments),
    /// Check a file that `export evidence` wrote; needs neither keys nor ledger.
    Verify(VerifyArguments),
}

/// What `export evidence` takes.
#[derive(Args)]
pub struct EvidenceArguments {
    #[command(flatten)]
    day: DayArguments,
    /// Put the bodies beside their hashes, as far as they are still kept. They are personal.
    #[arg(long)]
    bodies: bool,
    /// Into this file instead of the standard output.
    #[arg(long)]
    to: Option<PathBuf>,
}

/// The day.
#[derive(Args)]
pub struct DayArguments {
    /// By the hospital's clock, like 2026-11-21; else today.
    #[arg(long)]
    day: Option<Date>,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON (the evidence always is).
    #[arg(long)]
    json: bool,
}

/// What `export verify` takes.
#[derive(Args)]
pub struct VerifyArguments {
    /// The file.
    file: PathBuf,
}

/// Runs the verb.
pub fn run(verb: &ExportVerb) -> u8 {
    let result = match verb {
        ExportVerb::Evidence(arguments) => evidence(arguments),
        ExportVerb::OnTime(arguments) => on_time(arguments),
        ExportVerb::Verify(arguments) => verify(&arguments.file),
    };
    result.unwrap_or_else(|code| code)
}

/// The day's first moment and the next day's.
fn span(day: &DayArguments, config: &Config) -> (Date, Time, Time) {
    let date = day.day.unwrap_or_else(|| clock::now().wall(config.offset).date());
    let begin = |date: Date| {
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        Time::from_wall(midnight, config.offset).unwrap_or(Time(i64::MAX))
    };
    (date, begin(date), date.tomorrow().map_or(Time(i64::MAX), begin))
}

fn evidence(arguments: &EvidenceArguments) -> Result<u8, u8> {
    let config = arguments.day.config.read()?;
    let ledger = open_to_read(&config)?;
    let (date, from, to) = span(&arguments.day, &config);
    let chain = ledger.evidence(from, to, LINES_MAX).map_err(fail)?;
    let mut out: Box<dyn Write> = match &arguments.to {
        Some(path) => Box::new(std::io::BufWriter::new(private_file(path).map_err(fail)?)),
        None => Box::new(std::io::stdout().lock()),
    };
    write_chain(&mut out, date, &chain, &ledger, arguments.bodies).map_err(fail)?;
    if let Some(number) = chain.broken_at() {
        eprintln!("line {number} does not fit the one before it: the ledger was changed");
        return Ok(FAILED);
    }
    Ok(DONE)
}

/// Bodies may be personal: nobody else reads the file.
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_chain(
    out: &mut dyn Write,
    date: Date,
    chain: &Chain,
    ledger: &Ledger,
    bodies: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let head = json!({
        "evidence": "forepost 1", "day": date.to_string(), "before": hex::encode(chain.before),
        "hash": "SHA-256 of the hash before, number, at_ms, delivery, event, detail; each but the \
                 first as text with a line feed behind it",
    });
    writeln!(out, "{head}")?;
    for line in &chain.lines {
        let mut value = json!({
            "number": line.number, "at_ms": line.at.0, "delivery": line.delivery,
            "event": line.event, "detail": line.detail, "hash": hex::encode(line.hash),
        });
        if let (true, "accepted", Some(id)) = (bodies, line.event.as_str(), line.delivery)
            && let Some((_, _, Some(body))) = ledger.delivery(id)?
        {
            value["body"] = String::from_utf8_lossy(&body).into();
        }
        writeln!(out, "{value}")?;
    }
    let last = chain.lines.last().map_or(chain.before, |line| line.hash);
    writeln!(out, "{}", json!({ "lines": chain.lines.len(), "last": hex::encode(last) }))?;
    out.flush()?;
    Ok(())
}

fn on_time(arguments: &DayArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let ledger = open_to_read(&config)?;
    let (date, from, to) = span(arguments, &config);
    let rows = ledger.on_time(from, to, clock::now()).map_err(fail)?;
    if arguments.json {
        let rows: Vec<Value> = rows.iter().map(row_json).collect();
        println!("{}", json!({ "day": date.to_string(), "interfaces": rows }));
        return Ok(DONE);
    }
    println!("deliveries whose deadline began to run on {date}");
    for row in &rows {
        println!(
            "{}: {} due, {} on time, {} late, {} still open, {} missed, {} written off; the clock \
             ran from the hospital's own time for {}, possibly too late for {}",
            row.interface,
            row.due,
            row.on_time,
            row.late,
            row.open,
            row.missed,
            row.written_off,
            row.given,
            row.possibly_late
        );
    }
    if rows.is_empty() {
        println!("none");
    }
    Ok(DONE)
}

fn row_json(row: &OnTime) -> Value {
    json!({
        "interface": row.interface, "due": row.due, "on_time": row.on_time, "late": row.late,
        "open": row.open, "missed": row.missed, "written_off": row.written_off,
        "given": row.given, "possibly_late": row.possibly_late,
    })
}

fn verify(file: &Path) -> Result<u8, u8> {
    let text = std::fs::read_to_string(file).map_err(fail)?;
    match verified(&text) {
        Ok((lines, last)) => {
            println!("{lines} lines, whole; the last hash is {last}");
            Ok(DONE)
        }
        Err(words) => {
            eprintln!("{}: {words}", file.display());
            Ok(FAILED)
        }
    }
}

/// Checks every hash of an exported day; returns the number of lines and the last hash.
fn verified(text: &str) -> Result<(usize, String), String> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let value: Value =
            serde_json::from_str(line).map_err(|_| format!("line {} is no JSON", at + 1))?;
        lines.push(value);
    }
    let (Some(head), Some(end)) = (lines.first(), lines.last()) else {
        return Err("the file is empty".into());
    };
    if head["evidence"] != "forepost 1" || lines.len() < 2 {
        return Err("no export of evidence".into());
    }
    let before = hash_in(&head["before"]).ok_or("line 1 has no hash")?;
    let mut chain = Chain { before, lines: Vec::new() };
    for (at, value) in lines[1..lines.len() - 1].iter().enumerate() {
        let line = line_in(value).ok_or_else(|| format!("line {} is none", at + 2))?;
        if let Some(body) = value["body"].as_str() {
            let detail: Value = serde_json::from_str(&line.detail).unwrap_or_default();
            if detail["body_sha256"] != hex::encode(digest(&SHA256, body.as_bytes())) {
                return Err(format!("the body of number {} is another", line.number));
            }
        }
        chain.lines.push(line);
    }
    if let Some(number) = chain.broken_at() {
        return Err(format!("number {number} does not fit the one before it"));
    }
    let last = hex::encode(chain.lines.last().map_or(chain.before, |line| line.hash));
    if end["last"] != last || end["lines"] != chain.lines.len() {
        return Err("the end is missing".into());
    }
    Ok((chain.lines.len(), last))
}

fn hash_in(value: &Value) -> Option<[u8; 32]> {
    hex::decode(value.as_str()?).ok()?.try_into().ok()
}

fn line_in(value: &Value) -> Option<Evidence> {
    Some(Evidence {
        number: value["number"].as_i64()?,
        at: Time(value["at_ms"].as_i64()?),
        delivery: value["delivery"].as_i64(),
        event: value["event"].as_str()?.to_owned(),
        detail: value["detail"].as_str()?.to_owned(),
        hash: hash_in(&value["hash"])?,
    })
}
