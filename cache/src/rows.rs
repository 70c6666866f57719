//! Rows that searches answer with: one a study, one a series.
//!
//! A row holds its DICOM JSON ready made, so that an answer of a thousand rows is a copy. What
//! lies in sled is the row's fields, encoded here, version first; the JSON is made again.

use std::ops::Deref;

use crate::dicom_json::ObjectWriter;
use crate::header::{Header, Texts};
use crate::records::{Fields, put_text};
use crate::uid::Uid;

const ROW_VERSION: u8 = 1;

/// What a search tells of a study. Texts are those of its first instance, in UTF-8; it derefs to
/// them (`row.patient_name`, all component groups joined by `=`).
#[derive(Debug, Clone)]
pub struct StudyRow {
    /// Study Instance UID.
    pub study: Uid,
    /// Attributes of the first instance. Series attributes among them mean nothing here.
    pub texts: Texts,
    /// Modalities of its series, sorted, each once.
    pub modalities: Vec<String>,
    /// Series here.
    pub series: u32,
    /// Instances here, whole and durable.
    pub instances: u32,
    /// Bytes of their files.
    pub bytes: u64,
    json: String,
    /// Study Date as a number, 0 if there is none.
    pub(crate) date: u32,
}

impl StudyRow {
    /// The row of a study whose first instance has this header.
    pub(crate) fn new(header: &Header) -> StudyRow {
        let row = StudyRow::bare(header.study.clone(), header.texts.clone());
        StudyRow { json: String::new(), ..row }
    }

    fn bare(study: Uid, texts: Texts) -> StudyRow {
        StudyRow {
            date: crate::search::date(&texts.study_date).unwrap_or(0),
            study,
            texts,
            modalities: Vec::new(),
            series: 0,
            instances: 0,
            bytes: 0,
            json: String::new(),
        }
    }

    /// The same with these series; counts and JSON follow.
    pub(crate) fn with(mut self, series: &[SeriesRow]) -> StudyRow {
        self.series = series.len() as u32;
        self.instances = series.iter().map(|row| row.instances).sum();
        self.bytes = series.iter().map(|row| row.bytes).sum();
        self.modalities = series.iter().map(|row| row.texts.modality.clone()).collect();
        self.modalities.retain(|modality| !modality.is_empty());
        self.modalities.sort_unstable();
        self.modalities.dedup();
        self.json = self.render();
        self
    }

    /// The DICOM JSON object of the default study attributes (PS3.18 table 10.6.3-3) without
    /// RetrieveURL, which only a door knows.
    pub fn json(&self) -> &str {
        &self.json
    }

    fn render(&self) -> String {
        let texts = &self.texts;
        let mut json = ObjectWriter::new();
        json.text(0x0008_0005, "CS", "ISO_IR 192")
            .text(0x0008_0020, "DA", &texts.study_date)
            .text(0x0008_0030, "TM", &texts.study_time)
            .text(0x0008_0050, "SH", &texts.accession_number)
            .text(0x0008_0056, "CS", "ONLINE")
            .texts(0x0008_0061, "CS", &self.modalities)
            .name(0x0008_0090, &texts.referring_physician);
        if !texts.timezone.is_empty() {
            json.text(0x0008_0201, "SH", &texts.timezone);
        }
        json.text(0x0008_1030, "LO", &texts.study_description)
            .name(0x0010_0010, &texts.patient_name)
            .text(0x0010_0020, "LO", &texts.patient_id);
        if !texts.issuer_of_patient_id.is_empty() {
            json.text(0x0010_0021, "LO", &texts.issuer_of_patient_id);
        }
        json.text(0x0010_0030, "DA", &texts.birth_date)
            .text(0x0010_0040, "CS", &texts.sex)
            .text(0x0020_000d, "UI", self.study.as_str())
            .text(0x0020_0010, "SH", &texts.study_id)
            .number(0x0020_1206, "IS", i64::from(self.series))
            .number(0x0020_1208, "IS", i64::from(self.instances));
        json.finish()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![ROW_VERSION];
        out.extend_from_slice(&self.series.to_le_bytes());
        out.extend_from_slice(&self.instances.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        put_text(&mut out, &self.modalities.join("\\"));
        put_text(&mut out, self.study.as_str());
        for text in self.texts.all() {
            put_text(&mut out, text);
        }
        out
    }

    pub(crate) fn decode(stored: &[u8]) -> Option<StudyRow> {
        let mut fields = Fields(stored);
        if fields.u8()? != ROW_VERSION {
            return None;
        }
        let (series, instances, bytes) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let modalities = fields.text()?;
        let modalities =
            modalities.split('\\').filter(|m| !m.is_empty()).map(str::to_owned).collect();
        let study = fields.uid()?;
        let row = StudyRow::bare(study, texts(&mut fields)?);
        let mut row = StudyRow { series, instances, bytes, modalities, ..row };
        row.json = row.render();
        Some(row)
    }
}

impl Deref for StudyRow {
    type Target = Texts;

