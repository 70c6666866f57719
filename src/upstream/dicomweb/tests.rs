//! The source against servers that behave, and against servers that do not.

pub mod server;

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivateKeyDer;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::server::{Act, Asked, JSON, MULTIPART, Server, head, multipart, reply};
use super::*;
use crate::fault::{Blame, Retry};
use crate::model::{Department, Identifier, IdentifierKind, PatientType, Person, Time, VisitKey};
use crate::prefetch::{Piece, Transform};
use crate::upstream::limits::PIECE_BYTES_MIN;
use crate::upstream::options::{ClientCertificate, Host, Waits};

const STUDY: &str = "1.2.826.0.1.3680043.10.1";
const CARD: &str = "77003311";
const TOKEN: &str = "Bearer own-token-551";

fn options(origin: &str) -> DicomwebOptions {
    let second = Duration::from_secs(1);
    DicomwebOptions {
        name: "province".into(),
        base_url: format!("{origin}/rs/"),
        index: false,
        patient_keys: vec![PatientKey {
            kind: IdentifierKind::HealthNo,
            transform: Transform::Plain,
            template: "{}".into(),
            issuer: None,
        }],
        reader: false,
        seal: None,
        headers: vec![("Authorization".into(), SecretString::from(TOKEN))],
        hosts: Vec::new(),
        authorities_pem: String::new(),
        client_certificate: None,
        waits: Waits { connect: second, head: second / 2, idle: second / 2, search: second * 2 },
        parallel: NonZeroUsize::new(4).unwrap(),
        bytes_per_second: None,
        object_bytes_max: 1 << 20,
    }
}

fn source(server: &Server) -> DicomwebSource {
    DicomwebSource::new(&options(&server.origin)).unwrap()
}

fn registration(numbers: &[(IdentifierKind, &str)]) -> Registration {
    Registration {
        hospital: "H11000000001".into(),
        visit: VisitKey::outpatient("1").unwrap(),
        person: Person { name: "王小东".into(), sex: None, birth: None, birth_years: None },
        identifiers: numbers
            .iter()
            .filter_map(|(kind, text)| Identifier::new(*kind, text))
            .collect(),
        id_card_unread: None,
        patient_type: PatientType::Outpatient,
        visit_at: Some(Time(0)),
        department: Department::default(),
        cancelled: false,
        seen: false,
        discharged_at: None,
    }
}

fn patient() -> Registration {
    registration(&[(IdentifierKind::HealthNo, CARD)])
}

fn since() -> Date {
    Date::constant(2024, 3, 9)
}

fn study() -> Uid {
    Uid::try_from(STUDY).unwrap()
}

fn here() -> Place {
    Place { source: "province".into(), retrieve_url: None }
}

fn at(url: String) -> Place {
    Place { source: "province".into(), retrieve_url: Some(url) }
}

/// What came out of a lane: whole objects, and whether one was left open.
type Kept = (Vec<Vec<u8>>, bool);

fn lane() -> (Lane, JoinHandle<Kept>) {
    let (sender, mut receiver) = mpsc::channel(4);
    let keeper = tokio::spawn(async move {
        let (mut whole, mut open) = (Vec::new(), None);
        while let Some((number, piece)) = receiver.recv().await {
            assert_eq!(number, 3);
            match piece {
                Piece::Begin => assert!(open.replace(Vec::new()).is_none()),
                Piece::Bytes(bytes) => open.as_mut().unwrap().extend_from_slice(&bytes),
                Piece::End => whole.push(open.take().unwrap()),
            }
        }
        (whole, open.is_some())
    });
    (Lane::new(sender, 3), keeper)
}

async fn retrieve_from(
    source: &DicomwebSource,
    place: &Place,
    wanted: &Wanted,
) -> (Result<(), Fault>, Vec<Vec<u8>>) {
    let (lane, keeper) = lane();
    let result = source.retrieve(place, &study(), wanted, &lane).await;
    drop(lane);
    let (whole, open) = keeper.await.unwrap();
    assert!(!(open && result.is_ok()), "success leaves no object open");
    if let Err(fault) = &result {
        assert_clean(fault);
    }
    (result, whole)
}

async fn retrieve(source: &DicomwebSource) -> (Result<(), Fault>, Vec<Vec<u8>>) {
    retrieve_from(source, &here(), &Wanted::Study).await
}

async fn search(source: &DicomwebSource) -> Result<Vec<FoundStudy>, Fault> {
    let found = source.search(&patient(), since()).await;
    if let Err(fault) = &found {
        assert_clean(fault);
    }
    found
}

