//! Whether two written names can be the same person's.
//!
//! What for: hospitals write one patient in Han characters, in pinyin of any fashion, masked, or
//! in the ruins of a wrong character set. The guard needs one of three answers, and only two names
//! in Han characters can ever contradict each other: a Latin form may follow a dialect or another
//! romanization, so its difference proves nothing.
//!
//! What always holds: the answer does not depend on which side is which; nothing is stored and
//! nothing is logged; the work is bounded by [`GROUP_CHARACTERS_MAX`] and [`PARTS_MAX`].
//!
//! What is on the wire: PN text (PS3.5 6.2.1), up to three groups parted by `=` (alphabetic,
//! ideographic, phonetic), each of up to five components parted by `^`. Prefix and suffix are not
//! compared. A registration's plain text is the case of one group and one component.
//!
//! What was refused: similarity scores (a threshold is a wrong patient waiting), initials, repair
//! of damaged text. Traditional characters are folded by a table of those usual in names
//! ([`TRADITIONAL`]); one outside it still contradicts.
//!
//! Start reading at [`compare`].

use pinyin::ToPinyinMulti;
use unicode_normalization::UnicodeNormalization;

use super::guard::Verdict;

/// Longest component group that is read, in characters: PS3.5 Table 6.2-1 allows 64 a group.
const GROUP_CHARACTERS_MAX: usize = 64;
/// Groups of a name: PS3.5 6.2.1 has three.
const GROUPS_MAX: usize = 3;
/// Components that are compared: family, given, middle (PS3.5 6.2.1.1); titles follow them.
const COMPONENTS_COMPARED: usize = 3;
/// Parts of a Latin name beyond which it is no person's name but a sentence.
const PARTS_MAX: usize = 8;
/// Characters that a surname may have when it is written last: 王 or 欧阳.
const SURNAME_CHARACTERS_MAX: usize = 2;

/// Readings that surnames and names have and the pinyin table lacks.
const RARE_READINGS: &[(char, &str)] = &[('黑', "he"), ('费', "bi"), ('谌', "shen")];

/// Signs with which a character of a name is hidden (after NFKC).
const MASKS: &str = "*∗×某○◯〇□■●◆◇※#★☆";

/// A name that begins so names nobody.
const NOBODY: [&str; 9] =
    ["患者", "病人", "匿名", "无名", "未知", "不详", "测试", "未命名", "姓名"];
/// A name that ends so is an address, not a full name.
const ADDRESSES: [&str; 4] = ["先生", "女士", "小姐", "同志"];
/// The same in Latin letters, all parts joined; and everything that begins with `anonym`.
const NOBODY_LATIN: [&str; 12] = [
    "unknown", "noname", "nobody", "patient", "test", "null", "none", "anon", "hidden", "johndoe",
    "janedoe", "removed",
];
/// Latin words in the name of a child that has none of its own yet.
const NEWBORN_WORDS: [&str; 7] =
    ["bb", "baby", "babyboy", "babygirl", "newborn", "infant", "babyof"];

