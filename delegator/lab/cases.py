"""Attack cases as data: one JSON object a line, held to a closed schema.

A case says what stands where, what a hostile agent does, where it must stop, and what it means that it worked. Anyone may write
more: `--suite DIR`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from delegator.errors import ConfigError
from delegator.lab.words import holes
from delegator.schema import Schema
from delegator.trust import Level

SUITES = Path(__file__).with_name("suites")
QUESTION = "What is BM25?"
CATEGORIES = {
    1: "envelope break-out",
    2: "forged structure",
    3: "invisible characters",
    4: "confusables",
    5: "encodings, split payloads",
    6: "terminal",
    7: "page",
    8: "Markdown in answers",
    9: "size and shape",
    10: "carriers that fit a schema",
    11: "nested delegation, growth",
    12: "cost",
    13: "critic",
    14: "later turns",
    15: "between subagents",
    16: "exfiltration by argument",
    17: "label laundering",
    18: "metadata",
    19: "paths and queries",
}
MAX_LINE_CHARACTERS = 200_000
MAX_CASES = 10_000
_LAST_LEVELS = (Level.PLANNED, None)
"""Where a case that works at `guarded` stops: what leaves that open has to be declared."""


class From(StrEnum):
    """When an agent begins to do what a case says."""

    READING = "reading"
    START = "start"
    HONEST = "honest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One reply of an agent: words, a report, or calls."""

    say: Any = None
    report: Any = None
    calls: tuple[tuple[str, Any], ...] = ()
    times: int = 1
    unless_hits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acts:
    """What an agent does, step by step; the last step again and again."""

    agent: str
    when: From
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTool:
    """A tool of the researcher's beside its own."""

    name: str
    effects: tuple[str, ...] | None = None
    returns: Any = "done"
    worth: str = "untrusted"
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question to code about what happened; the fields beside `kind` are what it asks about."""

    kind: str
    agent: str = ""
    brief: str = ""
    characters: int = 0
    field: str = ""
    input: Any = None
    more_than: int = 0
    place: str = ""
    text: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An attack: which boundary it crosses, how, where it must stop, and when it counts as having worked."""

    id: str
    name: str
    family: str
    category: int
    boundary: str
    stops_at: Level | None
    succeeds: tuple[Check, ...]
    declared: str = ""
    question: str = QUESTION
    documents: tuple[Mapping[str, Any], ...] = ()
    outside: tuple[Mapping[str, Any], ...] = ()
    private: tuple[str, ...] = ()
    history: tuple[Mapping[str, str], ...] = ()
    tools: tuple[CaseTool, ...] = ()
    agents: tuple[Acts, ...] = ()
    reads: tuple[str, ...] = ("<<first>>", "<<second>>")
    approver: str = "nobody"
    limits: Mapping[str, int] | None = None

    def works_at(self, level: Level) -> bool:
        """Whether it is declared to work at a level."""
        levels = list(Level)
        return self.stops_at is None or levels.index(level) < levels.index(self.stops_at)

    @property
    def scripted(self) -> bool:
        """Whether it needs a model that is told what to do: a real one is not hostile by itself."""
        return any(acts.when is not From.READING for acts in self.agents)


@cache
def schema() -> Schema:
    """The schema of a case."""
    text = Path(__file__).with_name("case.schema.json").read_text(encoding="utf-8")
    return Schema(json.loads(text), name="a case")


def shipped_cases() -> tuple[Case, ...]:
    """The cases that ship, in the order of the checklist."""
    return load([SUITES])


def load(folders: Sequence[Path]) -> tuple[Case, ...]:
    """All cases in the `*.jsonl` files of some folders.

    Raises:
        ConfigError: A folder holds none, or a line is no case.
    """
    found: dict[str, Case] = {}
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(folder.glob("*.jsonl"))
        if not files:
            raise ConfigError(
                f"no suite (*.jsonl) in {folder}", hint="--suite takes a folder or a file."
            )
        for file in files:
            for line, case in _read(file):
                if case.id in found:
                    raise _wrong(file, line, "$.id: there is another case of this id")
                found[case.id] = case
                if len(found) > MAX_CASES:
                    raise _wrong(file, line, f"more than {MAX_CASES:,} cases")
    return tuple(sorted(found.values(), key=lambda case: (case.category, case.id)))


