//! `forepost dicom …`: DICOM's own services by hand, as an engineer tries a peer before and after
//! it is configured. What a peer refused is said in words; `--json` says it in fields.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use forepost_cache::Uid;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ConfigArgument, DONE, FAILED, MISUSED, wait};
use crate::config::SourceOptions;
use crate::dicom::limits::CONTEXTS_MAX;
use crate::dicom::{AeTitle, Association, Level, Node, Proposal, Query, StoredFile, services};
use crate::fault::{Blame, Fault, Retry};
use crate::limits::PIECES_MAX;
use crate::model::{IdentifierKind, Place, Wanted};
use crate::prefetch::{Lane, PatientKey, Piece, Source, Transform};
use crate::upstream::{DimseOptions, DimseSource, OBJECT_BYTES_MAX, Waits, dimse_node};

/// Matches that are shown.
const MATCHES_MAX: usize = 1_000;

/// What can be tried.
#[derive(Subcommand)]
pub enum DicomVerb {
    /// Whether a peer answers (C-ECHO).
    Echo(PeerArguments),
    /// What a peer has (C-FIND).
    Find(FindArguments),
    /// Fetch a study, a series or an instance into a folder (C-GET).
    Get(GetArguments),
    /// Send files to a peer (C-STORE).
    Store(StoreArguments),
}

/// Whom to ask.
#[derive(Args)]
pub struct PeerArguments {
    /// `host:port`, or the name of a configured source of kind `dimse`.
    peer: String,
    /// The peer's AE title; a configured source has its own.
    #[arg(long)]
    called: Option<String>,
    /// Our AE title.
    #[arg(long)]
    calling: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgument,
}

/// What to look for.
#[derive(Args)]
pub struct FindArguments {
    #[command(flatten)]
    peer: PeerArguments,
    /// What is looked for.
    #[arg(long, value_enum, default_value_t = FindLevel::Study)]
    level: FindLevel,
    /// What must match, `PatientID=…` or `0010,0020=…`; without a value it is only asked for.
    #[arg(short, long = "key")]
    keys: Vec<String>,
}

/// The level of a query.
#[derive(Clone, Copy, ValueEnum)]
enum FindLevel {
    Study,
    Series,
    Image,
}

/// What to fetch.
#[derive(Args)]
pub struct GetArguments {
    #[command(flatten)]
    peer: PeerArguments,
    /// Its Study Instance UID.
    #[arg(long)]
    study: Uid,
    /// Only this series.
    #[arg(long)]
    series: Option<Uid>,
    /// Only this instance of the series.
    #[arg(long, requires = "series")]
    instance: Option<Uid>,
    /// The folder to write `<SOP Instance UID>.dcm` into; it is made.
    #[arg(long)]
    into: PathBuf,
}

