//! When a token ends that says so itself: a JSON Web Token, whose claims everybody may read
//! (RFC 7519). Nothing of it is verified; whoever takes it does that.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::model::Time;

/// Bytes of a token whose claims are read: what stands in a header is never longer.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// The moment at which the token in a header's value ends (`exp`, 4.1.4), whatever word stands
/// before it; `None` where it tells none.
pub fn end(header: &str) -> Option<Time> {
    let token = header.split_whitespace().last().filter(|text| text.len() <= TOKEN_BYTES_MAX)?;
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.get("exp")?.as_f64()?;
    // A number of milliseconds, which some write, would lie far behind the year 9999.
    (0.0..253_402_300_800.0).contains(&seconds).then_some(Time((seconds * 1_000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_says_when_it_ends_is_read_and_no_other() {
        // The example of RFC 7519, 3.1.
        let example = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                       eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS\
                       9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(end(example), Some(Time(1_300_819_380_000)));
        assert_eq!(end(&format!("Bearer {example}")), Some(Time(1_300_819_380_000)));
        for other in ["", "abc", "a.b", "a.b.c", "a.e30.c", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="] {
            assert_eq!(end(other), None, "{other}");
        }
    }
}
