//! Changing a TOML file in place, so that what is not changed stays as it was written.

use std::mem;
use std::path::Path;

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::Text;
use crate::doctor::Words;

/// A table that can be changed; `None` where the file has something else of that name.
pub type Edited<'a> = Option<&'a mut Table>;

/// Sets a key, and leaves the comment behind it.
pub fn put(table: &mut Table, key: &str, new: impl Into<Value>) {
    let mut new = new.into();
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(key, value(new));
        }
    }
}

/// Sets a key, or takes it away.
pub fn put_text(table: &mut Table, key: &str, text: Option<String>) {
    let same = table.get(key).and_then(Item::as_str);
    match text {
        Some(text) if same == Some(&text) => {}
        Some(text) => put(table, key, text),
        None => {
            table.remove(key);
        }
    }
}

/// Sets a list, or takes it away where it is empty.
pub fn put_list(table: &mut Table, key: &str, list: &[String]) {
    if list.is_empty() {
        table.remove(key);
    } else if texts(table, key) != list {
        put(table, key, list.iter().map(String::as_str).collect::<Array>());
    }
}

fn texts(table: &Table, key: &str) -> Vec<String> {
    let list = table.get(key).and_then(Item::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Sets the first item of a list and leaves the others.
pub fn put_first(table: &mut Table, key: &str, first: Option<String>) {
    let mut list = texts(table, key);
    match first {
        Some(first) if list.is_empty() => list.push(first),
        Some(first) => list[0] = first,
        None if list.len() > 1 => return,
        None => list.clear(),
    }
    put_list(table, key, &list);
}

/// Our certificate for a peer, and its key.
pub fn put_client(section: &mut Table, [certificate, key]: [Option<String>; 2]) {
    put_first(section, "client_certificate", certificate);
    put_text(section, "client_key_file", key);
}

/// The table of that name within another one, made where it is missing.
pub fn table<'t>(within: &'t mut Table, key: &str, about: Text) -> &'t mut Table {
    let is_new = !within.contains_key(key);
    let found = inner(within, key);
    if is_new {
        explain(found, about);
    }
    found
}

/// The same without a comment.
pub fn inner<'t>(within: &'t mut Table, key: &str) -> &'t mut Table {
    let item = within.entry(key).or_insert_with(|| Item::Table(Table::new()));
    if !item.is_table() {
        // An inline table is turned into one that can hold comments; anything else was refused
        // when the file was read, because no key of ours that holds a table may hold it.
        *item = Item::Table(mem::take(item).into_table().unwrap_or_default());
    }
    item.as_table_mut().expect("it was just made one")
}

fn explain(table: &mut Table, about: Text) {
    table.decor_mut().set_prefix(format!("\n# {}\n# {}\n", about.zh, about.en));
}

/// The tables of a list; made where it is missing. `None` where it is something else.
fn list<'d>(within: &'d mut Table, key: &str) -> Option<&'d mut ArrayOfTables> {
    let item = within.entry(key).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if !item.is_array_of_tables() {
        match mem::take(item).into_array_of_tables() {
            Ok(list) => *item = Item::ArrayOfTables(list),
            Err(other) => *item = other,
        }
    }
    item.as_array_of_tables_mut()
}

fn place(list: &ArrayOfTables, (key, text): (&str, &str)) -> Option<usize> {
    list.iter().position(|one| one.get(key).and_then(Item::as_str) == Some(text))
}

/// The entry of a list that is known by `id`; made where it is missing.
pub fn entry<'d>(
    document: &'d mut DocumentMut,
    key: &str,
    id: (&str, &str),
    about: Text,
) -> Edited<'d> {
    let list = list(document.as_table_mut(), key)?;
    if place(list, id).is_none() {
        let mut new = Table::new();
        new.insert(id.0, value(id.1));
        // Of entries of one kind the first is explained.
        match list.is_empty() || key == "caller" {
            true => explain(&mut new, about),
            false => new.decor_mut().set_prefix("\n"),
        }
        list.push(new);
    }
    let at = place(list, id)?;
    list.get_mut(at)
}

