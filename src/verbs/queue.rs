//! `forepost queue list|show|retry|repair|park|write-off`: what waits to leave, and what a person
//! decides about it. Reading and deciding work beside the running service, which sees a decision
//! within a second.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ByArgument, ConfigArgument, DONE, FAILED, fail, open_beside, open_to_read, wall};
use crate::catalog::{self, Mode};
use crate::clock;
use crate::codec;
use crate::config::Config;
use crate::delivery::{FORECAST_MAX, FORECAST_SPAN_MS, rules};
use crate::ledger::{AttemptShown, Decided, Decision, DeliveryShown, Ledger, LedgerError, Tally};
use crate::limits::{BODY_BYTES_MAX, JSON_DEPTH_MAX, JSON_NODES_MAX};
use crate::model::{DeliveryState, Time};

/// Deliveries that `list` shows unless told otherwise.
const LISTED_DEFAULT: usize = 50;

/// What `queue` can do.
#[derive(Subcommand)]
pub enum QueueVerb {
    /// What is open, in numbers and one by one; names nobody.
    List(ListArguments),
    /// One delivery with every attempt.
    Show(ShowArguments),
    /// Try it again at once.
    Retry(DecideArguments),
    /// Send it with another body.
    Repair(RepairArguments),
    /// Keep it from being sent.
    Park(DecideArguments),
    /// Give it up for good.
    WriteOff(WriteOffArguments),
}

/// What `queue list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Only those: waiting, "in flight", delivered, parked, "written off", replaced.
    #[arg(long, value_parser = state)]
    state: Option<DeliveryState>,
    /// Only those of this interface.
    #[arg(long)]
    interface: Option<String>,
    /// Only settlements for a part that no examination has that is known here (`forepost map`).
    #[arg(long, conflicts_with_all = ["state", "interface"])]
    unknown_examination: bool,
    /// At most so many.
    #[arg(long, default_value_t = LISTED_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `queue show` takes.
