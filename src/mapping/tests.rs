use super::*;

/// Name, body part, modality as a hospital writes them; what is read: modality, parts, side,
/// contrast. The names are made up of the usual words.
const ITEMS: &[(&str, &str, &str, &str)] = &[
    ("头颅CT平扫", "头部", "CT", "CT HEAD - plain"),
    ("颅脑CT平扫+增强", "颅脑", "CT", "CT HEAD - both"),
    ("CT颅脑增强扫描", "", "", "CT HEAD - enhanced"),
    ("头颈部CTA", "头颈", "CT", "CT HEAD+NECK - enhanced"),
    ("鼻窦CT平扫（冠状位）", "鼻窦", "CT", "CT SINUS - plain"),
    ("颞骨薄层CT", "颞骨", "CT", "CT EAR - -"),
    ("眼眶CT平扫", "眼眶", "CT", "CT ORBIT - plain"),
    ("甲状腺CT增强", "颈部", "CT", "CT THYROID - enhanced"),
    ("胸部CT平扫", "胸部", "CT", "CT CHEST - plain"),
    ("肺部HRCT", "肺", "CT", "CT CHEST - -"),
    ("肺动脉CTPA", "胸部", "CT", "CT CHEST - enhanced"),
    ("冠状动脉CTA", "心脏", "CT", "CT CORONARYARTERY - enhanced"),
    ("胸腹主动脉CT血管造影", "主动脉", "CT", "CT CHEST+AORTA - -"),
    ("上腹部CT平扫+增强", "腹部", "CT", "CT ABDOMEN - both"),
    ("全腹CT增强", "腹部", "CT", "CT ABDOMEN+PELVIS - enhanced"),
    ("泌尿系CTU", "泌尿系", "CT", "CT KIDNEY+URETER+BLADDER - enhanced"),
    ("肾上腺CT平扫", "腹部", "CT", "CT ADRENAL - plain"),
    ("盆腔CT平扫", "盆腔", "CT", "CT PELVIS - plain"),
    ("腰椎间盘CT", "腰椎", "CT", "CT LSPINE - -"),
    ("颈椎CT三维重建", "颈椎", "CT", "CT CSPINE - -"),
    ("左膝关节CT平扫", "膝关节", "CT", "CT KNEE left plain"),
    ("双髋关节CT", "髋关节", "CT", "CT HIP both -"),
    ("口腔颌面锥形束CBCT", "颌面", "CT", "CT MOUTH+JAW - -"),
    ("QCT骨密度测定(腰椎)", "腰椎", "CT", "CT LSPINE - -"),
    ("头颅MRI平扫", "头部", "MRI", "MR HEAD - plain"),
    ("脑磁共振DWI", "头部", "MR", "MR HEAD - -"),
    ("垂体MR动态增强", "垂体", "MR", "MR SELLA - enhanced"),
    ("头部MRA", "头部", "MR", "MR HEAD - -"),
    ("内听道MRI平扫", "内听道", "MR", "MR IAC - plain"),
    ("MRCP", "上腹部", "MR", "MR GALLBLADDER+PANCREAS - -"),
    ("肝脏磁共振平扫及增强", "肝", "MR", "MR LIVER - both"),
    ("前列腺MRI增强", "盆腔", "MR", "MR PROSTATE - enhanced"),
    ("腰骶椎核磁共振", "腰骶椎", "MR", "MR LSSPINE - -"),
    ("胸腰椎MRI", "脊柱", "MR", "MR TSPINE+LSPINE - -"),
    ("右肩关节MR平扫", "肩关节", "MR", "MR SHOULDER right plain"),
    ("乳腺磁共振平扫+增强", "乳腺", "MR", "MR BREAST - both"),
    ("骶髂关节MRI", "骶髂关节", "MR", "MR SIJOINT - -"),
    ("股骨头MRI", "髋关节", "MR", "MR HIP - -"),
    ("胸部正侧位DR", "胸部", "DR", "DX CHEST - -"),
    ("胸片", "", "DR", "DX CHEST - -"),
    ("左手正斜位片", "手", "DX", "DX HAND left -"),
    ("双膝负重位X线", "膝", "DX", "DX KNEE both -"),
    ("腰椎正侧位", "腰椎", "DR", "DX LSPINE - -"),
    ("骨盆平片", "骨盆", "DR", "DX PELVIS - -"),
    ("右锁骨X光摄影", "锁骨", "DR", "DX CLAVICLE right -"),
    ("骨龄片", "手", "DR", "DX HAND - -"),
    ("跟骨侧轴位", "跟骨", "DR", "DX CALCANEUS - -"),
    ("泌尿系平片(KUB)", "腹部", "DR", "DX KIDNEY+URETER+BLADDER - -"),
    ("双侧乳腺钼靶", "乳腺", "MG", "MG BREAST both -"),
    ("口腔曲面断层片", "颌骨", "PX", "PX MOUTH+JAW - -"),
    ("肝胆胰脾彩超", "腹部", "US", "US LIVER+GALLBLADDER+PANCREAS+SPLEEN - -"),
    ("甲状腺及颈部淋巴结超声", "甲状腺", "US", "US THYROID+NECK - -"),
    ("心脏彩色多普勒超声", "心脏", "US", "US HEART - -"),
    ("左心功能测定(彩超)", "心脏", "US", "US HEART - -"),
    ("双侧颈动脉彩超", "颈部血管", "US", "US CAROTID both -"),
    ("右下肢静脉彩超", "下肢", "US", "US LEG right -"),
    ("子宫附件B超", "盆腔", "US", "US UTERUS+OVARY - -"),
    ("中孕四维彩超", "胎儿", "US", "US FETUS - -"),
    ("肝脏超声造影", "肝脏", "US", "US LIVER - enhanced"),
    ("经颅多普勒TCD", "头部", "US", "US HEAD - -"),
    ("全脑血管造影DSA", "头部", "XA", "XA HEAD - -"),
    ("冠状动脉造影", "心脏", "XA", "XA CORONARYARTERY - -"),
    ("静脉肾盂造影IVP", "泌尿系", "RF", "RF KIDNEY+URETER+BLADDER - -"),
    ("上消化道钡餐", "胃", "RF", "RF STOMACH - -"),
    ("子宫输卵管造影", "子宫", "RF", "RF UTERUS+OVARY - -"),
    ("全身骨显像ECT", "全身", "NM", "NM WHOLEBODY - -"),
    ("PET/CT全身显像", "全身", "PT", "PT WHOLEBODY - -"),
    ("电子胃镜检查", "胃", "ES", "ES STOMACH - -"),
    ("十二导联心电图", "心脏", "ECG", "ECG HEART - -"),
    ("黄斑OCT", "眼", "OPT", "OPT EYE - -"),
    ("双能X线骨密度（髋）", "髋", "BMD", "BMD HIP - -"),
    ("手术记录", "", "", "- - - -"),
];

