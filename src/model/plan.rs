//! The life of a plan and of a fetch.

use super::Time;

/// Where a plan stands. Stored by [`PlanState::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanState {
    /// Accepted; its sources have not all answered yet.
    Searching,
    /// No identifier that any source understands; taken up again when a key arrives.
    NoIdentifier,
    /// Studies were chosen and are on their way.
    Fetching,
    /// Everything chosen is here, or there was nothing to choose.
    Ready,
    /// It ended without everything being here; the cause says why.
    NotReady,
    /// The registration was cancelled (`quitType` 1).
    Cancelled,
    /// The visit is over (seen, or discharged); the retention clock runs.
    Over,
}

impl PlanState {
    /// Every state.
    pub const ALL: [PlanState; 7] = [
        PlanState::Searching,
        PlanState::NoIdentifier,
        PlanState::Fetching,
        PlanState::Ready,
        PlanState::NotReady,
        PlanState::Cancelled,
        PlanState::Over,
    ];

    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            PlanState::Searching => "searching",
            PlanState::NoIdentifier => "no identifier",
            PlanState::Fetching => "fetching",
            PlanState::Ready => "ready",
            PlanState::NotReady => "not ready",
            PlanState::Cancelled => "cancelled",
            PlanState::Over => "over",
        }
    }

    /// The state of that word.
    pub fn from_name(name: &str) -> Option<PlanState> {
        PlanState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a registration says about its plan, before the plan's own past is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOrder {
    /// In-patients and emergencies go first.
    pub urgent: bool,
    /// The visit; the arrival where no time was given.
    pub due_at: Time,
    /// Whether some source understands one of the identifiers.
    pub searchable: bool,
    /// `quitType` 1.
    pub cancelled: bool,
    /// Seen, or discharged: the retention clock runs.
    pub over: bool,
}

impl PlanOrder {
    /// The state of the plan after this registration. `before` is the plan as it stands, if there
    /// is one; `same_patient` says that identity and numbers are those of last time, so that what
    /// was found then is still right.
    pub fn state(&self, before: Option<PlanState>, same_patient: bool) -> PlanState {
        use PlanState::*;
        if self.cancelled {
            return Cancelled;
        }
        if self.over {
            return Over;
        }
        if !self.searchable {
            return NoIdentifier;
        }
        match before {
            // An unready plan is tried again because somebody still counts on it.
            None | Some(Cancelled | Over | NoIdentifier | NotReady) => Searching,
            Some(state @ (Searching | Fetching | Ready)) if same_patient => state,
            Some(Searching | Fetching | Ready) => Searching,
        }
    }
}

/// Where a fetch stands. Stored by [`FetchState::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchState {
    /// Waits for its turn, or for another try.
    Waiting,
    /// Every instance of the manifest is whole and listed.
    Here,
    /// Kept apart: the first header contradicts every registration that wanted it, or shows the
    /// study to be this hospital's own.
    Apart,
    /// No place gives it; the cause is stored beside it.
    Failed,
    /// Nobody wants it any more.
    Dropped,
    /// It was here and left, whole or in part; nobody wanted it then.
    Evicted,
}

