"""What a journal says of runs. Reads only."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from delegator.errors import ConfigError
from delegator.journal.file import (
    CALL,
    EFFECT,
    ENTRIES,
    FILE,
    LIFE,
    PLACE,
    REPLY,
    START,
    TOOL,
    JournalError,
    connected,
    link,
    make_tables,
    place,
    refuse_newer,
    why,
)

Row = Mapping[str, Any]
_DAMAGE = (sqlite3.Error, OverflowError, RecursionError)
_RUNS = (
    "select id, question, started, ended, outcome, settings, delegations, calls from runs"
    " order by started desc limit ?"
)
_NO_EVENTS = (CALL, EFFECT, TOOL, PLACE, LIFE)


class Past:
    """The runs in a journal.

    Raises:
        ConfigError: There is no journal, or it cannot be read.
    """

    imported = False
    """Whether it holds one run from a file."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        if not self.path.exists():
            raise ConfigError(
                f"there is no journal in {home}", hint="Runs are recorded from the first one on."
            )
        try:
            self._connection = connected(self.path, readonly=True)
            self._connection.execute("select chain from entries where place = 0").fetchone()
            (version,) = self._connection.execute("pragma user_version").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(
                f"cannot read the journal {self.path}",
                hint=f"{why(error)}. Move it away to begin a new one.",
            ) from error
        refuse_newer(self.path, version)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """The run in a file that `delegator show --export` wrote.

        Raises:
            ConfigError: It holds none.
        """
        made = cls.__new__(cls)
        made.path, made.imported = path, True
        made._connection = sqlite3.connect(":memory:", isolation_level=None)
        made._connection.row_factory = sqlite3.Row
        try:
            made._take(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, *_DAMAGE) as error:
            raise ConfigError(
                f"{path} holds no run", hint="delegator show RUN --export FILE writes one."
            ) from error
        return made

    def _take(self, exported: Mapping[str, Any]) -> None:
        make_tables(self._connection)
        self._insert("runs", {**exported["run"], "number": 1})
        for n, entry in enumerate(exported["entries"], 1):
            self._insert("entries", {**_unhexed(entry), "place": place(1, entry.get("n", n))})
        for hashed, text in exported["texts"].items():
            self._insert("texts", {"hash": bytes.fromhex(hashed), "text": text})

    def _insert(self, table: str, row: Row) -> None:
        columns = {
            name for (_, name, *_) in self._connection.execute(f"pragma table_info({table})")
        }
        kept = {name: value for name, value in row.items() if name in columns}
        marks = ", ".join("?" * len(kept))
        sql = f"insert into {table} ({', '.join(kept)}) values ({marks})"  # noqa: S608 - columns of ours
        self._connection.execute(sql, tuple(kept.values()))

    def exported(self, row: Row) -> dict[str, Any]:
        """A run as one JSON object: `run`, its `entries` in order, and the larger `texts` that they name by hash."""
        entries = self._entries(row["id"])
        named = {entry["text"] for entry in entries if entry["text"] is not None}
        return {
            "run": {name: value for name, value in row.items() if name != "number"},
            "entries": [_hexed(entry) for entry in entries],
            "texts": {hashed.hex(): self._text(hashed) for hashed in sorted(named)},
        }

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._connection.close()

    def run(self, id: str) -> Row:
        """A run by its id, or by the beginning of it if that fits one only.

        Raises:
            ConfigError: There is none, or more than one.
        """
        found = self._all(
            "select * from runs where id = ? or substr(id, 1, ?) = ? order by started desc limit 3",
            (id, len(id), id),
        )
        exact = [row for row in found if row["id"] == id]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise ConfigError("more than one run begins so", hint="Give more of the id.")
        raise ConfigError("there is no such run", hint="delegator runs lists them.")

    def runs(self, limit: int) -> list[Row]:
        """The newest runs, with their figures; those of a run that did not end are counted."""
        return [self._counted(row) for row in self._all(_RUNS, (limit,))]

    def _counted(self, row: Row) -> Row:
        """A run that did not end has no figures of its own yet."""
        if row["calls"] is not None:
            return row
        kinds = [entry["kind"] for entry in self._entries(row["id"], CALL, PLACE)]
        return {**row, "calls": kinds.count(CALL), "delegations": kinds.count(PLACE)}

    def before(self, at: float) -> list[str]:
        """Ids of the runs that started before a time of day, in seconds since 1970."""
        return [row["id"] for row in self._all("select id from runs where started < ?", (at,))]

    def last(self, run: str) -> Row | None:
        """The newest entry of a run: `n`, `at` and `chain`."""
        return next(iter(self._entries(run, newest=True)), None)

    def events(self, run: str) -> list[Row]:
        """The events of a run, in order: `seq`, `at`, `agent`, `kind`, `data` (JSON). Model calls that were answered are among them."""
        told = (_event(row) for row in self._entries(run))
        return [event for event in told if event is not None]

    def calls(self, run: str) -> list[Row]:
        """The model calls of a run, in the order in which they were opened, each with how it went.

        `seq` and `at` are those of the opening; `usage`, `usd`, `seconds`, `reply`, `fault` and `ended` are known of the end only.
        """
        made: dict[tuple[str, int], dict[str, Any]] = {}
        for row in self._entries(run, CALL, REPLY):
            data = json.loads(row["data"])
            of = (data["key"], data["attempt"])
            if row["kind"] == CALL:
                made[of] = {**_UNKNOWN, **data, "seq": row["n"], "at": row["at"]}
            elif of in made:
                made[of].update(data, ended=row["at"])
        return list(made.values())

    def tools(self, run: str) -> Iterator[tuple[str, Any]]:
        """The tool results of a run, each with the key of its call."""
        for row in self._entries(run, TOOL):
            data = json.loads(row["data"])
            yield data["key"], self._result(row, data)

    def _result(self, row: Row, data: Mapping[str, Any]) -> Any:
        return data["result"] if row["text"] is None else json.loads(self._text(row["text"]))

    def _text(self, hashed: bytes) -> str:
        for row in self._all("select text from texts where hash = ?", (hashed,)):
            return str(row["text"])
        raise JournalError("lacks a text that it names")

    def _holds(self, hashed: bytes | None) -> bool:
        """Whether a text that an entry names is there, and is that text."""
        if hashed is None:
            return True
        rows = self._all("select text from texts where hash = ?", (hashed,))
        return [
            hashlib.sha256(str(row["text"]).encode(errors="replace")).digest() for row in rows
        ] == [hashed]

    def effects(self, run: str) -> set[str]:
        """Keys of the tool calls with effects that were about to be made."""
        return {json.loads(row["data"])["key"] for row in self._entries(run, EFFECT)}

    def lives(self, run: str) -> list[float]:
        """When another process went on with a run: seconds since it began, of those in which one was at work."""
        return [row["at"] for row in self._entries(run, LIFE)]

    def places(self, run: str) -> list[Row]:
        """Which delegation got which id: `path` and `id`."""
        return [json.loads(row["data"]) for row in self._entries(run, PLACE)]

    def broken_link(self, run: str) -> int | None:
        """The number of the first entry that is missing or does not follow from the one before it; `None` if all is whole."""
        chain, n = START, 0
        for n, row in enumerate(self._entries(run), 1):
            told = (row["at"], row["agent"], row["kind"], row["data"], row["text"])
            chain = link(chain, run, n, told)
            if chain != row["chain"] or n != row["n"] or not self._holds(row["text"]):
                return n
        (known,) = self._all("select entries from runs where id = ?", (run,)) or ({"entries": 0},)
        return n + 1 if (known["entries"] or 0) > n else None

    def _entries(self, run: str, *kinds: str, newest: bool = False) -> list[Row]:
        """The entries of a run in order, of some kinds or of all; or only its newest."""
        marks = ", ".join("?" * len(kinds))
        sql = (
            f"select place % {ENTRIES} as n, at, agent, kind, data, text, chain from entries"  # noqa: S608 - numbers and marks
            f" where place between ? and ? {f'and kind in ({marks})' if kinds else ''}"
            f" order by place {'desc limit 1' if newest else ''}"
        )
        rows = self._all("select number from runs where id = ?", (run,))
        number = rows[0]["number"] if rows else -1
        return self._all(sql, (place(number, 0), place(number + 1, 0), *kinds))

    def _all(self, sql: str, values: Sequence[Any]) -> list[Row]:
        try:
            return [dict(row) for row in self._connection.execute(sql, values)]
        except sqlite3.Error as error:
            raise JournalError(f"cannot be read ({why(error)})") from error


_UNKNOWN = {"state": "open", "reply": None, "usage": None, "fault": "", "ended": None}


def _event(row: Row) -> Row | None:
    """An entry as an event: the end of a model call is one if it was answered."""
    kind, data = row["kind"], row["data"]
    if kind == REPLY:
        said = json.loads(data)
        if said["state"] != "answered":
            return None
        kind, data = "model_call_finished", json.dumps(_finished(said))
    elif kind in _NO_EVENTS:
        return None
    return {"seq": row["n"], "at": row["at"], "agent": row["agent"], "kind": kind, "data": data}


def _finished(said: Mapping[str, Any]) -> dict[str, Any]:
    reply = said["reply"]
    return {
        "n": int(said["key"].rpartition("/")[2]),
        "stop": reply["named"] or reply["stop"],
        "usage": said["usage"],
        "seconds": said["seconds"],
        "usd": said["usd"],
    }


def _hexed(row: Row) -> dict[str, Any]:
    return {name: v.hex() if isinstance(v, bytes) else v for name, v in row.items()}


def _unhexed(row: Row) -> dict[str, Any]:
    known = {name: bytes.fromhex(row[name]) for name in ("chain", "text") if row.get(name)}
    return {**row, **known}