/// Takes the entries away that are known by that text.
pub fn remove(document: &mut DocumentMut, key: &str, id: &str, text: &str) {
    let Some(list) = document.get_mut(key).and_then(Item::as_array_of_tables_mut) else { return };
    list.retain(|one| one.get(id).and_then(Item::as_str) != Some(text));
    if list.is_empty() {
        document.remove(key);
    }
}

/// Puts an entry behind all others of its list.
pub fn last(document: &mut DocumentMut, key: &str, name: &str) {
    let Some(list) = document.get_mut(key).and_then(Item::as_array_of_tables_mut) else { return };
    let Some(at) = place(list, ("name", name)).filter(|at| at + 1 < list.len()) else { return };
    let Some(mut moved) = list.get(at).cloned() else { return };
    // Without a position of its own it is written behind the one before it.
    moved.set_position(None);
    list.remove(at);
    list.push(moved);
}

/// The table that holds the zones, which has no line of its own.
pub fn zones(document: &mut DocumentMut) -> Edited<'_> {
    let is_new = !document.contains_key("zone");
    let zones = inner(document.as_table_mut(), "zone");
    if is_new {
        zones.set_implicit(true);
    }
    Some(zones)
}

/// Whether a zone is there.
pub fn has_zone(document: &DocumentMut, zone: &str) -> bool {
    document.get("zone").and_then(Item::as_table_like).is_some_and(|all| all.contains_key(zone))
}

/// The certificate of the hospital's zone.
pub fn certificate(document: &DocumentMut) -> Option<String> {
    let zone = document.get("zone").and_then(Item::as_table_like)?.get("hospital")?;
    Some(zone.as_table_like()?.get("certificate")?.as_str()?.to_owned())
}

/// Sets the first header of an entry, or takes it away.
pub fn put_header(section: &mut Table, header: Option<(String, String)>) {
    let Some((name, file)) = header else {
        let others = list_len(section, "header");
        if others <= 1 {
            section.remove("header");
        }
        return;
    };
    let Some(first) = first(section, "header") else { return };
    put_text(first, "name", Some(name));
    put_text(first, "value_file", Some(file));
}

/// Sets the first number by which a source knows patients.
pub fn put_patient_key(section: &mut Table, kind: &str, sha256: bool) {
    let Some(first) = first(section, "patient_key") else { return };
    put_text(first, "kind", Some(kind.to_owned()));
    if sha256 {
        put(first, "sha256", true);
    } else {
        first.remove("sha256");
    }
}

fn list_len(section: &Table, key: &str) -> usize {
    let item = section.get(key);
    let tables = item.and_then(Item::as_array_of_tables).map(ArrayOfTables::len);
    tables.or_else(|| item.and_then(Item::as_array).map(Array::len)).unwrap_or(0)
}

/// The first table of a list within an entry; made where there is none.
fn first<'t>(section: &'t mut Table, key: &str) -> Edited<'t> {
    let list = list(section, key)?;
    if list.is_empty() {
        list.push(Table::new());
    }
    list.get_mut(0)
}

/// The views of a database: the name of each, and its interface.
pub fn views_of(document: &DocumentMut, database: &str) -> Vec<(String, String)> {
    let views = document.get("views").and_then(Item::as_array_of_tables);
    let text = |view: &Table, key: &str| view.get(key).and_then(Item::as_str).map(str::to_owned);
    let own = views.into_iter().flat_map(ArrayOfTables::iter);
    let own = own.filter(|view| text(view, "database").as_deref() == Some(database));
    own.filter_map(|view| Some((text(view, "name")?, text(view, "interface")?))).collect()
}

/// That something is not written as the list of tables that it is.
pub fn not_a_list(config: &Path, key: &str) -> Words {
    let shown = config.display();
    Words::new(
        format!("{shown} 中的 {key} 不是表的列表，无法修改：请写成 [[{key}]]"),
        format!("{key} in {shown} is no list of tables and cannot be changed: write [[{key}]]"),
    )
}
