//! Studies of people who do not exist: a CT of the chest, an MR of the head, a chest film.
//!
//! For the demo, for tests and benches, wherever real images would be real people. Always holds:
//! the same phantom gives the same bytes and UIDs on every run; every instance is a complete
//! Part 10 file, explicit VR little endian, with the mandatory attributes of its IOD (PS3.3 A.3
//! CT Image, A.4 MR Image, A.26 Digital X-Ray Image); an instance is made without the others, so
//! that threads can share a study. UIDs are UUIDs under 2.25 (PS3.5 B.2), made from a hash of
//! kind, seed, study date and accession number, because one study may be filed under several
//! patients. Refused: files in the repository, large and of one size only. Start at [`Phantom`];
//! pictures are in `ct.rs`, `mr.rs` and `film.rs`.

mod canvas;
mod ct;
mod elements;
mod film;
mod mr;
mod thorax;

use aws_lc_rs::digest;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use canvas::mixed;
use ct::Kernel;
use elements::{Elements, code};
use film::View;
use mr::Weight;
use thorax::Thorax;

/// Rows and columns of a chest film.
const FILM_SIZE: (usize, usize) = (1_024, 1_280);

/// Millimetres between the pixels of a chest film.
const FILM_SPACING: f32 = 0.336;

/// Height of a film's first row above the top of the lungs, in millimetres.
const FILM_TOP: f32 = -68.0;

/// Slices below which a CT is one series without localizers.
const CT_SLICES_SERIES: usize = 12;

/// What the study is a picture of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A chest CT with contrast. From 12 instances on two are localizers, and the rest are the
    /// same slices for soft tissue and for the lung. 512 × 512 × 16 bits, 525 KB each.
    Ct {
        /// Instances in all.
        slices: usize,
    },
    /// A head MR, half of the instances weighted by T1 and half by T2. 256 × 256 × 16 bits.
    Mr {
        /// Instances in all.
        slices: usize,
    },
    /// A chest film from behind and, with two views, from the side. 1024 × 1280 × 12 bits.
    Film {
        /// Instances: 1 or 2.
        views: usize,
    },
}

/// How the texts are written (PS3.3 C.12.1.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// `ISO_IR 192`.
    Utf8,
    /// `GB18030`.
    Gb18030,
    /// `GBK`.
    Gbk,
}

/// Somebody who does not exist.
#[derive(Debug, Clone)]
pub struct Patient {
    /// PN text as it stands in the file: `王^小东` or `Wang^Xiaodong=王^小东`.
    pub name: String,
    /// Patient ID at the hospital that made the study.
    pub id: String,
    /// `YYYYMMDD`.
    pub birth_date: String,
    /// `M`, `F` or `O`.
    pub sex: String,
    /// As `052Y`.
    pub age: String,
}

/// The hospital that made the study.
#[derive(Debug, Clone)]
pub struct Institution {
    /// Its full name, at most 64 characters.
    pub name: String,
    /// Its code, at most 16 characters.
    pub code: String,
}

/// A made-up study. Equal values give equal bytes; kind, seed, study date and accession number
/// give the UIDs.
#[derive(Debug, Clone)]
pub struct Phantom {
    /// What it is a picture of.
    pub kind: Kind,
    /// Of whom.
    pub patient: Patient,
    /// How its texts are written.
    pub charset: Charset,
    /// Who made it.
    pub institution: Institution,
    /// `YYYYMMDD`.
    pub study_date: String,
    /// `HHMMSS`.
    pub study_time: String,
    /// Accession number, at most 16 characters.
    pub accession: String,
    /// Study Description, at most 64 characters.
    pub description: String,
    /// Body Part Examined, a code string as `CHEST`.
    pub body_part: String,
    /// Which body, of the many.
    pub seed: u64,
}

/// One instance's place in its study.
struct Slot {
    /// Series Number.
    series: usize,
    /// Series Description.
    title: &'static str,
    /// Instance Number, from 1.
    number: usize,
    picture: Picture,
}

