//! What `setup` says besides its questions, in both languages side by side.

use crate::doctor::{State, Words};

/// The same in two languages, written down beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// Chinese.
    pub zh: &'static str,
    /// English.
    pub en: &'static str,
}

/// Both.
pub const fn text(zh: &'static str, en: &'static str) -> Text {
    Text { zh, en }
}

/// The language of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// 中文
    Zh,
    /// English
    En,
}

impl Language {
    /// Of a text the one in this language.
    pub fn of(self, text: &Text) -> &'static str {
        match self {
            Language::Zh => text.zh,
            Language::En => text.en,
        }
    }

    /// Of words the ones in this language.
    pub fn say(self, words: &Words) -> &str {
        match self {
            Language::Zh => &words.zh,
            Language::En => &words.en,
        }
    }

    /// As an answer names it.
    pub fn name(self) -> &'static str {
        match self {
            Language::Zh => "zh",
            Language::En => "en",
        }
    }

    /// The language of that name.
    pub fn from_name(name: &str) -> Option<Language> {
        [Language::Zh, Language::En].into_iter().find(|one| one.name() == name)
    }
}

/// Words made of a pair of texts, in each of which `{}` stands for the same thing.
pub fn filled(text: &Text, with: &str) -> Words {
    Words::new(text.zh.replace("{}", with), text.en.replace("{}", with))
}

/// The mark before a finding.
pub fn mark(state: State) -> Text {
    match state {
        State::Fine => text("[正常]", "[ok]"),
        State::Warning => text("[注意]", "[warning]"),
        State::Failing => text("[故障]", "[FAILED]"),
    }
}

pub const WELCOME: Text = text(
    "Forepost 前置机设置。每答一项立即检查；最后确认之前什么都不写入。回车取方括号中的值；\
     输入 - 清除；Ctrl-C 随时离开。",
    "Setting up Forepost. Each answer is checked at once; nothing is written before you confirm \
     it at the end. Enter takes what stands in brackets, - clears it, Ctrl-C leaves at any time.",
);
pub const CONTINUES: Text = text(
    "{} 已存在：从其中的设置开始。这里不问的内容保持原样。",
    "{} is there: its settings are where this starts. What is not asked about here stays as it \
     is.",
);
pub const EXAMPLE: Text = text("例：", "such as ");
pub const KEPT: Text = text("已有，保留", "there is one; it stays");
pub const NEEDED: Text = text("必须回答。", "This one needs an answer.");
pub const YES_NO: Text = text("请回答 y 或 n。", "Answer y or n.");
pub const NUMBERS: Text =
    text("请输入编号，多个用逗号分隔。", "Give numbers, with commas between.");
pub const TOO_LONG: Text =
    text("这一行太长（最多 {} 字节），请重新输入。", "That line is too long (at most {} bytes).");
pub const NOT_UTF8: Text = text(
    "输入不是 UTF-8（{}）：请把终端的字符集设为 UTF-8，或用 --language en 以英文回答。",
    "That is not UTF-8 ({}): set the terminal's character set to UTF-8, or answer in ASCII.",
);
pub const CONTROL: Text = text(
    "输入中有控制字符（{}），请重新输入。",
    "There is a control character in it ({}); give it again.",
);
pub const TAKEN: Text = text("已取得 {} 个字符。", "Taken, {} characters.");
pub const OWN_ADDRESSES: Text = text("本机网卡上的地址：", "Addresses on this machine's cards:");
pub const BY_ADDRESS: Text = text("输入编号或地址", "Give a number or an address");
pub const CHECKING: Text = text("正在检查 {} …", "Checking {} …");
pub const KEEP: Text = text(
    "仍然保留吗（例如云平台尚未就绪）？",
    "Keep it all the same, because the other side is not ready yet?",
);
pub const THERE_ARE: Text = text("已有：", "There are:");
pub const LIST_COMMANDS: Text = text(
    "回车继续；a 添加；编号 修改；-编号 删除",
    "Enter goes on, a adds, a number changes, -number removes",
);
pub const LIST_UNKNOWN: Text = text("没有这个编号。", "No such number.");
pub const SAME_NAME: Text = text("已经有一个叫 {}。", "There is one called {} already.");
pub const SUMMARY: Text = text("将写入的设置", "What will be written");
pub const NOTHING_SET: Text = text("（无）", "(none)");
pub const CONFIRM: Text = text(
    "y 写入；n 离开，不写入；编号 修改该部分",
    "y writes, n leaves without writing, a number changes that part",
);
pub const CONFIRM_UNKNOWN: Text =
    text("请输入 y、n 或上面的编号。", "Give y, n or one of the numbers above.");
