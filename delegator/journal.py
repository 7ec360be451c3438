"""The journal: what happened in every run, written before anything depends on it, in one SQLite file.

It only grows. Entries are written in the order in which they were told, all that wait in one transaction at the end of a round of the
event loop; `flush` waits until everything told so far is in the file. That costs less than to wake a thread for it. Each event carries a hash over itself and the one before it. No key, no header and no model's request is stored.
"""

import asyncio
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from delegator.errors import ConfigError, DelegatorError

VERSION = 1
FILE = "journal.sqlite"
BUSY_SECONDS = 20.0
LATEST_SECONDS = 0.02
"""How long an entry that nobody waits for may stay unwritten."""
_SCHEMA = """
create table runs (
  id text primary key, question text not null, settings text not null, seed text not null, started real not null,
  ended real, outcome text, answer text
);
create table events (
  run text not null, seq integer not null, at real not null, agent text not null, kind text not null, data text not null,
  chain text not null, primary key (run, seq)
) without rowid;
create table calls (
  run text not null, key text not null, attempt integer not null, seq integer not null, request text not null, state text not null,
  reply_tokens integer not null, last integer not null, worst text not null, model text not null, reply text, usage text, fault text,
  primary key (run, key, attempt)
) without rowid;
create table tools (
  run text not null, key text not null, result text not null, primary key (run, key)
) without rowid;
create table places (
  run text not null, path text not null, id text not null, primary key (run, path)
) without rowid;
create table texts (hash text primary key, text text not null) without rowid;
create index runs_by_time on runs (started);
"""
BUSY_PAUSE = 0.005
LONGEST_LOG = 8_000_000
"""Bytes of what is written and not yet moved into the file itself."""
QUIET_SECONDS = 0.001
"""After so long without a write, the next one is made at once; in a burst they are collected."""
WRITES_BETWEEN_LOOKS = 64
_NO_CHAIN = "0" * 64

Row = Mapping[str, Any]
_Statement = tuple[str, Sequence[Any]]


