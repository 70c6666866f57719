//! A checked body: canonical names and their texts.

/// What was read of a body. Built by [`super::check`]; made by hand only in tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    entries: Vec<Entry>,
    lists: Vec<(&'static str, Vec<Record>)>,
    unknown: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: &'static str,
    text: String,
    usable: bool,
}

impl Record {
    /// A record of texts, all of them usable.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        let mut record = Self::default();
        for (key, text) in texts {
            record.put(key, text.to_owned(), true);
        }
        record
    }

    pub(super) fn put(&mut self, key: &'static str, text: String, usable: bool) {
        self.entries.push(Entry { key, text, usable });
    }

    pub(super) fn put_list(&mut self, key: &'static str, items: Vec<Record>) {
        self.lists.push((key, items));
    }

    pub(super) fn put_unknown(&mut self, name: String) {
        self.unknown.push(name);
    }

    /// The text of a field by its canonical key (`patientName`, `patientInfo.name`,
    /// `Crisis.CrisisSettor@code`); `None` when it is absent, empty, or not what the
    /// document says it should be (a date that does not read, a code outside its list).
    pub fn text(&self, key: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|it| it.key == key && it.usable)?;
        Some(entry.text.trim_matches(crate::codec::json::is_blank)).filter(|it| !it.is_empty())
    }

    /// The text as it came, usable or not; for display beside the warning.
    pub fn raw(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|it| it.key == key).map(|it| it.text.as_str())
    }

    /// Puts another text in the place of one that is there.
    pub fn replace(&mut self, key: &str, text: String) {
        if let Some(entry) = self.entries.iter_mut().find(|it| it.key == key) {
            entry.text = text;
        }
    }

    /// The elements of a list field; keys inside count from the element.
    pub fn list(&self, key: &str) -> &[Record] {
        self.lists.iter().find(|it| it.0 == key).map_or(&[], |it| it.1.as_slice())
    }

    /// Every key with its text as it came, in the order of the document.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.entries.iter().map(|it| (it.key, it.text.as_str()))
    }

    /// Names of fields that the document does not know; their values stay in the body.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }
}