/// A fault goes to the log as it is.
fn assert_clean(fault: &Fault) {
    let text = format!("{fault:?}");
    for secret in [CARD, "token", "PatientID", "includefield", "/rs/"] {
        assert!(!text.contains(secret), "{text}");
    }
}

fn rows(range: std::ops::Range<usize>) -> String {
    let rows: Vec<String> = range
        .map(|n| {
            format!(
                r#"{{"0020000D":{{"Value":["1.2.{n}"]}},"0020000E":{{"Value":["1.3"]}},
                "00080018":{{"Value":["1.4.{n}"]}},"00200013":{{"Value":[{n}]}}}}"#
            )
        })
        .collect();
    format!("[{}]", rows.join(","))
}

fn found_at(url: &str) -> String {
    format!(r#"[{{"0020000D":{{"Value":["{STUDY}"]}},"00081190":{{"Value":["{url}"]}}}}]"#)
}

#[tokio::test]
async fn a_search_asks_for_the_number_the_window_and_the_fields() {
    let server = Server::plain(|_| reply("200 OK", JSON, rows(0..2))).await;
    let found = search(&source(&server)).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].place, here());
    let asked = server.asked.lock().unwrap()[0].clone();
    let start = format!("/rs/studies?PatientID={CARD}&StudyDate=20240309-&includefield=00080061,");
    assert!(asked.target.starts_with(&start), "{}", asked.target);
    assert!(asked.target.ends_with("&limit=100&offset=0"), "{}", asked.target);
    assert!(asked.head.contains("accept: application/dicom+json"));
    assert!(asked.head.contains(&TOKEN.to_ascii_lowercase()));
    assert!(!asked.head.contains("accept-encoding"), "what is not unpacked is not asked for");
}

#[tokio::test]
async fn the_first_number_that_the_registration_has_is_transformed_and_asked_for() {
    let server = Server::plain(|_| reply("200 OK", JSON, "[]")).await;
    let key = |kind, transform, template: &str| PatientKey {
        kind,
        transform,
        template: template.into(),
        issuer: Some("省 平台".into()),
    };
    let mut options = options(&server.origin);
    options.patient_keys = vec![
        key(IdentifierKind::IdCardNo, Transform::Sha256Hex, "{}"),
        key(IdentifierKind::InsuranceId, Transform::Plain, "1101&{}"),
    ];
    let source = DicomwebSource::new(&options).unwrap();
    for (numbers, asked) in [
        // Numbers are in their normal form before they are hashed: printf ABC | sha256sum.
        (
            vec![(IdentifierKind::InsuranceId, "a7"), (IdentifierKind::IdCardNo, "abc")],
            Some("b5d4045c3f466fa91fe2cc6abe79232a1a57cdf104f7a26e716e0a1e2789df78"),
        ),
        (vec![(IdentifierKind::InsuranceId, "a7")], Some("1101%26A7")),
        (vec![(IdentifierKind::InsuranceId, "a*")], None),
        (vec![(IdentifierKind::InsuranceId, "a?")], None),
        (vec![(IdentifierKind::HealthNo, "a7")], None),
        (vec![], None),
    ] {
        let registration = registration(&numbers);
        assert_eq!(source.understands(&registration), asked.is_some());
        assert_eq!(source.search(&registration, since()).await.unwrap(), []);
        let targets = std::mem::take(&mut *server.asked.lock().unwrap());
        assert_eq!(targets.len(), usize::from(asked.is_some()));
        let Some(asked) = asked else { continue };
        let expected = format!(
            "/rs/studies?PatientID={asked}&IssuerOfPatientID=%E7%9C%81%20%E5%B9%B3%E5%8F%B0&"
        );
        let target = &targets[0].target;
        assert!(target.to_lowercase().starts_with(&expected.to_lowercase()), "{target}");
    }
}

/// What a server with that many rows answers, and how many requests that takes.
async fn paged(
    answer: impl Fn(&Asked) -> (String, &'static str) + Send + Sync + 'static,
) -> (usize, usize) {
    let server = Server::plain(move |asked| {
        let (body, lines) = answer(asked);
        let lines = format!("Content-Length: {}\r\n{lines}", body.len());
        vec![head("200 OK", JSON, &lines), Act::Send(body.into_bytes()), Act::KeepAlive]
    })
    .await;
    let manifest = source(&server).instances(&here(), &study(), &Listing::Study).await.unwrap();
    let mut numbers: Vec<i32> = manifest.iter().map(|instance| instance.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), manifest.len(), "each once");
    assert!(server.targets()[0].starts_with(&format!("/rs/studies/{STUDY}/instances?")));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the connection is kept");
    (manifest.len(), server.targets().len())
}

