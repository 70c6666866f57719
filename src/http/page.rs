//! What the pages of several doors share: text that stays text, headers that keep a page to
//! itself, forms, and whether it is a page of ours that asks.

use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::reply::bare;
use super::request::{host, read_body};

/// What a page may do (Content Security Policy Level 3); a page that makes styles adds its nonce.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
     worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
     style-src 'self'";

/// Bytes of a form: a reason in percent signs, and a button.
const FORM_BYTES_MAX: usize = 8_192;

/// Text that stands in an element or in a quoted attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// What every answer to a browser carries: nothing is kept, nothing is loaded from elsewhere,
/// nobody frames it.
pub fn guarded(mut response: Response<Body>) -> Response<Body> {
    const HEADERS: [(header::HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`, under which browsers call their own pages' forms of origin `null`.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// 303 to an address of ours.
pub fn see(address: &str) -> Response<Body> {
    let mut response = bare(StatusCode::SEE_OTHER);
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    guarded(response)
}

/// What a form says, by its names; at most [`FORM_BYTES_MAX`], within the time that a body has.
/// `None`: it is longer, or broke off.
pub async fn read_form(body: Body) -> Option<Vec<(String, String)>> {
    let body = read_body(body, FORM_BYTES_MAX).await.ok()?;
    Some(form_urlencoded::parse(&body).into_owned().collect())
}

/// Whether the browser says that another site's page made the request.
pub fn is_foreign(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site.is_some_and(|site| site != "same-origin" && site != "none") || names_other(parts)
}

/// Whether the request names another origin than the host that it is sent to.
fn names_other(parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return false };
    let named = origin.to_str().ok().and_then(|text| text.split_once("://"));
    named.map(|(_, host)| host) != host(parts)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_foreign_with(header: &str, value: &str) -> bool {
        let request = Request::builder().header("Host", "front:8080").header(header, value);
        is_foreign(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn another_origin_is_told() {
        for (origin, expected) in [
            ("http://front:8080", false),
            ("https://front:8080", false),
            ("http://front", true),
            ("http://evil.example", true),
            ("null", true),
        ] {
            assert_eq!(is_foreign_with("Origin", origin), expected, "{origin}");
        }
        for (site, expected) in
            [("same-origin", false), ("none", false), ("same-site", true), ("cross-site", true)]
        {
            assert_eq!(is_foreign_with("Sec-Fetch-Site", site), expected, "{site}");
        }
        assert!(!is_foreign_with("Accept", "text/html"));
    }

    #[test]
    fn what_a_peer_wrote_is_text() {
        assert_eq!(
            escaped("<b a='1' b=\"2\">&\n"),
            "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp; "
        );
    }
}
