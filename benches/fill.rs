//! Fills a cache with many small studies through its own arrival: `fill CACHE TEMPLATE STUDIES
//! INSTANCES`.
//!
//! Every object is the template with the numbers of its patient, study, series and instance put
//! in, each as long as the one that it replaces, so that lengths stay true. Studies that are whole
//! already are passed over: a fill that was broken off goes on. The last line of the output is
//! JSON: instances filled by this call, and its seconds. Start at [`fill`].

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use forepost_cache::{Cache, Uid};

/// Studies filled at once. More wait for the same disk.
const LANES: usize = 2;

/// What the template holds where a study's number goes: six digits at the end of each.
const STUDY: [&str; 4] =
    ["PATIENT-000000", "A000000", "2.25.3150000001000000", "2.25.3150000002000000"];

/// Where an instance's numbers go: six digits of the study, five of the instance.
const INSTANCE: &str = "2.25.315000000300000000000";

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, template, studies, instances] = arguments.as_slice() else {
        // `cargo bench` runs every bench: without its arguments there is nothing to fill.
        println!("usage: fill CACHE TEMPLATE STUDIES INSTANCES");
        return Ok(());
    };
    let template = Template::new(std::fs::read(template)?)?;
    let cache = Cache::open(Path::new(folder))?;
    let began = Instant::now();
    let filled = fill(&cache, &template, studies.parse()?, instances.parse()?)?;
    cache.close()?;
    let seconds = began.elapsed().as_secs_f64();
    println!("{{\"filled\":{filled},\"seconds\":{seconds:.3}}}");
    Ok(())
}

/// Spreads the instances evenly over the studies, and gives how many were missing.
fn fill(cache: &Cache, template: &Template, studies: u32, instances: u64) -> Result<u64, Failure> {
    let (next, filled) = (AtomicU32::new(0), AtomicU64::new(0));
    let until = |study: u32| u64::from(study) * instances / u64::from(studies);
    let lane = || -> Result<(), Failure> {
        loop {
            let study = next.fetch_add(1, Ordering::Relaxed);
            if study >= studies {
                return Ok(());
            }
            let wanted = (until(study + 1) - until(study)) as u32;
            filled.fetch_add(fill_study(cache, template, study, wanted)?, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| "a lane panicked")?)
    })?;
    Ok(filled.into_inner())
}

fn fill_study(cache: &Cache, template: &Template, study: u32, wanted: u32) -> Result<u64, Failure> {
    let uid = Uid::try_from(numbered(STUDY[2], u64::from(study), 6).as_str())?;
    if cache.instances_here(&uid) == wanted {
        return Ok(0);
    }
    let mut arrival = cache.arrival(&uid)?;
    let mut kept = 0;
    for number in 0..wanted {
        let mut object = arrival.begin()?;
        object.write(&template.object(study, number))?;
        let whole = arrival.complete(object)?;
        kept += u64::from(arrival.keep(whole)?);
    }
    arrival.seal()?;
    Ok(kept)
}

/// `text` with its last digits replaced by a number.
fn numbered(text: &str, number: u64, digits: usize) -> String {
    format!("{}{number:0digits$}", &text[..text.len() - digits])
}

/// An object, and where its numbers stand in it.
struct Template {
    bytes: Vec<u8>,
    study: Vec<(usize, &'static str)>,
    instance: Vec<usize>,
}

impl Template {
    fn new(bytes: Vec<u8>) -> Result<Template, Failure> {
        let find = |text: &str| -> Vec<usize> {
            let windows = bytes.windows(text.len()).enumerate();
            windows.filter(|(_, one)| *one == text.as_bytes()).map(|(at, _)| at).collect()
        };
        let mut study = Vec::new();
        for text in STUDY {
            let places = find(text);
            if places.is_empty() {
                return Err(format!("the template lacks {text}").into());
            }
            study.extend(places.into_iter().map(|at| (at, text)));
        }
        let instance = find(INSTANCE);
        if instance.len() < 2 {
            return Err("the template lacks the instance's uid in its meta or data set".into());
        }
        Ok(Template { bytes, study, instance })
    }

    fn object(&self, study: u32, number: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut put = |at: usize, text: String| {
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        for (at, text) in &self.study {
            put(*at, numbered(text, u64::from(study), 6));
        }
        for at in &self.instance {
            put(*at, numbered(INSTANCE, u64::from(study) * 100_000 + u64::from(number), 11));
        }
        bytes
    }
}
