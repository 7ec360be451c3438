"""Measures everything and prints one table: what, what must be reached, what is reached.

python tests/benchmarks/run.py [--quick] [--rounds N] [--only NAME]… [--json]
"""

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.bench import Bench, bench  # noqa: E402 - found by the line above
from benchmarks.scenarios import SCENARIOS, Row  # noqa: E402

_SAID = {True: "yes", False: "NO", None: ""}


def main() -> int:
    """Measure, print, and say by the exit status whether everything could be measured."""
    options = _options()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that blocks end, and their processes
    rows: list[Row] = []
    failed: dict[str, str] = {}
    with bench(options.rounds, options.quick, _tell) as ready:
        for name in options.only or SCENARIOS:
            _tell(name)
            try:
                rows += _measured(ready, name)
            except Exception as error:  # noqa: BLE001 - the others are still worth measuring
                failed[name] = str(error)
                _tell(f"  not measured: {error}")
    print(_as_json(rows, failed) if options.json else _table(rows, failed))  # noqa: T201
    return int(bool(failed))


def _measured(ready: Bench, name: str) -> Iterator[Row]:
    for row in SCENARIOS[name](ready):
        _tell(f"  → {row.what.strip()}: {row.reached:.3f}{row.unit}")
        yield row


def _options() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer questions and documents")
    parser.add_argument("--rounds", type=int, default=0, help="how often contenders take turns")
    parser.add_argument(
        "--only", action="append", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS)
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def machine() -> dict[str, Any]:
    """Where this was measured, and how busy it was besides."""
    model = ""
    if (info := Path("/proc/cpuinfo")).exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model or platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _as_json(rows: Sequence[Row], failed: dict[str, str]) -> str:
    table = [
        {
            "name": row.name,
            "what": row.what.strip(),
            "must": row.must or None,
            "reached": row.reached,
            "unit": row.unit.strip() or None,
            "holds": row.holds,
        }
        for row in rows
    ]
    return json.dumps({"machine": machine(), "rows": table, "failed": failed}, indent=2)


def _table(rows: Sequence[Row], failed: dict[str, str]) -> str:
    cells = [("", "what", "must reach", "reached", "holds")]
    cells += [
        (r.name, r.what, r.must, f"{_figure(r.reached)}{r.unit}", _SAID[r.holds]) for r in rows
    ]
    cells += [(name, "could not be measured", "", "", "NO") for name in failed]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    where = machine()
    return "\n".join(
        [
            f"{where['cores']} cores, {where['cpu']}, Python {where['python']}, load {where['load']}",
            "",
            *lines,
        ]
    )


def _figure(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 1000
        else f"{value:.3f}"
        if abs(value) < 10
        else f"{value:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
