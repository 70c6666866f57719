//! `forepost restore`: a backup onto this machine, the old one or another.
//!
//! For: the day on which the machine burned. Always holds: everything is verified before anything
//! of this machine is touched (the seal, every file's sum, every page and every line of evidence of
//! the ledger, and that its keys open it); what this machine holds and the backup lacks is counted,
//! and more than nothing is given up only by naming the exact number; what is replaced stays aside
//! under its time. A restore that is cut off leaves a mark with which the service does not start;
//! the same restore again comes to the end. What waited when the backup was taken may have been
//! delivered since: it is sent again only where its receiver takes the same thing twice
//! ([`parks_in_doubt`]), else a person is asked. Start at [`restore`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::backup::{self, ArchiveFault, CONFIG, Entry, Manifest, Role};
use super::whole::{self, Owner};
use super::{ByArgument, DONE, FAILED, MISUSED, fail};
use crate::app::{RESTORING, lock_data};
use crate::clock;
use crate::config::Config;
use crate::delivery::parks_in_doubt;
use crate::host;
use crate::ledger::{self, Lacking, Ledger, Restored};
use crate::model::{Time, UtcOffset};

/// Restores within one second that keep aside what they replace.
const ASIDES_MAX: u32 = 100;

/// What `restore` takes.
#[derive(Args)]
pub struct RestoreArguments {
    /// The backup.
    file: PathBuf,
    /// The file of the recovery key or of the hospital's; not needed for a backup that is not
    /// sealed, or that `age -d` has opened.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The data folder, when it is another than that of the backup.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The configuration file, when it is another; what lay beside it goes beside this one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Verify and count, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Replace the ledger that is here.
    #[arg(long)]
    yes: bool,
    /// Give up exactly so many undelivered items and registrations that the backup lacks.
    #[arg(long, value_name = "NUMBER")]
    lose: Option<i64>,
    /// Delete what is replaced instead of keeping it aside.
    #[arg(long)]
    discard: bool,
    #[command(flatten)]
    by: ByArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Where things of the backup go.
struct Places {
    data: PathBuf,
    config: PathBuf,
    old_data: PathBuf,
    old_folder: PathBuf,
}

impl Places {
    fn of(manifest: &Manifest, arguments: &RestoreArguments) -> Result<Places, u8> {
        let Some(one) = manifest.files.iter().find(|one| one.role == Role::Config) else {
            return Err(fail("the backup holds no configuration"));
        };
        let old_folder = one.path.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Places {
            data: arguments.data.clone().unwrap_or_else(|| manifest.data.clone()),
            config: arguments.config.clone().unwrap_or_else(|| one.path.clone()),
            old_data: manifest.data.clone(),
            old_folder,
        })
    }

