//! The shapes of the compiled catalogue.
//!
//! What for: the generated table is made of these plain structs, the interpreter, the doors
//! and the manual read them. What always holds: everything is `'static`, nothing is built at
//! start, nothing is on the heap; every name that points somewhere (dictionary, envelope,
//! field of a rule) was resolved when the table was compiled. The keyword enums are shared
//! with the TOML schema, so a keyword cannot mean two things.
//! Start reading at [`Interface`], then [`Field`].

use serde::{Deserialize, Serialize};

/// Longest text a field may hold unless its entry says otherwise, in characters. An SM2 text
/// of an 18-character number is 230 hexadecimal digits with its `04`; names, codes and
/// departments stay far below.
pub const TEXT_CHARS_MAX: usize = 256;

/// Most elements a list field may hold. One order lists a few dozen examinations, one report
/// a few hundred items.
pub const LIST_ITEMS_MAX: usize = 1_000;

/// Everything that one build knows.
#[derive(Debug)]
pub struct Catalog {
    /// The interface documents, sorted by name.
    pub systems: &'static [&'static System],
    /// All interfaces, sorted by system and id.
    pub interfaces: &'static [&'static Interface],
    /// HTTP paths by zone, sorted; one row a path.
    pub routes: &'static [Route],
}

/// One interface document.
#[derive(Debug, Serialize)]
pub struct System {
    /// Folder name under `interfaces/`.
    pub name: &'static str,
    /// Title in Chinese.
    pub title: &'static str,
    /// Title in English.
    pub title_en: &'static str,
    /// Name of the document as it is quoted in log lines.
    pub document: &'static str,
}

/// One interface of a document: who calls whom, where, with what, and what is answered.
#[derive(Debug, Serialize)]
pub struct Interface {
    /// Our own id, unique in the catalogue: lower-case letters, digits and `-`.
    pub id: &'static str,
    /// Names that the document itself gives it; several interfaces may bear one name.
    pub names: &'static [&'static str],
    /// The document it belongs to.
    #[serde(serialize_with = "system_name")]
    pub system: &'static System,
    /// Section of the document, for example `3.4.2`.
    pub section: &'static str,
    /// Title in Chinese.
    pub title: &'static str,
    /// Title in English.
    pub title_en: &'static str,
    /// What it is for, one sentence.
    pub purpose: &'static str,
    /// Who serves it.
    pub provider: &'static str,
    /// Who calls it.
    pub caller: &'static str,
    /// Where its caller stands; it is reachable through this zone only.
    pub zone: Zone,
    /// Where it is found; in the order in which they are tried.
    pub addresses: &'static [Address],
    /// Ids of the interfaces that share one of its addresses.
    pub shared_with: &'static [&'static str],
    /// Keys under which a body may hold several records; `None`: one record a body.
    pub batch: Option<&'static [&'static str]>,
    /// Encryption of the whole body, where the document asks for it.
    pub encryption: Option<Encryption>,
    /// How it is carried and what a lost answer means.
    pub delivery: Delivery,
    /// The record that comes in: request body, query parameters or view row.
    pub fields: &'static [Field],
    /// Rules over several fields.
    pub rules: &'static [Rule],
    /// The answers it may give.
    pub answers: &'static [AnswerForm],
    /// The envelope of its answers; `None` where nothing is answered.
    pub envelope: Option<&'static Envelope>,
    /// An example of the record, empty where there is none.
    pub example: &'static str,
    /// What the document leaves open and how it is read here.
    pub notes: &'static [&'static str],
}

/// One field of a record.
#[derive(Debug, Serialize)]
pub struct Field {
    /// Place in the body: `patientName`, `examList[].examCode`, `Crisis.CrisisSettor@code`.
    pub path: &'static str,
    /// The same, from the nearest list on: how a [`super::Record`] is asked for it.
    pub key: &'static str,
    /// Its own name, the last part of the path; attributes begin with `@`.
    pub name: &'static str,
    /// Other names under which it is accepted.
    pub aliases: &'static [&'static str],
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Short meaning in Chinese.
    pub label: &'static str,
    /// Remark for the reader, may be empty.
    pub note: &'static str,
    /// Shortest allowed length by the document, characters.
    pub length_min: Option<usize>,
    /// Longest allowed length by the document, characters.
    pub length_max: Option<usize>,
    /// Longest length that is kept at all, characters, or elements for a list.
    pub bound: usize,
    /// Its code list.
    pub dictionary: Option<&'static Dictionary>,
    /// Values outside the list that are read as another: `(got, read as)`.
    pub treat: &'static [(&'static str, &'static str)],
    /// The document wants it.
    pub required: bool,
    /// It is wanted only then.
    pub when: Option<Condition>,
    /// Levels that differ from the usual ones of [`Kind::level`].
    pub levels: &'static [FieldLevel],
    /// Holds something about a person: never in a log, a metric or a message.
    pub personal: bool,
    /// Holds a credential.
    pub secret: bool,
    /// Not of the document: a hospital may give it for our own use; it never goes on.
    pub own: bool,
    /// How its value is encrypted on the wire.
    pub encryption: Option<Encryption>,
    /// Fields inside an object or a list; attributes of an XML element.
    pub children: &'static [Field],
}

