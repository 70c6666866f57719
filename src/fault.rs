//! What went wrong, whose doing it is, and whether trying again helps.
//!
//! A fault is decided where it is known and never guessed again from a status code. It holds no
//! patient data and no secret: `detail` goes to the log and to `plans show` as it is.

use std::fmt;

/// Whose doing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The one who called us.
    Caller,
    /// The one whom we called.
    Peer,
    /// Forepost, its configuration or its machine.
    Ours,
}

/// Whether trying again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail the same way.
    Never,
    /// It may pass later.
    Later,
    /// The peer named the wait, in milliseconds (`Retry-After`).
    AfterMs(i64),
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whose doing it is.
    pub blame: Blame,
    /// Whether trying again helps.
    pub retry: Retry,
    /// The step: one or two words, the same for the same kind of fault (a metric label).
    pub step: &'static str,
    /// Got, expected, limit, name. A phrase in lower case without a full stop.
    pub detail: String,
}

impl Fault {
    /// A peer's fault that may pass.
    pub fn peer(step: &'static str, detail: impl Into<String>) -> Fault {
        Fault { blame: Blame::Peer, retry: Retry::Later, step, detail: detail.into() }
    }

    /// Our own fault that may pass (a full disk, a busy store).
    pub fn ours(step: &'static str, detail: impl Into<String>) -> Fault {
        Fault { blame: Blame::Ours, retry: Retry::Later, step, detail: detail.into() }
    }

    /// The same fault, but trying again is pointless.
    pub fn for_good(mut self) -> Fault {
        self.retry = Retry::Never;
        self
    }

    /// The same fault with the wait that the peer asked for.
    pub fn after_ms(mut self, milliseconds: i64) -> Fault {
        self.retry = Retry::AfterMs(milliseconds);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.detail)
    }
}

impl std::error::Error for Fault {}
