"""Memory while a study of 2 GB arrives from Orthanc and is read at once by two readers.

What is read each 50 ms is RssAnon of /proc/PID/status: memory that the process alone owns, without
the page cache. The readers ask for the whole study again and again while it arrives, which gives
what is whole by then, and once more when all of it is here.
"""

import subprocess
import threading
import time

from peers import BASE, Forepost, Orthanc, fresh, wait_for
from studies import SLICE_PIXELS, Study, registration

SLICES = 3900
READERS = 2
SAMPLE_SECONDS = 0.05
LIMIT_MB = 100


class Sampler(threading.Thread):
    """Watches a process's memory until told to stop."""

    def __init__(self, forepost):
        super().__init__(daemon=True)
        self.forepost = forepost
        self.samples = []
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE_SECONDS):
            self.samples.append(self.forepost.rss_anon())

    def stop(self):
        self.over.set()
        self.join()


class Reader(threading.Thread):
    """Reads the study until told that it is here, then once more."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url = url
        self.here = threading.Event()
        self.bytes = []

    def run(self):
        last = False
        while not last:
            last = self.here.is_set()
            said = subprocess.run(
                ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", self.url],
                stdout=subprocess.PIPE, text=True).stdout.split()
            # Until the first batch is durable the study is unknown.
            if said[0] == "200":
                self.bytes.append(int(said[1]))
            else:
                time.sleep(0.1)


def run(rows, options):
    slices = 1000 if options.quick else SLICES
    # A patient of its own for each length: Orthanc keeps what it was given.
    study = Study(10_000 + slices, slices, SLICE_PIXELS)
    size = study.slices * (SLICE_PIXELS + 1500)
    folder = fresh("memory")
    with Orthanc() as orthanc:
        orthanc.hold(study)
        with Forepost(options.binary, folder, orthanc.address) as forepost:
            # An allocator's pools and the threads' stacks are there before the study is.
            idle = forepost.rss_anon()
            sampler = Sampler(forepost)
            readers = [Reader(f"{forepost.url}{BASE}/studies/{study.uid}") for _ in range(READERS)]
            for thread in [sampler, *readers]:
                thread.start()
            forepost.register(registration(f"{1:012}", study.patient_id, study.name))
            forepost.wait_settled(1)
            arrived = time.monotonic()
            for reader in readers:
                reader.here.set()
            wait_for("the readers", lambda: not any(one.is_alive() for one in readers), 300)
            seconds = time.monotonic() - arrived
            sampler.stop()
            plan = forepost.plans(1)[0]
    if plan["state"] != "ready" or any(one.bytes[-1] < study.slices * SLICE_PIXELS
                                       for one in readers):
        raise SystemExit(f"bench: the study did not arrive or was not read whole: {plan}")
    took = (plan["ready_at_ms"] - plan["received_at_ms"]) / 1000
    read = sum(sum(one.bytes) for one in readers)
    print(f"  idle {idle / 1e6:.0f} MB; arrived in {took:.1f} s, the last reads took "
          f"{seconds:.1f} s more; {len(sampler.samples)} samples; {read / 1e9:.1f} GB read")
    rows.bound(f"largest RssAnon while {size / 1e9:.1f} GB arrive and {READERS} readers take them",
               max(sampler.samples) / 1e6, "MB", LIMIT_MB)
