//! The dictionaries of a hospital: its examination items and its departments (imaging cloud's
//! document, 3.5 and 3.7).

/// Which dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DictionaryKind {
    /// Examination items, `getExamDict` and `View_ProjectItemCode_Info` (3.5).
    Exam,
    /// Departments, `getDeptInfo` and `View_Dept_Info` (3.7).
    Dept,
}

impl DictionaryKind {
    /// Both.
    pub const ALL: [DictionaryKind; 2] = [DictionaryKind::Exam, DictionaryKind::Dept];

    /// The word in the ledger, on the command line and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            DictionaryKind::Exam => "exam",
            DictionaryKind::Dept => "dept",
        }
    }

    /// Takes back what [`DictionaryKind::name`] gave.
    pub fn from_name(name: &str) -> Option<DictionaryKind> {
        DictionaryKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One row of a dictionary. What its kind does not have, or the hospital left empty, is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DictionaryRow {
    /// `examCode` or `deptCode`; the row's key, never empty.
    pub code: String,
    /// `examName` or `deptName`.
    pub name: String,
    /// `modality`, as DICOM abbreviates it: MR, where the document's example has MRI.
    pub modality: String,
    /// `examBodyPart`.
    pub body_part: String,
    /// `examPrice`: decimal text as the hospital wrote it, never a binary fraction.
    pub price: String,
    /// `checkStatus`: 0 is valid, 1 is not (3.5), the reverse of what is usual.
    pub check_status: String,
    /// `sourceType`: 1 PACS, 2 HIS (3.5).
    pub source_type: String,
    /// `remark` of a department's view (3.7.1).
    pub remark: String,
}

impl DictionaryRow {
    /// Every text of the row, in the order of its fields.
    pub fn texts(&self) -> [&str; 8] {
        [
            &self.code,
            &self.name,
            &self.modality,
            &self.body_part,
            &self.price,
            &self.check_status,
            &self.source_type,
            &self.remark,
        ]
    }
}

/// What a copy does to one code: added without `before`, removed without `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryChange {
    /// As it was.
    pub before: Option<DictionaryRow>,
    /// As it is now.
    pub after: Option<DictionaryRow>,
}

impl DictionaryChange {
    /// The code that is added, changed or removed.
    pub fn code(&self) -> &str {
        let row = self.after.as_ref().or(self.before.as_ref());
        row.map_or("", |row| row.code.as_str())
    }

    /// `added`, `changed` or `removed`.
    pub fn word(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
        }
    }
}

/// Where a copy of a dictionary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// It is, or was, what is answered.
    Published,
    /// It waits for a person.
    Held,
    /// It waited, and a later one came.
    Replaced,
}

impl CopyState {
    /// The word in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            CopyState::Published => "published",
            CopyState::Held => "held",
            CopyState::Replaced => "replaced",
        }
    }
}

/// What an examination is in words that two hospitals share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standard {
    /// Modality (0008,0060).
    pub modality: String,
    /// Body Part Examined (0018,0015; PS3.16 Annex L); several are joined by `+`.
    pub body_part: String,
    /// Code of WS/T 364.8-2023: nine capital letters and digits; empty where none is known.
    pub code: String,
}
