//! What a workstation is given so that `WYHT://` logs a doctor in, and what a HIS vendor pastes.
//!
//! Without a program of ours on the workstation the browser makes the login call, so that its own
//! connection tells the address; the MAC stays unknown.

use axum::body::Body;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, header};

use super::html::{self, Language, escaped};
use super::respond;
use crate::http::{bare, host};

/// The address by which the workstation reached us; `None` when the host names none that could
/// stand in a file.
fn own_address(parts: &Parts) -> Option<String> {
    let host = host(parts)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    let scheme = parts.extensions.get::<Scheme>().map_or("http", Scheme::as_str);
    Some(format!("{scheme}://{host}"))
}

/// The page for hospital IT and for the HIS's vendor.
pub(super) async fn page(request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let language = Language::of(&parts.headers);
    let say = |chinese, english| language.say(chinese, english);
    let Some(own) = own_address(&parts) else { return bare(StatusCode::BAD_REQUEST) };
    let own = escaped(&own);
    let fields = "hisUserId=1001&amp;type=1&amp;doctorName=$E6$9D$8E$E5$8C$BB$E7$94$9F&amp;\
                  department=$E5$86$85$E7$A7$91&amp;departmentCode=101&amp;doctorType=1&amp;\
                  doctorCode=D110199000001&amp;hospitalId=H1";
    let title = say("医生工作站接入", "Setting up a workstation");
    let call = say("浏览器或程序调用（方案三）", "By HTTP, from the workstation");
    let scheme = say("网页拉起（方案二）", "By URL scheme");
    let once = say(
        "每台工作站、每个用户导入一次，不需要管理员权限：",
        "Once for each user of a workstation, without administrator rights:",
    );
    let out = say(
        "退出时 type=2。其余接口：查看患者 3.2，开检查 3.3；clientIp 填工作站地址。",
        "Logging out: type=2. Then call 3.2 and 3.3; clientIp is the workstation's address.",
    );
    let body = format!(
        "<header><h1>{title}</h1></header><main><h2>{call}</h2><pre>{own}/hrball/?{fields}</pre>\
         <h2>{scheme}</h2><p>{once} <a href=\"/workstation/setup.reg\">Windows (.reg)</a> · \
         <a href=\"/workstation/setup.desktop\">Linux (.desktop)</a></p>\
         <pre>WYHT://{fields}</pre><p>{out}</p></main>"
    );
    respond("text/html;charset=UTF-8", html::page(language, title, &body))
}

/// Registers the scheme for the user, under `HKEY_CURRENT_USER`. The browser is started with the
/// login's address.
pub(super) async fn windows(request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let Some(own) = own_address(&parts) else { return bare(StatusCode::BAD_REQUEST) };
    let key = "HKEY_CURRENT_USER\\Software\\Classes\\WYHT";
    let command = format!("rundll32.exe url.dll,FileProtocolHandler {own}/hrball/?%1");
    let text = format!(
        "Windows Registry Editor Version 5.00\r\n\r\n[{key}]\r\n@=\"URL:WYHT\"\r\n\
         \"URL Protocol\"=\"\"\r\n\r\n[{key}\\shell\\open\\command]\r\n@=\"{command}\"\r\n"
    );
    file("forepost.reg", text)
}

/// The same for desktops of freedesktop.org: into `~/.local/share/applications`, then
/// `xdg-mime default forepost.desktop x-scheme-handler/wyht`.
pub(super) async fn linux(request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let Some(own) = own_address(&parts) else { return bare(StatusCode::BAD_REQUEST) };
    let text = format!(
        "[Desktop Entry]\nType=Application\nName=Forepost\nNoDisplay=true\n\
         MimeType=x-scheme-handler/wyht;\n\
         Exec=sh -c \"exec xdg-open \\\\\"{own}/hrball/?\\\\$1\\\\\"\" forepost %u\n"
    );
    file("forepost.desktop", text)
}

fn file(name: &str, text: String) -> Response<Body> {
    let mut response = respond("application/octet-stream", text);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
