//! The workstation zone of the hospital: doctors are logged in, told, and shown what was made
//! elsewhere (imaging cloud's document, 3.1 to 3.3).
//!
//! For: the doctor, and the HIS that logs the doctor in. Always holds: what is shown is shown to
//! the session whose secret the browser holds, and to nobody else; a session sees the patients that
//! it or its account's list was told of within the configured hours; who was shown a patient or a
//! study stands in the audit before the answer leaves; nothing is kept by the browser but the
//! session's cookie, which no script reads; no page loads anything from elsewhere. On the wire:
//! `/hrball/` as the document has it, and pages below `/workstation/` that any browser of the last
//! ten years shows; newer ones start the application of `web/` in their place. Refused: a page
//! that only the application can show; the secret in an address, where histories keep it. Start at
//! [`router`]; `login` is the HIS's door, `access` says whose a request is, `events` tells, `pages`
//! shows, `content` is what they say, `setup` and `launcher` are what
//! a workstation is given.

mod access;
mod app;
mod content;
mod events;
mod html;
mod launcher;
mod login;
mod pages;
mod plain;
mod report;
mod setup;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use forepost_cache::Cache;
use http::{HeaderValue, Response, StatusCode, header};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::http::{Callers, guarded};
use crate::intake::Opener;
use crate::ledger::{Ledger, LedgerError};
use crate::model::Time;
use crate::notice::Notices;

/// How the door is configured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where a study opens in a viewer; `{study}` stands for its UID, `{ticket}` for what opens it
    /// once.
    pub viewer: Option<String>,
    /// Where a source shows the report of a study, by the source's name; `{study}` as above.
    pub reports: HashMap<String, String>,
    /// Whether screens show a name only when it is pointed at.
    pub mask_names: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpNet>,
    /// Seconds after which a patient's page that nobody touches is left.
    pub idle_seconds: u32,
    /// Milliseconds for which a doctor who opened a patient may open the patient's studies.
    pub opened_ms: i64,
}

/// What stands behind the door.
pub struct Workstations {
    /// The disk of record.
    pub ledger: Ledger,
    /// Who is told of what.
    pub notices: Arc<Notices>,
    /// What is here of a study.
    pub cache: Cache,
    /// Opens identity numbers under SM2.
    pub opener: Arc<Opener>,
    /// Who may log doctors in.
    pub callers: Callers,
    /// The codes of the hospitals served.
    pub hospitals: Vec<String>,
    /// As configured.
    pub options: Options,
    /// Bounds the documents in memory.
    pub documents: Semaphore,
    /// Ends the streams.
    pub stop: CancellationToken,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

/// Its answers.
pub fn router(workstations: Arc<Workstations>) -> Router {
    Router::new()
        .route("/hrball", get(login::answer))
        .route("/hrball/", get(login::answer))
        .route("/workstation", get(pages::window))
        .route("/workstation/", get(pages::window))
        .route("/workstation/start.js", get(app::plain_file))
        .route("/workstation/window.js", get(app::plain_file))
        .route("/workstation/patient.js", get(app::plain_file))
        .route("/workstation/window.css", get(app::plain_file))
        .route("/workstation/app/{name}", get(app::file))
        .route("/workstation/events", get(events::answer))
        .route("/workstation/progress/{notice}", get(pages::progress))
        .route("/workstation/patient/{notice}", get(pages::patient))
        .route("/workstation/study/{notice}/{study}", get(pages::study))
        .route("/workstation/open/{notice}/{study}", get(pages::open))
        .route("/workstation/IHEInvokeImageDisplay", get(pages::display))
        .route("/workstation/document/{notice}/{study}/{sop}", get(pages::document))
        .route("/workstation/fetch/{notice}/{study}", post(pages::fetch))
        .route("/workstation/acknowledge/{notice}", post(pages::acknowledge))
        .route("/workstation/decide/{notice}", post(pages::decide))
        .route("/workstation/glass/{notice}", post(pages::break_glass))
        .route("/workstation/logout", post(pages::log_out))
        .route("/workstation/setup", get(setup::page))
        .route("/workstation/setup.reg", get(setup::windows))
        .route("/workstation/setup.desktop", get(setup::linux))
        .route("/workstation/setup/forepost-launcher.exe", get(launcher::windows))
        .route("/workstation/setup/forepost-launcher", get(launcher::linux))
        .with_state(workstations)
}

/// Why a page is not shown.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// No session: it has ended, or the code was shown before.
    #[error("no session")]
    NoSession,
    /// The patient was not opened by this session, or too long ago.
    #[error("not this session's patient")]
    NotOpened,
    /// The same, of a notice that a reason may open.
    #[error("not this session's patient")]
    Glass(i64),
    /// A link that opens nothing (any more).
    #[error("a link that opens nothing")]
    Link,
    /// Another site's page asks.
    #[error("asked by another site")]
    Foreign,
    /// A form that broke off, or says nothing that we know.
    #[error("a broken form")]
    Broken,
    /// The disk.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// A task panicked.
    #[error("a task of the pages panicked")]
    Panicked,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::NoSession => StatusCode::UNAUTHORIZED,
            Refusal::NotOpened | Refusal::Glass(_) | Refusal::Link | Refusal::Foreign => {
                StatusCode::FORBIDDEN
            }
            Refusal::Broken => StatusCode::BAD_REQUEST,
            Refusal::Ledger(_) | Refusal::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer of 200 with a body of that type.
fn respond(media: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    guarded(response)
}

/// Does what may wait for the disk on a thread that may.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Panicked)?;
    Ok(done?)
}
