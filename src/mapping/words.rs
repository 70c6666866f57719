//! The words of examination items. At each place of a text the longest word counts, so that 胸椎 is
//! not 胸; ASCII words stand alone, so that ECT is not CT.

use super::{Contrast, Side};

/// Words of modalities, the first row that occurs counts: what names a machine in part of its word
/// (超声造影, CT血管造影, 冠脉造影) stands before the part. Abbreviations are DICOM's (PS3.3
/// C.7.3.1.1.1).
const MODALITIES: &[(&str, &str)] = &[
    ("PT", "PET|PETCT|PETMR|PT"),
    ("NM", "SPECT|ECT|核素|骨显像|显像|NM"),
    ("OPT", "OCT|光学相干|OPT"),
    ("BMD", "骨密度|双能|DXA|DEXA|BMD"),
    ("US", "超声|彩超|B超|多普勒|心超|四维|三维彩|TCD|US|IVUS"),
    ("CT", "CT|CTA|CTV|CTU|CTP|CTPA|CBCT|QCT|HRCT"),
    ("MR", "磁共振|核磁|MR|MRI|MRA|MRV|MRS|MRU|MRCP|FMRI|DWI|SWI"),
    ("MG", "钼靶|乳腺X|乳腺摄影|乳腺DR|MG"),
    ("PX", "全景|曲面|PX"),
    ("IO", "牙片|根尖片|IO"),
    ("XA", "DSA|血管造影|冠脉造影|冠状动脉造影|动脉造影|静脉造影|介入|XA"),
    ("RF", "造影|透视|钡餐|钡灌肠|吞钡|IVP|RF"),
    ("ES", "内镜|胃镜|肠镜|支气管镜|膀胱镜|宫腔镜|阴道镜|喉镜|鼻咽镜|ES"),
    ("ECG", "心电|动态血压|ECG|HOLTER"),
    ("EEG", "脑电|EEG"),
    ("EMG", "肌电|EMG"),
    ("OP", "眼底照相|眼底彩照|眼底摄影|OP"),
    ("CR", "CR"),
    ("DX", "DR|DX|X线|X光|X射线|拍片|摄片|平片|胸片|正位|侧位|正侧位|斜位|轴位|摄影|立位|卧位"),
];

