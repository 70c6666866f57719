"""Prefetch of a CT of 500 slices from Orthanc by C-GET, into a fresh cache every time.

Ours is the whole chain as the bench `prefetch` has it, from a source of kind `dimse`. The peer is
the slower of two: `getscu` taking the study to files (nothing synced), and the same 500 files
written and synced in batches of 32 with their folder (nothing received). Orthanc and `getscu` run
with TCP_NODELAY=1: without it DCMTK pauses before each object.
"""

import os
import shutil
import time

from peers import take
from prefetch import against


def by_getscu(orthanc, study, folder):
    """Seconds in which getscu takes the study to files."""
    target = folder / "getscu"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    os.sync()
    began = time.monotonic()
    take(["getscu", "--bit-preserving", "--study", "--call", "REGION", "--aetitle", "FOREPOST",
          "--key", "QueryRetrieveLevel=STUDY", "--key", f"StudyInstanceUID={study.uid}",
          "--output-directory", str(target), "127.0.0.1", str(orthanc.dicom_port)])
    seconds = time.monotonic() - began
    if len(list(target.iterdir())) != study.slices:
        raise SystemExit("bench: getscu did not bring the study")
    return seconds


def source(orthanc):
    """The configuration's table that leads to its DICOM door."""
    return {"more": f"""
[[source]]
name = "region"
kind = "dimse"
address = "127.0.0.1:{orthanc.dicom_port}"
called_ae = "REGION"
[[source.patient_key]]
kind = "idCardNo"
"""}


def run(rows, options):
    os.environ["TCP_NODELAY"] = "1"
    against(rows, options, "dimse", "prefetch by C-GET", "getscu", by_getscu, source)
