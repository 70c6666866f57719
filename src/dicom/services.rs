//! The services: verification, query, retrieval and storage, each on an open association (PS3.7 9,
//! PS3.4 B, C).

use bytes::Bytes;
use forepost_cache::Uid;

use super::association::Association;
use super::command::{
    C_ECHO_RQ, C_ECHO_RSP, C_FIND_RQ, C_FIND_RSP, C_GET_RQ, C_GET_RSP, C_STORE_RQ, C_STORE_RSP,
    Command,
};
use super::file::StoredFile;
use super::limits::{
    FAILED_LIST_BYTES_MAX, MATCH_BYTES_MAX, MATCHES_BYTES_MAX, OBJECTS_MAX, PDU_BYTES_SENT_MAX,
    PENDING_MAX,
};
use super::query::Query;
use super::status;
use crate::fault::Fault;

/// Verification (PS3.4 A).
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Study Root Query/Retrieve, FIND (PS3.4 C.6.2).
pub const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root Query/Retrieve, GET (PS3.4 C.6.2).
pub const GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";

/// The context of a service, or the fault of a peer that does not offer it.
fn context(association: &Association, class: &str, name: &str) -> Result<u8, Fault> {
    let context = association.context(class, None).map(|context| context.id);
    context.ok_or_else(|| Fault::peer("no context", format!("the peer offers no {name}")))
}

/// The answer to a request of ours; anything else breaks the protocol.
async fn answer(
    association: &mut Association,
    id: u8,
    field: u16,
    message: u16,
) -> Result<Command, Fault> {
    let (came_on, answer) = association.command().await?;
    if came_on != id || answer.field != field || answer.responded_to != message {
        return Err(Fault::peer("broken pdu", "an answer to something that was not asked"));
    }
    Ok(answer)
}

/// C-ECHO (PS3.7 9.1.5): whether the peer is there.
pub async fn echo(association: &mut Association) -> Result<(), Fault> {
    let id = context(association, VERIFICATION, "C-ECHO")?;
    let message = association.next_message();
    let class = VERIFICATION.to_owned();
    let command = Command { field: C_ECHO_RQ, message, class, ..Command::default() };
    association.ask(id, &command, &[]).await?;
    let answer = answer(association, id, C_ECHO_RSP, message).await?;
    if status::is_done(answer.status) {
        return Ok(());
    }
    Err(status::fault("C-ECHO", answer.status))
}

/// C-FIND (PS3.7 9.1.2): the matches as they came, Implicit VR Little Endian. With more than
/// `matches_max` of them the second is `true`, and the association is of no further use.
pub async fn find(
    association: &mut Association,
    query: &Query,
    matches_max: usize,
) -> Result<(Vec<Vec<u8>>, bool), Fault> {
    let id = context(association, FIND, "C-FIND of the Study Root")?;
    let message = association.next_message();
    let command = Command {
        field: C_FIND_RQ,
        message,
        class: FIND.to_owned(),
        data_set: true,
        ..Command::default()
    };
    association.ask(id, &command, &query.encode()).await?;
    let (mut matches, mut bytes) = (Vec::new(), 0);
    loop {
        let answer = answer(association, id, C_FIND_RSP, message).await?;
        let found = match answer.data_set {
            true => Some(association.data_set(id, MATCH_BYTES_MAX).await?),
            false => None,
        };
        if !status::is_pending(answer.status) {
            return match status::is_done(answer.status) {
                true => Ok((matches, false)),
                false => Err(status::fault("C-FIND", answer.status)),
            };
        }
        let found = found.ok_or_else(|| Fault::peer("broken answer", "a match without keys"))?;
        bytes += found.len();
        if matches.len() == matches_max || bytes > MATCHES_BYTES_MAX {
            return Ok((matches, true));
        }
        matches.push(found);
    }
}

/// What a C-GET brings, piece by piece.
#[derive(Debug)]
pub enum Arriving {
    /// An object begins.
    Object(Incoming),
    /// Its next bytes.
    Bytes(Bytes),
    /// It is whole. It is confirmed to the peer when the next piece is asked for.
    End,
    /// Nothing more comes.
    Done(Retrieved),
}

/// An object that a peer begins to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// SOP Class UID.
    pub class: String,
    /// SOP Instance UID.
    pub instance: Uid,
    /// Transfer Syntax UID.
    pub syntax: String,
}

/// How a C-GET ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retrieved {
    /// Its status: success, or a warning that something failed.
    pub status: u16,
    /// Sub-operations that failed, by the peer's count.
    pub failed: u16,
}

/// A C-GET under way (PS3.7 9.1.3): the peer sends objects by C-STORE on the same association.
/// Dropped before [`Arriving::Done`], the association is of no further use.
pub struct Retrieval<'a> {
    association: &'a mut Association,
    id: u8,
    message: u16,
    turn: Turn,
    objects: usize,
    pending: usize,
}

/// Where a retrieval stands.
enum Turn {
    /// The peer's next command is waited for.
    Command,
    /// An object's data set comes.
    Data(Store),
    /// Its last byte was handed on.
    Ended(Store),
    /// It is to be confirmed.
    Confirm(Store),
}

/// A C-STORE of the peer.
#[derive(Clone)]
struct Store {
    id: u8,
    request: Command,
}

