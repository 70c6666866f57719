//! What the binary can be told to do, and with which exit code it ends: 0 done, 1 failed, 64 the
//! configuration or the command line is wrong (sysexits.h, EX_USAGE).

pub mod audit;
pub mod backup;
pub mod cache;
pub mod catalog;
pub mod certificate;
pub mod demo;
pub mod department;
pub mod dicom;
pub mod dict;
pub mod doctor;
pub mod export;
pub mod keys;
pub mod manual;
pub mod map;
pub mod plans;
pub mod queue;
pub mod restore;
pub mod serve;
pub mod setup;
pub mod simulate;
pub mod views;
pub mod views_reader;
mod whole;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::codec::sheet::{self, Sheet};
use crate::config::Config;
use crate::host;
use crate::ledger::Ledger;
use crate::limits::{BY_CHARACTERS_MAX, DICTIONARY_ROWS_MAX, SHEET_BYTES_MAX};
use crate::model::Time;

/// The work is done.
pub const DONE: u8 = 0;
/// It failed; the reason stands on stderr.
pub const FAILED: u8 = 1;
/// The configuration or the command line is wrong.
pub const MISUSED: u8 = 64;

#[derive(Parser)]
#[command(name = "forepost", version, about = "Front-end machine (前置机) for imaging clouds")]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run until SIGTERM.
    Serve(serve::ServeArguments),
    /// Ask what the hospital's configuration needs, check each answer, and write it.
    Setup(setup::SetupArguments),
    /// Read the configuration and name every mistake.
    Check(ConfigArgument),
    /// Look at this machine and everybody it talks to, and say what to do.
    Doctor(doctor::DoctorArguments),
    /// Show the whole chain with made-up patients; needs nothing.
    Demo(demo::DemoArguments),
    /// What is planned for registered patients.
    #[command(subcommand)]
    Plans(plans::PlansVerb),
    /// What waits to leave, and what a person decides about it.
    #[command(subcommand)]
    Queue(queue::QueueVerb),
    /// What can be proved to others.
    #[command(subcommand)]
    Export(export::ExportVerb),
    /// Who looked at what and decided what.
    #[command(subcommand)]
    Audit(audit::AuditVerb),
    /// Configuration, keys and ledger into one file that only the hospital opens.
    Backup(backup::BackupArguments),
    /// Bring a backup onto this machine; the service must be stopped.
    Restore(restore::RestoreArguments),
    /// The studies that are kept here.
    #[command(subcommand)]
    Cache(cache::CacheVerb),
    /// DICOM's own services by hand: echo, find, get, store.
    #[command(subcommand)]
    Dicom(dicom::DicomVerb),
    /// HIS, cloud, time and faults in seconds: what becomes of settlements.
    Simulate(simulate::SimulateArguments),
    /// The hospital's SM2 keys.
    #[command(subcommand)]
    Keys(keys::KeysVerb),
    /// A certificate for our doors, signed by an authority of the hospital's own.
    Certificate(certificate::CertificateArguments),
    /// What clouds are answered when they ask for dictionaries.
    #[command(subcommand)]
    Dict(dict::DictVerb),
    /// Which of the hospital's examinations is which in words that hospitals share.
    #[command(subcommand)]
    Map(map::MapVerb),
    /// Which department of the dictionary one is that only the HIS names.
    #[command(subcommand)]
    Department(department::DepartmentVerb),
    /// The interfaces of the documents.
    #[command(subcommand)]
    Catalog(CatalogVerb),
    /// The views of hospital databases that are polled.
    #[command(subcommand)]
    Views(views::ViewsVerb),
    /// A process of the service's own: reads one database for it.
    #[command(hide = true)]
    ViewsReader,
    /// Pages for `man` and completions for shells, for who makes packages.
    #[command(hide = true)]
    Manual(manual::ManualArguments),
}

/// Where the configuration lies.
#[derive(Args)]
pub struct ConfigArgument {
    /// The configuration file.
    #[arg(long, default_value = "/etc/forepost/forepost.toml")]
    pub config: PathBuf,
}

impl ConfigArgument {
    /// The checked configuration, or the exit code after every mistake was printed.
    pub fn read(&self) -> Result<Config, u8> {
        Config::read(&self.config).map_err(|fault| {
            eprintln!("{fault}");
            MISUSED
        })
    }
}

