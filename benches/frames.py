"""One frame of a multi-frame object: Forepost against Orthanc and nginx.

An object of 64 frames of 512 x 512 pixels in 16 bits. The questions go through its frames in turn.
nginx gives files that hold the very bytes of Forepost's answers.
"""

from peers import BASE, Forepost, Orthanc, fresh, nginx, request
from serve import megabytes, paths, rate, wait_ready
from studies import SLICE_PIXELS, Study, registration

FRAMES = 64


class Cine(Study):
    """One object whose frames are what the slices of a study would be."""

    def __init__(self, patient):
        super().__init__(patient, 1, FRAMES * SLICE_PIXELS)

    def _elements(self, number, pixels):
        elements = super()._elements(number, pixels)
        at = next(n for n, one in enumerate(elements) if one[:2] == (0x0028, 0x0010))
        return elements[:at] + [(0x0028, 0x0008, "IS", str(FRAMES))] + elements[at:]


def frame(side, path, pixels, number):
    """The answer for one frame, which must hold its pixels."""
    status, body = request(side.address, "GET", path)
    expected = pixels[(number - 1) * SLICE_PIXELS : number * SLICE_PIXELS]
    if status != 200 or expected not in body:
        raise SystemExit(f"bench: {side.url}{path}: {status}, not frame {number}")
    return body


def run(rows, options):
    cine = Cine(900)
    pixels = cine.file(0)[-FRAMES * SLICE_PIXELS :]
    seconds = 2 if options.quick else 5
    folder, files = fresh("frames"), fresh("frames-nginx")
    asked = [f"{BASE}/studies/{cine.uid}/series/{cine.series_uid(0)}/instances/{cine.sop_uid(0)}"
             f"/frames/{number}" for number in range(1, FRAMES + 1)]
    with Orthanc() as orthanc:
        orthanc.hold(cine)
        with Forepost(options.binary, folder, orthanc.address, log="warn") as forepost:
            forepost.register(registration("900000000001", cine.patient_id, cine.name))
            wait_ready(forepost, 1)
            for number, path in enumerate(asked, 1):
                frame(orthanc, path, pixels, number)
                (files / f"{number}").write_bytes(frame(forepost, path, pixels, number))
            ours = paths(files, "ours", asked)
            theirs = paths(files, "theirs", [f"/{number}" for number in range(1, FRAMES + 1)])
            with nginx(files) as address:
                for connections in (1, 8):
                    what = f"one frame, 524 KB, {connections} connection{'s'[: connections - 1]}"
                    rows.compare(what, "/s", "Orthanc", options.pairs,
                                 rate(forepost, ours, connections, seconds),
                                 rate(orthanc, ours, connections, seconds), None)
                    rows.compare(what, "MB/s", "nginx", options.pairs,
                                 megabytes(forepost.url, ours, connections, seconds),
                                 megabytes(f"http://{address}", theirs, connections, seconds), 0.8)
