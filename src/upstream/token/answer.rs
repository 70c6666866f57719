//! What `getToken` answers, in the shapes that the document gives it.

use http::StatusCode;
use http::header::HeaderValue;
use serde_json::Value;

use crate::codec::json::{self, Limits};
use crate::fault::Fault;
use crate::upstream::limits::{TOKEN_ANSWER_BYTES_MAX, TOKEN_CHARACTERS_MAX};

/// The bounds of an answer: a handful of values.
const LIMITS: Limits =
    Limits { bytes_max: TOKEN_ANSWER_BYTES_MAX, depth_max: 16, nodes_max: 1_000 };

/// The token of an answer. 3.2.2.5 shows `result` as an object, 3.2.2.2 as an array; in prose the
/// whole lies under `content`.
pub(super) fn token(body: &[u8]) -> Result<HeaderValue, Fault> {
    let read = json::parse(body, None, LIMITS);
    let value = read.map_err(|fault| Fault::peer("no json", fault.to_string()))?.value;
    if let Some(code) = body_code(&value).filter(|code| !matches!(code, 0 | 200)) {
        return Err(Fault::peer("token refused", format!("code {code} in the body")));
    }
    let found = [&value, &value["content"]].into_iter().find_map(|level| {
        let places = [&level["result"], &level["result"][0], &level["data"], level];
        places.into_iter().find_map(|place| match place {
            Value::String(text) => Some(text.as_str()),
            place => place["token"].as_str(),
        })
    });
    let text = found.map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Fault::peer("no token", "the answer holds no token"))?;
    if text.len() > TOKEN_CHARACTERS_MAX {
        let words = format!("a token of {} characters", text.len());
        return Err(Fault::peer("no token", words));
    }
    let mut token = HeaderValue::from_str(text)
        .map_err(|_| Fault::peer("no token", "the token cannot stand in a header"))?;
    token.set_sensitive(true);
    Ok(token)
}

/// The code by which a body says how it went: `code` or `status`, as a number or a text, at the top
/// or under `content`. 0 and 200 are success.
pub fn body_code(body: &Value) -> Option<i64> {
    [body, &body["content"]].into_iter().find_map(|level| {
        ["code", "status"].into_iter().find_map(|name| match &level[name] {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    })
}

/// Whether an answer refuses the caller's credentials: HTTP 401, or 401 in its body.
pub fn says_unauthorized(status: StatusCode, body: &Value) -> bool {
    status == StatusCode::UNAUTHORIZED || body_code(body) == Some(401)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_found_in_every_shape_of_the_document() {
        for body in [
            json!({"status": 0, "message": "ok", "result": {"token": "t-1"}}),
            json!({"status": "0", "result": [{"token": "t-1"}]}),
            json!({"code": 200, "data": {"token": " t-1 "}}),
            json!({"code": "200", "result": "t-1"}),
            json!({"content": {"status": 0, "result": {"token": "t-1"}}}),
            json!({"content": {"status": 0, "result": [{"token": "t-1"}]}}),
            json!({"code": 0, "token": "t-1"}),
            json!({"token": "t-1"}),
        ] {
            let token = token(body.to_string().as_bytes()).unwrap();
            assert_eq!(token, "t-1", "{body}");
            assert!(token.is_sensitive());
        }
    }

    #[test]
    fn the_body_decides_and_what_is_no_token_is_none() {
        let step = |body: Value| token(body.to_string().as_bytes()).unwrap_err().step;
        for (body, expected) in [
            (json!({"status": 1, "result": {"token": "t"}}), "token refused"),
            (json!({"code": "999", "token": "t"}), "token refused"),
            (json!({"content": {"status": 500}, "token": "t"}), "token refused"),
            (json!({"code": 0}), "no token"),
            (json!({"code": 0, "result": {"token": ""}}), "no token"),
            (json!({"code": 0, "result": {"token": 7}}), "no token"),
            (json!({"code": 0, "token": "a\nb"}), "no token"),
            (json!({"code": 0, "token": "a".repeat(TOKEN_CHARACTERS_MAX + 1)}), "no token"),
            (json!([]), "no token"),
        ] {
            assert_eq!(step(body.clone()), expected, "{body}");
        }
        assert_eq!(token(b"<html>").unwrap_err().step, "no json");
        assert_eq!(token(b"").unwrap_err().step, "no json");
    }

    #[test]
    fn a_refusal_is_read_from_status_and_body() {
        let (ok, no) = (StatusCode::OK, StatusCode::UNAUTHORIZED);
        assert!(says_unauthorized(no, &Value::Null));
        assert!(says_unauthorized(ok, &json!({"code": "401"})));
        assert!(says_unauthorized(ok, &json!({"content": {"status": 401}})));
        assert!(!says_unauthorized(ok, &json!({"code": 200})));
        assert!(!says_unauthorized(StatusCode::FORBIDDEN, &Value::Null));
    }

    proptest! {
        #[test]
        fn random_answers_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = token(&body);
        }
    }
}
