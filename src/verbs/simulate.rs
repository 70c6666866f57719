//! `forepost simulate`: HIS, cloud, time and faults in seconds.
//!
//! For: whoever wants to know what becomes of settlements when the cloud is away for a day. The
//! flows that decide are the real ones (`settlement`, `delivery::Dispatcher`), on a real ledger;
//! HIS, cloud, network and clock are made here, from a seed that replays the run. What must hold
//! is said once more, in few lines and in another way, in `model.rs`. Start at [`world::World`].

mod cloud;
mod dice;
mod model;
mod world;

use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{DONE, FAILED, fail};
use world::{Month, Report, World};

/// What `simulate` takes.
#[derive(Args)]
pub struct SimulateArguments {
    /// The run: the same seed with the same days is the same run.
    #[arg(long)]
    seed: Option<u64>,
    /// Days.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    days: u32,
    /// Settlements on an ordinary day.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    per_day: u32,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(arguments: &SimulateArguments) -> u8 {
    let seed = arguments.seed.unwrap_or_else(|| crate::clock::now().0 as u64);
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return fail(error),
    };
    eprintln!("seed {seed}");
    let bar = ProgressBar::new(u64::from(arguments.days));
    let style = ProgressStyle::with_template("{bar:40} day {pos} of {len}, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let began = Instant::now();
    let simulated = super::wait(async {
        let mut world = World::new(seed, arguments.days, arguments.per_day, folder.path())?;
        world.run(&bar).await?;
        world.end().await
    });
    bar.finish_and_clear();
    let report = match simulated {
        Err(code) => return code,
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            eprintln!("seed {seed}, {} days: {error}", arguments.days);
            return FAILED;
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    if arguments.json {
        println!("{}", report_json(&report, seed, arguments.days, seconds));
    } else {
        print_report(&report, arguments.days, seconds);
    }
    if report.violations.is_empty() { DONE } else { FAILED }
}

fn report_json(report: &Report, seed: u64, days: u32, seconds: f64) -> serde_json::Value {
    json!({
        "seed": seed, "days": days, "seconds": seconds,
        "acknowledged": report.acknowledged, "changed": report.changed,
        "repeated": report.repeated, "attempts": report.attempts,
        "delivered": report.delivered, "replaced": report.replaced,
        "on_time": report.on_time, "late_unavoidably": report.late_unavoidably,
        "backlog_max": report.backlog_max, "alarms": report.alarms, "kills": report.kills,
        "clock_steps": report.clock_steps, "cloud_hours_down": report.cloud_hours_down,
        "ledger_bytes": report.ledger_bytes,
        "months": report.months.iter().map(month_json).collect::<Vec<_>>(),
        "violations": report.violations,
    })
}

fn month_json(month: &Month) -> serde_json::Value {
    json!({
        "day": month.day, "settlements": month.settlements,
        "database_bytes": month.database_bytes, "log_bytes": month.log_bytes,
        "reserve_bytes": month.reserve_bytes,
    })
}

fn print_report(report: &Report, days: u32, seconds: f64) {
    println!("{days} days in {seconds:.1} s");
    println!(
        "settlements  {} acknowledged, {} changed later, {} sent twice by the HIS",
        report.acknowledged, report.changed, report.repeated
    );
    println!(
        "deliveries   {} delivered, {} replaced before, {} attempts, backlog up to {}",
        report.delivered, report.replaced, report.attempts, report.backlog_max
    );
    println!(
        "24 hours     {} on time, {} late where the cloud left no time",
        report.on_time, report.late_unavoidably
    );
    println!(
        "faults       cloud down {:.0} h, process killed {} times, clock stepped {} times",
        report.cloud_hours_down, report.kills, report.clock_steps
    );
    println!("alarms       {} changes of level", report.alarms);
    let bytes = report.ledger_bytes;
    let each = bytes / (report.acknowledged + report.changed).max(1);
    println!("ledger       {} MB, {each} bytes a settlement", bytes / 1_000_000);
    for month in &report.months {
        let Month { day, settlements, database_bytes, log_bytes, reserve_bytes } = month;
        let megabytes = |bytes: &u64| *bytes as f64 / 1e6;
        println!(
            "  day {day:<5}  {settlements:>8} kept, {:.1} MB, log {:.1} MB, reserve {:.1} MB",
            megabytes(database_bytes),
            megabytes(log_bytes),
            megabytes(reserve_bytes)
        );
    }
    for violation in &report.violations {
        println!("VIOLATED     {violation}");
    }
    if report.violations.is_empty() {
        println!("every promise held");
    }
}