    /// Where something that lay there goes: below the new data folder, beside the new
    /// configuration, or to the same place.
    fn moved(&self, path: &Path) -> PathBuf {
        if let Ok(rest) = path.strip_prefix(&self.old_data) {
            return joined(&self.data, rest);
        }
        match path.strip_prefix(&self.old_folder) {
            Ok(rest) => joined(self.config.parent().unwrap_or(Path::new("/")), rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// Without the slash that an empty rest would leave.
fn joined(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { folder.to_owned() } else { folder.join(rest) }
}

/// A folder of the data folder's own disk in which the backup is laid out; it goes when it is
/// dropped.
struct Stage(PathBuf);

impl Stage {
    fn make(data: &Path) -> io::Result<Stage> {
        let path = data.join("restore.stage");
        // What a restore that was cut off left behind.
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        Ok(Stage(path))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the verb.
pub fn run(arguments: &RestoreArguments) -> u8 {
    restore(arguments).unwrap_or_else(|code| code)
}

fn restore(arguments: &RestoreArguments) -> Result<u8, u8> {
    let by = arguments.by.name()?;
    let named = |fault: ArchiveFault| fail(format!("{}: {fault}", arguments.file.display()));
    let identities = backup::identities(arguments.key_file.as_deref())?;
    let manifest = peek(arguments, &identities).map_err(named)?;
    let places = Places::of(&manifest, arguments)?;
    let _lock = lock_data(&places.data).map_err(|error| {
        fail(format!(
            "{error}. Stop the service and its sockets first: systemctl stop \
                      'forepost-*.socket' forepost"
        ))
    })?;
    let stage = Stage::make(&places.data).map_err(fail)?;
    let stream = backup::open(&arguments.file, &identities).map_err(named)?;
    let room = |manifest: &Manifest| enough_room(&places.data, manifest.ledger.bytes);
    let manifest = backup::unpack(stream, Some(&stage.0), room).map_err(named)?;
    let text = rewritten(&stage.0, &manifest, &places).map_err(fail)?;
    let keys = ledger::load_or_make_keys(&stage.0.join("keys"), false).map_err(fail)?;
    let facts = ledger::verify_restored(&stage.0.join("ledger"), keys).map_err(fail)?;
    let here = places.data.join("ledger");
    let lacking = match here.join("forepost.db").exists() {
        true => Some(ledger::lacking(&here, &stage.0.join("ledger")).map_err(fail)?),
        false => None,
    };
    let told = told(&manifest, &places, facts.registrations, lacking.as_ref());
    if !arguments.json {
        tell(&manifest, &places, facts.registrations, lacking.as_ref());
    }
    let may = may_replace(arguments, lacking.as_ref(), places.data.join(RESTORING).exists());
    if arguments.dry_run || may.is_err() {
        if arguments.json {
            println!("{told}");
        }
        return if arguments.dry_run { Ok(DONE) } else { may.map(|()| DONE) };
    }
    let parked = take_up(arguments, &stage, &manifest, by)?;
    // Whatever may fail for want of a right or of room fails here.
    let files = beside_all(&stage, &manifest, &places, &text).map_err(fail)?;
    let stamp = backup::stamp(clock::now(), UtcOffset::china());
    let mut kept = swap(&stage, &places, &stamp).map_err(fail)?;
    for file in files {
        kept.extend(file.place(&stamp).map_err(fail)?);
    }
    std::fs::remove_file(places.data.join(RESTORING)).map_err(fail)?;
    sync(&places.data).map_err(fail)?;
    if arguments.discard {
        kept.drain(..).try_for_each(|path| discard(&path)).map_err(fail)?;
    }
    conclude(&places, parked, &kept, arguments.json.then_some(told));
    Ok(DONE)
}

/// The manifest alone: where things go must be known before anything is laid out.
fn peek(
    arguments: &RestoreArguments,
    identities: &[crate::seal::age::Identity],
) -> Result<Manifest, ArchiveFault> {
    let mut found = None;
    let stream = backup::open(&arguments.file, identities)?;
    let read = backup::unpack(stream, None, |manifest| {
        found = Some(manifest.clone());
        // Enough is known: the file is read to its end when it is laid out.
        Err(ArchiveFault::Foreign("only looked at"))
    });
    match (found, read) {
        (Some(manifest), _) => Ok(manifest),
        (None, Err(fault)) => Err(fault),
        (None, Ok(manifest)) => Ok(manifest),
    }
}

/// The ledger twice: laid out, and with room to grow.
fn enough_room(data: &Path, bytes: u64) -> Result<(), ArchiveFault> {
    let (free, needed) = (host::space(data)?.free, bytes + bytes / 4 + (64 << 20));
    match free >= needed {
        true => Ok(()),
        false => Err(ArchiveFault::Stream(io::Error::other(format!(
            "{} has {free} bytes free and {needed} are needed",
            data.display()
        )))),
    }
}

/// The configuration's text with the paths that are others here.
fn rewritten(stage: &Path, manifest: &Manifest, places: &Places) -> Result<String, String> {
    let text = std::fs::read_to_string(stage.join(CONFIG)).map_err(|error| error.to_string())?;
    let mut table: toml::Value = toml::from_str::<toml::Table>(&text)
        .map_err(|error| format!("the configuration in the backup: {error}"))?
        .into();
    let cache = table.get("cache").and_then(toml::Value::as_str).map(PathBuf::from);
    let mut paths: Vec<&Path> = vec![&manifest.data];
    paths.extend(cache.as_deref());
    let named = manifest.files.iter().filter(|one| one.role == Role::Named);
    paths.extend(named.map(|one| one.path.as_path()));
    let mut moves = BTreeMap::new();
    for path in paths {
        let (from, to) = (path.display().to_string(), places.moved(path).display().to_string());
        if from != to {
            moves.insert(from, to);
        }
    }
    let mut moved = text;
    for (from, to) in &moves {
        for quote in ['"', '\''] {
            moved = moved.replace(&format!("{quote}{from}{quote}"), &format!("{quote}{to}{quote}"));
        }
    }
    replace_strings(&mut table, &moves);
    let read: Option<toml::Value> = toml::from_str::<toml::Table>(&moved).ok().map(Into::into);
    match read == Some(table) {
        true => Ok(moved),
        false => Err("the paths in the configuration cannot be moved: restore to the same paths \
                      (without --data and --config), then move the data by hand"
            .into()),
    }
}

fn replace_strings(value: &mut toml::Value, moves: &BTreeMap<String, String>) {
    match value {
        toml::Value::String(text) => {
            if let Some(to) = moves.get(text) {
                text.clone_from(to);
            }
        }
        toml::Value::Array(list) => list.iter_mut().for_each(|one| replace_strings(one, moves)),
        toml::Value::Table(table) => {
            table.iter_mut().for_each(|(_, one)| replace_strings(one, moves));
        }
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => {}
    }
}

/// Whether what is here may be replaced: it must be said, and what is lost by its exact number.
/// `again`: a restore that was cut off may have replaced it already.
fn may_replace(
    arguments: &RestoreArguments,
    lacking: Option<&Lacking>,
    again: bool,
) -> Result<(), u8> {
    let Some(lacking) = lacking else { return Ok(()) };
    let total = lacking.total();
    match (arguments.yes, total, arguments.lose) {
        _ if arguments.dry_run => Ok(()),
        (true, 0, None) => Ok(()),
        (true, 0, Some(_)) if again => Ok(()),
        (true, total, Some(lose)) if total == lose => Ok(()),
        (_, 0, None) => {
            eprintln!("forepost: nothing would be lost; to replace the ledger here, say --yes");
            Err(FAILED)
        }
        (_, total, None) => {
            eprintln!(
                "forepost: {total} undelivered items and registrations that are here are not in \
                 the backup, and would be lost. To give them up, say --yes --lose {total}"
            );
            Err(FAILED)
        }
        (_, total, Some(lose)) => {
            eprintln!("forepost: --lose {lose}, but {total} would be lost (and --yes is needed)");
            Err(MISUSED)
        }
    }
}

/// Tells the ledger, still laid out aside, that it is a restored one.
fn take_up(
    arguments: &RestoreArguments,
    stage: &Stage,
    manifest: &Manifest,
    by: String,
) -> Result<usize, u8> {
    let keys = ledger::load_or_make_keys(&stage.0.join("keys"), false).map_err(fail)?;
    let ledger = Ledger::open(&stage.0.join("ledger"), keys).map_err(fail)?;
    if let Some(last) = ledger.last_moment().map_err(fail)? {
        clock::not_before(last);
    }
    let name = arguments.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let restored = Restored { file: name, taken_at: Time(manifest.taken_at_ms), by };
    let taken = ledger.take_up_restored(restored, parks_in_doubt, clock::now());
    let parked = super::wait(taken)?.map_err(fail)?;
    ledger.close();
    Ok(parked)
}

/// Puts ledger and keys in the place of those that are here; gives where those are now. Between the
/// first step and the last of [`restore`] the service does not start.
fn swap(stage: &Stage, places: &Places, stamp: &str) -> io::Result<Vec<PathBuf>> {
    let mark = places.data.join(RESTORING);
    std::fs::write(&mark, "the same `forepost restore` again comes to the end\n")?;
    sync(&mark)?;
    sync(&places.data)?;
    let owner = owner(&places.data);
    let mut aside = Vec::new();
    for name in ["ledger", "keys"] {
        let (from, to) = (stage.0.join(name), places.data.join(name));
        own(&from, owner)?;
        if to.exists() {
            let kept = aside_of(&to, stamp)?;
            std::fs::rename(&to, &kept)?;
            aside.push(kept);
        }
        std::fs::rename(&from, &to)?;
    }
    sync(&places.data)?;
    Ok(aside)
}

/// Where something that is replaced is kept: under its name and the time, which is nobody's yet.
fn aside_of(path: &Path, stamp: &str) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let of = |number: u32| match number {
        1 => path.with_file_name(format!("{name}.before-{stamp}")),
        _ => path.with_file_name(format!("{name}.before-{stamp}-{number}")),
    };
    let free = (1..=ASIDES_MAX).map(of).find(|aside| !aside.exists());
    free.ok_or_else(|| io::Error::other(format!("{} is there {ASIDES_MAX} times", of(1).display())))
}

/// To whom the data belongs: who has the folder, else the service's user, when we may choose.
fn owner(data: &Path) -> Option<(u32, u32)> {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let found = std::fs::metadata(data).ok()?;
    if found.uid() != 0 {
        return Some((found.uid(), found.gid()));
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find_map(|line| line.strip_prefix("forepost:"))?;
    let mut fields = line.split(':').skip(1);
    let ids = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    chown(data, Some(ids.0), Some(ids.1)).ok()?;
    Some(ids)
}

/// Gives a file or a folder with what is in it to its owner; the folders to nobody else.
fn own(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let is_folder = path.is_dir();
    let mode = if is_folder { 0o700 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    if is_folder {
        for entry in std::fs::read_dir(path)? {
            own(&entry?.path(), owner)?;
        }
        sync(path)?;
    }
    Ok(())
}

/// A file that is written beside its place, and goes when it never gets there.
struct Beside {
    path: PathBuf,
    to: PathBuf,
}

impl Beside {
    /// Gives it its name; gives where the other one is that was there.
    fn place(mut self, stamp: &str) -> io::Result<Option<PathBuf>> {
        let mut aside = None;
        if self.to.exists() {
            let kept = aside_of(&self.to, stamp)?;
            std::fs::rename(&self.to, &kept)?;
            aside = Some(kept);
        }
        std::fs::rename(&self.path, &self.to)?;
        self.path.clear();
        sync(self.to.parent().unwrap_or(Path::new("/")))?;
        Ok(aside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the configuration and what it names beside their places; what is there already and is the
/// same is left alone.
fn beside_all(
    stage: &Stage,
    manifest: &Manifest,
    places: &Places,
    config: &str,
) -> io::Result<Vec<Beside>> {
    let owner = owner(&places.data);
    let mut all = Vec::new();
    // The configuration comes last: it names the others.
    let named = manifest.files.iter().filter(|one| one.role == Role::Named);
    for one in named.chain(manifest.files.iter().filter(|one| one.role == Role::Config)) {
        let (bytes, to) = match one.role {
            Role::Config => (config.as_bytes().to_vec(), places.config.clone()),
            Role::Named | Role::Key => {
                (std::fs::read(stage.0.join(&one.name))?, places.moved(&one.path))
            }
        };
        let shown = to.display().to_string();
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{shown}: {error}"));
        all.extend(beside(one, &bytes, to, owner).map_err(told)?);
    }
    Ok(all)
}

fn beside(
    one: &Entry,
    bytes: &[u8],
    to: PathBuf,
    owner: Option<(u32, u32)>,
) -> io::Result<Option<Beside>> {
    if std::fs::read(&to).is_ok_and(|before| before == bytes) {
        return Ok(None);
    }
    let folder = to.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!(".{name}.restoring"));
    let beside = Beside { path, to };
    // Root's own files are read by the service through its group.
    let user = |user| if one.of_service { user } else { 0 };
    let owner = owner.map_or_else(Owner::default, |(service, group)| Owner {
        user: Some(user(service)),
        group: Some(group),
    });
    whole::lay(&beside.path, bytes, one.mode, owner)?;
    Ok(Some(beside))
}

fn discard(path: &Path) -> io::Result<()> {
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn told(
    manifest: &Manifest,
    places: &Places,
    registrations: i64,
    lacking: Option<&Lacking>,
) -> Value {
    json!({
        "of": manifest.taken_at, "of_ms": manifest.taken_at_ms, "hospital": manifest.hospital,
        "data": places.data, "config": places.config, "registrations": registrations,
        "interfaces": manifest.ledger.interfaces, "here_and_lacking": lacking.map(lacking_json),
        "restored": false,
    })
}

fn tell(manifest: &Manifest, places: &Places, registrations: i64, lacking: Option<&Lacking>) {
    println!(
        "the backup is whole: hospital {}, of {}, {registrations} registrations, {} lines of \
         evidence\nto {} and {}",
        manifest.hospital,
        manifest.taken_at,
        manifest.ledger.evidence_lines,
        places.data.display(),
        places.config.display(),
    );
    match lacking {
        None => println!("no ledger is here"),
        Some(lacking) => tell_lacking(lacking),
    }
}

fn tell_lacking(lacking: &Lacking) {
    match lacking.descends {
        true => println!(
            "the ledger here goes on from the backup, by {} lines of evidence; what it holds and \
             the backup lacks:",
            lacking.evidence_lines
        ),
        false => println!("the ledger here is another one; what it holds and the backup lacks:"),
    }
    for (interface, states) in &lacking.deliveries {
        let states: Vec<String> =
            states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        println!("  {interface}: not delivered yet: {}", states.join(", "));
    }
    for (hospital, count) in &lacking.registrations {
        println!("  hospital {hospital}: {count} registrations that are new or changed");
    }
    if lacking.total() == 0 {
        println!("  nothing that is undelivered, and no registration");
    }
    for (interface, count) in &lacking.delivered_since {
        println!("  {interface}: {count} delivered here that the backup would deliver again");
    }
}

fn lacking_json(lacking: &Lacking) -> Value {
    json!({
        "total": lacking.total(), "undelivered": lacking.deliveries,
        "registrations": lacking.registrations, "delivered_since": lacking.delivered_since,
        "evidence_lines": lacking.evidence_lines, "goes_on_from_the_backup": lacking.descends,
    })
}

fn conclude(places: &Places, parked: usize, kept: &[PathBuf], told: Option<Value>) {
    let read = Config::read(&places.config);
    let mistakes = read.err().map(|fault| fault.to_string());
    if let Some(mut told) = told {
        told["restored"] = true.into();
        told["parked"] = parked.into();
        told["kept_aside"] = json!(kept);
        told["mistakes"] = json!(mistakes);
        println!("{told}");
        return;
    }
    println!("restored");
    kept.iter().for_each(|path| println!("what was there before is {}", path.display()));
    if parked > 0 {
        println!(
            "{parked} deliveries waited when the backup was taken and may have arrived since; they \
             are parked: forepost queue list"
        );
    }
    if let Some(mistakes) = mistakes {
        println!("the configuration needs a hand on this machine:\n{mistakes}");
    }
    println!(
        "next: forepost check --config {}, then systemctl start forepost",
        places.config.display()
    );
}
