//! `forepost cache stats|verify|rebuild|evict`.
//!
//! What only reads works beside the service; what changes the cache needs its folder's lock, which
//! the service holds: it mends and evicts by itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::{Args, Subcommand};
use forepost_cache::{Cache, CacheError, Held};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{ByArgument, ConfigArgument, DONE, FAILED, fail, open_beside, open_to_read, wait};
use crate::clock;
use crate::config::Config;
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::prefetch::eviction::{self, Candidate};

/// What `cache` can do.
#[derive(Subcommand)]
pub enum CacheVerb {
    /// How much is kept.
    Stats(CacheArguments),
    /// Open every object and compare it with its record; the service may run.
    Verify(VerifyArguments),
    /// Make the search rows anew from the study records; the service must not run.
    Rebuild(CacheArguments),
    /// Remove studies that nobody wants, those first that are over longest; to do it, the service
    /// must not run.
    Evict(EvictArguments),
}

/// What `cache verify` takes.
#[derive(Args)]
pub struct VerifyArguments {
    /// Take what is damaged out of the cache, so that it is fetched again; the service must not
    /// run.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    by: ByArgument,
    #[command(flatten)]
    common: CacheArguments,
}

/// What `cache evict` takes.
#[derive(Args)]
pub struct EvictArguments {
    /// At least so many bytes.
    #[arg(long, required_unless_present = "to_low_mark", conflicts_with = "to_low_mark")]
    bytes: Option<u64>,
    /// Until the low mark of the configuration is reached.
    #[arg(long)]
    to_low_mark: bool,
    /// Only show what would leave, and why; the service may run.
    #[arg(long)]
    dry_run: bool,
    /// Without it, only what would leave is shown.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    by: ByArgument,
    #[command(flatten)]
    common: CacheArguments,
}

/// What each of them takes.
#[derive(Args)]
pub struct CacheArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(verb: &CacheVerb) -> u8 {
    let common = match verb {
        CacheVerb::Stats(common) | CacheVerb::Rebuild(common) => common,
        CacheVerb::Verify(VerifyArguments { common, .. })
        | CacheVerb::Evict(EvictArguments { common, .. }) => common,
    };
    let config = match common.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} studies, {eta} left") {
        bar.set_style(style);
    }
    let mut progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let result = match verb {
        CacheVerb::Stats(_) => stats(&config.cache).map_err(cache_fault),
        CacheVerb::Verify(arguments) if arguments.repair => {
            repair(&config, &arguments.by, &mut progress)
        }
        CacheVerb::Verify(_) => verify(&config.cache, &mut progress).map_err(cache_fault),
        CacheVerb::Rebuild(_) => become_owner(&config)
            .and_then(|()| rebuild(&config.cache, &mut progress).map_err(cache_fault)),
        CacheVerb::Evict(arguments) => evict(&config, arguments, &mut progress),
    };
    bar.finish_and_clear();
    match result {
        Ok((whole, words)) => {
            print(&words, common.json);
            if whole { DONE } else { FAILED }
        }
        Err(code) => code,
    }
}

/// The exit code of a failure, with what to do about it on stderr.
fn cache_fault(error: CacheError) -> u8 {
    match error {
        CacheError::Locked => fail(
            "the service runs and holds the cache; it mends and evicts by itself. \
             Stop it and its sockets (systemctl stop 'forepost-*.socket' forepost) to do this \
             by hand",
        ),
        error => fail(error),
    }
}

/// From here on the process is whoever owns the cache, because what root makes in it the service
/// cannot open. Keys are read before: only root opens those that are sealed to the machine.
fn become_owner(config: &Config) -> Result<(), u8> {
    let folder = if config.cache.exists() { &config.cache } else { &config.data };
    let owner = std::fs::metadata(folder).map_err(fail)?;
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 || owner.uid() == 0 {
        return Ok(());
    }
    // SAFETY: each takes numbers, the first an empty list; all threads change together.
    let changed = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setgid(owner.gid()) == 0
            && libc::setuid(owner.uid()) == 0
    };
    if changed { Ok(()) } else { Err(fail(std::io::Error::last_os_error())) }
}

type Progress<'a> = &'a mut dyn FnMut(u64, u64);

fn stats(folder: &Path) -> Result<(bool, Value), CacheError> {
    let measure = Cache::measure(folder)?;
    let words = json!({
        "studies": measure.studies,
        "series": measure.series,
        "instances": measure.instances,
        "bytes": measure.bytes,
    });
    Ok((true, words))
}

fn verify(folder: &Path, progress: Progress<'_>) -> Result<(bool, Value), CacheError> {
    let report = Cache::verify(folder, progress)?;
    let findings: Vec<String> = report.findings.iter().map(|one| one.to_string()).collect();
    let words = json!({
        "studies": report.studies,
        "instances": report.instances,
        "bytes": report.bytes,
        "findings": findings,
    });
    Ok((findings.is_empty(), words))
}

