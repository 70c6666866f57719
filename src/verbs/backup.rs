//! `forepost backup`: configuration, keys and ledger into one file that only the hospital opens.
//!
//! For: the night, and the day on which the machine burns. Always holds: the running service is not
//! disturbed beyond one commit's time; the file is a tar inside an age file (`age -d` and `tar`
//! open it without us), sealed to the recovery key and to the hospital's own keys, unless the
//! configuration says `plain`; it is streamed, so that nothing of it lies anywhere unsealed; an
//! older backup goes only when a newer one is on the disk. What became of it stands in the ledger,
//! where the service reads it for its metrics. Start at [`make`].

mod archive;
mod folder;
mod kept;
mod recipients;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{ByArgument, ConfigArgument, DONE, FAILED, MISUSED, fail, open_beside, open_to_read};
use crate::clock;
use crate::config::Config;
use crate::host::{CredentialFault, ledger_keys_text};
use crate::ledger::{BackupNoted, Facts, LedgerError, Snapshot};
use crate::limits::NAMED_FILES_MAX;
use crate::model::Time;
use crate::seal::age::{AgeFault, Identity, Recipient, Sealer};
pub(super) use archive::{ArchiveFault, CONFIG, Entry, Manifest, Role, open, unpack};
use archive::{FORMAT, LEDGER, LedgerFacts, Packer};
use folder::{Folder, FolderFault, Lying, Writing};
pub(super) use kept::stamp;

/// What `backup` takes.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackupArguments {
    #[command(subcommand)]
    verb: Option<BackupVerb>,
    #[command(flatten)]
    make: MakeArguments,
}

/// What `backup` can do beside making one.
#[derive(Subcommand)]
pub enum BackupVerb {
    /// Make the recovery key and show its secret, once: print it and keep it in a safe.
    Key(KeyArguments),
    /// The backups in the folder, and which of them the next one makes superfluous.
    List(ListArguments),
    /// Read a backup from its first byte to its last.
    Verify(VerifyArguments),
}

