"""What a workstation asks for: searches and metadata against Orthanc, objects against nginx.

Forepost holds what Orthanc holds, brought over by prefetch: 200 patients with a small study each,
and a CT of 500 slices. The questions go through patients and instances in turn. nginx gives files
that hold the very bytes of Forepost's answers.
"""

from peers import BASE, Forepost, Orthanc, fresh, nginx, request, wrk
from prefetch import ct
from studies import Study, registration

import json

PATIENTS = 200
SMALL_SLICES = 3


def small_studies():
    """Header-only objects: what is searched for has no pixels."""
    return [Study(100 + number, SMALL_SLICES, 0) for number in range(PATIENTS)]


def paths(folder, name, lines):
    file = folder / f"{name}.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def check(side, path, count):
    """Both sides must give as many things, or the comparison is none."""
    status, body = request(side.address, "GET", path, headers={"accept": "application/dicom+json"})
    found = json.loads(body) if status == 200 else []
    if len(found) != count:
        raise SystemExit(f"bench: {side.url}{path}: {status}, {len(found)} instead of {count}")


def rate(side, file, connections, seconds):
    def measure():
        # A busy machine may need longer than this for one of Orthanc's answers.
        for wait in (seconds, 4 * seconds, 16 * seconds):
            result = wrk(side.url, connections, wait, ["paths", file])
            if result["requests"]:
                return result["requests"] / result["seconds"]
        raise SystemExit(f"bench: no answer of {side.url} within {wait} s")

    return measure


def megabytes(url, file, connections, seconds):
    def measure():
        result = wrk(url, connections, seconds, ["paths", file])
        return result["bytes"] / result["seconds"] / 1e6

    return measure


def against_orthanc(rows, options, folder, forepost, orthanc, study, seconds):
    patients = [one.patient_id for one in small_studies()]
    instances = [f"{BASE}/studies/{study.uid}/series/{study.series_uid(number)}"
                 f"/instances/{study.sop_uid(number)}/metadata" for number in range(study.slices)]
    whole = f"{BASE}/studies/{study.uid}/metadata"
    questions = [
        ("QIDO-RS studies by PatientID", [f"{BASE}/studies?PatientID={one}" for one in patients],
         1, 8),
        ("metadata of one instance", instances, 1, 8),
        ("metadata of a study of 500 slices", [whole], study.slices, 20),
    ]
    for number, (what, lines, count, goal) in enumerate(questions):
        file = paths(folder, f"question-{number}", lines)
        for side in (forepost, orthanc):
            check(side, lines[0], count)
        for connections in (1, 8):
            rows.compare(f"{what}, {connections} connection{'s'[: connections - 1]}", "/s",
                         "Orthanc", options.pairs, rate(forepost, file, connections, seconds),
                         rate(orthanc, file, connections, seconds), goal)


def against_nginx(rows, options, folder, forepost, study, seconds):
    first = study.sop_uid(0)
    answers = [
        ("one instance, 525 KB", f"{BASE}/studies/{study.uid}/series/{study.series_uid(0)}"
                                 f"/instances/{first}", "instance"),
        ("a whole study, 262 MB", f"{BASE}/studies/{study.uid}", "study"),
    ]
    with nginx(folder) as address:
        for what, path, name in answers:
            status, body = request(forepost.address, "GET", path)
            if status != 200 or first.encode() not in body:
                raise SystemExit(f"bench: {path}: {status}")
            (folder / name).write_bytes(body)
            ours, theirs = paths(folder, "ours", [path]), paths(folder, "theirs", [f"/{name}"])
            for connections in (1, 8):
                rows.compare(f"{what}, {connections} connection{'s'[: connections - 1]}", "MB/s",
                             "nginx", options.pairs,
                             megabytes(forepost.url, ours, connections, seconds),
                             megabytes(f"http://{address}", theirs, connections, seconds), 0.8)


def run(rows, options):
    study = ct()
    seconds = 2 if options.quick else 5
    folder, files = fresh("serve"), fresh("serve-nginx")
    with Orthanc() as orthanc:
        everyone = [study] + small_studies()
        for one in everyone:
            orthanc.hold(one)
        with Forepost(options.binary, folder, orthanc.address, log="warn") as forepost:
            for number, one in enumerate(everyone):
                forepost.register(registration(f"{number:012}", one.patient_id, one.name))
            wait_ready(forepost, len(everyone))
            against_orthanc(rows, options, folder, forepost, orthanc, study, seconds)
            against_nginx(rows, options, files, forepost, study, seconds)


def wait_ready(forepost, count):
    """Every plan has ended well, or the run ends."""
    def all_ready():
        states = [plan["state"] for plan in forepost.plans(count)]
        return states.count("ready") == count

    forepost.process.wait_until(all_ready, seconds=300, pause=1)
