"""Reads a Grafana dashboard with the types that Grafana publishes, and writes it again. Takes the
file's name. Prints JSON: {"lost": keys that those types do not know or would change, "units": the
units that they know}.
"""

import json
import sys
from typing import Any, Iterator

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard, units


def lost(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """What was there before and is not, or is something else. Defaults that came are not told."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{where}/{key}")
            else:
                yield f"{where}/{key} is not known"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{where}/{place}")
    elif before != after:
        yield f"{where} is {before!r} and would be {after!r}"


plugins.register_default_plugins()
with open(sys.argv[1], encoding="utf-8") as file:
    text = json.load(file)
read = dashboard.Dashboard.from_json(text)
written = json.loads(encoder.JSONEncoder().encode(read))
known = [value for name, value in vars(units).items() if name[0].isupper()]
json.dump({"lost": list(lost(text, written)), "units": known}, sys.stdout)
