//! Who calls: by address, and by token where one is configured.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// The number of a request, the same in log line, answer header and metric exemplar.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Somebody who may call the hospital zone or the cloud zone.
#[derive(Clone)]
pub struct Caller {
    /// For logs and audit.
    pub name: String,
    /// Where it calls from; empty means anywhere.
    pub addresses: Vec<IpNet>,
    /// What it must show, if anything.
    pub token: Option<SecretString>,
    /// Whether it may push records.
    pub push: bool,
    /// Whether it may search and read images.
    pub images: bool,
    /// Whether a study that it opens and nobody registered is asked of the sources.
    pub ask_sources: bool,
    /// Whether it may put images here.
    pub store: bool,
    /// Whether it may log doctors in.
    pub logins: bool,
    /// Whether it may read dictionaries, in the cloud zone.
    pub dictionaries: bool,
    /// The hospitals of which it may read; empty means all.
    pub hospitals: Vec<String>,
    /// The code of a success, where it is not the document's.
    pub success_code: Option<i32>,
    /// Whether the body's code is mirrored into the HTTP status.
    pub mirror_status: bool,
}

/// The configured callers.
#[derive(Clone)]
pub struct Callers(Arc<Vec<Caller>>);

impl Callers {
    /// Takes them in the order of the configuration.
    pub fn new(callers: Vec<Caller>) -> Callers {
        Callers(Arc::new(callers))
    }

    /// The first caller that fits the address and shows the token, and for whom `may` holds. The
    /// token is read from `Authorization: Bearer …`, else from `token: …`, which is what the
    /// platforms of the five documents use.
    pub fn identify(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        may: impl Fn(&Caller) -> bool,
    ) -> Option<&Caller> {
        let shown = shown_token(headers);
        self.0.iter().filter(|caller| may(caller)).find(|caller| {
            let near = caller.addresses.is_empty()
                || caller.addresses.iter().any(|net| net.contains(&peer.0));
            near && match &caller.token {
                None => true,
                Some(token) => shown.is_some_and(|shown| same(shown, token.expose_secret())),
            }
        })
    }
}

fn shown_token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer.or_else(|| headers.get("token")?.to_str().ok().map(str::trim))
}

/// Compared without an early end, so that the time does not tell how much was right.
fn same(shown: &str, token: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_bytes(), token.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str, net: &str, token: Option<&str>) -> Caller {
        Caller {
            name: name.into(),
            addresses: vec![net.parse().unwrap()],
            token: token.map(SecretString::from),
            push: true,
            images: false,
            ask_sources: false,
            store: false,
            logins: false,
            dictionaries: false,
            hospitals: Vec::new(),
            success_code: None,
            mirror_status: false,
        }
    }

    #[test]
    fn address_and_token_are_both_needed_where_both_are_configured() {
        let callers = Callers::new(vec![
            caller("his", "10.0.0.0/8", Some("s3cret")),
            caller("lab", "10.1.0.0/16", None),
        ]);
        let inside = Peer("10.2.0.1".parse().unwrap());
        let name = |peer, headers: &HeaderMap| {
            callers.identify(peer, headers, |one| one.push).map(|one| one.name.clone())
        };
        let mut headers = HeaderMap::new();
        assert_eq!(name(inside, &headers), None);
        headers.insert("token", "wrong".parse().unwrap());
        assert_eq!(name(inside, &headers), None);
        headers.insert("authorization", "Bearer s3cret".parse().unwrap());
        assert_eq!(name(inside, &headers).as_deref(), Some("his"));
        let outside = Peer("192.0.2.1".parse().unwrap());
        assert_eq!(name(outside, &headers), None);
        let lab = Peer("10.1.0.9".parse().unwrap());
        assert_eq!(name(lab, &HeaderMap::new()).as_deref(), Some("lab"));
        assert!(callers.identify(lab, &headers, |one| one.images).is_none());
    }
}
