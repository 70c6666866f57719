//! When a database may be asked.

use jiff::civil::{DateTime, Time as WallTime};

/// A part of each day in which a database is left alone. It may reach over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: WallTime,
    to: WallTime,
}

impl Window {
    /// Reads `11:30-13:00`; `None` when it is not written so, or is empty.
    pub fn parse(text: &str) -> Option<Window> {
        let (from, to) = text.split_once('-')?;
        let read = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            WallTime::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let window = Window { from: read(from)?, to: read(to)? };
        (window.from != window.to).then_some(window)
    }

    /// Whether this moment on the hospital's clock lies in it.
    pub fn contains(&self, wall: DateTime) -> bool {
        let time = wall.time();
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_may_reach_over_midnight() {
        let at = |hour, minute| jiff::civil::date(2026, 11, 21).at(hour, minute, 0, 0);
        let noon = Window::parse("11:30-13:00").unwrap();
        assert!(noon.contains(at(11, 30)) && noon.contains(at(12, 59)));
        assert!(!noon.contains(at(11, 29)) && !noon.contains(at(13, 0)));
        let night = Window::parse("23:00 - 01:00").unwrap();
        assert!(night.contains(at(23, 30)) && night.contains(at(0, 30)));
        assert!(!night.contains(at(1, 0)) && !night.contains(at(22, 59)));
        for bad in ["", "11:30", "11:30-11:30", "25:00-26:00", "a-b", "11-12"] {
            assert_eq!(Window::parse(bad), None, "{bad}");
        }
    }
}
