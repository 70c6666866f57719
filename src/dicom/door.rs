//! The listener: who may associate, and the one service that is answered so far, verification.
//!
//! For: a PACS's engineer finds out by C-ECHO that the network, the port and the titles are right.
//! Always holds: a place is counted before a peer is heard, and every wait of it has a timer, so
//! that connections left open close the door to nobody for long; a refusal says which title or
//! limit it was (PS3.8 9.3.4). What is not verification is refused context by context, and a
//! command of another service is answered "unrecognized operation". Nothing is kept of a peer.

use std::net::IpAddr;
use std::sync::Arc;

use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationAC, AssociationRJ, AssociationRJResult,
    AssociationRJServiceProviderASCEReason, AssociationRJServiceProviderPresentationReason,
    AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, Pdu,
    PresentationContextProposed, PresentationContextResult, PresentationContextResultReason,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::association::{
    APPLICATION_CONTEXT, AeTitle, Association, Context, Stream, own_variables, unexpected,
};
use super::classes::IMPLICIT_LITTLE;
use super::command::{C_CANCEL_RQ, C_ECHO_RQ, Command};
use super::limits::{
    ASSOCIATE_WAIT, ASSOCIATIONS_MAX, CONTEXTS_MAX, DRAIN_WAIT, DROPPED_BYTES_MAX, REFUSALS_MAX,
    REQUEST_WAIT, STOP_WAIT,
};
use super::services::VERIFICATION;
use super::status;
use crate::fault::Fault;
use crate::listen::{Place, Service};

/// In what a C-ECHO may be spoken of: it has no data set, so none of them matters.
const SYNTAXES: [&str; 3] = [IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"];

/// The zone's name in logs and metrics.
const ZONE: &str = "dicom";

/// One listener with what stands behind it.
#[derive(Clone)]
pub struct Door {
    associations: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    place: Place<AeTitle>,
}

impl Door {
    /// A door with [`ASSOCIATIONS_MAX`] associations at once. Behind it stands our title: who calls
    /// another one is refused.
    pub fn new(service: Service<AeTitle>) -> Door {
        Door {
            associations: Arc::new(Semaphore::new(ASSOCIATIONS_MAX)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            place: Place::new(service),
        }
    }

    /// Another listener of the zone, which shares its associations.
    pub fn beside(&self, service: Service<AeTitle>) -> Door {
        Door { place: Place::new(service), ..self.clone() }
    }

    /// From now on: new associations by the new list, title and certificate.
    pub fn replace(&self, service: Service<AeTitle>) {
        self.place.replace(service);
    }

    /// Accepts until `stop`; then who is here may end what he came for within [`DRAIN_WAIT`].
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let open = TaskTracker::new();
        while let Some((stream, peer, service)) = self.place.accept(ZONE, &listener, &stop).await {
            let free = Arc::clone(&self.associations).try_acquire_owned().ok();
            let has_place = free.is_some();
            // To be told that there is none takes a place of another kind.
            let held = free.or_else(|| Arc::clone(&self.refusals).try_acquire_owned().ok());
            let Some(held) = held else {
                metrics::counter!("associations_total", "outcome" => "dropped").increment(1);
                continue;
            };
            let stop = stop.clone();
            open.spawn(async move {
                let outcome = connection(stream, peer, &service, has_place, stop).await;
                metrics::counter!("associations_total", "outcome" => outcome).increment(1);
                drop(held);
            });
        }
        drop(listener);
        open.close();
        if timeout(STOP_WAIT, open.wait()).await.is_err() {
            log::warn!(zone = ZONE; "associations were still open after {STOP_WAIT:?}");
        }
    }
}

/// Hears one peer to its end. Returns how that was, for the metric.
async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    service: &Service<AeTitle>,
    has_place: bool,
    stop: CancellationToken,
) -> &'static str {
    let drained = async {
        stop.cancelled().await;
        sleep(DRAIN_WAIT).await;
    };
    tokio::pin!(drained);
    let stream = tokio::select! {
        stream = established(stream, service) => stream,
        () = &mut drained => return "stopped",
    };
    let Some(stream) = stream else { return "broken" };
    let mut association = Association::over(stream, ASSOCIATE_WAIT);
    let ended = tokio::select! {
        ended = spoken(&mut association, service, has_place) => ended,
        () = &mut drained => Ended::Stopped,
    };
    let user = AbortRQSource::ServiceUser;
    let outcome = match ended {
        Ended::Released => "released",
        Ended::Stopped => {
            association.send_abort(user).await;
            "stopped"
        }
        Ended::Refused(rejection, why) => {
            log::info!(zone = ZONE, peer:%; "an association was refused: {why}");
            let _ = association.send(&Pdu::AssociationRJ(rejection)).await;
            "refused"
        }
        // Who was silent, hung up or aborted is told nothing (PS3.8 9.2.3, AA-2 to AA-5).
        Ended::Unasked(fault) => {
            log::info!(zone = ZONE, peer:%; "no association: {}", fault.detail);
            if fault.step != BROKEN {
                return "broken";
            }
            association.send_abort(user).await;
            "broken"
        }
        Ended::Broken(fault) if fault.step == "aborted" => return "aborted",
        Ended::Broken(fault) => {
            log::info!(zone = ZONE, peer:%; "an association broke off: {}", fault.detail);
            let reason = AbortRQServiceProviderReason::ReasonNotSpecified;
            association.send_abort(AbortRQSource::ServiceProvider(reason)).await;
            "broken"
        }
    };
    association.linger().await;
    outcome
}

