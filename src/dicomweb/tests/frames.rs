//! Frames and bulk data through the door.

use dicom_core::value::PixelFragmentSequence;

use super::*;

const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// Where the one instance is of the study that [`house`] holds.
const PATH: &str = "studies/2.25.7/series/2.25.7.1/instances/2.25.7.1.1";

/// A house with one object of frames of four rows, two bytes a pixel; `fragments` of each, where
/// they are encapsulated.
fn house(frames: u32, bytes: usize, fragments: Option<usize>) -> (House, Vec<Vec<u8>>) {
    let content: Vec<Vec<u8>> =
        (0..frames).map(|n| (0..bytes).map(|at| (at as u32 * 7 + n) as u8).collect()).collect();
    let original = phantom("2.25.7", "2.25.7.1", 1, 1, CT, &[]);
    let mut object = dicom_object::from_reader(&original[..]).unwrap();
    object.put(DataElement::new(
        Tag(0x0028, 0x0008),
        VR::IS,
        PrimitiveValue::from(frames.to_string()),
    ));
    object.put(DataElement::new(Tag(0x0028, 0x0010), VR::US, PrimitiveValue::from(4_u16)));
    let columns = PrimitiveValue::from((bytes / 8) as u16);
    object.put(DataElement::new(Tag(0x0028, 0x0011), VR::US, columns));
    let long = PrimitiveValue::U8(vec![5; 1_200].into());
    object.put(DataElement::new(Tag(0x0042, 0x0011), VR::OB, long));
    let pixels = Tag(0x7fe0, 0x0010);
    match fragments {
        None => {
            let value = PrimitiveValue::U8(content.concat().into());
            object.put(DataElement::new(pixels, VR::OW, value));
        }
        Some(of_each) => {
            let mut offsets = vec![0_u32];
            let mut all = Vec::new();
            for frame in &content {
                let pieces = frame.chunks(frame.len().div_ceil(of_each));
                let length: usize = pieces.clone().map(|piece| piece.len() + 8).sum();
                all.extend(pieces.map(<[u8]>::to_vec));
                offsets.push(offsets[offsets.len() - 1] + length as u32);
            }
            offsets.pop();
            object.put(DataElement::new(pixels, VR::OB, PixelFragmentSequence::new(offsets, all)));
            object.meta_mut().transfer_syntax = JPEG.into();
        }
    }
    let mut written = Vec::new();
    object.write_all(&mut written).unwrap();
    let house = House::new();
    house.fill("2.25.7", &[written]);
    (house, content)
}

#[tokio::test]
async fn frames_are_parts_in_the_order_of_the_list() {
    for (fragments, media) in [
        (None, format!("application/octet-stream; transfer-syntax={EXPLICIT_LITTLE}")),
        (Some(1), format!("image/jpeg; transfer-syntax={JPEG}")),
        (Some(3), format!("image/jpeg; transfer-syntax={JPEG}")),
    ] {
        let (house, content) = house(5, 600, fragments);
        for list in [&[1][..], &[5], &[2, 3], &[5, 1, 3], &[1, 2, 3, 4, 5]] {
            let numbers: Vec<String> = list.iter().map(ToString::to_string).collect();
            let answer = house.get(&format!("{PATH}/frames/{}", numbers.join(","))).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            let of = media.split(';').next().unwrap();
            let expected = format!("multipart/related; type=\"{of}\"; boundary=");
            assert!(answer.header(header::CONTENT_TYPE).starts_with(&expected));
            assert_eq!(answer.header(header::CONTENT_LENGTH), answer.body.len().to_string());
            let parts = answer.parts();
            assert_eq!(parts.len(), list.len());
            for ((head, bytes), number) in parts.iter().zip(list) {
                assert!(head.contains(&format!("Content-Type: {media}\r\n")), "{head}");
                assert!(*bytes == content[number - 1], "{fragments:?} {number}");
            }
        }
        let bare = media.split(';').next().unwrap();
        let answer = house.accept(&format!("{PATH}/frames/4"), bare).await;
        assert_eq!(answer.header(header::CONTENT_TYPE), media);
        assert!(answer.body == content[3]);
    }
}

#[tokio::test]
async fn a_frame_that_passes_in_pieces_is_whole() {
    let bytes = 3 * limits::PIECE_BYTES / 2 + 8;
    for fragments in [None, Some(2)] {
        let (house, content) = house(2, bytes, fragments);
        let answer = house.get(&format!("{PATH}/frames/2")).await;
        let (got, expected) = (&answer.parts()[0].1, &content[1]);
        assert_eq!(got.len(), expected.len(), "{fragments:?}");
        assert!(got == expected, "{fragments:?}");
    }
}

#[tokio::test]
async fn bulk_data_are_found_where_the_metadata_say() {
    let (house, content) = house(3, 400, None);
    let metadata = house.get(&format!("{PATH}/metadata")).await.json();
    for (tag, expected) in [("00420011", vec![5; 1_200]), ("7FE00010", content.concat())] {
        let uri = metadata[0][tag]["BulkDataURI"].as_str().unwrap();
        let path = uri.strip_prefix("http://forepost.local:8080/dicom-web/").unwrap();
        let answer = house.accept(path, "application/octet-stream").await;
        assert!(answer.body == expected, "{tag}");
        assert!(house.get(path).await.parts()[0].1 == expected, "{tag}");
        let lower = path.to_ascii_lowercase();
        assert!(house.get(&lower).await.parts()[0].1 == expected, "{tag}");
    }
    let (house, content) = self::house(3, 400, Some(2));
    let parts = house.get(&format!("{PATH}/bulkdata/7FE00010")).await.parts();
    let frames: Vec<Vec<u8>> = parts.into_iter().map(|(_, frame)| frame).collect();
    assert!(frames == content, "compressed pixels come frame by frame");
}

