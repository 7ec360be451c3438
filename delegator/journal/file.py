"""The journal's file: its tables, its version, who may open it, and how an entry is bound to the one before it."""

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from delegator.errors import ConfigError, DelegatorError
from delegator.journal.claim import claimed

FILE = "runs.sqlite"
LOCKS = "runs"
"""The folder of who holds which run."""
BUSY_SECONDS = 20.0
"""How long one process waits for another that writes."""
START = b""
"""What the first entry of a run is bound to."""
CALL, REPLY, EFFECT, TOOL, PLACE, LIFE = "call", "reply", "effect", "tool", "place", "life"
"""Entries that are no events: a model call before it is made and after it ended, a tool call with effects before it is made, what a tool
found, where a delegation stands, that another process went on."""
_SCHEMAS = (
    """
create table runs (
  number integer primary key autoincrement, id text not null unique, question text not null, settings text not null, seed text not null,
  started real not null, ended real, outcome text, answer text, calls integer, delegations integer, entries integer
);
create index runs_by_time on runs (started);
create table entries (
  place integer primary key, at real not null, agent text not null, kind text not null, data text not null, text blob, chain blob not null
);
create table texts (hash blob primary key, text text not null) without rowid;
""",
)
"""One script for each version: a file of an earlier one is brought up to date by those that came since."""
VERSION = len(_SCHEMAS)
ENTRIES = 2**32
"""An entry's place is its run's number times this, and its own number: so each run's entries stand together, and a new one costs a page."""
_CACHE_KIB = 256
"""What a connection keeps of the file in memory: entries are written once and not looked at again."""


class JournalError(DelegatorError):
    """The journal cannot be written or read. Nothing that depends on it goes on."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the journal {problem}")
        self.hint = "Free some space or choose another --home; --no-journal goes on without it."


def place(run: int, n: int) -> int:
    """Where the `n`th entry of a run stands; the run by its number."""
    return run * ENTRIES + n


Told = tuple[float, str, str, str, bytes | None]
"""An entry: `at`, `agent`, `kind`, `data`, and the hash of a large text that belongs to it."""


def link(before: bytes, run: str, n: int, row: Told) -> bytes:
    """The hash that binds an entry to the one before it."""
    at, agent, kind, data, text = row
    told = f"{run}\n{n}\n{at!r}\n{agent}\n{kind}\n{text.hex() if text else ''}\n{data}"
    return hashlib.sha256(before + told.encode(errors="surrogatepass")).digest()


def connected(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """The file, open."""
    source = f"{path.absolute().as_uri()}{'?mode=ro' if readonly else ''}"
    connection = sqlite3.connect(
        source, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute(f"pragma cache_size = -{_CACHE_KIB}")
    if not readonly:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
    return connection


def prepare(path: Path) -> None:
    """Make the file, or bring the one that is there up to date.

    Raises:
        ConfigError: It was written by a newer version.
    """
    if not path.exists():
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(connected(path)) as connection:
        connection.execute("begin immediate")
        (version,) = connection.execute("pragma user_version").fetchone()
        refuse_newer(path, version)
        for script in _SCHEMAS[version:]:
            make_tables(connection, script)
        if version != VERSION:
            connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")


def refuse_newer(path: Path, version: int) -> None:
    """Leave a file alone that a newer version wrote.

    Raises:
        ConfigError: It did.
    """
    if version > VERSION:
        raise ConfigError(
            f"{path} was written by a newer version of delegator",
            hint="Update delegator, or choose another --home.",
        )


def make_tables(connection: sqlite3.Connection, *scripts: str) -> None:
    """Run the scripts that make the tables, all of them if none is named."""
    for script in scripts or _SCHEMAS:
        for statement in script.split(";"):
            connection.execute(statement)


def forget(home: Path, runs: Sequence[str]) -> None:
    """Delete runs, with everything that no other run has a part in.

    Raises:
        ConfigError: One of them is at work.
        JournalError: It could not be written.
    """
    try:
        with ExitStack() as held, closing(connected(home / FILE)) as connection:
            for run in runs:
                held.enter_context(claimed(home / LOCKS, run))
            connection.execute("begin immediate")
            for run in runs:
                sql = "delete from runs where id = ? returning number"
                for (number,) in connection.execute(sql, (run,)).fetchall():
                    between = (place(number, 0), place(number + 1, 0))
                    connection.execute("delete from entries where place between ? and ?", between)
            connection.execute(
                "delete from texts where hash not in (select text from entries where text not null)"
            )
            connection.execute("commit")
            connection.execute("pragma wal_checkpoint(truncate)")
            connection.execute("vacuum")
    except sqlite3.Error as error:
        raise JournalError(f"cannot be written ({why(error)})") from error


def why(error: Exception) -> str:
    """What went wrong, in the system's words: they hold nothing from a run."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
