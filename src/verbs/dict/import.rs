//! `forepost dict import FILE`: a dictionary from a table that a person wrote.
//!
//! A column is found by the field's name, by another of its names, or by its Chinese label, in any
//! case. A row with a mistake is named by line and column and left out; the others are taken.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{WhichArguments, change_json, print_change};
use crate::app;
use crate::catalog::table::Field;
use crate::catalog::{self, Kind, Level, Mode, Record};
use crate::clock;
use crate::codec::sheet::Sheet;
use crate::config::Config;
use crate::dictionary::{Fate, Remark, Taken, TakenHospital, interface};
use crate::fault::Fault;
use crate::limits::DICTIONARY_REMARKS_MAX;
use crate::model::DictionaryKind;
use crate::verbs::{ByArgument, DONE, FAILED, fail, read_sheet, wait};

/// Changes that a dry run prints; `--json` has them all.
const CHANGES_PRINTED_MAX: usize = 200;

/// What `dict import` takes.
#[derive(Args)]
pub struct ImportArguments {
    /// The CSV file, UTF-8 or GBK, with a header line.
    file: PathBuf,
    #[command(flatten)]
    which: WhichArguments,
    #[command(flatten)]
    by: ByArgument,
    /// Only show what would be added, changed and removed.
    #[arg(long)]
    dry_run: bool,
}

/// A table's rows for the flow, and how to find them again.
struct Rows {
    records: Vec<Record>,
    lines: Vec<u64>,
    /// The column of each field, counted from 1.
    columns: Vec<(&'static str, usize)>,
    /// Rows that are no rows of this table.
    left_out: Vec<Mistake>,
}

/// What is wrong in a line.
struct Mistake {
    line: u64,
    column: Option<usize>,
    words: String,
}

pub(super) fn run(arguments: &ImportArguments) -> Result<u8, u8> {
    let (config, hospital) = arguments.which.read()?;
    let kind = arguments.which.kind;
    let file = arguments.file.display();
    let sheet = read_sheet(&arguments.file)?;
    let mut rows = rows(sheet, kind).map_err(|error| fail(format!("{file}: {error}")))?;
    let records = std::mem::take(&mut rows.records);
    // Every hospital has an origin of its own: a file of one says nothing about the others.
    let origin = format!("import of {hospital} by {}", arguments.by.name()?);
    let taken = if arguments.dry_run {
        let flow = app::dictionary_flow(&config, crate::verbs::open_to_read(&config)?);
        flow.preview(&hospital, kind, &records, &origin).map_err(fail)?
    } else {
        take(&config, &hospital, kind, records, &origin)?.map_err(fail)?
    };
    if arguments.which.json {
        println!("{}", taken_json(&taken, &rows));
    } else {
        print(&taken, &rows, arguments.dry_run);
    }
    let nothing_read = taken.hospitals.iter().all(|one| one.rows == 0);
    Ok(if nothing_read && rows.left_out_count(&taken) > 0 { FAILED } else { DONE })
}

fn take(
    config: &Config,
    hospital: &str,
    kind: DictionaryKind,
    records: Vec<Record>,
    origin: &str,
) -> Result<Result<Taken, Fault>, u8> {
    let ledger = crate::verbs::open_beside(config)?;
    let flow = app::dictionary_flow(config, ledger.clone());
    let taken = wait(flow.take_whole(hospital, kind, records, origin, clock::now()));
    ledger.close();
    taken
}

/// Checks every row by the catalogue. A header without the fields that a row cannot do without is
/// a mistake of the file.
fn rows(sheet: Sheet, kind: DictionaryKind) -> Result<Rows, String> {
    let interface = interface(kind);
    let columns: Vec<(&Field, usize)> = interface
        .fields
        .iter()
        .filter_map(|field| {
            let names = [&[field.name, field.label], field.aliases].concat();
            Some((field, sheet.column(&names)?))
        })
        .collect();
    let needed = |field: &&Field| is_indispensable(field);
    for field in interface.fields.iter().filter(needed) {
        if !columns.iter().any(|(found, _)| found.name == field.name) {
            return Err(format!("header: no column {} ({})", field.name, field.label));
        }
    }
    let mut rows = Rows {
        records: Vec::new(),
        lines: Vec::new(),
        columns: columns.iter().map(|(field, at)| (field.name, at + 1)).collect(),
        left_out: Vec::new(),
    };
    for row in &sheet.rows {
        let (got, expected) = (row.fields.len(), sheet.header.len());
        if got != expected {
            let words = format!("{got} fields where the header has {expected}");
            rows.left_out.push(Mistake { line: row.line, column: None, words });
            continue;
        }
        let map: Map<String, Value> = columns
            .iter()
            .map(|(field, at)| (field.name.to_owned(), Value::from(row.fields[*at].as_str())))
            .collect();
        let overlay = catalog::Overlay::default();
        let checked = catalog::check(interface, &Value::Object(map), Mode::Lenient, &overlay);
        // What is missing is told by the flow, which takes rows from everywhere.
        match checked.faults.iter().find(|fault| fault.kind != Kind::Required) {
            Some(fault) => rows.left_out.push(Mistake {
                line: row.line,
                column: rows.column(&fault.field),
                words: fault.message_en.clone(),
            }),
            None => {
                rows.records.push(checked.record);
                rows.lines.push(row.line);
            }
        }
    }
    Ok(rows)
}

/// Whether a row without this field is refused also where the catalogue is lenient.
fn is_indispensable(field: &Field) -> bool {
    field.required
        && field.levels.iter().any(|it| {
            it.kind == Kind::Required && it.mode == Mode::Lenient && it.level == Level::Reject
        })
}

impl Rows {
    fn column(&self, field: &str) -> Option<usize> {
        self.columns.iter().find(|(name, _)| *name == field).map(|(_, at)| *at)
    }

