//! Through the door: a cache that was filled by an arrival, a ledger, and requests.

mod frames;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use forepost_cache::{Cache, Uid};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::http::Caller;
use crate::ledger::{Arriving, Considered, Ledger, SearchEnd, load_or_make_keys};
use crate::model::{
    Department, FoundStudy, Identifier, IdentifierKind, Link, PatientType, Person, Place,
    PlanOrder, Registration, StudyOutcome, VisitKey,
};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const NOW: Time = Time(1_795_000_000_000);

/// A cache with studies, a ledger, and the door in front of them.
struct House {
    folder: TempDir,
    cache: Cache,
    ledger: Ledger,
    router: Router,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl House {
    fn new() -> House {
        House::open(None)
    }

    fn open(callers: Option<Callers>) -> House {
        let folder = TempDir::new().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let keys = load_or_make_keys(&folder.path().join("keys"), true).unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger"), keys).unwrap();
        let numbers = vec![IdentifierKind::OutpatientNumber, IdentifierKind::IdCardNo];
        let lookup = Lookup::new(ledger.clone(), cache.clone(), numbers);
        let server = Server {
            lookup,
            prefetch: None,
            storage: None,
            callers,
            clock: || NOW,
            retrieve_base: None,
        };
        House { folder, cache, ledger, router: router(Arc::new(server)) }
    }

    /// Three studies of three made-up people; 1 has two series, 3 + 2 instances.
    fn filled() -> House {
        let house = House::new();
        let one = [
            ("StudyDate", "20260301"),
            ("StudyTime", "103015.250"),
            ("AccessionNumber", "A100"),
            ("InstitutionName", "第二医院"),
            ("StudyDescription", "Chest CT"),
            ("PatientName", "Zhang^San=张^三"),
            ("PatientID", "H0001"),
            ("PatientBirthDate", "19800307"),
            ("PatientSex", "M"),
            ("StudyID", "S1"),
            ("Modality", "CT"),
            ("BodyPartExamined", "CHEST"),
        ];
        let mut objects = Vec::new();
        for n in 1..=3 {
            objects.push(phantom("2.25.1", "2.25.1.1", 1, n, CT, &one));
        }
        for n in 1..=2 {
            let more = [("BodyPartExamined", "ABDOMEN"), ("SeriesDescription", "Lung \"B60\"")];
            let own = [&one[..], &more].concat();
            objects.push(phantom("2.25.1", "2.25.1.2", 2, n, CT, &own));
        }
        house.fill("2.25.1", &objects);
        let two = [
            ("StudyDate", "20250115"),
            ("StudyTime", "0805"),
            ("AccessionNumber", "A200"),
            ("StudyDescription", "Head MR"),
            ("PatientName", "李四"),
            ("PatientID", "H0002"),
            ("PatientBirthDate", "19910520"),
            ("PatientSex", "F"),
            ("StudyID", "S2"),
            ("Modality", "MR"),
            ("ReferringPhysicianName", "王五"),
        ];
        house.fill("2.25.2", &[phantom("2.25.2", "2.25.2.1", 1, 1, MR, &two)]);
        let three = [("PatientName", "Zhang^Sanfeng"), ("PatientID", "H0003"), ("Modality", "CT")];
        house.fill("2.25.3", &[phantom("2.25.3", "2.25.3.1", 7, 9, CT, &three)]);
        house
    }

    fn fill(&self, study: &str, objects: &[Vec<u8>]) {
        let mut arrival = self.cache.arrival(&uid(study)).unwrap();
        for bytes in objects {
            let mut object = arrival.begin().unwrap();
            object.write(bytes).unwrap();
            let whole = arrival.complete(object).unwrap();
            assert!(arrival.keep(whole).unwrap());
        }
        arrival.seal().unwrap();
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request(path, "")).await
    }

    async fn accept(&self, path: &str, accept: &str) -> Answer {
        self.send(request(path, accept)).await
    }