    fn deref(&self) -> &Texts {
        &self.texts
    }
}

/// What a search tells of a series. Texts are those of its first instance; it derefs to them.
#[derive(Debug, Clone)]
pub struct SeriesRow {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// Series Number; 0 if absent.
    pub number: i32,
    /// Attributes of the first instance.
    pub texts: Texts,
    /// Instances here, whole and durable.
    pub instances: u32,
    /// Bytes of their files.
    pub bytes: u64,
    json: String,
}

impl SeriesRow {
    /// The row of a series whose first instance has this header, without an instance yet.
    pub(crate) fn new(header: &Header) -> SeriesRow {
        SeriesRow {
            study: header.study.clone(),
            series: header.series.clone(),
            number: header.series_number,
            texts: header.texts.clone(),
            instances: 0,
            bytes: 0,
            json: String::new(),
        }
    }

    /// Makes the JSON follow the counts.
    pub(crate) fn refresh(&mut self) {
        self.json = self.render();
    }

    /// The DICOM JSON object of the default series attributes (PS3.18 table 10.6.3-4) without
    /// RetrieveURL; the Study Instance UID and the body part are in it too.
    pub fn json(&self) -> &str {
        &self.json
    }

    fn render(&self) -> String {
        let texts = &self.texts;
        let mut json = ObjectWriter::new();
        json.text(0x0008_0005, "CS", "ISO_IR 192").text(0x0008_0056, "CS", "ONLINE").text(
            0x0008_0060,
            "CS",
            &texts.modality,
        );
        if !texts.timezone.is_empty() {
            json.text(0x0008_0201, "SH", &texts.timezone);
        }
        json.text(0x0008_103e, "LO", &texts.series_description)
            .text(0x0018_0015, "CS", &texts.body_part)
            .text(0x0020_000d, "UI", self.study.as_str())
            .text(0x0020_000e, "UI", self.series.as_str())
            .number(0x0020_0011, "IS", i64::from(self.number))
            .number(0x0020_1209, "IS", i64::from(self.instances))
            .text(0x0040_0244, "DA", &texts.step_date)
            .text(0x0040_0245, "TM", &texts.step_time);
        json.finish()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![ROW_VERSION];
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.instances.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        put_text(&mut out, self.study.as_str());
        put_text(&mut out, self.series.as_str());
        for text in self.texts.all() {
            put_text(&mut out, text);
        }
        out
    }

    pub(crate) fn decode(stored: &[u8]) -> Option<SeriesRow> {
        let mut fields = Fields(stored);
        if fields.u8()? != ROW_VERSION {
            return None;
        }
        let (number, instances, bytes) = (fields.i32()?, fields.u32()?, fields.u64()?);
        let (study, series) = (fields.uid()?, fields.uid()?);
        let texts = texts(&mut fields)?;
        let json = String::new();
        let mut row = SeriesRow { study, series, number, texts, instances, bytes, json };
        row.refresh();
        Some(row)
    }
}

impl Deref for SeriesRow {
    type Target = Texts;

    fn deref(&self) -> &Texts {
        &self.texts
    }
}

fn texts(fields: &mut Fields) -> Option<Texts> {
    let mut texts = Texts::default();
    for field in texts.all_mut() {
        field.push_str(fields.text()?);
    }
    Some(texts)
}
