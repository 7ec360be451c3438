"""A full-text index over folders: SQLite FTS5, ranked by BM25, refreshed by content hash.

Documents are opened by the ids in this index, never by a path that a model wrote.
"""

import base64
import hashlib
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from delegator.errors import ConfigError
from delegator.knowledge.database import broken, busy, connect, discard
from delegator.knowledge.folders import File, files, labelled, names_under
from delegator.knowledge.passages import split
from delegator.knowledge.ranking import best, best_within
from delegator.knowledge.reading import Document, NotText, read_document, read_text_bytes

PER_DOCUMENT = 3
"""Passages of one document in one answer, so that a long document leaves room for others."""
_BATCH = 500
_RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read may change again within the same time stamp."""
_PASSAGES = (
    "select p.document, p.ordinal, d.path, w.title, w.heading, p.first, p.last, w.text from passage p "
    "join document d on d.id = p.document join words w on w.rowid = p.rowid where {} order by p.ordinal"
)
_DOCUMENT = "select document from passage where rowid = ?"
_ROWS = "select min(rowid), max(rowid) from passage where document = ?"
_TAKEN = "select 1 from document where id = ?"
_ONE = _PASSAGES.format("p.rowid = ?")
_FOLLOWING = _PASSAGES.format("p.document = ? and p.ordinal between ? and ?")


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
    private: bool = False
    """Whether its document stands under a folder marked private."""

    @property
    def document(self) -> str:
        """The id of its document."""
        return self.id.partition(".")[0]

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

    @property
    def private(self) -> bool:
        """Whether something in it is marked private."""

    def search(self, query: str, limit: int, *, document: str = "") -> list[Hit]:
        """The best passages for a query of plain words, of all documents or of one."""

    def passage(self, id: str) -> Passage | None:
        """A passage by its id."""

    def following(self, id: str, count: int) -> list[Passage]:
        """A passage and those after it in its document."""


@dataclass(frozen=True, slots=True)
class OneDocument:
    """One document of a library, as if there were no others."""

    library: Library
    document: str

    @property
    def private(self) -> bool:
        """Reading on in a document that was handed over decides nothing anew."""
        return False

    def search(self, query: str, limit: int, *, document: str = "") -> list[Hit]:
        """The best passages of this document for a query of plain words."""
        mine = document in ("", self.document)
        return self.library.search(query, limit, document=self.document) if mine else []

    def passage(self, id: str) -> Passage | None:
        """A passage of this document by its id."""
        return self.library.passage(id) if self._holds(id) else None

    def following(self, id: str, count: int) -> list[Passage]:
        """A passage of this document and those after it."""
        return self.library.following(id, count) if self._holds(id) else []

    def _holds(self, id: str) -> bool:
        return id.startswith(f"{self.document}.")


class _Known(NamedTuple):
    """What the index remembers of a file."""

    size: int
    mtime_ns: int
    read_ns: int
    sha256: str

    def still(self, file: File) -> bool:
        """Whether the file is sure to be as it was, by its size and time stamp alone."""
        same = (self.size, self.mtime_ns) == (file.size, file.mtime_ns)
        return same and self.read_ns - self.mtime_ns > _RACY_NS


class Index:
    """The index of one set of folders, in one SQLite file (or in memory).

    Args:
        database: The file; it is made, and made anew if it is broken.
        roots: Folders and files to index.
        private: Folders and files below them whose documents only some people may see.
        patience: Seconds to wait for another process that is writing.

    Raises:
        ConfigError: What is marked private is not among the documents.
    """

    def __init__(
        self,
        database: Path | None,
        roots: Sequence[Path],
        *,
        private: Sequence[Path] = (),
        patience: float = 30.0,
    ) -> None:
        self.roots = labelled(roots)
        self._private = names_under(private, self.roots)
        self.refreshed = Refreshed()
        """What the newest refresh found."""
        self._database = database
        self._patience = patience
        self._db = connect(database, patience=patience)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def refresh(self, progress: Callable[[int], None] = lambda _done: None) -> Refreshed:
        """Bring the index up to date with the folders. `progress` hears how many files were looked at.

        Raises:
            ConfigError: There is no document at all in the folders, or the index cannot be written.
        """
        started = time.monotonic()
        try:
            stats = self._renewed(progress)
        except sqlite3.OperationalError as error:
            raise _not_written(error) from error
        stats.seconds = time.monotonic() - started
        self.refreshed = stats
        if not stats.documents:
            raise _nothing_found(self.roots.values(), stats.skipped)
        self._require_private()
        return stats

    def _require_private(self) -> None:
        """What is marked private must be there: a slip of the pen must not leave it open.

        Raises:
            ConfigError: No document has such a name.
        """
        rows = self._db.execute("select path from document") if self._private else ()
        names = [name for (name,) in rows]
        for marked in self._private:
            if not any(_marks(marked, name) for name in names):
                raise ConfigError(
                    f"{marked.rstrip('/')} is marked private, but no document is there",
                    hint="--private takes a folder or file that holds documents, spelled as on disk.",
                )

    def __len__(self) -> int:
        return int(self._db.execute("select count(*) from document").fetchone()[0])

    @property
    def private(self) -> bool:
        """Whether something in it is marked private."""
        return bool(self._private)

    def search(self, query: str, limit: int, *, document: str = "") -> list[Hit]:
        """The best passages for a query of plain words, of all documents or of one; any text is a safe query."""
        hits: list[Hit] = []
        if document:
            rows = self._db.execute(_ROWS, (document,)).fetchone()
            ranked = best_within(self._db, query, rows, limit) if rows[0] is not None else []
            return [Hit(passage=p, score=s) for s, row in ranked for p in self._load(_ONE, row)]
        per_document: Counter[str] = Counter()
        for score, row in best(self._db, query):
            if len(hits) == limit:
                break
            for (found,) in self._db.execute(_DOCUMENT, (row,)):
                per_document[found] += 1
                if per_document[found] <= PER_DOCUMENT:
                    hits += [Hit(passage=p, score=score) for p in self._load(_ONE, row)]
        return hits

    def passage(self, id: str) -> Passage | None:
        """A passage by its id, compared exactly."""
        found = self.following(id, 1)
        return found[0] if found else None

    def following(self, id: str, count: int) -> list[Passage]:
        """A passage and those after it in its document, `count` in all."""
        match = _PASSAGE_ID.fullmatch(id)
        if not match:
            return []
        first = int(match[2])
        return self._load(_FOLLOWING, match[1], first, first + count - 1)

    def _load(self, statement: str, *values: object) -> list[Passage]:
        rows = self._db.execute(statement, values)
        return [
            Passage(
                id=f"{doc}.{n}",
                path=path,
                title=title,
                heading=h,
                first=a,
                last=b,
                text=text,
                private=self._is_private(path),
            )
            for doc, n, path, title, h, a, b, text in rows
        ]

    def _is_private(self, name: str) -> bool:
        return any(_marks(marked, name) for marked in self._private)

    def _renewed(self, progress: Callable[[int], None]) -> Refreshed:
        """One refresh; a second one if another process was faster, or the file turns out to be broken."""
        try:
            return self._one_refresh("begin", progress)
        except sqlite3.OperationalError as error:
            if not busy(error):
                raise
        except sqlite3.DatabaseError as error:
            if self._database is None or not broken(error):
                raise
            self._db.close()
            discard(self._database)
            self._db = connect(self._database, patience=self._patience)
        return self._one_refresh("begin immediate", progress)

    def _one_refresh(self, begin: str, progress: Callable[[int], None]) -> Refreshed:
        """One pass over the folders. What is known is read inside the transaction, where no other process changes it."""
        stats = Refreshed()
        with self._db:
            self._db.execute(begin)
            rows = self._db.execute("select path, size, mtime_ns, read_ns, sha256 from document")
            known = {path: _Known(*rest) for path, *rest in rows}
            for n, file in enumerate(files(self.roots, stats.skipped), 1):
                if n % _BATCH == 0:
                    progress(n)
                if self._refresh_file(file, known.get(file.name), stats):
                    known.pop(file.name, None)
                    stats.documents += 1
            for name in known:
                self._forget(name)
            stats.removed = len(known)
            if stats.added > stats.documents // 2:
                self._db.execute(
                    "insert into words (words) values ('optimize')"
                )  # searches a fifth faster
        return stats

    def _refresh_file(self, file: File, known: _Known | None, stats: Refreshed) -> bool:
        """Whether the file is in the index now."""
        if known and known.still(file):
            return True
        path, read_ns = Path(file.path), time.time_ns()
        try:
            data = read_text_bytes(path)
            now = _Known(file.size, file.mtime_ns, read_ns, hashlib.sha256(data).hexdigest())
            if known and known.sha256 == now.sha256:
                self._touch(file.name, now)
                return True
            document = read_document(path, data)
        except OSError:
            stats.skipped["unreadable"] += 1
            return False
        except NotText as answer:
            stats.skipped[answer.why] += 1
            return False
        if known:
            self._forget(file.name)
            stats.changed += 1
        elif self._db.execute(_TAKEN, (_document_id(file.name),)).fetchone():
            stats.skipped["name with the same id"] += 1
            return False
        else:
            stats.added += 1
        self._add(file.name, document, now)
        return True

    def _add(self, name: str, document: Document, state: _Known) -> None:
        id = _document_id(name)
        values = (id, name, document.title, state.sha256, *state[:3])
        self._db.execute("insert into document values (?, ?, ?, ?, ?, ?, ?)", values)
        last = self._db.execute("select coalesce(max(rowid), 0) from passage").fetchone()[0]
        pieces = list(enumerate(split(document.lines), 1))
        self._db.executemany(
            "insert into passage values (?, ?, ?, ?, ?)",
            [(last + n, id, n, piece.first, piece.last) for n, piece in pieces],
        )
        self._db.executemany(
            "insert into words (rowid, title, heading, text) values (?, ?, ?, ?)",
            [(last + n, document.title, piece.heading, piece.text) for n, piece in pieces],
        )

    def _touch(self, name: str, state: _Known) -> None:
        self._db.execute(
            "update document set size = ?, mtime_ns = ?, read_ns = ? where path = ?",
            (*state[:3], name),
        )

    def _forget(self, name: str) -> None:
        document = (_document_id(name),)
        rows = self._db.execute("select rowid from passage where document = ?", document)
        self._db.executemany("delete from words where rowid = ?", rows.fetchall())
        self._db.execute("delete from passage where document = ?", document)
        self._db.execute("delete from document where id = ?", document)


def _marks(marked: str, name: str) -> bool:
    """Whether a name is the marked one, or stands below it."""
    return name == marked or ((marked.endswith("/") or not marked) and name.startswith(marked))


_PASSAGE_ID = re.compile(r"([a-z2-7]{10})\.([1-9][0-9]{0,6})")


def _document_id(name: str) -> str:
    """Ten characters that stand for a path: 50 bits, so 100,000 documents collide once in 200,000 indexes."""
    digest = hashlib.blake2b(name.encode(), digest_size=10).digest()
    return base64.b32encode(digest).decode().lower()[:10]


def _not_written(error: sqlite3.OperationalError) -> ConfigError:
    if busy(error):
        return ConfigError(
            "another process is writing the index of these documents",
            hint="Wait until it is done, or choose another place with --home.",
        )
    return ConfigError(
        f"cannot write the index: {error}",
        hint="Make room, or choose another place with --home.",
    )


def _nothing_found(roots: Iterable[Path], skipped: Counter[str]) -> ConfigError:
    places = ", ".join(str(root) for root in roots)
    counts = ", ".join(f"{n} {why}" for why, n in sorted(skipped.items()))
    return ConfigError(
        f"no readable documents in {places}" + (f" (skipped: {counts})" if counts else ""),
        hint="--docs takes a folder of text files: .md .txt .rst .html .py and the like.",
    )