/// Traditional and variant characters usual in names, each before the form it is compared as.
/// Only pairs that are one and the same name to a reader; 付 and 傅, 肖 and 萧 stay different.
const TRADITIONAL: &str = "張张 陳陈 劉刘 黃黄 楊杨 趙赵 吳吴 孫孙 馬马 鄭郑 謝谢 許许 韓韩 \
    馮冯 鄧邓 蕭萧 葉叶 呂吕 蘇苏 蔣蒋 賈贾 魯鲁 範范 餘余 鍾钟 鐘钟 陸陆 盧卢 龍龙 萬万 錢钱 \
    湯汤 賴赖 龔龚 顧顾 齊齐 賀贺 嚴严 聶聂 歐欧 陽阳 龐庞 顏颜 倫伦 駱骆 鄒邹 羅罗 簡简 閻阎 \
    單单 畢毕 紀纪 塗涂 遲迟 衛卫 關关 項项 閔闵 幹干 榮荣 華华 國国 軍军 東东 寶宝 強强 \
    偉伟 麗丽 蘭兰 鳳凤 連连 雲云 飛飞 嬌娇 瓊琼 瑩莹 穎颖 霽霁 靜静 豔艳 艷艳 傑杰 貴贵 \
    財财 發发 興兴 慶庆 義义 禮礼 誌志 為为 爲为 愛爱 誠诚 賢贤 漢汉 濤涛 澤泽 瀟潇 灝灏 煥焕 \
    煒炜 燁烨 爾尔 瑋玮 璣玑 環环 緒绪 維维 綺绮 緯纬 繼继 纓缨 紅红 絲丝 經经 綱纲 鋒锋 \
    鋼钢 銀银 銘铭 鐵铁 錦锦 鎮镇 鏡镜 鈞钧 鈺钰 銳锐 鍵键 輝辉 輪轮 軒轩 達达 遠远 運运 \
    進进 還还 選选 鄉乡 長长 門门 開开 闊阔 陰阴 際际 隨随 雙双 難难 頌颂 順顺 頤颐 題题 風风 \
    養养 馳驰 駿骏 驍骁 驊骅 鵬鹏 鴻鸿 鶴鹤 鷗鸥 鶯莺 麥麦 點点 黨党 齡龄 嵐岚 崗岗 島岛 嶽岳 \
    峯峰 岡冈 帥帅 師师 廣广 應应 彥彦 徑径 復复 恆恒 悅悦 憲宪 懷怀 戀恋 戰战 揚扬 \
    攝摄 數数 時时 晉晋 暉晖 曉晓 曄晔 書书 會会 樂乐 樸朴 樹树 橋桥 權权 欽钦 歡欢 \
    歲岁 歸归 氣气 淵渊 淺浅 渾浑 湧涌 溫温 滿满 潔洁 瀾澜 無无 獻献 現现 產产 異异 當当 \
    癡痴 監监 盤盘 碩硕 祿禄 禎祯 穀谷 穌稣 節节 築筑 籃篮 粵粤 純纯 紹绍 紳绅 結结 統统 綠绿 \
    緣缘 織织 羣群 聖圣 聰聪 聲声 聯联 職职 肅肃 脈脉 腳脚 與与 舉举 莊庄 萊莱 蓮莲 薩萨 薌芗 \
    藝艺 藍蓝 蘆芦 蔭荫 蔔卜 蝦虾 術术 裏里 裡里 見见 規规 覺觉 覽览 觀观 訓训 記记 詩诗 \
    話话 語语 諒谅 論论 諸诸 謙谦 講讲 譚谭 譽誉 讓让 豐丰 貝贝 負负 賓宾 賜赐 質质 贊赞 趕赶 \
    車车 農农 邁迈 鄺邝 醫医 釗钊 針针 錄录 鎧铠 閃闪 闖闯 陣阵 陝陕 隊队 陞升 昇升 雋隽 雞鸡 \
    雜杂 離离 靈灵 韋韦 韻韵 響响 頂顶 須须 預预 頻频 願愿 飄飘 飲饮 魚鱼 鮑鲍 鮮鲜 鳥鸟 鳴鸣 \
    鷹鹰 澱淀 冊册 剛刚 創创 劍剑 勁劲 動动 務务 勝胜 勞劳 勳勋 勛勋 勵励 區区 協协 卻却 參参 \
    員员 啟启 啓启 喬乔 喚唤 單单 嘯啸 嚮向 囑嘱 園园 圓圆 圖图 團团 執执 堅坚 堯尧 報报 \
    場场 塵尘 壯壮 壽寿 夢梦 奐奂 奮奋 婁娄 婭娅 嫻娴 嬋婵 嬰婴 學学 寧宁 實实 審审 寫写 寬宽 \
    寢寝 將将 專专 尋寻 對对 導导 屆届 層层 屬属 佇伫 侖仑 俠侠 倉仓 個个 們们 偵侦 側侧 備备 \
    傳传 傢家 價价 億亿 優优 儀仪 儉俭 儲储 兒儿 測测 試试 詳详 蓋盖 沖冲 決决 淨净 況况 \
    臺台 檯台 後后 於于 瀋沈 鬱郁 鬆松 麴曲 薑姜 醜丑 竇窦 欒栾 閆闫 藺蔺 隸隶 鞏巩 \
    闞阚 欉丛 叢丛 鄔邬 酈郦 滬沪 婦妇 媽妈";