/// Words of body parts with their terms (0018,0015; PS3.16 Annex L). What one examination shows is
/// one term, however it is called: 颅脑 and 头颅 are HEAD, 肺 and 胸部 are CHEST. The row without
/// terms keeps a word from being read as a shorter one.
const PARTS: &[(&[&str], &str)] = &[
    (&[], "手术|手法|胸痛|头位|足位|心理|口服|腹膜透析|左心|右心"),
    (&["WHOLEBODY"], "全身"),
    (&["HEAD"], "头|头颅|头部|颅脑|颅|脑|TCD|经颅"),
    (&["SELLA"], "垂体|鞍区|蝶鞍"),
    (&["ORBIT"], "眼眶|眶"),
    (&["EYE"], "眼|眼球|眼底|角膜|黄斑|视网膜"),
    (&["EAR"], "耳|内耳|中耳|颞骨|乳突|岩骨"),
    (&["IAC"], "内听道|听神经"),
    (&["NOSE"], "鼻|鼻骨"),
    (&["SINUS"], "鼻窦|副鼻窦|鼻旁窦"),
    (&["NASOPHARYNX"], "鼻咽"),
    (&["JAW"], "颌骨|下颌|下颌骨|牙|全口|口腔全景|曲面断层|颌面"),
    (&["MAXILLA"], "上颌|上颌骨"),
    (&["TMJ"], "颞颌关节|颞下颌关节"),
    (&["MOUTH"], "口腔|舌"),
    (&["FACE"], "面部"),
    (&["PAROTID"], "腮腺"),
    (&["NECK"], "颈|颈部"),
    (&["HEAD", "NECK"], "头颈"),
    (&["CAROTID"], "颈动脉|颈部血管|颈部动脉|颈血管|颈内动脉"),
    (&["THYROID"], "甲状腺|甲状旁腺"),
    (&["PHARYNX"], "咽"),
    (&["LARYNX"], "喉"),
    (&["CHEST"], "胸|胸部|胸腔|肺|肺部|纵隔|胸片|CTPA|肺动脉"),
    (&["RIB"], "肋骨|肋"),
    (&["STERNUM"], "胸骨"),
    (&["BRONCHUS"], "支气管|气管"),
    (&["ESOPHAGUS"], "食管|食道|吞钡"),
    (&["HEART"], "心脏|心肌|心电|心超|心功能|动态血压"),
    (&["CORONARYARTERY"], "冠脉|冠状动脉"),
    (&["AORTA"], "主动脉|胸主动脉|腹主动脉"),
    (&["BREAST"], "乳腺|乳房"),
    (&["AXILLA"], "腋窝|腋下"),
    (&["ABDOMEN"], "腹|腹部|上腹|中腹|阑尾|腹膜后"),
    (&["ABDOMEN", "PELVIS"], "全腹|腹盆|腹盆腔"),
    (&["LIVER"], "肝"),
    (&["GALLBLADDER"], "胆|胆囊|胆道"),
    (&["GALLBLADDER", "PANCREAS"], "MRCP|胰胆管|胆胰管"),
    (&["PANCREAS"], "胰|胰腺"),
    (&["SPLEEN"], "脾"),
    (&["STOMACH"], "胃|胃肠|上消化道|钡餐"),
    (&["COLON"], "结肠|大肠|肠镜|钡灌肠|结直肠"),
    (&["JEJUNUM"], "小肠"),
    (&["KIDNEY"], "肾|肾动脉"),
    (&["ADRENAL"], "肾上腺"),
    (&["KIDNEY", "URETER", "BLADDER"], "泌尿|泌尿系|KUB|CTU|MRU|IVP|静脉肾盂|双肾输尿管膀胱"),
    (&["URETER"], "输尿管"),
    (&["BLADDER"], "膀胱"),
    (&["URETHRA"], "尿道"),
    (&["PROSTATE"], "前列腺"),
    (&["SCROTUM"], "阴囊|睾丸"),
    (&["PELVIS"], "盆腔|骨盆|下腹|盆底"),
    (&["UTERUS"], "子宫|宫颈|子宫颈|宫腔|阴道"),
    (&["UTERUS", "OVARY"], "子宫附件|子宫及附件|妇科|子宫输卵管"),
    (&["OVARY"], "卵巢|附件|卵泡"),
    (&["FETUS"], "胎儿|产科|早孕|中孕|晚孕|四维|足月"),
    (&["RECTUM"], "直肠"),
    (&["ANUS"], "肛门|肛管"),
    (&["SPINE"], "脊柱|全脊柱|脊髓|椎体"),
    (&["CSPINE"], "颈椎|颈髓"),
    (&["TSPINE"], "胸椎"),
    (&["LSPINE"], "腰椎|腰"),
    (&["CSPINE", "TSPINE"], "颈胸椎"),
    (&["TSPINE", "LSPINE"], "胸腰椎"),
    (&["LSSPINE"], "腰骶椎|腰骶"),
    (&["SSPINE"], "骶椎|骶骨"),
    (&["COCCYX"], "尾骨|骶尾|骶尾椎"),
    (&["SIJOINT"], "骶髂|骶髂关节"),
    (&["EXTREMITY"], "四肢|关节"),
    (&["SHOULDER"], "肩|肩关节"),
    (&["SCAPULA"], "肩胛|肩胛骨"),
    (&["CLAVICLE"], "锁骨"),
    (&["ARM"], "上肢"),
    (&["HUMERUS"], "肱骨|上臂"),
    (&["ELBOW"], "肘|肘关节"),
    (&["FOREARM"], "前臂|尺桡骨|尺骨|桡骨"),
    (&["WRIST"], "腕|腕关节"),
    (&["HAND"], "手|手部|骨龄|掌骨"),
    (&["FINGER"], "手指|指骨"),
    (&["HIP"], "髋|髋关节|股骨头|股骨颈"),
    (&["LEG"], "下肢|小腿|胫腓骨|胫骨|腓骨"),
    (&["FEMUR"], "股骨|大腿"),
    (&["KNEE"], "膝|膝关节|半月板"),
    (&["PATELLA"], "髌骨"),
    (&["ANKLE"], "踝|踝关节"),
    (&["FOOT"], "足|足部|跖骨"),
    (&["CALCANEUS"], "跟骨"),
    (&["TOE"], "足趾|趾骨"),
];