fn words(reading: &Reading) -> String {
    let parts = reading.parts.join("+");
    let side = reading.side.map_or("-", |side| match side {
        Side::Left => "left",
        Side::Right => "right",
        Side::Both => "both",
    });
    let contrast = reading.contrast.map_or("-", |contrast| match contrast {
        Contrast::Plain => "plain",
        Contrast::Enhanced => "enhanced",
        Contrast::Both => "both",
    });
    let modality = reading.modality.as_deref().unwrap_or("-");
    format!("{modality} {} {side} {contrast}", if parts.is_empty() { "-" } else { &parts })
}

fn row(name: &str, body_part: &str, modality: &str) -> DictionaryRow {
    DictionaryRow {
        code: "X1".into(),
        name: name.into(),
        body_part: body_part.into(),
        modality: modality.into(),
        ..DictionaryRow::default()
    }
}

#[test]
fn usual_items_are_read_as_a_radiographer_would() {
    assert!(ITEMS.len() >= 60);
    let known = Known::default();
    let mut wrong = Vec::new();
    for (name, part, modality, expected) in ITEMS {
        let read = words(&suggest(&row(name, part, modality), &known).reading);
        if read != *expected {
            wrong.push(format!("{name}: read {read}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_score_says_how_much_name_and_columns_agree() {
    let known = Known::default();
    let score = |name, part, modality| suggest(&row(name, part, modality), &known).score;
    assert_eq!(score("头颅CT平扫", "头部", "CT"), 80);
    assert_eq!(score("腰椎MRI", "脊柱", "MRI"), 80, "a wider word for the same region");
    assert_eq!(score("头颅CT平扫", "", ""), 66);
    assert_eq!(score("平扫", "头部", "CT"), 66);
    assert_eq!(score("头颅CT平扫", "膝关节", "CT"), 52, "they contradict each other");
    assert_eq!(score("头颅CT平扫", "头部", "MR"), 60);
    assert_eq!(score("会诊", "", ""), 0);
}

fn confirmed(name: &str, code: &str) -> MappingShown {
    let read = suggest(&row(name, "", ""), &Known::default()).standard;
    MappingShown {
        hospital: "H2".into(),
        exam_code: "Y".into(),
        exam_name: name.into(),
        standard: Standard { code: code.into(), ..read },
        confirmed_by: "me".into(),
        confirmed_at: crate::model::Time(0),
    }
}

#[test]
fn a_code_comes_from_the_same_name_or_the_same_words_and_never_from_two() {
    let list = StandardCode {
        name: "头颅CT平扫".into(),
        standard: Standard { code: "AAAAAAAA2".into(), ..Standard::default() },
    };
    let known = Known::new(&[confirmed("胸部CT平扫", "AAAAAAAA1")], &[list]);
    let code = |name: &str, known: &Known| {
        let suggestion = suggest(&row(name, "", ""), known);
        (suggestion.standard.code, suggestion.score)
    };
    assert_eq!(code("胸部 CT平扫", &known), ("AAAAAAAA1".to_owned(), 86));
    assert_eq!(code("CT平扫(肺)", &known), ("AAAAAAAA1".to_owned(), 78), "other words, one thing");
    assert_eq!(code("颅脑CT平扫", &known), ("AAAAAAAA2".to_owned(), 78));
    assert_eq!(code("胸部CT增强", &known), (String::new(), 66), "contrast is another code");
    let two = [confirmed("胸部CT平扫", "AAAAAAAA1"), confirmed("肺CT平扫", "AAAAAAAA3")];
    let known = Known::new(&two, &[]);
    assert_eq!(code("胸腔CT平扫", &known), (String::new(), 66), "two codes fit");
    assert_eq!(code("肺CT平扫", &known).0, "AAAAAAAA3", "the name decides");
}

#[test]
fn a_code_has_nine_capitals_and_digits() {
    assert!(is_code("B02010ZZZ"));
    for bad in ["", "B02010ZZ", "B02010ZZZZ", "b02010zzz", "B02010ZZ影"] {
        assert!(!is_code(bad), "{bad}");
    }
}