/// Whether `a` and `b` can be one person's name. See the module for what each answer means.
pub fn compare(a: &str, b: &str) -> Verdict {
    let (Some(a), Some(b)) = (Name::read(a), Name::read(b)) else {
        return Verdict::CannotSay;
    };
    if let (Some(left), Some(right)) = (&a.han, &b.han) {
        return if left == right { Verdict::Agrees } else { Verdict::Contradicts };
    }
    let reads = |han: &Option<Vec<char>>, latin: &Option<Vec<String>>| match (han, latin) {
        (Some(han), Some(latin)) => is_reading(han, latin),
        _ => false,
    };
    let latin_agrees = match (&a.latin, &b.latin) {
        (Some(left), Some(right)) => same_parts(left, right),
        _ => false,
    };
    let other_agrees = a.other.is_some() && a.other == b.other;
    if reads(&a.han, &b.latin) || reads(&b.han, &a.latin) || latin_agrees || other_agrees {
        Verdict::Agrees
    } else {
        Verdict::CannotSay
    }
}

/// What can be compared of one written name; nothing of it may be legible.
#[derive(Default)]
struct Name {
    /// Two or more Han characters, folded.
    han: Option<Vec<char>>,
    /// Parts in lower-case letters a to z, ü as v.
    latin: Option<Vec<String>>,
    /// Another script, or scripts mixed: only equality says something.
    other: Option<String>,
}

impl Name {
    /// Reads all groups; `None` when the name is a newborn's, that is its mother's.
    fn read(text: &str) -> Option<Name> {
        let mut name = Name::default();
        for group in text.split('=').take(GROUPS_MAX) {
            match Group::read(group) {
                Group::Han(han) => name.han = name.han.or(Some(han)),
                Group::Latin(parts) => name.latin = name.latin.or(Some(parts)),
                Group::Other(folded) => name.other = name.other.or(Some(folded)),
                Group::Illegible => {}
                Group::Newborn => return None,
            }
        }
        Some(name)
    }
}

/// One group of a PN, read.
enum Group {
    Han(Vec<char>),
    Latin(Vec<String>),
    Other(String),
    /// Empty, masked, nobody's, damaged, or too long.
    Illegible,
    Newborn,
}

impl Group {
    fn read(group: &str) -> Group {
        let group = group.trim_matches(|c: char| c == '\0' || c.is_whitespace());
        if group.chars().count() > GROUP_CHARACTERS_MAX || is_damaged(group) {
            return Group::Illegible;
        }
        let components: Vec<&str> = group.split('^').take(COMPONENTS_COMPARED).collect();
        let text: String = components.join("^").nfkc().collect();
        let han: Vec<char> = text.chars().filter(|c| is_han(*c)).map(simplified).collect();
        let rest: String = text.chars().map(|c| if is_han(c) { ' ' } else { c }).collect();
        if is_newborn(&han, &rest) {
            return Group::Newborn;
        }
        if text.chars().any(|c| MASKS.contains(c)) || names_nobody(&han) {
            return Group::Illegible;
        }
        let parts = latin_parts(&rest);
        match (han.len(), parts) {
            (0, Some(parts)) if parts.is_empty() || is_nobody_latin(&parts) => Group::Illegible,
            (0, Some(parts)) => Group::Latin(parts),
            // A surname alone is a name with the rest left out, not another name.
            (1, Some(parts)) if parts.is_empty() => Group::Illegible,
            (_, Some(parts)) if parts.is_empty() => Group::Han(han),
            (_, Some(parts)) if parts.iter().all(|part| is_crosses(part)) => Group::Illegible,
            // 王小东 Wang Xiaodong in one group: the letters say again what the characters say.
            (2.., Some(parts)) if is_reading(&han, &parts) => Group::Han(han),
            _ => other(&text),
        }
    }
}

