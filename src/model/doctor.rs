//! Doctors, as the HIS tells of them.

/// A doctor who logged in at the HIS (imaging cloud's document, 3.1). Texts are empty where nothing
/// was said. Personal, but for the account and the department.
#[derive(Clone, PartialEq, Eq)]
pub struct Doctor {
    /// The hospital's code.
    pub hospital: String,
    /// `hisUserId`: the account at the HIS.
    pub user: String,
    /// `doctorName`.
    pub name: String,
    /// `department`: its name.
    pub department: String,
    /// `departmentCode`.
    pub department_code: String,
    /// `doctorType`, a code of the document's list.
    pub kind: String,
    /// `doctorCode`: the national code that goes with the type.
    pub code: String,
    /// `doctorIdCardNo`, opened where it was under SM2 and the key is here.
    pub id_number: String,
}

impl Doctor {
    /// Takes from the other what is not known here of type, code and number. Whether something was
    /// taken.
    pub fn complete(&mut self, other: &Doctor) -> bool {
        let own = [&mut self.kind, &mut self.code, &mut self.id_number];
        let theirs = [&other.kind, &other.code, &other.id_number];
        let mut taken = false;
        for (own, theirs) in own.into_iter().zip(theirs) {
            if own.is_empty() && !theirs.is_empty() {
                own.clone_from(theirs);
                taken = true;
            }
        }
        taken
    }
}

impl std::fmt::Debug for Doctor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Doctor({}, …)", self.hospital)
    }
}

/// What a doctor did upon a notice. Stored by [`NoticeUse::name`], which is also the audit's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeUse {
    /// Opened a study.
    Opened,
    /// Ordered the examination all the same.
    OrderedAnyway,
    /// Took the order back.
    Withdrawn,
    /// Opened a patient who is not among those opened lately, for a reason.
    GlassBroken,
}

impl NoticeUse {
    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            NoticeUse::Opened => "study opened",
            NoticeUse::OrderedAnyway => "ordered all the same",
            NoticeUse::Withdrawn => "order withdrawn",
            NoticeUse::GlassBroken => "glass broken",
        }
    }
}

/// Why a doctor is told of a patient's outside studies. Stored by [`NoticeKind::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// The patient is opened (3.2).
    Opened,
    /// An examination is ordered (3.3).
    Ordered,
}

impl NoticeKind {
    /// The stored word.
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::Opened => "opened",
            NoticeKind::Ordered => "ordered",
        }
    }

    /// The kind of that word.
    pub fn from_name(name: &str) -> Option<NoticeKind> {
        [NoticeKind::Opened, NoticeKind::Ordered].into_iter().find(|kind| kind.name() == name)
    }
}