#[tokio::test]
async fn a_range_of_a_single_part_is_sent_alone() {
    let (house, content) = house(2, 600, Some(3));
    let ask = |range: &str| {
        let mut request = request(&format!("{PATH}/frames/2"), "image/jpeg");
        request.headers_mut().insert(header::RANGE, range.parse().unwrap());
        house.send(request)
    };
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 600),
        ("bytes=150-449", 150, 450),
        ("bytes=590-10000", 590, 600),
        ("bytes=-7", 593, 600),
    ] {
        let answer = ask(range).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        let said = format!("bytes {from}-{}/600", to - 1);
        assert_eq!(answer.header(header::CONTENT_RANGE), said);
        assert!(answer.body == content[1][from..to], "{range}");
    }
    for range in ["bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=x"] {
        let answer = ask(range).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 600), "{range}");
    }
    let beyond = ask("bytes=600-").await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header(header::CONTENT_RANGE), "bytes */600");
}

#[tokio::test]
async fn what_cannot_be_given_says_why() {
    let (native, _) = house(3, 600, None);
    let (jpeg, _) = house(3, 600, Some(1));
    let octets = "multipart/related; type=\"application/octet-stream\"";
    let png = "image/png";
    for (house, path, accept, status, words) in [
        (&native, "frames/4", "", 404, "3 frames"),
        (&native, "frames/1,4", "", 404, "3 frames"),
        (&native, "frames/0", "", 400, "from 1"),
        (&native, "frames/1,1", "", 400, "each once"),
        (&native, "frames/1/rendered", "", 404, "rendered"),
        (&native, "frames/1", "image/jpeg", 406, EXPLICIT_LITTLE),
        (&native, "frames/1,2", "application/octet-stream", 406, EXPLICIT_LITTLE),
        (&jpeg, "frames/1", octets, 406, JPEG),
        (&jpeg, "frames/1", png, 406, "image/jpeg"),
        (&native, "bulkdata/00080018", "", 404, "value"),
        (&native, "bulkdata/00420012", "", 404, "value"),
        (&native, "bulkdata/x", "", 404, "No such"),
        (&native, "bulkdata/00420011", png, 406, "application/octet-stream"),
    ] {
        let answer = house.accept(&format!("{PATH}/{path}"), accept).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    let house = House::new();
    house.fill("2.25.7", &[sized_phantom("2.25.7", "2.25.7.1", 1, 1, CT, &[], 0)]);
    let answer = house.get(&format!("{PATH}/frames/1")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text().contains("no pixel data"), "{}", answer.text());
    let missing = format!("{}9/frames/1", PATH);
    assert_eq!(native.get(&missing).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn frames_over_a_plain_connection_are_those_of_the_file() {
    // With `Files` the parts are ranges of mapped files.
    let (house, content) = house(4, 600, Some(2));
    let mut request = request(&format!("{PATH}/frames/3,1"), "");
    request.extensions_mut().insert(Files::default());
    let parts = house.send(request).await.parts();
    assert!(parts[0].1 == content[2] && parts[1].1 == content[0]);
    std::fs::remove_file(house.object_path("2.25.7", "2.25.7.1.1")).unwrap();
    let gone = house.get(&format!("{PATH}/frames/1")).await;
    assert_eq!(gone.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_video_is_one_stream_without_frames() {
    const MPEG4: &str = "1.2.840.10008.1.2.4.102";
    let original = phantom("2.25.7", "2.25.7.1", 1, 1, CT, &[]);
    let mut object = dicom_object::from_reader(&original[..]).unwrap();
    object.put(DataElement::new(Tag(0x0028, 0x0008), VR::IS, PrimitiveValue::from("250")));
    let fragments = PixelFragmentSequence::new(vec![0_u32], vec![vec![1; 500], vec![2; 300]]);
    object.put(DataElement::new(Tag(0x7fe0, 0x0010), VR::OB, fragments));
    object.meta_mut().transfer_syntax = MPEG4.into();
    let mut written = Vec::new();
    object.write_all(&mut written).unwrap();
    let house = House::new();
    house.fill("2.25.7", &[written]);
    let answer = house.get(&format!("{PATH}/frames/1")).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    assert!(answer.text().contains(MPEG4), "{}", answer.text());
    let stream = [vec![1; 500], vec![2; 300]].concat();
    let path = format!("{PATH}/bulkdata/7FE00010");
    assert!(house.get(&path).await.parts()[0].1 == stream);
    let mut request = request(&path, "video/mp4");
    request.headers_mut().insert(header::RANGE, "bytes=450-549".parse().unwrap());
    let part = house.send(request).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert!(part.header(header::CONTENT_TYPE).starts_with("video/mp4"));
    assert!(part.body == stream[450..550], "a player asks for what lies in two fragments");
}
