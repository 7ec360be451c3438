"""What came of one run in the lab, and the folder in which results are kept: a file of JSON Lines that only grows until it is complete.

A complete file is in the order of the plan and holds no times: the same seed writes the same bytes.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from delegator.errors import ConfigError

RESULTS, PLAN = "results.jsonl", "plan.json"
WORKED, STOPPED, NOT_APPLICABLE, ERROR = "worked", "stopped", "not_applicable", "error"
ANSWERED, MISSED = "answered", "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run to make: what, of which id, at which level, the how-manieth."""

    kind: str
    """`attack`, `clean`, `benign` or `adaptive`."""
    id: str
    level: str
    n: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a job."""

    job: Job
    outcome: str
    right: bool = False
    """Whether the user's question was answered."""
    tokens: int = 0
    calls: int = 0
    exposure: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """For each role: calls that held the attacker's words, and all calls."""
    reached: Sequence[int] = (0, 0)
    """Loops that could read the attacker's words, and all loops."""
    unsound: Sequence[str] = ()
    pieces: Sequence[int] = (0, 0)
    """Quoted pieces that stand in their document unaltered, and all of them."""
    attempts: int = 0
    """Of an adaptive attacker: at which try it worked; 0 if it never did."""
    note: str = ""
    usd: float | None = None

    def to_line(self) -> str:
        """As one line of JSON."""
        head = asdict(self.job)
        own = asdict(self)
        del own["job"]
        kept = {key: value for key, value in own.items() if value or key in ("outcome", "right")}
        return json.dumps({**head, **kept}, ensure_ascii=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Result":
        """What `to_line` wrote.

        Raises:
            ValueError: It is not that.
        """
        try:
            given = dict(data)
            job = Job(**{name: given.pop(name) for name in ("kind", "id", "level", "n")})
            return cls(job=job, **given)
        except (KeyError, TypeError) as error:
            raise ValueError from error


class Folder:
    """The folder of one plan.

    Raises:
        ConfigError: It holds another plan's results, or cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def plan(self) -> dict[str, Any]:
        """The plan that is kept here; empty if there is none.

        Raises:
            ConfigError: What is there is no plan.
        """
        file = self.path / PLAN
        if not file.exists():
            return {}
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise ConfigError(f"{file} is not a plan of the lab", hint="Name another folder.")
        return read

    def claim(self, plan: Mapping[str, Any]) -> None:
        """Keep a plan here, or go on with it.

        Raises:
            ConfigError: The folder holds the results of another plan.
        """
        known = self.plan
        if known and known != plan:
            differs = sorted(key for key in {*known, *plan} if known.get(key) != plan.get(key))
            raise ConfigError(
                f"{self.path} holds results of another plan ({', '.join(differs)} differ)",
                hint="Name another folder with --out, or delete it.",
            )
        self.path.mkdir(parents=True, exist_ok=True)
        _replace(self.path / PLAN, json.dumps(plan, indent=2, ensure_ascii=False) + "\n")

    def results(self) -> list[Result]:
        """What is done. A line that was cut off while it was written does not count.

        Raises:
            ConfigError: There is something else in the file.
        """
        file = self.path / RESULTS
        if not file.exists():
            return []
        return list({result.job: result for result in _parsed(file)}.values())

    def opened(self) -> TextIO:
        """The file of results, to add to; a line that was cut off is taken out first."""
        done = self.results()
        self.settle(done)
        return (self.path / RESULTS).open("a", encoding="utf-8")

    def settle(self, results: Sequence[Result]) -> None:
        """Write the results anew, in this order."""
        _replace(self.path / RESULTS, "".join(f"{result.to_line()}\n" for result in results))


def _parsed(file: Path) -> Iterator[Result]:
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            yield Result.from_json(json.loads(line))
        except (ValueError, TypeError, AttributeError):
            if number == len(lines):  # no line feed behind it: it was cut off
                return
            raise ConfigError(
                f"{file}, line {number}: not a result of the lab", hint="Name another folder."
            ) from None


def _replace(file: Path, text: str) -> None:
    """Write a file in one go: whoever is killed meanwhile leaves the old one."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        os.replace(new, file)  # noqa: PTH105 - atomic, and says so
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