/// Letters and digits of any script without what parts them; anything else is damage.
fn other(text: &str) -> Group {
    let kept: String = text.chars().filter(|c| !is_gap(*c) && !is_joint(*c)).collect();
    if kept.is_empty() || !kept.chars().all(char::is_alphanumeric) {
        return Group::Illegible;
    }
    Group::Other(kept.chars().map(simplified).flat_map(char::to_lowercase).collect())
}

/// Whether the text did not survive a change of character set.
fn is_damaged(text: &str) -> bool {
    let broken = |c: char| {
        // U+FFFD and `?` stand where a decoder gave up; private characters are a vendor's font.
        matches!(c, '\u{FFFD}' | '?' | '？' | '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..)
            || c.is_control()
    };
    if text.chars().any(broken) {
        return true;
    }
    if text.chars().any(is_han) {
        return is_utf8_read_as_gbk(text);
    }
    // GBK read as Latin-1 is a run of its upper half (王 is `Íõ`). Pinyin has one accent a
    // syllable; only ü stands beside another (lüè).
    let upper_half = |c: char| matches!(c, '\u{80}'..='\u{FF}') && c != '·';
    let pairs = text.chars().zip(text.chars().skip(1));
    let mut runs = pairs.filter(|(a, b)| upper_half(*a) && upper_half(*b));
    runs.any(|(a, _)| !matches!(a, 'ü' | 'Ü'))
}

/// Whether Han characters are UTF-8 that was decoded as GBK (王芳 becomes 鐜嬭姵). Names whose GBK
/// bytes happen to be UTF-8 for fewer characters are very rare, and then only not compared.
fn is_utf8_read_as_gbk(text: &str) -> bool {
    let (bytes, _, unmappable) = encoding_rs::GBK.encode(text);
    !unmappable && std::str::from_utf8(&bytes).is_ok_and(|inner| inner.chars().any(is_han))
}

/// CJK ideographs, without the compatibility block, which NFKC removes.
fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{323AF}')
}

fn simplified(c: char) -> char {
    for pair in TRADITIONAL.split_whitespace() {
        let mut pair = pair.chars();
        if pair.next() == Some(c) {
            return pair.next().unwrap_or(c);
        }
    }
    c
}

/// What stands between the parts of a name: blanks, commas, middle dots, PN separators.
fn is_gap(c: char) -> bool {
    let dot = matches!(c, '·' | '•' | '‧' | '・' | '∙' | '⋅' | '᛫' | '｡' | '。' | '.');
    dot || c.is_whitespace() || matches!(c, ',' | '、' | '^' | '_' | '/' | ';')
}

/// What joins syllables, or is not seen at all.
fn is_joint(c: char) -> bool {
    let dash = matches!(c, '-' | '\u{AD}' | '\u{2010}'..='\u{2015}' | '−');
    let apostrophe = matches!(c, '\'' | '`' | '’' | '‘' | 'ʼ' | '′');
    dash || apostrophe || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}')
}

fn names_nobody(han: &[char]) -> bool {
    let text: String = han.iter().collect();
    NOBODY.iter().any(|word| text.starts_with(word))
        || ADDRESSES.iter().any(|word| text.ends_with(word))
}

fn is_nobody_latin(parts: &[String]) -> bool {
    let joined = parts.concat();
    joined.starts_with("anonym")
        || NOBODY_LATIN.contains(&joined.as_str())
        || parts.iter().any(|part| part.len() > 1 && is_crosses(part))
        || is_crosses(&joined)
}