/// What to send.
#[derive(Args)]
pub struct StoreArguments {
    #[command(flatten)]
    peer: PeerArguments,
    /// DICOM files (PS3.10).
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Does what the command line says.
pub fn run(verb: &DicomVerb) -> u8 {
    let (peer, result) = match verb {
        DicomVerb::Echo(peer) => (peer, on(peer, async |options| echo(&node(options)?).await)),
        DicomVerb::Find(arguments) => {
            let work = async |options: &DimseOptions| find(&node(options)?, arguments).await;
            (&arguments.peer, on(&arguments.peer, work))
        }
        DicomVerb::Get(arguments) => {
            let work = async |options: &DimseOptions| get(options, arguments).await;
            (&arguments.peer, on(&arguments.peer, work))
        }
        DicomVerb::Store(arguments) => {
            let work = async |options: &DimseOptions| store(&node(options)?, arguments).await;
            (&arguments.peer, on(&arguments.peer, work))
        }
    };
    match result {
        Ok(told) if peer.json => {
            println!("{:#}", told.json);
            told.code
        }
        Ok(told) => {
            print!("{}", told.words);
            told.code
        }
        Err(Stopped::With(code)) => code,
        Err(Stopped::By(fault)) if peer.json => {
            println!("{:#}", json!({ "error": told_fault(&fault) }));
            FAILED
        }
        Err(Stopped::By(fault)) => super::fail(fault),
    }
}

/// What a verb has to say.
struct Told {
    words: String,
    json: Value,
    code: u8,
}

/// Why a verb has nothing to say.
enum Stopped {
    /// The reason stands on stderr.
    With(u8),
    /// Something failed.
    By(Fault),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Stopped {
        Stopped::By(fault)
    }
}

fn on(
    peer: &PeerArguments,
    work: impl AsyncFnOnce(&DimseOptions) -> Result<Told, Stopped>,
) -> Result<Told, Stopped> {
    let options = peer.options().map_err(Stopped::With)?;
    wait(work(&options)).map_err(Stopped::With)?
}

impl PeerArguments {
    /// Of the configured source with this name, or made of the arguments.
    fn options(&self) -> Result<DimseOptions, u8> {
        let misused = |words: String| {
            eprintln!("forepost: {words}");
            MISUSED
        };
        let title = |text: &Option<String>| {
            let title = text.as_ref().map(|text| AeTitle::try_from(text.as_str())).transpose();
            title.map_err(|error| misused(error.to_string()))
        };
        let (called, calling) = (title(&self.called)?, title(&self.calling)?);
        if !self.peer.contains(':') {
            let config = self.config.read()?;
            let found = config.sources.into_iter().find_map(|source| match source {
                SourceOptions::Dimse(options) if options.name == self.peer => Some(options),
                _ => None,
            });
            let mut options = found.ok_or_else(|| {
                misused(format!("{} is neither host:port nor a source of kind dimse", self.peer))
            })?;
            options.called = called.unwrap_or(options.called);
            options.calling = calling.unwrap_or(options.calling);
            return Ok(options);
        }
        let called = called.ok_or_else(|| misused("say the peer's AE title by --called".into()))?;
        let calling = match calling {
            Some(calling) => calling,
            None => AeTitle::try_from("FOREPOST").map_err(|error| misused(error.to_string()))?,
        };
        Ok(DimseOptions {
            name: "by hand".to_owned(),
            address: self.peer.clone(),
            called,
            calling,
            // Nobody is looked up by hand; the options want a key.
            patient_keys: vec![PatientKey {
                kind: IdentifierKind::IdCardNo,
                transform: Transform::Plain,
                template: "{}".to_owned(),
                issuer: None,
            }],
            tls: None,
            waits: Waits::default(),
            parallel: std::num::NonZeroUsize::MIN,
            bytes_per_second: None,
            object_bytes_max: OBJECT_BYTES_MAX,
        })
    }
}

fn node(options: &DimseOptions) -> Result<Node, Fault> {
    dimse_node(options).map_err(|error| Fault::ours("options", error.to_string()).for_good())
}

async fn echo(node: &Node) -> Result<Told, Stopped> {
    let start = Instant::now();
    let proposals = [Proposal::service(services::VERIFICATION)];
    let mut association = Association::open(node, &proposals).await?;
    services::echo(&mut association).await?;
    association.release().await;
    let milliseconds = start.elapsed().as_millis();
    let (called, address) = (node.called.to_string(), &node.address);
    Ok(Told {
        words: format!("{called} at {address} answered within {milliseconds} ms\n"),
        json: json!({ "address": address, "called": called, "milliseconds": milliseconds as u64 }),
        code: DONE,
    })
}

async fn find(node: &Node, arguments: &FindArguments) -> Result<Told, Stopped> {
    let level = match arguments.level {
        FindLevel::Study => Level::Study,
        FindLevel::Series => Level::Series,
        FindLevel::Image => Level::Image,
    };
    let mut query = Query::new(level).returning(shown(level));
    for key in &arguments.keys {
        let (name, value) = key.split_once('=').unwrap_or((key, ""));
        let Some(entry) = StandardDataDictionary.by_expr(name) else {
            eprintln!("forepost: {name} is no keyword or tag of PS3.6");
            return Err(Stopped::With(MISUSED));
        };
        let tag = entry.tag();
        query = query.key(u32::from(tag.group()) << 16 | u32::from(tag.element()), value);
    }
    let proposals = [Proposal::service(services::FIND)];
    let mut association = Association::open(node, &proposals).await?;
    let (matches, more) = services::find(&mut association, &query, MATCHES_MAX).await?;
    match more {
        true => association.abort().await,
        false => association.release().await,
    }
    let mut rows: Vec<Value> = Vec::new();
    for one in &matches {
        let json = forepost_cache::implicit_json(one)
            .map_err(|error| Fault::peer("broken answer", error.to_string()))?;
        rows.push(serde_json::from_slice(&json).unwrap_or_default());
    }
    let mut words: String = rows.iter().map(row_words).collect();
    words.push_str(&format!("{} found{}\n", rows.len(), if more { ", and more" } else { "" }));
    Ok(Told { words, json: Value::Array(rows), code: DONE })
}

/// What is asked for of each match, whatever else is.
fn shown(level: Level) -> &'static [u32] {
    match level {
        Level::Study => &[
            0x0008_0020,
            0x0008_0061,
            0x0008_1030,
            0x0010_0010,
            0x0010_0020,
            0x0020_000d,
            0x0020_1208,
        ],
        Level::Series => &[0x0008_0060, 0x0008_103e, 0x0020_000d, 0x0020_000e, 0x0020_1209],
        Level::Image => &[0x0008_0016, 0x0008_0018, 0x0020_000d, 0x0020_000e, 0x0020_0013],
    }
}

