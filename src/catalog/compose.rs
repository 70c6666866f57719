//! A record as it leaves: canonical names, in JSON.

use serde_json::{Map, Value};

use super::record::Record;
use super::table::{Field, Interface, Type};

/// Writes a record as the document prints it: canonical names, texts trimmed, whole numbers as
/// numbers; fields that came empty or not at all, and those for our own use, are left out. What did
/// not read as it should goes out as it came: it was accepted, and the other side may know better.
/// Equal records are equal bytes.
pub fn compose(interface: &Interface, record: &Record) -> Vec<u8> {
    Value::Object(object(interface.fields, record)).to_string().into_bytes()
}

fn object(fields: &[Field], record: &Record) -> Map<String, Value> {
    let mut map = Map::new();
    for field in fields.iter().filter(|field| !field.own) {
        let value = match field.kind {
            Type::Object => {
                let inner = object(field.children, record);
                (!inner.is_empty()).then_some(Value::Object(inner))
            }
            Type::List => list(record.list(field.key), |item| {
                Some(Value::Object(object(field.children, item)))
            }),
            Type::Texts => list(record.list(field.key), |item| item.text("").map(Value::from)),
            _ => scalar(field, record),
        };
        if let Some(value) = value {
            map.insert(field.name.to_owned(), value);
        }
    }
    // What was sent is known again by its bytes, also by a later program: they may not depend on
    // whether a crate of this build asks serde_json to keep the order of insertion.
    map.sort_keys();
    map
}

fn list(items: &[Record], of: impl Fn(&Record) -> Option<Value>) -> Option<Value> {
    let items: Vec<Value> = items.iter().filter_map(of).collect();
    (!items.is_empty()).then_some(Value::Array(items))
}

fn scalar(field: &Field, record: &Record) -> Option<Value> {
    let text = record.raw(field.key)?.trim_matches(crate::codec::json::is_blank);
    if text.is_empty() {
        return None;
    }
    let number = (field.kind == Type::Integer).then(|| text.parse::<i64>().ok()).flatten();
    Some(number.map_or_else(|| Value::from(text), Value::from))
}
