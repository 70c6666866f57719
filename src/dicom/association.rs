//! One association: a socket, what was agreed on it, and messages both ways (PS3.8 7, 9.3).

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use dicom_ul::pdu::{
    AbortRQSource, AssociationAC, AssociationRQ, PDU_HEADER_SIZE, PDV_HEADER_SIZE, PDataValue,
    PDataValueType, Pdu, PresentationContextProposed, PresentationContextResultReason,
    RequestorRoles, UserVariableItem, read_pdu, write_pdu,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::command::Command;
use super::limits::{
    COMMAND_BYTES_MAX, COMMAND_FRAGMENTS_MAX, CONTEXTS_MAX, FAULT_CHARACTERS_MAX, PDU_BYTES_MAX,
    PDU_BYTES_MIN, PDU_BYTES_SENT_MAX, RATE_FLOOR_BYTES, RELEASE_WAIT,
};
use super::{IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION, status};
use crate::fault::Fault;

/// PS3.7 A.2.1: the only application context there is.
pub(super) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// An application entity's title: 1 to 16 characters of ASCII, neither control characters nor a
/// backslash, no blanks at the ends (PS3.5 6.2, AE).
#[derive(Clone, PartialEq, Eq)]
pub struct AeTitle(String);

/// Why a text is no title.
#[derive(Debug, thiserror::Error)]
#[error("an AE title has 1 to 16 characters of ASCII without a backslash: {got:?}")]
pub struct AeTitleError {
    got: String,
}

impl TryFrom<&str> for AeTitle {
    type Error = AeTitleError;

    fn try_from(text: &str) -> Result<AeTitle, AeTitleError> {
        let trimmed = text.trim_matches(' ');
        let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'\\';
        if (1..=16).contains(&trimmed.len()) && trimmed.bytes().all(plain) {
            return Ok(AeTitle(trimmed.to_owned()));
        }
        Err(AeTitleError { got: text.chars().take(40).collect() })
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A peer and how it is called.
#[derive(Clone)]
pub struct Node {
    /// `host:port`; the host is what a certificate must be made out to.
    pub address: String,
    /// Its title.
    pub called: AeTitle,
    /// Ours.
    pub calling: AeTitle,
    /// TLS (PS3.15 B), where it is wanted.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Timers.
    pub waits: NodeWaits,
}

/// How long a peer is waited for.
#[derive(Debug, Clone, Copy)]
pub struct NodeWaits {
    /// Name, address, TCP and TLS together.
    pub connect: Duration,
    /// From the request for an association to its answer.
    pub associate: Duration,
    /// For the next whole PDU, and for a PDU of ours to be taken.
    pub idle: Duration,
}

/// A presentation context to propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Abstract syntax: a SOP class.
    pub class: String,
    /// Transfer syntaxes, the preferred first.
    pub syntaxes: Vec<String>,
    /// Whether the peer is to send us objects of the class (PS3.7 D.3.3.4): C-GET turns the roles.
    pub received: bool,
}

impl Proposal {
    /// A service whose data sets are Implicit VR Little Endian.
    pub fn service(class: &str) -> Proposal {
        let syntaxes = vec![super::classes::IMPLICIT_LITTLE.to_owned()];
        Proposal { class: class.to_owned(), syntaxes, received: false }
    }
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Odd, 1 to 255.
    pub id: u8,
    /// SOP class.
    pub class: String,
    /// Transfer syntax that the peer chose.
    pub syntax: String,
}

/// A socket, plain or in TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An established association. Dropped, its socket closes, which the peer takes for an abort
/// (PS3.8 9.2.3, AA-8).
pub struct Association {
    stream: Box<dyn Stream>,
    read: BytesMut,
    fragments: VecDeque<PDataValue>,
    proposed: Vec<Proposal>,
    contexts: Vec<Context>,
    fragment_bytes: usize,
    idle: Duration,
    messages: u16,
    /// Time spent waiting within a data set, and bytes that came in it, since the last look.
    waited: Duration,
    waited_for: u64,
}

impl Association {
    /// Connects and negotiates. Fails when the peer refuses, or accepts nothing of what was
    /// proposed.
    pub async fn open(node: &Node, proposals: &[Proposal]) -> Result<Association, Fault> {
        debug_assert!(proposals.len() <= CONTEXTS_MAX, "the caller packs them");
        let stream = timeout(node.waits.connect, connect(node)).await.map_err(|_| {
            Fault::peer("connect", format!("{} did not answer in time", node.address))
        })??;
        let mut association = Association::over(stream, node.waits.associate);
        association.proposed = proposals.to_vec();
        association.read.reserve(2 * PDU_BYTES_MAX as usize);
        association.send(&request(node, proposals)).await?;
        match association.pdu().await? {
            Pdu::AssociationAC(accepted) => association.accept(accepted, proposals)?,
            Pdu::AssociationRJ(rejection) => return Err(status::rejected(node, &rejection)),
            other => return Err(unexpected(&other)),
        }
        if association.contexts.is_empty() {
            association.abort().await;
            let words = format!("{} accepted nothing of what was proposed", node.address);
            return Err(Fault::peer("no context", words));
        }
        association.idle = node.waits.idle;
        Ok(association)
    }

    /// A connection on which nothing is agreed yet.
    pub(super) fn over(stream: Box<dyn Stream>, wait: Duration) -> Association {
        Association {
            stream,
            read: BytesMut::new(),
            fragments: VecDeque::new(),
            proposed: Vec::new(),
            contexts: Vec::new(),
            fragment_bytes: 0,
            idle: wait,
            messages: 0,
            waited: Duration::ZERO,
            waited_for: 0,
        }
    }

    /// From now on by what was agreed with a peer that asked us.
    pub(super) fn agreed(&mut self, contexts: Vec<Context>, idle: Duration) {
        (self.contexts, self.idle) = (contexts, idle);
    }

    /// Sends PDUs as long as the peer takes them.
    pub(super) fn fit(&mut self, peer: &[UserVariableItem]) -> Result<(), Fault> {
        let length = peer.iter().find_map(|item| match item {
            UserVariableItem::MaxLength(length) => Some(*length),
            _ => None,
        });
        // 0: no limit (PS3.8 D.1).
        let length = length.filter(|length| *length > 0).unwrap_or(PDU_BYTES_SENT_MAX);
        if length < PDU_BYTES_MIN {
            return Err(Fault::peer("broken pdu", format!("it takes PDUs of {length} B at most")));
        }
        // Even, as fragments must be.
        self.fragment_bytes = (length.min(PDU_BYTES_SENT_MAX) - PDV_HEADER_SIZE) as usize & !1;
        Ok(())
    }

    fn accept(&mut self, accepted: AssociationAC, proposals: &[Proposal]) -> Result<(), Fault> {
        self.fit(&accepted.user_variables)?;
        for result in accepted.presentation_contexts {
            let proposal = proposals.get(usize::from(result.id / 2));
            let syntax = result.transfer_syntax.trim_matches(['\0', ' ']);
            if let Some(proposal) = proposal
                && result.id % 2 == 1
                && result.reason == PresentationContextResultReason::Acceptance
                && proposal.syntaxes.iter().any(|one| one == syntax)
            {
                let (class, syntax) = (proposal.class.clone(), syntax.to_owned());
                self.contexts.push(Context { id: result.id, class, syntax });
            }
        }
        Ok(())
    }

    /// Whether it can serve these as well as a new one: all were proposed, and the services, which
    /// a peer may offer alone only, were accepted.
    pub fn covers(&self, proposals: &[Proposal]) -> bool {
        let covered = |one: &Proposal| {
            let offered = one.received || self.context(&one.class, None).is_some();
            offered && self.proposed.contains(one)
        };
        proposals.iter().all(covered)
    }

    /// The accepted context of a class, in this syntax where one is named.
    pub fn context(&self, class: &str, syntax: Option<&str>) -> Option<&Context> {
        let fits =
            |one: &&Context| one.class == class && syntax.is_none_or(|syntax| one.syntax == syntax);
        self.contexts.iter().find(fits)
    }

    /// The accepted context with a number.
    pub fn context_of(&self, id: u8) -> Option<&Context> {
        self.contexts.iter().find(|one| one.id == id)
    }

    /// Whether an object can come: some context of a class that we receive was accepted.
    pub fn receives(&self) -> bool {
        let received = |one: &&Proposal| one.received;
        self.proposed.iter().filter(received).any(|one| self.context(&one.class, None).is_some())
    }

    /// A number for the next request.
    pub fn next_message(&mut self) -> u16 {
        self.messages = self.messages.wrapping_add(1);
        self.messages
    }

    /// Sends a command and the data set that belongs to it.
    pub async fn ask(&mut self, id: u8, command: &Command, data: &[u8]) -> Result<(), Fault> {
        let value_type = PDataValueType::Command;
        let command = command.encode();
        self.send_fragments(id, value_type, &command, true).await?;
        if data.is_empty() {
            return Ok(());
        }
        self.send_data(id, data, true).await
    }

    /// Sends a stretch of a data set; `last` ends it.
    pub async fn send_data(&mut self, id: u8, data: &[u8], last: bool) -> Result<(), Fault> {
        self.send_fragments(id, PDataValueType::Data, data, last).await
    }

    async fn send_fragments(
        &mut self,
        id: u8,
        value_type: PDataValueType,
        bytes: &[u8],
        last: bool,
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        loop {
            let (now, after) = rest.split_at(rest.len().min(self.fragment_bytes));
            let mut data = now.to_vec();
            // Fragments are even (PS3.8 9.3.1); only a deflated data set can end oddly, and one
            // byte more changes nothing of it (PS3.5 A.5).
            if data.len() % 2 == 1 {
                data.push(0);
            }
            let value = PDataValue {
                presentation_context_id: id,
                value_type: value_type.clone(),
                is_last: last && after.is_empty(),
                data,
            };
            self.send(&Pdu::PData { data: vec![value] }).await?;
            rest = after;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// The next command and the context that it came on.
    pub async fn command(&mut self) -> Result<(u8, Command), Fault> {
        let mut bytes = Vec::new();
        for _ in 0..COMMAND_FRAGMENTS_MAX {
            let fragment = self.fragment().await?;
            if fragment.value_type != PDataValueType::Command {
                return Err(Fault::peer("broken pdu", "data where a command should stand"));
            }
            if bytes.len() + fragment.data.len() > COMMAND_BYTES_MAX {
                let words = format!("a command over {COMMAND_BYTES_MAX} B");
                return Err(Fault::peer("broken pdu", words));
            }
            bytes.extend_from_slice(&fragment.data);
            if fragment.is_last {
                // A peer may take its time before an object, but not within it.
                (self.waited, self.waited_for) = (Duration::ZERO, 0);
                let command = Command::decode(&bytes);
                let command =
                    command.map_err(|error| Fault::peer("broken pdu", error.to_string()))?;
                return Ok((fragment.presentation_context_id, command));
            }
        }
        Err(Fault::peer("broken pdu", "a command in too many fragments"))
    }

    /// The next stretch of the data set that comes on a context, and whether it is the last.
    pub async fn data(&mut self, id: u8) -> Result<(Bytes, bool), Fault> {
        let fragment = self.fragment().await?;
        let fits = fragment.value_type == PDataValueType::Data;
        if !fits || fragment.presentation_context_id != id {
            return Err(Fault::peer("broken pdu", "a data set is interrupted"));
        }
        if fragment.data.is_empty() && !fragment.is_last {
            return Err(Fault::peer("broken pdu", "a fragment without a byte"));
        }
        self.hold_to_floor()?;
        Ok((fragment.data.into(), fragment.is_last))
    }

    /// A whole data set of at most so many bytes.
    pub async fn data_set(&mut self, id: u8, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        loop {
            let (piece, last) = self.data(id).await?;
            if bytes.len() + piece.len() > bytes_max {
                return Err(Fault::peer("too large", format!("a data set over {bytes_max} B")));
            }
            bytes.extend_from_slice(&piece);
            if last {
                return Ok(bytes);
            }
        }
    }

    /// A peer that drips holds a place that others could use.
    fn hold_to_floor(&mut self) -> Result<(), Fault> {
        if self.waited < self.idle {
            return Ok(());
        }
        let floor = self.waited.as_secs_f64() * RATE_FLOOR_BYTES as f64;
        let (waited_for, slow) = (self.waited_for, (self.waited_for as f64) < floor);
        (self.waited, self.waited_for) = (Duration::ZERO, 0);
        if slow {
            return Err(Fault::peer("too slow", format!("{waited_for} B in a wait")));
        }
        Ok(())
    }

    async fn fragment(&mut self) -> Result<PDataValue, Fault> {
        loop {
            if let Some(fragment) = self.fragments.pop_front() {
                return Ok(fragment);
            }
            match self.pdu().await? {
                Pdu::PData { data } if data.is_empty() => {
                    return Err(Fault::peer("broken pdu", "a P-DATA-TF without a value"));
                }
                Pdu::PData { data } => self.fragments.extend(data),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// The peer's next request; `None`: it has said goodbye, and so have we.
    pub(super) async fn request(&mut self) -> Result<Option<(u8, Command)>, Fault> {
        if self.fragments.is_empty() {
            match self.pdu().await? {
                Pdu::ReleaseRQ => {
                    self.send(&Pdu::ReleaseRP).await?;
                    return Ok(None);
                }
                Pdu::PData { data } if !data.is_empty() => self.fragments.extend(data),
                other => return Err(unexpected(&other)),
            }
        }
        self.command().await.map(Some)
    }

    /// The next PDU, whole, within the wait.
    pub(super) async fn pdu(&mut self) -> Result<Pdu, Fault> {
        let start = Instant::now();
        let read = timeout(self.idle, self.read_pdu()).await;
        self.waited += start.elapsed();
        read.unwrap_or_else(|_| {
            let seconds = self.idle.as_secs();
            Err(Fault::peer("timeout", format!("no whole PDU came in {seconds} s")))
        })
    }

    async fn read_pdu(&mut self) -> Result<Pdu, Fault> {
        let header = PDU_HEADER_SIZE as usize;
        loop {
            if let Some(pdu) = self.take_pdu()? {
                return Ok(pdu);
            }
            let wanted = match self.read.get(..header) {
                None => header,
                Some(front) => header + length_of(front)? as usize,
            };
            self.read.reserve(wanted.saturating_sub(self.read.len()));
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) => return Err(Fault::peer("connection lost", "the peer hung up")),
                Ok(bytes) => self.waited_for += bytes as u64,
                Err(error) => return Err(Fault::peer("connection lost", error.to_string())),
            }
        }
    }

    /// The PDU at the front of what was read, if it is whole.
    fn take_pdu(&mut self) -> Result<Option<Pdu>, Fault> {
        let header = PDU_HEADER_SIZE as usize;
        let Some(front) = self.read.get(..header) else { return Ok(None) };
        let whole = header + length_of(front)? as usize;
        if self.read.len() < whole {
            return Ok(None);
        }
        parse(self.read.split_to(whole).freeze()).map(Some)
    }

    pub(super) async fn send(&mut self, pdu: &Pdu) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(|error| Fault::ours("pdu", error.to_string()))?;
        let sent = timeout(self.idle, async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        });
        match sent.await {
            Err(_) => Err(Fault::peer("timeout", "the peer takes nothing any more")),
            Ok(Err(error)) => Err(Fault::peer("connection lost", error.to_string())),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Says goodbye, and waits a moment for the same.
    pub async fn release(mut self) {
        self.idle = RELEASE_WAIT;
        if self.send(&Pdu::ReleaseRQ).await.is_ok() {
            // Whatever is answered, everything that counts has come.
            let _ = self.pdu().await;
        }
    }

    /// Ends it in the middle of something (PS3.8 9.3.8).
    pub async fn abort(mut self) {
        self.send_abort(AbortRQSource::ServiceUser).await;
    }

    /// Says that it ends here, and who of us ends it.
    pub(super) async fn send_abort(&mut self, source: AbortRQSource) {
        self.idle = RELEASE_WAIT;
        let _ = self.send(&Pdu::AbortRQ { source }).await;
    }

    /// Waits a moment for the peer to hang up after the last word (PS3.8 9.2, ARTIM): a socket that
    /// is closed over bytes unread takes that word back.
    pub(super) async fn linger(mut self) {
        let mut left = [0; 1 << 10];
        let rest = async {
            let _ = self.stream.shutdown().await;
            while matches!(self.stream.read(&mut left).await, Ok(1..)) {}
        };
        let _ = timeout(RELEASE_WAIT, rest).await;
    }
}

/// Reads a whole PDU. Should dicom-ul panic over one, it is as broken as one that it refuses; let
/// through, the panic would end the task of a fetch, which then counts as under way for ever.
fn parse(bytes: Bytes) -> Result<Pdu, Fault> {
    // dicom-ul quotes what the peer sent.
    let broken = |words: String| {
        Fault::peer("broken pdu", words.chars().take(FAULT_CHARACTERS_MAX).collect::<String>())
    };
    let read = AssertUnwindSafe(|| read_pdu(bytes, PDU_BYTES_MAX, true));
    let read = catch_unwind(read).map_err(|_| broken("a PDU that cannot be read".to_owned()))?;
    let pdu = read.map_err(|error| broken(error.to_string()))?;
    pdu.ok_or_else(|| broken("an item passes the end of its PDU".to_owned()))
}

/// What is done to a whole PDU, whatever is in it.
#[cfg(fuzzing)]
pub(super) fn fuzz_pdu(bytes: &[u8]) {
    if bytes.len() >= 6 && length_of(&bytes[..6]).is_ok() {
        let _ = parse(Bytes::copy_from_slice(bytes));
    }
}

/// The length that a PDU's header claims, if the PDU is one and may be so long.
fn length_of(mut front: &[u8]) -> Result<u32, Fault> {
    let kind = front.get_u8();
    front.advance(1);
    let length = front.get_u32();
    if !(1..=7).contains(&kind) {
        return Err(Fault::peer("broken pdu", format!("no PDU has the type {kind:02X}")));
    }
    if length > PDU_BYTES_MAX {
        let words = format!("a PDU of {length} B, {PDU_BYTES_MAX} were agreed");
        return Err(Fault::peer("broken pdu", words));
    }
    Ok(length)
}

async fn connect(node: &Node) -> Result<Box<dyn Stream>, Fault> {
    let failed =
        |error: std::io::Error| Fault::peer("connect", format!("{}: {error}", node.address));
    let stream = TcpStream::connect(&node.address).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let Some(tls) = &node.tls else { return Ok(Box::new(stream)) };
    let host = node.address.rsplit_once(':').map_or("", |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| Fault::ours("connect", error.to_string()).for_good())?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}

/// A-ASSOCIATE-RQ (PS3.8 9.3.2) with our size, name and roles (PS3.7 D.3.3).
fn request(node: &Node, proposals: &[Proposal]) -> Pdu {
    let contexts = proposals.iter().enumerate().map(|(at, one)| PresentationContextProposed {
        id: (2 * at + 1) as u8,
        abstract_syntax: one.class.clone(),
        transfer_syntaxes: one.syntaxes.clone(),
    });
    let mut user_variables = own_variables();
    let mut roles: Vec<&str> = Vec::new();
    for one in proposals.iter().filter(|one| one.received) {
        if !roles.contains(&one.class.as_str()) {
            roles.push(&one.class);
            let role = RequestorRoles { scu: false, scp: true };
            let class = one.class.clone();
            user_variables.push(UserVariableItem::ScuScpRoleSelectionSubItem(class, role));
        }
    }
    Pdu::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: node.calling.to_string(),
        called_ae_title: node.called.to_string(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts.collect(),
        user_variables,
    })
}

/// Our size and name, on either side (PS3.8 D.1, PS3.7 D.3.3.2).
pub(super) fn own_variables() -> Vec<UserVariableItem> {
    vec![
        UserVariableItem::MaxLength(PDU_BYTES_MAX),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.to_owned()),
    ]
}

/// Names the PDU, never its content.
pub(super) fn unexpected(pdu: &Pdu) -> Fault {
    let name = match pdu {
        Pdu::AbortRQ { source } => return status::aborted(source),
        Pdu::ReleaseRQ => return Fault::peer("connection lost", "the peer wants to end"),
        Pdu::AssociationRQ(_) => "A-ASSOCIATE-RQ",
        Pdu::AssociationAC(_) => "A-ASSOCIATE-AC",
        Pdu::AssociationRJ(_) => "A-ASSOCIATE-RJ",
        Pdu::PData { .. } => "P-DATA-TF",
        Pdu::ReleaseRP => "A-RELEASE-RP",
        Pdu::Unknown { .. } => "a PDU of no known type",
    };
    Fault::peer("broken pdu", format!("{name} came where it must not"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            kind in 1u8..=7,
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = vec![kind, 0];
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&body);
            if let Err(fault) = parse(bytes.into()) {
                prop_assert_eq!(fault.step, "broken pdu");
                prop_assert!(fault.detail != "a PDU that cannot be read", "dicom-ul panicked");
            }
        }
    }

    #[test]
    fn a_title_has_one_to_sixteen_plain_characters() {
        for good in ["A", "PACS 1", "ABCDEFGHIJKLMNOP", " PADDED "] {
            assert_eq!(AeTitle::try_from(good).unwrap().to_string(), good.trim());
        }
        for bad in ["", "   ", "ABCDEFGHIJKLMNOPQ", "A\\B", "影像", "A\nB"] {
            assert!(AeTitle::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_header_is_believed_up_to_the_limit_only() {
        let header = |kind: u8, length: u32| {
            let mut bytes = vec![kind, 0];
            bytes.extend_from_slice(&length.to_be_bytes());
            length_of(&bytes)
        };
        assert_eq!(header(4, PDU_BYTES_MAX), Ok(PDU_BYTES_MAX));
        assert_eq!(header(4, PDU_BYTES_MAX + 1).unwrap_err().step, "broken pdu");
        assert_eq!(header(b'H', 4).unwrap_err().step, "broken pdu");
        assert_eq!(header(0, 0).unwrap_err().step, "broken pdu");
    }
}