class JournalError(DelegatorError):
    """The journal cannot be written or read. Nothing that depends on it goes on."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the journal {problem}")
        self.hint = "Free some space or choose another --home; --no-journal goes on without it."


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


class Journal:
    """One file of runs, open for writing. Several processes may use it at once, each run by one of them.

    Raises:
        ConfigError: It cannot be opened, or was written by a newer version.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._wal = home / f"{FILE}-wal"
        self._locks = home / "runs"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writes = 0
        self._written_at = 0.0
        self._waited = 0
        """How often another process was in the way of what is to be written."""
        try:
            self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
            _prepared(self.path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot write the journal {self.path}",
                hint=f"{_why(error)}. Choose another --home, or go on with --no-journal.",
            ) from error
        self._queue: deque[_Statement | asyncio.Future[None]] = deque()
        self._writing = threading.Lock()
        self._chains: dict[str, str] = {}
        self._failed: JournalError | None = None
        self._connection: sqlite3.Connection | None = None
        """Open as long as somebody writes down what is told."""
        self._timer: asyncio.Handle | None = None
        self._tidying: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Open the file."""
        self._connection = _connected(self.path)
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
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tell(done)
        if not done.done():
            await done
        done.result()

    @contextmanager
    def claimed(self, run: str) -> Iterator[None]:
        """Hold a run for this process; the hold ends with the process, however that ends.

        Raises:
            ConfigError: Another process has it.
        """
        path = self._locks / f"{run}.lock"
        while True:
            with path.open("a", encoding="ascii") as file:
                if not _locked(file.fileno()):
                    raise ConfigError(
                        f"run {run} is at work in another process",
                        hint="Wait for it, or stop it, then resume.",
                    )
                if not _is_still(path, file.fileno()):  # its last holder took it away meanwhile
                    continue
                try:
                    yield
                finally:
                    with suppress(OSError):
                        path.unlink()
                return

    def begin(
        self, run: str, *, question: str, settings: Mapping[str, Any], seed: str, at: float
    ) -> None:
        """A run starts. `at` is the time of day, in seconds since 1970."""
        values = (run, question, _dumped(settings), seed, at)
        self._tell(
            (
                "insert or ignore into runs (id, question, settings, seed, started) values (?, ?, ?, ?, ?)",
                values,
            )
        )

    def end(self, run: str, *, outcome: str, answer: Mapping[str, Any], at: float) -> None:
        """A run is over, for now: it may be resumed."""
        self._tell(
            (
                "update runs set ended = ?, outcome = ?, answer = ? where id = ?",
                (at, outcome, _dumped(answer), run),
            )
        )

    def event(
        self, run: str, seq: int, *, at: float, agent: str, kind: str, data: Mapping[str, Any]
    ) -> None:
        """Something happened."""
        text = _dumped(data)
        link = f"{self._chains.get(run, _NO_CHAIN)}\n{run}\n{seq}\n{at!r}\n{agent}\n{kind}\n{text}"
        chain = hashlib.sha256(link.encode()).hexdigest()
        self._chains[run] = chain
        values = (run, seq, at, agent, kind, text, chain)
        self._tell(("insert into events values (?, ?, ?, ?, ?, ?, ?)", values))

    def continues(self, run: str, chain: str) -> None:
        """Events of a run that was on record before go on from there."""
        self._chains[run] = chain

    def opened(self, run: str, call: Opened, seq: int) -> None:
        """A model call is about to be made."""
        values = (run, call.key, call.attempt, seq, call.request, call.reply_tokens, call.last)
        self._tell(
            (
                "insert into calls"
                " (run, key, attempt, seq, request, state, reply_tokens, last, worst, model)"
                " values (?, ?, ?, ?, ?, 'open', ?, ?, ?, ?)",
                (*values, _dumped(call.worst), call.model),
            )
        )

    def closed(
        self,
        run: str,
        call: Opened,
        *,
        state: str,
        usage: Mapping[str, int],
        reply: Mapping[str, Any] | None = None,
        fault: str = "",
    ) -> None:
        """A model call was `answered`, or it `failed`, or was `broken` off by us."""
        text = _dumped(reply) if reply is not None else None
        values = (state, text, _dumped(usage), fault, run, call.key, call.attempt)
        self._tell(
            (
                "update calls set state = ?, reply = ?, usage = ?, fault = ?"
                " where run = ? and key = ? and attempt = ?",
                values,
            )
        )
        self._hurry()

    def _hurry(self) -> None:
        """Have what waits written at the end of this round: it was paid for."""
        if self._timer is not None and self._loop is not None:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._write)

    def ran(self, run: str, key: str, result: Mapping[str, Any]) -> None:
        """A tool was run, or refused."""
        text = _dumped(result)
        hashed = hashlib.sha256(text.encode()).hexdigest()
        # in this order: `forget` deletes a text that no tool call names, should it come between the two
        self._tell(("insert or ignore into tools values (?, ?, ?)", (run, key, hashed)))
        self._tell(("insert or ignore into texts values (?, ?)", (hashed, text)))

    def placed(self, run: str, path: str, id: str) -> None:
        """A delegation has got its id."""
        self._tell(("insert or ignore into places values (?, ?, ?)", (run, path, id)))

    def _tell(self, what: "_Statement | asyncio.Future[None]") -> None:
        """Queue an entry. It is written at the end of this round of the event loop if somebody waits, else a moment later."""
        self._queue.append(what)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write(patient=True)
            return
        if self._loop is not loop:  # what another loop meant to do it will not do any more
            self._loop, self._timer = loop, None
        if isinstance(what, tuple):
            if self._timer is None:
                self._timer = loop.call_later(LATEST_SECONDS, self._write)
            return
        if self._timer is not None:
            self._timer.cancel()
        if time.monotonic() - self._written_at > QUIET_SECONDS:
            self._write()
        else:  # many at once: their entries share a transaction
            self._timer = loop.call_soon(self._write)

    def _write(self, *, patient: bool = False) -> None:
        """Everything that waits goes into one transaction. Where another process writes just now, it is tried again soon."""
        with self._writing:
            self._timer = None
            told = list(self._queue)
            batch = [what for what in told if isinstance(what, tuple)]
            if batch and self._failed is None and not self._written(batch, patient=patient):
                self._timer = asyncio.get_running_loop().call_later(BUSY_PAUSE, self._write)
                return
            for _ in told:
                self._queue.popleft()
        self._written_at = time.monotonic()
        for what in told:
            if isinstance(what, asyncio.Future):
                _settle(what, self._failed)
        self._tidy()

    def _written(self, batch: list[_Statement], *, patient: bool) -> bool:
        """Whether it could be tried: what else may go wrong goes wrong for good."""
        if self._connection is None:
            self._failed = JournalError("is not open")
            return True
        try:
            self._commit(self._connection, batch, patient=patient)
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing that depends on it may go on
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            ):
                self._waited += 1
                if not patient and self._waited * BUSY_PAUSE < BUSY_SECONDS:
                    return False
            self._failed = JournalError(f"cannot be written ({_why(error)})")
        self._waited = 0
        return True

    def _commit(
        self, connection: sqlite3.Connection, batch: list[_Statement], *, patient: bool
    ) -> None:
        if patient:
            connection.execute(f"pragma busy_timeout = {int(BUSY_SECONDS * 1000)}")
        try:
            self._transact(connection, batch)
        finally:
            if patient:
                connection.execute("pragma busy_timeout = 0")

    def _transact(self, connection: sqlite3.Connection, batch: list[_Statement]) -> None:
        connection.execute("begin immediate")
        try:
            for sql, values in batch:
                connection.execute(sql, values)
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


class Past:
    """What a journal says of runs. Reads only."""

    imported = False
    """Whether it holds one run from a file."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        if not self.path.exists():
            raise ConfigError(
                f"there is no journal in {home}", hint="Runs are recorded from the first one on."
            )
        try:
            self._connection = _connected(self.path, readonly=True)
            self._connection.execute("select count(*) from runs where id = ''").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(
                f"cannot read the journal {self.path}",
                hint=f"{_why(error)}. Move it away to begin a new one.",
            ) from error

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
            tables = json.loads(path.read_text(encoding="utf-8"))
            for statement in _SCHEMA.split(";"):
                made._connection.execute(statement)
            for tool in tables["tools"]:
                hashed = hashlib.sha256(tool["text"].encode()).hexdigest()
                run = tables["runs"][0]["id"]
                made._insert("texts", {"hash": hashed, "text": tool["text"]})
                made._insert("tools", {"run": run, "key": tool["key"], "result": hashed})
            for name in ("runs", "events", "calls"):
                for row in tables[name]:
                    made._insert(name, row)
            for place in tables["places"]:
                made._insert("places", {"run": tables["runs"][0]["id"], **place})
        except (OSError, ValueError, KeyError, TypeError, IndexError, sqlite3.Error) as error:
            raise ConfigError(
                f"{path} holds no run", hint="delegator show RUN --export FILE writes one."
            ) from error
        return made

    def _insert(self, table: str, row: Row) -> None:
        columns = {
            name for (_, name, *_) in self._connection.execute(f"pragma table_info({table})")
        }
        kept = {name: value for name, value in row.items() if name in columns}
        marks = ", ".join("?" * len(kept))
        sql = f"insert or ignore into {table} ({', '.join(kept)}) values ({marks})"  # noqa: S608 - columns of ours
        self._connection.execute(sql, tuple(kept.values()))

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
        """The newest runs, with their figures."""
        return self._all(
            "select r.id, r.question, r.started, r.ended, r.outcome, r.settings,"
            " (select count(*) from places p where p.run = r.id) as delegations,"
            " (select count(*) from calls c where c.run = r.id) as calls"
            " from runs r order by r.started desc limit ?",
            (limit,),
        )

    def before(self, at: float) -> list[str]:
        """Ids of the runs that started before a time of day, in seconds since 1970."""
        return [row["id"] for row in self._all("select id from runs where started < ?", (at,))]

    def events(self, run: str) -> list[Row]:
        """The events of a run, in order."""
        return self._all("select * from events where run = ? order by seq", (run,))

    def calls(self, run: str) -> list[Row]:
        """The model calls of a run, in the order in which they were opened."""
        return self._all("select * from calls where run = ? order by seq, key, attempt", (run,))

    def tools(self, run: str) -> list[Row]:
        """The tool results of a run."""
        sql = "select t.key, x.text from tools t join texts x on x.hash = t.result where t.run = ?"
        return self._all(sql, (run,))

    def places(self, run: str) -> list[Row]:
        """Which delegation got which id."""
        return self._all("select path, id from places where run = ?", (run,))

    def broken_link(self, run: str) -> int | None:
        """The number of the first event that does not follow from the one before it; `None` if all do."""
        chain = _NO_CHAIN
        for row in self.events(run):
            parts = (
                row["run"],
                row["seq"],
                repr(row["at"]),
                row["agent"],
                row["kind"],
                row["data"],
            )
            link = "\n".join([chain, *map(str, parts)])
            chain = hashlib.sha256(link.encode()).hexdigest()
            if chain != row["chain"]:
                return int(row["seq"])
        return None

    def _all(self, sql: str, values: Sequence[Any]) -> list[Row]:
        try:
            return [dict(row) for row in self._connection.execute(sql, values)]
        except sqlite3.Error as error:
            raise JournalError(f"cannot be read ({_why(error)})") from error


