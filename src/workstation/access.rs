//! Whose a request is: the secret in its cookie, and the address that it comes from.

use std::net::IpAddr;

use aws_lc_rs::{digest, rand};
use forepost_cache::Uid;
use http::request::Parts;
use http::{HeaderMap, header};
use ipnet::IpNet;

use super::{Refusal, Workstations};
use crate::http::{Caller, Peer, is_foreign};
use crate::ledger::{Digest, Linked, Session};

/// The cookie that holds a window's secret. It ends with the browser.
pub(super) const WINDOW: &str = "forepost_window";

/// The cookie that holds the secret of one study, which a link opened.
pub(super) const STUDY: &str = "forepost_study";

/// Who reads a study.
pub(super) struct Reader {
    pub(super) session: Session,
    /// By a link: this study and nothing else.
    pub(super) is_linked: bool,
}

/// A code or a secret: 128 random bits in hexadecimal. `None`: the machine has no randomness.
pub(super) fn secret() -> Option<String> {
    let mut random = [0_u8; 16];
    rand::fill(&mut random).ok()?;
    Some(hex::encode(random))
}

/// What is kept of it.
pub(super) fn hashed(secret: &str) -> Digest {
    let mut hash = Digest::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    hash
}

/// The secret that the browser shows in a cookie.
pub(super) fn shown(headers: &HeaderMap, cookie: &str) -> Option<Digest> {
    let cookies = headers.get_all(header::COOKIE);
    let texts = cookies.iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, secret) = pairs.find(|(name, _)| name.trim() == cookie)?;
    Some(hashed(secret.trim()))
}

/// The address of a workstation: the connection's, or what a proxy that is believed says.
pub(super) fn address(parts: &Parts, proxies: &[IpNet]) -> Option<IpAddr> {
    let peer = parts.extensions.get::<Peer>()?.0.to_canonical();
    if !proxies.iter().any(|net| net.contains(&peer)) {
        return Some(peer);
    }
    // Each proxy appends; what stands before the last believed one may be anybody's words.
    let named: Vec<&str> = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .collect();
    for text in named.iter().rev() {
        let named = text.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !proxies.iter().any(|net| net.contains(&named)) {
            return Some(named);
        }
    }
    Some(peer)
}

impl Workstations {
    /// The session of a request that a page of ours made.
    pub(super) async fn session(&self, parts: &Parts) -> Result<Session, Refusal> {
        let window = shown(&parts.headers, WINDOW).ok_or(Refusal::NoSession)?;
        let session = self.ledger.session_of(&window, (self.clock)())?;
        let session = session.ok_or(Refusal::NoSession)?;
        self.own(parts, &session).await?;
        Ok(session)
    }

    /// Refuses, and keeps, what another site's page asks in the name of a session.
    async fn own(&self, parts: &Parts, session: &Session) -> Result<(), Refusal> {
        if !is_foreign(parts) {
            return Ok(());
        }
        metrics::counter!("workstation_refused_total", "why" => "foreign").increment(1);
        let address = String::new();
        let now = (self.clock)();
        self.ledger.note_refused("asked by another site", Some(session), address, now).await?;
        Err(Refusal::Foreign)
    }

    /// Who asks for one study: the window's session, else who opened a link to this very study.
    pub(super) async fn reader(
        &self,
        parts: &Parts,
        notice: i64,
        study: &Uid,
    ) -> Result<Reader, Refusal> {
        match self.session(parts).await {
            Ok(session) => return Ok(Reader { session, is_linked: false }),
            Err(Refusal::NoSession) => {}
            Err(refusal) => return Err(refusal),
        }
        let window = shown(&parts.headers, STUDY).ok_or(Refusal::NoSession)?;
        let linked = self.ledger.study_linked(&window, (self.clock)())?;
        let this = |linked: &Linked| linked.notice == notice && linked.study == study.as_str();
        let linked = linked.filter(this).ok_or(Refusal::NoSession)?;
        self.own(parts, &linked.session).await?;
        Ok(Reader { session: linked.session, is_linked: true })
    }

    /// The address that a link must be opened from to be the doctor's; `None` for a program that
    /// may see every image anyway, a viewer's server.
    pub(super) fn link_address(&self, parts: &Parts) -> Option<String> {
        let peer = parts.extensions.get::<Peer>().copied();
        // By its token: an address may be a workstation's as well.
        let viewer = |caller: &Caller| caller.images && caller.token.is_some();
        if peer.is_some_and(|peer| self.callers.identify(peer, &parts.headers, viewer).is_some()) {
            return None;
        }
        let address = address(parts, &self.options.proxies);
        Some(address.map(|one| one.to_string()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(peer: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(Peer(peer.parse().unwrap()));
        parts
    }

    #[test]
    fn only_a_proxy_that_is_believed_says_where_a_workstation_is() {
        let proxies = ["10.0.0.1/32".parse().unwrap(), "10.0.0.2/32".parse().unwrap()];
        let named = "X-Forwarded-For";
        for (peer, header, expected) in [
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
            ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
            ("10.0.0.1", "203.0.113.9, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ] {
            let got = address(&parts(peer, &[(named, header)]), &proxies).unwrap();
            assert_eq!(got.to_string(), expected, "{peer} {header}");
        }
        assert_eq!(address(&parts("10.0.0.1", &[(named, "nonsense")]), &proxies), None);
        let bare = address(&parts("10.0.0.1", &[]), &proxies).unwrap();
        assert_eq!(bare.to_string(), "10.0.0.1");
    }

    #[test]
    fn the_secret_is_found_among_other_cookies() {
        let found = |text: &str| shown(&parts("192.0.2.1", &[("Cookie", text)]).headers, WINDOW);
        assert_eq!(found("a=b; forepost_window=cafe; c=d"), Some(hashed("cafe")));
        assert_eq!(found("forepost=1; other_forepost_window=cafe"), None);
        assert_ne!(secret(), secret());
    }
}