fn is_crosses(part: &str) -> bool {
    part.bytes().all(|byte| byte == b'x')
}

/// Whether the name is a mother's with 之子, 之女, 之婴 or BB behind it.
fn is_newborn(han: &[char], rest: &str) -> bool {
    let text: String = han.iter().collect();
    if text.contains("新生儿") || text.contains("婴儿") {
        return true;
    }
    if let Some((mother, child)) = text.rsplit_once('之') {
        let ending = child.chars().last().is_some_and(|c| "子女婴儿宝胎".contains(c));
        if !mother.is_empty() && child.chars().count() <= 3 && ending {
            return true;
        }
    }
    let rest = rest.to_ascii_lowercase();
    let mut words = rest.split(|c: char| !c.is_ascii_alphabetic());
    rest.contains("b/o") || words.any(|word| NEWBORN_WORDS.contains(&word))
}

/// The parts of a name in Latin letters, folded: lower case, no tones, ü as v. `None` when
/// something in it is not understood.
fn latin_parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    for c in text.nfd().flat_map(char::to_lowercase) {
        let part = parts.last_mut()?;
        match c {
            'a'..='z' => part.push(c),
            // Grave, acute, breve, macron, caron: the tones, and how they are mistyped.
            '\u{300}' | '\u{301}' | '\u{304}' | '\u{306}' | '\u{30C}' if !part.is_empty() => {}
            '\u{308}' | ':' if part.ends_with('u') => {
                part.pop();
                part.push('v');
            }
            '1'..='5' if !part.is_empty() => {}
            _ if is_joint(c) => {}
            _ if is_gap(c) => parts.push(String::new()),
            _ => return None,
        }
    }
    parts.retain(|part| !part.is_empty());
    for part in &mut parts {
        // After j, q, x and y every u is ü, and some keyboards write it v.
        for (typed, meant) in [("jv", "ju"), ("qv", "qu"), ("xv", "xu"), ("yv", "yu")] {
            *part = part.replace(typed, meant);
        }
    }
    (parts.len() <= PARTS_MAX).then_some(parts)
}

/// Whether two Latin names have the same letters, the parts of one perhaps begun elsewhere
/// (family name last).
fn same_parts(a: &[String], b: &[String]) -> bool {
    let begun_at =
        |parts: &[String], first: usize| [&parts[first..], &parts[..first]].concat().concat();
    let (whole_a, whole_b) = (a.concat(), b.concat());
    (0..a.len()).any(|first| begun_at(a, first) == whole_b)
        || (0..b.len()).any(|first| begun_at(b, first) == whole_a)
}

/// Whether some reading of the characters, surname first or last, gives the letters.
fn is_reading(han: &[char], parts: &[String]) -> bool {
    let letters = parts.concat();
    (0..=SURNAME_CHARACTERS_MAX.min(han.len() - 1)).any(|surname| {
        let order = han[surname..].iter().chain(&han[..surname]);
        spells(order.copied(), &letters)
    })
}

/// Whether the letters can be cut into one syllable a character. All readings are tried at once:
/// what is kept is where in the letters the characters so far may end.
fn spells(characters: impl Iterator<Item = char>, letters: &str) -> bool {
    let mut ends = vec![false; letters.len() + 1];
    ends[0] = true;
    for character in characters {
        let mut next = vec![false; letters.len() + 1];
        for syllable in syllables(character) {
            for at in (0..ends.len()).filter(|at| ends[*at]) {
                if letters[at..].starts_with(&syllable) {
                    next[at + syllable.len()] = true;
                }
            }
        }
        ends = next;
    }
    ends[letters.len()]
}

