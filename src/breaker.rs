//! A peer that fails in a row rests; one probe finds out whether it is back.

use crate::limits::{BREAKER_FAULTS, BREAKER_OPEN_MS};
use crate::model::Time;

/// Whether a peer may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Ask,
    /// It rests until then.
    Rest(Time),
}

/// The breaker of one peer: a source of images, a destination of deliveries.
#[derive(Debug)]
pub enum Breaker {
    /// Asked freely; faults in a row so far.
    Closed(u32),
    /// Resting.
    Open(Time),
    /// One request is out to find out; until then the others wait.
    Probing(Time),
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::Closed(0)
    }
}

impl Breaker {
    /// May the peer be asked now? The first to ask after the rest is the probe.
    pub fn permit(&mut self, now: Time) -> Permit {
        match *self {
            Breaker::Closed(_) => Permit::Ask,
            Breaker::Open(until) | Breaker::Probing(until) if now < until => Permit::Rest(until),
            Breaker::Open(_) | Breaker::Probing(_) => {
                // A probe that never reports back is given up after one more rest.
                *self = Breaker::Probing(now.plus_ms(BREAKER_OPEN_MS));
                Permit::Ask
            }
        }
    }

    /// Whether the peer rests, or is being probed.
    pub fn is_open(&self) -> bool {
        !matches!(self, Breaker::Closed(_))
    }

    /// The peer answered as it should.
    pub fn answered(&mut self) {
        *self = Breaker::Closed(0);
    }

    /// It did not. Returns whether it rests from now on.
    pub fn failed(&mut self, now: Time) -> bool {
        let faults = match *self {
            Breaker::Closed(faults) => faults + 1,
            Breaker::Open(_) => return false,
            Breaker::Probing(_) => BREAKER_FAULTS,
        };
        if faults >= BREAKER_FAULTS {
            *self = Breaker::Open(now.plus_ms(BREAKER_OPEN_MS));
            return true;
        }
        *self = Breaker::Closed(faults);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_rest_the_peer_and_one_probe_wakes_it() {
        let mut breaker = Breaker::default();
        for _ in 1..BREAKER_FAULTS {
            assert!(!breaker.failed(Time(0)));
        }
        assert_eq!(breaker.permit(Time(0)), Permit::Ask);
        assert!(breaker.failed(Time(0)));
        assert_eq!(breaker.permit(Time(1)), Permit::Rest(Time(BREAKER_OPEN_MS)));
        let later = Time(BREAKER_OPEN_MS);
        assert_eq!(breaker.permit(later), Permit::Ask, "the probe");
        assert!(matches!(breaker.permit(later), Permit::Rest(_)), "nobody beside it");
        breaker.answered();
        assert_eq!(breaker.permit(later), Permit::Ask);
    }

    #[test]
    fn a_failed_probe_rests_again() {
        let mut breaker = Breaker::Open(Time(10));
        assert_eq!(breaker.permit(Time(10)), Permit::Ask);
        assert!(breaker.failed(Time(11)));
        assert_eq!(breaker.permit(Time(12)), Permit::Rest(Time(11 + BREAKER_OPEN_MS)));
    }

    #[test]
    fn an_answer_forgets_the_faults_before_it() {
        let mut breaker = Breaker::Closed(BREAKER_FAULTS - 1);
        breaker.answered();
        assert!(!breaker.failed(Time(0)));
    }
}
