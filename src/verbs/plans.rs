//! `forepost plans list|show|unmatched`: what is planned for registered patients, read beside the
//! service.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArgument, DONE, FAILED, fail, open_to_read, wall};
use crate::clock;
use crate::config::Config;
use crate::ledger::{PlanShown, SearchShown, StudyShown, UnmatchedShown};
use crate::model::Registration;

/// Plans that `list` shows unless told otherwise.
const LISTED_DEFAULT: usize = 50;

/// What `plans` can do.
#[derive(Subcommand)]
pub enum PlansVerb {
    /// Plans, the latest visit first; names nobody.
    List(ListArguments),
    /// One plan: patient, sources, every study with the reason for its fate.
    Show(ShowArguments),
    /// Studies that were pushed and that no registration took; names nobody.
    Unmatched(ListArguments),
}

/// What `plans list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// At most so many.
    #[arg(long, default_value_t = LISTED_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `plans show` takes.
#[derive(Args)]
pub struct ShowArguments {
    /// The plan's number, from `plans list`.
    id: i64,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(verb: &PlansVerb) -> u8 {
    match verb {
        PlansVerb::List(arguments) => list(arguments),
        PlansVerb::Show(arguments) => show(arguments),
        PlansVerb::Unmatched(arguments) => unmatched(arguments),
    }
}

fn list(arguments: &ListArguments) -> u8 {
    let config = match arguments.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let plans = match open_to_read(&config).map(|ledger| ledger.plans(arguments.limit)) {
        Ok(Ok(plans)) => plans,
        Ok(Err(error)) => return fail(error),
        Err(code) => return code,
    };
    if arguments.json {
        println!("{}", Value::Array(plans.iter().map(plan_json).collect()));
        return DONE;
    }
    println!(
        "{:>6}  {:<13} {:<16} {:>7} {:>13}  ready",
        "plan", "state", "visit", "studies", "instances"
    );
    for plan in &plans {
        println!(
            "{:>6}  {:<13} {:<16} {:>7} {:>13}  {}",
            plan.id,
            plan.state,
            wall(plan.due_at, &config),
            format!("{}/{}", plan.chosen, plan.found),
            format!("{}/{}", plan.have, plan.expected),
            readiness(plan)
        );
    }
    DONE
}

fn show(arguments: &ShowArguments) -> u8 {
    let config = match arguments.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let shown = match open_to_read(&config).map(|ledger| ledger.plan(arguments.id)) {
        Ok(Ok(Some(shown))) => shown,
        Ok(Ok(None)) => {
            eprintln!("no plan has the number {}; `forepost plans list` shows them", arguments.id);
            return FAILED;
        }
        Ok(Err(error)) => return fail(error),
        Err(code) => return code,
    };
    let (plan, registration, searches, studies) = shown;
    if arguments.json {
        let mut value = plan_json(&plan);
        value["searches"] = searches.iter().map(search_json).collect();
        value["studies"] = studies.iter().map(study_json).collect();
        println!("{value}");
        return DONE;
    }
    print_plan(&plan, &registration, &config);
    for search in &searches {
        println!("source     {}: {}", search.source, search_words(search, &config));
    }
    for study in &studies {
        print_study(study);
    }
    DONE
}

fn unmatched(arguments: &ListArguments) -> u8 {
    let config = match arguments.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let studies = match open_to_read(&config).map(|ledger| ledger.unmatched(arguments.limit)) {
        Ok(Ok(studies)) => studies,
        Ok(Err(error)) => return fail(error),
        Err(code) => return code,
    };
    if arguments.json {
        println!("{}", Value::Array(studies.iter().map(unmatched_json).collect()));
        return DONE;
    }
    println!("{:<16} {:<12} {:>9}  {:<11}  study", "came", "source", "instances", "registered");
    for one in &studies {
        println!(
            "{:<16} {:<12} {:>9}  {:<11}  {}",
            wall(one.first_at, &config),
            one.source,
            one.instances,
            if one.contradicted { "contradicts" } else { "nobody" },
            one.study
        );
    }
    DONE
}

fn unmatched_json(one: &UnmatchedShown) -> Value {
    json!({
        "study": one.study,
        "source": one.source,
        "instances": one.instances,
        "first_at_ms": one.first_at.0,
        "contradicted": one.contradicted,
    })
}

fn print_plan(plan: &PlanShown, registration: &Registration, config: &Config) {
    println!("plan       {} of hospital {}", plan.id, plan.hospital);
    println!("patient    {}", registration.person.name);
    let department = &registration.department;
    println!("department {} {}", department.code, department.name);
    println!("accepted   {}", wall(plan.received_at, config));
    let urgent = if plan.urgent { " (urgent)" } else { "" };
    println!("visit      {}{urgent}", wall(plan.due_at, config));
    println!("state      {}, {}", plan.state, readiness(plan));
    println!("studies    {} found, {} chosen", plan.found, plan.chosen);
    println!("instances  {} of {} here", plan.have, plan.expected);
}

fn print_study(shown: &StudyShown) {
    let study = &shown.study;
    println!();
    println!("study      {}", study.study);
    println!(
        "           {} {} {} {}",
        study.study_date,
        study.modalities.join("/"),
        study.description,
        study.institution_name
    );
    println!("decision   {} (identity {}, score {})", shown.outcome, shown.link, shown.score);
    println!("because    {}", shown.why);
    if let Some(fetch) = &shown.fetch {
        let expected = fetch.expected.map_or("?".to_owned(), |m| m.to_string());
        println!(
            "fetch      {}, {} of {expected}, {} tries",
            fetch.state, fetch.have, fetch.attempts
        );
        if let Some(fault) = &fetch.fault {
            println!("last fault {fault}");
        }
    }
}

fn search_words(search: &SearchShown, config: &Config) -> String {
    match (&search.answered_at, &search.fault) {
        (Some(at), _) => format!("answered at {}", wall(*at, config)),
        (None, Some(fault)) => format!("no answer after {} tries: {fault}", search.attempts),
        (None, None) => "nothing was pushed yet".to_owned(),
    }
}

/// Ready with its lead, or the one cause why not.
pub(super) fn readiness(plan: &PlanShown) -> String {
    match (plan.lead_ms, &plan.cause) {
        (Some(lead), _) if lead >= 0 => format!("ready {} before the visit", duration(lead)),
        (Some(lead), _) => format!("ready {} after the visit time", duration(-lead)),
        (None, Some(cause)) => format!("not ready: {cause}"),
        (None, None) => String::from("not ready yet"),
    }
}

/// Milliseconds as a person says them.
pub(super) fn duration(milliseconds: i64) -> String {
    let minutes = milliseconds / 60_000;
    match minutes {
        0 => format!("{} s", milliseconds / 1_000),
        1..=119 => format!("{minutes} min"),
        _ => format!("{} h", minutes / 60),
    }
}

fn plan_json(plan: &PlanShown) -> Value {
    json!({
        "id": plan.id,
        "hospital": plan.hospital,
        "state": plan.state,
        "urgent": plan.urgent,
        "received_at_ms": plan.received_at.0,
        "due_at_ms": plan.due_at.0,
        "ready_at_ms": plan.ready_at.map(|at| at.0),
        "lead_ms": plan.lead_ms,
        "cause": plan.cause,
        "found": plan.found,
        "chosen": plan.chosen,
        "have": plan.have,
        "expected": plan.expected,
        "now_ms": clock::now().0,
    })
}

fn search_json(search: &SearchShown) -> Value {
    json!({
        "source": search.source,
        "answered_at_ms": search.answered_at.map(|at| at.0),
        "attempts": search.attempts,
        "fault": search.fault,
    })
}

fn study_json(shown: &StudyShown) -> Value {
    json!({
        "study": shown.study.study.as_str(),
        "source": shown.study.place.source,
        "study_date": shown.study.study_date,
        "modalities": shown.study.modalities,
        "institution": shown.study.institution_name,
        "outcome": shown.outcome,
        "link": shown.link,
        "score": shown.score,
        "why": shown.why,
        "fetch": shown.fetch.as_ref().map(|fetch| json!({
            "state": fetch.state,
            "have": fetch.have,
            "expected": fetch.expected,
            "attempts": fetch.attempts,
            "fault": fetch.fault,
        })),
    })
}
