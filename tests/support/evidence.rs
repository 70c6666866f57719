//! What a campaign leaves behind: how long it runs, by which seed, and a page of what it saw.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use forepost::clock;

use super::programs::ROOT;

/// How long a campaign runs: FOREPOST_CAMPAIGN_SECONDS, 60 when unset.
pub fn campaign_time() -> Duration {
    Duration::from_secs(number("FOREPOST_CAMPAIGN_SECONDS").unwrap_or(60))
}

/// The seed to repeat: FOREPOST_CAMPAIGN_SEED, else one of its own. It is printed.
pub fn campaign_seed() -> u64 {
    let fresh = clock::now().0 as u64 % 1_000_000_007;
    let seed = number("FOREPOST_CAMPAIGN_SEED").unwrap_or(fresh);
    println!("seed {seed}; FOREPOST_CAMPAIGN_SEED={seed} repeats it");
    seed
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Writes `<campaign>.md` into the folder of FOREPOST_EVIDENCE, where it is set.
pub fn write(campaign: &str, rows: &[(&str, String)]) {
    for (name, value) in rows {
        println!("{name}: {value}");
    }
    let Ok(folder) = env::var("FOREPOST_EVIDENCE") else { return };
    let mut page = format!("# {campaign}\n\n| what | seen |\n|---|---|\n");
    page.push_str(&format!("| commit | {} |\n", commit()));
    for (name, value) in rows {
        page.push_str(&format!("| {name} | {value} |\n"));
    }
    fs::create_dir_all(&folder).expect("the folder of evidence");
    fs::write(Path::new(&folder).join(format!("{campaign}.md")), page).expect("the evidence");
}

fn commit() -> String {
    let told = Command::new("git").args(["-C", ROOT, "describe", "--always", "--dirty"]).output();
    match told {
        Ok(told) if told.status.success() => {
            String::from_utf8_lossy(&told.stdout).trim().to_owned()
        }
        _ => "unknown: not a git checkout".to_owned(),
    }
}