#[tokio::test]
async fn pages_are_read_to_the_end_from_servers_that_disagree_about_them() {
    let page = |asked: &Asked, rows_max: usize, all: usize| {
        let from = asked.number("offset").min(all);
        rows(from..(from + asked.number("limit").min(rows_max)).min(all))
    };
    let exact = paged(move |asked| (page(asked, usize::MAX, 2 * MANIFEST_PAGE_ROWS), ""));
    assert_eq!(exact.await, (2 * MANIFEST_PAGE_ROWS, 3));
    let short = paged(move |asked| (page(asked, usize::MAX, MANIFEST_PAGE_ROWS + 1), ""));
    assert_eq!(short.await, (MANIFEST_PAGE_ROWS + 1, 2));
    let unpaged = paged(|_| (rows(0..MANIFEST_PAGE_ROWS + 7), ""));
    assert_eq!(unpaged.await, (MANIFEST_PAGE_ROWS + 7, 1));
    let deaf = paged(|_| (rows(0..MANIFEST_PAGE_ROWS), ""));
    assert_eq!(deaf.await, (MANIFEST_PAGE_ROWS, 2));
    const WARNING: &str = "Warning: 299 pacs: \"There are more results\"\r\n";
    let small = paged(move |asked| {
        let more = asked.number("offset") + 40 < 100;
        (page(asked, 40, 100), if more { WARNING } else { "" })
    });
    assert_eq!(small.await, (100, 3));
    let always = paged(move |asked| (page(asked, 40, 100), WARNING));
    assert_eq!(always.await, (100, 4));
    let none = paged(|_| (String::new(), ""));
    assert_eq!(none.await, (0, 1));
}

#[tokio::test]
async fn too_many_rows_are_cut_in_a_search_and_refused_in_a_manifest() {
    let server = Server::plain(|_| reply("200 OK", JSON, rows(0..STUDIES_MAX + 1))).await;
    assert_eq!(search(&source(&server)).await.unwrap().len(), STUDIES_MAX);
    for (instances, good) in [(INSTANCES_MAX, true), (INSTANCES_MAX + 1, false)] {
        let body = rows(0..instances);
        let server = Server::plain(move |_| reply("200 OK", JSON, &body)).await;
        let manifest = source(&server).instances(&here(), &study(), &Listing::Study).await;
        assert_eq!(manifest.is_ok(), good);
        if let Err(fault) = manifest {
            assert_eq!((fault.step, fault.retry), ("too large", Retry::Never));
        }
    }
}

#[tokio::test]
async fn a_server_without_matches_may_say_so_in_several_ways() {
    for acts in [
        || reply("200 OK", JSON, "[]"),
        || reply("200 OK", "", ""),
        || vec![head("204 No Content", "", ""), Act::KeepAlive],
    ] {
        let server = Server::plain(move |_| acts()).await;
        assert_eq!(search(&source(&server)).await.unwrap(), []);
    }
}

#[tokio::test]
async fn an_index_leads_only_to_listed_hosts() {
    let pixels = Server::plain(|asked| {
        if asked.target.contains("/instances") {
            return reply("200 OK", JSON, rows(0..1));
        }
        reply("200 OK", MULTIPART, multipart(&[b"object".to_vec()]))
    })
    .await;
    let stranger = Server::plain(|_| reply("200 OK", JSON, "[]")).await;
    let good = format!("{}/other/studies/{STUDY}?sign=s1", pixels.origin);
    let user = good.replace("://", "://u:p@");
    let elsewhere = format!("{}/studies/{STUDY}", stranger.origin);
    let urls = [good.clone(), elsewhere.clone(), user.clone(), "x".into(), "file:///x".into()];
    let bodies: Vec<String> =
        urls.iter().map(|url| found_at(url)[1..].trim_end_matches(']').to_owned()).collect();
    let body = format!("[{}, {}]", bodies.join(","), &rows(7..8)[1..].trim_end_matches(']'));
    let index = Server::plain(move |_| reply("200 OK", JSON, &body)).await;
    let mut options = options(&index.origin);
    options.index = true;
    options.hosts = vec![Host {
        origin: pixels.origin.clone(),
        headers: vec![("X-Key".into(), SecretString::from("pixel-token"))],
    }];
    let source = DicomwebSource::new(&options).unwrap();
    let found = search(&source).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].place, at(good));
    let manifest = source.instances(&found[0].place, &study(), &Listing::Study).await.unwrap();
    assert_eq!(manifest.len(), 1);
    let wanted = Wanted::Series(Uid::try_from("1.3").unwrap());
    let (result, objects) = retrieve_from(&source, &found[0].place, &wanted).await;
    assert_eq!((result, objects), (Ok(()), vec![b"object".to_vec()]));
    let asked = pixels.asked.lock().unwrap().clone();
    assert!(asked[0].target.starts_with(&format!("/other/studies/{STUDY}/instances?sign=s1&")));
    assert_eq!(asked[1].target, format!("/other/studies/{STUDY}/series/1.3?sign=s1"));
    assert!(asked.iter().all(|asked| asked.head.contains("pixel-token")));
    assert!(asked.iter().all(|asked| !asked.head.contains("own-token")));
    assert!(!index.asked.lock().unwrap()[0].head.contains("pixel-token"));
    for place in [at(elsewhere), at(user)] {
        let (result, _) = retrieve_from(&source, &place, &Wanted::Study).await;
        let fault = result.unwrap_err();
        assert_eq!((fault.blame, fault.step), (Blame::Ours, "unlisted host"));
        assert!(!fault.detail.contains(STUDY));
    }
    assert!(stranger.targets().is_empty(), "nobody else is asked");
}