/// One match, an element a line, and an empty line behind it.
fn row_words(row: &Value) -> String {
    let mut words = String::new();
    for (tag, element) in row.as_object().into_iter().flatten() {
        let name = StandardDataDictionary.by_expr(tag).map_or("?", |entry| entry.alias());
        let values: Vec<String> =
            element["Value"].as_array().into_iter().flatten().map(value_words).collect();
        // A peer's text must not move the cursor.
        let values = values.join("\\").replace(char::is_control, "\u{fffd}");
        words.push_str(&format!("{name}: {values}\n"));
    }
    words.push('\n');
    words
}

fn value_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(name) => {
            let groups = ["Alphabetic", "Ideographic", "Phonetic"];
            let groups = groups.map(|group| name.get(group).and_then(Value::as_str).unwrap_or(""));
            groups.join("=").trim_end_matches('=').to_owned()
        }
        other => other.to_string(),
    }
}

async fn get(options: &DimseOptions, arguments: &GetArguments) -> Result<Told, Stopped> {
    let source = DimseSource::new(options)
        .map_err(|error| Fault::ours("options", error.to_string()).for_good())?;
    let wanted = match (&arguments.series, &arguments.instance) {
        (None, _) => Wanted::Study,
        (Some(series), None) => Wanted::Series(series.clone()),
        (Some(series), Some(sop)) => Wanted::Instance(series.clone(), sop.clone()),
    };
    let place = Place { source: options.name.clone(), retrieve_url: None };
    let (pieces, queue) = mpsc::channel(PIECES_MAX);
    let lane = Lane::new(pieces, 0);
    let into = arguments.into.clone();
    let writing = tokio::task::spawn_blocking(move || write(&into, queue));
    let asked = source.retrieve(&place, &arguments.study, &wanted, &lane).await;
    drop(lane);
    source.end().await;
    let written = writing.await.map_err(|_| Fault::ours("file", "writing panicked"))?;
    let (objects, bytes) = written
        .map_err(|error| Fault::ours("file", format!("{}: {error}", arguments.into.display())))?;
    let words = format!("{objects} objects, {bytes} B in {}\n", arguments.into.display());
    let mut json = json!({ "objects": objects, "bytes": bytes });
    match asked {
        Ok(()) => Ok(Told { words, json, code: DONE }),
        Err(fault) => {
            json["error"] = told_fault(&fault);
            eprintln!("forepost: {fault}");
            Ok(Told { words, json, code: FAILED })
        }
    }
}

