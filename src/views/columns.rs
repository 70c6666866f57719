//! Which column of a view is which field of its interface, and a row as the catalogue reads it.
//!
//! Columns are found by the configuration's map, else by the field's name or one of its aliases, in
//! any case. Fields without a column are told, and missing values are the catalogue's business.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::wire::Cell;
use crate::catalog::Interface;
use crate::catalog::table::Field;

/// A field with its column, as the database names it.
pub(super) type Found = (&'static Field, String);

/// What was found of an interface's fields in a view.
pub(super) struct Matched {
    /// In the order of the catalogue.
    pub found: Vec<Found>,
    /// Fields that the document requires and the view does not have.
    pub missing: Vec<&'static str>,
    /// Other fields without a column.
    pub absent: Vec<&'static str>,
}

/// Finds the columns of a view. `map` names columns by field.
pub(super) fn matched(
    interface: &'static Interface,
    map: &BTreeMap<String, String>,
    columns: &[String],
) -> Matched {
    let mut matched = Matched { found: Vec::new(), missing: Vec::new(), absent: Vec::new() };
    for field in interface.fields {
        let names = match map.get(field.name) {
            Some(column) => vec![column.as_str()],
            None => [field.name].into_iter().chain(field.aliases.iter().copied()).collect(),
        };
        let column =
            names.iter().find_map(|name| columns.iter().find(|c| c.eq_ignore_ascii_case(name)));
        match column {
            Some(column) => matched.found.push((field, column.clone())),
            None if field.required && field.when.is_none() => matched.missing.push(field.path),
            None => matched.absent.push(field.path),
        }
    }
    matched
}

/// A row as an object of the catalogue's names, or why it is none; the reason holds no value.
pub(super) fn object(found: &[Found], line: &[u8]) -> Result<Map<String, Value>, String> {
    let cells: Vec<Cell> = serde_json::from_slice(line).map_err(|_| "not a row".to_owned())?;
    if cells.len() != found.len() {
        return Err(format!("{} columns, expected {}", cells.len(), found.len()));
    }
    let mut object = Map::new();
    let mut wrong = Vec::new();
    for ((field, _), cell) in found.iter().zip(cells) {
        match cell {
            Cell::Null => {}
            Cell::Text(text) => {
                object.insert(field.name.to_owned(), Value::String(text));
            }
            Cell::Broken { .. } => wrong.push(format!("{}: broken characters", field.path)),
            Cell::Long { .. } => wrong.push(format!("{}: too long", field.path)),
        }
    }
    if wrong.is_empty() { Ok(object) } else { Err(wrong.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn columns_are_found_in_any_case_by_alias_and_by_the_map() {
        let interface = catalog::find("ic-dept-view").unwrap();
        let map = BTreeMap::from([("deptCode".to_owned(), "KSDM".to_owned())]);
        let columns = ["DEPTNAME", "ksdm", "HOSPITALID", "other"].map(str::to_owned);
        let matched = matched(interface, &map, &columns);
        let found: Vec<_> = matched.found.iter().map(|(f, c)| (f.name, c.as_str())).collect();
        let expected =
            [("deptName", "DEPTNAME"), ("deptCode", "ksdm"), ("hospitalld", "HOSPITALID")];
        assert_eq!(found, expected);
        assert_eq!((matched.missing, matched.absent), (vec![], vec!["remark"]));
    }

    #[test]
    fn a_row_with_a_broken_value_says_which_and_not_what() {
        let interface = catalog::find("ic-dept-view").unwrap();
        let columns = ["deptName", "deptCode"].map(str::to_owned);
        let found = matched(interface, &BTreeMap::new(), &columns).found;
        let row = object(&found, "[\"心内科\",null]".as_bytes()).unwrap();
        assert_eq!(Value::Object(row), serde_json::json!({"deptName": "心内科"}));
        let broken = object(&found, br#"[{"bytes":"cdf5d0"},{"long":true}]"#).unwrap_err();
        assert_eq!(broken, "deptName: broken characters; deptCode: too long");
        assert!(object(&found, b"[\"1\"]").is_err());
        assert!(object(&found, b"[1,").is_err());
    }
}
