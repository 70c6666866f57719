//! The one way from a page to an answer, and the files of the pages: the application of `web/`,
//! and the scripts and the style of the pages without it.
//!
//! A page is written whole as HTML, with the same as JSON beside it. `start.js` leaves it as it is
//! in an old browser; in a newer one it starts the application, which reads the JSON and from then
//! on asks for JSON only. The two know the same addresses.

use axum::body::Body;
use axum::extract::Path;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use include_dir::{Dir, File, include_dir};
use serde_json::Value;

use super::content::{self, Content};
use super::html::{self, Language, data};
use super::{Options, Refusal, access, plain, respond};
use crate::http::{POLICY, bare};
use crate::ledger::LedgerError;

/// What `make web` built; nothing in a build without it.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/target/web");

/// Files of pages without the application.
static PLAIN: [(&str, &str); 4] = [
    ("start.js", include_str!("start.js")),
    ("window.js", include_str!("window.js")),
    ("patient.js", include_str!("patient.js")),
    ("window.css", include_str!("window.css")),
];

pub(super) const JSON: &str = "application/json;charset=UTF-8";
const HTML: &str = "text/html;charset=UTF-8";

/// Whether the application asks, or a program, and not a browser for a page.
fn wants_json(parts: &Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

/// The answer to a request for a page.
pub(super) fn answer(
    options: &Options,
    page: Result<Content, Refusal>,
    parts: &Parts,
) -> Response<Body> {
    let language = Language::of(&parts.headers);
    let (status, content) = match page {
        Ok(content) => (StatusCode::OK, content),
        Err(refusal) => {
            told(&refusal);
            (refusal.status(), content::refused(language, &refusal))
        }
    };
    let mut said = serde_json::to_value(&content).unwrap_or_default();
    said["language"] = language.tag().into();
    said["idleSeconds"] = options.idle_seconds.into();
    let mut response = if wants_json(parts) {
        respond(JSON, said.to_string())
    } else {
        page_of(language, &content, &said)
    };
    *response.status_mut() = status;
    response
}

fn told(refusal: &Refusal) {
    match refusal {
        Refusal::Ledger(LedgerError::Closed) => log::debug!("a page while stopping"),
        Refusal::Ledger(_) | Refusal::Panicked => log::error!("a page is not shown: {refusal}"),
        Refusal::NoSession
        | Refusal::NotOpened
        | Refusal::Glass(_)
        | Refusal::Link
        | Refusal::Foreign
        | Refusal::Broken => log::debug!("a page is refused: {refusal}"),
    }
}

/// The page as HTML. The application makes its styles as it goes, under the page's nonce
/// (Content Security Policy Level 3, 2.3.1).
fn page_of(language: Language, content: &Content, said: &Value) -> Response<Body> {
    let page = plain::page(language, content);
    let built = |ending: &str| {
        let name = |file: &File<'_>| file.path().to_str().unwrap_or_default().to_owned();
        let mut names = FILES.files().map(name);
        let main = names.find(|name| name.starts_with("main-") && name.ends_with(ending));
        main.map_or_else(String::new, |name| format!("/workstation/app/{name}"))
    };
    let (body, seconds) = (&page.body, &said["idleSeconds"]);
    let (app, style) = (built(".js"), built(".css"));
    let nonce = access::secret().unwrap_or_default();
    let script = page.script.unwrap_or_default();
    let body = format!(
        "{body}<script type=\"application/json\" id=\"content\">{}</script>\
         <script src=\"/workstation/start.js\" nonce=\"{nonce}\" data-app=\"{app}\" \
         data-style=\"{style}\" data-plain=\"{script}\" data-seconds=\"{seconds}\"></script>",
        data(said)
    );
    let mut response = respond(HTML, html::page(language, &page.title, &body));
    let policy = format!("{POLICY} 'nonce-{nonce}'");
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A file of the pages without the application.
pub(super) async fn plain_file(request: Request<Body>) -> Response<Body> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    match PLAIN.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => respond(media(name), *text),
        None => bare(StatusCode::NOT_FOUND),
    }
}

/// A file of the application. Its name changes with its content, and nothing in it is anybody's, so
/// browsers may keep it.
pub(super) async fn file(Path(name): Path<String>) -> Response<Body> {
    let Some(file) = FILES.get_file(&name) else { return bare(StatusCode::NOT_FOUND) };
    let mut response = respond(media(&name), file.contents());
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, keep);
    response
}

fn media(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript;charset=UTF-8",
        Some("css") => "text/css;charset=UTF-8",
        // The licences of what is built in.
        Some("md") => "text/plain;charset=UTF-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_of_a_kind_that_browsers_take() {
        for file in FILES.files() {
            let name = file.path().to_str().unwrap();
            assert_ne!(media(name), "application/octet-stream", "{name}");
        }
    }
}
