//! The accept loop of one listener: a permit before each connection, TLS, limits, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::caller::{Peer, RequestId};
use super::reply;
use super::zero_copy::{Files, ZeroCopy};
use crate::limits::{CONNECTIONS_MAX, DRAIN_FIRST_MS, DRAIN_MS, HEAD_WAIT_MS, REQUESTS_MAX};
use crate::listen::{Place, Service};

/// Milliseconds a peer has for its TLS handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_millis(HEAD_WAIT_MS);

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("{zone} zone: cannot listen on {address}: {source}")]
    Bind {
        /// Which zone.
        zone: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// Listens. Bound before the process says that it is ready.
pub async fn bind(zone: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { zone, address, source })
}

/// One listener with what stands behind it.
#[derive(Clone)]
pub struct Door {
    /// The zone's name, for logs and metrics.
    pub zone: &'static str,
    /// Requests under work in the zone.
    requests: Arc<Semaphore>,
    /// Prefix of request ids: differs at every start.
    boot: Arc<str>,
    place: Place<Router>,
}

/// Requests since the start, over all zones.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

impl Door {
    /// A door of `zone` with [`REQUESTS_MAX`] requests at once.
    pub fn new(zone: &'static str, boot: Arc<str>, service: Service<Router>) -> Door {
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        Door { zone, requests, boot, place: Place::new(service) }
    }

    /// Another listener of the same zone, which shares its requests.
    pub fn beside(&self, service: Service<Router>) -> Door {
        Door { place: Place::new(service), ..self.clone() }
    }

    /// From now on: new connections by the new allow-list and certificate, new requests of any
    /// connection by the new router. What is under work ends as it began.
    pub fn replace(&self, service: Service<Router>) {
        self.place.replace(service);
    }

    /// Accepts until `stop`, then lets what is open end within [`DRAIN_MS`].
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let open = TaskTracker::new();
        loop {
            let permit = Arc::clone(&connections).acquire_owned();
            let permit = tokio::select! {
                permit = permit => permit.expect("the semaphore is never closed"),
                () = stop.cancelled() => break,
            };
            let Some((stream, peer, service)) =
                self.place.accept(self.zone, &listener, &stop).await
            else {
                break;
            };
            let (door, stop) = (self.clone(), stop.clone());
            open.spawn(async move {
                door.connection(stream, Peer(peer), service.tls.clone(), stop).await;
                drop(permit);
            });
        }
        drop(listener);
        open.close();
        let drained = tokio::time::timeout(Duration::from_millis(DRAIN_MS), open.wait()).await;
        if drained.is_err() {
            log::warn!(zone = self.zone; "requests were still open after {DRAIN_MS} ms");
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        peer: Peer,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        match tls {
            None => {
                let (stream, files) = ZeroCopy::new(stream);
                self.speak(stream, peer, Scheme::HTTP, Some(files), stop).await;
            }
            Some(tls) => {
                let handshake = tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await;
                match handshake {
                    Ok(Ok(stream)) => self.speak(stream, peer, Scheme::HTTPS, None, stop).await,
                    Ok(Err(error)) => log::debug!(zone = self.zone; "TLS handshake: {error}"),
                    Err(_) => log::debug!(zone = self.zone; "TLS handshake took too long"),
                }
            }
        }
    }

    async fn speak<S>(
        self,
        stream: S,
        peer: Peer,
        scheme: Scheme,
        files: Option<Files>,
        stop: CancellationToken,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(HEAD_WAIT_MS));
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128);
        let begun = CancellationToken::new();
        let asked = begun.clone();
        let zone = self.zone;
        let service =
            hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
                asked.cancel();
                let door = self.clone();
                request.extensions_mut().insert(scheme.clone());
                if let Some(files) = &files {
                    request.extensions_mut().insert(files.clone());
                }
                async move { Ok::<_, std::convert::Infallible>(door.answer(request, peer).await) }
            });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // Asked to shut down before it has read anything, hyper closes a connection whose first
        // request is on its way.
        let drained = async {
            stop.cancelled().await;
            let wait = Duration::from_millis(DRAIN_FIRST_MS);
            let _ = tokio::time::timeout(wait, begun.cancelled()).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drained => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            log::debug!(zone; "connection: {error}");
        }
    }

    async fn answer(self, request: Request<hyper::body::Incoming>, peer: Peer) -> Response<Body> {
        let Ok(_permit) = self.requests.try_acquire() else {
            metrics::counter!("requests_overload_total", "zone" => self.zone).increment(1);
            return reply::bare(StatusCode::SERVICE_UNAVAILABLE);
        };
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let id: Arc<str> = format!("{}-{number}", self.boot).into();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(RequestId(Arc::clone(&id)));
        let router = self.place.service().behind.clone();
        let mut response = match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", value);
        }
        response
    }
}