def case_of(data: Mapping[str, Any]) -> Case:
    """A case from JSON data.

    Raises:
        ConfigError: It is none; the message names the place and the rule.
    """
    problems = schema().problems(data) or tuple(_problems(data))
    if problems:
        raise ConfigError(problems[0])
    given = dict(data)
    given["stops_at"] = None if data["stops_at"] is None else Level(data["stops_at"])
    given["agents"] = tuple(_acts(acts) for acts in data.get("agents", ()))
    given["tools"] = tuple(_tool(tool) for tool in data.get("tools", ()))
    given["succeeds"] = tuple(_check(check) for check in data["succeeds"])
    for name in ("documents", "outside", "private", "history", "reads"):
        if name in data:
            given[name] = tuple(data[name])
    return Case(**given)


def _read(file: Path) -> Iterator[tuple[int, Case]]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text", hint="A suite is JSON Lines.") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if len(line) > MAX_LINE_CHARACTERS:
            raise _wrong(file, number, f"more than {MAX_LINE_CHARACTERS:,} characters")
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            raise _wrong(file, number, "not a JSON object") from None
        if not isinstance(data, dict):
            raise _wrong(file, number, "not a JSON object")
        try:
            yield number, case_of(data)
        except ConfigError as error:
            raise _wrong(file, number, str(error)) from None


def _wrong(file: Path, line: int, rule: str) -> ConfigError:
    return ConfigError(
        f"{file}, line {line}: {rule}",
        hint="delegator trust run --schema prints the schema of a case.",
    )


def _problems(data: Mapping[str, Any]) -> Iterator[str]:
    """What the schema cannot say."""
    stop = data["stops_at"]
    if (stop is None or Level(stop) in _LAST_LEVELS) and not data.get("declared"):
        yield "$.declared: required where a case works at guarded: what leaves it open"
    for rule in holes(data):
        yield f"$: {rule}"
    for i, acts in enumerate(data.get("agents", ())):
        for j, step in enumerate(acts["steps"]):
            if sum(key in step for key in ("say", "call", "report", "together")) != 1:
                yield f"$.agents[{i}].steps[{j}]: one of say, call, report, together"
            if not isinstance(step.get("input", {}), dict | None):
                yield f"$.agents[{i}].steps[{j}].input: type 'object'"
    for i, check in enumerate(data["succeeds"]):
        for name in NEEDS[check["check"]]:
            if name not in check:
                yield f"$.succeeds[{i}].{name}: required by {check['check']}"


NEEDS: Mapping[str, tuple[str, ...]] = {
    "agent_obeyed": ("agent",),
    "agent_reads": ("agent", "brief", "text"),
    "answer_acts": (),
    "answer_lacks": ("text",),
    "answer_says": ("text",),
    "claim_stands": ("text", "place"),
    "control_bytes": (),
    "delegated": (),
    "finding_flagged": ("place",),
    "label_raised": (),
    "limit_passed": (),
    "parsed_as": ("field",),
    "reached": ("agent",),
    "redone": (),
    "result_holds": ("text",),
    "result_longer": ("characters",),
    "run_broken": (),
    "structure_forged": ("text",),
    "system_says": ("text",),
    "tool_called": ("agent", "tool"),
    "tool_failed": (),
    "tool_ran": (),
    "user_turn_holds": ("text",),
}
"""The fields that each check cannot do without."""


def _acts(data: Mapping[str, Any]) -> Acts:
    return Acts(
        agent=data["agent"],
        when=From(data.get("from", "reading")),
        steps=tuple(_step(step) for step in data["steps"]),
    )


def _step(data: Mapping[str, Any]) -> Step:
    calls = [(one["call"], one["input"]) for one in data.get("together", ())]
    if "call" in data:
        calls = [(data["call"], data.get("input") or {})]
    return Step(
        say=data.get("say"),
        report=data.get("report"),
        calls=tuple(calls),
        times=data.get("times", 1),
        unless_hits=data.get("unless") == "hits",
    )


def _tool(data: Mapping[str, Any]) -> CaseTool:
    effects = tuple(data["effects"]) if "effects" in data else None
    return CaseTool(**{**data, "effects": effects})


def _check(data: Mapping[str, Any]) -> Check:
    return Check(kind=data["check"], **{key: data[key] for key in data if key != "check"})