#[tokio::test]
async fn who_reads_is_told_at_the_own_address_of_a_source_that_asks_and_to_no_other_host() {
    let pixels = Server::plain(|_| reply("200 OK", JSON, rows(0..1))).await;
    let own = Server::plain(|_| reply("200 OK", JSON, rows(0..1))).await;
    let mut options = options(&own.origin);
    options.hosts = vec![Host { origin: pixels.origin.clone(), headers: Vec::new() }];
    let [hospital, user, name, department, department_code, kind, code, id_number] =
        ["H1", "7", "测试", "", "", "1", "医/1", "110199198003074013"].map(str::to_owned);
    let doctor =
        Doctor { hospital, user, name, department, department_code, kind, code, id_number };
    assert!(DicomwebSource::new(&options).unwrap().for_reader(&doctor).is_none(), "asks nothing");
    options.reader = true;
    let source = DicomwebSource::new(&options).unwrap();
    let asked = source.for_reader(&doctor).unwrap();
    let place = at(format!("{}/studies/{STUDY}", pixels.origin));
    for place in [here(), place] {
        asked.instances(&place, &study(), &Listing::Study).await.unwrap();
    }
    source.instances(&here(), &study(), &Listing::Study).await.unwrap();
    let heads = |server: &Server| -> Vec<String> {
        server.asked.lock().unwrap().iter().map(|one| one.head.to_ascii_lowercase()).collect()
    };
    let (own, pixels) = (heads(&own), heads(&pixels));
    assert_eq!((own.len(), pixels.len()), (2, 1));
    assert!(own[0].contains("x-reader-code: %e5%8c%bb%2f1\r\n"), "{}", own[0]);
    assert!(own[0].contains("x-reader-type: 1\r\n"), "{}", own[0]);
    assert!(!own[0].contains("x-reader-id") && !own[0].contains("110199"), "without a key");
    assert!(!own[1].contains("x-reader"), "asked for nobody");
    assert!(!pixels[0].contains("x-reader"), "{}", pixels[0]);
    let nobody = Doctor { kind: String::new(), code: String::new(), ..doctor };
    assert!(source.for_reader(&nobody).is_none(), "a number without a key is nothing to tell");
}

#[tokio::test]
async fn a_source_that_serves_studies_itself_is_not_left_for_unlisted_addresses() {
    for url in ["http://10.0.0.1:8042/studies/1", "", "::"] {
        let server = Server::plain(move |_| reply("200 OK", JSON, found_at(url))).await;
        assert_eq!(search(&source(&server)).await.unwrap()[0].place, here());
    }
}

#[tokio::test]
async fn objects_come_out_in_order_whatever_the_framing() {
    let objects: Vec<Vec<u8>> =
        (0..20).map(|n| (0..n * 7_001).map(|at| (at % 251) as u8).collect()).collect();
    let body = multipart(&objects);
    let chunked: Vec<u8> = body
        .chunks(1_999)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    let length = format!("Content-Length: {}\r\n", body.len());
    let framings = [
        (length, body.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), chunked),
        ("Connection: close\r\n".to_owned(), body),
    ];
    for (lines, body) in framings {
        let server = Server::plain(move |_| {
            let pieces = body.chunks(33_333).map(|piece| Act::Send(piece.to_vec()));
            std::iter::once(head("200 OK", MULTIPART, &lines)).chain(pieces).collect()
        })
        .await;
        let (result, read) = retrieve(&source(&server)).await;
        assert_eq!(result, Ok(()));
        assert_eq!(read, objects);
        assert_eq!(server.targets(), [format!("/rs/studies/{STUDY}")]);
        let asked = server.asked.lock().unwrap()[0].clone();
        let accept = r#"accept: multipart/related; type="application/dicom"; transfer-syntax=*"#;
        assert!(asked.head.contains(accept), "{}", asked.head);
    }
}

