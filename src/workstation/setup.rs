//! What a workstation is given so that the HIS's command line or `WYHT://` logs a doctor in, and
//! what a HIS vendor pastes.
//!
//! The launcher does it where a program of ours may be put. Where none may, the files for `WYHT://`
//! have the browser make the login call, so that its own connection tells the address; the MAC then
//! stays unknown.

use axum::body::Body;
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, header};

use super::html::{self, Language};
use super::launcher::{self, LINUX_PATH, WINDOWS_PATH};
use super::respond;
use crate::http::{bare, escaped, host};

/// Where the scheme is registered on Windows.
const KEY: &str = "HKEY_CURRENT_USER\\Software\\Classes\\WYHT";

/// A login as the document's templates are filled, for a page.
const FIELDS: &str = "hisUserId=1001&amp;type=1&amp;doctorName=$E6$9D$8E$E5$8C$BB$E7$94$9F&amp;\
                      department=$E5$86$85$E7$A7$91&amp;departmentCode=101&amp;doctorType=1&amp;\
                      doctorCode=D110199000001&amp;hospitalId=H1";

/// The address by which the workstation reached us; `None` when the host names none that could
/// stand in a file.
pub(super) fn own_address(parts: &Parts) -> Option<String> {
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
    let title = say("医生工作站接入", "Setting up a workstation");
    let two = say("方案二：网页拉起", "Variant 2: URL scheme");
    let three = say("方案三：HTTP 调用", "Variant 3: HTTP");
    let call = say("从医生工作站调用：", "Called from the doctor's workstation:");
    let out = say(
        "退出时 type=2。其余接口：查看患者 3.2，开检查 3.3；clientIp 填工作站地址。",
        "Logging out: type=2. Then call 3.2 and 3.3; clientIp is the workstation's address.",
    );
    let bare_title = say("不能安装程序的工作站", "Where no program may be put");
    let bare_text = say(
        "导入以下文件之一，方案二即由浏览器完成；MAC 未知，除非 HIS 在参数中加 mac=。",
        "One of these files has the browser do variant 2; the MAC stays unknown unless the HIS \
         adds mac= to the login.",
    );
    let launchers = launchers(language);
    let body = format!(
        "<header><h1>{title}</h1></header><main>{launchers}\
         <h2>{two}</h2><pre>WYHT://{FIELDS}</pre>\
         <h2>{three}</h2><p>{call}</p><pre>{own}/hrball/?{FIELDS}</pre><p>{out}</p>\
         <h2>{bare_title}</h2><p>{bare_text} \
         <a href=\"/workstation/setup.reg\">Windows (.reg)</a> · \
         <a href=\"/workstation/setup.desktop\">Linux (.desktop)</a></p></main>"
    );
    respond("text/html;charset=UTF-8", html::page(language, title, &body))
}

/// What to download, what it does to the workstation, and the command line that it takes.
fn launchers(language: Language) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let title = say("登录程序", "The launcher");
    let offered = launcher::offered();
    if offered.is_empty() {
        let none = say(
            "此版本不含登录程序：方案一不可用，方案二请使用页末的文件。",
            "This build has no launcher: variant 1 does not work, variant 2 by the files below.",
        );
        return format!("<h2>{title}</h2><p>{none}</p>");
    }
    let once = say(
        "每台工作站、每个用户运行一次，不需要管理员权限。文件中已写入前置机地址，请从本页下载：",
        "Run it once for each user of a workstation, without administrator rights. It has this \
         address in it: download it from this page.",
    );
    let links: Vec<String> = offered
        .iter()
        .map(|(name, system)| {
            format!("<a href=\"/workstation/setup/{name}\">{name} ({system})</a>")
        })
        .collect();
    let links = links.join(" · ");
    let (path, key, linux, options) = (
        say("安装路径", "Install path"),
        say("注册表项", "Registry key"),
        say("Linux 下载后运行", "On Linux, after the download"),
        say(
            "静默安装：--quiet。卸载：--uninstall 或 --uninstall --quiet。",
            "Without a message: --quiet. To remove it: --uninstall, or --uninstall --quiet.",
        ),
    );
    let does = say(
        "登录时打开默认浏览器，其连接告知工作站地址，程序附加 MAC。退出（type=2）不打开窗口。",
        "A login opens the default browser, whose connection tells the workstation's address; the \
         launcher adds the MAC. A logout (type=2) opens no window.",
    );
    let one = say("方案一：命令行", "Variant 1: command line");
    let expand = say(
        "HIS 启动进程前须展开路径中的变量；参数作为一个整体放在引号内。",
        "The HIS expands the variable of the path before it starts the process; the argument is \
         one, in quotes.",
    );
    format!(
        "<h2>{title}</h2><p>{once}</p><p>{links}</p>\
         <p>{path}:</p><pre>{WINDOWS_PATH}\n{LINUX_PATH}</pre><p>{key}:</p><pre>{KEY}</pre>\
         <p>{linux}:</p><pre>chmod +x forepost-launcher &amp;&amp; ./forepost-launcher</pre>\
         <p>{options}</p><p>{does}</p>\
         <h2>{one}</h2><p>{expand}</p><pre>\"{WINDOWS_PATH}\" \"{FIELDS}\"</pre>\
         <pre>\"{LINUX_PATH}\" \"{FIELDS}\"</pre>"
    )
}

/// Registers the scheme for the user, under `HKEY_CURRENT_USER`. The browser is started with the
/// login's address.
pub(super) async fn windows(request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let Some(own) = own_address(&parts) else { return bare(StatusCode::BAD_REQUEST) };
    let command = format!("rundll32.exe url.dll,FileProtocolHandler {own}/hrball/?%1");
    let text = format!(
        "Windows Registry Editor Version 5.00\r\n\r\n[{KEY}]\r\n@=\"URL:WYHT\"\r\n\
         \"URL Protocol\"=\"\"\r\n\r\n[{KEY}\\shell\\open\\command]\r\n@=\"{command}\"\r\n"
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

/// A file to keep.
pub(super) fn file(name: &str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = respond("application/octet-stream", bytes);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
