//! Dates as hospital systems write them.
//!
//! The interface documents ask for `yyyy-M-d HH:mm:ss` text and print it without leading
//! zeros (imaging cloud, 3.4.2: `2022-7-1 10:45:22`). Senders add slashes, a `T`, leave out
//! seconds or the time, or send digits only; all of that reads as the same local time.

use jiff::civil::{Date, DateTime, Time};

/// Years that can be meant; others are slips of the pen.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2199;

/// Reads a date with an optional time of day, local time; a date alone means 00:00.
///
/// Accepted: `2022-7-1 10:45:22`, `/` or `.` between the date parts, `T` or blanks
/// (U+00A0 and U+3000 too) before the time, no seconds, a fraction of a second, `+08:00` or
/// `+0800` at the end, 8, 12 or 14 digits. Another offset is refused rather than guessed at.
pub fn parse_datetime(text: &str) -> Option<DateTime> {
    let text = trim(text);
    if text.bytes().all(|it| it.is_ascii_digit()) {
        return parse_digits(text);
    }
    let cut = text.find(|it: char| it == 'T' || it == 't' || is_blank(it));
    let Some(cut) = cut else { return Some(parse_date(text)?.to_datetime(Time::midnight())) };
    let (date, time) = text.split_at(cut);
    let time = time.trim_start_matches(|it: char| it == 'T' || it == 't' || is_blank(it));
    Some(parse_date(date)?.to_datetime(parse_time(time)?))
}

/// Reads a date: year, month, day with `-`, `/` or `.` between, or 8 digits.
pub fn parse_date(text: &str) -> Option<Date> {
    let text = trim(text);
    if text.len() == 8 && text.bytes().all(|it| it.is_ascii_digit()) {
        return date(&text[..4], &text[4..6], &text[6..]);
    }
    let separator = ['-', '/', '.'].into_iter().find(|it| text.contains(*it))?;
    let mut parts = text.split(separator);
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    date(year, month, day)
}

/// Reads a time of day: `H:m`, `H:m:s`, with an optional fraction and `+08:00`.
pub fn parse_time(text: &str) -> Option<Time> {
    let text = trim(text);
    let text = text.strip_suffix("+08:00").or(text.strip_suffix("+0800")).unwrap_or(text);
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|it| it.is_ascii_digit())
    {
        return None;
    }
    let mut parts = clock.split(':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let second = parts.next().unwrap_or("0");
    if parts.next().is_some() {
        return None;
    }
    Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()
}

fn parse_digits(text: &str) -> Option<DateTime> {
    let time = match text.len() {
        8 => Time::midnight(),
        12 => Time::new(small(&text[8..10])?, small(&text[10..12])?, 0, 0).ok()?,
        14 => {
            let (hour, minute) = (small(&text[8..10])?, small(&text[10..12])?);
            Time::new(hour, minute, small(&text[12..14])?, 0).ok()?
        }
        _ => return None,
    };
    Some(date(&text[..4], &text[4..6], &text[6..8])?.to_datetime(time))
}

fn date(year: &str, month: &str, day: &str) -> Option<Date> {
    let year: i16 = year.parse().ok()?;
    if !YEARS.contains(&year) {
        return None;
    }
    Date::new(year, small(month)?, small(day)?).ok()
}

fn small(text: &str) -> Option<i8> {
    let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|it| it.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn is_blank(it: char) -> bool {
    matches!(it, ' ' | '\t' | '\u{a0}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_spellings_read_as_one_moment() {
        for text in [
            "2022-7-1 10:45:22",
            "2022-07-01 10:45:22",
            " 2022/7/1\u{a0}10:45:22\u{3000}",
            "2022.7.1  10:45:22",
            "2022-07-01T10:45:22",
            "2022-07-01T10:45:22.000+0800",
            "2022-07-01T10:45:22+08:00",
            "20220701104522",
        ] {
            let read = parse_datetime(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read, jiff::civil::datetime(2022, 7, 1, 10, 45, 22, 0), "{text}");
        }
        assert_eq!(
            parse_datetime("2022-7-1 9:05"),
            Some(jiff::civil::datetime(2022, 7, 1, 9, 5, 0, 0))
        );
        assert_eq!(parse_datetime("202207010905"), parse_datetime("2022-7-1 9:05"));
    }

    #[test]
    fn a_date_alone_means_midnight() {
        for text in ["2022-7-1", "2022/07/01", "20220701"] {
            assert_eq!(
                parse_datetime(text),
                Some(jiff::civil::datetime(2022, 7, 1, 0, 0, 0, 0)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            " ",
            "明天",
            "2022-2-30",
            "2022-13-1 00:00:00",
            "2022-7-1 25:00:00",
            "0022-7-1",
            "2022-7-1 10",
            "2022-7-1 10:45:22 x",
            "2022-7-1T10:45:22Z",
            "2022-7-1-1",
            "22-7-1",
            "2022-7-1 10:45:22:1",
            "2022070110452",
            "-2022-7-1",
            "2022-+7-1",
            "2022-7-1 1:2.",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_reads_back(
            year in 1900i16..2200, month in 1i8..=12, day in 1i8..=28,
            hour in 0i8..24, minute in 0i8..60, second in 0i8..60,
        ) {
            let moment = jiff::civil::datetime(year, month, day, hour, minute, second, 0);
            let plain = format!("{year}-{month}-{day} {hour}:{minute}:{second}");
            prop_assert_eq!(parse_datetime(&plain), Some(moment));
            prop_assert_eq!(parse_datetime(&moment.to_string()), Some(moment));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,24}") {
            let _ = parse_datetime(&text);
        }
    }
}