impl FetchState {
    /// Every state.
    pub const ALL: [FetchState; 6] = [
        FetchState::Waiting,
        FetchState::Here,
        FetchState::Apart,
        FetchState::Failed,
        FetchState::Dropped,
        FetchState::Evicted,
    ];

    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            FetchState::Waiting => "waiting",
            FetchState::Here => "here",
            FetchState::Apart => "apart",
            FetchState::Failed => "failed",
            FetchState::Dropped => "dropped",
            FetchState::Evicted => "evicted",
        }
    }

    /// The state of that word.
    pub fn from_name(name: &str) -> Option<FetchState> {
        FetchState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The one cause why a plan is not ready, in the order in which one hides another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// No number that a source understands.
    NoIdentifier,
    /// A source has not answered the search.
    SearchUnanswered,
    /// The visit came before the studies did.
    LateRegistration,
    /// A source that pushes sent nothing of the patient.
    NothingPushed,
    /// A source does not deliver a study that it announced.
    RetrieveFailing,
    /// The disk had no room.
    DiskFull,
    /// Cancelled before it was ready.
    Cancelled,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 7] = [
        Cause::NoIdentifier,
        Cause::SearchUnanswered,
        Cause::LateRegistration,
        Cause::NothingPushed,
        Cause::RetrieveFailing,
        Cause::DiskFull,
        Cause::Cancelled,
    ];

    /// The stored word, also shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Cause::NoIdentifier => "no usable identifier",
            Cause::SearchUnanswered => "search unanswered",
            Cause::LateRegistration => "registered too late",
            Cause::NothingPushed => "nothing was pushed",
            Cause::RetrieveFailing => "retrieve failing",
            Cause::DiskFull => "disk full",
            Cause::Cancelled => "cancelled",
        }
    }

    /// The cause of that word.
    pub fn from_name(name: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

/// What was decided about a study that a source announced. Stored by [`StudyOutcome::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StudyOutcome {
    /// It is fetched.
    Chosen,
    /// This hospital's own.
    Own,
    /// Before the look-back window.
    TooOld,
    /// Name, sex or birth contradicts the registration.
    Apart,
    /// The plan's byte budget is spent on better ones.
    OverBudget,
    /// The plan has as many studies as it may.
    TooMany,
}

impl StudyOutcome {
    /// Every outcome.
    pub const ALL: [StudyOutcome; 6] = [
        StudyOutcome::Chosen,
        StudyOutcome::Own,
        StudyOutcome::TooOld,
        StudyOutcome::Apart,
        StudyOutcome::OverBudget,
        StudyOutcome::TooMany,
    ];

    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            StudyOutcome::Chosen => "chosen",
            StudyOutcome::Own => "own",
            StudyOutcome::TooOld => "too old",
            StudyOutcome::Apart => "apart",
            StudyOutcome::OverBudget => "over budget",
            StudyOutcome::TooMany => "too many",
        }
    }

    /// The outcome of that word.
    pub fn from_name(name: &str) -> Option<StudyOutcome> {
        StudyOutcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// How sure it is that a study is the registered patient's. Stored by [`Link::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Something agrees and nothing contradicts.
    Confirmed,
    /// Nothing could be compared: shown as *identity not confirmed*.
    Unconfirmed,
    /// Something contradicts: found by no patient key of this registration.
    Apart,
}

impl Link {
    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            Link::Confirmed => "confirmed",
            Link::Unconfirmed => "unconfirmed",
            Link::Apart => "apart",
        }
    }

    /// The link of that word.
    pub fn from_name(name: &str) -> Option<Link> {
        [Link::Confirmed, Link::Unconfirmed, Link::Apart]
            .into_iter()
            .find(|link| link.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: PlanOrder = PlanOrder {
        urgent: false,
        due_at: Time(0),
        searchable: true,
        cancelled: false,
        over: false,
    };

    #[test]
    fn a_registration_sent_again_keeps_what_was_found() {
        for state in [PlanState::Searching, PlanState::Fetching, PlanState::Ready] {
            assert_eq!(ORDER.state(Some(state), true), state);
            assert_eq!(ORDER.state(Some(state), false), PlanState::Searching);
        }
    }

    #[test]
    fn a_cancelled_registration_that_comes_back_is_searched_again() {
        let cancelled = PlanOrder { cancelled: true, ..ORDER };
        assert_eq!(cancelled.state(Some(PlanState::Ready), true), PlanState::Cancelled);
        assert_eq!(ORDER.state(Some(PlanState::Cancelled), true), PlanState::Searching);
    }

    #[test]
    fn stored_words_are_read_back() {
        for state in PlanState::ALL {
            assert_eq!(PlanState::from_name(state.name()), Some(state));
        }
        for state in FetchState::ALL {
            assert_eq!(FetchState::from_name(state.name()), Some(state));
        }
        for cause in Cause::ALL {
            assert_eq!(Cause::from_name(cause.name()), Some(cause));
        }
        for outcome in StudyOutcome::ALL {
            assert_eq!(StudyOutcome::from_name(outcome.name()), Some(outcome));
        }
    }
}
