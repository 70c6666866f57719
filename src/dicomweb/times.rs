//! Times of day and their ranges (PS3.5 6.2 TM, PS3.4 C.2.2.2.5).

/// A time or a range of times, both ends included; an end that leaves out seconds means all of
/// that minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeRange {
    from: u64,
    to: u64,
}

impl TimeRange {
    /// Reads `HH[MM[SS[.F]]]`, `a-`, `-b` or `a-b`.
    pub(super) fn parse(text: &str) -> Option<TimeRange> {
        match text.trim().split_once('-') {
            None => span(text).map(|(from, to)| TimeRange { from, to }),
            Some(("", "")) => None,
            Some((from, "")) => Some(TimeRange { from: span(from)?.0, to: u64::MAX }),
            Some(("", to)) => Some(TimeRange { from: 0, to: span(to)?.1 }),
            Some((from, to)) => Some(TimeRange { from: span(from)?.0, to: span(to)?.1 }),
        }
    }

    /// Whether a stored time lies in it; one that cannot be read lies in none.
    pub(super) fn holds(self, time: &str) -> bool {
        span(time).is_some_and(|(from, to)| from <= self.to && to >= self.from)
    }
}

/// First and last microsecond that a text means. `HH:MM:SS` of ACR-NEMA is taken too.
fn span(text: &str) -> Option<(u64, u64)> {
    let text = text.trim().replace(':', "");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let lengths = matches!(whole.len(), 2 | 4 | 6) && fraction.len() <= 6;
    if !lengths || !digits(whole) || !digits(fraction) || (text.contains('.') && whole.len() < 6) {
        return None;
    }
    let part = |at: usize| whole.get(at..at + 2).map_or(Some(0), |two| two.parse::<u64>().ok());
    let (hour, minute, second) = (part(0)?, part(2)?, part(4)?);
    // 60 is a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    let from = (hour * 3_600 + minute * 60 + second) * 1_000_000 + micros;
    let length = match (whole.len(), fraction.len() as u32) {
        (2, _) => 3_600_000_000,
        (4, _) => 60_000_000,
        (_, decimals) => 10_u64.pow(6 - decimals),
    };
    Some((from, from + length - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_ends_in_the_precision_given() {
        for (range, time, inside) in [
            ("10", "105959.999999", true),
            ("10", "110000", false),
            ("1030-1100", "110059", true),
            ("1030-1100", "102959", false),
            ("1030-", "235959", true),
            ("-1030", "000000", true),
            ("-1030", "1031", false),
            ("103015.5", "103015.500000", true),
            ("103015", "10:30:15", true),
            ("00-23", "", false),
        ] {
            assert_eq!(TimeRange::parse(range).unwrap().holds(time), inside, "{range} {time}");
        }
        for bad in ["", "-", "1", "24", "1060", "10.5", "101010.1234567", "10-x", "１０"] {
            assert_eq!(TimeRange::parse(bad), None, "{bad}");
        }
    }
}