pub const LEFT: Text = text("未写入任何内容。", "Nothing was written.");
pub const ENDED: Text = text("输入结束；未写入任何内容。", "The input ended; nothing was written.");
pub const INTERRUPTED: Text = text("已中断；未写入任何内容。", "Interrupted; nothing was written.");
pub const TOO_MANY_WRONG: Text =
    text("错误的回答太多；未写入任何内容。", "Too many wrong answers; nothing was written.");
pub const NOT_ROOT: Text = text(
    "{} 不可写。请以 root 身份运行：sudo forepost setup",
    "{} cannot be written. Run it as root: sudo forepost setup",
);
pub const REFUSED: Text = text("配置检查不通过：", "The configuration would be refused:");
pub const FAILING_PEERS: Text = text(
    "有对端检查不通过，未写入任何内容。修正后再运行；或在 [setup] 中写 keep_failing_peers = true；\
     或加 --offline 不检查。",
    "Peers fail their checks; nothing was written. Mend them and run it again, or set \
     keep_failing_peers = true in [setup], or do without the checks by --offline.",
);
pub const WRITTEN: Text = text("已写入：", "Written:");
pub const WOULD_WRITE: Text = text("将写入（--dry-run，未写）：", "Would be written (--dry-run):");
pub const UNCHANGED: Text = text("  不变  {}", "  same  {}");
pub const PRESENT_KEPT: Text = text("原配置留作 {}", "The configuration before is kept as {}");
pub const NO_GROUP: Text = text(
    "没有 forepost 组：文件暂属 root。安装软件包后再运行一次 forepost setup。",
    "There is no group forepost: the files are root's for now. Run forepost setup again when the \
     package is installed.",
);
pub const START: Text = text("现在启用并启动服务吗？", "Enable and start the service now?");
pub const STARTING: Text = text("正在启动服务 …", "Starting the service …");
pub const STARTED: Text = text("服务已就绪。", "The service is ready.");
pub const NOT_STARTED: Text = text(
    "服务没有启动。原因：journalctl -u forepost -n 30；修正后：{}",
    "The service did not start. The reason: journalctl -u forepost -n 30; then: {}",
);
pub const START_BY_HAND: Text = text("启动服务：{}", "To start the service: {}");
pub const AUTHORITY: Text = text(
    "证书里没有 {}。现有签发机构只为原来的名称签发；另建一个则每台工作站须重新信任。另建吗？",
    "The certificate does not name {}. The authority that is there signs for its own names alone; \
     every workstation would have to trust another one anew. Make another?",
);
pub const AUTHORITY_NEEDED: Text = text(
    "证书里没有 {}，现有签发机构只为原来的名称签发：在 [setup] 中写 new_authority = true 另建一个\
     （工作站须重新信任）",
    "the certificate does not name {}, and the authority that is there signs for its own names \
     alone: set new_authority = true in [setup] to make another, which workstations must trust \
     anew",
);
pub const DOCTOR: Text = text("检查整机：", "The whole machine:");
pub const HAND_OVER: Text = text("交给对方的内容 / To hand over", "交给对方的内容 / To hand over");
pub const LINUX_CONSOLE: Text = text(
    "控制台显示不了中文，改用英文；确需中文请加 --language zh。",
    "This console shows no Chinese, so English it is; --language zh insists.",
);
pub const RECOVERY_KEY: Text = text(
    "备份恢复密钥（只显示这一次：打印两份，放入两处保险柜；本机不保存）：",
    "The recovery key of the backups, shown this once: print it twice and keep it in two safes; \
     this machine does not keep it:",
);
pub const RECOVERY_LATER: Text = text(
    "服务启动后生成备份恢复密钥：forepost backup key",
    "When the service runs, make the recovery key of the backups: forepost backup key",
);
pub const BACKUP_LATER: Text = text(
    "尚未指定备份目录：确定后再运行 forepost setup。",
    "No folder for backups is named yet: run forepost setup again when there is one.",
);
pub const BACKED_UP: Text = text("第一份备份已写入 {}。", "The first backup is in {}.");
pub const NOT_BACKED_UP: Text = text(
    "备份失败。原因：journalctl -u forepost-backup -n 20；修正后：systemctl start forepost-backup",
    "The backup failed. The reason: journalctl -u forepost-backup -n 20; then: systemctl start \
     forepost-backup",
);
pub const SEALED: Text = text(
    "台账密钥已封存于本机（systemd-creds）。",
    "The ledger's keys are sealed to this machine (systemd-creds).",
);
pub const NOT_SEALED: Text = text(
    "台账密钥未封存，仍为 0600 文件：{}",
    "The ledger's keys are not sealed and stay a file, 0600: {}",
);
