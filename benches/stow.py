"""STOW-RS of a CT of 500 slices, into an archive that does not have it yet.

Both sides answer when they have synced what they were sent: Forepost each batch of objects with
their folder and their records, Orthanc each file (SyncStorageArea, its default). The study goes in
one request, and in requests of ten objects one behind the other, which is how Orthanc's own plugin
sends it.
"""

import http.client
import json
import os
import time

from peers import BASE, Forepost, Orthanc, fresh, request
from prefetch import SLICES, ct

BOUNDARY = b"bench-of-stow"
HEADERS = {
    "content-type": 'multipart/related; type="application/dicom"; boundary=bench-of-stow',
    "accept": "application/dicom+json",
}
REFERENCED = "00081199"


def body(files):
    parts = [b"--" + BOUNDARY + b"\r\ncontent-type: application/dicom\r\n\r\n" + one + b"\r\n"
             for one in files]
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def send(address, bodies):
    """Seconds until the last answer; every object must be named as stored."""
    connection = http.client.HTTPConnection(address, timeout=300)
    stored = 0
    os.sync()
    began = time.monotonic()
    for one in bodies:
        connection.request("POST", f"{BASE}/studies", one, HEADERS)
        reply = connection.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise SystemExit(f"bench: {address} answered {reply.status}: {said[:500]}")
        stored += len(json.loads(said)[REFERENCED]["Value"])
    seconds = time.monotonic() - began
    connection.close()
    if stored != SLICES:
        raise SystemExit(f"bench: {address} stored {stored} of {SLICES} objects")
    return seconds


def forget(orthanc, study):
    """Orthanc has nothing of the study afterwards."""
    wanted = {"Level": "Study", "Query": {"StudyInstanceUID": study.uid}}
    _, found = request(orthanc.address, "POST", "/tools/find", json.dumps(wanted))
    for one in json.loads(found):
        request(orthanc.address, "DELETE", f"/studies/{one}")


def run(rows, options):
    study = ct()
    files = [study.file(number) for number in range(SLICES)]
    megabytes = sum(len(one) for one in files) / 1e6
    ways = [
        ("one request", [body(files)]),
        ("requests of ten", [body(files[at : at + 10]) for at in range(0, SLICES, 10)]),
    ]
    with Orthanc() as orthanc:
        for what, bodies in ways:
            def ours():
                with Forepost(options.binary, fresh("stow"), log="warn") as forepost:
                    return megabytes / send(forepost.address, bodies)

            def theirs():
                forget(orthanc, study)
                return megabytes / send(orthanc.address, bodies)

            rows.compare(f"STOW-RS of a CT of 500 slices, {what}", "MB/s", "Orthanc",
                         options.pairs, ours, theirs, 2)
        forget(orthanc, study)