#[tokio::test]
async fn small_pieces_of_an_object_are_joined() {
    let object: Vec<u8> = (0..900_000_u32).map(|at| (at % 253) as u8).collect();
    let body = multipart(std::slice::from_ref(&object));
    let server = Server::plain(move |_| {
        let pieces = body.chunks(1_000).map(|piece| Act::Send(piece.to_vec()));
        std::iter::once(head("200 OK", MULTIPART, "")).chain(pieces).collect()
    })
    .await;
    let (sender, mut receiver) = mpsc::channel(1_000);
    let lane = Lane::new(sender, 3);
    let result = source(&server).retrieve(&here(), &study(), &Wanted::Study, &lane).await;
    assert_eq!(result, Ok(()));
    drop(lane);
    let mut pieces = Vec::new();
    while let Some((_, piece)) = receiver.recv().await {
        pieces.extend(match piece {
            Piece::Bytes(bytes) => Some(bytes),
            Piece::Begin | Piece::End => None,
        });
    }
    assert_eq!(pieces.concat(), object);
    let (last, full) = pieces.split_last().unwrap();
    assert!(!last.is_empty() && full.iter().all(|piece| piece.len() >= PIECE_BYTES_MIN));
}

#[tokio::test]
async fn a_single_object_without_an_envelope_is_taken_when_its_end_can_be_proven() {
    let server = Server::plain(|_| reply("200 OK", "application/dicom", "object")).await;
    let wanted = Wanted::Instance(Uid::try_from("1.3").unwrap(), Uid::try_from("1.4").unwrap());
    let (result, objects) = retrieve_from(&source(&server), &here(), &wanted).await;
    assert_eq!((result, objects), (Ok(()), vec![b"object".to_vec()]));
    assert_eq!(server.targets(), [format!("/rs/studies/{STUDY}/series/1.3/instances/1.4")]);
    let server = Server::plain(|_| {
        vec![head("200 OK", "application/dicom", ""), Act::Send(b"object".to_vec())]
    })
    .await;
    let (result, objects) = retrieve(&source(&server)).await;
    assert_eq!((result.unwrap_err().step, objects.len()), ("half a body", 0));
}

#[tokio::test]
async fn what_came_whole_before_a_body_broke_off_is_kept() {
    let body = multipart(&[b"first".to_vec(), b"second".to_vec()]);
    let closing = body.len() - b"--b1--\r\n".len();
    let cuts = [(closing + 5, 2), (closing - 3, 1), (52, 1), (51, 0), (3, 0), (0, 0)];
    for lines in ["Content-Length: 999\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        for (cut, objects) in cuts {
            let mut sent = body[..cut].to_vec();
            if lines.starts_with("Transfer") && cut > 0 {
                sent = [format!("{cut:x}\r\n").as_bytes(), &sent, b"\r\n"].concat();
            }
            let server = Server::plain(move |_| {
                vec![head("200 OK", MULTIPART, lines), Act::Send(sent.clone())]
            })
            .await;
            let (result, read) = retrieve(&source(&server)).await;
            let fault = result.unwrap_err();
            let got = (fault.step, fault.retry, fault.blame, read.len());
            assert_eq!(got, ("half a body", Retry::Later, Blame::Peer, objects), "{lines} {cut}");
        }
    }
}

#[tokio::test]
async fn a_refused_request_says_why_and_whether_to_come_back() {
    let cases: [(&'static str, &'static str, &str, Retry, Retry); 9] = [
        (
            "429 Too Many",
            "Retry-After: 7\r\n",
            "busy",
            Retry::AfterMs(7_000),
            Retry::AfterMs(7_000),
        ),
        (
            "503 Busy",
            "Retry-After: 9999999\r\n",
            "busy",
            Retry::AfterMs(3_600_000),
            Retry::AfterMs(3_600_000),
        ),
        ("503 Busy", "", "busy", Retry::Later, Retry::Later),
        ("500 Oops", "", "status", Retry::Later, Retry::Later),
        ("401 Who", "", "refused", Retry::Later, Retry::Later),
        ("403 No", "", "refused", Retry::Later, Retry::Later),
        ("404 Where", "", "absent", Retry::Later, Retry::Never),
        ("410 Gone", "", "absent", Retry::Later, Retry::Never),
        ("400 What", "", "status", Retry::Later, Retry::Never),
    ];
    for (status, lines, step, of_search, of_retrieve) in cases {
        let server = Server::plain(move |asked| {
            let lines = format!("Content-Length: {}\r\n{lines}", asked.target.len());
            vec![head(status, "text/html", &lines), Act::Send(asked.target.clone().into())]
        })
        .await;
        let source = source(&server);
        let fault = search(&source).await.unwrap_err();
        assert_eq!((fault.blame, fault.step, fault.retry), (Blame::Peer, step, of_search));
        assert_eq!(fault.detail, format!("status {}", &status[..3]));
        let fault = retrieve(&source).await.0.unwrap_err();
        assert_eq!((fault.step, fault.retry), (step, of_retrieve));
        let fault = source.instances(&here(), &study(), &Listing::Study).await.unwrap_err();
        assert_eq!((fault.step, fault.retry), (step, of_retrieve));
    }
}

