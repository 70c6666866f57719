//! `forepost map suggest|list|confirm|export|import`: from the hospital's examination items to
//! words that hospitals share. The machine suggests, a person confirms; a table can go through a
//! spreadsheet in between.

mod table;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::{ByArgument, ConfigArgument, DONE, fail, wait};
use super::{open_beside, open_to_read};
use crate::clock;
use crate::config::Config;
use crate::ledger::{Ledger, MappingShown};
use crate::mapping::{self, Known, Suggestion};
use crate::model::{DictionaryKind, DictionaryRow, Standard};

/// Lines that are shown unless told otherwise.
const SHOWN_DEFAULT: usize = 50;

/// What `map` can do.
#[derive(Subcommand)]
pub enum MapVerb {
    /// What the items nobody confirmed may be, the surest first.
    Suggest(SuggestArguments),
    /// What was confirmed.
    List(ListArguments),
    /// Confirm one item, or every suggestion from a score on.
    Confirm(ConfirmArguments),
    /// Write what was confirmed, and with --suggestions the rest, as CSV.
    Export(ExportArguments),
    /// Take confirmed items from CSV, or the code list of WS/T 364.8-2023.
    Import(ImportArguments),
}

/// What `map suggest` takes.
#[derive(Args)]
pub struct SuggestArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The hospital's code; not needed where only one is served.
    #[arg(long)]
    hospital: Option<String>,
    /// Only suggestions with at least this score, 0 to 100.
    #[arg(long, default_value_t = 0)]
    score_min: u8,
    /// At most so many.
    #[arg(long, default_value_t = SHOWN_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `map list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// At most so many.
    #[arg(long, default_value_t = SHOWN_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `map confirm` takes.
#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).args(["exam", "score_min"]))]
pub struct ConfirmArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The hospital's code; not needed where only one is served.
    #[arg(long)]
    hospital: Option<String>,
    /// The item's code.
    #[arg(long)]
    exam: Option<String>,
    /// Every suggestion that names modality and body part with at least this score.
    #[arg(long)]
    score_min: Option<u8>,
    /// The modality, where the suggestion is wrong.
    #[arg(long, requires = "exam")]
    modality: Option<String>,
    /// The body part, where the suggestion is wrong.
    #[arg(long, requires = "exam")]
    body_part: Option<String>,
    /// The code of WS/T 364.8-2023, where the suggestion is wrong or has none.
    #[arg(long, requires = "exam")]
    code: Option<String>,
    #[command(flatten)]
    by: ByArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `map export` takes.
#[derive(Args)]
pub struct ExportArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Where to; the standard output by default.
    file: Option<PathBuf>,
    /// Also what nobody confirmed, with its suggestion.
    #[arg(long)]
    suggestions: bool,
}

/// What `map import` takes.
#[derive(Args)]
pub struct ImportArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The CSV file: with a column `examCode` confirmed items, else a code list with the columns
    /// `code` and `name`, and `modality` and `bodyPart` where it has them.
    file: PathBuf,
    #[command(flatten)]
    by: ByArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(verb: &MapVerb) -> u8 {
    let done = match verb {
        MapVerb::Suggest(arguments) => suggest(arguments),
        MapVerb::List(arguments) => list(arguments),
        MapVerb::Confirm(arguments) => confirm(arguments),
        MapVerb::Export(arguments) => table::export(arguments),
        MapVerb::Import(arguments) => table::import(arguments),
    };
    done.unwrap_or_else(|code| code)
}

/// An item that nobody confirmed, with what it may be.
struct Open {
    hospital: String,
    row: DictionaryRow,
    suggestion: Suggestion,
}

/// Every item of these hospitals that nobody confirmed, the surest suggestion first.
fn open_items(ledger: &Ledger, hospitals: &[String]) -> Result<Vec<Open>, u8> {
    let confirmed = ledger.mappings().map_err(fail)?;
    let known = Known::new(&confirmed, &ledger.standard_codes().map_err(fail)?);
    let is_confirmed: std::collections::HashSet<(&str, &str)> =
        confirmed.iter().map(|one| (one.hospital.as_str(), one.exam_code.as_str())).collect();
    let mut open = Vec::new();
    for hospital in hospitals {
        let rows = ledger.dictionary_rows(hospital, DictionaryKind::Exam).map_err(fail)?.1;
        for row in rows {
            if !is_confirmed.contains(&(hospital.as_str(), row.code.as_str())) {
                let suggestion = mapping::suggest(&row, &known);
                open.push(Open { hospital: hospital.clone(), row, suggestion });
            }
        }
    }
    open.sort_by_key(|one| std::cmp::Reverse(one.suggestion.score));
    Ok(open)
}

fn suggest(arguments: &SuggestArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let hospital = super::hospital(&config, arguments.hospital.as_deref())?;
    let mut open = open_items(&open_to_read(&config)?, &[hospital])?;
    open.retain(|one| one.suggestion.score >= arguments.score_min);
    let all = open.len();
    open.truncate(arguments.limit);
    if arguments.json {
        println!("{}", Value::Array(open.iter().map(open_json).collect()));
        return Ok(DONE);
    }
    for one in &open {
        let (row, suggestion) = (&one.row, &one.suggestion);
        println!(
            "{:>3}  {:<12} {}  {}  ({})",
            suggestion.score,
            row.code,
            row.name,
            standard_words(&suggestion.standard),
            suggestion.why.join("; ")
        );
    }
    println!("{} of {all} items", open.len());
    Ok(DONE)
}