/// Every syllable that a character may be written as: all its readings, ü as v, u and yu.
fn syllables(character: char) -> Vec<String> {
    let table = character.to_pinyin_multi().into_iter().flatten().map(|reading| reading.plain());
    let rare = RARE_READINGS.iter().filter(|(rare, _)| *rare == character).map(|(_, text)| *text);
    let mut syllables = Vec::new();
    for reading in table.chain(rare) {
        let reading = reading.replace('ü', "v");
        if reading.contains('v') {
            syllables.push(reading.replace('v', "u"));
            syllables.push(reading.replace('v', "yu"));
        }
        syllables.push(reading);
    }
    syllables
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        name: Vec<Pair>,
    }

    #[derive(Deserialize)]
    struct Pair {
        a: String,
        b: String,
        verdict: String,
        why: String,
    }

    #[test]
    fn every_pair_of_the_table_is_judged_as_written_from_both_sides() {
        let table: Table = toml::from_str(include_str!("../../tests/fixtures/names.toml")).unwrap();
        assert!(table.name.len() >= 60);
        let mut wrong = Vec::new();
        for Pair { a, b, verdict, why } in &table.name {
            for (left, right) in [(a, b), (b, a)] {
                let got = compare(left, right).words();
                if got != verdict {
                    wrong.push(format!("{left} / {right}: {got}, not {verdict} ({why})"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn surnames_with_a_reading_of_their_own_are_read() {
        let surnames = "单shan 解xie \
            仇qiu 曾zeng 区ou 尉yu 乐yue 查zha 朴piao 翟zhai 盖ge 任ren 华hua 俟qi 万mo 覃qin \
            覃tan 员yun 缪miao 冼xian 佴nai 折she 黑he 秘bi 那na 种chong 召shao 洗xian 逄pang 隗kui 隗wei \
            郇xun 郇huan 晟sheng 繁po 适kuo 澹tan 长zhang 令ling 宓mi 卜bu 薄bo 车che 晁chao 费fei 费bi \
            阚kan 牟mu 牟mou 瞿qu 沈shen 石shi 燕yan 殷yin 於yu 臧zang 祭zhai 訾zi 吕lv 吕lyu 吕lu 女nyu \
            略lve 略lue 都du 哈ha 柏bai 柏bo 褚chu 谌chen 谌shen 邸di 句gou 尹yin 幺yao";
        let missing: Vec<_> = surnames
            .split_whitespace()
            .filter(|pair| {
                let character = pair.chars().next().unwrap();
                let reading = &pair[character.len_utf8()..];
                !syllables(character).iter().any(|syllable| syllable == reading)
            })
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_table_of_traditional_characters_is_well_formed() {
        for pair in TRADITIONAL.split_whitespace() {
            assert_eq!(pair.chars().count(), 2, "{pair}");
            assert!(pair.chars().all(is_han), "{pair}");
            let to = pair.chars().nth(1).unwrap();
            assert_eq!(simplified(to), to, "{pair}: what is folded to must not be folded on");
        }
    }

    #[test]
    fn a_group_longer_than_the_standard_allows_says_nothing() {
        let fits = "王".repeat(GROUP_CHARACTERS_MAX);
        assert_eq!(compare(&fits, &fits), Verdict::Agrees);
        let over = "王".repeat(GROUP_CHARACTERS_MAX + 1);
        assert_eq!(compare(&over, &over), Verdict::CannotSay);
    }

    proptest::proptest! {
        #[test]
        fn any_two_texts_are_judged_the_same_from_both_sides(a in ".{0,80}", b in ".{0,80}") {
            assert_eq!(compare(&a, &b), compare(&b, &a));
        }

        #[test]
        fn a_name_of_han_characters_agrees_with_its_own_first_reading(
            name in "[赵钱孙李周吴郑王冯陈][伟芳娜敏静丽强磊军洋]{1,2}",
        ) {
            let parts: Vec<String> = name.chars().map(|c| syllables(c).remove(0)).collect();
            assert_eq!(compare(&name, &parts.join(" ")), Verdict::Agrees);
        }
    }
}
