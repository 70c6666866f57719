//! `forepost dict list|show|diff|import|publish|hold|release`: what clouds are answered, and the
//! copies that wait for a person. Those that decide write into the ledger beside the running
//! service, which sees it at its next answer.

mod import;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArgument, DONE, FAILED, fail, plans};
use crate::clock;
use crate::config::Config;
use crate::ledger::{CopyShown, DictionaryShown, LedgerError};
use crate::model::{DictionaryChange, DictionaryKind, DictionaryRow};

/// Rows or changes that are shown unless told otherwise.
const SHOWN_DEFAULT: usize = 50;

/// What `dict` can do.
#[derive(Subcommand)]
pub enum DictVerb {
    /// Every dictionary: how many rows, how old, what is held.
    List(ListArguments),
    /// One dictionary: its rows and the copies that came.
    Show(ShowArguments),
    /// What the held copy would change, or what an earlier one changed.
    Diff(DiffArguments),
    /// Take a dictionary from a CSV file.
    Import(import::ImportArguments),
    /// Publish the copy that is held.
    Publish(DecideArguments),
    /// Hold every copy back from now on.
    Hold(DecideArguments),
    /// Publish what is held, and hold nothing back any more.
    Release(DecideArguments),
}

/// What `dict list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Which dictionary.
#[derive(Args)]
pub struct WhichArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// `exam` or `dept`.
    #[arg(long, value_parser = kind)]
    kind: DictionaryKind,
    /// The hospital's code; not needed where only one is served.
    #[arg(long)]
    hospital: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `dict show` takes.
#[derive(Args)]
pub struct ShowArguments {
    #[command(flatten)]
    which: WhichArguments,
    /// At most so many rows and copies.
    #[arg(long, default_value_t = SHOWN_DEFAULT)]
    limit: usize,
}

/// What `dict diff` takes.
#[derive(Args)]
pub struct DiffArguments {
    #[command(flatten)]
    which: WhichArguments,
    /// The copy, from `dict show`; the held one by default.
    #[arg(long)]
    copy: Option<i64>,
    /// At most so many changes.
    #[arg(long, default_value_t = SHOWN_DEFAULT)]
    limit: usize,
}

/// What the verbs that decide take.
#[derive(Args)]
pub struct DecideArguments {
    #[command(flatten)]
    which: WhichArguments,
    #[command(flatten)]
    by: super::ByArgument,
}

fn kind(text: &str) -> Result<DictionaryKind, String> {
    DictionaryKind::from_name(text).ok_or_else(|| "expected `exam` or `dept`".to_owned())
}

/// Runs the verb.
pub fn run(verb: &DictVerb) -> u8 {
    let done = match verb {
        DictVerb::List(arguments) => list(arguments),
        DictVerb::Show(arguments) => show(arguments),
        DictVerb::Diff(arguments) => diff(arguments),
        DictVerb::Import(arguments) => import::run(arguments),
        DictVerb::Publish(arguments) => decide(arguments, Decision::Publish),
        DictVerb::Hold(arguments) => decide(arguments, Decision::Hold),
        DictVerb::Release(arguments) => decide(arguments, Decision::Release),
    };
    done.unwrap_or_else(|code| code)
}

impl WhichArguments {
    fn read(&self) -> Result<(Config, String), u8> {
        let config = self.config.read()?;
        let hospital = super::hospital(&config, self.hospital.as_deref())?;
        Ok((config, hospital))
    }
}

fn list(arguments: &ListArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let mut all = super::open_to_read(&config)?.dictionaries().map_err(fail)?;
    for hospital in &config.hospitals {
        for kind in DictionaryKind::ALL {
            if !all.iter().any(|one| one.hospital == hospital.code && one.kind == kind) {
                all.push(DictionaryShown::never(hospital.code.clone(), kind));
            }
        }
    }
    all.sort_by(|one, other| (&one.hospital, one.kind).cmp(&(&other.hospital, other.kind)));
    if arguments.json {
        println!("{}", Value::Array(all.iter().map(dictionary_json).collect()));
        return Ok(DONE);
    }
    println!("{:<16} {:<5} {:>7} {:>6}  {:<20} waits", "hospital", "kind", "rows", "age", "origin");
    for one in &all {
        let age = one.seen_at.map(|at| plans::duration(clock::now().since_ms(at)));
        println!(
            "{:<16} {:<5} {:>7} {:>6}  {:<20} {}",
            one.hospital,
            one.kind.name(),
            if one.version == 0 { "-".to_owned() } else { one.rows.to_string() },
            age.unwrap_or_default(),
            one.origin,
            waits(one)
        );
    }
    Ok(DONE)
}

fn waits(shown: &DictionaryShown) -> String {
    match (&shown.held, &shown.held_by) {
        (Some(held), _) => format!("copy {}: {}", held.id, held.reason),
        (None, Some(by)) => format!("every copy, for {by}"),
        (None, None) => String::new(),
    }
}