/// What one instance shows.
#[derive(Clone, Copy)]
enum Picture {
    /// A CT slice, so many millimetres below the top of the lungs.
    Slice { z: f32, thickness: f32, kernel: Kernel },
    /// The overview that a CT begins with.
    Localizer(View),
    /// An MR slice, so many millimetres above the ventricles.
    Head { z: f32, thickness: f32, weight: Weight },
    /// A film.
    Film(View),
}

impl Phantom {
    /// Study Instance UID.
    pub fn study_uid(&self) -> String {
        self.uid("study", 0)
    }

    /// Series Instance UID of an instance, counted from 0.
    pub fn series_uid(&self, number: usize) -> String {
        self.uid("series", self.slot(number).series)
    }

    /// SOP Instance UID of an instance, counted from 0.
    pub fn instance_uid(&self, number: usize) -> String {
        self.uid("instance", number)
    }

    /// How many instances there are.
    pub fn instances(&self) -> usize {
        match self.kind {
            Kind::Ct { slices } | Kind::Mr { slices } => slices,
            Kind::Film { views } => views.min(2),
        }
    }

    /// One instance, counted from 0, as a Part 10 file.
    ///
    /// # Panics
    /// When there is no such instance, or a text is not in the character set.
    pub fn write(&self, number: usize) -> Vec<u8> {
        self.file(number, true)
    }

    /// The same instance without its pixels: what an index that keeps no images has of it.
    ///
    /// # Panics
    /// As [`Phantom::write`].
    pub fn write_header(&self, number: usize) -> Vec<u8> {
        self.file(number, false)
    }

    fn file(&self, number: usize, with_pixels: bool) -> Vec<u8> {
        assert!(number < self.instances(), "a phantom's instances are counted from 0");
        let slot = self.slot(number);
        let mut elements = Elements::new();
        self.put_patient_and_study(&mut elements);
        self.put_series_and_machine(&mut elements, &slot);
        let class = match slot.picture {
            Picture::Slice { .. } | Picture::Localizer(_) => {
                put_ct(&mut elements, slot.picture);
                uids::CT_IMAGE_STORAGE
            }
            Picture::Head { z, thickness, weight } => {
                put_mr(&mut elements, z, thickness, weight);
                uids::MR_IMAGE_STORAGE
            }
            Picture::Film(view) => {
                put_film(&mut elements, view);
                uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION
            }
        };
        elements.text(tags::SOP_CLASS_UID, VR::UI, class);
        elements.text(tags::SOP_INSTANCE_UID, VR::UI, &self.instance_uid(number));
        if with_pixels {
            elements.bytes(tags::PIXEL_DATA, VR::OW, self.pixels(number, slot.picture));
        }
        part10(elements.into_object(), class, &self.instance_uid(number))
    }

    /// A UUID of version 8 (RFC 9562 5.8) from a hash.
    fn uid(&self, what: &str, number: usize) -> String {
        let Phantom { kind, seed, study_date, accession, .. } = self;
        let text = format!("{kind:?}/{seed}/{study_date}/{accession}/{what}/{number}");
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        bytes[6] = 0x80 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        format!("2.25.{}", u128::from_be_bytes(bytes))
    }

    fn slot(&self, number: usize) -> Slot {
        match self.kind {
            Kind::Ct { slices } => ct_slot(number, slices),
            Kind::Mr { slices } => mr_slot(number, slices),
            Kind::Film { .. } => {
                let (title, view) = match number {
                    0 => ("PA", View::Front),
                    _ => ("LAT", View::Side),
                };
                Slot { series: number + 1, title, number: 1, picture: Picture::Film(view) }
            }
        }
    }

