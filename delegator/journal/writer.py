"""Writing the journal: entries are put down in the order in which they were told.

All that wait go into one transaction at the end of a round of the event loop; `flush` waits until everything told so far is in the file.
That costs less than to wake a thread for it.
"""

import asyncio
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from delegator.errors import ConfigError
from delegator.journal import file
from delegator.journal.claim import claimed
from delegator.journal.file import (
    CALL,
    EFFECT,
    FILE,
    LIFE,
    PLACE,
    REPLY,
    START,
    TOOL,
    JournalError,
    connected,
)

LATEST_SECONDS = 0.02
"""How long an entry that nobody waits for may stay unwritten."""
PAID_SECONDS = 0.001
"""How long one may that was paid for: the next call mostly comes sooner, and takes it along."""
BUSY_PAUSE = 0.005
LONGEST_LOG = 8_000_000
"""Bytes of what is written and not yet moved into the file itself."""
QUIET_SECONDS = 0.001
"""After so long without a write, the next one is made at once; in a burst they are collected."""
WRITES_BETWEEN_LOOKS = 64
LARGE = 4_096
"""Characters from which on a text is stored once, however often it occurs."""
_END = (
    "update runs set ended = ?, outcome = ?, answer = ?, calls = ?, delegations = ?, entries = ?"
    " where id = ?"
)
_ENTRY = "insert into entries values (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model call that is about to be made."""

    key: str
    attempt: int
    request: str
    """A hash of what is asked."""
    reply_tokens: int
    last: bool
    worst: Mapping[str, int]
    """The usage that is reserved for it."""
    model: str = ""


@dataclass(slots=True)
class _Line:
    """Where the entries of a run have got to."""

    run: str
    n: int = 0
    chain: bytes = START
    number: int | None = None
    """The run's, once the file has been asked."""
    calls: int = 0
    places: int = 0
    again: bool = False
    """Whether the next entry is the first of a process that goes on."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was told. It is made into JSON when it is written: in a row, that takes half the time."""

    line: _Line
    at: float
    agent: str
    kind: str
    data: Mapping[str, Any]


@dataclass(slots=True)
class _Batch:
    """What waits to be written: all of it goes into one transaction."""

    told: list["_Entry"] = field(default_factory=list)
    entries: list[tuple["_Line", int, tuple[Any, ...]]] = field(default_factory=list)
    """What was told, as rows."""
    ends: list[tuple["_Line", Sequence[Any]]] = field(default_factory=list)
    others: list[tuple[str, Sequence[Any]]] = field(default_factory=list)
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)