/// `field` (a key beside the one that bears the condition) holds one of `is`.
#[derive(Debug, Serialize)]
pub struct Condition {
    /// Name of the neighbouring field.
    pub field: &'static str,
    /// The values that make it true.
    pub is: &'static [&'static str],
}

/// One level that differs from the usual one.
#[derive(Debug, Serialize)]
pub struct FieldLevel {
    /// In this mode,
    pub mode: Mode,
    /// for this kind of fault,
    pub kind: Kind,
    /// this is done.
    pub level: Level,
}

/// A rule over several fields: at least one of the sets must be present whole.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// `<interface>.<name>`.
    pub id: &'static str,
    /// The sets; each names fields of the record's top.
    pub any_of: &'static [&'static [&'static str]],
    /// What is done in lenient mode.
    pub lenient: Level,
    /// What is done in strict mode.
    pub strict: Level,
    /// The sentence to the caller; empty: the envelope's sentence for the first field.
    pub message: &'static str,
}

/// A code list.
#[derive(Debug, Serialize)]
pub struct Dictionary {
    /// Name, unique in its document.
    pub name: &'static str,
    /// Title in Chinese.
    pub title: &'static str,
    /// The document lists every value; of an incomplete list nothing is ever refused.
    pub complete: bool,
    /// `(code, meaning)`.
    pub entries: &'static [(&'static str, &'static str)],
}

/// One answer an interface may give.
#[derive(Debug, Serialize)]
pub struct AnswerForm {
    /// Name, unique in its interface.
    pub name: &'static str,
    /// It is given when the request says so.
    pub when: Option<Condition>,
    /// Its fields, the envelope's included.
    pub fields: &'static [Field],
    /// An example of it.
    pub example: &'static str,
}

/// The frame of an answer: keys, their order, codes.
#[derive(Debug, Serialize)]
pub struct Envelope {
    /// Name, unique in its document.
    pub name: &'static str,
    /// How it is written.
    pub form: Form,
    /// Root element of the XML form.
    pub root: &'static str,
    /// The keys in their order.
    pub slots: &'static [Slot],
    /// Codes that a client reads as success.
    pub accepted: &'static [i32],
    /// Sentence for a missing field; `{field}` stands for its path.
    pub missing: &'static str,
    /// Sentence for another fault; `{field}` and `{reason}`.
    pub invalid: &'static str,
    /// Codes and sentences by outcome.
    pub replies: &'static [Reply],
}

/// One key of an envelope.
#[derive(Debug, Serialize)]
pub struct Slot {
    /// The key; unused by [`Holds::Beside`].
    pub key: &'static str,
    /// What is put there.
    pub holds: Holds,
    /// The code is written as a number, not as text.
    pub number: bool,
    /// What stands there without data.
    pub empty: Empty,
}

/// The code and sentence of one outcome.
#[derive(Debug, Serialize)]
pub struct Reply {
    /// For this outcome
    pub outcome: Outcome,
    /// this code
    pub code: i32,
    /// and this sentence.
    pub message: &'static str,
}

/// How an interface is carried.
#[derive(Debug, Serialize)]
pub struct Delivery {
    /// At once, or through the queue.
    pub carriage: Carriage,
    /// Time the document gives from arrival to delivery, seconds.
    pub deadline_s: Option<u32>,
    /// What to do when it may or may not have arrived.
    pub ambiguous: Ambiguous,
    /// The interface that tells what became of it, for [`Ambiguous::Query`].
    pub query: Option<&'static str>,
    /// The fields that make two records one and the same.
    pub identity: &'static [&'static str],
    /// Money moves: never repeated blindly.
    pub money: bool,
}

/// One place at which an interface is found.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Address {
    /// An HTTP path.
    Http {
        /// Method in capitals.
        method: &'static str,
        /// Path, compared exactly apart from a slash at its end.
        path: &'static str,
        /// Where the parameters are.
        parameters: Parameters,
    },
    /// A view of the hospital's database.
    View {
        /// Its name, blanks included.
        name: &'static str,
    },
    /// A stored procedure.
    Procedure {
        /// Its name.
        name: &'static str,
    },
    /// An operation of a web service.
    Soap {
        /// Path of its description; empty where the document gives none.
        wsdl: &'static str,
        /// Operation name.
        operation: &'static str,
        /// Value of the service element where one operation carries many services.
        service: &'static str,
    },
    /// A link that starts a program on the workstation.
    UrlScheme {
        /// Scheme without `://`.
        scheme: &'static str,
    },
    /// A program start on the workstation.
    Process {
        /// Command line as the document prints it.
        command: &'static str,
    },
    /// A DICOM service.
    Dicom {
        /// `c-store`, `c-find`, `c-move`, `c-get`.
        service: &'static str,
    },
}

