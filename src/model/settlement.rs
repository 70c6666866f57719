//! A settlement record (结算): which fee of which insurance settlement belongs to which study.

use super::Time;

/// What stands for a serial number where no insurance pays (imaging cloud's document, 3.6).
const SELF_PAY: &str = "00000000000000000000";

/// One record of `saveSetlInfoList` or `view_setlInfoList` (imaging cloud's document, 3.6).
/// Personal as a whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The hospital's code (`hospitalld`).
    pub hospital: String,
    /// `accessionNo`; with `study_order` at least one.
    pub accession: Option<String>,
    /// `studyOrderId`.
    pub study_order: Option<String>,
    /// `setlId`.
    pub settlement: String,
    /// `feedetlSn`.
    pub fee: String,
    /// `medListCodg`.
    pub item: String,
    /// `examPart`.
    pub exam_part: String,
    /// The moment of the settlement, where the hospital gives one.
    pub settled_at: Option<Time>,
}

impl Settlement {
    /// What makes two records of one study the same: both serial numbers; where either is the
    /// constant of self-pay, which is the same for everybody, item and part as well.
    pub fn key(&self) -> String {
        let serials = format!("{}\0{}", self.settlement, self.fee);
        match self.is_self_pay() {
            true => format!("{serials}\0{}\0{}", self.item, self.exam_part),
            false => serials,
        }
    }

    /// Whether either serial number is the constant of those whom no insurance pays for.
    pub fn is_self_pay(&self) -> bool {
        self.settlement == SELF_PAY || self.fee == SELF_PAY
    }
}

impl std::fmt::Debug for Settlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settlement").field("hospital", &self.hospital).finish_non_exhaustive()
    }
}