    fn pixels(&self, number: usize, picture: Picture) -> Vec<u8> {
        let salt = mixed(self.seed ^ ((number as u64) << 40));
        let thorax = || Thorax::new(self.seed);
        match picture {
            Picture::Slice { z, kernel, .. } => ct::slice(&thorax(), z, kernel, salt),
            Picture::Localizer(view) => {
                let size = (ct::EDGE, ct::EDGE);
                film::film(&thorax(), view, size, ct::SPACING, ct::TOP - 24.0, salt)
            }
            Picture::Head { z, weight, .. } => mr::slice(self.seed, z, weight, salt),
            Picture::Film(view) => {
                film::film(&thorax(), view, FILM_SIZE, FILM_SPACING, FILM_TOP, salt)
            }
        }
    }

    /// Patient, General Study and Patient Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2).
    fn put_patient_and_study(&self, elements: &mut Elements) {
        let charset = match self.charset {
            Charset::Utf8 => "ISO_IR 192",
            Charset::Gb18030 => "GB18030",
            Charset::Gbk => "GBK",
        };
        elements.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset);
        elements.text(tags::PATIENT_NAME, VR::PN, &self.patient.name);
        elements.text(tags::PATIENT_ID, VR::LO, &self.patient.id);
        elements.text(tags::ISSUER_OF_PATIENT_ID, VR::LO, &self.institution.code);
        elements.text(tags::PATIENT_BIRTH_DATE, VR::DA, &self.patient.birth_date);
        elements.text(tags::PATIENT_SEX, VR::CS, &self.patient.sex);
        elements.text(tags::PATIENT_AGE, VR::AS, &self.patient.age);
        elements.text(tags::STUDY_INSTANCE_UID, VR::UI, &self.study_uid());
        elements.text(tags::STUDY_ID, VR::SH, &self.accession);
        elements.text(tags::ACCESSION_NUMBER, VR::SH, &self.accession);
        elements.text(tags::STUDY_DESCRIPTION, VR::LO, &self.description);
        elements.text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
        for tag in [tags::STUDY_DATE, tags::SERIES_DATE, tags::ACQUISITION_DATE, tags::CONTENT_DATE]
        {
            elements.text(tag, VR::DA, &self.study_date);
        }
        for tag in [tags::STUDY_TIME, tags::SERIES_TIME, tags::ACQUISITION_TIME, tags::CONTENT_TIME]
        {
            elements.text(tag, VR::TM, &self.study_time);
        }
        let mut issuer = Elements::new();
        issuer.text(tags::LOCAL_NAMESPACE_ENTITY_ID, VR::UT, &self.institution.code);
        elements.item(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, issuer);
    }

    /// General Series, Frame of Reference, General Equipment, General Image, SOP Common
    /// (PS3.3 C.7.3.1, C.7.4.1, C.7.5.1, C.7.6.1, C.12.1).
    fn put_series_and_machine(&self, elements: &mut Elements, slot: &Slot) {
        let (modality, model) = match self.kind {
            Kind::Ct { .. } => ("CT", "Phantom CT"),
            Kind::Mr { .. } => ("MR", "Phantom MR"),
            Kind::Film { .. } => ("DX", "Phantom DX"),
        };
        elements.text(tags::MODALITY, VR::CS, modality);
        let series = self.uid("series", slot.series);
        elements.text(tags::SERIES_INSTANCE_UID, VR::UI, &series);
        elements.text(tags::SERIES_NUMBER, VR::IS, &slot.series.to_string());
        elements.text(tags::SERIES_DESCRIPTION, VR::LO, slot.title);
        elements.text(tags::INSTANCE_NUMBER, VR::IS, &slot.number.to_string());
        elements.text(tags::BODY_PART_EXAMINED, VR::CS, &self.body_part);
        elements.text(tags::MANUFACTURER, VR::LO, "Forepost");
        elements.text(tags::MANUFACTURER_MODEL_NAME, VR::LO, model);
        elements.text(tags::INSTITUTION_NAME, VR::LO, &self.institution.name);
        let hospital = code(&self.institution.code, "99HOSP", &self.institution.name);
        elements.item(tags::INSTITUTION_CODE_SEQUENCE, hospital);
        if !matches!(self.kind, Kind::Film { .. }) {
            elements.text(tags::PATIENT_POSITION, VR::CS, "HFS");
            elements.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, &self.uid("frame", 0));
            elements.text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
        }
    }
}

