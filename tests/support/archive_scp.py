"""An archive that speaks DIMSE, by pynetdicom: C-ECHO, C-STORE, C-FIND and C-GET of the Study Root.

    archive_scp.py FOLDER FAULT AFTER

Prints its port when it listens. FAULT is what it does once, in the first C-GET, after so many
objects: `none`, `abort` (A-ABORT), `cut` (the socket closes), `hang`, `absurd` (a PDU that claims
4 GB), `garbage` (bytes of no PDU), `half` (an object begins and breaks off), `fail` (the status
A702), `short` (the rest fails as sub-operations). `secret` instead keeps the SOP classes of its
instances to itself. It refuses nobody, and ends with its input.
"""

import os
import sys
import time

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as FIND,
    StudyRootQueryRetrieveInformationModelGet as GET,
    Verification,
)

folder, fault, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
calm = [fault in ("none", "secret")]


def files():
    for name in sorted(os.listdir(folder)):
        if name.endswith(".dcm"):
            yield dcmread(os.path.join(folder, name))


def wanted(identifier):
    """The objects that the unique keys name; an empty key names all."""
    for one in files():
        for key in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            value = identifier.get(key)
            if not value:
                continue
            values = [value] if isinstance(value, str) else list(value)
            if str(one.get(key)) not in [str(each) for each in values]:
                break
        else:
            yield one


def stored(event):
    one = event.dataset
    one.file_meta = event.file_meta
    one.save_as(os.path.join(folder, f"{one.SOPInstanceUID}.dcm"), enforce_file_format=True)
    return 0x0000


def found(event):
    identifier = event.identifier
    level = identifier.QueryRetrieveLevel
    unique = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
    objects = list(wanted(identifier))
    seen = set()
    for one in objects:
        uid = one[unique[level]].value
        if uid in seen:
            continue
        seen.add(uid)
        row = Dataset()
        row.QueryRetrieveLevel = level
        row.SpecificCharacterSet = one.get("SpecificCharacterSet", "ISO_IR 192")
        for element in identifier:
            if element.keyword and element.keyword in one:
                row[element.keyword] = one[element.keyword]
        if fault == "secret" and "SOPClassUID" in row:
            del row.SOPClassUID
        same = [other for other in objects if other[unique[level]].value == uid]
        if level == "STUDY":
            row.NumberOfStudyRelatedInstances = len(same)
        if level == "SERIES":
            row.NumberOfSeriesRelatedInstances = len(same)
        yield 0xFF00, row
    yield 0x0000, None


def break_off(event):
    association = event.assoc
    raw = association.dul.socket.socket
    # What pynetdicom has queued for the socket goes out first.
    time.sleep(0.5)
    if fault == "abort":
        association.abort()
    elif fault == "cut":
        raw.close()
    elif fault == "hang":
        time.sleep(60)
    elif fault == "absurd":
        raw.sendall(b"\x04\x00\xff\xff\xff\xff" + b"\0" * 64)
        time.sleep(60)
    elif fault == "garbage":
        raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        time.sleep(60)
    elif fault == "half":
        half_an_object(association, raw)


def half_an_object(association, raw):
    """A C-STORE request and the beginning of its data set."""
    context = next(c for c in association.accepted_contexts if c.abstract_syntax.endswith("1.1.2"))
    sop = b"2.25.7000000000.9\0"
    sop_class = context.abstract_syntax.encode() + b"\0" * (len(context.abstract_syntax) % 2)
    elements = [(0x0002, sop_class), (0x0100, b"\x01\0"), (0x0110, b"\x63\0"), (0x0700, b"\0\0")]
    elements += [(0x0800, b"\x01\0"), (0x1000, sop)]
    body = b"".join(
        b"\0\0" + tag.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value
        for tag, value in elements
    )
    command = b"\0\0\0\0\x04\0\0\0" + len(body).to_bytes(4, "little") + body
    for header, value in ((b"\x03", command), (b"\x00", b"\x08\0\x05\0CS\x0a\0ISO_IR 192")):
        value = bytes([context.context_id]) + header + value
        value = len(value).to_bytes(4, "big") + value
        raw.sendall(b"\x04\0" + len(value).to_bytes(4, "big") + value)
    raw.close()


def got(event):
    objects = list(wanted(event.identifier))
    yield len(objects)
    for at, one in enumerate(objects):
        if not calm[0] and at == after:
            calm[0] = True
            if fault == "fail":
                yield 0xA702, None
                return
            if fault == "short":
                # What cannot be sent is counted as failed.
                for rest in objects[at:]:
                    rest.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
                    yield 0xFF00, rest
                return
            break_off(event)
            return
        yield 0xFF00, one


def say(words):
    """A line of the log that the tests count."""
    return lambda event: print(words, file=sys.stderr, flush=True)


ae = AE(ae_title="ARCHIVE")
for context in AllStoragePresentationContexts:
    name = context.abstract_syntax
    ae.add_supported_context(name, ALL_TRANSFER_SYNTAXES, scp_role=True, scu_role=True)
for context in (FIND, GET, Verification):
    ae.add_supported_context(context)
handlers = [(evt.EVT_C_STORE, stored), (evt.EVT_C_FIND, found), (evt.EVT_C_GET, got)]
handlers += [(evt.EVT_ESTABLISHED, say("associated")), (evt.EVT_ABORTED, say("aborted"))]
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
print(server.socket.getsockname()[1], flush=True)
sys.stdin.read()
os._exit(0)
