"""A full-text index over folders: SQLite FTS5, ranked by BM25, refreshed by content hash.

Documents are opened by the ids in this index, never by a path that a model wrote.
"""

import base64
import hashlib
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from delegator.errors import ConfigError
from delegator.knowledge.passages import Piece, split
from delegator.knowledge.reading import MAX_FILE_BYTES, NotText, read_document, read_text_bytes
from delegator.language import STOPWORDS, american
from delegator.sanitize import clean

_VERSION = 2
"""Of tables and passages alike: an index made by another version is built anew."""
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_BATCH = 500
_RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read may change again within the same time stamp."""
_LOAD = (
    "select p.document, p.ordinal, d.path, w.title, w.heading, p.first, p.last, w.text from passage p "
    "join document d on d.id = p.document join words w on w.rowid = p.rowid where {where} order by p.ordinal"
)
MAX_QUERY_WORDS = 24
PER_DOCUMENT = 3
"""Passages of one document in one answer, so that a long document leaves room for others."""

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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document, as a model is shown it and as a quote is checked against it."""

    id: str
    path: str
    """The document's path below its folder, for people."""
    title: str
    heading: str
    first: int
    last: int
    """Line numbers in the file, from 1."""
    text: str

    @property
    def where(self) -> str:
        """`path:first-last`."""
        return f"{self.path}:{self.first}-{self.last}"

    @property
    def sha256(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage found, and how well it matches (BM25, higher is better)."""

    passage: Passage
    score: float


@dataclass(slots=True)
class Refreshed:
    """What a refresh found. `skipped` counts files left out, by reason."""

    documents: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    seconds: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)


class Library(Protocol):
    """What tools need of a knowledge base."""

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best passages for a query of plain words."""

    def passage(self, id: str) -> Passage | None:
        """A passage by its id."""

    def following(self, id: str, count: int) -> list[Passage]:
        """A passage and those after it in its document."""


class Index:
    """The index of one set of folders, in one SQLite file (or `:memory:`)."""

    def __init__(self, database: Path | None, roots: Sequence[Path]) -> None:
        self.roots = dict(_labelled(roots))
        self.refreshed = Refreshed()
        """What the newest refresh found."""
        try:
            self._db = _connect(database)
        except sqlite3.DatabaseError as error:
            if database is None or type(error) is not sqlite3.DatabaseError:
                raise  # only a file that is no database at all may be thrown away
            for path in (database, *database.parent.glob(database.name + "-*")):
                path.unlink(missing_ok=True)
            self._db = _connect(database)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def refresh(self, progress: Callable[[int], None] = lambda _done: None) -> Refreshed:
        """Bring the index up to date with the folders. `progress` hears how many files were looked at.

        Raises:
            ConfigError: There is no document at all in the folders.
        """
        started, stats = time.monotonic(), Refreshed()
        rows = self._db.execute("select path, size, mtime_ns, read_ns, sha256 from document")
        known = {path: rest for path, *rest in rows}
        seen: set[str] = set()
        with self._db:
            self._db.execute("begin immediate")
            for n, (name, path, stat) in enumerate(self._files(stats.skipped), 1):
                if n % _BATCH == 0:
                    progress(n)
                if name in seen:
                    stats.skipped["same name"] += 1
                elif self._refresh_file(name, path, stat, known.get(name), stats):
                    seen.add(name)
            for name in known.keys() - seen:
                self._forget(name)
                stats.removed += 1
        stats.documents = len(seen)
        stats.seconds = time.monotonic() - started
        self.refreshed = stats
        if not seen:
            raise _nothing_found(self.roots.values(), stats.skipped)
        return stats

    def __len__(self) -> int:
        return int(self._db.execute("select count(*) from document").fetchone()[0])

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best passages for a query of plain words; any text is a safe query."""
        match = _match_expression(query)
        if not match:
            return []
        rows = self._db.execute(
            "select rowid, -bm25(words, 4.0, 2.5, 1.0) from words where words match ? order by 2 desc limit ?",
            (match, limit * 4),
        ).fetchall()
        hits: list[Hit] = []
        per_document: Counter[str] = Counter()
        for rowid, score in rows:
            passage = self._load("p.rowid = ?", rowid)[0]
            per_document[passage.path] += 1
            if per_document[passage.path] <= PER_DOCUMENT:
                hits.append(Hit(passage=passage, score=score))
        return hits[:limit]

    def passage(self, id: str) -> Passage | None:
        """A passage by its id, compared exactly."""
        found = self.following(id, 1)
        return found[0] if found else None

    def following(self, id: str, count: int) -> list[Passage]:
        """A passage and those after it in its document, `count` in all."""
        match = _PASSAGE_ID.fullmatch(id)
        if not match:
            return []
        ordinal = int(match[2])
        where = "p.document = ? and p.ordinal >= ? and p.ordinal < ?"
        found = self._load(where, match[1], ordinal, ordinal + count)
        return found if found and found[0].id == id else []

    def _load(self, where: str, *values: object) -> list[Passage]:
        rows = self._db.execute(_LOAD.format(where=where), values)
        return [
            Passage(id=f"{doc}.{n}", path=path, title=title, heading=h, first=a, last=b, text=text)
            for doc, n, path, title, h, a, b, text in rows
        ]

    def _files(self, skipped: Counter[str]) -> Iterator[tuple[str, Path, os.stat_result]]:
        for label, root in self.roots.items():
            prefix = f"{label}/" if len(self.roots) > 1 else ""
            for relative, path in _walk(root, skipped):
                try:
                    stat = path.stat()
                except OSError:
                    skipped["unreadable"] += 1
                    continue
                if stat.st_size > MAX_FILE_BYTES:
                    skipped["too large"] += 1
                else:
                    yield clean(prefix + relative), path, stat

    def _refresh_file(
        self,
        name: str,
        path: Path,
        stat: os.stat_result,
        known: list[object] | None,
        stats: Refreshed,
    ) -> bool:
        if known and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            read_ns = int(str(known[2]))
            if read_ns - stat.st_mtime_ns > _RACY_NS:
                return True
        try:
            data = read_text_bytes(path)
            digest = hashlib.sha256(data).hexdigest()
            if known and known[3] == digest:
                self._touch(name, stat)
                return True
            document = read_document(path, data)
        except OSError:
            stats.skipped["unreadable"] += 1
            return False
        except NotText as answer:
            stats.skipped[answer.why] += 1
            return False
        if known:
            self._forget(name)
        self._add(name, document.title, digest, stat)
        self._add_passages(_document_id(name), document.title, split(document.lines))
        stats.changed += known is not None
        stats.added += known is None
        return True

    def _add(self, name: str, title: str, digest: str, stat: os.stat_result) -> None:
        values = (
            _document_id(name),
            name,
            title,
            digest,
            stat.st_size,
            stat.st_mtime_ns,
            time.time_ns(),
        )
        self._db.execute("insert into document values (?, ?, ?, ?, ?, ?, ?)", values)

    def _add_passages(self, document: str, title: str, pieces: Iterable[Piece]) -> None:
        for ordinal, piece in enumerate(pieces, 1):
            row = self._db.execute(
                "insert into passage (document, ordinal, first, last) values (?, ?, ?, ?)",
                (document, ordinal, piece.first, piece.last),
            ).lastrowid
            self._db.execute(
                "insert into words (rowid, title, heading, text) values (?, ?, ?, ?)",
                (row, title, piece.heading, piece.text),
            )

    def _touch(self, name: str, stat: os.stat_result) -> None:
        self._db.execute(
            "update document set size = ?, mtime_ns = ?, read_ns = ? where path = ?",
            (stat.st_size, stat.st_mtime_ns, time.time_ns(), name),
        )

    def _forget(self, name: str) -> None:
        document = _document_id(name)
        rows = self._db.execute(
            "select rowid from passage where document = ?", (document,)
        ).fetchall()
        self._db.executemany("delete from words where rowid = ?", rows)
        self._db.execute("delete from passage where document = ?", (document,))
        self._db.execute("delete from document where id = ?", (document,))


_PASSAGE_ID = re.compile(r"([a-z2-7]{10})\.([1-9][0-9]{0,6})")


def _document_id(name: str) -> str:
    """Ten characters that stand for a path: 50 bits, so 100,000 documents collide once in 200,000 indexes."""
    digest = hashlib.blake2b(name.encode(), digest_size=10).digest()
    return base64.b32encode(digest).decode().lower()[:10]


def _connect(database: Path | None) -> sqlite3.Connection:
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(database or ":memory:", timeout=30, isolation_level=None)
    try:
        db.execute("pragma journal_mode = wal")
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


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _create(db: sqlite3.Connection) -> None:
    for table in _TABLES:
        db.execute(f"drop table if exists {table}")
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"pragma user_version = {_VERSION}")


def _labelled(roots: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Each folder with a name of its own: its last part, numbered where two are alike."""
    taken: Counter[str] = Counter()
    for root in dict.fromkeys(root.resolve() for root in roots):
        name = root.name or "root"
        taken[name] += 1
        yield (name if taken[name] == 1 else f"{name}~{taken[name]}"), root


def _walk(root: Path, skipped: Counter[str]) -> Iterator[tuple[str, Path]]:
    """Regular files below `root`, in a fixed order. Hidden and generated folders and links are left out."""
    if root.is_file():
        yield root.name, root
        return
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            skipped["unreadable"] += 1
            continue
        for entry in reversed(entries):
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in _SKIPPED_FOLDERS:
                continue
            if entry.is_symlink():
                skipped["link"] += 1
            elif entry.is_dir():
                pending.append(relative)
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink() or not entry.is_file():
                continue
            yield (f"{folder}/{entry.name}" if folder else entry.name), Path(entry.path)


def _nothing_found(roots: Iterable[Path], skipped: Counter[str]) -> ConfigError:
    places = ", ".join(str(root) for root in roots)
    counts = ", ".join(f"{n} {why}" for why, n in sorted(skipped.items()))
    return ConfigError(
        f"no readable documents in {places}" + (f" (skipped: {counts})" if counts else ""),
        hint="--docs takes a folder of text files: .md .txt .rst .html .py and the like.",
    )


def _match_expression(query: str) -> str:
    """A query in which every word is quoted, so that no text can be query syntax.

    Any telling word may match. Neighbours that stand together in the text too, or as one word, count extra, and so does the
    other spelling of a word: BM25 weighs each by how rare it is.
    """
    words = re.findall(r"\w+", clean(query).lower())[: 4 * MAX_QUERY_WORDS]
    telling = [word for word in words if word not in STOPWORDS] or words
    terms = dict.fromkeys(telling[:MAX_QUERY_WORDS])
    terms |= dict.fromkeys(american(word) for word in terms)
    for left, right in pairwise(words[: 2 * MAX_QUERY_WORDS]):
        if left in terms or right in terms:
            terms[f"{left} {right}"] = None
        if left in terms and right in terms:
            terms[f"{left}{right}"] = None
    return " OR ".join(f'"{term}"' for term in terms)