#[tokio::test]
async fn a_redirect_is_a_fault_and_nobody_follows_it() {
    let target = Server::plain(|_| reply("200 OK", JSON, "[]")).await;
    let location = format!("Location: {}/?token=1\r\nContent-Length: 0\r\n", target.origin);
    let server = Server::plain(move |_| vec![head("302 Found", "", &location)]).await;
    let source = source(&server);
    let fault = search(&source).await.unwrap_err();
    assert_eq!(
        (fault.step, fault.retry, fault.detail.as_str()),
        ("redirect", Retry::Never, "status 302")
    );
    assert_eq!(retrieve(&source).await.0.unwrap_err().step, "redirect");
    assert!(target.targets().is_empty());
}

#[tokio::test]
async fn answers_of_another_kind_are_refused() {
    let html = Server::plain(|_| reply("200 OK", "text/html; charset=gbk", CARD)).await;
    assert_eq!(search(&source(&html)).await.unwrap_err().detail, "text/html");
    assert_eq!(retrieve(&source(&html)).await.0.unwrap_err().step, "wrong type");
    let text = Server::plain(|_| reply("200 OK", JSON, format!("{{{CARD}"))).await;
    assert_eq!(search(&source(&text)).await.unwrap_err().step, "broken answer");
    let odd = Server::plain(|_| reply("200 OK", "a\"\\b", "x")).await;
    assert_eq!(search(&source(&odd)).await.unwrap_err().detail, "no media type");
    for (content_type, body, step) in [
        (MULTIPART, "--b1\r\nContent-Type: text/plain\r\n\r\nno\r\n--b1--", "wrong type"),
        (MULTIPART, "--b1x\r\n\r\nno\r\n--b1--", "broken body"),
        (MULTIPART, "--b1--", "absent"),
        (MULTIPART, "", "half a body"),
        ("multipart/related", "--b1--", "broken body"),
        ("application/dicom", "", "absent"),
    ] {
        let server = Server::plain(move |_| reply("200 OK", content_type, body)).await;
        let (result, objects) = retrieve(&source(&server)).await;
        assert_eq!((result.unwrap_err().step, objects.len()), (step, 0), "{body}");
    }
    let none = Server::plain(|_| vec![head("204 No Content", "", "")]).await;
    assert_eq!(retrieve(&source(&none)).await.0.unwrap_err().step, "absent");
    let noise = Server::plain(|_| vec![Act::Send(b"SSH-2.0-x\r\n".to_vec())]).await;
    assert_eq!(search(&source(&noise)).await.unwrap_err().step, "connection lost");
}

