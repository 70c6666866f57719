//! `forepost views list|test|preview|retry`: the views of hospital databases.
//!
//! `list` reads what the service has written. `test` and `preview` ask the database themselves,
//! with a connection of their own. `retry` writes into the ledger beside the service, which then
//! waits for it as for any other process that holds SQLite's lock.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{ConfigArgument, DONE, FAILED, fail, open_to_read};
use crate::app::open_ledger;
use crate::clock;
use crate::config::Config;
use crate::fault::Fault;
use crate::ledger::{LedgerError, ParkedShown, ViewShown};
use crate::model::Time;
use crate::views::{self, Inspected, ViewOptions};

/// Rows that `preview` shows unless told otherwise.
const PREVIEWED_DEFAULT: usize = 5;

/// Rows that `preview` shows at most.
const PREVIEWED_MAX: u64 = 1_000;

/// Parked rows of a view that `list` names unless told otherwise.
const PARKED_LISTED_DEFAULT: usize = 20;

/// What `views` can do.
#[derive(Subcommand)]
pub enum ViewsVerb {
    /// Every view: its last polls, and rows that could not be read, without their values.
    List(ListArguments),
    /// Connect and count; name the columns that are missing.
    Test(ViewArguments),
    /// The first rows, what is personal masked.
    Preview(PreviewArguments),
    /// Try the parked rows of a view again at its next poll.
    Retry(ViewArguments),
}

/// What `views list` takes.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Parked rows of each view, at most.
    #[arg(long, default_value_t = PARKED_LISTED_DEFAULT)]
    limit: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `views test` and `views retry` take.
#[derive(Args)]
pub struct ViewArguments {
    /// The view's name in the configuration.
    view: String,
    #[command(flatten)]
    config: ConfigArgument,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What `views preview` takes.
#[derive(Args)]
pub struct PreviewArguments {
    #[command(flatten)]
    view: ViewArguments,
    /// Rows.
    #[arg(long, default_value_t = PREVIEWED_DEFAULT as u64,
          value_parser = clap::value_parser!(u64).range(1..=PREVIEWED_MAX))]
    rows: u64,
}

/// Runs the verb.
pub fn run(verb: &ViewsVerb) -> u8 {
    let done = match verb {
        ViewsVerb::List(arguments) => list(arguments),
        ViewsVerb::Test(arguments) => look(arguments, None),
        ViewsVerb::Preview(arguments) => look(&arguments.view, Some(arguments.rows as usize)),
        ViewsVerb::Retry(arguments) => retry(arguments),
    };
    done.unwrap_or_else(|code| code)
}

fn list(arguments: &ListArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let ledger = open_to_read(&config)?;
    let polled = ledger.views().map_err(fail)?;
    let mut shown = Vec::new();
    for view in &config.views {
        let kept = polled.iter().find(|kept| kept.name == view.name);
        let parked = kept.map(|kept| ledger.parked_view_rows(kept.id, arguments.limit));
        let parked = parked.transpose().map_err(fail)?.unwrap_or_default();
        if arguments.json {
            shown.push(view_json(view, kept, &parked));
        } else {
            print_view(view, kept, &parked, &config);
        }
    }
    if arguments.json {
        println!("{}", Value::Array(shown));
    }
    Ok(DONE)
}

fn view_json(view: &ViewOptions, kept: Option<&ViewShown>, parked: &[ParkedShown]) -> Value {
    let parked_json =
        |row: &ParkedShown| json!({"id": row.id, "at_ms": row.at.0, "reason": row.reason});
    json!({
        "name": view.name,
        "interface": view.interface.id,
        "database": view.database,
        "whole_at_ms": kept.and_then(|kept| kept.whole_at).map(|at| at.0),
        "rows": kept.and_then(|kept| kept.whole_rows),
        "polled_at_ms": kept.and_then(|kept| kept.polled_at).map(|at| at.0),
        "outcome": kept.and_then(|kept| kept.outcome.clone()),
        "parked": kept.map_or(0, |kept| kept.parked),
        "parked_rows": parked.iter().map(parked_json).collect::<Vec<_>>(),
    })
}

fn print_view(
    view: &ViewOptions,
    kept: Option<&ViewShown>,
    parked: &[ParkedShown],
    config: &Config,
) {
    println!("{} ({} from {})", view.name, view.interface.id, view.database);
    let Some(kept) = kept else { return println!("  never polled") };
    let wall = |at: Time| at.wall(config.offset).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let at = |at: Option<Time>| at.map_or("never".to_owned(), wall);
    let rows = kept.whole_rows.map_or(String::new(), |rows| format!(", {rows} rows"));
    println!("  read whole {}{rows}", at(kept.whole_at));
    println!("  last poll  {}: {}", at(kept.polled_at), kept.outcome.as_deref().unwrap_or("none"));
    println!("  parked     {}", kept.parked);
    for row in parked {
        println!("    {:>6}  {}  {}", row.id, wall(row.at), row.reason);
    }
}

fn look(arguments: &ViewArguments, first_rows: Option<usize>) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let view = find(&config, &arguments.view)?;
    let database = config.databases.iter().find(|database| database.name == view.database);
    let database = database.expect("the configuration was checked");
    let looked: Result<Inspected, Fault> = block_on(views::inspect(
        &views::reader_place(),
        database,
        view,
        first_rows,
        clock::now(),
        config.offset,
    ))?;
    let seen = looked.map_err(fail)?;
    if arguments.json {
        println!("{}", inspected_json(&seen));
    } else {
        print_inspected(&seen);
    }
    Ok(if seen.missing.is_empty() { DONE } else { FAILED })
}

fn inspected_json(seen: &Inspected) -> Value {
    let columns: Map<String, Value> = seen
        .found
        .iter()
        .map(|(field, column)| ((*field).to_owned(), Value::String(column.clone())))
        .collect();
    let row = |row: &Result<Map<String, Value>, String>| match row {
        Ok(row) => Value::Object(row.clone()),
        Err(reason) => json!({"unreadable": reason}),
    };
    json!({
        "system": seen.system,
        "table": seen.table,
        "rows": seen.rows,
        "columns": columns,
        "missing": seen.missing,
        "absent": seen.absent,
        "first": seen.first.iter().map(row).collect::<Vec<_>>(),
    })
}

fn print_inspected(seen: &Inspected) {
    println!("database {}, view {}", seen.system, seen.table);
    if let Some(rows) = seen.rows {
        println!("rows     {rows}");
        println!("columns  {} found", seen.found.len());
        println!("missing  {}", or_none(&seen.missing));
        println!("optional {} not there", or_none(&seen.absent));
    }
    for row in &seen.first {
        match row {
            Ok(row) => println!("{}", Value::Object(row.clone())),
            Err(reason) => println!("unreadable: {reason}"),
        }
    }
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn retry(arguments: &ViewArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    let view = find(&config, &arguments.view)?;
    let ledger = open_ledger(&config.data).map_err(fail)?;
    let taken: Result<Option<usize>, LedgerError> = block_on(ledger.retry_view(&view.name))?;
    ledger.close();
    let rows = taken.map_err(fail)?.unwrap_or(0);
    if arguments.json {
        println!("{}", json!({"taken_up": rows}));
    } else {
        println!("{rows} parked rows of {} are tried again at its next poll", view.name);
    }
    Ok(DONE)
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a ViewOptions, u8> {
    config.views.iter().find(|view| view.name == name).ok_or_else(|| {
        eprintln!("no view is called {name}; `forepost views list` names them all");
        FAILED
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(fail)?.block_on(future))
}
