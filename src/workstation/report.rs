//! Reports that came with a study: the text of structured reports, and encapsulated documents.

use std::os::unix::fs::FileExt;

use forepost_cache::{CacheError, Instance, Study};
use serde::Serialize;
use serde_json::Value;

/// SOP classes of structured reports begin so (PS3.4 B.5, PS3.6 Annex A).
const STRUCTURED: &str = "1.2.840.10008.5.1.4.1.1.88.";

/// Encapsulated PDF Storage (PS3.4 B.5).
const PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";

/// Where the metadata of an encapsulated document name the document (0042,0011).
const DOCUMENT: &str = "bulkdata/00420011";

/// Reports of one study that are shown: a study has one or two.
const REPORTS_MAX: usize = 20;

/// Lines of one report.
const LINES_MAX: usize = 500;

/// How deep content items may nest (PS3.3 A.35 has templates of some ten levels).
const DEPTH_MAX: usize = 24;

/// A report that came with a study.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Report {
    /// A structured report.
    Text { lines: Vec<Line> },
    /// A document, by its SOP Instance UID (0008,0018).
    Document { sop: String },
}

/// One line of a report.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) depth: usize,
    /// What it is about.
    pub(super) label: String,
    /// What is said; empty for a heading.
    pub(super) text: String,
}

/// Whether an instance is a document that a browser shows.
pub(super) fn is_document(instance: &Instance) -> bool {
    &*instance.class == PDF
}

/// The reports of a study; empty when none came.
pub(super) fn shown(study: &Study) -> Result<Vec<Report>, CacheError> {
    let mut reports = Vec::new();
    for instance in study.instances() {
        if reports.len() >= REPORTS_MAX {
            break;
        }
        if instance.class.starts_with(STRUCTURED) {
            let json = study.metadata(instance)?;
            // What we wrote ourselves is JSON; a damaged record is told by the reading of it.
            let lines = lines(&serde_json::from_slice(&json).unwrap_or_default());
            if !lines.is_empty() {
                reports.push(Report::Text { lines });
            }
        } else if is_document(instance) {
            reports.push(Report::Document { sop: instance.sop.as_str().to_owned() });
        }
    }
    Ok(reports)
}

/// The document of an instance, read from its file; `None`: it names none.
pub(super) fn document(
    study: &Study,
    instance: &Instance,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, CacheError> {
    let Some(range) = study.bulk(instance, DOCUMENT)? else { return Ok(None) };
    let length = range.end.saturating_sub(range.start);
    if length > bytes_max {
        return Err(CacheError::TooLarge { what: "document", limit: bytes_max });
    }
    let mut bytes = vec![0; length as usize];
    let read = study.object(instance)?.read_exact_at(&mut bytes, range.start);
    read.map_err(|source| CacheError::Io { step: "reading a document", source })?;
    Ok(Some(bytes))
}

/// The lines of a structured report in DICOM JSON (PS3.3 C.17.3).
fn lines(report: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    let title = meaning(report, "0040A043");
    if !title.is_empty() {
        lines.push(Line { depth: 0, label: title, text: String::new() });
    }
    walk(report, 1, &mut lines);
    lines
}

fn walk(item: &Value, depth: usize, lines: &mut Vec<Line>) {
    if depth > DEPTH_MAX {
        return;
    }
    for content in sequence(item, "0040A730") {
        if lines.len() >= LINES_MAX {
            return;
        }
        let label = meaning(content, "0040A043");
        let text = match text(content, "0040A040").as_str() {
            "TEXT" => text(content, "0040A160"),
            "CODE" => meaning(content, "0040A168"),
            "NUM" => number(content),
            "DATE" => text(content, "0040A121"),
            "TIME" => text(content, "0040A122"),
            "DATETIME" => text(content, "0040A120"),
            "PNAME" => text(content, "0040A123"),
            "CONTAINER" => String::new(),
            // Images, waveforms, coordinates, UIDs: nothing to read.
            _ => continue,
        };
        if !label.is_empty() || !text.is_empty() {
            lines.push(Line { depth, label, text });
        }
        walk(content, depth + 1, lines);
    }
}

fn sequence<'a>(item: &'a Value, tag: &str) -> &'a [Value] {
    item[tag]["Value"].as_array().map_or(&[], Vec::as_slice)
}

