"""Reads everything that a patient number finds, as a viewer would, with dicomweb-client.

Prints JSON: for each study its UID, the patient's name as pydicom reads it from the search answer,
and for each object that WADO-RS gives its SOP Instance UID with name and pixel checksum; and what
the metadata of the study and of its first instance hold.
"""

import json
import sys
import zlib

import pydicom
from dicomweb_client.api import DICOMwebClient


def main(base: str, patient_id: str) -> None:
    client = DICOMwebClient(url=base)
    found = client.search_for_studies(search_filters={"PatientID": patient_id})
    studies = []
    for row in found:
        row = pydicom.Dataset.from_json(row)
        study = str(row.StudyInstanceUID)
        series = client.search_for_series(study)
        instances = client.search_for_instances(study)
        objects = client.retrieve_study(study)
        metadata = client.retrieve_study_metadata(study)
        first = pydicom.Dataset.from_json(metadata[0])
        single = client.retrieve_instance(
            study, str(first.SeriesInstanceUID), str(first.SOPInstanceUID)
        )
        studies.append(
            {
                "study": study,
                "name": str(row.PatientName),
                "modalities": list(row.ModalitiesInStudy)
                if not isinstance(row.ModalitiesInStudy, str)
                else [row.ModalitiesInStudy],
                "related": int(row.NumberOfStudyRelatedInstances),
                "series": len(series),
                "instances": len(instances),
                "metadata": len(metadata),
                "metadata_name": str(first.PatientName),
                "single": str(single.SOPInstanceUID) == str(first.SOPInstanceUID),
                "objects": {
                    str(one.SOPInstanceUID): {
                        "name": str(one.PatientName),
                        "pixels": zlib.crc32(one.PixelData),
                    }
                    for one in objects
                },
            }
        )
    json.dump(studies, sys.stdout, ensure_ascii=False)


main(*sys.argv[1:])
