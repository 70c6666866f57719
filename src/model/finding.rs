//! What a check of the machine and of its peers found, in words for the engineer on the spot.

use super::Time;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    /// As it should be.
    Fine,
    /// It works, and will not go on working, or not for everybody.
    Warning,
    /// It does not work.
    Failing,
}

impl FindingState {
    /// Every state, the best first.
    pub const ALL: [FindingState; 3] =
        [FindingState::Fine, FindingState::Warning, FindingState::Failing];

    /// Its name in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            FindingState::Fine => "fine",
            FindingState::Warning => "warning",
            FindingState::Failing => "failing",
        }
    }
}

/// The same in the two languages of those who read it. No secret and nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl Words {
    /// Both.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Words {
        Words { zh: zh.into(), en: en.into() }
    }
}

/// What was measured, where a number is followed over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// When the first certificate of a chain ends.
    CertificateEnds(Time),
    /// When a token ends.
    TokenEnds(Time),
    /// Milliseconds by which this machine's clock is ahead of the time server's.
    ClockAheadMs(i64),
}

/// One step of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: kind and name, such as `source region`.
    pub subject: String,
    /// Which step: `dns`, `tcp`, `tls`, `credentials`, `call`, `disk`, `clock`, `ledger` …
    pub step: &'static str,
    /// How it stands.
    pub state: FindingState,
    /// What was got, and what was expected where that differs.
    pub words: Words,
    /// What to do about it; `None` where nothing is to be done.
    pub next: Option<Words>,
    /// The number behind the words, where there is one.
    pub measured: Option<Measured>,
}

impl Finding {
    /// All is well.
    pub fn fine(subject: &str, step: &'static str, words: Words) -> Finding {
        let state = FindingState::Fine;
        Finding { subject: subject.to_owned(), step, state, words, next: None, measured: None }
    }

    /// It works for now.
    pub fn warning(subject: &str, step: &'static str, words: Words, next: Words) -> Finding {
        let state = FindingState::Warning;
        Finding { state, next: Some(next), ..Finding::fine(subject, step, words) }
    }

    /// It does not work.
    pub fn failing(subject: &str, step: &'static str, words: Words, next: Words) -> Finding {
        let state = FindingState::Failing;
        Finding { state, next: Some(next), ..Finding::fine(subject, step, words) }
    }

    /// The same with the number behind it.
    pub fn with(self, measured: Measured) -> Finding {
        Finding { measured: Some(measured), ..self }
    }
}