#[derive(Args)]
pub struct ShowArguments {
    /// The delivery's number, from `queue list`.
    id: i64,
    /// Show the body and the answers as well; they may be personal.
    #[arg(long)]
    bodies: bool,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `queue retry` and `queue park` take.
#[derive(Args)]
pub struct DecideArguments {
    /// The deliveries' numbers.
    #[arg(required = true)]
    ids: Vec<i64>,
    #[command(flatten)]
    who: Who,
}

/// What `queue write-off` takes.
#[derive(Args)]
pub struct WriteOffArguments {
    /// The deliveries' numbers.
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Without it, only what would be given up is shown.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    who: Who,
}

/// What `queue repair` takes.
#[derive(Args)]
pub struct RepairArguments {
    /// The delivery's number.
    id: i64,
    /// The file with the body that is sent instead, checked like one that arrives.
    #[arg(long)]
    body: PathBuf,
    #[command(flatten)]
    who: Who,
}

/// Who decides.
#[derive(Args)]
pub struct Who {
    #[command(flatten)]
    by: ByArgument,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn state(text: &str) -> Result<DeliveryState, String> {
    DeliveryState::from_name(text).ok_or_else(|| {
        let known: Vec<_> = DeliveryState::ALL.iter().map(|state| state.name()).collect();
        format!("expected one of: {}", known.join(", "))
    })
}

/// Runs the verb.
pub fn run(verb: &QueueVerb) -> u8 {
    match verb {
        QueueVerb::List(arguments) => list(arguments),
        QueueVerb::Show(arguments) => show(arguments),
        QueueVerb::Retry(arguments) => {
            decide(&arguments.ids, &Decision::Retry, true, &arguments.who)
        }
        QueueVerb::Park(arguments) => decide(&arguments.ids, &Decision::Park, true, &arguments.who),
        QueueVerb::WriteOff(arguments) => {
            decide(&arguments.ids, &Decision::WriteOff, arguments.yes, &arguments.who)
        }
        QueueVerb::Repair(arguments) => repair(arguments),
    }
}

fn list(arguments: &ListArguments) -> u8 {
    let config = match arguments.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let ledger = match open_to_read(&config) {
        Ok(ledger) => ledger,
        Err(code) => return code,
    };
    match listed(&ledger, arguments, &config) {
        Ok(()) => DONE,
        Err(error) => fail(error),
    }
}

fn listed(ledger: &Ledger, arguments: &ListArguments, config: &Config) -> Result<(), LedgerError> {
    let now = clock::now();
    let tallies = ledger.tallies()?;
    let interface = arguments.interface.as_deref();
    let deliveries = match arguments.unknown_examination {
        true => ledger.settlements_of_unknown_examinations(arguments.limit)?,
        false => ledger.deliveries(arguments.state, interface, arguments.limit)?,
    };
    let alarms = ledger.alarms()?;
    let mut interfaces = Vec::new();
    for tally in &tallies {
        let forecast = forecast(ledger, tally, now)?;
        let alarm = alarms.iter().find(|(name, _, _)| *name == tally.interface);
        interfaces.push((tally, forecast, alarm.map_or(0, |(_, level, _)| *level)));
    }
    if arguments.json {
        let value = json!({
            "now_ms": now.0,
            "interfaces": interfaces.iter().map(|(tally, forecast, level)| {
                tally_json(tally, *forecast, *level)
            }).collect::<Vec<_>>(),
            "deliveries": deliveries.iter().map(delivery_json).collect::<Vec<_>>(),
        });
        println!("{value}");
        return Ok(());
    }
    for (tally, forecast, level) in &interfaces {
        println!("{}", tally_words(tally, *forecast, *level, now));
    }
    println!(
        "\n{:>8}  {:<22} {:<11} {:<16} {:<16} {:>8}  last fault",
        "delivery", "interface", "state", "accepted", "deadline", "attempts"
    );
    for one in &deliveries {
        println!(
            "{:>8}  {:<22} {:<11} {:<16} {:<16} {:>8}  {}",
            one.id,
            one.interface,
            one.state,
            wall(one.accepted_at, config),
            one.deadline_at.map_or_else(|| "-".into(), |at| wall(at, config)),
            one.attempts,
            one.fault
        );
    }
    Ok(())
}

/// How many of an interface's open deliveries will be late at the rate of the last hour.
fn forecast(ledger: &Ledger, tally: &Tally, now: Time) -> Result<usize, LedgerError> {
    let open = ledger.open_deadlines(&tally.interface, FORECAST_MAX)?;
    let since = now.plus_ms(-FORECAST_SPAN_MS);
    let delivered = ledger.delivered_since(&tally.interface, since)?;
    Ok(rules::will_miss(now, &open, delivered, FORECAST_SPAN_MS))
}

fn tally_words(tally: &Tally, forecast: usize, level: u32, now: Time) -> String {
    let of = |state| tally.of(state);
    let mut words = format!(
        "{}: {} accepted = {} delivered + {} waiting + {} in flight + {} parked + {} written off \
         + {} replaced; {} attempts",
        tally.interface,
        tally.accepted,
        of(DeliveryState::Delivered),
        of(DeliveryState::Waiting),
        of(DeliveryState::InFlight),
        of(DeliveryState::Parked),
        of(DeliveryState::WrittenOff),
        of(DeliveryState::Replaced),
        tally.attempts
    );
    if let Some(at) = tally.oldest_at {
        words += &format!("; the oldest open one is {} min old", now.since_ms(at) / 60_000);
    }
    if let Some(at) = tally.deadline_at {
        words += &format!("; {} min to the nearest deadline", at.since_ms(now) / 60_000);
    }
    if level > 0 {
        words += &format!("; ALARM {level} %");
    }
    if forecast > 0 {
        words += &format!("; at the rate of the last hour {forecast} will miss theirs");
    }
    if !tally.holds() {
        words += "; THE SUM DOES NOT HOLD: keep the data folder and ask for help";
    }
    words
}

fn tally_json(tally: &Tally, forecast: usize, level: u32) -> Value {
    let states: serde_json::Map<String, Value> = DeliveryState::ALL
        .into_iter()
        .map(|state| (state.name().to_owned(), tally.of(state).into()))
        .collect();
    json!({
        "interface": tally.interface, "accepted": tally.accepted, "states": states,
        "holds": tally.holds(), "attempts": tally.attempts,
        "oldest_at_ms": tally.oldest_at.map(|at| at.0),
        "deadline_at_ms": tally.deadline_at.map(|at| at.0),
        "alarm_level": level, "will_miss": forecast,
    })
}

fn delivery_json(one: &DeliveryShown) -> Value {
    json!({
        "id": one.id, "interface": one.interface, "hospital": one.hospital,
        "destination": one.destination, "state": one.state, "accepted_at_ms": one.accepted_at.0,
        "starts_at_ms": one.starts_at.0, "start": one.start,
        "deadline_at_ms": one.deadline_at.map(|at| at.0), "next_at_ms": one.next_at.0,
        "attempts": one.attempts, "fault": one.fault, "replaced_by": one.replaced_by,
        "ended_at_ms": one.ended_at.map(|at| at.0), "body_sha256": one.digest,
    })
}

fn show(arguments: &ShowArguments) -> u8 {
    let config = match arguments.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let found = match open_to_read(&config).map(|ledger| ledger.delivery(arguments.id)) {
        Ok(Ok(Some(found))) => found,
        Ok(Ok(None)) => return unknown(arguments.id),
        Ok(Err(error)) => return fail(error),
        Err(code) => return code,
    };
    let (one, attempts, body) = found;
    let body = body.filter(|_| arguments.bodies);
    if arguments.json {
        let mut value = delivery_json(&one);
        let shown = |attempt: &AttemptShown| attempt_json(attempt, arguments.bodies);
        value["attempts"] = attempts.iter().map(shown).collect();
        if let Some(body) = body {
            value["body"] = String::from_utf8_lossy(&body).into();
        }
        println!("{value}");
        return DONE;
    }
    println!("delivery   {} to {} ({})", one.id, one.destination, one.interface);
    println!("state      {}{}", one.state, note(&one));
    println!("accepted   {}", wall(one.accepted_at, &config));
    println!("clock      from {} ({})", wall(one.starts_at, &config), one.start);
    if let Some(at) = one.deadline_at {
        println!("deadline   {}", wall(at, &config));
    }
    println!("body       SHA-256 {}", one.digest);
    for attempt in &attempts {
        println!(
            "attempt    {}: {} {} {}",
            attempt.number,
            wall(attempt.began_at, &config),
            if attempt.outcome.is_empty() { "under way" } else { &attempt.outcome },
            if attempt.fault.is_empty() {
                format!("status {}, code {}", attempt.status, attempt.code)
            } else {
                attempt.fault.clone()
            }
        );
        if arguments.bodies && !attempt.receipt.is_empty() {
            println!("answer     {}", String::from_utf8_lossy(&attempt.receipt));
        }
    }
    if let Some(body) = body {
        println!("{}", String::from_utf8_lossy(&body));
    }
    DONE
}

fn note(one: &DeliveryShown) -> String {
    match (one.replaced_by, one.fault.as_str()) {
        (Some(by), _) => format!(" by {by}"),
        (None, "") => String::new(),
        (None, fault) => format!(": {fault}"),
    }
}

fn attempt_json(one: &AttemptShown, bodies: bool) -> Value {
    let mut value = json!({
        "number": one.number, "began_at_ms": one.began_at.0,
        "ended_at_ms": one.ended_at.map(|at| at.0), "outcome": one.outcome,
        "status": one.status, "code": one.code, "fault": one.fault,
    });
    if bodies {
        value["receipt"] = String::from_utf8_lossy(&one.receipt).into();
    }
    value
}

fn unknown(id: i64) -> u8 {
    eprintln!("no delivery has the number {id}; `forepost queue list` shows them");
    FAILED
}

fn decide(ids: &[i64], decision: &Decision, yes: bool, who: &Who) -> u8 {
    let config = match who.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if !yes {
        println!("{} deliveries would be given up for good; add --yes to do it", ids.len());
        return DONE;
    }
    let by = match who.by.name() {
        Ok(by) => by,
        Err(code) => return code,
    };
    let ledger = match open_beside(&config) {
        Ok(ledger) => ledger,
        Err(code) => return code,
    };
    let mut worst = DONE;
    for id in ids {
        worst = worst.max(decide_one(&ledger, *id, decision.clone(), &by, who.json));
    }
    ledger.close();
    worst
}

fn decide_one(ledger: &Ledger, id: i64, decision: Decision, by: &str, json: bool) -> u8 {
    let decided = match super::wait(ledger.decide(id, decision, by, clock::now())) {
        Ok(decided) => decided,
        Err(code) => return code,
    };
    match decided {
        Err(error) => fail(error),
        Ok(Decided::Unknown) => unknown(id),
        Ok(Decided::Not(state)) => {
            eprintln!("delivery {id} is {}; that cannot be decided of it", state.name());
            FAILED
        }
        Ok(Decided::Done(goes_on)) if json => {
            println!("{}", json!({ "id": id, "goes_on_as": goes_on, "by": by }));
            DONE
        }
        Ok(Decided::Done(goes_on)) if goes_on != id => {
            println!("delivery {id} goes on as {goes_on}");
            DONE
        }
        Ok(Decided::Done(_)) => {
            println!("delivery {id}: done");
            DONE
        }
    }
}

fn repair(arguments: &RepairArguments) -> u8 {
    let config = match arguments.who.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let by = match arguments.who.by.name() {
        Ok(by) => by,
        Err(code) => return code,
    };
    let ledger = match open_beside(&config) {
        Ok(ledger) => ledger,
        Err(code) => return code,
    };
    let interface = match ledger.delivery(arguments.id) {
        Ok(Some((one, _, _))) => one.interface,
        Ok(None) => return unknown(arguments.id),
        Err(error) => return fail(error),
    };
    let body = match checked_body(&arguments.body, &interface, &config) {
        Ok(body) => body,
        Err(words) => {
            eprintln!("{words}");
            return FAILED;
        }
    };
    let code = decide_one(&ledger, arguments.id, Decision::Repair(body), &by, arguments.who.json);
    ledger.close();
    code
}

/// The body of a file, checked as one that arrives, in canonical form.
fn checked_body(path: &PathBuf, interface: &str, config: &Config) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let limits = codec::json::Limits {
        bytes_max: BODY_BYTES_MAX,
        depth_max: JSON_DEPTH_MAX,
        nodes_max: JSON_NODES_MAX,
    };
    let read = codec::json::parse(&bytes, None, limits);
    let value = read.map_err(|fault| format!("{shown}: {fault}"))?.value;
    let interface = catalog::find(interface)
        .ok_or_else(|| format!("{interface} is no longer in the catalogue"))?;
    let checked = catalog::check(interface, &value, Mode::Lenient, &config.overlay);
    if !checked.faults.is_empty() {
        let faults = checked.faults.iter().map(|fault| fault.message_en.clone());
        return Err(format!("{shown}: {}", faults.collect::<Vec<_>>().join("; ")));
    }
    Ok(catalog::compose(interface, &checked.record))
}