    /// The UIDs of a search's rows, of the lowest level that a row names.
    async fn found(&self, path: &str) -> Vec<String> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let lowest = |row: &Value| {
            let tags = ["00080018", "0020000E", "0020000D"];
            let value = tags.iter().find_map(|tag| row[*tag]["Value"][0].as_str());
            value.unwrap().to_owned()
        };
        answer.json().as_array().unwrap().iter().map(lowest).collect()
    }

    fn object_path(&self, study: &str, sop: &str) -> PathBuf {
        self.folder.path().join("cache/studies").join(study).join(format!("{sop}.dcm"))
    }
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The parts of a multipart answer: header text and content, by the boundary that it names.
    fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let media = self.header(header::CONTENT_TYPE);
        let boundary = media.rsplit_once("boundary=").unwrap().1;
        let (first, middle) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}\r\n"));
        let end = format!("\r\n--{boundary}--\r\n");
        let body = self.body.strip_prefix(first.as_bytes()).unwrap();
        let mut rest = body.strip_suffix(end.as_bytes()).unwrap();
        let mut parts = Vec::new();
        loop {
            let (part, behind) = match memchr::memmem::find(rest, middle.as_bytes()) {
                Some(at) => (&rest[..at], Some(&rest[at + middle.len()..])),
                None => (rest, None),
            };
            let at = memchr::memmem::find(part, b"\r\n\r\n").unwrap();
            let head = String::from_utf8(part[..at].to_vec()).unwrap();
            parts.push((head, part[at + 4..].to_vec()));
            match behind {
                Some(behind) => rest = behind,
                None => return parts,
            }
        }
    }
}

fn uid(text: &str) -> Uid {
    Uid::try_from(text).unwrap()
}

fn request(path: &str, accept: &str) -> Request<Body> {
    let mut request = Request::get(format!("/dicom-web/{path}"));
    request = request.header(header::HOST, "forepost.local:8080");
    if !accept.is_empty() {
        request = request.header(header::ACCEPT, accept);
    }
    request.body(Body::empty()).unwrap()
}

/// A small object with these attributes, its values in UTF-8; later ones replace earlier ones.
fn phantom(
    study: &str,
    series: &str,
    series_number: i32,
    number: i32,
    class: &str,
    texts: &[(&str, &str)],
) -> Vec<u8> {
    sized_phantom(study, series, series_number, number, class, texts, 256)
}

