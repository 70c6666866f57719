//! Text for pages: escaped, masked, in the reader's language.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

use crate::http::escaped;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Chinese,
    English,
}

impl Language {
    /// What the browser prefers; Chinese unless that is another language.
    pub(super) fn of(headers: &HeaderMap) -> Language {
        let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        match wanted.map(|text| text.trim().to_ascii_lowercase()) {
            Some(text) if !text.is_empty() && !text.starts_with("zh") && !text.starts_with('*') => {
                Language::English
            }
            Some(_) | None => Language::Chinese,
        }
    }

    /// Of two texts the one in this language.
    pub(super) fn say(self, chinese: &'static str, english: &'static str) -> &'static str {
        match self {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }

    /// The value of the attribute `lang`.
    pub(super) fn tag(self) -> &'static str {
        self.say("zh-CN", "en")
    }
}

/// The first character of a name and a mark for the rest, for screens that others see.
pub(super) fn masked(name: &str) -> String {
    let mut characters = name.trim().chars();
    match characters.next() {
        Some(first) if characters.next().is_some() => format!("{first}**"),
        Some(_) => "*".to_owned(),
        None => String::new(),
    }
}

/// `YYYYMMDD` as people read it; anything else as it is. It is a peer's text, not HTML.
pub(super) fn date(text: &str) -> String {
    match text.as_bytes() {
        digits if digits.len() == 8 && digits.iter().all(u8::is_ascii_digit) => {
            format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..])
        }
        _ => text.to_owned(),
    }
}

/// A whole page.
pub(super) fn page(language: Language, title: &str, body: &str) -> String {
    let (tag, title) = (language.tag(), escaped(title));
    format!(
        "<!DOCTYPE html>\n<html lang=\"{tag}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/workstation/window.css\"></head>\
         <body>{body}</body></html>\n"
    )
}

/// JSON that stands in a page: nothing in it ends its element.
pub(super) fn data(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_of_a_page_ends_it() {
        assert_eq!(data(&"</script><!--".into()), "\"\\u003c/script>\\u003c!--\"");
    }

    #[test]
    fn a_date_is_read_and_what_is_none_stays() {
        assert_eq!(date("20260102"), "2026-01-02");
        assert_eq!(date("2026<12>"), "2026<12>");
    }

    #[test]
    fn a_name_is_masked() {
        for (name, expected) in [("测试甲", "测**"), ("甲", "*"), ("", ""), (" Doe^J", "D**")]
        {
            assert_eq!(masked(name), expected);
        }
    }

    #[test]
    fn chinese_unless_another_language_is_preferred() {
        for (text, expected) in [
            ("", Language::Chinese),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("*", Language::Chinese),
            ("en-US,en;q=0.9", Language::English),
            ("de", Language::English),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, text.parse().unwrap());
            assert_eq!(Language::of(&headers), expected, "{text}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::Chinese);
    }
}
