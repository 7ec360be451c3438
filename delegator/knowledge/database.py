"""The SQLite file of an index: its tables, and when it may be thrown away.

Only a file that is no database, or a broken one, is ever deleted. One that is locked or cannot be written is left alone.
"""

import sqlite3
import time
from pathlib import Path

_VERSION = 3
"""Of tables and passages alike: an index made by another version is built anew."""
_TABLES = ("words", "passage", "document")
_SCHEMA = (
    """create table document (
    id text primary key, path text not null unique, title text not null,
    sha256 text not null, size integer not null, mtime_ns integer not null, read_ns integer not null
) without rowid""",
    """create table passage (
    rowid integer primary key, document text not null, ordinal integer not null,
    first integer not null, last integer not null, unique (document, ordinal)
)""",
    """create virtual table words using fts5(
    title, heading, text, tokenize = "porter unicode61 remove_diacritics 2"
)""",
    # bytes of words gathered before they are written: the more, the less is merged later, in half the time
    "insert into words (words, rank) values ('hashsize', 16777216)",
)


def connect(path: Path | None, *, patience: float) -> sqlite3.Connection:
    """A connection to an index, made anew if it is broken or of another version. No path: in memory.

    Raises:
        OSError: There is no place for it.
        sqlite3.OperationalError: It is locked for longer than `patience` seconds, or cannot be written.
    """
    try:
        return _connect(path, patience)
    except sqlite3.DatabaseError as error:
        if path is None or not broken(error):
            raise
        discard(path)
        return _connect(path, patience)


def broken(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is no database any more; a lock, a full disk and the like are subclasses."""
    return type(error) is sqlite3.DatabaseError


def busy(error: sqlite3.OperationalError) -> bool:
    """Whether another process is writing."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def discard(path: Path) -> None:
    """Delete a database and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path | None, patience: float) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path or ":memory:", timeout=patience, isolation_level=None)
    try:
        _write_ahead(db, patience)
        db.execute("pragma synchronous = normal")
        if _version(db) != _VERSION:
            with db:
                db.execute("begin immediate")
                if _version(db) != _VERSION:  # another process may have been faster
                    _create(db)
    except BaseException:
        db.close()
        raise
    return db


def _write_ahead(db: sqlite3.Connection, patience: float) -> None:
    """Switch to a write-ahead log. For this SQLite does not wait, although it was told to."""
    deadline = time.monotonic() + patience
    while True:
        try:
            db.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if not busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _create(db: sqlite3.Connection) -> None:
    for table in _TABLES:
        db.execute(f"drop table if exists {table}")
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"pragma user_version = {_VERSION}")
