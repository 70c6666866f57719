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
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use ipnet::IpNet;
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
use crate::limits::{CONNECTIONS_MAX, DRAIN_MS, HEAD_WAIT_MS, REQUESTS_MAX};

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
    /// TLS, where the listener speaks it.
    pub tls: Option<TlsAcceptor>,
    /// Addresses that may connect; empty means all.
    pub allow: Vec<IpNet>,
    /// What answers.
    pub router: Router,
    /// Requests under work in the zone.
    pub requests: Arc<Semaphore>,
    /// Prefix of request ids: differs at every start.
    pub boot: Arc<str>,
}

/// Requests since the start, over all zones.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

impl Door {
    /// A door of `zone` with [`REQUESTS_MAX`] requests at once.
    pub fn new(zone: &'static str, router: Router, allow: Vec<IpNet>, boot: Arc<str>) -> Door {
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        Door { zone, tls: None, allow, router, requests, boot }
    }

    /// Accepts until `stop`, then lets what is open end within [`DRAIN_MS`].
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        let open = TaskTracker::new();
        loop {
            let permit = Arc::clone(&connections).acquire_owned();
            let permit = tokio::select! {
                permit = permit => permit.expect("the semaphore is never closed"),
                () = stop.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer left: a pause keeps this from spinning.
                    log::warn!(zone = self.zone; "accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !self.allow.is_empty() && !self.allow.iter().any(|net| net.contains(&address.ip())) {
                metrics::counter!("connections_refused_total", "zone" => self.zone).increment(1);
                continue;
            }
            let (door, watcher) = (self.clone(), graceful.watcher());
            open.spawn(async move {
                door.connection(stream, address, watcher).await;
                drop(permit);
            });
        }
        drop(listener);
        open.close();
        let drained = async {
            graceful.shutdown().await;
            open.wait().await;
        };
        if tokio::time::timeout(Duration::from_millis(DRAIN_MS), drained).await.is_err() {
            log::warn!(zone = self.zone; "requests were still open after {DRAIN_MS} ms");
        }
    }

    async fn connection(self, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        let _ = stream.set_nodelay(true);
        let peer = Peer(address.ip());
        match self.tls.clone() {
            None => {
                let (stream, files) = ZeroCopy::new(stream);
                self.speak(stream, peer, Some(files), watcher).await;
            }
            Some(tls) => {
                let handshake = tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await;
                match handshake {
                    Ok(Ok(stream)) => self.speak(stream, peer, None, watcher).await,
                    Ok(Err(error)) => log::debug!(zone = self.zone; "TLS handshake: {error}"),
                    Err(_) => log::debug!(zone = self.zone; "TLS handshake took too long"),
                }
            }
        }
    }

    async fn speak<S>(self, stream: S, peer: Peer, files: Option<Files>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(HEAD_WAIT_MS));
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128);
        let service =
            hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let door = self.clone();
                let scheme = if door.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
                request.extensions_mut().insert(scheme);
                if let Some(files) = &files {
                    request.extensions_mut().insert(files.clone());
                }
                async move { Ok::<_, std::convert::Infallible>(door.answer(request, peer).await) }
            });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            log::debug!("connection: {error}");
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
        let mut response = match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", value);
        }
        response
    }
}