/// Terms that lie in one region; two words for one examination differ by no more.
const REGIONS: &[&str] = &[
    "HEAD SELLA ORBIT EYE EAR IAC NOSE SINUS NASOPHARYNX JAW MAXILLA TMJ MOUTH FACE PAROTID",
    "NECK CAROTID THYROID PHARYNX LARYNX NASOPHARYNX PAROTID",
    "CHEST RIB STERNUM BRONCHUS ESOPHAGUS HEART CORONARYARTERY AORTA CLAVICLE",
    "BREAST AXILLA",
    "ABDOMEN LIVER GALLBLADDER PANCREAS SPLEEN STOMACH COLON JEJUNUM KIDNEY ADRENAL AORTA URETER",
    "PELVIS URETER BLADDER URETHRA PROSTATE SCROTUM UTERUS OVARY FETUS RECTUM ANUS COCCYX HIP",
    "SPINE CSPINE TSPINE LSPINE LSSPINE SSPINE COCCYX SIJOINT",
    "EXTREMITY SHOULDER SCAPULA CLAVICLE ARM HUMERUS ELBOW FOREARM WRIST HAND FINGER",
    "EXTREMITY HIP LEG FEMUR KNEE PATELLA ANKLE FOOT CALCANEUS TOE",
];

/// Every term, some of them more than once.
pub(super) fn terms() -> impl Iterator<Item = &'static str> {
    PARTS.iter().flat_map(|(parts, _)| parts.iter().copied())
}

/// The modality of a folded text.
pub(super) fn modality(text: &str) -> Option<&'static str> {
    let text: Vec<char> = text.chars().filter(|it| !matches!(it, '/' | '-' | '_')).collect();
    let holds = |words: &str| {
        words.split('|').any(|word| (0..text.len()).any(|at| begins(&text, at, word)))
    };
    MODALITIES.iter().find(|(_, words)| holds(words)).map(|(modality, _)| *modality)
}

/// The body parts of a folded text, each once, in its order.
pub(super) fn parts(text: &str) -> Vec<&'static str> {
    let text: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let words =
            PARTS.iter().flat_map(|(parts, words)| words.split('|').map(move |it| (it, *parts)));
        let here = words.filter(|(word, _)| begins(&text, at, word));
        let Some((word, parts)) = here.max_by_key(|(word, _)| word.chars().count()) else {
            at += 1;
            continue;
        };
        for part in parts {
            if !found.contains(part) {
                found.push(*part);
            }
        }
        at += word.chars().count();
    }
    // 肩关节 has said which joint it is.
    if found.len() > 1 {
        found.retain(|part| *part != "EXTREMITY");
    }
    found
}

/// The side that a folded text names. 左心 and 右心 are halves of one heart.
pub(super) fn side(text: &str) -> Option<Side> {
    let halves = ["左心", "右心", "左房", "右房", "左室", "右室"];
    let text = halves.iter().fold(text.to_owned(), |text, half| text.replace(half, ""));
    let both = ["双", "两侧"].iter().any(|word| text.contains(word)) && !text.contains("双能");
    match (both, text.contains('左'), text.contains('右')) {
        (true, _, _) | (_, true, true) => Some(Side::Both),
        (_, true, _) => Some(Side::Left),
        (_, _, true) => Some(Side::Right),
        (false, false, false) => None,
    }
}

/// Whether a folded text names a contrast agent. An angiography by CT needs one; by MR it may not.
pub(super) fn contrast(text: &str) -> Option<Contrast> {
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let plain = any(&["平扫"]);
    let unenhanced = any(&["非增强", "不增强", "无增强"]);
    let enhanced = any(&["增强", "强化", "灌注", "超声造影", "CTA", "CTV", "CTU", "CTPA"]);
    match (plain, enhanced && !unenhanced) {
        (true, true) => Some(Contrast::Both),
        (false, true) => Some(Contrast::Enhanced),
        (true, false) => Some(Contrast::Plain),
        (false, false) => unenhanced.then_some(Contrast::Plain),
    }
}

/// Whether parts of one list and of the other lie in one region.
pub(super) fn same_region(one: &[&str], other: &[&str]) -> bool {
    let lies = |region: &str, parts: &[&str]| {
        parts.iter().any(|part| region.split(' ').any(|it| it == *part))
    };
    let equal = one.iter().any(|part| other.contains(part));
    equal || REGIONS.iter().any(|region| lies(region, one) && lies(region, other))
}

/// Whether the word begins here; between ASCII letters none does.
fn begins(text: &[char], at: usize, word: &str) -> bool {
    let length = word.chars().count();
    let Some(slice) = text.get(at..at + length) else { return false };
    if !slice.iter().copied().eq(word.chars()) {
        return false;
    }
    let letter = |at: usize| text.get(at).is_some_and(char::is_ascii_alphabetic);
    let begins_inside = at > 0 && letter(at - 1) && letter(at);
    let ends_inside = letter(at + length - 1) && letter(at + length);
    !begins_inside && !ends_inside
}