#[tokio::test]
async fn a_server_that_keeps_silent_is_not_waited_for() {
    let mute = Server::plain(|_| vec![Act::Hang]).await;
    let half = Server::plain(|_| {
        vec![head("200 OK", MULTIPART, ""), Act::Send(b"--b1\r\n\r\nx".to_vec()), Act::Hang]
    })
    .await;
    let start = Instant::now();
    let (mute, half) = (source(&mute), source(&half));
    let (silent, stuck) = tokio::join!(search(&mute), retrieve(&half));
    let silent = silent.unwrap_err();
    assert_eq!((silent.step, silent.retry), ("timeout", Retry::Later));
    assert_eq!(stuck.0.unwrap_err().step, "timeout");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_drip_ends_a_search_at_its_deadline_and_a_retrieve_below_the_floor() {
    let drip = |start: &'static str, content_type: &'static str| {
        move |_: &Asked| {
            let mut acts = vec![head("200 OK", content_type, ""), Act::Send(start.into())];
            for _ in 0..100 {
                acts.push(Act::Wait(Duration::from_millis(50)));
                acts.push(Act::Send(b" ".to_vec()));
            }
            acts
        }
    };
    let server = Server::plain(drip("--b1\r\n\r\n", MULTIPART)).await;
    let (result, objects) = retrieve(&source(&server)).await;
    assert_eq!((result.unwrap_err().step, objects.len()), ("too slow", 0));
    let server = Server::plain(drip("[", JSON)).await;
    let mut options = options(&server.origin);
    options.waits.search = Duration::from_millis(300);
    let start = Instant::now();
    let source = DicomwebSource::new(&options).unwrap();
    assert_eq!(search(&source).await.unwrap_err().step, "timeout");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn endless_bodies_end() {
    let spaces = vec![b' '; 1 << 18];
    let (answer, object) = (spaces.clone(), spaces.clone());
    let server =
        Server::plain(move |_| vec![head("200 OK", JSON, ""), Act::Endless(answer.clone())]).await;
    assert_eq!(search(&source(&server)).await.unwrap_err().step, "too large");
    let server = Server::plain(move |_| {
        let start = Act::Send(b"--b1\r\n\r\n".to_vec());
        vec![head("200 OK", MULTIPART, ""), start, Act::Endless(object.clone())]
    })
    .await;
    let fault = retrieve(&source(&server)).await.0.unwrap_err();
    assert_eq!((fault.step, fault.retry), ("too large", Retry::Never));
    let server = Server::plain(move |_| {
        let whole = Act::Send(multipart(&[b"object".to_vec()]));
        vec![head("200 OK", MULTIPART, ""), whole, Act::Endless(spaces.clone())]
    })
    .await;
    let (result, objects) = retrieve(&source(&server)).await;
    assert_eq!((result, objects.len()), (Ok(()), 1), "an endless epilogue harms nobody");
}

#[tokio::test]
async fn an_object_at_the_limit_is_taken_and_one_byte_more_is_not() {
    for (length, good) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let server = Server::plain(move |_| {
            reply("200 OK", MULTIPART, multipart(&[b"small".to_vec(), vec![7; length]]))
        })
        .await;
        let (result, objects) = retrieve(&source(&server)).await;
        assert_eq!((result.is_ok(), objects.len()), (good, if good { 2 } else { 1 }));
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_for_their_turn() {
    let server = Server::plain(|_| {
        let mut acts = vec![Act::Wait(Duration::from_millis(30))];
        acts.extend(reply("200 OK", MULTIPART, multipart(&[b"object".to_vec()])));
        acts
    })
    .await;
    let mut options = options(&server.origin);
    options.parallel = NonZeroUsize::new(2).unwrap();
    let source = Arc::new(DicomwebSource::new(&options).unwrap());
    let asks: Vec<_> = (0..8)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { retrieve(&source).await.0 })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await.unwrap(), Ok(()));
    }
    assert_eq!(server.at_once.1.load(Ordering::SeqCst), 2);
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "connections are kept");
}

#[tokio::test]
async fn the_rate_is_held_over_a_whole_study() {
    let objects = vec![vec![7; 100_000]; 10];
    let server = Server::plain(move |_| reply("200 OK", MULTIPART, multipart(&objects))).await;
    let mut options = options(&server.origin);
    options.bytes_per_second = NonZeroU64::new(2_000_000);
    let source = DicomwebSource::new(&options).unwrap();
    let start = Instant::now();
    assert_eq!(retrieve(&source).await.0, Ok(()));
    let milliseconds = start.elapsed().as_millis();
    assert!((475..1_500).contains(&milliseconds), "1 MB took {milliseconds} ms");
}

#[tokio::test]
async fn a_keeper_that_ends_the_fetch_ends_the_request() {
    let server = Server::plain(|_| {
        let start = Act::Send(b"--b1\r\n\r\n".to_vec());
        vec![head("200 OK", MULTIPART, ""), start, Act::Endless(vec![7; 1 << 16])]
    })
    .await;
    let source = source(&server);
    let (sender, mut receiver) = mpsc::channel(1);
    let lane = Lane::new(sender, 0);
    let (place, study) = (here(), study());
    let work = source.retrieve(&place, &study, &Wanted::Study, &lane);
    let keeper = async {
        assert!(matches!(receiver.recv().await, Some((0, Piece::Begin))));
        drop(receiver);
    };
    let (result, ()) = tokio::join!(work, keeper);
    assert_eq!(result.unwrap_err().blame, Blame::Ours);
}

#[tokio::test]
async fn nobody_at_home_is_a_fault_of_the_connection() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for origin in [format!("http://{closed}"), "http://no-such-host.invalid".into()] {
        let source = DicomwebSource::new(&options(&origin)).unwrap();
        let fault = search(&source).await.unwrap_err();
        assert_eq!((fault.step, fault.retry, fault.blame), ("connect", Retry::Later, Blame::Peer));
    }
}

