"""A backlog of 6,000 settlements leaves for a platform that answers in 50 ms.

The backlog is two days of a large hospital, kept while the platform's door is closed. What is timed
is from the start of the service that finds the door open to the last of them at the platform, while
the HIS goes on pushing; what the HIS waits for its answers meanwhile is timed beside it. No peer
does the same: the goals are bounds.
"""

import http.client
import http.server
import json
import threading
import time

from peers import Forepost, fresh, free_port, wait_for

SETTLE = "/standardInterface/standardHttp/saveSetlInfoList"
BACKLOG = 6000
ANSWER_SECONDS = 0.05
# Settlements in one body while the backlog is made, and those a second beside its drain.
BATCH = 500
PER_SECOND = 20
SECONDS_MAX = 120
P99_MS_MAX = 20


class Platform:
    """A server that takes every settlement, late by as much as a platform far away."""

    def __init__(self, port):
        self.taken = set()
        platform = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One packet an answer.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                time.sleep(ANSWER_SECONDS)
                platform.taken.add(body["setlId"])
                answer = b'{"message":"","code":200}'
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def settlement(number):
    return {"hospitalld": "123456", "accessionNo": f"A{number:09}",
            "studyOrderId": f"O{number:09}", "setlId": f"71{number:018}",
            "feedetlSn": f"72{number:018}", "medListCodg": "C00012", "examPart": "B02010ZZZ"}


def push(connection, settlements):
    """Seconds until the acknowledgement."""
    body = json.dumps(settlements).encode()
    began = time.monotonic()
    connection.request("POST", SETTLE, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    took = time.monotonic() - began
    if answer.status != 200:
        raise SystemExit(f"bench: settlements were refused: {answer.status} {said.decode()}")
    return took


def push_on(address, begin, done):
    """The HIS goes on until the backlog is gone; gives the seconds of each answer."""
    connection = http.client.HTTPConnection(address, timeout=60)
    times = []
    began = time.monotonic()
    while not done():
        times.append(push(connection, settlement(begin + len(times))))
        time.sleep(max(0, began + len(times) / PER_SECOND - time.monotonic()))
    return times


def run(rows, options):
    backlog = BACKLOG // 10 if options.quick else BACKLOG
    port = free_port()
    destination = (f'[[destination]]\nname = "cloud"\nurl = "http://127.0.0.1:{port}"\n'
                   'interfaces = ["ic-settlement-push"]\n')
    forepost = Forepost(options.binary, fresh("deliver"), more=destination)
    with forepost:
        connection = http.client.HTTPConnection(forepost.address, timeout=60)
        for first in range(0, backlog, BATCH):
            last = min(first + BATCH, backlog)
            push(connection, [settlement(number) for number in range(first, last)])
    wanted = {settlement(number)["setlId"] for number in range(backlog)}
    with Platform(port) as platform, forepost:
        began, ended = time.monotonic(), None

        def done():
            nonlocal ended
            if ended is None and len(platform.taken) >= backlog and wanted <= platform.taken:
                ended = time.monotonic()
            return ended is not None or time.monotonic() > began + 5 * SECONDS_MAX

        times = sorted(push_on(forepost.address, backlog, done))
        if ended is None:
            raise SystemExit(f"bench: {len(platform.taken)} of {backlog} left")
        beside = backlog + len(times)
        wait_for("what was pushed beside", lambda: len(platform.taken) >= beside)
    rows.bound(f"drain of {backlog:,} settlements, 50 ms an answer", ended - began, "s",
               SECONDS_MAX)
    rows.bound("acknowledgement of a settlement meanwhile, 99 of 100",
               1000 * times[len(times) * 99 // 100], "ms", P99_MS_MAX)