/// Writes what arrives; an object is named when it is whole.
fn write(
    folder: &Path,
    mut queue: mpsc::Receiver<(usize, Piece)>,
) -> std::io::Result<(usize, u64)> {
    fs::create_dir_all(folder)?;
    let part = folder.join(".arriving");
    let (mut file, mut size) = (None, 0);
    let (mut objects, mut bytes) = (0, 0);
    while let Some((_, piece)) = queue.blocking_recv() {
        match (piece, &mut file) {
            (Piece::Begin, file) => {
                *file = Some(File::create(&part)?);
                size = 0;
            }
            (Piece::Bytes(piece), Some(file)) => {
                file.write_all(&piece)?;
                size += piece.len() as u64;
            }
            (Piece::End, Some(_)) => {
                file = None;
                let instance = StoredFile::open(&part)?.instance;
                fs::rename(&part, folder.join(format!("{instance}.dcm")))?;
                objects += 1;
                bytes += size;
            }
            (Piece::Bytes(_) | Piece::End, None) => {}
        }
    }
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok((objects, bytes)),
    }
}

async fn store(node: &Node, arguments: &StoreArguments) -> Result<Told, Stopped> {
    let mut rows: Vec<Value> = Vec::new();
    let mut rest: Vec<&PathBuf> = arguments.files.iter().collect();
    while !rest.is_empty() {
        rest = store_some(node, rest, &mut rows).await?;
    }
    let taken = rows.iter().filter(|row| row.get("error").is_none()).count();
    let all = arguments.files.len();
    let words = |row: &Value| {
        let outcome = match row.get("error") {
            Some(error) => {
                format!("{}: {}", value_words(&error["step"]), value_words(&error["detail"]))
            }
            None => "taken".to_owned(),
        };
        format!("{}: {outcome}\n", value_words(&row["file"]))
    };
    let words: String = rows.iter().map(words).collect();
    let words = format!("{words}{taken} of {all} files taken\n");
    let code = if taken == all { DONE } else { FAILED };
    Ok(Told { words, json: Value::Array(rows), code })
}

/// Sends as many files as one association has contexts for; returns the others, or none where it
/// ended early.
async fn store_some<'a>(
    node: &Node,
    files: Vec<&'a PathBuf>,
    rows: &mut Vec<Value>,
) -> Result<Vec<&'a PathBuf>, Stopped> {
    let mut proposals: Vec<Proposal> = Vec::new();
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for path in files {
        let file = match StoredFile::open(path) {
            Ok(file) => file,
            Err(error) => {
                rows.push(stored(path, Err(Fault::ours("file", error.to_string()).for_good())));
                continue;
            }
        };
        let syntaxes = vec![file.syntax.clone()];
        let proposal = Proposal { class: file.class.clone(), syntaxes, received: false };
        let known = proposals.contains(&proposal);
        if !known && proposals.len() == CONTEXTS_MAX {
            later.push(path);
            continue;
        }
        if !known {
            proposals.push(proposal);
        }
        now.push(path);
    }
    if now.is_empty() {
        return Ok(later);
    }
    let mut association = Association::open(node, &proposals).await?;
    for path in now {
        let sent = match StoredFile::open(path) {
            Ok(file) => services::store(&mut association, file).await,
            Err(error) => Err(Fault::ours("file", error.to_string())),
        };
        // A refusal is about the object; anything else has ended the association.
        let refused = |fault: &Fault| {
            let about_object = matches!(fault.step, "status" | "no context" | "busy" | "refused");
            fault.blame == Blame::Peer && about_object
        };
        let over = sent.as_ref().is_err_and(|fault| !refused(fault));
        rows.push(stored(path, sent));
        if over {
            association.abort().await;
            return Ok(Vec::new());
        }
    }
    association.release().await;
    Ok(later)
}

fn stored(path: &Path, sent: Result<u16, Fault>) -> Value {
    let file = path.display().to_string();
    match sent {
        Ok(status) => json!({ "file": file, "status": format!("{status:04X}") }),
        Err(fault) => json!({ "file": file, "error": told_fault(&fault) }),
    }
}

fn told_fault(fault: &Fault) -> Value {
    let blame = match fault.blame {
        Blame::Caller => "caller",
        Blame::Peer => "peer",
        Blame::Ours => "ours",
    };
    let again = fault.retry != Retry::Never;
    json!({ "step": fault.step, "detail": fault.detail, "blame": blame, "again": again })
}