fn show(arguments: &ShowArguments) -> Result<u8, u8> {
    let (config, hospital) = arguments.which.read()?;
    let (kind, limit) = (arguments.which.kind, arguments.limit);
    let ledger = super::open_to_read(&config)?;
    let Some(shown) = ledger.dictionary(&hospital, kind).map_err(fail)? else {
        return Err(fail("no copy of this dictionary ever came"));
    };
    let copies = ledger.dictionary_copies(&hospital, kind, limit).map_err(fail)?;
    let (_, mut rows) = ledger.dictionary_rows(&hospital, kind).map_err(fail)?;
    rows.truncate(limit);
    if arguments.which.json {
        let mut value = dictionary_json(&shown);
        value["copies"] = copies.iter().map(copy_json).collect();
        value["entries"] = rows.iter().map(row_json).collect();
        println!("{value}");
        return Ok(DONE);
    }
    for copy in &copies {
        let at = copy.taken_at.wall(config.offset).strftime("%Y-%m-%d %H:%M").to_string();
        println!(
            "copy {:<5} {at} {:<9} {:>6} rows, +{} ~{} -{} from {} {} {}",
            copy.id,
            copy.state,
            copy.rows,
            copy.added,
            copy.changed,
            copy.removed,
            copy.origin,
            copy.decided_by,
            copy.reason
        );
    }
    for row in &rows {
        println!("{}", row_words(row));
    }
    println!("{} of {} rows", rows.len(), shown.rows);
    Ok(DONE)
}

fn diff(arguments: &DiffArguments) -> Result<u8, u8> {
    let (config, hospital) = arguments.which.read()?;
    let ledger = super::open_to_read(&config)?;
    let shown = ledger.dictionary(&hospital, arguments.which.kind).map_err(fail)?;
    let held = shown.and_then(|shown| shown.held).map(|held| held.id);
    let Some(copy) = arguments.copy.or(held) else {
        return Err(fail("nothing is held; `--copy N` shows an earlier copy"));
    };
    let changes = ledger.dictionary_changes(copy, arguments.limit).map_err(fail)?;
    if arguments.which.json {
        let changes: Vec<Value> = changes.iter().map(change_json).collect();
        println!("{}", json!({ "copy": copy, "changes": changes }));
        return Ok(DONE);
    }
    changes.iter().for_each(print_change);
    Ok(DONE)
}

enum Decision {
    Publish,
    Hold,
    Release,
}

fn decide(arguments: &DecideArguments, decision: Decision) -> Result<u8, u8> {
    let (config, hospital) = arguments.which.read()?;
    let (kind, by) = (arguments.which.kind, arguments.by.name()?);
    let ledger = super::open_beside(&config)?;
    let now = clock::now();
    let decided = super::wait(async {
        match decision {
            Decision::Publish => ledger.publish_dictionary(hospital.clone(), kind, by, now).await,
            Decision::Hold => {
                ledger.hold_dictionary(hospital.clone(), kind, true, by, now).await.map(|()| None)
            }
            Decision::Release => {
                ledger.hold_dictionary(hospital.clone(), kind, false, by.clone(), now).await?;
                ledger.publish_dictionary(hospital.clone(), kind, by, now).await
            }
        }
    })?;
    let published: Option<i64> = decided.map_err(|error: LedgerError| fail(error))?;
    ledger.close();
    if arguments.which.json {
        println!(
            "{}",
            json!({ "hospital": hospital, "kind": kind.name(), "published": published })
        );
        return Ok(DONE);
    }
    match (decision, published) {
        (_, Some(copy)) => println!("copy {copy} is published"),
        (Decision::Hold, None) => println!("every copy is held from now on"),
        (Decision::Release, None) => println!("nothing was held; copies are published again"),
        (Decision::Publish, None) => {
            eprintln!("nothing is held");
            return Ok(FAILED);
        }
    }
    Ok(DONE)
}

fn print_change(change: &DictionaryChange) {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            println!("{:<8} {}", change.word(), row_words(before));
            println!("{:<8} {}", "  to", row_words(after));
        }
        (before, after) => {
            let row = after.as_ref().or(before.as_ref());
            println!("{:<8} {}", change.word(), row.map(row_words).unwrap_or_default());
        }
    }
}

fn row_words(row: &DictionaryRow) -> String {
    let texts = row.texts().into_iter().filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join(" | ")
}

fn dictionary_json(shown: &DictionaryShown) -> Value {
    json!({
        "hospital": shown.hospital,
        "kind": shown.kind.name(),
        "version": shown.version,
        "rows": shown.rows,
        "origin": shown.origin,
        "seen_at_ms": shown.seen_at.map(|at| at.0),
        "held_by": shown.held_by,
        "held": shown.held.as_ref().map(copy_json),
    })
}

fn copy_json(copy: &CopyShown) -> Value {
    json!({
        "copy": copy.id,
        "state": copy.state,
        "origin": copy.origin,
        "reason": copy.reason,
        "rows": copy.rows,
        "added": copy.added,
        "changed": copy.changed,
        "removed": copy.removed,
        "taken_at_ms": copy.taken_at.0,
        "decided_at_ms": copy.decided_at.map(|at| at.0),
        "decided_by": copy.decided_by,
    })
}

fn change_json(change: &DictionaryChange) -> Value {
    json!({
        "change": change.word(),
        "code": change.code(),
        "before": change.before.as_ref().map(row_json),
        "after": change.after.as_ref().map(row_json),
    })
}

fn row_json(row: &DictionaryRow) -> Value {
    json!({
        "code": row.code,
        "name": row.name,
        "modality": row.modality,
        "body_part": row.body_part,
        "price": row.price,
        "check_status": row.check_status,
        "source_type": row.source_type,
        "remark": row.remark,
    })
}