/// The step of a fault that says that the peer broke the protocol.
const BROKEN: &str = "broken pdu";

/// How a connection ended.
enum Ended {
    /// The peer said goodbye.
    Released,
    /// We stop.
    Stopped,
    /// No association, of which the peer is told and our log.
    Refused(AssociationRJ, String),
    /// What came is no request for one, or nothing came.
    Unasked(Fault),
    /// It broke off.
    Broken(Fault),
}

/// Takes a request for an association and answers what is asked on it.
async fn spoken(
    association: &mut Association,
    service: &Service<AeTitle>,
    has_place: bool,
) -> Ended {
    let told = match association.pdu().await {
        Ok(Pdu::AssociationRQ(asked)) => negotiate(association, &asked, service, has_place),
        Ok(Pdu::ReleaseRQ) => {
            Err(Ended::Unasked(Fault::peer(BROKEN, "A-RELEASE-RQ came where it must not")))
        }
        Ok(other) => Err(Ended::Unasked(unexpected(&other))),
        Err(fault) => Err(Ended::Unasked(fault)),
    };
    let accepted = match told {
        Ok(accepted) => accepted,
        Err(ended) => return ended,
    };
    let answered = match association.send(&Pdu::AssociationAC(accepted)).await {
        Ok(()) => answer(association).await,
        Err(fault) => Err(fault),
    };
    answered.map_or_else(Ended::Broken, |()| Ended::Released)
}

/// The connection, with TLS where the listener speaks it.
async fn established(stream: TcpStream, service: &Service<AeTitle>) -> Option<Box<dyn Stream>> {
    let _ = stream.set_nodelay(true);
    let Some(tls) = &service.tls else { return Some(Box::new(stream)) };
    match timeout(ASSOCIATE_WAIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            log::debug!(zone = ZONE; "TLS handshake: {error}");
            None
        }
        Err(_) => {
            log::debug!(zone = ZONE; "TLS handshake took too long");
            None
        }
    }
}