/// An authority, and a certificate for `localhost` that it issued.
pub struct Issued {
    pub authority: rcgen::Certificate,
    pub certificate: rcgen::Certificate,
    pub key: rcgen::KeyPair,
}

pub fn issued() -> Issued {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Issued { authority, certificate, key }
}

/// A TLS server; with `clients`, only for holders of certificates of that authority.
pub fn tls(issued: &Issued, clients: Option<&Issued>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(clients.authority.der().clone()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(issued.key.serialize_der()).unwrap();
    builder.with_single_cert(vec![issued.certificate.der().clone()], key).unwrap()
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_configured() {
    let issued = issued();
    let server = Server::tls(tls(&issued, None), |_| reply("200 OK", JSON, rows(0..1))).await;
    let mut options = options(&server.origin);
    let fault = search(&DicomwebSource::new(&options).unwrap()).await.unwrap_err();
    assert_eq!((fault.step, fault.retry), ("connect", Retry::Later));
    assert!(fault.detail.contains("UnknownIssuer"), "{}", fault.detail);
    options.authorities_pem = issued.authority.pem();
    let source = DicomwebSource::new(&options).unwrap();
    assert_eq!(search(&source).await.unwrap().len(), 1);
    options.base_url = options.base_url.replace("localhost", "127.0.0.1");
    let fault = search(&DicomwebSource::new(&options).unwrap()).await.unwrap_err();
    assert_eq!(fault.step, "connect", "the name must be in the certificate");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_own_host_only() {
    let (servers, clients) = (issued(), issued());
    let start = || {
        Server::tls(tls(&servers, Some(&clients)), |_| {
            reply("200 OK", MULTIPART, multipart(&[b"object".to_vec()]))
        })
    };
    let (own, other) = (start().await, start().await);
    let mut options = options(&own.origin);
    options.authorities_pem = servers.authority.pem();
    options.hosts = vec![Host { origin: other.origin.clone(), headers: Vec::new() }];
    let without = DicomwebSource::new(&options).unwrap();
    let fault = retrieve(&without).await.0.unwrap_err();
    assert_eq!((fault.blame, fault.retry), (Blame::Peer, Retry::Later));
    options.client_certificate = Some(ClientCertificate {
        chain_pem: clients.certificate.pem(),
        key_pem: clients.key.serialize_pem().into(),
    });
    let with = DicomwebSource::new(&options).unwrap();
    assert_eq!(retrieve(&with).await.0, Ok(()));
    let elsewhere = at(format!("{}/studies/{STUDY}", other.origin));
    let (result, _) = retrieve_from(&with, &elsewhere, &Wanted::Study).await;
    assert_eq!(result.unwrap_err().blame, Blame::Peer);
    assert!(other.targets().is_empty());
}

#[test]
fn options_that_cannot_work_are_refused_without_telling_secrets() {
    let refused = |change: fn(&mut DicomwebOptions)| {
        let mut options = options("https://pacs.example");
        change(&mut options);
        let error = DicomwebSource::new(&options).err().expect("it is refused");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret"), "{text}");
        error
    };
    for change in [
        (|options| options.base_url = "pacs.example/rs".into()) as fn(&mut DicomwebOptions),
        |options| options.base_url = "https://u:secret@pacs.example/rs".into(),
        |options| options.base_url = "https://pacs.example/rs?key=1".into(),
        |options| options.base_url = "ftp://pacs.example/rs".into(),
    ] {
        assert!(matches!(refused(change), OptionsError::BaseUrl { .. }));
    }
    assert!(matches!(refused(|options| options.patient_keys.clear()), OptionsError::NoPatientKey));
    for template in ["", "{}{}"] {
        let mut options = options("https://pacs.example");
        options.patient_keys[0].template = template.into();
        let error = DicomwebSource::new(&options).err().expect("it is refused");
        assert!(matches!(error, OptionsError::Template { .. }));
    }
    let error = refused(|options| options.headers[0].1 = "secret\n".into());
    assert!(matches!(error, OptionsError::Header { .. }));
    let error = refused(|options| {
        options.hosts = vec![Host { origin: "https://a/b".into(), headers: vec![] }];
    });
    assert!(matches!(error, OptionsError::Origin { .. }));
    assert!(matches!(
        refused(|options| options.authorities_pem = "x".into()),
        OptionsError::Pem { .. }
    ));
    let error = refused(|options| {
        options.client_certificate =
            Some(ClientCertificate { chain_pem: "x".into(), key_pem: "secret".into() });
    });
    assert!(matches!(error, OptionsError::Pem { what: "client certificate" }));
}
