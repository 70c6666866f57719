//! Attributes of a phantom, put in by kind.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// A data set, or an item of one, that grows.
pub(super) struct Elements(InMemDicomObject);

impl Elements {
    /// Nothing yet.
    pub fn new() -> Elements {
        Elements(InMemDicomObject::new_empty())
    }

    /// A text, with backslashes between its values.
    pub fn text(&mut self, tag: Tag, vr: VR, text: &str) {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
    }

    /// A decimal string of at most 16 bytes.
    pub fn number(&mut self, tag: Tag, number: f32) {
        self.text(tag, VR::DS, &format!("{number:.3}"));
    }

    /// A word of 16 bits.
    pub fn short(&mut self, tag: Tag, vr: VR, number: i16) {
        let value = match vr {
            VR::SS => PrimitiveValue::from(number),
            _ => PrimitiveValue::from(number as u16),
        };
        self.0.put(DataElement::new(tag, vr, value));
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, tag: Tag, vr: VR, bytes: Vec<u8>) {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::U8(bytes.into())));
    }

    /// A sequence.
    pub fn items(&mut self, tag: Tag, items: Vec<Elements>) {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    }

    /// A sequence of one item.
    pub fn item(&mut self, tag: Tag, item: Elements) {
        self.items(tag, vec![item]);
    }

    /// Millimetres between rows and between columns.
    pub fn spacing(&mut self, tag: Tag, spacing: f32) {
        self.text(tag, VR::DS, &format!("{spacing:.6}\\{spacing:.6}"));
    }

    /// Where a slice lies (PS3.3 C.7.6.2).
    pub fn plane(&mut self, orientation: &str, place: [f32; 3], spacing: f32) {
        let [x, y, z] = place;
        self.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, orientation);
        self.text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("{x:.3}\\{y:.3}\\{z:.3}"));
        self.spacing(tags::PIXEL_SPACING, spacing);
    }

    /// What a viewer shows first (PS3.3 C.11.2).
    pub fn window(&mut self, centre: &str, width: &str) {
        self.text(tags::WINDOW_CENTER, VR::DS, centre);
        self.text(tags::WINDOW_WIDTH, VR::DS, width);
    }

    /// Unsigned grey pixels in words of 16 bits, of which `bits` are used (PS3.3 C.7.6.3).
    pub fn grey(&mut self, size: (usize, usize), bits: i16) {
        self.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        self.short(tags::SAMPLES_PER_PIXEL, VR::US, 1);
        self.short(tags::COLUMNS, VR::US, size.0 as i16);
        self.short(tags::ROWS, VR::US, size.1 as i16);
        self.short(tags::BITS_ALLOCATED, VR::US, 16);
        self.short(tags::BITS_STORED, VR::US, bits);
        self.short(tags::HIGH_BIT, VR::US, bits - 1);
        self.short(tags::PIXEL_REPRESENTATION, VR::US, 0);
    }

    /// The finished data set.
    pub fn into_object(self) -> InMemDicomObject {
        self.0
    }
}

/// A coded entry (PS3.3 8.8).
pub(super) fn code(value: &str, scheme: &str, meaning: &str) -> Elements {
    let mut item = Elements::new();
    item.text(tags::CODE_VALUE, VR::SH, value);
    item.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    item.text(tags::CODE_MEANING, VR::LO, meaning);
    item
}
