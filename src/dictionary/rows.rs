//! From a checked record to a row in its canonical form.

use unicode_normalization::UnicodeNormalization;

use crate::catalog::{self, Interface, Record};
use crate::model::{DictionaryKind, DictionaryRow};

/// The interface by whose fields rows of this kind are checked, wherever they come from: the view
/// (3.5.1, 3.7.1), because it names every field that a row may have and what it cannot do without.
pub fn interface(kind: DictionaryKind) -> &'static Interface {
    let id = match kind {
        DictionaryKind::Exam => "ic-exam-dict-view",
        DictionaryKind::Dept => "ic-dept-view",
    };
    catalog::find(id).expect("the catalogue has both dictionaries")
}

/// The field that is the row's key.
pub(super) fn code_key(kind: DictionaryKind) -> &'static str {
    match kind {
        DictionaryKind::Exam => "examCode",
        DictionaryKind::Dept => "deptCode",
    }
}

/// The hospital that a record names, its row, and the fields that had to be left empty; or the
/// field for which it is no row, and why.
pub(super) fn read(kind: DictionaryKind, record: &Record) -> Result<Row, (&'static str, String)> {
    let fields = interface(kind).fields;
    let mut odd = Vec::new();
    let mut take = |key: &'static str| match record.text(key) {
        Some(text) => text.to_owned(),
        None => {
            let raw = record.raw(key).unwrap_or_default().trim();
            let meant = by_meaning(fields, key, raw);
            if meant.is_none() && !raw.is_empty() {
                odd.push(key);
            }
            meant.unwrap_or_default().to_owned()
        }
    };
    let (code_key, name_key) = match kind {
        DictionaryKind::Exam => (code_key(kind), "examName"),
        DictionaryKind::Dept => (code_key(kind), "deptName"),
    };
    let row = DictionaryRow {
        code: take(code_key),
        name: take(name_key),
        modality: modality(&take("modality")),
        body_part: take("examBodyPart"),
        price: take("examPrice"),
        check_status: take("checkStatus"),
        source_type: take("sourceType"),
        remark: take("remark"),
    };
    for (key, text) in [(code_key, &row.code), (name_key, &row.name)] {
        if text.is_empty() {
            return Err((key, "missing".to_owned()));
        }
    }
    if row.code.chars().any(char::is_control) {
        return Err((code_key, "holds a line break or a tab".to_owned()));
    }
    Ok((record.text("hospitalld").map(str::to_owned), (row, odd)))
}

/// The hospital that a record names, its row, and the fields that had to be left empty.
type Row = (Option<String>, (DictionaryRow, Vec<&'static str>));

/// The code whose meaning was written in its place: 有效 for 0.
fn by_meaning(fields: &[catalog::table::Field], key: &str, raw: &str) -> Option<&'static str> {
    let dictionary = fields.iter().find(|field| field.key == key)?.dictionary?;
    dictionary.entries.iter().find(|(_, meaning)| meaning.eq_ignore_ascii_case(raw)).map(|it| it.0)
}

/// In capitals and without full-width letters; MRI, as 3.5.2 prints it, is MR (PS3.3 C.7.3.1.1.1).
fn modality(text: &str) -> String {
    let folded: String = text.nfkc().collect::<String>().trim().to_uppercase();
    if folded == "MRI" { "MR".to_owned() } else { folded }
}
