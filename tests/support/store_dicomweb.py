"""Stores files as a workstation would, with dicomweb-client: one request with all of them.

Prints JSON: the SOP Instance UIDs that the answer names as stored, and those it names as failed.
"""

import json
import sys

import pydicom
from dicomweb_client.api import DICOMwebClient


def main(base: str, *paths: str) -> None:
    client = DICOMwebClient(url=base)
    answer = client.store_instances([pydicom.dcmread(path) for path in paths])
    uids = lambda sequence: [str(item.ReferencedSOPInstanceUID) for item in sequence]
    told = {
        "stored": uids(answer.get("ReferencedSOPSequence", [])),
        "failed": uids(answer.get("FailedSOPSequence", [])),
    }
    json.dump(told, sys.stdout)


main(*sys.argv[1:])