impl Retrieval<'_> {
    /// Asks for what matches the unique keys of the query.
    pub async fn begin<'a>(
        association: &'a mut Association,
        query: &Query,
    ) -> Result<Retrieval<'a>, Fault> {
        let id = context(association, GET, "C-GET of the Study Root")?;
        if !association.receives() {
            let words = "the peer sends no object of these classes by C-GET";
            return Err(Fault::peer("no context", words));
        }
        let message = association.next_message();
        let command = Command {
            field: C_GET_RQ,
            message,
            class: GET.to_owned(),
            data_set: true,
            ..Command::default()
        };
        association.ask(id, &command, &query.encode()).await?;
        Ok(Retrieval { association, id, message, turn: Turn::Command, objects: 0, pending: 0 })
    }

    /// What comes next.
    pub async fn next(&mut self) -> Result<Arriving, Fault> {
        loop {
            match std::mem::replace(&mut self.turn, Turn::Command) {
                Turn::Confirm(store) => self.confirm(&store, status::SUCCESS).await?,
                Turn::Ended(store) => {
                    self.turn = Turn::Confirm(store);
                    return Ok(Arriving::End);
                }
                Turn::Data(store) => {
                    let (bytes, last) = self.association.data(store.id).await?;
                    self.turn = if last { Turn::Ended(store) } else { Turn::Data(store) };
                    if !bytes.is_empty() {
                        return Ok(Arriving::Bytes(bytes));
                    }
                }
                Turn::Command => {
                    if let Some(arriving) = self.command().await? {
                        return Ok(arriving);
                    }
                }
            }
        }
    }

    async fn command(&mut self) -> Result<Option<Arriving>, Fault> {
        let (id, command) = self.association.command().await?;
        match command.field {
            C_STORE_RQ => self.store(Store { id, request: command }).await,
            C_GET_RSP if id == self.id && command.responded_to == self.message => {
                self.answered(&command).await
            }
            other => {
                let words = format!("command {other:04X} in the middle of a C-GET");
                Err(Fault::peer("broken pdu", words))
            }
        }
    }

    async fn store(&mut self, store: Store) -> Result<Option<Arriving>, Fault> {
        self.objects += 1;
        self.pending = 0;
        if self.objects > OBJECTS_MAX {
            let words = format!("a C-GET of more than {OBJECTS_MAX} objects");
            return Err(Fault::peer("too large", words).for_good());
        }
        let context = self.association.context_of(store.id);
        let fits = context.filter(|one| one.class == store.request.class);
        let Some(context) = fits.filter(|_| store.request.data_set) else {
            return Err(Fault::peer("broken pdu", "a C-STORE on a context that is not its own"));
        };
        let syntax = context.syntax.clone();
        let Ok(instance) = Uid::try_from(store.request.instance.as_str()) else {
            while !self.association.data(store.id).await?.1 {}
            self.confirm(&store, status::INVALID_INSTANCE).await?;
            return Ok(None);
        };
        let class = store.request.class.clone();
        self.turn = Turn::Data(store);
        Ok(Some(Arriving::Object(Incoming { class, instance, syntax })))
    }

    async fn answered(&mut self, answer: &Command) -> Result<Option<Arriving>, Fault> {
        if answer.data_set {
            self.association.data_set(self.id, FAILED_LIST_BYTES_MAX).await?;
        }
        if status::is_pending(answer.status) {
            self.pending += 1;
            if self.pending > PENDING_MAX {
                let words = format!("{PENDING_MAX} answers and no object");
                return Err(Fault::peer("too slow", words));
            }
            return Ok(None);
        }
        // A702: no sub-operation succeeded. What was not here stays to be told by who counts.
        let status = answer.status;
        let failed = if status == 0xa702 { answer.failed.max(1) } else { answer.failed };
        if status::is_done(status) || (status == 0xa702 && self.objects > 0) {
            return Ok(Some(Arriving::Done(Retrieved { status, failed })));
        }
        Err(status::fault("C-GET", status))
    }

    async fn confirm(&mut self, store: &Store, status: u16) -> Result<(), Fault> {
        let command = Command::answering(&store.request, status);
        self.association.ask(store.id, &command, &[]).await
    }
}

/// C-STORE (PS3.7 9.1.1): sends a file as it lies. Returns the peer's status when it has taken it,
/// which may be a warning.
pub async fn store(association: &mut Association, mut file: StoredFile) -> Result<u16, Fault> {
    let context = association.context(&file.class, Some(&file.syntax));
    let id = context.map(|context| context.id).ok_or_else(|| {
        let words = format!("the peer takes no {} in {}", file.class, file.syntax);
        Fault::peer("no context", words).for_good()
    })?;
    let message = association.next_message();
    let command = Command {
        field: C_STORE_RQ,
        message,
        class: file.class.clone(),
        instance: file.instance.to_string(),
        data_set: true,
        ..Command::default()
    };
    association.ask(id, &command, &[]).await?;
    let mut buffer = vec![0; PDU_BYTES_SENT_MAX as usize];
    loop {
        let read = file.read(&mut buffer);
        let read = read.map_err(|error| Fault::ours("file", error.to_string()))?;
        let last = read < buffer.len();
        association.send_data(id, &buffer[..read], last).await?;
        if last {
            break;
        }
    }
    let answer = answer(association, id, C_STORE_RSP, message).await?;
    if status::is_done(answer.status) {
        return Ok(answer.status);
    }
    Err(status::fault("C-STORE", answer.status))
}
