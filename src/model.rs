//! The nouns of the hospital and of the standard, without behaviour that needs anything else.
//!
//! A registration is what the HIS announces; a plan is what Forepost makes of it; a fetch brings
//! one study; a delivery leaves the hospital. Values are checked once, when they are made;
//! afterwards nobody asks again. Start reading at [`Registration`].

mod delivery;
mod dictionary;
mod doctor;
mod finding;
mod identity;
mod plan;
mod registration;
mod settlement;
mod study;
mod time;

pub use delivery::{AttemptEnd, DeliveryState, NewDelivery, Next, Receipt, Start};
pub use dictionary::{CopyState, DictionaryChange, DictionaryKind, DictionaryRow, Standard};
pub use doctor::{Doctor, NoticeKind, NoticeUse};
pub use finding::{Finding, FindingState, Measured, Words};
pub use identity::{IdNumber, Identifier, IdentifierKind, Person, Sex};
pub use plan::{Cause, FetchState, Link, PlanOrder, PlanState, StudyOutcome};
pub use registration::{Department, PatientType, Registration, VisitKey};
pub use settlement::Settlement;
pub use study::{FoundStudy, ListedInstance, ListedSeries, Listing, Place, Wanted};
pub use time::{Time, UtcOffset};
