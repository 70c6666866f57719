"""Prefetch of a CT of 500 slices from Orthanc by C-GET, into a fresh cache every time.

Ours is the whole chain as the bench `prefetch` has it, from a source of kind `dimse`. The peer is
the slower of two: `getscu` taking the study to files (nothing synced), and the same 500 files
written and synced in batches of 32 with their folder (nothing received). Orthanc and `getscu` run
with TCP_NODELAY=1: without it DCMTK pauses before each object.
"""

import os
import shutil
import time

from peers import Forepost, Orthanc, fresh, take
from prefetch import SLICES, by_batches, ct
from studies import registration


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


def by_forepost(options, orthanc, study, number):
    """Seconds between the registration's commit and that of its plan's end."""
    folder = fresh("dimse-ours")
    source = f"""
[[source]]
name = "region"
kind = "dimse"
address = "127.0.0.1:{orthanc.dicom_port}"
called_ae = "REGION"
[[source.patient_key]]
kind = "idCardNo"
"""
    os.sync()
    with Forepost(options.binary, folder, more=source) as forepost:
        forepost.register(registration(f"{number:012}", study.patient_id, study.name))
        forepost.wait_settled(1)
        plan = forepost.plans(1)[0]
    if plan["state"] != "ready" or plan["have"] != study.slices:
        raise SystemExit(f"bench: the study did not arrive: {plan}")
    return (plan["ready_at_ms"] - plan["received_at_ms"]) / 1000


def run(rows, options):
    os.environ["TCP_NODELAY"] = "1"
    study = ct()
    files = [study.file(number) for number in range(SLICES)]
    megabytes = sum(len(one) for one in files) / 1e6
    folder = fresh("dimse-theirs")
    with Orthanc() as orthanc:
        orthanc.hold(study)
        by_getscu(orthanc, study, folder)
        rounds = iter(range(1, 1000))

        def ours():
            return megabytes / by_forepost(options, orthanc, study, next(rounds))

        def theirs():
            taken, written = by_getscu(orthanc, study, folder), by_batches(files, folder)
            print(f"    getscu {megabytes / taken:.0f} MB/s, batches {megabytes / written:.0f} MB/s")
            return megabytes / max(taken, written)

        rows.compare("prefetch by C-GET of a CT of 500 slices, 262 MB, registration to ready",
                     "MB/s", "the slower of getscu and synced batches", options.pairs, ours,
                     theirs, 0.9)
    shutil.rmtree(folder)
    shutil.rmtree(fresh("dimse-ours"))