/// Localizers first, then soft tissue, then lung.
fn ct_slot(number: usize, slices: usize) -> Slot {
    let slice = |series, title, index: usize, count: usize, kernel| {
        let thickness = ct::LENGTH / count.max(1) as f32;
        let z = ct::TOP + thickness * (index as f32 + 0.5);
        let picture = Picture::Slice { z, thickness, kernel };
        Slot { series, title, number: index + 1, picture }
    };
    if slices < CT_SLICES_SERIES {
        return slice(1, "胸部增强", number, slices, Kernel::Soft);
    }
    let sharp = (slices - 2) / 2;
    let soft = slices - 2 - sharp;
    match number {
        0 | 1 => {
            let view = if number == 0 { View::Front } else { View::Side };
            let picture = Picture::Localizer(view);
            Slot { series: 1, title: "定位像", number: number + 1, picture }
        }
        _ if number < 2 + soft => slice(2, "胸部增强 纵隔窗", number - 2, soft, Kernel::Soft),
        _ => slice(3, "胸部增强 肺窗", number - 2 - soft, sharp, Kernel::Sharp),
    }
}

/// T1 first, then T2.
fn mr_slot(number: usize, slices: usize) -> Slot {
    let first = slices.div_ceil(2);
    let (series, title, weight, index, count) = if number < first {
        (1, "头部 轴位 T1WI", Weight::T1, number, first)
    } else {
        (2, "头部 轴位 T2WI", Weight::T2, number - first, slices - first)
    };
    let thickness = mr::LENGTH / count as f32;
    let z = mr::LOWEST + thickness * (index as f32 + 0.5);
    Slot { series, title, number: index + 1, picture: Picture::Head { z, thickness, weight } }
}