#[derive(Subcommand)]
enum CatalogVerb {
    /// Every interface in a line.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// One interface with its fields.
    Show {
        /// Its id.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check a site's overlay.
    Lint {
        /// The overlay file.
        overlay: PathBuf,
    },
}

/// Reads the command line and does what it says.
pub fn run() -> u8 {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { MISUSED } else { DONE };
        }
    };
    match command.verb {
        Verb::Serve(arguments) => serve::run(&arguments),
        Verb::Setup(arguments) => setup::run(&arguments),
        Verb::Check(argument) => match argument.read() {
            Ok(_) => {
                println!("{} is in order", argument.config.display());
                DONE
            }
            Err(code) => code,
        },
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Demo(arguments) => demo::run(arguments),
        Verb::Plans(verb) => plans::run(&verb),
        Verb::Queue(verb) => queue::run(&verb),
        Verb::Export(verb) => export::run(&verb),
        Verb::Audit(verb) => audit::run(&verb),
        Verb::Backup(arguments) => backup::run(&arguments),
        Verb::Restore(arguments) => restore::run(&arguments),
        Verb::Dicom(verb) => dicom::run(&verb),
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Cache(verb) => cache::run(&verb),
        Verb::Keys(verb) => keys::run(&verb),
        Verb::Certificate(arguments) => certificate::run(&arguments),
        Verb::Dict(verb) => dict::run(&verb),
        Verb::Map(verb) => map::run(&verb),
        Verb::Department(verb) => department::run(&verb),
        Verb::Catalog(verb) => run_catalog(&verb),
        Verb::Views(verb) => views::run(&verb),
        Verb::ViewsReader => views_reader::run(),
        Verb::Manual(arguments) => manual::run(&arguments, Command::command()),
    }
}

fn run_catalog(verb: &CatalogVerb) -> u8 {
    match verb {
        CatalogVerb::List { json } => {
            print!("{}", catalog::list(*json));
            DONE
        }
        CatalogVerb::Show { id, json } => match catalog::show(id, *json) {
            Some(page) => {
                print!("{page}");
                DONE
            }
            None => {
                eprintln!("no interface is called {id}; `forepost catalog list` names them all");
                FAILED
            }
        },
        CatalogVerb::Lint { overlay } => {
            let text = match std::fs::read_to_string(overlay) {
                Ok(text) => text,
                Err(error) => {
                    eprintln!("{}: {error}", overlay.display());
                    return FAILED;
                }
            };
            match catalog::lint(&text) {
                Ok(words) => {
                    print!("{words}");
                    DONE
                }
                Err(words) => {
                    eprint!("{words}");
                    MISUSED
                }
            }
        }
    }
}

/// The ledger, to be read beside a running service.
fn open_to_read(config: &Config) -> Result<Ledger, u8> {
    host::open_to_read(&config.data).map_err(fail)
}

/// The ledger, for what a person decides beside a running service
/// (docs/decisions/0003-verbs-write-beside-the-service.md).
fn open_beside(config: &Config) -> Result<Ledger, u8> {
    let keys = host::ledger_keys(&config.data, false).map_err(fail)?;
    Ledger::open_beside(&config.data.join("ledger"), keys).map_err(fail)
}

/// A moment on the hospital's wall.
fn wall(time: Time, config: &Config) -> String {
    time.wall(config.offset).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Who decides.
#[derive(Args)]
pub struct ByArgument {
    /// Who decides, for the history; the user's name by default.
    #[arg(long)]
    by: Option<String>,
}

impl ByArgument {
    /// The name given, else that of the person behind `sudo`, else the user's name or number; or
    /// the exit code.
    pub fn name(&self) -> Result<String, u8> {
        use std::os::unix::fs::MetadataExt;
        let from = |key: &str| std::env::var(key).ok();
        let number =
            || std::fs::metadata("/proc/self").ok().map(|own| format!("uid {}", own.uid()));
        let name = self.by.clone().or_else(|| from("SUDO_USER")).or_else(|| from("USER"));
        let name = name.or_else(number).unwrap_or_default().trim().to_owned();
        if name.is_empty() || name.chars().count() > BY_CHARACTERS_MAX {
            eprintln!("who decides? say it by --by NAME, {BY_CHARACTERS_MAX} characters");
            return Err(MISUSED);
        }
        Ok(name)
    }
}

/// The hospital that is named, else the only one; or the exit code.
fn hospital(config: &Config, named: Option<&str>) -> Result<String, u8> {
    let codes: Vec<&str> = config.hospitals.iter().map(|one| one.code.as_str()).collect();
    match (named, codes.as_slice()) {
        (None, [only]) => Ok((*only).to_owned()),
        (Some(named), _) if codes.contains(&named) => Ok(named.to_owned()),
        (named, _) => {
            let named = named.map(|code| format!("no hospital has the code {code}; "));
            let named = named.unwrap_or_default();
            eprintln!("forepost: {named}--hospital takes one of {}", codes.join(", "));
            Err(MISUSED)
        }
    }
}

/// A table that a person wrote, within the limits of a dictionary; or the exit code.
fn read_sheet(path: &Path) -> Result<Sheet, u8> {
    let failed = |words: String| fail(format!("{}: {words}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let mut limited = file.take(SHEET_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > SHEET_BYTES_MAX {
        return Err(failed(format!("more than {SHEET_BYTES_MAX} bytes")));
    }
    sheet::read(&bytes, DICTIONARY_ROWS_MAX).map_err(|error| failed(error.to_string()))
}

/// Runs a verb's own work to its end.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(fail)?.block_on(work))
}

/// A failure's words on stderr, and its exit code.
fn fail(error: impl std::fmt::Display) -> u8 {
    eprintln!("forepost: {error}");
    FAILED
}