def forget(home: Path, runs: Sequence[str]) -> None:
    """Delete runs, with everything that no other run has a part in.

    Raises:
        JournalError: It could not be written.
    """
    try:
        with closing(_connected(home / FILE)) as connection:
            connection.execute("begin immediate")
            for run in runs:
                connection.execute("delete from runs where id = ?", (run,))
                for table in ("events", "calls", "tools", "places"):
                    connection.execute(f"delete from {table} where run = ?", (run,))  # noqa: S608 - names of ours
            connection.execute("delete from texts where hash not in (select result from tools)")
            connection.execute("commit")
            connection.execute("pragma wal_checkpoint(truncate)")
            connection.execute("vacuum")
    except sqlite3.Error as error:
        raise JournalError(f"cannot be written ({_why(error)})") from error


def _connected(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    source = f"{path.absolute().as_uri()}{'?mode=ro' if readonly else ''}"
    connection = sqlite3.connect(
        source, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    if not readonly:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
    return connection


def _prepared(path: Path) -> None:
    """A file of this version: made, or found."""
    if not path.exists():
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_connected(path)) as connection:
        connection.execute("begin immediate")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version > VERSION:
            raise ConfigError(
                f"{path} was written by a newer version of delegator",
                hint="Update delegator, or choose another --home.",
            )
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")


def _locked(file: int) -> bool:
    """Whether the lock of a file is ours now."""
    try:
        import fcntl  # noqa: PLC0415 - not on every system
    except ImportError:  # pragma: no cover - Windows
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_still(path: Path, file: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False


def _checkpointed(path: Path) -> None:
    with suppress(sqlite3.Error), closing(_connected(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")


def _settle(done: asyncio.Future[None], failed: JournalError | None) -> None:
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


_dumped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str).encode


def _why(error: Exception) -> str:
    """What went wrong, in the system's words: they hold nothing from a run."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