/// CT Image, Image Plane and Contrast/Bolus modules (PS3.3 C.8.2.1, C.7.6.2, C.7.6.4).
fn put_ct(elements: &mut Elements, picture: Picture) {
    elements.grey((ct::EDGE, ct::EDGE), 12);
    elements.text(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
    elements.text(tags::RESCALE_SLOPE, VR::DS, "1");
    elements.text(tags::RESCALE_TYPE, VR::LO, "HU");
    elements.text(tags::KVP, VR::DS, "120");
    elements.text(tags::ACQUISITION_NUMBER, VR::IS, "1");
    elements.text(tags::CONTRAST_BOLUS_AGENT, VR::LO, "Iohexol");
    let corner = -0.5 * ct::SPACING * (ct::EDGE as f32 - 1.0);
    let (kind, plane, place, window) = match picture {
        Picture::Slice { z, kernel, .. } => {
            let window = match kernel {
                Kernel::Soft => ("40", "400"),
                Kernel::Sharp => ("-600", "1500"),
            };
            ("AXIAL", "1\\0\\0\\0\\1\\0", [corner, corner, -z], window)
        }
        Picture::Localizer(View::Side) => {
            ("LOCALIZER", "0\\1\\0\\0\\0\\-1", [0.0, corner, 24.0 - ct::TOP], ("1050", "3600"))
        }
        _ => ("LOCALIZER", "1\\0\\0\\0\\0\\-1", [corner, 0.0, 24.0 - ct::TOP], ("1050", "3600")),
    };
    elements.text(tags::IMAGE_TYPE, VR::CS, &format!("ORIGINAL\\PRIMARY\\{kind}"));
    elements.plane(plane, place, ct::SPACING);
    elements.window(window.0, window.1);
    let thickness = match picture {
        Picture::Slice { z, thickness, kernel } => {
            let name = if kernel == Kernel::Soft { "SOFT" } else { "LUNG" };
            elements.text(tags::CONVOLUTION_KERNEL, VR::SH, name);
            elements.number(tags::SLICE_LOCATION, -z);
            thickness
        }
        _ => 1.0,
    };
    elements.number(tags::SLICE_THICKNESS, thickness);
}

/// MR Image and Image Plane modules (PS3.3 C.8.3.1, C.7.6.2).
fn put_mr(elements: &mut Elements, z: f32, thickness: f32, weight: Weight) {
    elements.grey((mr::EDGE, mr::EDGE), 12);
    elements.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M\\SE");
    elements.text(tags::SCANNING_SEQUENCE, VR::CS, "SE");
    elements.text(tags::SEQUENCE_VARIANT, VR::CS, "SK");
    elements.text(tags::SCAN_OPTIONS, VR::CS, "");
    elements.text(tags::MR_ACQUISITION_TYPE, VR::CS, "2D");
    let (repetition, echo, train) = match weight {
        Weight::T1 => ("500", "10", "1"),
        Weight::T2 => ("4200", "98", "15"),
    };
    elements.text(tags::REPETITION_TIME, VR::DS, repetition);
    elements.text(tags::ECHO_TIME, VR::DS, echo);
    elements.text(tags::ECHO_TRAIN_LENGTH, VR::IS, train);
    elements.text(tags::MAGNETIC_FIELD_STRENGTH, VR::DS, "1.5");
    let corner = -0.5 * mr::SPACING * (mr::EDGE as f32 - 1.0);
    elements.plane("1\\0\\0\\0\\1\\0", [corner, corner, z], mr::SPACING);
    elements.number(tags::SLICE_THICKNESS, thickness);
    elements.number(tags::SLICE_LOCATION, z);
    elements.window("530", "1060");
}

/// DX Series, DX Anatomy Imaged, DX Image, DX Detector, DX Positioning, Acquisition Context
/// (PS3.3 C.8.11.1 to C.8.11.5, C.7.6.14).
fn put_film(elements: &mut Elements, view: View) {
    elements.grey(FILM_SIZE, 12);
    elements.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY");
    elements.text(tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PRESENTATION");
    elements.text(tags::IMAGE_LATERALITY, VR::CS, "U");
    let chest = code("51185008", "SCT", "Chest");
    elements.item(tags::ANATOMIC_REGION_SEQUENCE, chest);
    elements.text(tags::PIXEL_INTENSITY_RELATIONSHIP, VR::CS, "LOG");
    elements.short(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, VR::SS, -1);
    elements.text(tags::RESCALE_INTERCEPT, VR::DS, "0");
    elements.text(tags::RESCALE_SLOPE, VR::DS, "1");
    elements.text(tags::RESCALE_TYPE, VR::LO, "US");
    elements.text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY");
    elements.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    elements.text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    elements.text(tags::DETECTOR_TYPE, VR::CS, "DIRECT");
    elements.spacing(tags::IMAGER_PIXEL_SPACING, FILM_SPACING);
    elements.spacing(tags::PIXEL_SPACING, FILM_SPACING);
    elements.window("2048", "4096");
    let (position, orientation, view_code) = match view {
        View::Front => ("PA", "L\\F", code("399348003", "SCT", "postero-anterior")),
        View::Side => ("LL", "P\\F", code("399198007", "SCT", "right lateral")),
    };
    elements.text(tags::VIEW_POSITION, VR::CS, position);
    elements.text(tags::PATIENT_ORIENTATION, VR::CS, orientation);
    let mut of_view = view_code;
    of_view.items(tags::VIEW_MODIFIER_CODE_SEQUENCE, Vec::new());
    elements.item(tags::VIEW_CODE_SEQUENCE, of_view);
    elements.items(tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
}

/// Preamble, file meta information and data set (PS3.10 7.1).
fn part10(object: InMemDicomObject, class: &str, instance: &str) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(instance);
    let file = object.with_meta(meta).expect("class, instance and transfer syntax are given");
    let mut bytes = Vec::with_capacity(4_096 + 2 * FILM_SIZE.0 * FILM_SIZE.1);
    file.write_all(&mut bytes).expect("a phantom's texts are in its character set");
    bytes
}

#[cfg(test)]
mod tests;
