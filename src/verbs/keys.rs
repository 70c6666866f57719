//! `forepost keys new|list|show`: the hospital's SM2 keys, of which only the public halves are ever
//! shown. The newest is active, the one to hand out; the others are retired and still open what was
//! encrypted to them. A running service takes a new key up by itself.

use std::os::unix::fs::MetadataExt;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{ConfigArgument, DONE, FAILED, fail};
use crate::app::sm2_folder;
use crate::clock;
use crate::host;
use crate::intake::CONFIGURED_KEY;
use crate::ledger::{NamedSm2Key, keys_text, load_sm2_keys, make_sm2_key, read_keys};
use crate::model::{Time, UtcOffset};

/// What `keys` can do.
#[derive(Subcommand)]
pub enum KeysVerb {
    /// Make a key and show its public half; an older key stays and still decrypts.
    New(NewArguments),
    /// Every key: since when, made by whom, active or retired.
    List(ListArguments),
    /// The public half in every form that vendors ask for; never the private one.
    Show(ShowArguments),
    /// Seal the ledger's keys to this machine, by systemd; they then lie nowhere in the open.
    Seal(SealArguments),
}

/// What `keys new` takes.
#[derive(Args)]
pub struct NewArguments {
    /// Its name: letters, digits, _ and -.
    name: String,
    #[command(flatten)]
    config: ConfigArgument,
    /// Who makes it; the user of this session unless told.
    #[arg(long)]
    by: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `keys list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `keys show` takes.
#[derive(Args)]
pub struct ShowArguments {
    /// Its name; the active one unless told.
    name: Option<String>,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `keys seal` takes.
#[derive(Args)]
pub struct SealArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Do it; without it, only say what would be done.
    #[arg(long)]
    yes: bool,
}

/// Runs the verb.
pub fn run(verb: &KeysVerb) -> u8 {
    let done = match verb {
        KeysVerb::New(arguments) => new(arguments),
        KeysVerb::List(arguments) => list(arguments),
        KeysVerb::Show(arguments) => show(arguments),
        KeysVerb::Seal(arguments) => seal(arguments),
    };
    done.err().unwrap_or(DONE)
}

/// The keys of the folder, the newest first, and behind them the one of the configuration; and the
/// hospital's wall clock.
fn read(config: &ConfigArgument) -> Result<(Vec<NamedSm2Key>, UtcOffset), u8> {
    let config = config.read()?;
    let mut keys = load_sm2_keys(&sm2_folder(&config.data)).map_err(fail)?;
    keys.extend(config.sm2.map(|key| NamedSm2Key {
        name: CONFIGURED_KEY.to_owned(),
        made_at: None,
        made_by: String::new(),
        key,
    }));
    Ok((keys, config.offset))
}

fn new(arguments: &NewArguments) -> Result<(), u8> {
    let config = arguments.config.read()?;
    let folder = sm2_folder(&config.data);
    let by = arguments.by.clone().unwrap_or_else(session_user);
    let made = make_sm2_key(&folder, &arguments.name, &by, clock::now()).map_err(fail)?;
    print_key(&made, true, config.offset, arguments.json);
    Ok(())
}

/// Moves the keys of the ledger from their file into a credential of this machine. The file goes
/// last, and only when what was sealed has been opened and compared.
fn seal(arguments: &SealArguments) -> Result<(), u8> {
    let config = arguments.config.read()?;
    let folder = config.data.join("keys");
    let first_start = !config.data.join("ledger/forepost.db").exists();
    let path = folder.join("ledger.keys");
    if !path.exists() && host::ledger_keys(&config.data, false).is_ok() {
        println!("the ledger's keys are sealed to this machine already");
        return Ok(());
    }
    // Made before the first start.
    let (text, place) = keys_text(&folder, first_start && arguments.yes).map_err(fail)?;
    read_keys(text.expose_secret(), &place).map_err(fail)?;
    if !arguments.yes {
        println!(
            "{} would be sealed to this machine and deleted. From then on this machine alone opens \
             the ledger, and another one only by a backup and its recovery key: have one first. \
             Do it: forepost keys seal --yes",
            path.display()
        );
        return Err(FAILED);
    }
    // Root may have made the folder just now, and the service keeps its SM2 keys there.
    let owner = std::fs::metadata(&config.data).map_err(fail)?;
    std::os::unix::fs::chown(&folder, Some(owner.uid()), Some(owner.gid())).map_err(fail)?;
    let sealed = host::seal_keys(text.expose_secret()).map_err(fail)?;
    std::fs::remove_file(&path).map_err(fail)?;
    std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
    println!("sealed to this machine: {}; {} is gone", sealed.display(), path.display());
    Ok(())
}

/// Who typed the command, also behind sudo; the user's number where nothing says more.
fn session_user() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        // SAFETY: geteuid takes nothing and cannot fail.
        format!("user {}", unsafe { libc::geteuid() })
    })
}

fn list(arguments: &ListArguments) -> Result<(), u8> {
    let (keys, offset) = read(&arguments.config)?;
    if arguments.json {
        let list = keys.iter().enumerate().map(|(at, key)| key_json(key, at == 0));
        println!("{}", Value::Array(list.collect()));
        return Ok(());
    }
    println!("{:<24} {:<8} {:<16}  made by", "key", "state", "made");
    for (at, key) in keys.iter().enumerate() {
        let (state, made) = (state(at == 0), made(key, offset));
        println!("{:<24} {state:<8} {made:<16}  {}", key.name, key.made_by);
    }
    Ok(())
}

fn show(arguments: &ShowArguments) -> Result<(), u8> {
    let (keys, offset) = read(&arguments.config)?;
    let named = |key: &NamedSm2Key| arguments.name.as_ref().is_none_or(|name| *name == key.name);
    match keys.iter().position(named) {
        Some(at) => {
            print_key(&keys[at], at == 0, offset, arguments.json);
            Ok(())
        }
        None => {
            let name = arguments.name.as_deref().unwrap_or("active");
            eprintln!("no key is called {name}; `forepost keys list` shows them");
            Err(FAILED)
        }
    }
}

fn print_key(key: &NamedSm2Key, active: bool, offset: UtcOffset, as_json: bool) {
    let public = key.key.public();
    let (x, y) = public.coordinates();
    if as_json {
        let mut value = key_json(key, active);
        value["public"] = json!({
            "hex_04": public.hex(),
            "hex": format!("{x}{y}"),
            "x": x,
            "y": y,
            "base64": public.base64(),
            "der_base64": public.der_base64(),
            "pem": public.pem(),
        });
        println!("{value}");
        return;
    }
    println!("key              {} ({})", key.name, state(active));
    println!("made             {} by {}", made(key, offset), key.made_by);
    println!("hex, with 04     {}", public.hex());
    println!("hex, without 04  {x}{y}");
    println!("x                {x}");
    println!("y                {y}");
    println!("base64           {}", public.base64());
    println!("DER, base64      {}", public.der_base64());
    print!("{}", public.pem());
}

fn key_json(key: &NamedSm2Key, active: bool) -> Value {
    json!({
        "name": key.name,
        "state": state(active),
        "made_at_ms": key.made_at.map(|at| at.0),
        "made_by": key.made_by,
    })
}

fn state(active: bool) -> &'static str {
    if active { "active" } else { "retired" }
}

fn made(key: &NamedSm2Key, offset: UtcOffset) -> String {
    let wall = |at: Time| at.wall(offset).strftime("%Y-%m-%d %H:%M").to_string();
    key.made_at.map_or_else(|| "-".to_owned(), wall)
}
