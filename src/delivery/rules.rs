//! When it is tried again, when somebody is told, what will be late. Pure.

use crate::catalog::table::Ambiguous;
use crate::limits::{DELIVERY_WAIT_MS_MAX, DELIVERY_WAIT_MS_MIN};
use crate::model::{AttemptEnd, Next, Time};

/// The levels of alarm: per cent of a deadline's time that have passed.
pub const ALARM_LEVELS: [u32; 4] = [50, 75, 90, 100];

/// What follows an attempt that did not deliver.
pub fn after(
    end: &AttemptEnd,
    ambiguous: Ambiguous,
    wait: impl FnOnce(Option<i64>) -> Time,
) -> Next {
    match end {
        AttemptEnd::Refused { .. } => Next::Park,
        AttemptEnd::NotTaken { wait_ms, .. } => Next::Wait(wait(*wait_ms)),
        AttemptEnd::Delivered => Next::Wait(wait(None)),
        AttemptEnd::Ambiguous { .. } => match ambiguous {
            Ambiguous::Resend => Next::Wait(wait(None)),
            // The document's way to ask belongs to a person until the relay can ask.
            Ambiguous::Query | Ambiguous::Park => Next::Park,
        },
    }
}

/// When a delivery is tried again: at a random moment of a span that doubles with each attempt, at
/// most after a tenth of the time that is left, never sooner than
/// [`DELIVERY_WAIT_MS_MIN`] nor later than [`DELIVERY_WAIT_MS_MAX`], and always the latter once
/// the deadline has passed. A wait that the destination asked for is kept within the same bounds.
pub fn next_attempt(
    now: Time,
    attempt: u32,
    deadline_at: Option<Time>,
    asked_ms: Option<i64>,
    salt: u64,
) -> Time {
    let span = DELIVERY_WAIT_MS_MIN.saturating_mul(1 << attempt.min(16)).min(DELIVERY_WAIT_MS_MAX);
    let random = (mix(salt ^ u64::from(attempt)) % (span as u64 + 1)) as i64;
    let left = deadline_at.map_or(i64::MAX, |deadline| deadline.since_ms(now));
    let wait = if left <= 0 { DELIVERY_WAIT_MS_MAX } else { random.min(left / 10) };
    let wait = wait.max(asked_ms.unwrap_or(0));
    now.plus_ms(wait.clamp(DELIVERY_WAIT_MS_MIN, DELIVERY_WAIT_MS_MAX))
}

/// Spreads numbers that are close together (the finaliser of SplitMix64, Steele et al. 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The level of alarm of a delivery: the highest of [`ALARM_LEVELS`] that it has reached, or 0.
pub fn alarm_level(now: Time, starts_at: Time, deadline_at: Time) -> u32 {
    let whole = deadline_at.since_ms(starts_at).max(1);
    let used = now.since_ms(starts_at).max(0);
    let per_cent = u32::try_from(used.saturating_mul(100) / whole).unwrap_or(u32::MAX);
    if now > deadline_at {
        return 100;
    }
    let reached = ALARM_LEVELS.into_iter().filter(|level| *level < 100 && per_cent >= *level);
    reached.max().unwrap_or(0)
}

/// How many of the open deliveries, nearest deadline first, will miss it if they go on leaving in
/// that order at the rate of `delivered` in the last `span_ms`.
pub fn will_miss(now: Time, open: &[Time], delivered: u64, span_ms: i64) -> usize {
    let missed = |(place, deadline): (usize, &Time)| {
        let ahead = place as i64 + 1;
        match i64::try_from(delivered).unwrap_or(i64::MAX) {
            0 => true,
            rate => now.plus_ms(ahead.saturating_mul(span_ms) / rate) > *deadline,
        }
    };
    open.iter().enumerate().filter(|one| missed(*one)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    proptest::proptest! {
        #[test]
        fn waits_keep_their_bounds(
            attempt in 0u32..200, left in -50 * HOUR..50 * HOUR, salt: u64,
            asked in proptest::option::of(0i64..100 * HOUR),
        ) {
            let at = next_attempt(Time(0), attempt, Some(Time(left)), asked, salt).0;
            proptest::prop_assert!((DELIVERY_WAIT_MS_MIN..=DELIVERY_WAIT_MS_MAX).contains(&at));
            if left <= 0 {
                proptest::prop_assert_eq!(at, DELIVERY_WAIT_MS_MAX);
            } else if asked.is_none() {
                proptest::prop_assert!(at <= (left / 10).max(DELIVERY_WAIT_MS_MIN));
            }
        }
    }

    #[test]
    fn waits_differ_between_deliveries_and_grow_on_the_whole() {
        let mean = |attempt| {
            let waits = (0..1_000).map(|salt| next_attempt(Time(0), attempt, None, None, salt).0);
            waits.sum::<i64>() / 1_000
        };
        assert!(mean(1) < mean(4) && mean(4) < mean(9), "{} {} {}", mean(1), mean(4), mean(9));
        let distinct: std::collections::BTreeSet<_> =
            (0..100).map(|salt| next_attempt(Time(0), 6, None, None, salt)).collect();
        assert!(distinct.len() > 50);
    }

    #[test]
    fn alarms_rise_at_their_levels() {
        let level =
            |hours: f64| alarm_level(Time((hours * HOUR as f64) as i64), Time(0), Time(24 * HOUR));
        assert_eq!([level(0.0), level(11.9), level(12.0), level(17.9)], [0, 0, 50, 50]);
        assert_eq!([level(18.0), level(21.6), level(24.0), level(24.1)], [75, 90, 90, 100]);
        assert_eq!(level(-5.0), 0, "a settlement dated ahead");
    }

    #[test]
    fn the_forecast_counts_those_behind_the_rate() {
        let open: Vec<Time> = (1..=10).map(|hour| Time(hour * HOUR)).collect();
        assert_eq!(will_miss(Time(0), &open, 1, HOUR), 0, "one an hour is just enough");
        assert_eq!(will_miss(Time(0), &open, 1, 2 * HOUR), 10);
        assert_eq!(will_miss(Time(0), &open, 0, HOUR), 10, "nothing moves");
        assert_eq!(will_miss(Time(0), &[], 0, HOUR), 0);
    }

    #[test]
    fn what_follows_an_attempt_depends_on_what_is_known() {
        let wait = |_: Option<i64>| Time(7);
        let lost = AttemptEnd::Ambiguous { fault: "connection lost".into() };
        assert_eq!(after(&lost, Ambiguous::Resend, wait), Next::Wait(Time(7)));
        assert_eq!(after(&lost, Ambiguous::Park, wait), Next::Park);
        assert_eq!(after(&lost, Ambiguous::Query, wait), Next::Park);
        let busy = AttemptEnd::NotTaken { fault: "busy".into(), wait_ms: Some(1) };
        assert_eq!(after(&busy, Ambiguous::Park, wait), Next::Wait(Time(7)), "nothing left");
        let wrong = AttemptEnd::Refused { fault: "400".into() };
        assert_eq!(after(&wrong, Ambiguous::Resend, wait), Next::Park);
    }
}
