//! Moments and the hospital's wall clock.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A moment: milliseconds since 1970-01-01T00:00:00Z. Always an argument, never read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// The moment `milliseconds` later (earlier when negative).
    pub fn plus_ms(self, milliseconds: i64) -> Time {
        Time(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    pub fn since_ms(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The minute this moment lies in, counted from 1970.
    pub fn minute(self) -> i64 {
        self.0.div_euclid(60_000)
    }

    /// What a clock on the hospital's wall shows at this moment.
    pub fn wall(self, offset: UtcOffset) -> DateTime {
        let stamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        offset.0.to_datetime(stamp)
    }

    /// The moment at which the hospital's clock shows `wall`; `None` outside the years of jiff.
    pub fn from_wall(wall: DateTime, offset: UtcOffset) -> Option<Time> {
        offset.0.to_timestamp(wall).ok().map(|stamp| Time(stamp.as_millisecond()))
    }
}

/// The hospital's distance from UTC. China keeps one time without summer time, so an offset is
/// enough and no time-zone database has to be shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UtcOffset(Offset);

impl UtcOffset {
    /// An offset in whole minutes; `None` beyond ±25 h.
    pub fn from_minutes(minutes: i32) -> Option<UtcOffset> {
        Offset::from_seconds(minutes.checked_mul(60)?).ok().map(UtcOffset)
    }

    /// China Standard Time, +08:00.
    pub fn china() -> UtcOffset {
        UtcOffset(Offset::constant(8))
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_of_china_is_eight_hours_ahead() {
        let midnight = Time(0).wall(UtcOffset::china());
        assert_eq!(midnight.to_string(), "1970-01-01T08:00:00");
        assert_eq!(Time::from_wall(midnight, UtcOffset::china()), Some(Time(0)));
    }
}
