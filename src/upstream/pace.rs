//! Holds a source to its bytes a second, over all its requests together.
//!
//! What always holds: every byte has its place on one time line, so that many requests together
//! keep the same rate as one, and a late timer is made up for instead of adding up. A reader that
//! waits does not read, and TCP slows the peer.
//! Refused: a bucket of a second's bytes. It lets a second's bytes through at once after each
//! pause, and a hospital's line of 20 Mbit/s feels that.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::PACE_CATCH_UP;

/// A rate, and the moment from which it is free.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: NonZeroU64,
    free_at: Mutex<Instant>,
}

impl Pace {
    /// A pace that begins now.
    pub fn new(bytes_per_second: NonZeroU64) -> Pace {
        Pace { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Returns when so many more bytes may have passed.
    pub async fn pass(&self, bytes: usize) {
        let until = self.book(bytes, Instant::now());
        tokio::time::sleep_until(until).await;
    }

    /// Books the next stretch of the time line, and says where it ends.
    fn book(&self, bytes: usize, now: Instant) -> Instant {
        let takes = bytes as f64 / self.bytes_per_second.get() as f64;
        // The lock only guards a moment, which is whole even if a holder panicked.
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(PACE_CATCH_UP).unwrap_or(now);
        *free_at = (*free_at).max(earliest) + Duration::from_secs_f64(takes);
        *free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(bytes_per_second: u64) -> Pace {
        Pace::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    #[test]
    fn the_rate_holds_however_the_bytes_are_cut() {
        for size in [1, 1_000, 400_000] {
            let (pace, start) = (pace(1_000_000), Instant::now());
            let (mut now, mut sent) = (start, 0);
            while sent < 2_000_000 {
                now = pace.book(size, now).max(now);
                sent += size;
            }
            let seconds = (now - start).as_secs_f64();
            let expected = sent as f64 / 1_000_000.0;
            assert!((seconds / expected - 1.0).abs() < 0.001, "{size}: {seconds} s");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for_beyond_the_limit() {
        let pace = pace(1_000);
        let later = Instant::now() + Duration::from_secs(100);
        let end = pace.book(1_000, later);
        assert_eq!(end, later + Duration::from_secs(1) - PACE_CATCH_UP);
    }

    #[tokio::test]
    async fn many_requests_share_one_pace() {
        let pace = pace(1_000_000);
        let start = Instant::now();
        let one = async {
            for _ in 0..25 {
                pace.pass(10_000).await;
            }
        };
        let other = async {
            for _ in 0..50 {
                pace.pass(5_000).await;
            }
        };
        tokio::join!(one, other);
        let milliseconds = start.elapsed().as_millis();
        assert!((475..1_500).contains(&milliseconds), "500 KB took {milliseconds} ms");
    }
}
