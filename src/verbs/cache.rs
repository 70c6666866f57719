//! `forepost cache stats|verify|rebuild`.

use std::path::Path;

use clap::{Args, Subcommand};
use forepost_cache::{Cache, CacheError};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{ConfigArgument, DONE, FAILED, fail};

/// What `cache` can do.
#[derive(Subcommand)]
pub enum CacheVerb {
    /// How much is kept.
    Stats(CacheArguments),
    /// Open every object and compare it with its record; the service may run.
    Verify(CacheArguments),
    /// Make the search rows anew from the study records; the service must not run.
    Rebuild(CacheArguments),
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
    let (CacheVerb::Stats(arguments)
    | CacheVerb::Verify(arguments)
    | CacheVerb::Rebuild(arguments)) = verb;
    let config = match arguments.config.read() {
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
        CacheVerb::Stats(_) => stats(&config.cache),
        CacheVerb::Verify(_) => verify(&config.cache, &mut progress),
        CacheVerb::Rebuild(_) => rebuild(&config.cache, &mut progress),
    };
    bar.finish_and_clear();
    match result {
        Ok((whole, words)) => {
            print(&words, arguments.json);
            if whole { DONE } else { FAILED }
        }
        Err(error) => fail(error),
    }
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
                for one in list.iter().filter_map(|one| one.as_str()) {
                    println!("  {one}");
                }
            }
        }
    }
}
