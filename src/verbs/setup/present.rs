//! What the present configuration answers already: the way back from its keys to the questions.
//!
//! Only what the questions are about is read. What else stands in the file is neither asked nor
//! touched, see `compose`.

use std::net::SocketAddr;
use std::path::Path;

use toml::{Table, Value};

use super::answers::{Answers, RESERVED, file_key, flag, line, texts};
use super::site::{Site, SocketUnit};
use crate::config::TITLE_DEFAULT;

/// The answers in a configuration; empty for an empty one.
pub fn answers(config: &Table, site: &Site) -> Answers {
    let mut answers = Answers::default();
    if config.is_empty() {
        return answers;
    }
    let entries = |key: &str| Answers(config.clone()).list(key);
    let hospitals = entries("hospital").iter().map(|one| copied(one, &["code", "names"])).collect();
    answers.set_list("hospital", hospitals);
    answers.set("machine", machine(config, site));
    let callers = entries("caller");
    answers.set("his", his(&callers, &entries("dictionary_source")));
    let views = entries("views");
    let databases = entries("databases").iter().map(|one| database(one, &views)).collect();
    answers.set_list("database", databases);
    let caller = |name: &str| callers.iter().find(|one| line(one, "name").as_deref() == Some(name));
    let mut workstations = Table::new();
    if let Some(networks) = caller("workstations").and_then(|one| one.get("addresses")) {
        workstations.insert("networks".into(), networks.clone());
    }
    let shown = config.get("workstation").and_then(Value::as_table);
    put_text(&mut workstations, "viewer", shown.and_then(|one| line(one, "viewer")));
    answers.set("workstations", workstations);
    let sources = entries("source");
    let pushing = |name: &str| caller(name).and_then(|one| one.get("addresses")).cloned();
    answers.set_list("source", sources.iter().map(|one| source(one, pushing)).collect());
    answers.set_list("destination", entries("destination").iter().map(destination).collect());
    let named = |one: &&Table| {
        let name = line(one, "name").unwrap_or_default();
        let pushes = |source: &Table| {
            let push = line(source, "kind").as_deref() == Some("push");
            push && line(source, "name").as_deref() == Some(&name)
        };
        !RESERVED.contains(&name.as_str()) && !sources.iter().any(pushes)
    };
    let cloud_zone = zone(config, "cloud");
    let others = callers.iter().filter(named).filter_map(|one| other(one, &cloud_zone));
    answers.set_list("caller", others.collect());
    let kept = config.get("backup").and_then(Value::as_table);
    let mut backup = kept.map(|kept| copied(kept, &["to"])).unwrap_or_default();
    if !backup.is_empty() {
        let mounted = kept.is_some_and(|kept| flag(kept, "mounted"));
        backup.insert("mounted".into(), Value::Boolean(mounted));
    }
    answers.set("backup", backup);
    answers
}

fn zone(config: &Table, name: &str) -> Table {
    let zones = config.get("zone").and_then(Value::as_table);
    let zone = zones.and_then(|zones| zones.get(name)).and_then(Value::as_table);
    zone.cloned().unwrap_or_default()
}

fn copied(table: &Table, keys: &[&str]) -> Table {
    let pair = |key: &&str| Some(((*key).to_owned(), table.get(*key)?.clone()));
    keys.iter().filter_map(pair).collect()
}

fn put_text(table: &mut Table, key: &str, text: Option<String>) {
    if let Some(text) = text {
        table.insert(key.to_owned(), Value::String(text));
    }
}

fn machine(config: &Table, site: &Site) -> Table {
    let mut machine = copied(config, &["time_server", "data"]);
    let [hospital, cloud, console, dicom] =
        ["hospital", "cloud", "console", "dicom"].map(|name| zone(config, name));
    let mut sockets = None;
    let mut at = |zone: &Table, key: &str| -> Option<SocketAddr> {
        let listen = line(zone, key)?;
        let named = listen.strip_prefix("systemd:");
        sockets = Some(sockets.unwrap_or(false) || named.is_some());
        match named {
            Some(name) => site.bound(SocketUnit::named(name)?),
            None => listen.parse().ok(),
        }
    };
    let places = [
        ("hospital", "hospital_port", at(&hospital, "listen")),
        ("hospital", "hospital_tls_port", at(&hospital, "listen_tls")),
        ("cloud", "cloud_port", at(&cloud, "listen")),
        ("cloud", "cloud_tls_port", at(&cloud, "listen_tls")),
        ("console", "console_port", at(&console, "listen")),
        ("dicom", "dicom_port", at(&dicom, "listen")),
    ];
    for (zone, key, address) in places {
        let Some(address) = address else { continue };
        machine.insert(key.to_owned(), Value::Integer(i64::from(address.port())));
        let (key, address) = (format!("{zone}_address"), address.ip().to_string());
        // Archives come to the hospital's address unless another is named.
        if zone != "dicom" || line(&machine, "hospital_address").as_ref() != Some(&address) {
            put_text(&mut machine, &key, Some(address));
        }
    }
    if dicom.contains_key("listen") {
        let title = line(&dicom, "ae_title").unwrap_or_else(|| TITLE_DEFAULT.to_owned());
        put_text(&mut machine, "ae_title", Some(title));
    }
    if let Some(sockets) = sockets {
        machine.insert("sockets".into(), Value::Boolean(sockets));
    }
    let folder = line(&hospital, "certificate");
    let folder = folder.as_deref().map(Path::new).and_then(Path::parent);
    if let Some(names) = folder.and_then(|folder| site.certificate_names(folder)) {
        let names = names.into_iter().map(Value::String).collect();
        machine.insert("names".into(), Value::Array(names));
    }
    machine
}

