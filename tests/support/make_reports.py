"""Writes a structured report and an encapsulated PDF of a made-up study: FOLDER STUDY PATIENT_ID NAME
BIRTH_DATE SEX INSTITUTION DATE. Prints the paths of the files and the bytes of the document."""

import json
import sys
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def content(kind, label, **more):
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    item.ConceptNameCodeSequence = [label]
    for name, value in more.items():
        setattr(item, name, value)
    return item


def base(of, sop_class, modality, number):
    study, patient_id, name, birth, sex, institution, date = of
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = sop_class, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"{study}.{number}.1"
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{study}.{number}"
    made.PatientID, made.PatientName, made.PatientBirthDate, made.PatientSex = (
        patient_id, name, birth, sex)
    made.InstitutionName, made.StudyDate, made.StudyTime = institution, date, "101500"
    made.Modality, made.SeriesNumber, made.InstanceNumber = modality, number, 1
    made.StudyID, made.AccessionNumber = "1", "A9070"
    made.StudyDescription = "胸部平扫"
    return made


def main():
    folder, of = Path(sys.argv[1]), sys.argv[2:9]
    report = base(of, BASIC_TEXT, "SR", 8)
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.ConceptNameCodeSequence = [code("11528-7", "LN", "放射学报告")]
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.ContentSequence = [
        content("TEXT", code("121070", "DCM", "所见"), TextValue="右肺上叶小结节 <5mm>，余未见异常。"),
        content("TEXT", code("121076", "DCM", "结论"), TextValue="建议随访。"),
    ]
    document = base(of, PDF, "DOC", 9)
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n%%EOF\n" + b"% padding\n" * 400
    document.EncapsulatedDocument = pdf
    document.MIMETypeOfEncapsulatedDocument, document.DocumentTitle = "application/pdf", "报告"
    paths = []
    for name, made in [("report", report), ("document", document)]:
        paths.append(str(folder / f"{name}.dcm"))
        made.save_as(paths[-1], enforce_file_format=True)
    print(json.dumps({"paths": paths, "pdf": pdf.decode("latin-1")}))


main()