/// One HTTP path of a zone and what answers there.
#[derive(Debug)]
pub struct Route {
    /// Zone.
    pub zone: Zone,
    /// Path without a slash at its end.
    pub path: &'static str,
    /// The methods it knows.
    pub methods: &'static [&'static str],
    /// The interfaces of each method, in the order of `methods`.
    pub interfaces: &'static [&'static [&'static Interface]],
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// Any text.
    Text,
    /// Capital ASCII letters and digits.
    Code,
    /// A whole number, also as text.
    Integer,
    /// A decimal number, also as text.
    Decimal,
    /// A date with a time of day, see [`crate::codec::time::parse_datetime`].
    Datetime,
    /// A date.
    Date,
    /// A time of day, `HH:mm` or `HH:mm:ss`.
    Time,
    /// `true` or `false`, also 1 or 0.
    Flag,
    /// Base64 text.
    Base64,
    /// An object; its fields are the children.
    Object,
    /// A list of objects; the fields of one are the children.
    List,
    /// A list of texts; each is an element whose only key is empty.
    Texts,
}

/// Where the caller of an interface stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    /// Inside the hospital: HIS, PACS, LIS.
    Hospital,
    /// A platform outside.
    Cloud,
    /// On the doctor's own machine.
    Workstation,
    /// In the hospital's database, which is read, not called.
    Database,
}

/// How strictly a body is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Refuse only what cannot be kept or ever found again.
    Lenient,
    /// Refuse what the document refuses.
    Strict,
}

/// What a broken rule leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing.
    Off,
    /// A line in the log.
    Warn,
    /// The body is refused.
    Reject,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is missing or empty.
    Required,
    /// It is not in its code list.
    Enum,
    /// It is shorter or longer than the document allows.
    Length,
    /// It does not read as what it should be.
    Format,
    /// It is an object or list where a text is due, or the reverse.
    Type,
    /// It is longer than anything that is kept.
    Bound,
    /// None of several fields is there, see [`Rule`].
    Choice,
    /// The document does not know it.
    Unknown,
}

impl Kind {
    /// What this kind of fault leads to where nothing else is said.
    pub fn level(self, mode: Mode) -> Level {
        match (self, mode) {
            (Kind::Bound, _) => Level::Reject,
            (Kind::Unknown, _) | (_, Mode::Lenient) => Level::Warn,
            (_, Mode::Strict) => Level::Reject,
        }
    }

    /// The last part of its rule id.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Required => "required",
            Kind::Enum => "enum",
            Kind::Length => "length",
            Kind::Format => "format",
            Kind::Type => "type",
            Kind::Bound => "bound",
            Kind::Choice => "choice",
            Kind::Unknown => "unknown",
        }
    }
}

/// Encryption of a field or a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// SM2 public key encryption, GB/T 32918.4.
    Sm2,
    /// AES/ECB/PKCS5Padding, Base64.
    AesEcb,
    /// RSA PKCS#1 v1.5, Base64.
    Rsa,
}

/// At once or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carriage {
    /// The caller waits for the other side.
    Sync,
    /// It is stored, answered, and delivered later.
    Queued,
}

/// What to do when it may or may not have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ambiguous {
    /// Send the same bytes again.
    Resend,
    /// Ask by the interface that the document has for it.
    Query,
    /// Leave it to a person.
    Park,
}

/// Where the parameters of an HTTP call are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parameters {
    /// In the body.
    #[default]
    Body,
    /// In the query.
    Query,
}

/// How an envelope is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A JSON object.
    Json,
    /// An XML element with one child a slot.
    Xml,
    /// The output parameters of a procedure, as a JSON object of their names.
    Output,
}

/// What a slot of an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// The code.
    Code,
    /// The sentence.
    Message,
    /// The data.
    Data,
    /// `true` when the code means success.
    Success,
    /// The keys of the data stand here, beside those of the envelope.
    Beside,
}

/// What stands in a data slot without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Empty {
    /// Nothing, not even the key.
    #[default]
    Omit,
    /// `{}`.
    Object,
    /// `[]`.
    List,
    /// `null`.
    Null,
}

/// What became of a call, as far as its envelope tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Accepted.
    Success,
    /// Fields are missing or wrong.
    Faulty,
    /// The caller may not.
    Denied,
    /// Our own failure.
    Failed,
}

fn system_name<S: serde::Serializer>(
    system: &&'static System,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(system.name)
}
