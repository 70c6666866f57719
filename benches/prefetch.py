"""Prefetch of a CT of 500 slices from Orthanc, into a fresh cache every time.

Ours is the whole chain: from the commit of the registration to the commit that says `ready`, as
the ledger has them; the search of the source, its list of series, the retrieval and every sync lie
between. The peer is the slower of two: `curl` taking the study to a file (nothing synced), and the
same 500 files written and synced in batches of 32 with their folder (nothing received).
"""

import os
import shutil
import time

from peers import BASE, Forepost, Orthanc, fresh, take
from studies import SLICE_PIXELS, Study, registration

SLICES = 500
BATCH = 32
ACCEPT = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'


def ct():
    return Study(1, SLICES, SLICE_PIXELS)


def by_curl(orthanc, study, folder):
    """Seconds in which curl takes the study to a file."""
    url = f"{orthanc.url}{BASE}/studies/{study.uid}"
    os.sync()
    began = time.monotonic()
    take(["curl", "-sSf", "-H", ACCEPT, "-o", str(folder / "curl.multipart"), url])
    return time.monotonic() - began


def by_batches(files, folder):
    """Seconds in which the files are written and synced in batches with their folder."""
    target = folder / "batches"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    os.sync()
    began = time.monotonic()
    handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    for first in range(0, len(files), BATCH):
        written = []
        for number, content in enumerate(files[first : first + BATCH], first):
            file = os.open(target / f"{number}.dcm", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(file, content)
            written.append(file)
        for file in written:
            os.fsync(file)
            os.close(file)
        os.fsync(handle)
    os.close(handle)
    return time.monotonic() - began


def by_forepost(options, folder, study, number, **source):
    """Seconds between the registration's commit and that of its plan's end; `source` says where
    the study is, as `Forepost` takes it."""
    os.sync()
    with Forepost(options.binary, fresh(folder), **source) as forepost:
        forepost.register(registration(f"{number:012}", study.patient_id, study.name))
        forepost.wait_settled(1)
        plan = forepost.plans(1)[0]
    if plan["state"] != "ready" or plan["have"] != study.slices:
        raise SystemExit(f"bench: the study did not arrive: {plan}")
    return (plan["ready_at_ms"] - plan["received_at_ms"]) / 1000


def against(rows, options, name, what, program, take_by, source_of):
    """Compares the prefetch of a CT with the slower of a program that takes it by `take_by` and
    the synced batches; `source_of` gives the source that an Orthanc is."""
    study = ct()
    files = [study.file(number) for number in range(SLICES)]
    megabytes = sum(len(one) for one in files) / 1e6
    folder = fresh(f"{name}-theirs")
    with Orthanc() as orthanc:
        orthanc.hold(study)
        take_by(orthanc, study, folder)
        rounds = iter(range(1, 1000))

        def ours():
            seconds = by_forepost(options, f"{name}-ours", study, next(rounds),
                                  **source_of(orthanc))
            return megabytes / seconds

        def theirs():
            taken, written = take_by(orthanc, study, folder), by_batches(files, folder)
            print(f"    {program} {megabytes / taken:.0f} MB/s, "
                  f"batches {megabytes / written:.0f} MB/s")
            return megabytes / max(taken, written)

        rows.compare(f"{what} of a CT of 500 slices, 262 MB, registration to ready", "MB/s",
                     f"the slower of {program} and synced batches", options.pairs, ours, theirs,
                     0.9)
    shutil.rmtree(folder)
    shutil.rmtree(fresh(f"{name}-ours"))


def run(rows, options):
    against(rows, options, "prefetch", "prefetch", "curl", by_curl,
            lambda orthanc: {"source": orthanc.address})
