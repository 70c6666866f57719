"""Holds served frames against what pydicom reads of the files. Takes the name of a JSON file:
[{"file": path, "url": of the instance}]. Prints JSON: {path: words}, the words telling how many
frames are equal byte by byte, what differs, or what the server answered instead.
"""

import json
import sys

import pydicom
import requests
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import get_expected_length

#: Whatever is stored, under any transfer syntax.
ACCEPT = {"accept": "*/*; transfer-syntax=*"}

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def expected(file: str) -> list[bytes]:
    """The frames as pydicom tells them, without decoding."""
    ds = pydicom.dcmread(file)
    keyword = next(one for one in PIXELS if one in ds)
    if not str(ds.get("NumberOfFrames") or 1).isdigit():
        # What is no number says nothing.
        del ds.NumberOfFrames
    value, count = ds[keyword].value, int(ds.get("NumberOfFrames") or 1)
    if ds.file_meta.TransferSyntaxUID.is_compressed and keyword == "PixelData":
        extended = None
        if "ExtendedOffsetTable" in ds:
            extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
        return list(generate_frames(value, number_of_frames=count, extended_offsets=extended))
    bits = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits // 3 * 2
    assert -(-bits * count // 8) == get_expected_length(ds), "pydicom counts otherwise"
    ends = [bits * n // 8 for n in range(count)] + [-(-bits * count // 8)]
    return [value[one:other] for one, other in zip(ends, ends[1:])]


def parts(answer: requests.Response) -> list[bytes]:
    """The parts of a multipart, by the lengths that their heads tell."""
    boundary = answer.headers["content-type"].split("boundary=")[1]
    body, found = answer.content, []
    while body.startswith(f"--{boundary}\r\n".encode()):
        head, body = body.split(b"\r\n\r\n", 1)
        lines = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int({name.lower(): value for name, value in lines}[b"content-length"])
        found.append(body[:length])
        body = body[length + 2:]
    assert body == f"--{boundary}--\r\n".encode(), "the multipart ends oddly"
    return found


def held(session: requests.Session, file: str, url: str) -> str:
    first = session.get(f"{url}/frames/1", headers=ACCEPT)
    if first.status_code != 200:
        return f"{first.status_code} {first.text.split('. ')[0].split(': ')[0]}"
    frames = expected(file)
    numbers = range(1, len(frames) + 1)
    alone = [parts(session.get(f"{url}/frames/{n}", headers=ACCEPT))[0] for n in numbers]
    listed = ",".join(map(str, reversed(numbers)))
    together = parts(session.get(f"{url}/frames/{listed}", headers=ACCEPT))[::-1]
    beyond = session.get(f"{url}/frames/{len(frames) + 1}", headers=ACCEPT).status_code
    differ = [n for n in numbers if not frames[n - 1] == alone[n - 1] == together[n - 1]]
    if differ or beyond != 404:
        lengths = [(len(frames[n - 1]), len(alone[n - 1])) for n in differ[:3]]
        return f"differs in {differ[:3]} of {len(frames)}, lengths {lengths}; beyond: {beyond}"
    return f"{len(frames)} equal"


def main(tasks: list[dict]) -> dict:
    with requests.Session() as session:
        return {task["file"]: held(session, **task) for task in tasks}


with open(sys.argv[1]) as tasks:
    print(json.dumps(main(json.load(tasks))))
