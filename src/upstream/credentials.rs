//! How a call shows who makes it: fixed headers, user and password, or a token that is renewed. A
//! client certificate is a matter of the connection ([`super::peer::tls`]) and goes with any.
//!
//! Always holds: values are marked sensitive, so that no library prints them. Start at
//! [`Credentials::put`].

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::options::OptionsError;
use super::peer;
use super::token::{Token, TokenKeeper};
use crate::fault::Fault;
use crate::model::Time;

/// What a call shows.
pub enum Credentials {
    /// The same headers every time; none of them is nothing.
    Headers(HeaderMap),
    /// A token in the header of that name. Calls to one platform share its keeper.
    Token(HeaderName, Arc<TokenKeeper>),
}

impl Credentials {
    /// These headers.
    pub fn headers(pairs: &[(String, SecretString)]) -> Result<Credentials, OptionsError> {
        Ok(Credentials::Headers(peer::headers(pairs)?))
    }

    /// User and password (RFC 7617, as UTF-8). A user with a colon cannot be told from its password
    /// and is refused.
    pub fn basic(user: &str, password: &SecretString) -> Result<Credentials, OptionsError> {
        let refused = || OptionsError::Header { name: "authorization".to_owned() };
        let pair = format!("{user}:{}", password.expose_secret());
        if user.contains(':') || pair.contains(char::is_control) {
            return Err(refused());
        }
        let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&value).map_err(|_| refused())?;
        value.set_sensitive(true);
        Ok(Credentials::Headers(HeaderMap::from_iter([(header::AUTHORIZATION, value)])))
    }

    /// The keeper's token in the header called `name`; the document says `token`.
    pub fn token(name: &str, keeper: Arc<TokenKeeper>) -> Result<Credentials, OptionsError> {
        let header = HeaderName::try_from(name);
        let header = header.map_err(|_| OptionsError::Header { name: name.to_owned() })?;
        Ok(Credentials::Token(header, keeper))
    }

    /// Puts them into the head of a call. The token that was put is for [`Credentials::refused`].
    pub async fn put(&self, head: &mut HeaderMap, now: Time) -> Result<Option<Token>, Fault> {
        match self {
            Credentials::Headers(headers) => {
                head.extend(headers.clone());
                Ok(None)
            }
            Credentials::Token(name, keeper) => {
                let token = keeper.token(now).await?;
                head.insert(name.clone(), token.value().clone());
                Ok(Some(token))
            }
        }
    }

    /// Says that the call was refused for them. Whether another try can help: with a token that was
    /// put, once.
    pub fn refused(&self, put: Option<&Token>) -> bool {
        match (self, put) {
            (Credentials::Token(_, keeper), Some(token)) => {
                keeper.refused(token);
                true
            }
            (Credentials::Token(..), None) | (Credentials::Headers(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn head(credentials: &Credentials) -> HeaderMap {
        let mut head = HeaderMap::new();
        let put = credentials.put(&mut head, Time(0)).await.unwrap();
        assert!(put.is_none() && !credentials.refused(put.as_ref()), "trying again helps nothing");
        head
    }

    #[tokio::test]
    async fn fixed_credentials_stand_in_the_head_and_are_not_printed() {
        let pairs = vec![("X-App".to_owned(), SecretString::from("secret-7"))];
        let headers = Credentials::headers(&pairs).unwrap();
        assert_eq!(head(&headers).await["x-app"], "secret-7");
        // RFC 7617, 2 and 2.1.
        let basic = Credentials::basic("Aladdin", &"open sesame".into()).unwrap();
        let aladdin = head(&basic).await;
        assert_eq!(aladdin["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let basic = Credentials::basic("test", &"123£".into()).unwrap();
        assert_eq!(head(&basic).await["authorization"], "Basic dGVzdDoxMjPCow==");
        assert!(!format!("{aladdin:?}").contains("QWxh"));
        for (user, password) in [("a:b", "c"), ("a", "b\nc")] {
            assert!(Credentials::basic(user, &password.into()).is_err());
        }
    }
}
