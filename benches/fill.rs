//! Fills a cache with many small studies through its own arrival: `fill CACHE TEMPLATE STUDIES
//! INSTANCES`.
//!
//! Every object is the template with the numbers of its patient, study, series and instance put
//! in, each as long as the one that it replaces, so that lengths stay true. Studies that are whole
//! already are passed over: a fill that was broken off goes on. The last line of the output is
//! JSON: instances filled by this call, its seconds, and the seconds of each thousand in turn.
//! Start at [`fill`].

use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
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
    let Filled { instances, thousands } = filled;
    println!("{{\"filled\":{instances},\"seconds\":{seconds:.3},\"thousands\":{thousands:.4?}}}");
    Ok(())
}

/// What a fill did.
struct Filled {
    instances: u64,
    /// Seconds that each thousand took, in turn; a study more or less.
    thousands: Vec<f64>,
}

/// Spreads the instances evenly over the studies, and gives how many were missing.
fn fill(
    cache: &Cache,
    template: &Template,
    studies: u32,
    instances: u64,
) -> Result<Filled, Failure> {
    let next = AtomicU32::new(0);
    let filled = Mutex::new((0, Filled { instances: 0, thousands: Vec::new() }, Instant::now()));
    let count = |new: u64| {
        let mut filled = filled.lock().expect("nothing panics while it counts");
        let (open, done, since) = &mut *filled;
        *open += new;
        done.instances += new;
        if *open >= 1_000 {
            // As if it had been a thousand: studies are counted whole.
            done.thousands.push(since.elapsed().as_secs_f64() * 1_000.0 / *open as f64);
            (*open, *since) = (0, Instant::now());
        }
    };
    let until = |study: u32| u64::from(study) * instances / u64::from(studies);
    let lane = || -> Result<(), Failure> {
        loop {
            let study = next.fetch_add(1, Ordering::Relaxed);
            if study >= studies {
                return Ok(());
            }
            let wanted = (until(study + 1) - until(study)) as u32;
            count(fill_study(cache, template, study, wanted)?);
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| "a lane panicked")?)
    })?;
    Ok(filled.into_inner().expect("nothing panicked while it counted").1)
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
