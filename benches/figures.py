"""Pairs, medians, and the page they become.

The machines that measure are noisy and differ, so a figure is a ratio of two programs measured in
turn in one run: ours, theirs, ours, theirs. What is quoted is the median of the pairs' ratios with
the smallest and the largest.
"""

import json
import os
import pathlib
import platform
import re
import statistics

from peers import ROOT, WORK, take

RESULTS = WORK / "results.json"
PAGE = ROOT / "docs" / "PERFORMANCE.md"


def pairs(count, ours, theirs, say):
    """Measures both in turn; gives the two lists. The order changes with every pair."""
    first, second = [], []
    for number in range(count):
        if number % 2 == 0:
            first.append(ours())
            second.append(theirs())
        else:
            second.append(theirs())
            first.append(ours())
        say(number + 1, first[-1], second[-1])
    return first, second


class Rows:
    """What one bench found."""

    def __init__(self, bench):
        self.bench = bench
        self.rows = []

    def compare(self, what, unit, peer, count, ours, theirs, goal):
        """Measures rates in turn; `goal` is the smallest good median of ours divided by theirs,
        where there is one."""
        print(f"{what}, against {peer}", flush=True)

        def say(number, a, b):
            load = os.getloadavg()[0]
            print(f"  pair {number}: {shown(a)} and {shown(b)} {unit}, ratio {a / b:.2f}"
                  f" (load {load:.1f})", flush=True)

        first, second = pairs(count, ours, theirs, say)
        ratios = [a / b for a, b in zip(first, second)]
        self._add({
            "what": what,
            "ours": f"{shown(statistics.median(first))} {unit}",
            "peer": f"{peer}: {shown(statistics.median(second))} {unit}",
            "ratio": f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
            "goal": f"≥ {goal}" if goal else "stated",
            "met": statistics.median(ratios) >= goal if goal else None,
        })

    def bound(self, what, value, unit, goal):
        """A figure without a peer, to stay below `goal` where there is one."""
        self._add({
            "what": what,
            "ours": f"{shown(value)} {unit}",
            "peer": "",
            "ratio": "",
            "goal": f"< {shown(goal)} {unit}" if goal else "stated",
            "met": value < goal if goal else None,
        })

    def _add(self, row):
        met = {True: "met", False: "MISSED", None: "stated"}[row["met"]]
        print(f"  {row['what']}: {row['ours']} | {row['peer']} | {row['ratio']} | goal "
              f"{row['goal']}: {met}", flush=True)
        self.rows.append(row)

    def keep(self, quick):
        """Replaces what an earlier run found of this bench."""
        kept = load()
        kept[self.bench] = {"commit": commit(), "machine": machine(), "quick": quick,
                            "rows": self.rows}
        WORK.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n")


def load():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def shown(number):
    """Four figures at most: more would promise what noise does not keep."""
    if number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"


def commit():
    """The commit that is measured; `+` when the tree differs from it."""
    name = take(["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"]).strip()
    changed = take(["git", "-C", str(ROOT), "status", "--porcelain", "--", "src", "cache",
                    "Cargo.toml", "Cargo.lock", "interfaces", "build.rs"]).strip()
    return name + ("+" if changed else "")


def machine():
    """Cores, their model, memory, kernel."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((l.split(":")[1].strip() for l in lines if l.startswith("model name")), "unknown")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return (f"{os.cpu_count()} cores {model}, {pages:.0f} GB of memory, "
            f"Linux {platform.release()}")


def present():
    """What the page has: rows by their bench, machines, commits."""
    text = PAGE.read_text() if PAGE.exists() else ""
    rows = {}
    for line in text.splitlines():
        named = re.search(r"--only (\w+)", line)
        if line.startswith("| ") and named:
            rows.setdefault(named[1], []).append(line)
    told = re.search(r"^Machine: (.*)\. Commit: (.*)\.$", text, re.MULTILINE)
    machines, commits = (told[1].split("; "), told[2].split(", ")) if told else ((), ())
    return rows, set(machines), set(commits)


def write(order):
    """Renders docs/PERFORMANCE.md: the last results of every bench, in this order. Of one that was
    not measured on this machine the rows of the page stay."""
    kept, (rows, machines, commits) = load(), present()
    lines = (ROOT / "benches" / "page.md").read_text().rstrip("\n").splitlines()
    for name, found in kept.items():
        machines.add(found["machine"])
        commits.add(found["commit"])
        rows[name] = [rendered(name, found["quick"], row) for row in found["rows"]]
    lines += ["", f"Machine: {'; '.join(sorted(machines))}. Commit: {', '.join(sorted(commits))}.",
              ""]
    lines += ["| what | ours | peer | ours / peer: median (min–max) | goal | met? | command |",
              "|---|---|---|---|---|---|---|"]
    for name in order:
        lines += rows.get(name, [])
    PAGE.write_text("\n".join(lines) + "\n")
    print(f"written: {PAGE.relative_to(ROOT)}")


def rendered(name, quick, row):
    met = {True: "yes", False: "**no**", None: ""}[row["met"]]
    flags = " --quick" if quick else ""
    return (f"| {row['what']} | {row['ours']} | {row['peer']} | {row['ratio']} | {row['goal']} | "
            f"{met} | `make bench ARGS='--only {name}{flags}'` |")
