//! The questions, as data: the dialogue asks them, an answers file is held against them, and
//! `--print-answers` writes them down. Only what has no good default is asked at the terminal; the
//! rest can be said in a file.

use super::words::{Text, text};

/// What an answer must look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A hospital's insurance code.
    Code,
    /// What an entry is called: it becomes part of file names.
    Name,
    /// One line of any content.
    Line,
    /// Yes or no.
    Flag,
    /// One of these.
    One(&'static [Choice]),
    /// Some of these.
    Some(&'static [Choice]),
    /// A TCP port.
    Port,
    /// An address of this machine.
    Ip,
    /// Addresses and networks.
    Nets,
    /// Texts.
    Lines,
    /// Host names and addresses.
    Hosts,
    /// A host, or a host with a port.
    Host,
    /// A host with a port.
    HostPort,
    /// An http or https address.
    Url,
    /// The same with `{study}` in it.
    Viewer,
    /// A DICOM application entity's title.
    Title,
    /// What nobody else may know: it goes into a file of its own.
    Secret,
    /// A file that is there.
    File,
    /// An absolute path.
    Path,
}

/// One of the answers that are allowed.
#[derive(Debug, PartialEq)]
pub struct Choice {
    /// As the file and the configuration write it.
    pub value: &'static str,
    /// What it means.
    pub means: Text,
}

/// What holds when nothing is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standard {
    /// It must be answered.
    Needed,
    /// Nothing.
    Nothing,
    /// This, as it would be typed.
    Is(&'static str),
    /// What the machine and the other answers give.
    Found,
}

/// One question.
#[derive(Debug)]
pub struct Question {
    /// Its key within the section.
    pub key: &'static str,
    /// What an answer looks like.
    pub kind: Kind,
    /// What holds without one.
    pub standard: Standard,
    /// Asked only when another answer of the section is one of these; of none: when there is one.
    pub when: Option<(&'static str, &'static [&'static str])>,
    /// Asked at the terminal, too.
    pub spoken: bool,
    /// The question.
    pub asks: Text,
    /// An answer, for the template.
    pub example: &'static str,
}

/// Questions that belong together.
#[derive(Debug)]
pub struct Section {
    /// Its table in the file.
    pub key: &'static str,
    /// Of a list: the question that tells two entries apart.
    pub identity: Option<&'static str>,
    /// Its heading.
    pub title: Text,
    /// Of a list: asks whether there is one.
    pub first: Text,
    /// Whether that is usual.
    pub usual: bool,
    /// Its questions, in the order in which they are asked.
    pub questions: &'static [Question],
}

impl Section {
    /// The question of that key.
    pub fn question(&self, key: &str) -> Option<&'static Question> {
        self.questions.iter().find(|one| one.key == key)
    }
}

/// The section of that key.
pub fn section(key: &str) -> &'static Section {
    let found = SECTIONS.iter().find(|section| section.key == key);
    found.expect("only sections that are there are asked for")
}

const fn asked(
    key: &'static str,
    kind: Kind,
    standard: Standard,
    example: &'static str,
    asks: Text,
) -> Question {
    Question { key, kind, standard, when: None, spoken: true, asks, example }
}

impl Question {
    const fn when(self, key: &'static str, values: &'static [&'static str]) -> Question {
        Question { when: Some((key, values)), ..self }
    }

    /// Only a file says it.
    const fn unspoken(self) -> Question {
        Question { spoken: false, ..self }
    }
}

const fn choice(value: &'static str, zh: &'static str, en: &'static str) -> Choice {
    Choice { value, means: text(zh, en) }
}

use Kind::{
    Code, File, Flag, Host, HostPort, Hosts, Ip, Line, Lines, Name, Nets, One, Path, Port, Secret,
    Some as Several, Title, Url, Viewer,
};
use Standard::{Found, Is, Needed, Nothing};

const NONE: Text = text("", "");

/// Every section, in the order in which it is asked.
pub static SECTIONS: [Section; 10] = [
    Section {
        key: "setup",
        identity: None,
        title: text("本次设置", "This set-up"),
        first: NONE,
        usual: true,
        questions: &SETUP,
    },
    Section {
        key: "hospital",
        identity: Some("code"),
        title: text("医院", "The hospital"),
        first: text("还有一家医院由本机服务吗？", "Does this machine serve another hospital?"),
        usual: false,
        questions: &HOSPITAL,
    },
    Section {
        key: "machine",
        identity: None,
        title: text("本机", "This machine"),
        first: NONE,
        usual: true,
        questions: &MACHINE,
    },
    Section {
        key: "his",
        identity: None,
        title: text("HIS 系统", "The HIS"),
        first: NONE,
        usual: true,
        questions: &HIS,
    },
    Section {
        key: "database",
        identity: Some("name"),
        title: text("HIS 数据库视图（ODBC）", "Views of the HIS's database (ODBC)"),
        first: text("HIS 用数据库视图提供数据吗？", "Does the HIS offer views of its database?"),
        usual: false,
        questions: &DATABASE,
    },
    Section {
        key: "workstations",
        identity: None,
        title: text("医生工作站", "Doctors' workstations"),
        first: NONE,
        usual: true,
        questions: &WORKSTATIONS,
    },
    Section {
        key: "source",
        identity: Some("name"),
        title: text("影像来源（区域影像云、外院 PACS）", "Sources of studies (clouds, archives)"),
        first: text("现在添加一个影像来源吗？", "Add a source of studies now?"),
        usual: true,
        questions: &SOURCE,
    },
    Section {
        key: "destination",
        identity: Some("name"),
        title: text("上报平台（结算、登记等）", "Platforms that are sent to (settlements, …)"),
        first: text("现在添加一个上报平台吗？", "Add a platform that is sent to now?"),
        usual: false,
        questions: &DESTINATION,
    },
    Section {
        key: "caller",
        identity: Some("name"),
        title: text(
            "其他调用方（PACS、阅片软件、来取字典的云平台）",
            "Other callers (PACS, viewers, a cloud that fetches dictionaries)",
        ),
        first: text("添加一个其他调用方吗？", "Add another caller?"),
        usual: false,
        questions: &CALLER,
    },
    Section {
        key: "backup",
        identity: None,
        title: text("备份", "Backups"),
        first: NONE,
        usual: true,
        questions: &BACKUP,
    },
];

const LANGUAGES: &[Choice] = &[choice("zh", "中文", "Chinese"), choice("en", "英文", "English")];

static SETUP: [Question; 4] = [
    asked("language", One(LANGUAGES), Found, "zh", text("提示用的语言", "The language used"))
        .unspoken(),
    asked(
        "keep_failing_peers",
        Flag,
        Is("false"),
        "false",
        text(
            "云平台尚未就绪、检查不通过时也写入",
            "Write even when a peer fails its check, because it is not ready yet",
        ),
    )
    .unspoken(),
    asked(
        "start",
        Flag,
        Is("true"),
        "true",
        text("写入后启用并启动服务（需 systemd）", "Afterwards enable and start the service"),
    )
    .unspoken(),
    asked(
        "new_authority",
        Flag,
        Is("false"),
        "false",
        text(
            "证书名称变更时，另建一个签发机构（工作站须重新信任）",
            "When names of the certificate change, make another authority, which every \
             workstation must trust anew",
        ),
    )
    .unspoken(),
];

static HOSPITAL: [Question; 2] = [
    asked(
        "code",
        Code,
        Needed,
        "H45010000001",
        text("医保定点医疗机构代码", "The hospital's insurance code"),
    ),
    asked(
        "names",
        Lines,
        Nothing,
        "示范市人民医院, 市一院",
        text(
            "医院名称（影像中出现的各种写法，逗号分隔；本院影像据此不再取回）",
            "The hospital's names as its own images say them, with commas between; by them its \
             own studies are left out",
        ),
    ),
];

static MACHINE: [Question; 15] = [
    asked(
        "hospital_address",
        Ip,
        Needed,
        "192.0.2.10",
        text("面向院内网的地址", "The address that faces the hospital's network"),
    ),
    asked(
        "cloud_address",
        Ip,
        Found,
        "198.51.100.10",
        text(
            "面向云平台的地址（两块网卡时不同；一块时相同）",
            "The address that faces the clouds (with one network card the same)",
        ),
    ),
    asked(
        "names",
        Hosts,
        Found,
        "192.0.2.10, forepost.hospital.local",
        text(
            "证书中的名称：工作站和 HIS 用来访问本机的主机名和地址",
            "Names for the certificate: host names and addresses by which workstations and the \
             HIS reach this machine",
        ),
    ),
    asked(
        "time_server",
        Host,
        Nothing,
        "ntp.hospital.local",
        text("时间服务器（主机名或地址）", "The time server (host or address)"),
    ),
    asked(
        "ae_title",
        Title,
        Nothing,
        "FOREPOST",
        text(
            "本机的 AE 标题，供 PACS 用 C-ECHO 测试与本机是否连通（不用则回车）",
            "Our AE title, by which archives verify their way to this machine by C-ECHO (Enter: \
             they need not)",
        ),
    ),
    asked(
        "data",
        Path,
        Is("/var/lib/forepost"),
        "/var/lib/forepost",
        text("台账、密钥和缓存的目录", "The folder of ledger, keys and cache"),
    )
    .unspoken(),
    asked(
        "sockets",
        Flag,
        Is("true"),
        "true",
        text(
            "由 systemd 监听端口；false 则由程序自己监听",
            "systemd holds the ports; false: the program listens by itself",
        ),
    )
    .unspoken(),
    asked("hospital_port", Port, Is("80"), "80", text("院内 HTTP 端口", "HTTP, hospital"))
        .unspoken(),
    asked("hospital_tls_port", Port, Is("443"), "443", text("院内 HTTPS 端口", "HTTPS, hospital"))
        .unspoken(),
    asked("cloud_port", Port, Is("8080"), "8080", text("云侧 HTTP 端口", "HTTP, clouds"))
        .unspoken(),
    asked("cloud_tls_port", Port, Is("8443"), "8443", text("云侧 HTTPS 端口", "HTTPS, clouds"))
        .unspoken(),
    asked("console_port", Port, Is("9180"), "9180", text("管理端口", "The administrators' port"))
        .unspoken(),
    asked(
        "console_address",
        Ip,
        Is("127.0.0.1"),
        "127.0.0.1",
        text("管理端口的地址", "The address of the administrators' port"),
    )
    .unspoken(),
    asked(
        "dicom_address",
        Ip,
        Nothing,
        "192.0.2.10",
        text("DICOM 端口的地址（默认同院内）", "The address of DICOM, where not the hospital's"),
    )
    .unspoken(),
    asked("dicom_port", Port, Is("104"), "104", text("DICOM 端口", "DICOM, hospital")).unspoken(),
];

static HIS: [Question; 6] = [
    asked(
        "addresses",
        Nets,
        Nothing,
        "192.0.2.20, 192.0.2.21",
        text(
            "HIS 推送时的来源地址（可多个，逗号分隔）",
            "The addresses from which the HIS pushes, with commas between",
        ),
    ),
    asked(
        "token",
        Flag,
        Is("false"),
        "false",
        text("HIS 推送时还要出示令牌吗？", "Must the HIS show a token as well?"),
    ),
    asked(
        "exam_dictionary_url",
        Url,
        Nothing,
        "http://192.0.2.20:8000/",
        text(
            "HIS 的检查项目字典接口 getExamDict 地址（没有则回车）",
            "The HIS's interface getExamDict, the examinations' dictionary (Enter: none)",
        ),
    ),
    asked(
        "dept_dictionary_url",
        Url,
        Nothing,
        "http://192.0.2.20:8000/",
        text(
            "HIS 的科室字典接口 getDeptInfo 地址（没有则回车）",
            "The HIS's interface getDeptInfo, the departments' dictionary (Enter: none)",
        ),
    ),
    asked(
        "dictionary_header",
        Line,
        Is("Authorization"),
        "Authorization",
        text("字典接口凭据的 HTTP 头", "The HTTP header of the dictionaries' credentials"),
    )
    .unspoken(),
    asked(
        "dictionary_token",
        Secret,
        Nothing,
        "",
        text("字典接口的凭据", "The credentials of the dictionaries' interfaces"),
    )
    .unspoken(),
];

const CHARSETS: &[Choice] = &[
    choice("wide", "UTF-16，通常即可", "UTF-16, the usual"),
    choice("utf-8", "UTF-8", "UTF-8"),
    choice("gbk", "库声明为 Latin-1 而内容是 GBK", "declared Latin-1, holding GBK"),
];

const VIEWS: &[Choice] = &[
    choice("ic-register-view", "挂号、入院登记", "registrations"),
    choice("ic-settlement-view", "结算", "settlements"),
    choice("ic-exam-dict-view", "检查项目字典", "the examinations' dictionary"),
    choice("ic-dept-view", "科室字典", "the departments' dictionary"),
];

static DATABASE: [Question; 5] = [
    asked("name", Name, Needed, "his", text("数据库的简称", "A short name for the database")),
    asked(
        "connection",
        Line,
        Needed,
        "Driver=/usr/lib64/psqlodbcw.so;Server=192.0.2.30;Database=his;UID=forepost",
        text(
            "ODBC 连接串（含驱动路径，不含口令；用户只需 SELECT 权限）",
            "The ODBC connection string, with the driver's path and without the password; the \
             user needs nothing but SELECT",
        ),
    ),
    asked("password", Secret, Nothing, "", text("数据库口令", "The database's password")),
    asked(
        "charset",
        One(CHARSETS),
        Is("wide"),
        "wide",
        text("驱动给出的字符", "How the driver gives texts"),
    ),
    asked(
        "views",
        Several(VIEWS),
        Is("ic-register-view"),
        "ic-register-view",
        text("读取哪些视图", "Which views are read"),
    ),
];

static WORKSTATIONS: [Question; 2] = [
    asked(
        "networks",
        Nets,
        Nothing,
        "192.0.2.0/24",
        text(
            "医生工作站所在的网段（可登录、可阅片；没有则回车）",
            "The workstations' networks: doctors log in and see images from there (Enter: none)",
        ),
    ),
    asked(
        "viewer",
        Viewer,
        Nothing,
        "https://viewer.hospital.local/open?study={study}&ticket={ticket}",
        text(
            "阅片软件打开一个检查的网址，{study} 处填 UID，可含 {ticket}（没有则回车）",
            "Where the viewer opens a study: {study} stands for its UID, {ticket} for a link that \
             is good once (Enter: none)",
        ),
    ),
];

const SOURCE_KINDS: &[Choice] = &[
    choice("dicomweb", "DICOMweb：本机去查询和取回", "DICOMweb: asked by this machine"),
    choice("dimse", "DICOM C-FIND/C-GET（外院 PACS）", "DICOM's C-FIND and C-GET: an archive"),
    choice("push", "云平台主动用 STOW-RS 送来", "it sends unasked, by STOW-RS"),
];

const PATIENT_KEYS: &[Choice] = &[
    choice("idCardNo", "身份证号", "identity number"),
    choice("healthNo", "电子健康卡号", "health card"),
    choice("insuranceId", "就诊卡号", "card of the hospital"),
    choice("medicareNo", "电子医保码", "insurance number"),
    choice("outpatientNumber", "门诊号", "outpatient number"),
    choice("hospitalizationId", "住院号", "inpatient number"),
];

const WEB: &[&str] = &["dicomweb"];
const DIMSE: &[&str] = &["dimse"];

/// Few ask for one, so they stand in files of answers only.
const CLIENT_CERTIFICATE: Question = asked(
    "client_certificate",
    File,
    Nothing,
    "/media/usb/client.pem",
    text(
        "对方要求的本机客户端证书（PEM 文件）",
        "A PEM file with the certificate that it asks of us",
    ),
);
const CLIENT_KEY: Question = asked(
    "client_key",
    File,
    Nothing,
    "/media/usb/client.key",
    text("该证书的私钥（PEM 文件）", "A PEM file with its private key"),
);

static SOURCE: [Question; 14] = [
    asked("name", Name, Needed, "region", text("来源的简称", "A short name for the source")),
    asked(
        "kind",
        One(SOURCE_KINDS),
        Is("dicomweb"),
        "dicomweb",
        text("影像怎样到本机", "How studies come from it"),
    ),
    asked(
        "url",
        Url,
        Needed,
        "https://cloud.example/dicom-web",
        text("DICOMweb 服务的地址", "The address of its DICOMweb services"),
    )
    .when("kind", WEB),
    asked(
        "header",
        Line,
        Is("Authorization"),
        "Authorization",
        text("出示凭据的 HTTP 头", "The HTTP header of the credentials"),
    )
    .when("kind", WEB)
    .unspoken(),
    asked(
        "token",
        Secret,
        Nothing,
        "",
        text(
            "平台给的令牌（不显示；不含空格时自动加 Bearer；没有则回车）",
            "The token that it gave (not shown; without a blank in it, Bearer is put before; \
             Enter: none)",
        ),
    )
    .when("kind", WEB),
    asked(
        "ca_file",
        File,
        Nothing,
        "/media/usb/cloud-ca.pem",
        text(
            "私有证书签发机构的 PEM 文件（公共证书则回车）",
            "A PEM file with its private authority (Enter: a public one)",
        ),
    )
    .when("kind", WEB),
    CLIENT_CERTIFICATE.when("kind", WEB).unspoken(),
    CLIENT_KEY.when("kind", WEB).unspoken(),
    asked(
        "address",
        HostPort,
        Needed,
        "pacs.north.example:104",
        text("对方的主机和端口", "Its host and port"),
    )
    .when("kind", DIMSE),
    asked("called_ae", Title, Needed, "NORTH", text("对方的 AE 标题", "Its AE title"))
        .when("kind", DIMSE),
    asked("calling_ae", Title, Is("FOREPOST"), "FOREPOST", text("本机的 AE 标题", "Our AE title"))
        .when("kind", DIMSE),
    asked(
        "addresses",
        Nets,
        Nothing,
        "203.0.113.5",
        text(
            "它从哪些地址送来（回车：不限，只凭令牌）",
            "The addresses from which it sends (Enter: any, by its token alone)",
        ),
    )
    .when("kind", &["push"]),
    asked(
        "patient_key",
        One(PATIENT_KEYS),
        Is("idCardNo"),
        "idCardNo",
        text("它用哪个号码识别患者（Patient ID）", "The number by which it knows patients"),
    ),
    asked(
        "sha256",
        Flag,
        Is("false"),
        "false",
        text("该号码以 SHA-256 摘要表示吗？", "Is that number sent as its SHA-256?"),
    ),
];

const INTERFACES: &[Choice] = &[
    choice("ic-settlement-push", "结算信息", "settlements"),
    choice("ic-register-push", "挂号、入院登记", "registrations"),
    choice("ic-swiping-id-card", "打开患者", "a patient is opened"),
    choice("ic-check-again", "开检查", "an examination is ordered"),
];

const LOGINS: &[Choice] = &[
    choice("none", "不需要", "none"),
    choice("header", "固定的 HTTP 头（令牌）", "a fixed HTTP header (token)"),
    choice("basic", "用户名和口令", "user and password"),
    choice("token", "先取令牌 getToken（RSA 签名）", "getToken, signed by RSA"),
];

const BY_TOKEN: &[&str] = &["token"];

static DESTINATION: [Question; 17] = [
    asked("name", Name, Needed, "platform", text("平台的简称", "A short name for the platform")),
    asked(
        "url",
        Url,
        Needed,
        "https://platform.example/",
        text(
            "平台地址（文档中的路径接在其后）",
            "Its address, behind which the documents' paths are put",
        ),
    ),
    asked(
        "interfaces",
        Several(INTERFACES),
        Is("ic-settlement-push"),
        "ic-settlement-push",
        text("上报哪些内容", "What is sent to it"),
    ),
    asked(
        "login",
        One(LOGINS),
        Is("none"),
        "none",
        text("怎样证明身份", "How calls show who makes them"),
    ),
    asked(
        "header",
        Line,
        Is("Authorization"),
        "Authorization",
        text("出示凭据的 HTTP 头", "The HTTP header of the credentials"),
    )
    .when("login", &["header"]),
    asked(
        "token",
        Secret,
        Needed,
        "",
        text("平台给的令牌（不显示）", "The token that it gave (not shown)"),
    )
    .when("login", &["header"]),
    asked("user", Line, Needed, "hospital", text("用户名", "User")).when("login", &["basic"]),
    asked("password", Secret, Needed, "", text("口令（不显示）", "Password (not shown)"))
        .when("login", &["basic"]),
    asked(
        "token_url",
        Url,
        Needed,
        "https://platform.example/getToken",
        text("取令牌的地址", "Where the token is fetched"),
    )
    .when("login", BY_TOKEN),
    asked(
        "platform_key",
        File,
        Needed,
        "/media/usb/platform-rsa.pem",
        text("平台 RSA 公钥文件（PEM 或 Base64）", "A file with its RSA key (PEM or Base64)"),
    )
    .when("login", BY_TOKEN),
    asked("app_id", Secret, Needed, "", text("appId（不显示）", "appId (not shown)"))
        .when("login", BY_TOKEN),
    asked("org_id", Secret, Needed, "", text("orgId（不显示）", "orgId (not shown)"))
        .when("login", BY_TOKEN),
    asked("license", Secret, Needed, "", text("license（不显示）", "license (not shown)"))
        .when("login", BY_TOKEN),
    asked(
        "sm2_key",
        File,
        Nothing,
        "/media/usb/platform-sm2.pem",
        text(
            "平台 SM2 公钥文件，用于加密身份证号（没有则回车）",
            "A file with its SM2 key, under which identity numbers leave (Enter: none)",
        ),
    ),
    asked(
        "ca_file",
        File,
        Nothing,
        "/media/usb/platform-ca.pem",
        text(
            "私有证书签发机构的 PEM 文件（公共证书则回车）",
            "A PEM file with its private authority (Enter: a public one)",
        ),
    ),
    CLIENT_CERTIFICATE.unspoken(),
    CLIENT_KEY.unspoken(),
];

const CALLER_KINDS: &[Choice] = &[
    choice("viewer", "阅片软件、PACS：只读取影像", "reads images: a viewer, a PACS"),
    choice("pacs", "PACS：读取，也送来影像", "reads images and stores them: a PACS"),
    choice("cloud", "云平台：凭令牌来取字典", "fetches dictionaries with a token: a cloud"),
];

const SCHEMES: &[Choice] = &[
    choice("https", "HTTPS，对方信任本机的签发机构", "HTTPS; it trusts our authority"),
    choice("http", "HTTP，仅限专线或 VPN", "plain HTTP: on a private line only"),
];

const LOCAL: &[&str] = &["viewer", "pacs"];

static CALLER: [Question; 5] = [
    asked("name", Name, Needed, "pacs", text("调用方的简称", "A short name for the caller")),
    asked("kind", One(CALLER_KINDS), Is("viewer"), "viewer", text("它做什么", "What it does")),
    asked(
        "addresses",
        Nets,
        Nothing,
        "192.0.2.40",
        text("它的来源地址", "The addresses from which it calls"),
    ),
    asked(
        "token",
        Flag,
        Is("false"),
        "false",
        text("它还要出示令牌吗？", "Must it show a token as well?"),
    )
    .when("kind", LOCAL),
    asked(
        "scheme",
        One(SCHEMES),
        Is("https"),
        "https",
        text("它用什么协议调用", "By which protocol it calls"),
    )
    .when("kind", &["cloud"]),
];

static BACKUP: [Question; 2] = [
    asked(
        "to",
        Path,
        Nothing,
        "/backup/forepost",
        text(
            "每晚的备份存到哪里：另一块磁盘或挂载的目录（以后再定则回车）",
            "Where each night's backup goes: a folder of another disk or mount (Enter: later)",
        ),
    ),
    asked(
        "mounted",
        Flag,
        Is("true"),
        "true",
        text(
            "该目录在另一块磁盘或挂载上吗？是则未挂载时拒绝备份",
            "Is that another disk or mount? Then a backup is refused while it is missing",
        ),
    )
    .when("to", &[]),
];