/// Takes out what is damaged, then tells the ledger what is left of each study. Should this end in
/// between, the service finds the same when it compares its plans with the cache.
fn repair(config: &Config, by: &ByArgument, progress: Progress<'_>) -> Result<(bool, Value), u8> {
    let who = by.name()?;
    let ledger = open_beside(config)?;
    become_owner(config)?;
    let report = Cache::repair(&config.cache, progress).map_err(cache_fault)?;
    for (study, mended) in &report.mended {
        let study = study.as_str().to_owned();
        let told = ledger.damaged(study, mended.left, who.clone(), clock::now());
        wait(told)?.map_err(fail)?;
    }
    ledger.close();
    let verified = &report.verified;
    let findings: Vec<String> = verified.findings.iter().map(|one| one.to_string()).collect();
    let words = json!({
        "studies": verified.studies,
        "instances": verified.instances,
        "bytes": verified.bytes,
        "findings": findings,
        "mended": report.mended.iter().map(|(study, mended)| json!({
            "study": study.as_str(), "taken": mended.taken, "left": mended.left,
        })).collect::<Vec<Value>>(),
    });
    Ok((true, words))
}

/// What an eviction came to.
#[derive(Default)]
struct Evicted {
    /// What left, or would.
    studies: Vec<Candidate>,
    bytes: u64,
    /// What was chosen and stayed: an open plan came to want it.
    kept: u64,
}

fn evict(
    config: &Config,
    arguments: &EvictArguments,
    progress: Progress<'_>,
) -> Result<(bool, Value), u8> {
    if arguments.dry_run || !arguments.yes {
        let held = Cache::held_in(&config.cache).map_err(cache_fault)?;
        let all = counted(choose(config, arguments, &open_to_read(config)?, held)?);
        if !arguments.dry_run {
            let (studies, bytes) = (all.studies.len(), all.bytes);
            eprintln!("{studies} studies of {bytes} bytes would leave; add --yes to do it");
        }
        return Ok((true, evicted_json(&all, false)));
    }
    let who = arguments.by.name()?;
    let ledger = open_beside(config)?;
    become_owner(config)?;
    let cache = Cache::open(&config.cache).map_err(cache_fault)?;
    cache.wait_for_rebuild();
    let chosen = choose(config, arguments, &ledger, cache.held())?;
    let evicted = wait(evict_all(&ledger, &cache, chosen, &who, progress))?.map_err(fail)?;
    ledger.close();
    cache.close().map_err(cache_fault)?;
    Ok((true, evicted_json(&evicted, true)))
}

fn choose(
    config: &Config,
    arguments: &EvictArguments,
    ledger: &Ledger,
    held: Vec<Held>,
) -> Result<Vec<Candidate>, u8> {
    let room = Cache::room_in(&config.cache).map_err(cache_fault)?;
    let bytes = held.iter().map(|one| one.bytes).sum();
    let needed = arguments.bytes.unwrap_or_else(|| config.marks.above_low(room, bytes));
    eviction::candidates(ledger, held, needed, clock::now()).map_err(fail)
}

fn counted(studies: Vec<Candidate>) -> Evicted {
    let bytes = studies.iter().map(|one| one.bytes).sum();
    Evicted { studies, bytes, kept: 0 }
}

async fn evict_all(
    ledger: &Ledger,
    cache: &Cache,
    chosen: Vec<Candidate>,
    who: &str,
    progress: Progress<'_>,
) -> Result<Evicted, Fault> {
    let all = chosen.len() as u64;
    let mut evicted = Evicted::default();
    for (done, one) in (1..).zip(chosen) {
        let removed = match eviction::take(cache, &one.study)? {
            Some(leaving) => {
                eviction::remove(ledger, leaving, &one.study, who, clock::now()).await?
            }
            None => None,
        };
        match removed {
            Some(bytes) => {
                evicted.bytes += bytes;
                evicted.studies.push(one);
            }
            None => evicted.kept += 1,
        }
        progress(done, all);
    }
    Ok(evicted)
}

fn evicted_json(evicted: &Evicted, done: bool) -> Value {
    let listed: Vec<Value> = evicted
        .studies
        .iter()
        .map(|one| json!({ "study": one.study.as_str(), "bytes": one.bytes, "reason": one.reason }))
        .collect();
    json!({
        "evicted": done,
        "count": evicted.studies.len(),
        "bytes": evicted.bytes,
        "kept": evicted.kept,
        "studies": listed,
    })
}

fn rebuild(folder: &Path, progress: Progress<'_>) -> Result<(bool, Value), CacheError> {
    let report = Cache::rebuild(folder, progress)?;
    let words = json!({
        "studies": report.studies,
        "instances": report.instances,
        "adopted": report.adopted,
        "refused": report.refused,
    });
    Ok((true, words))
}

fn print(words: &Value, as_json: bool) {
    if as_json {
        println!("{words}");
        return;
    }
    for (key, value) in words.as_object().into_iter().flatten() {
        match value.as_array() {
            None => println!("{key}: {value}"),
            Some(list) => {
                println!("{key}: {}", list.len());
                for one in list {
                    println!("  {}", line(one));
                }
            }
        }
    }
}

/// A text as it is; of an object its values, one after the other.
fn line(one: &Value) -> String {
    match one {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let words = fields.iter().map(|(key, value)| format!("{key} {}", line(value)));
            words.collect::<Vec<String>>().join(", ")
        }
        other => other.to_string(),
    }
}
