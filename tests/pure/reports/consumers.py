"""What the tools that read our files want of them, as their own pages say it.

`BMF`: Bencher, bencher.dev/bmf.json. `CUSTOM_BENCHMARKS`: the README and the type
`BenchmarkResult` of benchmark-action/github-action-benchmark, and how its `extractRangeInfo.ts`
reads a range. Both read 2026-11; names no other key, so that a stray one is seen.
"""

from typing import Any

_METRIC = {
    "type": "object",
    "properties": {
        "value": {"type": "number"},
        "lower_value": {"type": "number"},
        "upper_value": {"type": "number"},
    },
    "required": ["value"],
    "additionalProperties": False,
}

BMF: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 1024},
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"minLength": 1, "maxLength": 64},
        "additionalProperties": _METRIC,
    },
}

CUSTOM_BENCHMARKS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "range": {"type": "string", "pattern": r"^(\+-|±)\s*\d[\d.e+-]*$"},
            "extra": {"type": "string"},
        },
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
