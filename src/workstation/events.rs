//! The stream of notices to one window (server-sent events, HTML Living Standard 9.2).
//!
//! A stream begins with everything that is told, so that a window that was cut off misses nothing;
//! each notice carries its number, by which the window knows what it has. After that only what
//! changes is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tokio::sync::watch;

use super::{Refusal, Workstations, app, content, respond, waiting};
use crate::http::bare;
use crate::ledger::Session;
use crate::limits::STREAM_SIGN_MS;

pub(super) async fn answer(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    match open(Arc::clone(&workstations), &parts).await {
        Ok(Some(stream)) => {
            let bytes = stream::unfold(stream, |mut stream| async move {
                let bytes = stream.next().await?;
                Some((Ok::<_, std::convert::Infallible>(bytes), stream))
            });
            respond("text/event-stream;charset=UTF-8", Body::from_stream(bytes))
        }
        Ok(None) => bare(StatusCode::SERVICE_UNAVAILABLE),
        Err(refusal) => app::answer(&workstations.options, Err(refusal), &parts),
    }
}

async fn open(workstations: Arc<Workstations>, parts: &Parts) -> Result<Option<Stream>, Refusal> {
    let session = workstations.session(parts).await?;
    // The application says for whom it listens; the cookie may be another doctor's by now.
    let query = parts.uri.query().unwrap_or_default();
    let meant = query.strip_prefix("session=");
    if meant.is_some_and(|meant| meant != session.id.to_string()) {
        return Err(Refusal::NoSession);
    }
    let Some(bell) = workstations.notices.listen(session.id) else { return Ok(None) };
    metrics::gauge!("workstation_streams").increment(1);
    Ok(Some(Stream {
        workstations,
        session,
        bell,
        sent: HashMap::new(),
        begun: false,
        stale: false,
        over: false,
    }))
}

struct Stream {
    workstations: Arc<Workstations>,
    session: Session,
    bell: watch::Receiver<u64>,
    /// What was last sent of each notice.
    sent: HashMap<i64, String>,
    begun: bool,
    /// The last look failed.
    stale: bool,
    over: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        metrics::gauge!("workstation_streams").decrement(1);
    }
}

impl Stream {
    /// The next piece; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(self.news().await.unwrap_or_default());
        }
        loop {
            let sign = Duration::from_millis(STREAM_SIGN_MS);
            let rung = tokio::select! {
                rung = tokio::time::timeout(sign, self.bell.changed()) => rung,
                () = self.workstations.stop.cancelled() => return None,
            };
            match rung {
                Ok(Ok(())) => {
                    if let Some(news) = self.news().await {
                        return Some(news);
                    }
                }
                Ok(Err(_)) => return Some(self.end()),
                Err(_) => return Some(self.sign().await),
            }
        }
    }

    /// Says that the session is over.
    fn end(&mut self) -> Bytes {
        self.over = true;
        Bytes::from_static(b"event: ended\ndata: {}\n\n")
    }

    /// What is new, where the last look failed; else a sign of life.
    async fn sign(&mut self) -> Bytes {
        if self.stale
            && let Some(news) = self.news().await
        {
            return news;
        }
        match self.goes_on().await {
            Ok(false) => self.end(),
            Ok(true) | Err(_) => Bytes::from_static(b": here\n\n"),
        }
    }

    async fn goes_on(&self) -> Result<bool, Refusal> {
        let (workstations, id) = (Arc::clone(&self.workstations), self.session.id);
        waiting(move || workstations.ledger.goes_on(id, (workstations.clock)())).await
    }

    /// The notices that are told and differ from what was sent; on a fault of the disk nothing,
    /// and the next look tries again.
    async fn news(&mut self) -> Option<Bytes> {
        let (workstations, session) = (Arc::clone(&self.workstations), self.session.clone());
        let now = (workstations.clock)();
        let read = move || {
            let goes_on = workstations.ledger.goes_on(session.id, now)?;
            Ok(if goes_on { Some(workstations.notices.shown(&session, now)?) } else { None })
        };
        let notices = match waiting(read).await {
            Ok(Some(notices)) => notices,
            Ok(None) => return Some(self.end()),
            Err(error) => {
                log::error!("reading notices: {error}");
                self.stale = true;
                return None;
            }
        };
        self.stale = false;
        self.sent.retain(|id, _| notices.iter().any(|shown| shown.notice.id == *id));
        let (mut news, mut new) = (String::new(), Vec::new());
        // The oldest first, as they came.
        for shown in notices.iter().rev().filter(|shown| shown.is_told()) {
            let id = shown.notice.id;
            let row = content::notice(shown, &self.workstations.options);
            let mut told = serde_json::to_value(row).unwrap_or_default();
            let text = told.to_string();
            if self.sent.get(&id) != Some(&text) {
                told["new"] = (!shown.notice.was_shown && !self.sent.contains_key(&id)).into();
                news.push_str(&format!("id: {id}\nevent: notice\ndata: {told}\n\n"));
                if self.sent.insert(id, text).is_none()
                    && shown.notice.precise
                    && !shown.notice.was_shown
                {
                    new.push(id);
                }
            }
        }
        if news.is_empty() {
            return None;
        }
        match self.workstations.ledger.note_shown(new, now).await {
            Ok(new) => metrics::counter!("notices_shown_total").increment(new as u64),
            Err(error) => log::error!("keeping what was shown: {error}"),
        }
        Some(news.into())
    }
}
