//! What the black-box tests stand on: the appliance as a process, its peers, made-up patients and
//! their studies. Everything listens on 127.0.0.1 at a port that the kernel chose, keeps its files
//! in a folder of its own, and is ended by its own process id.

pub mod archive;
pub mod browser;
pub mod cloud;
pub mod databases;
pub mod evidence;
pub mod forepost;
pub mod his;
pub mod http;
pub mod orthanc;
pub mod patient;
pub mod platform;
pub mod programs;
pub mod setup;
pub mod study;
pub mod tls;
pub mod window;
pub mod wire;

use std::time::{Duration, Instant};

/// How long an event may take that the tests wait for, unless they say otherwise. Generous: two
/// cores are shared by every test that runs at the time.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Milliseconds between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// Looks until `look` gives something, at most `patience`; `None` when it never did.
pub fn wait_for<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if begun.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A small generator of numbers, repeatable by its seed (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(2_685_821_657_736_338_717) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33) % bound
    }
}
