//! `forepost audit show|reasons|verify`: who looked at which study, who sent and decided what, why
//! doctors did, and whether the chain of evidence is whole; read beside the service. Names callers,
//! accounts and persons who decide, and nobody else, unless a doctor's reason does.

use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::{Value, json};

use super::{ConfigArgument, DONE, FAILED, fail, open_to_read, wall};
use crate::config::Config;
use crate::ledger::{Deed, Deeds, Ledger, LedgerError, Reason};
use crate::model::Time;

/// Deeds that `show` prints unless told otherwise.
const SHOWN_DEFAULT: usize = 100;

/// Lines of evidence that are read at once: a hundred kilobytes, and a short time for a reader.
const PAGE: usize = 256;

/// What `audit` can do.
#[derive(Subcommand)]
pub enum AuditVerb {
    /// Accesses, registrations and decisions, the latest first.
    Show(ShowArguments),
    /// What doctors decided upon notices, and the reasons that they gave.
    Reasons(ReasonsArguments),
    /// Recompute every hash of the evidence.
    Verify(VerifyArguments),
}

/// What `audit show` takes.
#[derive(Args)]
pub struct ShowArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Of this study only: its Study Instance UID.
    #[arg(long)]
    study: Option<String>,
    /// Of this caller or person only.
    #[arg(long)]
    caller: Option<String>,
    /// From this day on, by the hospital's clock, like 2026-11-21.
    #[arg(long)]
    since: Option<Date>,
    /// At most so many.
    #[arg(long, default_value_t = SHOWN_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `audit reasons` takes.
#[derive(Args)]
pub struct ReasonsArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// From this day on, by the hospital's clock, like 2026-11-21.
    #[arg(long)]
    since: Option<Date>,
    /// At most so many.
    #[arg(long, default_value_t = SHOWN_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `audit verify` takes.
#[derive(Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(verb: &AuditVerb) -> u8 {
    let result = match verb {
        AuditVerb::Show(arguments) => show(arguments),
        AuditVerb::Reasons(arguments) => reasons(arguments),
        AuditVerb::Verify(arguments) => verify(arguments),
    };
    result.unwrap_or_else(|code| code)
}

fn show(arguments: &ShowArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let wanted = Deeds {
        study: arguments.study.clone(),
        who: arguments.caller.clone(),
        since: midnight(arguments.since, &config),
        limit: arguments.limit,
    };
    let deeds = open_to_read(&config)?.deeds(&wanted).map_err(fail)?;
    if arguments.json {
        println!("{}", deeds.iter().map(deed_json).collect::<Value>());
        return Ok(DONE);
    }
    println!("{:<16}  {:<20} {:<22} about", "when", "who", "what");
    for deed in &deeds {
        println!(
            "{:<16}  {:<20} {:<22} {}",
            wall(deed.at, &config),
            deed.who,
            deed.what,
            about(deed)
        );
    }
    Ok(DONE)
}

/// The beginning of a day by the hospital's clock; of all days, where none is named.
fn midnight(day: Option<Date>, config: &Config) -> Time {
    let beginning = |day: Date| day.to_datetime(jiff::civil::Time::midnight());
    let since = day.and_then(|day| Time::from_wall(beginning(day), config.offset));
    since.unwrap_or(Time(i64::MIN))
}

fn reasons(arguments: &ReasonsArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let since = midnight(arguments.since, &config);
    let reasons = open_to_read(&config)?.reasons(since, arguments.limit).map_err(fail)?;
    if arguments.json {
        let row = |one: &Reason| {
            json!({
                "at_ms": one.at.0, "account": one.user, "what": one.what, "plan": one.plan,
                "reason": one.text,
            })
        };
        println!("{}", reasons.iter().map(row).collect::<Value>());
        return Ok(DONE);
    }
    println!("{:<16}  {:<20} {:<22} {:<8} reason", "when", "account", "what", "plan");
    for Reason { at, user, what, plan, text } in &reasons {
        let plan = plan.map(|number| number.to_string()).unwrap_or_default();
        println!("{:<16}  {user:<20} {what:<22} {plan:<8} {text}", wall(*at, &config));
    }
    Ok(DONE)
}

fn about(deed: &Deed) -> String {
    let study = deed.study.as_ref().map(|uid| format!("study {uid}"));
    let plan = deed.plan.map(|number| format!("plan {number}"));
    let delivery = deed.delivery.map(|number| format!("delivery {number}"));
    let about = study.or(plan).or(delivery).unwrap_or_else(|| deed.detail.clone());
    match &deed.doctor {
        Some((kind, code)) => format!("{about}  by doctor {code}, type {kind}"),
        None => about,
    }
}

fn deed_json(deed: &Deed) -> Value {
    json!({
        "at_ms": deed.at.0,
        "who": deed.who,
        "what": deed.what,
        "study": deed.study,
        "plan": deed.plan,
        "delivery": deed.delivery,
        "detail": deed.detail,
        "doctor_type": deed.doctor.as_ref().map(|(kind, _)| kind),
        "doctor_code": deed.doctor.as_ref().map(|(_, code)| code),
    })
}

/// What a walk along the chain found.
struct Walked {
    lines: i64,
    last: [u8; 32],
    broken: Option<i64>,
}

fn verify(arguments: &VerifyArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let walked = walk(&open_to_read(&config)?).map_err(fail)?;
    let last = hex::encode(walked.last);
    if arguments.json {
        let value = json!({ "lines": walked.lines, "last": last, "broken_at": walked.broken });
        println!("{value}");
    } else if walked.broken.is_none() {
        println!("{} lines of evidence, whole; the last hash is {last}", walked.lines);
    }
    let Some(number) = walked.broken else { return Ok(DONE) };
    eprintln!("line {number} does not fit the one before it: the ledger was changed");
    Ok(FAILED)
}

/// Recomputes the chain from its beginning. Lines cut off its end leave it whole: who compares the
/// last hash with one that was written down elsewhere finds that too.
fn walk(ledger: &Ledger) -> Result<Walked, LedgerError> {
    let mut walked = Walked { lines: 0, last: [0; 32], broken: None };
    loop {
        let chain = ledger.evidence_behind(walked.lines, PAGE)?;
        let Some(last) = chain.lines.last() else { return Ok(walked) };
        let gap = chain.lines.first().filter(|first| first.number != walked.lines + 1);
        // A hash that was changed between two pages is not the one that the line before has.
        let changed = (chain.before != walked.last).then_some(walked.lines);
        walked.broken = changed.or(gap.map(|first| first.number)).or(chain.broken_at());
        if walked.broken.is_some() {
            return Ok(walked);
        }
        (walked.lines, walked.last) = (last.number, last.hash);
    }
}