class Journal:
    """One file of runs, open for writing. Several processes may use it at once, each run by one of them.

    Raises:
        ConfigError: It cannot be opened, or was written by a newer version.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._wal = home / f"{FILE}-wal"
        self._locks = home / file.LOCKS
        try:
            self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.prepare(self.path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot write the journal {self.path}",
                hint=f"{file.why(error)}. Choose another --home, or go on with --no-journal.",
            ) from error
        self._lines: dict[str, _Line] = {}
        self._told = _Batch()
        self._writing = threading.Lock()
        self._failed: JournalError | None = None
        self._connection: sqlite3.Connection | None = None
        """Open as long as somebody writes down what is told."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._writes = 0
        self._written_at = 0.0
        self._hurries = False
        """Whether the timer is set as soon as it may be: nothing puts it off."""
        self._waits_since: float | None = None
        """Since when another process has been in the way of what is to be written."""
        self._tidying: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Open the file."""
        self._connection = connected(self.path)
        self._connection.execute("pragma wal_autocheckpoint = 0")  # that waits for the disk
        self._connection.execute("pragma busy_timeout = 0")  # so does this
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was told, and close the file."""
        self._write(patient=True)
        if self._tidying is not None:
            self._tidying.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def flush(self) -> None:
        """Wait until everything told so far is in the file.

        Raises:
            JournalError: It could not be written.
        """
        if self._connection is None:
            raise JournalError("is not open")
        loop = asyncio.get_running_loop()
        self._use(loop)
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._hurries = None, False
        if time.monotonic() - self._written_at > QUIET_SECONDS:
            self._write()
            if self._timer is None:  # no other process was in the way
                if self._failed is not None:
                    raise self._failed
                return
        else:  # many at once: their entries share a transaction
            self._timer = loop.call_soon(self._write)
            self._hurries = True
        done: asyncio.Future[None] = loop.create_future()
        self._told.waiting.append(done)
        await done

    def claimed(self, run: str) -> AbstractContextManager[None]:
        """Hold a run for this process.

        Raises:
            ConfigError: Another process has it.
        """
        return claimed(self._locks, run)

    def begin(
        self, run: str, *, question: str, settings: Mapping[str, Any], seed: str, at: float
    ) -> None:
        """A run starts. `at` is the time of day, in seconds since 1970."""
        sql = "insert or ignore into runs (id, question, settings, seed, started) values (?, ?, ?, ?, ?)"
        self._told.others.append((sql, (run, question, dumped(settings), seed, at)))
        self._soon()

    def set(self, run: str, settings: Mapping[str, Any]) -> None:
        """A run goes on under other settings."""
        sql = "update runs set settings = ? where id = ?"
        self._told.others.append((sql, (dumped(settings), run)))
        self._soon()

    def end(self, run: str, *, outcome: str, answer: Mapping[str, Any], at: float) -> None:
        """A run is over, for now: it may be resumed."""
        line = self._lines.pop(run, None) or _Line(run)
        self._told.ends.append((line, (at, outcome, dumped(answer), line.calls, line.places)))
        self._soon()

    def continues(self, run: str, n: int, chain: bytes, *, calls: int, places: int) -> None:
        """Entries of a run that was on record before go on after the `n`th."""
        self._lines[run] = _Line(run, n, chain, calls=calls, places=places, again=True)

    def event(self, run: str, *, at: float, agent: str, kind: str, data: Mapping[str, Any]) -> None:
        """Something happened, so many seconds after the run began."""
        self._add(run, at, agent, kind, data)

    def opened(self, run: str, call: Opened, *, at: float) -> None:
        """A model call is about to be made."""
        said = {
            "key": call.key,
            "attempt": call.attempt,
            "request": call.request,
            "reply_tokens": call.reply_tokens,
            "last": call.last,
            "worst": call.worst,
            "model": call.model,
        }
        self._add(run, at, _agent(call.key), CALL, said).calls += 1

    def closed(
        self,
        run: str,
        call: Opened,
        *,
        at: float,
        state: str,
        paid: Mapping[str, Any],
        reply: Mapping[str, Any] | None = None,
        fault: str = "",
    ) -> None:
        """A model call was `answered`, or it `failed`, or was `broken` off by us. `paid` holds its `usage`, `usd` and `seconds`."""
        said = {
            "key": call.key,
            "attempt": call.attempt,
            "state": state,
            **paid,
            "reply": reply,
            "fault": fault,
        }
        self._add(run, at, _agent(call.key), REPLY, said)
        self._hurry()

    def acts(self, run: str, key: str, *, at: float) -> None:
        """A tool call with effects is about to be made."""
        self._add(run, at, _agent(key), EFFECT, {"key": key})

    def ran(self, run: str, key: str, result: Mapping[str, Any], *, at: float) -> None:
        """A tool was run, or refused."""
        self._add(run, at, _agent(key), TOOL, {"key": key, "result": result})

    def placed(self, run: str, path: str, id: str, *, at: float) -> None:
        """A delegation has got its id."""
        self._add(run, at, id, PLACE, {"path": path, "id": id}).places += 1

    def _add(self, run: str, at: float, agent: str, kind: str, data: Mapping[str, Any]) -> _Line:
        line = self._lines.get(run)
        if line is None:
            line = self._lines[run] = _Line(run)
        if line.again:
            line.again = False
            self._told.told.append(_Entry(line, at, agent, LIFE, {"day": time.time()}))
        self._told.told.append(_Entry(line, at, agent, kind, data))
        self._soon()
        return line

    def _soon(self) -> None:
        """Have what waits written a moment later, if nobody waits for it before."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write(patient=True)
            return
        self._use(loop)
        if self._timer is None:
            self._timer = loop.call_later(LATEST_SECONDS, self._write)

    def _hurry(self) -> None:
        """Have what waits written soon: it was paid for."""
        if self._timer is not None and self._loop is not None and not self._hurries:
            self._timer.cancel()
            self._hurries = True
            self._timer = self._loop.call_later(PAID_SECONDS, self._write)

    def _use(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:  # what another loop meant to do it will not do any more
            self._loop, self._timer, self._hurries = loop, None, False

    def _write(self, *, patient: bool = False) -> None:
        """Everything that waits goes into one transaction. Where another process writes just now, it is tried again soon."""
        with self._writing:
            self._timer, self._hurries, told = None, False, self._told
            unwritten = (
                bool(told.told or told.entries or told.others or told.ends) and self._failed is None
            )
            if unwritten and not self._written(told, patient=patient):
                self._timer = asyncio.get_running_loop().call_later(BUSY_PAUSE, self._write)
                return
            self._told = _Batch()
        self._written_at = time.monotonic()
        for waiter in told.waiting:
            _settle(waiter, self._failed)
        self._tidy()

    def _written(self, batch: _Batch, *, patient: bool) -> bool:
        """Whether it could be tried: what else may go wrong goes wrong for good."""
        if self._connection is None:
            self._failed = JournalError("is not open")
            return True
        try:
            self._encode(batch)
            self._commit(self._connection, batch, patient=patient)
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing that depends on it may go on
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            ):
                now = time.monotonic()
                self._waits_since = self._waits_since or now
                if not patient and now - self._waits_since < file.BUSY_SECONDS:
                    return False
            self._failed = JournalError(f"cannot be written ({file.why(error)})")
        self._waits_since = None
        return True

    def _encode(self, batch: _Batch) -> None:
        """Make rows of what was told, each bound to the one before it."""
        told, batch.told = batch.told, []
        for entry in told:
            line, data, hashed = entry.line, dumped(entry.data), None
            if entry.kind == TOOL and len(data) > LARGE:
                text = dumped(entry.data["result"])
                hashed = hashlib.sha256(text.encode()).digest()
                store = "insert or ignore into texts values (?, ?)"
                batch.others.append((store, (hashed, text)))
                data = dumped({"key": entry.data["key"]})
            line.n += 1
            row = (entry.at, entry.agent, entry.kind, data, hashed)
            line.chain = file.link(line.chain, line.run, line.n, row)
            batch.entries.append((line, line.n, (*row, line.chain)))

    def _commit(self, connection: sqlite3.Connection, batch: _Batch, *, patient: bool) -> None:
        if patient:
            connection.execute(f"pragma busy_timeout = {int(file.BUSY_SECONDS * 1000)}")
        try:
            self._transact(connection, batch)
        finally:
            if patient:
                connection.execute("pragma busy_timeout = 0")

    def _transact(self, connection: sqlite3.Connection, batch: _Batch) -> None:
        connection.execute("begin immediate")
        try:
            for sql, values in batch.others:
                connection.execute(sql, values)
            placed = [(_place(connection, line, n), *row) for line, n, row in batch.entries]
            connection.executemany(_ENTRY, placed)
            for line, figures in batch.ends:
                connection.execute(_END, (*figures, line.n, line.run))
            connection.execute("commit")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("rollback")
            raise

    def _tidy(self) -> None:
        """Move what has been written into the file itself, in a thread: that waits for the disk."""
        self._writes += 1
        if self._writes % WRITES_BETWEEN_LOOKS:
            return
        try:
            long = self._wal.stat().st_size > LONGEST_LOG
        except OSError:
            return
        if long and (self._tidying is None or not self._tidying.is_alive()):
            self._tidying = threading.Thread(target=_checkpointed, args=(self.path,), daemon=True)
            self._tidying.start()


def _place(connection: sqlite3.Connection, line: _Line, n: int) -> int:
    if line.number is None:
        sql = "select number from runs where id = ?"
        (line.number,) = connection.execute(sql, (line.run,)).fetchone()
    return file.place(line.number, n)


def _agent(key: str) -> str:
    """Whose call it is."""
    return key.partition("/")[0]


def _checkpointed(path: Path) -> None:
    with suppress(sqlite3.Error), closing(connected(path)) as connection:
        connection.execute(
            "pragma busy_timeout = 0"
        )  # who waits for a reader keeps writers waiting
        connection.execute("pragma wal_checkpoint(truncate)")


def _settle(done: "asyncio.Future[None]", failed: JournalError | None) -> None:
    def settle() -> None:
        if not done.done():
            done.set_exception(failed) if failed else done.set_result(None)

    loop = done.get_loop()
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        settle() if _runs(loop) else loop.call_soon_threadsafe(settle)


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


dumped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str).encode
"""A value as JSON in ASCII: half a surrogate pair comes back as it was."""
