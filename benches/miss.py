"""First byte of a study that is opened before it is here, after the source's own first byte.

A proxy of this bench stands between Forepost and Orthanc and notes when the first byte of the
objects passes; the viewer notes when the first byte of its answer's body comes. Between the two
lie the rest of the first image and the judgement of its header. What the proxy costs counts
against us.
"""

import contextlib
import selectors
import socket
import statistics
import threading
import time

from peers import BASE, Forepost, Orthanc, fresh
from studies import SLICE_PIXELS, Study

STUDIES = 20
SLICES = 20
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class Proxy:
    """Passes bytes on to an address and notes when the body of a retrieval begins."""

    def __init__(self, address):
        host, port = address.split(":")
        self.upstream = (host, int(port))
        self.began = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        peer = socket.create_connection(self.upstream)
        for one in (client, peer):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other = {client: peer, peer: client}
        with selectors.DefaultSelector() as selector, client, peer:
            for one in other:
                selector.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    piece = key.fileobj.recv(1 << 20)
                    if not piece:
                        return
                    if key.fileobj is peer and self.began is None and b"DICM" in piece:
                        self.began = time.monotonic()
                    other[key.fileobj].sendall(piece)

    def close(self):
        self.listener.close()


def first_byte(address, path):
    """When the first object's first bytes came."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as viewer:
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {ACCEPT}\r\n"
                       "Connection: close\r\n\r\n".encode())
        head, came = b"", None
        while piece := viewer.recv(1 << 16):
            if came is None:
                head += piece
                if b"DICM" in head:
                    came = time.monotonic()
            else:
                head = piece[-16:]
        if came is None:
            raise SystemExit(f"bench: the study did not come: {head[:300]}")
        return came


def run(rows, options):
    folder = fresh("miss")
    late = []
    with Orthanc() as orthanc:
        studies = [Study(700 + number, SLICES, SLICE_PIXELS) for number in range(STUDIES)]
        for study in studies:
            orthanc.hold(study)
        proxy = Proxy(orthanc.address)
        with Forepost(options.binary, folder, proxy.address, caller="ask_sources = true") as ours:
            for study in studies:
                proxy.began = None
                came = first_byte(ours.address, f"{BASE}/studies/{study.uid}")
                late.append((came - proxy.began) * 1000)
        proxy.close()
    print(f"  smallest {min(late):.1f} ms, largest {max(late):.1f} ms of {len(late)}")
    rows.bound("first byte of a missing study after the source's own, 525 KB images",
               statistics.median(late), "ms", 5)
