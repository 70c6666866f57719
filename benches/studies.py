"""Made-up patients and CT studies for the figures, as Part 10 files (PS3.10 section 7.1).

Everything is a function of its numbers: the same call gives the same bytes on every machine, so
that archives filled by an earlier run can be used again. Written with the standard library only.
"""

import datetime
import random
import struct

# PS3.5 table 7.1-1: these carry two reserved bytes and a length of four.
LONG_VALUES = {"OB", "OW", "SQ", "UN", "UT"}

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SLICE_PIXELS = 512 * 512 * 2

# Weights and remainders of the check digit (GB 11643-1999).
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_DIGITS = "10X98765432"


def id_number(number):
    """A valid identity number of nobody: area 110199, born 1950 and later, by a running number."""
    birth = datetime.date(1950, 1, 1) + datetime.timedelta(days=number // 500)
    digits = f"110199{birth:%Y%m%d}{number % 500 * 2 + 1:03}"
    return digits + CHECK_DIGITS[sum(int(d) * w for d, w in zip(digits, WEIGHTS)) % 11]


class Study:
    """A CT of `slices` images in two series, of the patient with this running number."""

    def __init__(self, patient, slices, pixel_bytes):
        self.patient = patient
        self.slices = slices
        self.pixel_bytes = pixel_bytes
        self.patient_id = id_number(patient)
        self.name = "测试" + chr(0x4E00 + patient % 5000)
        self.uid = f"2.25.3150000001{patient:06}"
        self._noise = random.Random(patient).randbytes(pixel_bytes + 2 * slices)

    def series_uid(self, number):
        """Half of the images are in each series."""
        return f"2.25.315000000{2 if number < self.slices // 2 else 4}{self.patient:06}"

    def sop_uid(self, number):
        return f"2.25.3150000003{self.patient:06}{number:05}"

    def birth_date(self):
        return self.patient_id[6:14]

    def file(self, number):
        """The object of one image, whole."""
        pixels = self._noise[2 * number : 2 * number + self.pixel_bytes]
        return part10(self.sop_uid(number), self._elements(number, pixels))

    def _elements(self, number, pixels):
        day = "20260115"
        second = number >= self.slices // 2
        return [
            (0x0008, 0x0005, "CS", "ISO_IR 192"),
            (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
            (0x0008, 0x0012, "DA", day),
            (0x0008, 0x0013, "TM", "093000"),
            (0x0008, 0x0016, "UI", CT_IMAGE),
            (0x0008, 0x0018, "UI", self.sop_uid(number)),
            (0x0008, 0x0020, "DA", day),
            (0x0008, 0x0021, "DA", day),
            (0x0008, 0x0022, "DA", day),
            (0x0008, 0x0023, "DA", day),
            (0x0008, 0x0030, "TM", "093000"),
            (0x0008, 0x0031, "TM", "093100"),
            (0x0008, 0x0032, "TM", "093100"),
            (0x0008, 0x0033, "TM", "093100"),
            (0x0008, 0x0050, "SH", f"A{self.patient:06}"),
            (0x0008, 0x0060, "CS", "CT"),
            (0x0008, 0x0070, "LO", "Forepost"),
            (0x0008, 0x0080, "LO", "省立医院"),
            (0x0008, 0x0081, "ST", "解放路一号"),
            (0x0008, 0x0090, "PN", "王医生"),
            (0x0008, 0x1010, "SH", "CT01"),
            (0x0008, 0x1030, "LO", "胸部平扫"),
            (0x0008, 0x103E, "LO", "Lung 1.0" if second else "Soft 1.0"),
            (0x0008, 0x1090, "LO", "Phantom"),
            (0x0008, 0x1140, "SQ", [[
                (0x0008, 0x1150, "UI", CT_IMAGE),
                (0x0008, 0x1155, "UI", self.sop_uid(0)),
            ]]),
            (0x0010, 0x0010, "PN", self.name),
            (0x0010, 0x0020, "LO", self.patient_id),
            (0x0010, 0x0030, "DA", self.birth_date()),
            (0x0010, 0x0040, "CS", "M"),
            (0x0010, 0x1010, "AS", "052Y"),
            (0x0010, 0x1030, "DS", "70"),
            (0x0018, 0x0015, "CS", "CHEST"),
            (0x0018, 0x0022, "CS", "HELICAL MODE"),
            (0x0018, 0x0050, "DS", "1.0"),
            (0x0018, 0x0060, "DS", "120"),
            (0x0018, 0x0090, "DS", "500"),
            (0x0018, 0x1020, "LO", "1.0"),
            (0x0018, 0x1030, "LO", "Thorax routine"),
            (0x0018, 0x1100, "DS", "350"),
            (0x0018, 0x1110, "DS", "1085.6"),
            (0x0018, 0x1111, "DS", "595"),
            (0x0018, 0x1120, "DS", "0"),
            (0x0018, 0x1130, "DS", "145"),
            (0x0018, 0x1140, "CS", "CW"),
            (0x0018, 0x1150, "IS", "500"),
            (0x0018, 0x1151, "IS", "210"),
            (0x0018, 0x1152, "IS", "105"),
            (0x0018, 0x1160, "SH", "FLAT"),
            (0x0018, 0x1170, "IS", "25"),
            (0x0018, 0x1190, "DS", "1.2"),
            (0x0018, 0x1210, "SH", "B60f" if second else "B30f"),
            (0x0018, 0x5100, "CS", "HFS"),
            (0x0020, 0x000D, "UI", self.uid),
            (0x0020, 0x000E, "UI", self.series_uid(number)),
            (0x0020, 0x0010, "SH", f"S{self.patient:06}"),
            (0x0020, 0x0011, "IS", "2" if second else "1"),
            (0x0020, 0x0012, "IS", "1"),
            (0x0020, 0x0013, "IS", f"{number + 1}"),
            (0x0020, 0x0032, "DS", f"-175\\-175\\{-number}"),
            (0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"),
            (0x0020, 0x0052, "UI", f"2.25.3150000005{self.patient:06}"),
            (0x0020, 0x1040, "LO", ""),
            (0x0020, 0x1041, "DS", f"{-number}"),
            (0x0028, 0x0002, "US", 1),
            (0x0028, 0x0004, "CS", "MONOCHROME2"),
            (0x0028, 0x0010, "US", 512),
            (0x0028, 0x0011, "US", 512),
            (0x0028, 0x0030, "DS", "0.683594\\0.683594"),
            (0x0028, 0x0100, "US", 16),
            (0x0028, 0x0101, "US", 12),
            (0x0028, 0x0102, "US", 11),
            (0x0028, 0x0103, "US", 0),
            (0x0028, 0x1050, "DS", "40"),
            (0x0028, 0x1051, "DS", "400"),
            (0x0028, 0x1052, "DS", "-1024"),
            (0x0028, 0x1053, "DS", "1"),
        ] + ([(0x7FE0, 0x0010, "OW", pixels)] if pixels else [])


def part10(sop_uid, elements):
    """Preamble, file meta information and the data set in explicit VR little endian."""
    meta = b"".join(element(*one) for one in [
        (0x0002, 0x0001, "OB", b"\x00\x01"),
        (0x0002, 0x0002, "UI", CT_IMAGE),
        (0x0002, 0x0003, "UI", sop_uid),
        (0x0002, 0x0010, "UI", EXPLICIT_LITTLE),
        (0x0002, 0x0012, "UI", "2.25.3150000006"),
    ])
    length = element(0x0002, 0x0000, "UL", len(meta))
    return bytes(128) + b"DICM" + length + meta + b"".join(element(*one) for one in elements)


def element(group, number, vr, value):
    """One data element in explicit VR little endian (PS3.5 section 7.1.2)."""
    if vr == "US":
        value = struct.pack("<H", value)
    elif vr == "UL":
        value = struct.pack("<I", value)
    elif vr == "SQ":
        items = (b"".join(element(*one) for one in item) for item in value)
        value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(i)) + i for i in items)
    elif isinstance(value, str):
        value = value.encode()
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB") else b" "
    tag = struct.pack("<HH", group, number) + vr.encode()
    if vr in LONG_VALUES:
        return tag + struct.pack("<HI", 0, len(value)) + value
    return tag + struct.pack("<H", len(value)) + value


def registration(visit, patient_id, name):
    """What a HIS sends for an outpatient who is seen tomorrow; about 1 KB as JSON."""
    now = datetime.datetime.now()
    tomorrow = now + datetime.timedelta(days=1)
    return {
        "idCardNo": patient_id,
        "insuranceId": f"2{visit}",
        "hospitalizationId": f"3{visit}",
        "medicareNo": f"5{visit}",
        "mobilePhone": "13800000003",
        "patientName": name,
        "patientSex": "男",
        "patientAge": "52",
        "outpatientNumber": visit,
        "registDateTime": f"{now:%Y-%m-%d %H:%M:%S}",
        "outpatientDateTime": f"{tomorrow:%Y-%m-%d %H:%M:%S}",
        "outpatientDeptCode": "301",
        "outpatientDeptName": "心血管内科一诊区",
        "outpatientDocName": "王二",
        "quitType": "0",
        "hospitalld": "123456",
        "outpatientType": "0",
        "admissionRegistDateTime": f"{now:%Y-%m-%d %H:%M:%S}",
        "admissionDateTime": f"{now:%Y-%m-%d %H:%M:%S}",
        "admissionDeptName": "心血管内科一病区",
        "admissionDeptCode": "3011",
        "currentDeptCode": "335",
        "currentDeptName": "血液透析科",
        "diagnoseCode": "I25.103",
        "diagnoseName": "冠状动脉粥样硬化性心脏病,不稳定型心绞痛,心功能二级",
        "wardNo": "护理三区",
        "bedNo": "3336",
    }
