//! Mappings as a table: out with a byte order mark, so that a spreadsheet reads the Chinese, and
//! back in. A row counts as confirmed when its column `confirmed` says 1, yes or 是, or when there
//! is no such column.

use std::io::Write;

use serde_json::json;

use super::{ExportArguments, ImportArguments, check, keep, open_items, served};
use crate::clock;
use crate::codec::sheet::{Sheet, SheetRow};
use crate::config::Config;
use crate::ledger::{Ledger, MappingShown, StandardCode};
use crate::mapping;
use crate::model::{Standard, Time};
use crate::verbs::{DONE, FAILED, fail, read_sheet, wait};
use crate::verbs::{open_beside, open_to_read};

const HEADER: [&str; 8] =
    ["hospitalld", "examCode", "examName", "modality", "bodyPart", "code", "score", "confirmed"];

pub(super) fn export(arguments: &ExportArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let ledger = open_to_read(&config)?;
    let mut writer = csv::Writer::from_writer(b"\xef\xbb\xbf".to_vec());
    let written = write(&mut writer, &ledger, &config, arguments.suggestions)?;
    written.map_err(fail)?;
    let bytes = writer.into_inner().map_err(fail)?;
    match &arguments.file {
        Some(file) => std::fs::write(file, bytes)
            .map_err(|error| fail(format!("{}: {error}", file.display())))?,
        None => std::io::stdout().write_all(&bytes).map_err(fail)?,
    }
    Ok(DONE)
}

fn write(
    writer: &mut csv::Writer<Vec<u8>>,
    ledger: &Ledger,
    config: &Config,
    suggestions: bool,
) -> Result<Result<(), csv::Error>, u8> {
    let mut rows: Vec<[String; 8]> = vec![HEADER.map(str::to_owned)];
    for one in ledger.mappings().map_err(fail)? {
        let Standard { modality, body_part, code } = one.standard;
        let (score, confirmed) = (String::new(), "1".to_owned());
        let row = [
            one.hospital,
            one.exam_code,
            one.exam_name,
            modality,
            body_part,
            code,
            score,
            confirmed,
        ];
        rows.push(row);
    }
    let open = if suggestions { open_items(ledger, &served(config))? } else { Vec::new() };
    for one in open {
        let Standard { modality, body_part, code } = one.suggestion.standard;
        let (score, confirmed) = (one.suggestion.score.to_string(), String::new());
        let row =
            [one.hospital, one.row.code, one.row.name, modality, body_part, code, score, confirmed];
        rows.push(row);
    }
    Ok(rows.iter().try_for_each(|row| writer.write_record(row)))
}

pub(super) fn import(arguments: &ImportArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let by = arguments.by.name()?;
    let sheet = read_sheet(&arguments.file)?;
    let now = clock::now();
    let mut mistakes = Vec::new();
    if sheet.column(&["examCode"]).is_none() {
        let codes = codes(&sheet, &mut mistakes);
        refuse(&mistakes)?;
        let ledger = open_beside(&config)?;
        let count = codes.len();
        wait(ledger.replace_standard_codes(codes, by, now))?.map_err(fail)?;
        ledger.close();
        match arguments.json {
            true => println!("{}", json!({ "codes": count })),
            false => println!("{count} codes"),
        }
        return Ok(DONE);
    }
    let mappings = mappings(&sheet, &served(&config), &by, now, &mut mistakes);
    refuse(&mistakes)?;
    keep(&open_beside(&config)?, mappings, arguments.json)
}

/// Nothing is taken from a table with a mistake: what a person confirmed is confirmed whole.
fn refuse(mistakes: &[String]) -> Result<(), u8> {
    mistakes.iter().for_each(|mistake| eprintln!("{mistake}"));
    if mistakes.is_empty() { Ok(()) } else { Err(FAILED) }
}

/// A row's text in the column of one of these names; empty where there is none.
fn text(sheet: &Sheet, row: &SheetRow, names: &[&str]) -> String {
    let at = sheet.column(names);
    at.and_then(|at| row.fields.get(at)).cloned().unwrap_or_default()
}

fn standard(sheet: &Sheet, row: &SheetRow) -> Standard {
    let read = |names: &[&str]| text(sheet, row, names).to_uppercase();
    Standard {
        modality: read(&["modality", "检查模式"]),
        body_part: read(&["bodyPart", "body_part"]),
        code: read(&["code", "编码"]),
    }
}

fn codes(sheet: &Sheet, mistakes: &mut Vec<String>) -> Vec<StandardCode> {
    let mut codes = Vec::new();
    for (names, needed) in [(["code", "编码"], "code"), (["name", "名称"], "name")] {
        if sheet.column(&names).is_none() {
            mistakes.push(format!("header: no column {needed}"));
        }
    }
    if !mistakes.is_empty() {
        return codes;
    }
    for row in &sheet.rows {
        let (name, standard) = (text(sheet, row, &["name", "名称"]), standard(sheet, row));
        if name.is_empty() || !mapping::is_code(&standard.code) {
            let words = "a name and a code of nine capital letters and digits are needed";
            mistakes.push(format!("line {}: {words}", row.line));
            continue;
        }
        codes.push(StandardCode { name, standard });
    }
    codes
}

fn mappings(
    sheet: &Sheet,
    served: &[String],
    by: &str,
    now: Time,
    mistakes: &mut Vec<String>,
) -> Vec<MappingShown> {
    let told = sheet.column(&["confirmed", "确认"]).is_some();
    let mut mappings = Vec::new();
    for row in &sheet.rows {
        let confirmed = text(sheet, row, &["confirmed", "确认"]);
        if told && !["1", "yes", "是"].contains(&confirmed.to_lowercase().as_str()) {
            continue;
        }
        let named = text(sheet, row, &["hospitalld", "hospitalId"]);
        let hospital = match (named.is_empty(), served) {
            (true, [only]) => only.clone(),
            _ => named,
        };
        let (exam_code, standard) = (text(sheet, row, &["examCode"]), standard(sheet, row));
        let checked = match () {
            () if !served.contains(&hospital) => {
                Err("hospitalld: not a hospital served here".to_owned())
            }
            () if exam_code.is_empty() => Err("examCode: missing".to_owned()),
            () => check(&standard),
        };
        match checked {
            Err(words) => mistakes.push(format!("line {}: {words}", row.line)),
            Ok(()) => mappings.push(MappingShown {
                hospital,
                exam_code,
                exam_name: text(sheet, row, &["examName", "检查项目名称"]),
                standard,
                confirmed_by: by.to_owned(),
                confirmed_at: now,
            }),
        }
    }
    mappings
}