fn list(arguments: &ListArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let mut all = open_to_read(&config)?.mappings().map_err(fail)?;
    all.truncate(arguments.limit);
    if arguments.json {
        println!("{}", Value::Array(all.iter().map(mapping_json).collect()));
        return Ok(DONE);
    }
    for one in &all {
        println!(
            "{:<16} {:<12} {}  {}  by {}",
            one.hospital,
            one.exam_code,
            one.exam_name,
            standard_words(&one.standard),
            one.confirmed_by
        );
    }
    Ok(DONE)
}

fn confirm(arguments: &ConfirmArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let hospital = super::hospital(&config, arguments.hospital.as_deref())?;
    let by = arguments.by.name()?;
    let ledger = open_beside(&config)?;
    let chosen = match &arguments.exam {
        Some(exam) => vec![one(&ledger, &hospital, exam, arguments)?],
        None => {
            let score_min = arguments.score_min.unwrap_or(100);
            let sure = |one: &Open| {
                let standard = &one.suggestion.standard;
                let named = !standard.modality.is_empty() && !standard.body_part.is_empty();
                named && one.suggestion.score >= score_min
            };
            let open = open_items(&ledger, std::slice::from_ref(&hospital))?;
            let sure = open.into_iter().filter(sure);
            sure.map(|one| (one.row.code, one.row.name, one.suggestion.standard)).collect()
        }
    };
    let mapping = |(exam_code, exam_name, standard)| MappingShown {
        hospital: hospital.clone(),
        exam_code,
        exam_name,
        standard,
        confirmed_by: by.clone(),
        confirmed_at: clock::now(),
    };
    let mappings: Vec<MappingShown> = chosen.into_iter().map(mapping).collect();
    keep(&ledger, mappings, arguments.json)
}

/// Writes what is confirmed and says how many.
fn keep(ledger: &Ledger, mappings: Vec<MappingShown>, as_json: bool) -> Result<u8, u8> {
    let count = mappings.len();
    wait(ledger.confirm_mappings(mappings))?.map_err(fail)?;
    ledger.close();
    match as_json {
        true => println!("{}", json!({ "confirmed": count })),
        false => println!("{count} confirmed"),
    }
    Ok(DONE)
}

/// The item of this code, as its suggestion or as the person says; code, name, what it is.
fn one(
    ledger: &Ledger,
    hospital: &str,
    exam: &str,
    arguments: &ConfirmArguments,
) -> Result<(String, String, Standard), u8> {
    let confirmed = ledger.mappings().map_err(fail)?;
    let known = Known::new(&confirmed, &ledger.standard_codes().map_err(fail)?);
    let rows = ledger.dictionary_rows(hospital, DictionaryKind::Exam).map_err(fail)?.1;
    let row = rows.into_iter().find(|row| row.code == exam);
    let row = row.ok_or_else(|| fail(format!("no item of {hospital} has the code {exam}")))?;
    let before = confirmed.into_iter().find(|it| it.hospital == hospital && it.exam_code == exam);
    let base = before.map(|before| before.standard);
    let base = base.unwrap_or_else(|| mapping::suggest(&row, &known).standard);
    let said = |said: &Option<String>, base: String| {
        said.as_ref().map_or(base, |said| said.trim().to_uppercase())
    };
    let standard = Standard {
        modality: said(&arguments.modality, base.modality),
        body_part: said(&arguments.body_part, base.body_part),
        code: said(&arguments.code, base.code),
    };
    check(&standard).map_err(fail)?;
    Ok((row.code, row.name, standard))
}

/// Whether a person may confirm this: a modality and a body part, and a code of the right form.
fn check(standard: &Standard) -> Result<(), String> {
    // A code string has at most 16 characters (PS3.5 6.2).
    let is_modality = (2..=16).contains(&standard.modality.len())
        && standard.modality.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit());
    if !is_modality {
        return Err("modality: an abbreviation of DICOM is needed, such as CT".to_owned());
    }
    let unknown =
        standard.body_part.split('+').find(|part| !mapping::body_parts().any(|it| it == *part));
    if let Some(part) = unknown {
        return Err(format!("body part: `{part}` is no term known here; CHEST is one"));
    }
    if !standard.code.is_empty() && !mapping::is_code(&standard.code) {
        return Err("code: nine capital letters and digits are needed".to_owned());
    }
    Ok(())
}

/// The hospitals that are served, by code.
fn served(config: &Config) -> Vec<String> {
    config.hospitals.iter().map(|hospital| hospital.code.clone()).collect()
}

fn standard_words(standard: &Standard) -> String {
    let known = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
    let Standard { modality, body_part, code } = standard;
    format!("{} {} {}", known(modality), known(body_part), known(code))
}

fn open_json(one: &Open) -> Value {
    json!({
        "hospital": one.hospital,
        "exam_code": one.row.code,
        "exam_name": one.row.name,
        "modality": one.suggestion.standard.modality,
        "body_part": one.suggestion.standard.body_part,
        "code": one.suggestion.standard.code,
        "score": one.suggestion.score,
        "why": one.suggestion.why,
    })
}

fn mapping_json(one: &MappingShown) -> Value {
    json!({
        "hospital": one.hospital,
        "exam_code": one.exam_code,
        "exam_name": one.exam_name,
        "modality": one.standard.modality,
        "body_part": one.standard.body_part,
        "code": one.standard.code,
        "confirmed_by": one.confirmed_by,
        "confirmed_at_ms": one.confirmed_at.0,
    })
}