    fn mistake(&self, remark: &Remark) -> Mistake {
        let line = self.lines.get(remark.row.wrapping_sub(1)).copied().unwrap_or_default();
        let words = format!("{}: {}", remark.field, remark.words);
        Mistake { line, column: self.column(remark.field), words }
    }

    /// Everything that was left out, by line.
    fn all_left_out(&self, taken: &Taken) -> Vec<Mistake> {
        let told = taken.left_out.iter().map(|remark| self.mistake(remark));
        let own = self.left_out.iter().take(DICTIONARY_REMARKS_MAX).map(|one| Mistake {
            line: one.line,
            column: one.column,
            words: one.words.clone(),
        });
        let mut all: Vec<Mistake> = told.chain(own).collect();
        all.sort_by_key(|one| one.line);
        all
    }

    fn left_out_count(&self, taken: &Taken) -> usize {
        taken.left_out_count + self.left_out.len()
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.words),
            None => write!(f, "line {}: {}", self.line, self.words),
        }
    }
}

fn print(taken: &Taken, rows: &Rows, dry_run: bool) {
    for mistake in rows.all_left_out(taken) {
        eprintln!("left out: {mistake}");
    }
    for warning in &taken.warnings {
        eprintln!("warning: {}", rows.mistake(warning));
    }
    for one in &taken.hospitals {
        if dry_run {
            one.changes.iter().take(CHANGES_PRINTED_MAX).for_each(print_change);
            let more = one.changes.len().saturating_sub(CHANGES_PRINTED_MAX);
            if more > 0 {
                println!("and {more} more");
            }
        }
        let (added, changed, removed) = one.counts();
        let counts =
            format!("{} rows, {added} added, {changed} changed, {removed} removed", one.rows);
        let fate = match (&one.fate, dry_run) {
            (Fate::Unchanged, _) => "nothing new".to_owned(),
            (Fate::Published, false) => "published".to_owned(),
            (Fate::Published, true) => "would be published".to_owned(),
            (Fate::Held(reason), false) => {
                format!("held, because {reason}; `forepost dict release` publishes it")
            }
            (Fate::Held(reason), true) => format!("would be held, because {reason}"),
        };
        println!("{}: {counts}: {fate}", one.hospital);
    }
    println!("{} rows left out", rows.left_out_count(taken));
}

fn taken_json(taken: &Taken, rows: &Rows) -> Value {
    let mistake =
        |one: Mistake| json!({ "line": one.line, "column": one.column, "words": one.words });
    json!({
        "hospitals": taken.hospitals.iter().map(hospital_json).collect::<Vec<_>>(),
        "left_out": rows.all_left_out(taken).into_iter().map(mistake).collect::<Vec<_>>(),
        "left_out_count": rows.left_out_count(taken),
        "warnings": taken.warnings.iter().map(|it| mistake(rows.mistake(it))).collect::<Vec<_>>(),
    })
}

fn hospital_json(one: &TakenHospital) -> Value {
    let (fate, reason) = match &one.fate {
        Fate::Published => ("published", None),
        Fate::Held(reason) => ("held", Some(reason)),
        Fate::Unchanged => ("unchanged", None),
    };
    let (added, changed, removed) = one.counts();
    json!({
        "hospital": one.hospital,
        "fate": fate,
        "reason": reason,
        "rows": one.rows,
        "added": added,
        "changed": changed,
        "removed": removed,
        "changes": one.changes.iter().map(change_json).collect::<Vec<_>>(),
    })
}
