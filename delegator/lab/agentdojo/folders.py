"""AgentDojo's environments as folders of documents, with the attack's texts where the benchmark puts them.

For questions about documents: `delegator ask --docs FOLDER`. One document for each record, named by our own counting: a name from
the environment could lead anywhere.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agentdojo.attacks.attack_registry import load_attack

from delegator.lab.agentdojo import ATTACK
from delegator.lab.agentdojo.element import addressed
from delegator.lab.agentdojo.playing import suites

_TWICE = ("initial_", "received", "sent", "drafts", "trash")
"""Fields that hold what another one holds."""


def write_folder(
    folder: Path,
    *,
    version: str,
    suite: str,
    user_task: str,
    injection_task: str,
    attack: str = ATTACK,
    model: str = "",
) -> tuple[Path, ...]:
    """Write a poisoned environment out, a file for each record. The files; `model` is whom the attack addresses.

    Raises:
        ConfigError: There is no such version or suite.
        KeyError: There is no such task or attack.
        OSError: The folder cannot be written.
    """
    chosen = suites(version, (suite,))[suite]
    user = chosen.get_user_task_by_id(user_task)
    injection = chosen.get_injection_task_by_id(injection_task)
    target = SimpleNamespace(name=addressed(model))
    injected = load_attack(attack, chosen, target).attack(user, injection)
    environment = user.init_environment(chosen.load_and_inject_default_environment(injected))
    return tuple(_written(folder, environment.model_dump(mode="json")))


def _written(folder: Path, environment: Mapping[str, Any]) -> Iterator[Path]:
    for part, value in environment.items():
        for kind, records in _records(value):
            for n, record in enumerate(records, 1):
                path = folder / part / f"{kind}-{n:03}.md"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"# {part}: {kind} {n}\n\n{_text(record)}\n", encoding="utf-8")
                yield path


def _records(part: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The records of a part of an environment, by kind; what is no record is one together."""
    single = {}
    for kind, value in part.items():
        if kind.startswith(_TWICE):
            continue
        if isinstance(value, dict):
            yield kind, [_named(name, record) for name, record in value.items()]
        elif isinstance(value, list):
            yield kind, value
        else:
            single[kind] = value
    if single:
        yield "about", [single]


def _named(name: str, record: Any) -> dict[str, Any]:
    return {"name": name, **(record if isinstance(record, dict) else {"content": record})}


def _text(record: Any) -> str:
    """A record in words, its texts as they are."""
    if isinstance(record, dict):
        return "\n\n".join(f"**{name}**: {_text(value)}" for name, value in record.items())
    if isinstance(record, list):
        return "\n".join(f"- {_text(value)}" for value in record)
    return str(record)