/// What making a backup takes.
#[derive(Args)]
pub struct MakeArguments {
    /// Into this folder instead of the configured one.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// The folder is a new one, although backups went to this path before.
    #[arg(long)]
    new_folder: bool,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `backup key` takes.
#[derive(Args)]
pub struct KeyArguments {
    /// In the place of the recovery key that there is; older backups still need the old one.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    by: ByArgument,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `backup list` takes.
#[derive(Args)]
pub struct ListArguments {
    /// In this folder instead of the configured one.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `backup verify` takes.
#[derive(Args)]
pub struct VerifyArguments {
    /// The file.
    file: PathBuf,
    /// The file of the recovery key or of the hospital's. Without it a sealed file is only held
    /// against what the ledger remembers of it.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
enum BackupFault {
    #[error(transparent)]
    Folder(#[from] FolderFault),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Keys(#[from] CredentialFault),
    #[error(transparent)]
    Seal(#[from] AgeFault),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("the configuration names more than {NAMED_FILES_MAX} files")]
    Files,
    #[error("another backup is under way")]
    UnderWay,
}

/// Runs the verb.
pub fn run(arguments: &BackupArguments) -> u8 {
    let done = match &arguments.verb {
        None => make(&arguments.make),
        Some(BackupVerb::Key(arguments)) => key(arguments),
        Some(BackupVerb::List(arguments)) => list(arguments),
        Some(BackupVerb::Verify(arguments)) => verify(arguments),
    };
    done.unwrap_or_else(|code| code)
}

/// The keys in a file; none without one.
pub(super) fn identities(file: Option<&Path>) -> Result<Vec<Identity>, u8> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let failed = |words: String| fail(format!("{}: {words}", file.display()));
    let bytes = archive::small(file).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("not a text".into()))?;
    Identity::all(&text).map_err(|fault| failed(fault.to_string()))
}

fn to_folder(named: Option<&Path>, config: &Config) -> Result<PathBuf, u8> {
    named.map(Path::to_owned).or_else(|| config.backup.to.clone()).ok_or_else(|| {
        eprintln!(
            "forepost: where to? Set `to` in [backup] of the configuration, or say --to FOLDER"
        );
        MISUSED
    })
}

fn first_hospital(config: &Config) -> &str {
    config.hospitals.first().map_or("", |one| one.code.as_str())
}

/// What was made.
struct Made {
    file: String,
    bytes: u64,
    digest: [u8; 32],
    facts: Facts,
    removed: Vec<Lying>,
}

fn make(arguments: &MakeArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let to = to_folder(arguments.to.as_deref(), &config)?;
    let recipients = recipients::all(&config).map_err(fail)?;
    if recipients.is_empty() && !config.backup.plain {
        eprintln!(
            "forepost: nobody could open the backup. Make the recovery key by `forepost backup \
             key`, or name the hospital's own as `recipients` in [backup] of the configuration"
        );
        return Err(MISUSED);
    }
    let known = is_known(&config, &to)?;
    let (began_at, begun) = (clock::now(), Instant::now());
    let made = write(arguments, &config, &to, known, &recipients, began_at);
    let (file, bytes, digest, fault) = match &made {
        Ok(made) => (made.file.clone(), made.bytes, Some(made.digest), String::new()),
        Err(fault) => (String::new(), 0, None, fault.to_string()),
    };
    let (ended_at, folder) = (clock::now(), to.display().to_string());
    note(&config, BackupNoted { began_at, ended_at, folder, file, bytes, digest, fault });
    let made = made.map_err(fail)?;
    report(&made, &to, &recipients, begun.elapsed().as_secs_f64(), arguments.json);
    Ok(DONE)
}

/// Keeps what became of it, for the service's metrics. A backup that cannot be noted is one all the
/// same.
fn note(config: &Config, noted: BackupNoted) {
    let kept = open_beside(config).map(|ledger| {
        let kept = super::wait(ledger.note_backup(noted));
        ledger.close();
        kept
    });
    match kept {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => eprintln!("forepost: the backup is not noted in the ledger: {error}"),
        // The reason stands on stderr already.
        Ok(Err(_)) | Err(_) => eprintln!("forepost: the backup is not noted in the ledger"),
    }
}

fn write(
    arguments: &MakeArguments,
    config: &Config,
    to: &Path,
    known: bool,
    recipients: &[Recipient],
    now: Time,
) -> Result<Made, BackupFault> {
    let _lock = only_one(&config.data)?;
    let (hospital, options) = (first_hospital(config), &config.backup);
    let folder = Folder::open(to, hospital)?;
    folder.check(&config.data, options.mounted, known, arguments.new_folder)?;
    let files = gathered(config, &arguments.config.config)?;
    let mut snapshot = Snapshot::take(&config.data.join("ledger"))?;
    let small: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64 + 1_024).sum();
    folder.prepare(snapshot.length() + small)?;
    let file = kept::name(hospital, now, config.offset, !options.plain);
    let writing = folder.begin(&file)?;
    let manifest = manifest(config, &files, &snapshot, now);
    let target = folder_file(to, &file);
    let (bytes, digest) =
        pack(writing, recipients, options.plain, &manifest, &files, &mut snapshot)
            .map_err(|source| FolderFault::Write { path: target, source })?;
    let facts = snapshot.facts().clone();
    drop(snapshot);
    let removed = folder.superfluous(options.kept, config.offset)?;
    removed.iter().try_for_each(|one| folder.delete(one))?;
    Ok(Made { file, bytes, digest, facts, removed })
}

fn folder_file(to: &Path, file: &str) -> String {
    to.join(file).display().to_string()
}

/// One backup at a time. The folder itself is locked: a file would belong to whoever came first.
fn only_one(data: &Path) -> Result<File, BackupFault> {
    let path = data.join("ledger");
    let fault = |source| BackupFault::File { path: path.display().to_string(), source };
    let lock = File::open(&path).map_err(fault)?;
    lock.try_lock().map_err(|_| BackupFault::UnderWay)?;
    Ok(lock)
}

/// Whether a backup went to that folder before.
fn is_known(config: &Config, to: &Path) -> Result<bool, u8> {
    let noted = open_to_read(config)?.backups().map_err(fail)?;
    let folder = to.display().to_string();
    Ok(noted.iter().any(|one| one.folder == folder && one.fault.is_empty()))
}

/// Every small file of a backup with its bytes: the configuration, what it names, what lies beside
/// its certificates, and the keys of the data folder.
fn gathered(config: &Config, path: &Path) -> Result<Vec<(Entry, Vec<u8>)>, BackupFault> {
    let mut wanted = vec![(CONFIG.to_owned(), Role::Config, path.to_owned())];
    let mut named: Vec<PathBuf> =
        config.paths.iter().filter(|one| one.is_file()).cloned().collect();
    // The authority that workstations trust lies beside the certificate that it signed. Its key may
    // be root's alone, or in a safe.
    let beside = files_in(&path.with_file_name("tls"));
    let (readable, closed): (Vec<_>, Vec<_>) =
        beside.into_iter().partition(|path| File::open(path).is_ok());
    for path in closed {
        eprintln!("forepost: {} is not ours to read and is left out", path.display());
    }
    named.extend(readable);
    named.sort();
    named.dedup();
    let number = |(at, path)| (format!("files/{}", at + 1), Role::Named, path);
    wanted.extend(named.into_iter().enumerate().map(number));
    let keys = config.data.join("keys");
    for (folder, prefix) in [(keys.clone(), "keys"), (keys.join("sm2"), "keys/sm2")] {
        for path in files_in(&folder) {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                wanted.push((format!("{prefix}/{name}"), Role::Key, path.clone()));
            }
        }
    }
    let ledger_keys = "keys/ledger.keys";
    wanted.retain(|(name, ..)| name != ledger_keys);
    if wanted.len() > NAMED_FILES_MAX {
        return Err(BackupFault::Files);
    }
    let owner = std::fs::metadata(&config.data).map(|found| found.uid()).ok();
    let mut gathered = Vec::new();
    for (name, role, path) in wanted {
        let fault = |source| BackupFault::File { path: path.display().to_string(), source };
        let bytes = archive::small(&path).map_err(fault)?;
        let found = std::fs::metadata(&path).map_err(fault)?;
        let (mode, of_service) = (found.permissions().mode() & 0o777, Some(found.uid()) == owner);
        gathered.push((Entry { name, role, path, mode, of_service }, bytes));
    }
    // Wherever the keys are kept, a backup holds them as a file.
    let text = ledger_keys_text(&config.data)?.expose_secret().as_bytes().to_vec();
    let (name, path) = (ledger_keys.to_owned(), keys.join("ledger.keys"));
    let entry = Entry { name, role: Role::Key, path, mode: 0o600, of_service: true };
    gathered.push((entry, text));
    Ok(gathered)
}

/// The files in a folder, in order; none where there is no folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn manifest(
    config: &Config,
    files: &[(Entry, Vec<u8>)],
    snapshot: &Snapshot,
    now: Time,
) -> Manifest {
    let facts = snapshot.facts();
    Manifest {
        format: FORMAT.into(),
        program: env!("CARGO_PKG_VERSION").into(),
        hospital: first_hospital(config).to_owned(),
        taken_at_ms: now.0,
        taken_at: kept::stamp(now, config.offset),
        data: config.data.clone(),
        files: files.iter().map(|(entry, _)| entry.clone()).collect(),
        ledger: LedgerFacts {
            bytes: snapshot.length(),
            version: facts.version,
            oldest_reader: facts.oldest_reader,
            registrations: facts.registrations,
            interfaces: facts.interfaces.clone(),
            evidence_lines: facts.evidence.lines,
            evidence_last: hex::encode(facts.evidence.hash),
        },
    }
}

/// The file, sealed or as it is.
enum Wrap {
    Sealed(Box<Sealer<Writing>>),
    Plain(Writing),
}

impl Write for Wrap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wrap::Sealed(out) => out.write(bytes),
            Wrap::Plain(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pack(
    writing: Writing,
    recipients: &[Recipient],
    plain: bool,
    manifest: &Manifest,
    files: &[(Entry, Vec<u8>)],
    snapshot: &mut Snapshot,
) -> io::Result<(u64, [u8; 32])> {
    let wrap = match plain {
        true => Wrap::Plain(writing),
        false => {
            let sealer = Sealer::new(writing, recipients).map_err(|fault| match fault {
                AgeFault::Stream(error) => error,
                other => io::Error::other(other),
            })?;
            Wrap::Sealed(Box::new(sealer))
        }
    };
    let mut packer = Packer::new(wrap, manifest)?;
    for (entry, bytes) in files {
        packer.add(&entry.name, entry.mode, bytes.len() as u64, &bytes[..])?;
    }
    packer.add(LEDGER, 0o600, manifest.ledger.bytes, snapshot)?;
    match packer.finish()? {
        Wrap::Sealed(out) => out.finish()?.finish(),
        Wrap::Plain(out) => out.finish(),
    }
}

fn report(made: &Made, to: &Path, recipients: &[Recipient], seconds: f64, as_json: bool) {
    let file = to.join(&made.file).display().to_string();
    let removed: Vec<&str> = made.removed.iter().map(|one| one.file.as_str()).collect();
    if as_json {
        println!(
            "{}",
            json!({
                "file": file, "bytes": made.bytes, "sha256": hex::encode(made.digest),
                "seconds": seconds, "removed": removed,
                "recipients": recipients.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "registrations": made.facts.registrations,
                "interfaces": made.facts.interfaces,
                "evidence_lines": made.facts.evidence.lines,
            })
        );
        return;
    }
    println!("{file}: {} bytes in {seconds:.1} s, {}", made.bytes, opened_by(recipients));
    removed.iter().for_each(|name| println!("deleted {name}, which is no longer kept"));
}

fn opened_by(recipients: &[Recipient]) -> String {
    match recipients {
        [] => "NOT sealed: whoever has it reads it".to_owned(),
        [_] => "sealed to 1 key".to_owned(),
        several => format!("sealed to each of {} keys", several.len()),
    }
}

fn key(arguments: &KeyArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let by = arguments.by.name()?;
    let before = recipients::recovery(&config.data).map_err(fail)?;
    if let (Some(one), false) = (before.first(), arguments.replace) {
        eprintln!(
            "forepost: there is a recovery key, {one}. If its secret is lost, make another by \
             --replace; backups made so far then open by the hospital's own keys only"
        );
        return Err(FAILED);
    }
    let identity = Identity::generate().map_err(fail)?;
    let made_at = kept::stamp(clock::now(), config.offset);
    let remark = format!("made {made_at} by {}", by.replace(char::is_control, " "));
    let recipient = identity.recipient();
    recipients::keep(&config.data, &recipient, &remark).map_err(fail)?;
    let secret = identity.to_secret_line();
    let secret = secret.expose_secret();
    if arguments.json {
        println!("{}", json!({"recipient": recipient.to_string(), "secret": secret}));
        return Ok(DONE);
    }
    println!(
        "# Forepost 备份恢复密钥 · recovery key of the backups, {made_at}\n\
         # 只显示这一次：请打印两份，放入两处保险柜；本机不保存。没有它（或医院自己的密钥），备份无法打开。\n\
         # Shown this once: print it twice and keep it in two safes. It is not kept here.\n\
         # Without it, or a key of the hospital's own, no backup can be opened.\n\
         # public key: {recipient}\n{secret}"
    );
    Ok(DONE)
}

fn list(arguments: &ListArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let to = to_folder(arguments.to.as_deref(), &config)?;
    let folder = Folder::open(&to, first_hospital(&config)).map_err(fail)?;
    let found = folder.backups().map_err(fail)?;
    let moments: Vec<Time> = found.iter().map(|one| one.at).collect();
    let stays = kept::kept(&moments, config.offset, config.backup.kept);
    let row = |(one, stays): (&Lying, &bool)| {
        json!({
            "file": one.file, "at_ms": one.at.0, "bytes": one.bytes,
            "sealed": one.file.ends_with(kept::SEALED), "kept": stays,
        })
    };
    if arguments.json {
        let rows: Vec<Value> = found.iter().zip(&stays).map(row).collect();
        println!("{}", Value::Array(rows));
        return Ok(DONE);
    }
    println!("{:<17} {:>15}  file", "of", "bytes");
    for (one, stays) in found.iter().zip(&stays) {
        let at = super::wall(one.at, &config);
        let goes = if *stays { "" } else { " (goes with the next backup)" };
        println!("{at:<17} {:>15}  {}{goes}", one.bytes, one.file);
    }
    Ok(DONE)
}

fn verify(arguments: &VerifyArguments) -> Result<u8, u8> {
    let failed = |words: String| fail(format!("{}: {words}", arguments.file.display()));
    let identities = identities(arguments.key_file.as_deref())?;
    let opened = open(&arguments.file, &identities);
    if let Err(ArchiveFault::Sealed) = opened {
        return remembered(arguments);
    }
    let read = opened.and_then(|stream| unpack(stream, None, |_| Ok(())));
    let manifest = read.map_err(|fault| failed(fault.to_string()))?;
    if arguments.json {
        println!("{}", json!(manifest));
        return Ok(DONE);
    }
    println!(
        "whole: of {}, hospital {}, {} files, {} registrations, {} lines of evidence",
        manifest.taken_at,
        manifest.hospital,
        manifest.files.len() + 1,
        manifest.ledger.registrations,
        manifest.ledger.evidence_lines,
    );
    Ok(DONE)
}

/// Without a key: whether the file is still the one that was written.
fn remembered(arguments: &VerifyArguments) -> Result<u8, u8> {
    let shown = arguments.file.display();
    let config = arguments.config.read()?;
    let noted = open_to_read(&config)?.backups().map_err(fail)?;
    let name = arguments.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(noted) = noted.into_iter().find(|one| one.file == name) else {
        return Err(fail(format!(
            "{shown}: the ledger does not remember it; give --key-file FILE"
        )));
    };
    let mut file = File::open(&arguments.file).map_err(fail)?;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    io::copy(&mut file, &mut Summing(&mut context)).map_err(fail)?;
    let same = noted.digest.is_some_and(|digest| context.finish().as_ref() == digest);
    if !same {
        return Err(fail(format!("{shown} is not what was written: it is damaged")));
    }
    if arguments.json {
        println!("{}", json!({"file": name, "as_written": true}));
    } else {
        println!("as it was written; whether it opens shows only with its key (--key-file FILE)");
    }
    Ok(DONE)
}

struct Summing<'a>(&'a mut aws_lc_rs::digest::Context);

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