fn his(callers: &[Table], dictionaries: &[Table]) -> Table {
    let mut his = Table::new();
    if let Some(caller) = callers.iter().find(|one| line(one, "name").as_deref() == Some("his")) {
        his = copied(caller, &["addresses"]);
        his.insert("token".into(), Value::Boolean(caller.contains_key("token_file")));
    }
    for kind in ["exam", "dept"] {
        let name = format!("his-{kind}");
        let named = |one: &&Table| line(one, "name").as_deref() == Some(&name);
        if let Some(source) = dictionaries.iter().find(named) {
            put_text(&mut his, &format!("{kind}_dictionary_url"), line(source, "url"));
            let (header, file) = first_header(source);
            put_text(&mut his, "dictionary_header", header);
            put_text(&mut his, &file_key("dictionary_token"), file);
        }
    }
    his
}

/// The first of the headers: its name and the file of its value.
fn first_header(table: &Table) -> (Option<String>, Option<String>) {
    let headers = table.get("header").and_then(Value::as_array);
    let first = headers.and_then(|list| list.first()).and_then(Value::as_table);
    (first.and_then(|one| line(one, "name")), first.and_then(|one| line(one, "value_file")))
}

/// The files by which a peer and we know each other in TLS.
fn put_peer_files(answers: &mut Table, table: &Table) {
    let first = |key: &str| texts(table, key).first().cloned();
    put_text(answers, "ca_file", first("ca_files"));
    put_text(answers, "client_certificate", first("client_certificate"));
    put_text(answers, "client_key", line(table, "client_key_file"));
}

fn database(table: &Table, views: &[Table]) -> Table {
    let mut database = copied(table, &["name", "connection", "charset"]);
    put_text(&mut database, &file_key("password"), line(table, "password_file"));
    let name = line(table, "name");
    let own = views.iter().filter(|view| line(view, "database") == name);
    let read = own.filter_map(|view| line(view, "interface")).map(Value::String).collect();
    database.insert("views".into(), Value::Array(read));
    database
}

fn source(table: &Table, pushing: impl Fn(&str) -> Option<Value>) -> Table {
    let mut source = copied(table, &["name", "url", "address", "called_ae", "calling_ae"]);
    let kind = line(table, "kind").unwrap_or_else(|| "dicomweb".to_owned());
    if kind == "push" {
        let addresses = line(table, "name").and_then(|name| pushing(&name));
        source.extend(addresses.map(|addresses| ("addresses".to_owned(), addresses)));
    }
    source.insert("kind".into(), Value::String(kind));
    let (header, file) = first_header(table);
    put_text(&mut source, "header", header);
    put_text(&mut source, &file_key("token"), file);
    put_peer_files(&mut source, table);
    let keys = table.get("patient_key").and_then(Value::as_array);
    if let Some(key) = keys.and_then(|list| list.first()).and_then(Value::as_table) {
        put_text(&mut source, "patient_key", line(key, "kind"));
        source.insert("sha256".into(), Value::Boolean(flag(key, "sha256")));
    }
    source
}

fn destination(table: &Table) -> Table {
    let mut destination = copied(table, &["name", "url", "interfaces"]);
    let inner = |key: &str| table.get(key).and_then(Value::as_table);
    let login = if let Some(basic) = inner("basic") {
        put_text(&mut destination, "user", line(basic, "user"));
        put_text(&mut destination, &file_key("password"), line(basic, "password_file"));
        "basic"
    } else if let Some(token) = inner("token") {
        put_text(&mut destination, "token_url", line(token, "url"));
        put_text(&mut destination, "platform_key", line(token, "public_key"));
        for key in ["app_id", "org_id", "license"] {
            put_text(&mut destination, &file_key(key), line(token, &file_key(key)));
        }
        "token"
    } else if table.contains_key("header") {
        let (header, file) = first_header(table);
        put_text(&mut destination, "header", header);
        put_text(&mut destination, &file_key("token"), file);
        "header"
    } else {
        "none"
    };
    destination.insert("login".into(), Value::String(login.to_owned()));
    put_text(&mut destination, "sm2_key", inner("sm2").and_then(|sm2| line(sm2, "public_key")));
    put_peer_files(&mut destination, table);
    destination
}

/// Another caller, where its rights are those of one of the kinds; a caller with other rights was
/// written by hand and is none of ours.
fn other(table: &Table, cloud_zone: &Table) -> Option<Table> {
    let has = |key: &str| flag(table, key);
    let foreign = has("push") || has("logins") || has("ask_sources");
    let kind = match (has("images"), has("store"), has("dictionaries")) {
        _ if foreign => return None,
        (true, false, false) => "viewer",
        (true, true, false) => "pacs",
        (false, false, true) => "cloud",
        _ => return None,
    };
    let mut caller = copied(table, &["name", "addresses"]);
    caller.insert("kind".into(), Value::String(kind.to_owned()));
    if kind == "cloud" {
        let scheme = if cloud_zone.contains_key("listen_tls") { "https" } else { "http" };
        caller.insert("scheme".into(), Value::String(scheme.to_owned()));
    } else {
        caller.insert("token".into(), Value::Boolean(table.contains_key("token_file")));
    }
    Some(caller)
}
