//! What every listener does before anybody speaks, whatever is spoken there: it waits for the next
//! peer and closes to those that may not connect, and what stands behind it can be replaced while
//! it listens. Start at [`Place::accept`].

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::limits::ACCEPT_PAUSE_MS;

/// What a listener does with who connects, by the configuration.
#[derive(Clone)]
pub struct Service<B> {
    /// TLS, where the listener speaks it.
    pub tls: Option<TlsAcceptor>,
    /// Addresses that may connect; empty means all.
    pub allow: Vec<IpNet>,
    /// What answers.
    pub behind: B,
}

/// Where a listener has its service; all copies are one place.
#[derive(Clone)]
pub struct Place<B>(Arc<RwLock<Arc<Service<B>>>>);

impl<B> Place<B> {
    /// A place with this service.
    pub fn new(service: Service<B>) -> Place<B> {
        Place(Arc::new(RwLock::new(Arc::new(service))))
    }

    /// From now on this service stands there.
    pub fn replace(&self, service: Service<B>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(service);
    }

    /// The service that stands there now.
    pub fn service(&self) -> Arc<Service<B>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next peer that may connect, by its own address, with the service of that moment.
    /// `None`: it is to stop.
    pub async fn accept(
        &self,
        zone: &'static str,
        listener: &TcpListener,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, IpAddr, Arc<Service<B>>)> {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return None,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer left: a pause keeps this from spinning.
                    log::warn!(zone; "accept: {error}");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    continue;
                }
            };
            // A socket for both families shows a peer of the older one as ::ffff:192.0.2.1.
            let peer = address.ip().to_canonical();
            let service = self.service();
            let allow = &service.allow;
            if allow.is_empty() || allow.iter().any(|net| net.contains(&peer)) {
                return Some((stream, peer, service));
            }
            metrics::counter!("connections_refused_total", "zone" => zone).increment(1);
        }
    }
}
