//! The only place that reads the machine's clocks.
//!
//! A front-end machine may start with a dead battery and learn the time an hour later. Always
//! holds: [`now`] never goes back; a wall clock that shows less than what the ledger has already
//! seen is not believed, and time goes on by the machine's own count since it started. Whether it
//! is believed now, and how far it stepped, is told by [`reading`].

use std::sync::{Mutex, PoisonError};

use crate::limits::CLOCK_STEP_MS;
use crate::model::Time;

/// 2026-11-01T00:00:00Z. No machine ran this program before.
pub const EARLIEST: Time = Time(1_793_491_200_000);

/// What the clocks say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The moment to work with.
    pub now: Time,
    /// Whether the wall clock is believed.
    pub trusted: bool,
    /// Milliseconds by which it has stepped since this process began, all steps together. A sum,
    /// because everybody who looks at the clock moves it on: whoever follows its steps compares
    /// two sums, and misses none that another saw first.
    pub stepped_ms: i64,
}

/// Time that goes forward only. Pure: both clocks are arguments.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    last: Time,
    boot_ms: i64,
    trusted: bool,
    stepped_ms: i64,
}

impl Steady {
    /// Begins with the wall clock, unless it shows less than `floor`.
    pub fn new(floor: Time, wall: Time, boot_ms: i64) -> Steady {
        let trusted = wall >= floor.plus_ms(-CLOCK_STEP_MS);
        Steady { last: wall.max(floor), boot_ms, trusted, stepped_ms: 0 }
    }

    /// Takes both clocks: the wall's, and milliseconds since the machine started.
    pub fn read(&mut self, wall: Time, boot_ms: i64) -> Reading {
        let expected = self.last.plus_ms((boot_ms - self.boot_ms).max(0));
        let ahead = wall.since_ms(expected);
        let trusted = ahead >= -CLOCK_STEP_MS;
        let stepped = trusted && (ahead > CLOCK_STEP_MS || !self.trusted);
        self.last = if trusted { wall.max(self.last) } else { expected };
        (self.boot_ms, self.trusted) = (boot_ms, trusted);
        if stepped {
            self.stepped_ms = self.stepped_ms.saturating_add(ahead);
        }
        Reading { now: self.last, trusted, stepped_ms: self.stepped_ms }
    }
}

static STEADY: Mutex<Option<Steady>> = Mutex::new(None);

/// The clocks, as every part of this process sees them.
pub fn reading() -> Reading {
    let (wall, boot_ms) = (wall(), since_boot_ms());
    let mut steady = STEADY.lock().unwrap_or_else(PoisonError::into_inner);
    steady.get_or_insert_with(|| Steady::new(EARLIEST, wall, boot_ms)).read(wall, boot_ms)
}

/// Tells the clock the last moment that the ledger has seen: what is earlier is not believed.
pub fn not_before(floor: Time) {
    let (wall, boot_ms) = (wall(), since_boot_ms());
    let mut steady = STEADY.lock().unwrap_or_else(PoisonError::into_inner);
    *steady = Some(Steady::new(floor.max(EARLIEST), wall, boot_ms));
}

/// The moment to work with.
pub fn now() -> Time {
    reading().now
}

/// What the wall clock shows, believed or not: for measuring how wrong it is.
pub fn wall() -> Time {
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let milliseconds = since.map_or(0, |since| since.as_millis());
    Time(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

/// Milliseconds since the machine started, sleep included.
fn since_boot_ms() -> i64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is here.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut spec) };
    spec.tv_sec.saturating_mul(1_000) + spec.tv_nsec / 1_000_000
}

/// What distinguishes this run of the machine from every other. A service that does not see the
/// kernel's own file is told by its unit.
pub fn boot_id() -> String {
    let told = std::env::var("FOREPOST_BOOT_ID");
    let own = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = told.unwrap_or_else(|_| own());
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_clock_behind_the_ledger_is_not_believed_until_it_is_set() {
        let floor = Time(100 * HOUR);
        let mut steady = Steady::new(floor, Time(0), 5_000);
        let early = steady.read(Time(1_000), 6_000);
        assert_eq!((early.now, early.trusted), (floor.plus_ms(1_000), false));
        let set = steady.read(Time(130 * HOUR), 7_000);
        assert!(set.trusted);
        assert_eq!(set.now, Time(130 * HOUR));
        assert_eq!(set.stepped_ms, 30 * HOUR - 2_000);
        assert_eq!(steady.read(Time(130 * HOUR + 10), 7_010).stepped_ms, set.stepped_ms);
    }

    #[test]
    fn time_never_goes_back_and_a_small_drift_is_no_step() {
        let mut steady = Steady::new(Time(0), Time(50 * HOUR), 0);
        let back = steady.read(Time(50 * HOUR - 5_000), 10);
        assert_eq!((back.now, back.trusted, back.stepped_ms), (Time(50 * HOUR), true, 0));
        let far_back = steady.read(Time(10 * HOUR), 1_010);
        assert_eq!((far_back.now, far_back.trusted), (Time(50 * HOUR + 1_000), false));
        let again = steady.read(Time(50 * HOUR + 2_000), 2_010);
        assert!(again.trusted && again.now >= far_back.now);
    }

    #[test]
    fn a_step_forward_stays_told_whoever_looks_first() {
        let mut steady = Steady::new(Time(0), Time(HOUR), 0);
        assert_eq!(steady.read(Time(4 * HOUR), 1_000).stepped_ms, 3 * HOUR - 1_000);
        assert_eq!(steady.read(Time(4 * HOUR + 1_000), 2_000).stepped_ms, 3 * HOUR - 1_000);
        assert_eq!(steady.read(Time(6 * HOUR), 3_000).stepped_ms, 5 * HOUR - 3_000);
    }
}