/// The first value of an attribute as text; of a name the group that was written first.
fn text(item: &Value, tag: &str) -> String {
    match sequence(item, tag).first() {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Object(groups)) => {
            let group = ["Ideographic", "Alphabetic", "Phonetic"]
                .iter()
                .find_map(|name| groups.get(*name)?.as_str());
            group.unwrap_or_default().replace('^', " ").trim().to_owned()
        }
        _ => String::new(),
    }
}

/// Code Meaning (0008,0104) of the first item of a code sequence.
fn meaning(item: &Value, tag: &str) -> String {
    sequence(item, tag).first().map_or_else(String::new, |code| text(code, "00080104"))
}

/// Numeric Value (0040,A30A) with its unit's code (0040,08EA).
fn number(item: &Value) -> String {
    let Some(measured) = sequence(item, "0040A300").first() else { return String::new() };
    let unit = sequence(measured, "004008EA").first().map(|unit| text(unit, "00080100"));
    let unit = unit.filter(|unit| unit != "1").unwrap_or_default();
    format!("{} {unit}", text(measured, "0040A30A")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(meaning: &str) -> Value {
        json!({"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": [meaning]}}]})
    }

    fn item(kind: &str, label: &str, more: Value) -> Value {
        let mut item = json!({
            "0040A040": {"vr": "CS", "Value": [kind]}, "0040A043": named(label),
        });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    }

    #[test]
    fn every_kind_of_content_is_read_in_its_order() {
        let size = json!({"0040A300": {"vr": "SQ", "Value": [{
            "0040A30A": {"vr": "DS", "Value": [12.5]},
            "004008EA": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["mm"]}}]},
        }]}});
        let inner = [
            item("TEXT", "所见", json!({"0040A160": {"vr": "UT", "Value": ["两肺清晰\n无异常"]}})),
            item("NUM", "直径", size),
            item("IMAGE", "图像", json!({})),
            item(
                "PNAME",
                "医师",
                json!({"0040A123": {"vr": "PN",
                "Value": [{"Alphabetic": "Li^Ming", "Ideographic": "李^明"}]}}),
            ),
        ];
        let report = json!({
            "0040A043": named("影像报告"),
            "0040A730": {"vr": "SQ", "Value": [
                item("CONTAINER", "检查", json!({"0040A730": {"vr": "SQ", "Value": inner}})),
                item("CODE", "结论", json!({"0040A168": named("正常")})),
            ]},
        });
        let read: Vec<(usize, String, String)> =
            lines(&report).into_iter().map(|one| (one.depth, one.label, one.text)).collect();
        let expected = [
            (0, "影像报告", ""),
            (1, "检查", ""),
            (2, "所见", "两肺清晰\n无异常"),
            (2, "直径", "12.5 mm"),
            (2, "医师", "李 明"),
            (1, "结论", "正常"),
        ];
        let expected = expected.map(|(depth, label, text)| (depth, label.into(), text.into()));
        assert_eq!(read, expected);
    }

    #[test]
    fn a_report_without_an_end_is_cut() {
        let mut deep = item("TEXT", "x", json!({}));
        for _ in 0..200 {
            let held = json!({"0040A730": {"vr": "SQ", "Value": [deep]}});
            deep = item("CONTAINER", "x", held);
        }
        assert!(lines(&deep).len() <= DEPTH_MAX + 2);
        let wide: Vec<Value> = (0..5_000).map(|_| item("TEXT", "x", json!({}))).collect();
        let wide = json!({"0040A730": {"vr": "SQ", "Value": wide}});
        assert_eq!(lines(&wide).len(), LINES_MAX);
        for odd in [json!(null), json!([]), json!({"0040A730": 7}), json!({"0040A730": {}})] {
            assert_eq!(lines(&odd), []);
        }
    }
}
