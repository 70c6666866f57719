//! What leaves the hospital: a delivery, its states, and what became of an attempt.

use super::Time;

/// Where a delivery stands. Stored by [`DeliveryState::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryState {
    /// Waits for its turn, or for another attempt.
    Waiting,
    /// An attempt is under way, or was when the process died.
    InFlight,
    /// The destination said that it has it.
    Delivered,
    /// A person must decide: it was refused for its content, or nobody knows whether it arrived.
    Parked,
    /// A named person gave it up.
    WrittenOff,
    /// A newer content of the same thing took its place before it was delivered.
    Replaced,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [DeliveryState; 6] = [
        DeliveryState::Waiting,
        DeliveryState::InFlight,
        DeliveryState::Delivered,
        DeliveryState::Parked,
        DeliveryState::WrittenOff,
        DeliveryState::Replaced,
    ];

    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::InFlight => "in flight",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Parked => "parked",
            DeliveryState::WrittenOff => "written off",
            DeliveryState::Replaced => "replaced",
        }
    }

    /// Takes back what [`DeliveryState::name`] gave.
    pub fn from_name(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it may still be sent, or waits for a person.
    pub fn is_open(self) -> bool {
        matches!(self, DeliveryState::Waiting | DeliveryState::InFlight | DeliveryState::Parked)
    }
}

/// Where the moment comes from at which a deadline starts; the evidence says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The hospital named it.
    Given,
    /// The arrival here.
    Arrival,
    /// The arrival here, and the view had not been read for longer than usual: it may have been
    /// due before.
    PossiblyLate,
}

impl Start {
    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            Start::Given => "given",
            Start::Arrival => "arrival",
            Start::PossiblyLate => "possibly late",
        }
    }

    /// Takes back what [`Start::name`] gave.
    pub fn from_name(name: &str) -> Option<Start> {
        [Start::Given, Start::Arrival, Start::PossiblyLate]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// Something that must leave, before it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The catalogue's id of the interface by which it leaves.
    pub interface: &'static str,
    /// The hospital's code.
    pub hospital: String,
    /// The configured name of whom it goes to; address and credentials are read when it is sent.
    pub destination: String,
    /// What it is: equal texts are one thing, of which the newest content counts. Personal.
    pub identity: String,
    /// The body as it will be sent. Personal.
    pub body: Vec<u8>,
    /// The moment from which the deadline counts.
    pub starts_at: Time,
    /// Where that moment comes from.
    pub start: Start,
    /// Milliseconds from then to the deadline; `None`: the document sets none.
    pub deadline_ms: Option<i64>,
    /// Why a person must decide before it is sent; `None`: it may go.
    pub parked: Option<&'static str>,
}

impl std::fmt::Debug for NewDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDelivery")
            .field("interface", &self.interface)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

/// What the destination answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// Code in the body, as text; empty where there was none.
    pub code: String,
    /// The answer as it came, cut at [`crate::limits::RECEIPT_BYTES_MAX`]. May be personal.
    pub body: Vec<u8>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The destination has it.
    Delivered,
    /// It refuses this content, and will again.
    Refused {
        /// Why, without personal data.
        fault: String,
    },
    /// It is certain that the destination did not take it: nothing left this machine, or the
    /// destination said that it is busy or that we may not. The destination's condition, not the
    /// content's.
    NotTaken {
        /// Why, without personal data.
        fault: String,
        /// The wait that the destination asked for, milliseconds.
        wait_ms: Option<i64>,
    },
    /// It may have been taken; the catalogue says what then.
    Ambiguous {
        /// Why, without personal data.
        fault: String,
    },
}

impl AttemptEnd {
    /// The stored word, and a metric's label.
    pub fn name(&self) -> &'static str {
        match self {
            AttemptEnd::Delivered => "delivered",
            AttemptEnd::Refused { .. } => "refused",
            AttemptEnd::NotTaken { .. } => "not taken",
            AttemptEnd::Ambiguous { .. } => "ambiguous",
        }
    }

    /// The fault in words; empty when there was none.
    pub fn fault(&self) -> &str {
        match self {
            AttemptEnd::Delivered => "",
            AttemptEnd::Refused { fault }
            | AttemptEnd::NotTaken { fault, .. }
            | AttemptEnd::Ambiguous { fault } => fault,
        }
    }
}

/// What follows an attempt that did not deliver. The flow decides, the ledger writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It waits until then.
    Wait(Time),
    /// A person must decide.
    Park,
}