/// Judges a request for an association (PS3.8 7.1.1). A title that is wrong is told before a lack
/// of places: waiting does not mend it.
fn negotiate(
    association: &mut Association,
    asked: &AssociationRQ,
    service: &Service<AeTitle>,
    has_place: bool,
) -> Result<AssociationAC, Ended> {
    use AssociationRJServiceUserReason as User;
    let user = |reason, why: String| {
        Ended::Refused(permanent(AssociationRJSource::ServiceUser(reason)), why)
    };
    // Bit 0 is version 1, and only it is looked at (PS3.8 9.3.2).
    if asked.protocol_version & 1 == 0 {
        let reason = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
        let why = "it speaks another version of the protocol".to_owned();
        return Err(Ended::Refused(
            permanent(AssociationRJSource::ServiceProviderASCE(reason)),
            why,
        ));
    }
    let name = asked.application_context_name.trim_matches(['\0', ' ']);
    if name != APPLICATION_CONTEXT {
        let why = "its application context is not DICOM's".to_owned();
        return Err(user(User::ApplicationContextNameNotSupported, why));
    }
    let Some(calling) = title(&asked.calling_ae_title) else {
        return Err(user(User::CallingAETitleNotRecognized, "its own title is none".to_owned()));
    };
    let called = title(&asked.called_ae_title);
    if called.as_ref() != Some(&service.behind) {
        let called = called.map_or_else(|| "no title".to_owned(), |title| title.to_string());
        let why = format!("{calling} calls {called}; zone.dicom.ae_title is {}", service.behind);
        return Err(user(User::CalledAETitleNotRecognized, why));
    }
    if !has_place {
        let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
        let source = AssociationRJSource::ServiceProviderPresentation(reason);
        let rejection = AssociationRJ { result: AssociationRJResult::Transient, source };
        return Err(Ended::Refused(rejection, format!("{ASSOCIATIONS_MAX} are open already")));
    }
    if asked.presentation_contexts.len() > CONTEXTS_MAX {
        let words = format!("more than {CONTEXTS_MAX} presentation contexts");
        return Err(Ended::Unasked(Fault::peer(BROKEN, words)));
    }
    association.fit(&asked.user_variables).map_err(Ended::Unasked)?;
    let results: Vec<_> = asked.presentation_contexts.iter().map(judged).collect();
    let accepted = results.iter().filter_map(|result| {
        let is_accepted = result.reason == PresentationContextResultReason::Acceptance;
        is_accepted.then(|| Context {
            id: result.id,
            class: VERIFICATION.to_owned(),
            syntax: result.transfer_syntax.clone(),
        })
    });
    association.agreed(accepted.collect(), REQUEST_WAIT);
    Ok(AssociationAC {
        protocol_version: 1,
        // As they came; the peer does not look at them (PS3.8 9.3.3).
        calling_ae_title: calling.to_string(),
        called_ae_title: service.behind.to_string(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: own_variables(),
    })
}

/// A title as peers write it, some of them as a text of C with what follows its end.
fn title(text: &str) -> Option<AeTitle> {
    AeTitle::try_from(text.split('\0').next().unwrap_or_default()).ok()
}

fn permanent(source: AssociationRJSource) -> AssociationRJ {
    AssociationRJ { result: AssociationRJResult::Permanent, source }
}

/// Whether a proposed context is taken, and in which syntax.
fn judged(proposed: &PresentationContextProposed) -> PresentationContextResult {
    use PresentationContextResultReason as Reason;
    let trimmed = |uid: &str| uid.trim_matches(['\0', ' ']).to_owned();
    let offered: Vec<String> = proposed.transfer_syntaxes.iter().map(|one| trimmed(one)).collect();
    let known = SYNTAXES.iter().find(|one| offered.iter().any(|offered| offered == **one));
    let reason = match (trimmed(&proposed.abstract_syntax) == VERIFICATION, known) {
        (false, _) => Reason::AbstractSyntaxNotSupported,
        (true, None) => Reason::TransferSyntaxesNotSupported,
        (true, Some(_)) if proposed.id.is_multiple_of(2) => Reason::NoReason,
        (true, Some(_)) => Reason::Acceptance,
    };
    // Of a context that is not taken it means nothing, and must stand there (PS3.8 9.3.3.2).
    let transfer_syntax = known.unwrap_or(&IMPLICIT_LITTLE).to_string();
    PresentationContextResult { id: proposed.id, reason, transfer_syntax }
}

/// Answers requests until the peer releases the association.
async fn answer(association: &mut Association) -> Result<(), Fault> {
    while let Some((id, request)) = association.request().await? {
        let Some(context) = association.context_of(id) else {
            let words = format!("a command on context {id}, which was not agreed");
            return Err(Fault::peer(BROKEN, words));
        };
        let class = context.class.clone();
        let known = request.field == C_ECHO_RQ;
        if request.is_answer() || (known && request.data_set) {
            let words = format!("command {:04X} with what does not belong to it", request.field);
            return Err(Fault::peer(BROKEN, words));
        }
        if request.data_set {
            association.data_set(id, DROPPED_BYTES_MAX).await?;
        }
        // Nothing is under way that could be cancelled, and it has no answer (PS3.7 9.3.2.3).
        if request.field == C_CANCEL_RQ {
            continue;
        }
        let status = if known { status::SUCCESS } else { status::UNRECOGNIZED_OPERATION };
        let request = Command { class, instance: String::new(), ..request };
        association.ask(id, &Command::answering(&request, status), &[]).await?;
    }
    Ok(())
}
