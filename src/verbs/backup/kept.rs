//! Which backups stay. Pure.
//!
//! Of the last days that have a backup, as many as are kept, the last backup of each stays; the
//! same of weeks (from Monday) and of months. Days without a backup are not counted: a machine
//! that was off for a month still has its last seven. As many as days are kept stay whatever their
//! day is: one that a person makes before an upgrade is not taken away by the one after it.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};

use crate::config::Kept;
use crate::model::{Time, UtcOffset};

/// What a backup is called by: the hospital, and the moment of which it is.
const BEGIN: &str = "forepost-";

/// The moment in a name, by the hospital's clock.
const STAMP: &str = "%Y%m%dT%H%M%S%z";

/// The end of the name of a backup that is sealed, and of one that is not.
pub const SEALED: &str = ".tar.age";
/// See [`SEALED`].
pub const PLAIN: &str = ".tar";

/// The name of a backup. Holds nothing personal.
pub fn name(hospital: &str, at: Time, offset: UtcOffset, sealed: bool) -> String {
    let end = if sealed { SEALED } else { PLAIN };
    format!("{BEGIN}{}-{}{end}", plain(hospital), stamp(at, offset))
}

/// A moment as it stands in names: `20261129T031500+0800`.
pub fn stamp(at: Time, offset: UtcOffset) -> String {
    let wall = at.wall(offset);
    let minutes = wall_minutes(wall, at);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    format!("{}{sign}{hours:02}{minutes:02}", wall.strftime("%Y%m%dT%H%M%S"))
}

fn wall_minutes(wall: DateTime, at: Time) -> i64 {
    let utc = UtcOffset::from_minutes(0).and_then(|utc| Time::from_wall(wall, utc));
    utc.map_or(0, |utc| utc.since_ms(at)) / 60_000
}

/// The moment of a backup of this hospital; `None` for whatever else lies there.
pub fn moment(file: &str, hospital: &str) -> Option<Time> {
    let rest = file.strip_prefix(BEGIN)?.strip_prefix(&plain(hospital))?.strip_prefix('-')?;
    let stamp = rest.strip_suffix(SEALED).or_else(|| rest.strip_suffix(PLAIN))?;
    let at = jiff::Timestamp::strptime(STAMP, stamp).ok()?;
    Some(Time(at.as_millisecond()))
}

/// A hospital's code as a part of a file's name.
fn plain(hospital: &str) -> String {
    hospital.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Which of these moments stay, each at its place.
pub fn kept(moments: &[Time], offset: UtcOffset, rule: Kept) -> Vec<bool> {
    let mut newest_first: Vec<usize> = (0..moments.len()).collect();
    newest_first.sort_by_key(|at| std::cmp::Reverse(moments[*at]));
    let mut stays = vec![false; moments.len()];
    let monday = |date: Date| date.weekday().to_monday_zero_offset();
    let day = |date: Date| i64::from(date.day()) + 100 * month(date);
    let week = move |date: Date| {
        let days = date.since(Date::constant(1970, 1, 1)).map_or(0, |span| span.get_days());
        i64::from(days) - i64::from(monday(date))
    };
    newest_first.iter().take(rule.daily.max(1)).for_each(|at| stays[*at] = true);
    let spans: [(usize, &dyn Fn(Date) -> i64); 3] =
        [(rule.daily, &day), (rule.weekly, &week), (rule.monthly, &month)];
    for (count, span) in spans {
        let mut seen = BTreeSet::new();
        for at in &newest_first {
            let new = seen.insert(span(moments[*at].wall(offset).date()));
            if seen.len() > count {
                break;
            }
            stays[*at] |= new;
        }
    }
    stays
}

fn month(date: Date) -> i64 {
    i64::from(date.year()) * 100 + i64::from(date.month())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn china() -> UtcOffset {
        UtcOffset::china()
    }

    #[test]
    fn a_name_tells_hospital_and_moment_and_nothing_else_is_ours() {
        let at = Time(1_795_893_300_000);
        let file = name("H1310/2", at, china(), true);
        assert_eq!(file, "forepost-H1310_2-20261129T031500+0800.tar.age");
        assert_eq!(moment(&file, "H1310/2"), Some(at));
        let plain = name("H1310/2", at, UtcOffset::from_minutes(-210).unwrap(), false);
        assert_eq!(plain, "forepost-H1310_2-20261128T154500-0330.tar");
        assert_eq!(moment(&plain, "H1310/2"), Some(at));
        for other in [
            "forepost-H1310_2-20261129T041500+0800.tar.age.part",
            "forepost-H1310_2-2026.tar.age",
            "forepost-H1310_20-20261129T041500+0800.tar.age",
            "forepost-20261129T041500+0800.tar.age",
            "holiday.jpg",
            "",
        ] {
            assert_eq!(moment(other, "H1310/2"), None, "{other}");
        }
    }

    #[test]
    fn a_year_of_nights_leaves_seven_days_five_weeks_and_twelve_months() {
        // 2026-12-31, 03:15 in China, and the 399 nights before it.
        let last = 1_798_658_100_000;
        let nights: Vec<Time> = (0..400).map(|night| Time(last - night * DAY)).collect();
        let stays = kept(&nights, china(), Kept::default());
        let dates: Vec<String> = nights
            .iter()
            .zip(&stays)
            .filter(|(_, stays)| **stays)
            .map(|(at, _)| at.wall(china()).strftime("%m-%d").to_string())
            .collect();
        assert_eq!(
            dates,
            [
                "12-31", "12-30", "12-29", "12-28", "12-27", "12-26", "12-25", "12-20", "12-13",
                "12-06", "11-30", "10-31", "09-30", "08-31", "07-31", "06-30", "05-31", "04-30",
                "03-31", "02-28", "01-31",
            ]
        );
    }

    proptest! {
        #[test]
        fn the_newest_stays_the_rest_is_bounded_and_a_second_look_takes_nothing_more(
            moments in proptest::collection::vec(0..4_000 * DAY, 0..200),
            daily in 1..20usize, weekly in 0..20usize, monthly in 0..20usize,
        ) {
            let rule = Kept { daily, weekly, monthly };
            let moments: Vec<Time> = moments.into_iter().map(Time).collect();
            let stays = kept(&moments, china(), rule);
            let left: Vec<Time> =
                moments.iter().zip(&stays).filter(|one| *one.1).map(|one| *one.0).collect();
            prop_assert_eq!(left.iter().max(), moments.iter().max());
            prop_assert!(left.len() <= 2 * daily + weekly + monthly);
            let again = kept(&left, china(), rule);
            prop_assert!(again.iter().all(|stays| *stays));
            prop_assert!(left.len() >= moments.len().min(daily), "never fewer than there can be");
        }
    }
}