/// The same with that many pixels.
fn sized_phantom(
    study: &str,
    series: &str,
    series_number: i32,
    number: i32,
    class: &str,
    texts: &[(&str, &str)],
    pixels: u32,
) -> Vec<u8> {
    let sop = format!("{series}.{number}");
    let mut object = InMemDicomObject::new_empty();
    let mut put = |tag: u32, vr: VR, value: &str| {
        let tag = Tag((tag >> 16) as u16, tag as u16);
        object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    };
    put(0x0008_0005, VR::CS, "ISO_IR 192");
    put(0x0008_0016, VR::UI, class);
    put(0x0008_0018, VR::UI, &sop);
    put(0x0020_000d, VR::UI, study);
    put(0x0020_000e, VR::UI, series);
    put(0x0020_0011, VR::IS, &series_number.to_string());
    put(0x0020_0013, VR::IS, &number.to_string());
    for (keyword, value) in texts {
        let vr = match *keyword {
            "StudyDate" | "PatientBirthDate" => VR::DA,
            "StudyTime" => VR::TM,
            "PatientName" | "ReferringPhysicianName" => VR::PN,
            "AccessionNumber" | "StudyID" => VR::SH,
            "PatientSex" | "Modality" | "BodyPartExamined" => VR::CS,
            "ImageComments" => VR::LT,
            _ => VR::LO,
        };
        put(attribute::tag(keyword).unwrap(), vr, value);
    }
    object.put(DataElement::new(Tag(0x0028, 0x0010), VR::US, PrimitiveValue::from(16_u16)));
    object.put(DataElement::new(Tag(0x0028, 0x0011), VR::US, PrimitiveValue::from(16_u16)));
    object.put(DataElement::new(Tag(0x0028, 0x0100), VR::US, PrimitiveValue::from(16_u16)));
    let pixels: Vec<u16> = (0..pixels).map(|n| n as u16 ^ number as u16).collect();
    let pixels = PrimitiveValue::U16(pixels.into());
    object.put(DataElement::new(Tag(0x7fe0, 0x0010), VR::OW, pixels));
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(EXPLICIT_LITTLE)
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(sop);
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn every_key_finds_its_studies() {
    let house = House::filled();
    for (query, expected) in [
        ("", "1 2 3"),
        ("PatientID=H0001", "1"),
        ("00100020=H000*", "1 2 3"),
        ("PatientID=h0001", ""),
        ("StudyInstanceUID=2.25.2", "2"),
        ("StudyInstanceUID=2.25.2,2.25.3,2.25.4", "2 3"),
        ("StudyInstanceUID=2.25.2%5C2.25.1", "1 2"),
        ("AccessionNumber=A100", "1"),
        ("AccessionNumber=A?00", "1 2"),
        ("StudyDate=20260301", "1"),
        ("StudyDate=20250101-20251231", "2"),
        ("StudyDate=20250115-", "1 2"),
        ("StudyDate=-20250115", "2"),
        ("StudyDate=20250115-20260301", "1 2"),
        ("StudyTime=1030", "1"),
        ("StudyTime=0800-0900", "2"),
        ("StudyTime=080501-", "1 2"),
        ("ModalitiesInStudy=MR", "2"),
        ("ModalitiesInStudy=CT,MR", "1 2 3"),
        ("ModalitiesInStudy=US", ""),
        ("PatientName=Zhang*", "1 3"),
        ("PatientName=ZHANG%5ESAN", "1"),
        ("PatientName=%E5%BC%A0%E4%B8%89", "1"),
        ("PatientName=%D5%C5%C8%FD", "1"),
        ("PatientName=*%E4%B8%89", "1"),
        ("PatientName=%E6%9D%8E*", "2"),
        ("PatientBirthDate=19800307", "1"),
        ("PatientBirthDate=19900101-", "2"),
        ("PatientSex=F", "2"),
        ("StudyID=S1", "1"),
        ("StudyDescription=*mr", "2"),
        ("ReferringPhysicianName=%E7%8E%8B%E4%BA%94", "2"),
        ("InstitutionName=%E7%AC%AC%E4%BA%8C*", "1"),
        ("PatientID=H0001&StudyDate=2025", "!"),
        ("PatientID=H0001&ModalitiesInStudy=MR", ""),
        ("PatientName=", "1 2 3"),
    ] {
        if expected == "!" {
            let answer = house.get(&format!("studies?{query}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
            continue;
        }
        let found = house.found(&format!("studies?{query}")).await;
        let expected: Vec<String> =
            expected.split_whitespace().map(|n| format!("2.25.{n}")).collect();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{query}");
    }
    assert_eq!(house.found("studies").await, ["2.25.1", "2.25.2", "2.25.3"], "newest first");
}

#[tokio::test]
async fn series_and_instances_are_found_by_their_keys() {
    let house = House::filled();
    for (path, expected) in [
        ("series", "2.25.1.1 2.25.1.2 2.25.2.1 2.25.3.1"),
        ("series?Modality=MR", "2.25.2.1"),
        ("series?Modality=CT,MR&SeriesNumber=1", "2.25.1.1 2.25.2.1"),
        ("series?BodyPartExamined=abdomen", "2.25.1.2"),
        ("series?SeriesDescription=Lung*", "2.25.1.2"),
        ("series?SeriesInstanceUID=2.25.3.1,2.25.1.2", "2.25.1.2 2.25.3.1"),
        ("series?PatientID=H0001", "2.25.1.1 2.25.1.2"),
        ("studies/2.25.1/series", "2.25.1.1 2.25.1.2"),
        ("studies/2.25.1/series?SeriesNumber=2", "2.25.1.2"),
        ("studies/2.25.1/series?StudyInstanceUID=2.25.2", ""),
        ("studies/2.25.9/series", ""),
        ("studies/2.25.1/instances", "2.25.1.1.1 2.25.1.1.2 2.25.1.1.3 2.25.1.2.1 2.25.1.2.2"),
        ("studies/2.25.1/instances?InstanceNumber=2", "2.25.1.1.2 2.25.1.2.2"),
        ("studies/2.25.1/instances?SeriesNumber=2", "2.25.1.2.1 2.25.1.2.2"),
        ("studies/2.25.1/instances?SOPInstanceUID=2.25.1.2.1", "2.25.1.2.1"),
        ("studies/2.25.1/series/2.25.1.2/instances", "2.25.1.2.1 2.25.1.2.2"),
        ("studies/2.25.2/series/2.25.1.2/instances", ""),
        ("instances?SOPInstanceUID=2.25.3.1.9", "2.25.3.1.9"),
        ("instances?SOPInstanceUID=2.25.3.1.9,2.25.2.1.1,2.25.8", "2.25.2.1.1 2.25.3.1.9"),
        ("instances?StudyInstanceUID=2.25.2,2.25.3", "2.25.2.1.1 2.25.3.1.9"),
        (
            "instances?StudyInstanceUID=2.25.2,2.25.3&SOPClassUID=1.2.840.10008.5.1.4.1.1.4",
            "2.25.2.1.1",
        ),
    ] {
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(house.found(path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn pages_add_up_to_the_whole() {
    let house = House::filled();
    for path in ["studies?PatientID=H*", "series?StudyID=", "studies/2.25.1/instances?Modality=CT"]
    {
        let whole = house.found(path).await;
        for size in 1..=whole.len() {
            let mut pages = Vec::new();
            for offset in (0..whole.len() + size).step_by(size) {
                let page = format!("{path}&limit={size}&offset={offset}");
                let answer = house.get(&page).await;
                let more = answer.header(header::WARNING).contains("additional results");
                assert_eq!(more, offset + size < whole.len(), "{page}");
                pages.extend(house.found(&page).await);
            }
            assert_eq!(pages, whole, "{path} by {size}");
        }
    }
    assert!(house.found("studies?limit=0").await.is_empty());
    assert!(house.found("studies?offset=3").await.is_empty());
    let answer = house.get("studies?limit=100000").await;
    assert!(answer.header(header::WARNING).starts_with("299 forepost \"limit is 5000"));
}

#[tokio::test]
async fn rows_say_what_the_standard_wants() {
    let house = House::filled();
    let base = "http://forepost.local:8080/dicom-web/studies/2.25.1";
    let study = &house.get("studies?PatientID=H0001").await.json()[0];
    assert_eq!(study["00081190"]["Value"][0], base);
    assert_eq!(study["00081190"]["vr"], "UR");
    assert_eq!(study["00201206"]["Value"][0], 2);
    assert_eq!(study["00201208"]["Value"][0], 5);
    assert_eq!(study["00080061"]["Value"], serde_json::json!(["CT"]));
    assert_eq!(study["00100010"]["Value"][0]["Ideographic"], "张^三");
    let answer = house.get("studies/2.25.1/series?SeriesNumber=2").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/dicom+json");
    let series = &answer.json()[0];
    assert_eq!(series["00081190"]["Value"][0], format!("{base}/series/2.25.1.2"));
    assert_eq!(series["0008103E"]["Value"][0], "Lung \"B60\"");
    assert_eq!(series["00201209"]["Value"][0], 2);
    assert_eq!(series["00100020"], Value::Null, "the path names the study");
    let relational = &house.get("series?SeriesNumber=2").await.json()[0];
    assert_eq!(relational["00100020"]["Value"][0], "H0001");
    let instance = &house.get("instances?SOPInstanceUID=2.25.1.1.2").await.json()[0];
    let url = format!("{base}/series/2.25.1.1/instances/2.25.1.1.2");
    assert_eq!(instance["00081190"]["Value"][0], url);
    for (tag, value) in [("00200013", 2), ("00280010", 16), ("00280100", 16), ("00200011", 1)] {
        assert_eq!(instance[tag]["Value"][0], value, "{tag}");
    }
    assert_eq!(instance["00100020"]["Value"][0], "H0001");
    assert_eq!(instance["00080016"]["Value"][0], CT);
    let narrow = &house.get("studies/2.25.1/series/2.25.1.1/instances").await.json()[0];
    assert_eq!(narrow["00200011"], Value::Null, "the path names the series");
}

#[tokio::test]
async fn fields_are_added_from_the_objects_in_order() {
    let house = House::filled();
    let one = &house.get("studies?StudyID=S1&includefield=InstitutionName").await.json()[0];
    assert_eq!(one["00080080"]["Value"][0], "第二医院");
    let key = &house.get("studies?InstitutionName=*").await.json()[0];
    assert_eq!(key["00080080"]["Value"][0], "第二医院", "a matching key is answered with");
    let path = "studies/2.25.1/series?includefield=00080016,PatientName&includefield=00080080";
    let two = &house.get(path).await.json()[0];
    assert_eq!(two["00080016"]["Value"][0], CT);
    assert_eq!(two["00100010"]["Value"][0]["Alphabetic"], "Zhang^San");
    assert_eq!(two["00080080"]["Value"][0], "第二医院");
    let all = &house.get("studies?StudyID=S1&includefield=all").await.json()[0];
    assert_eq!(all["00080080"]["Value"][0], "第二医院");
    assert_eq!(all["00080018"], Value::Null, "an instance's attribute is none of a study");
    let all = &house.get("studies/2.25.1/instances?includefield=all").await.json()[0];
    assert_eq!(all["00180015"]["Value"][0], "CHEST");
    let path = "studies?includefield=NoSuchThing&Operator=x";
    let warnings = house.get(path).await.headers;
    assert_eq!(warnings.get_all(header::WARNING).iter().count(), 2);
    for path in ["studies?includefield=all", "series?includefield=all", "studies/2.25.1/instances"]
    {
        let body = house.get(path).await.body;
        let mut rows = &body[1..];
        let mut count = 0;
        while rows.first() == Some(&b'{') {
            let tags: Vec<u32> = json::Members::of(rows).map(|(tag, _)| tag).collect();
            assert!(tags.is_sorted_by(|a, b| a < b), "{path}: {tags:08x?}");
            let mut stream = serde_json::Deserializer::from_slice(rows).into_iter::<Value>();
            let row = stream.next().unwrap().unwrap();
            assert_eq!(row.as_object().unwrap().len(), tags.len());
            rows = &rows[stream.byte_offset() + 1..];
            count += 1;
        }
        assert!(count > 0, "{path}");
    }
}

#[tokio::test]
async fn refusals_say_in_words_what_is_wrong() {
    let house = House::filled();
    let xml = "multipart/related; type=\"application/dicom+xml\"";
    let jpeg = "multipart/related; type=\"application/dicom\"; \
                transfer-syntax=1.2.840.10008.1.2.4.70";
    for (path, accept, status, words) in [
        ("studies/1..2", "", 400, "malformed"),
        ("studies/abc/metadata", "", 400, "malformed"),
        ("studies?StudyDate=lastweek", "", 400, "StudyDate"),
        ("studies?limit=x", "", 400, "limit"),
        ("studies?PatientName=%FF", "", 400, "PatientName"),
        ("instances", "", 400, "SOPInstanceUID"),
        ("instances?Modality=CT", "", 400, "SOPInstanceUID"),
        ("patients", "", 404, "No such"),
        ("", "", 404, "No such"),
        ("studies/2.25.9", "", 404, "study"),
        ("studies/2.25.9/metadata", "", 404, "study"),
        ("studies/2.25.1/series/2.25.2.1", "", 404, "series"),
        ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.2.1", "", 404, "instance"),
        ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/rendered", "", 404, "rendered"),
        ("studies/2.25.1/rendered", "", 404, "rendered"),
        ("studies", xml, 406, "application/dicom+json"),
        ("studies/2.25.1/metadata", xml, 406, "application/dicom+json"),
        ("studies/2.25.1", "application/dicom", 406, "multipart/related"),
        ("studies/2.25.1", "image/jpeg", 406, "multipart/related"),
        ("studies/2.25.1", jpeg, 406, EXPLICIT_LITTLE),
    ] {
        let answer = house.accept(path, accept).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), "text/plain; charset=utf-8");
    }
    let post = Request::post("/dicom-web/studies").body(Body::from("x")).unwrap();
    let answer = house.send(post).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header(header::ALLOW), "GET, HEAD");
}

#[tokio::test]
async fn only_callers_that_may_see_images_are_answered() {
    let caller = |name: &str, net: &str, images: bool| Caller {
        name: name.into(),
        addresses: vec![net.parse().unwrap()],
        token: None,
        push: !images,
        images,
        ask_sources: false,
        store: false,
        logins: false,
        dictionaries: false,
        hospitals: Vec::new(),
        success_code: None,
        mirror_status: false,
    };
    let callers = vec![caller("his", "10.1.0.0/16", false), caller("pacs", "10.2.0.0/16", true)];
    let house = House::open(Some(Callers::new(callers)));
    for (address, status) in [("10.1.0.1", 401), ("10.2.0.1", 200), ("10.3.0.1", 401)] {
        let mut request = request("studies", "");
        request.extensions_mut().insert(Peer(address.parse().unwrap()));
        let answer = house.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{address}");
        assert!(!answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    assert_eq!(house.get("studies").await.status, StatusCode::UNAUTHORIZED, "no address at all");
}

#[tokio::test]
async fn objects_come_back_byte_for_byte() {
    let house = House::filled();
    for (path, sops) in [
        ("studies/2.25.1", &["1.1", "1.2", "1.3", "2.1", "2.2"][..]),
        ("studies/2.25.1/series/2.25.1.2", &["2.1", "2.2"]),
        ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.3", &["1.3"]),
    ] {
        for accept in ["", "multipart/related; type=\"application/dicom\"; transfer-syntax=*"] {
            let answer = house.accept(path, accept).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let length = answer.header(header::CONTENT_LENGTH);
            assert_eq!(length, answer.body.len().to_string(), "{path}");
            let parts = answer.parts();
            assert_eq!(parts.len(), sops.len(), "{path}");
            for ((head, content), sop) in parts.iter().zip(sops) {
                let stored = read(&house.object_path("2.25.1", &format!("2.25.1.{sop}")));
                assert!(*content == stored, "{path} {sop}");
                let media = format!("application/dicom; transfer-syntax={EXPLICIT_LITTLE}");
                assert!(head.contains(&media), "{head}");
            }
        }
    }
    let path = "studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1";
    let bare = house.accept(path, "application/dicom").await;
    assert!(bare.body == read(&house.object_path("2.25.1", "2.25.1.1.1")));
    assert_eq!(bare.header(header::CONTENT_TYPE), "application/dicom");
    let stored = format!("application/dicom; transfer-syntax={EXPLICIT_LITTLE}");
    assert_eq!(house.accept(path, &stored).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_large_object_passes_in_pieces() {
    let house = House::new();
    let pixels = 3 * limits::PIECE_BYTES as u32 / 2 + 17;
    let texts = [("Modality", "CT")];
    let object = sized_phantom("2.25.5", "2.25.5.1", 1, 1, CT, &texts, pixels);
    house.fill("2.25.5", std::slice::from_ref(&object));
    let answer = house.get("studies/2.25.5").await;
    assert!(answer.parts()[0].1 == object);
}

#[tokio::test]
async fn head_tells_the_length_without_the_body() {
    let house = House::filled();
    for path in ["studies/2.25.1", "studies/2.25.1/metadata", "studies"] {
        let whole = house.get(path).await;
        let mut request = request(path, "");
        *request.method_mut() = Method::HEAD;
        let head = house.send(request).await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.body.is_empty());
        let length = head.header(header::CONTENT_LENGTH);
        assert_eq!(length, whole.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn metadata_are_those_of_the_objects() {
    let house = House::filled();
    for (path, count) in [
        ("studies/2.25.1/metadata", 5),
        ("studies/2.25.1/series/2.25.1.1/metadata", 3),
        ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.2/metadata", 1),
    ] {
        let json = house.get(path).await.json();
        let rows = json.as_array().unwrap();
        assert_eq!(rows.len(), count, "{path}");
        for row in rows {
            assert_eq!(row["0020000D"]["Value"][0], "2.25.1");
            assert_eq!(row["00280010"]["Value"][0], 16);
            assert_eq!(row["00100010"]["Value"][0]["Ideographic"], "张^三");
            let (series, sop) = (&row["0020000E"]["Value"][0], &row["00080018"]["Value"][0]);
            let uri = format!(
                "http://forepost.local:8080/dicom-web/studies/2.25.1/series/{}/instances/{}\
                 /bulkdata/7FE00010",
                series.as_str().unwrap(),
                sop.as_str().unwrap()
            );
            assert_eq!(row["7FE00010"], serde_json::json!({"vr": "OW", "BulkDataURI": uri}));
        }
    }
    for path in ["studies/2.25.1/instances?includefield=all", "studies?includefield=7FE00010"] {
        let rows = house.get(path).await.json();
        assert!(rows[0].get("7FE00010").is_none(), "{path}");
    }
}

#[tokio::test]
async fn long_metadata_come_in_pieces_and_whole() {
    let house = House::new();
    let comments = "y".repeat(9_000);
    let texts = [("Modality", "CT"), ("ImageComments", comments.as_str())];
    let objects: Vec<Vec<u8>> =
        (1..=150).map(|n| phantom("2.25.6", "2.25.6.1", 1, n, CT, &texts)).collect();
    house.fill("2.25.6", &objects);
    let answer = house.get("studies/2.25.6/metadata").await;
    assert!(answer.body.len() > 2 * limits::METADATA_PIECE_BYTES);
    assert_eq!(answer.header(header::CONTENT_LENGTH), "", "its length is not known beforehand");
    let json = answer.json();
    let numbers: Vec<i64> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["00200013"]["Value"][0].as_i64().unwrap())
        .collect();
    assert!(numbers.into_iter().eq(1..=150));
}

#[tokio::test]
async fn a_missing_file_is_500_before_and_an_error_behind_the_first_byte() {
    let house = House::filled();
    std::fs::remove_file(house.object_path("2.25.1", "2.25.1.1.1")).unwrap();
    let first = house.get("studies/2.25.1").await;
    assert_eq!(first.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(first.text().contains("x-request-id"));
    // The last of series 2: the head has left when it is met.
    let short = house.object_path("2.25.1", "2.25.1.2.2");
    let bytes = read(&short);
    std::fs::write(&short, &bytes[..bytes.len() - 1]).unwrap();
    let response =
        house.router.clone().oneshot(request("studies/2.25.1/series/2.25.1.2", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn what_is_open_stays_readable_when_the_study_is_removed() {
    let house = House::filled();
    let stored = read(&house.object_path("2.25.2", "2.25.2.1.1"));
    let path = "studies/2.25.2/series/2.25.2.1/instances/2.25.2.1.1";
    let response = house.router.clone().oneshot(request(path, "application/dicom")).await.unwrap();
    assert!(house.cache.remove_study(&uid("2.25.2")).unwrap() > 0);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body == stored);
    assert_eq!(house.get(path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_study_that_is_arriving_shows_what_is_whole() {
    let house = House::filled();
    let mut arrival = house.cache.arrival(&uid("2.25.3")).unwrap();
    let texts = [("PatientID", "H0003"), ("Modality", "CT")];
    let mut keep = |n: i32| {
        let mut object = arrival.begin().unwrap();
        object.write(&phantom("2.25.3", "2.25.3.1", 7, n, CT, &texts)).unwrap();
        let whole = arrival.complete(object).unwrap();
        arrival.keep(whole).unwrap();
        arrival.seal().unwrap();
    };
    assert_eq!(house.get("studies/2.25.3").await.parts().len(), 1);
    keep(10);
    assert_eq!(house.get("studies/2.25.3").await.parts().len(), 2);
    assert_eq!(house.found("studies/2.25.3/instances").await.len(), 2);
}

fn registration(number: &str, visit: &str) -> Registration {
    Registration {
        hospital: "H110199".into(),
        visit: VisitKey::outpatient(visit).unwrap(),
        person: Person { name: "张三".into(), sex: None, birth: None, birth_years: None },
        identifiers: vec![Identifier::new(IdentifierKind::OutpatientNumber, number).unwrap()],
        id_card_unread: None,
        patient_type: PatientType::Outpatient,
        visit_at: Some(NOW),
        department: Department::default(),
        cancelled: false,
        seen: false,
        discharged_at: None,
    }
}

fn considered(study: &str, outcome: StudyOutcome, link: Link) -> Considered {
    let place = Place { source: "cloud".into(), retrieve_url: None };
    let empty = String::new;
    let study = FoundStudy {
        study: uid(study),
        place: place.clone(),
        patient_name: empty(),
        patient_id: empty(),
        birth_date: empty(),
        sex: empty(),
        age: empty(),
        study_date: empty(),
        study_time: empty(),
        modalities: Vec::new(),
        body_part: empty(),
        description: empty(),
        institution_name: empty(),
        institution_code: empty(),
        accession_issuer: empty(),
        instances: None,
    };
    Considered {
        study,
        places: vec![place],
        outcome,
        link,
        score: 0,
        why: empty(),
        why_zh: empty(),
    }
}

/// Registers a visit with a number and settles what a search brought.
async fn link(house: &House, number: &str, found: Vec<Considered>) {
    let order =
        PlanOrder { urgent: false, due_at: NOW, searchable: true, cancelled: false, over: false };
    let registration = registration(number, number);
    let arriving = Arriving {
        body: None,
        onward: Vec::new(),
        awaited: Vec::new(),
        caller: "his".into(),
        reader: None,
    };
    let registered = house.ledger.register(registration.clone(), arriving, order, NOW);
    let id = registered.await.unwrap().id;
    let ends = vec![("cloud".to_owned(), SearchEnd::Answered)];
    house.ledger.settle_search(id, &registration, ends, found, vec![], NOW).await.unwrap();
}

#[tokio::test]
async fn a_registered_number_finds_what_is_linked_and_nothing_kept_apart() {
    let house = House::filled();
    assert!(house.found("studies?PatientID=MZ0042").await.is_empty());
    let found = vec![
        considered("2.25.1", StudyOutcome::Chosen, Link::Confirmed),
        considered("2.25.2", StudyOutcome::Apart, Link::Apart),
        considered("2.25.3", StudyOutcome::Chosen, Link::Unconfirmed),
    ];
    link(&house, "MZ0042", found).await;
    assert_eq!(house.found("studies?PatientID=MZ0042").await, ["2.25.1", "2.25.3"]);
    assert_eq!(house.found("studies?PatientID=mz0042&limit=1&offset=1").await, ["2.25.3"]);
    // The objects carry this number, but the registration with it contradicts them.
    link(&house, "H0002", vec![considered("2.25.2", StudyOutcome::Apart, Link::Apart)]).await;
    assert!(house.found("studies?PatientID=H0002").await.is_empty());
}

#[tokio::test]
async fn a_registered_number_narrows_by_other_keys_and_lower_levels() {
    let house = House::filled();
    let found = vec![considered("2.25.1", StudyOutcome::Chosen, Link::Confirmed)];
    link(&house, "MZ0043", found).await;
    for (path, count) in [
        ("studies?PatientID=MZ0043&StudyDate=20260301", 1),
        ("studies?PatientID=MZ0043&StudyDate=20250101", 0),
        ("series?PatientID=MZ0043", 2),
        ("studies/2.25.1/series?PatientID=MZ0043", 2),
        ("studies/2.25.2/series?PatientID=MZ0043", 0),
        ("studies/2.25.1/instances?PatientID=MZ0043", 5),
    ] {
        assert_eq!(house.found(path).await.len(), count, "{path}");
    }
}
