"""The index follows the folders exactly, opens passages by exact ids, and survives its neighbours."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegator.errors import ConfigError
from delegator.knowledge import Index, Passage
from delegator.knowledge.database import _write_ahead
from delegator.knowledge.reading import MAX_FILE_BYTES
from requirements import requirement
from texts import hostile_texts

LONG_AGO = 1_000_000_000
IN_A_WHILE = 4_000_000_000
BATCH = 500


def write(path: Path, content: str | bytes, seconds: int = LONG_AGO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (seconds, seconds))


def indexed(*roots: Path) -> Index:
    index = Index(None, roots)
    index.refresh()
    return index


def only(index: Index, query: str) -> Passage:
    (hit,) = index.search(query, 8)
    return hit.passage


def stored(index: Index) -> list[tuple[object, ...]]:
    """Everything the index says about its documents."""
    rows = "select d.path, d.title, d.sha256, p.document, p.ordinal, p.first, p.last, w.heading, w.text"
    joined = "document d join passage p on p.document = d.id join words w on w.rowid = p.rowid"
    return index._db.execute(f"{rows} from {joined} order by d.path, p.ordinal").fetchall()


# A refresh follows the folders


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a.md", "b.md", "x/a.md", "x/y/c.txt"]),
            st.sampled_from(["tea", "rice", "# Tea\n\ncups", "", "\0"]),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_a_refresh_finds_exactly_what_changed_and_ends_where_a_new_index_would(
    states: list[Mapping[str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, index = Path(folder), Index(None, [Path(folder)])
        before: dict[str, str] = {}
        written: dict[str, str] = {}
        for n, state in enumerate(states):
            for name in written.keys() - state.keys():
                (root / name).unlink()
            for name, content in state.items():
                if written.get(name) != content:
                    write(root / name, content, LONG_AGO + n)
            written = dict(state)
            after = {name: text for name, text in state.items() if text not in ("", "\0")}
            with suppress(ConfigError):
                index.refresh()
            found = index.refreshed
            both = before.keys() & after.keys()
            assert found.documents == len(after) == len(index)
            assert found.added == len(after.keys() - before.keys())
            assert found.removed == len(before.keys() - after.keys())
            assert found.changed == sum(before[name] != after[name] for name in both)
            fresh = Index(None, [root])
            with suppress(ConfigError):
                fresh.refresh()
            assert stored(index) == stored(fresh)
            fresh.close()
            before = after
        index.close()


def test_passages_of_unchanged_files_keep_their_ids_and_lines(docs: Path) -> None:
    index = indexed(docs)
    before = {p.id: p for hit in index.search("tea bm25 saturation", 8) for p in [hit.passage]}
    write(docs / "aaa.md", "# A new file\n\nthat comes first")
    (docs / "tea.txt").touch()
    index.refresh()
    assert before
    assert {id: index.passage(id) for id in before} == before
    index.close()


def test_a_changed_file_is_found_by_its_new_words_only(docs: Path) -> None:
    index = indexed(docs)
    write(docs / "tea.txt", "White tea is brewed at 75 degrees.")
    index.refresh()
    assert only(index, "white").path == "tea.txt"
    assert index.search("black", 8) == []
    index.close()


def test_a_file_with_the_size_and_time_it_had_is_not_read_again(docs: Path) -> None:
    write(docs / "tea.txt", "green")
    index = indexed(docs)
    write(docs / "tea.txt", "black")
    assert index.refresh().changed == 0
    index.close()


def test_a_file_changed_just_before_it_was_read_is_read_again(docs: Path) -> None:
    write(docs / "tea.txt", "green", IN_A_WHILE)
    index = indexed(docs)
    write(docs / "tea.txt", "black", IN_A_WHILE)
    assert index.refresh().changed == 1
    assert only(index, "black").path == "tea.txt"
    index.close()


def test_a_file_that_was_only_touched_is_not_indexed_again(docs: Path) -> None:
    write(docs / "tea.txt", "green")
    index = indexed(docs)
    rows = "select max(rowid) from passage"
    before = index._db.execute(rows).fetchone()
    write(docs / "tea.txt", "green", LONG_AGO + 9)
    assert index.refresh().changed == 0
    assert index._db.execute(rows).fetchone() == before
    write(docs / "tea.txt", "black", LONG_AGO + 9)
    assert index.refresh().changed == 0  # its new time was noted
    index.close()


def test_a_file_that_becomes_binary_is_removed(docs: Path) -> None:
    index = indexed(docs)
    write(docs / "tea.txt", b"\0")
    found = index.refresh()
    assert (found.removed, found.skipped["binary"]) == (1, 1)
    assert index.search("black tea", 8) == []
    index.close()


def test_a_refresh_that_fails_changes_nothing(docs: Path, tmp_path: Path) -> None:
    for n in range(BATCH):
        write(docs / f"{n}.md", "rice")

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    index = Index(tmp_path / "i.sqlite", [docs])
    with pytest.raises(KeyboardInterrupt):
        index.refresh(stop)
    assert len(index) == 0
    assert index.refresh().added == BATCH + 2
    index.close()


# What is left out, and counted


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.png", b"PNG\0", "binary"),
        ("a.bin", b"\xff\xfb\x90", "binary"),
        ("a.md", b" \n", "empty"),
        (".hidden.md", b"secret", "hidden"),
        (".git/config.md", b"secret", "hidden"),
        ("node_modules/a.md", b"secret", "generated"),
        ("x/__pycache__/a.md", b"secret", "generated"),
    ],
)
def test_what_is_no_document_is_counted_and_left_out(
    name: str, content: bytes, why: str, docs: Path
) -> None:
    write(docs / name, content)
    index = indexed(docs)
    assert dict(index.refreshed.skipped) == {why: 1}
    assert index.refreshed.documents == 2
    assert index.search("secret", 8) == []
    index.close()


def test_a_file_that_is_too_large_is_counted_and_left_out(docs: Path) -> None:
    write(docs / "large.txt", "words")
    os.truncate(docs / "large.txt", MAX_FILE_BYTES + 1)
    index = indexed(docs)
    assert dict(index.refreshed.skipped) == {"too large": 1}
    index.close()


def test_links_are_counted_and_never_followed(docs: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside" / "key.md", "secret")
    (docs / "folder").symlink_to(tmp_path / "outside")
    (docs / "file.md").symlink_to(tmp_path / "outside" / "key.md")
    (docs / "loop").symlink_to(docs)
    index = indexed(docs)
    assert dict(index.refreshed.skipped) == {"link": 3}
    assert index.search("secret", 8) == []
    index.close()


def test_a_pipe_is_counted_and_not_opened(docs: Path) -> None:
    os.mkfifo(docs / "pipe.md")
    index = indexed(docs)
    assert dict(index.refreshed.skipped) == {"not a file": 1}
    index.close()


def test_files_that_vanish_during_a_refresh_are_counted(docs: Path) -> None:
    for n in range(BATCH):
        write(docs / f"x{n:03}.md", "rice")

    def vanish(done: int) -> None:  # one that was seen already, and one that was not
        assert done == BATCH
        (docs / f"x{BATCH - 3:03}.md").unlink()
        (docs / f"x{BATCH - 2:03}.md").unlink()

    index = Index(None, [docs])
    found = index.refresh(vanish)
    assert dict(found.skipped) == {"unreadable": 2}
    assert found.documents == BATCH
    index.close()


def test_names_that_look_the_same_are_counted_and_only_one_is_indexed(docs: Path) -> None:
    write(docs / "a.md", "rice")
    write(docs / "a\u200b.md", "maize")
    index = indexed(docs)
    assert dict(index.refreshed.skipped) == {"same name": 1}
    assert only(index, "rice maize").text == "rice"
    assert index.refresh().changed == 0
    index.close()


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.txt", b"\x1b[31m.txt", b"a\nb.txt", b"\xe2\x80\xae.txt"]
)
@requirement("T8")
def test_a_name_of_any_bytes_is_indexed_under_a_name_that_can_be_shown(
    name: bytes, tmp_path: Path
) -> None:
    write(tmp_path / os.fsdecode(name), "tea")
    index = indexed(tmp_path)
    passage = only(index, "tea")
    assert passage.path.isprintable()
    assert passage.title.isprintable()
    index.close()


@requirement("cli:errors")
def test_folders_without_a_document_are_refused_with_the_counts(tmp_path: Path) -> None:
    write(tmp_path / "a.png", b"\0")
    write(tmp_path / ".b.md", b"x")
    index = Index(None, [tmp_path])
    with pytest.raises(ConfigError, match=r"skipped: 1 binary, 1 hidden") as caught:
        index.refresh()
    assert str(tmp_path) in str(caught.value)
    assert "--docs" in caught.value.hint
    index.close()


def test_a_folder_that_is_gone_is_refused_as_unreadable(tmp_path: Path) -> None:
    index = Index(None, [tmp_path / "gone"])
    with pytest.raises(ConfigError, match="skipped: 1 unreadable"):
        index.refresh()
    index.close()


# Several folders


def test_one_folder_needs_no_name_in_front(docs: Path) -> None:
    index = indexed(docs)
    assert only(index, "black").path == "tea.txt"
    index.close()


def test_a_single_file_can_be_indexed(docs: Path) -> None:
    index = indexed(docs / "tea.txt")
    assert index.refreshed.documents == 1
    assert only(index, "black").path == "tea.txt"
    index.close()


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for n, word in enumerate(["tea", "rice", "maize"]):
        write(tmp_path / str(n) / "docs" / "a.md", word)
    write(tmp_path / "9" / "docs~2" / "a.md", "salt")
    index = indexed(*(tmp_path / str(n) / "docs" for n in range(3)), tmp_path / "9" / "docs~2")
    paths = {only(index, word).path for word in ("tea", "rice", "maize", "salt")}
    assert index.refreshed.documents == 4
    assert paths == {"docs/a.md", "docs~2/a.md", "docs~2~2/a.md", "docs~3/a.md"}
    index.close()


def test_the_order_in_which_folders_are_named_changes_nothing(tmp_path: Path) -> None:
    for name, word in (("x", "tea"), ("y", "rice")):
        write(tmp_path / name / "docs" / "a.md", word)
    roots = [tmp_path / "x" / "docs", tmp_path / "y" / "docs"]
    one, other = indexed(*roots), indexed(*reversed(roots))
    assert stored(one) == stored(other)
    one.close()
    other.close()


def test_a_folder_named_twice_is_indexed_once(docs: Path) -> None:
    index = indexed(docs, docs / ".." / docs.name)
    assert index.refreshed.documents == 2
    assert only(index, "black").path == "tea.txt"
    index.close()


# Passages and their ids


def test_the_lines_of_a_passage_are_those_of_the_file_on_disk(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {n} " + "has words. " * (n % 40) for n in range(120)]
    write(tmp_path / "a.txt", "\r\n\r\n".join(paragraphs))
    lines = (tmp_path / "a.txt").read_text().split("\n")
    index = indexed(tmp_path)
    passages = index.following(only_first(index, "paragraph").id, 1_000)
    assert len(passages) > 10
    for passage in passages:
        assert passage.text == "\n".join(lines[passage.first - 1 : passage.last]).rstrip()
        assert passage.where == f"a.txt:{passage.first}-{passage.last}"
    index.close()


def only_first(index: Index, query: str) -> Passage:
    """The first passage of the document that a query finds."""
    found = index.passage(index.search(query, 1)[0].passage.id.split(".")[0] + ".1")
    assert found is not None
    return found


def test_following_gives_a_passage_and_those_after_it_in_order(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "\n".join(f"# Part {n}\n\n{'word ' * 40}" for n in range(9)))
    index = indexed(tmp_path)
    first = only_first(index, "word")
    ids = [passage.id for passage in index.following(first.id, 99)]
    assert ids == [first.id.replace(".1", f".{n}") for n in range(1, 10)]
    assert [passage.id for passage in index.following(ids[4], 3)] == ids[4:7]
    assert [passage.id for passage in index.following(ids[8], 3)] == ids[8:]
    index.close()


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda id: f" {id}",
        lambda id: f"{id}\n",
        lambda id: id.replace(".1", ".01"),
        lambda id: id.replace(".1", ".0"),
        lambda id: id.replace(".1", ".99"),
        lambda id: id.replace(".1", ".1.1"),
        lambda id: id.replace(".1", ".\u0661"),
        lambda id: id.replace(".1", ".1" + "0" * 40),
        lambda id: id.replace(".1", "._"),
        lambda id: id[:9] + "%.1",
        lambda id: id[:-2],
        lambda id: "../" + id,
        lambda id: id[:9] + "' or '1'='1.1",
    ],
)
def test_an_id_that_is_not_exact_opens_nothing(change: object, docs: Path) -> None:
    assert callable(change)
    index = indexed(docs)
    id = only_first(index, "black").id
    assert index.passage(id) is not None
    assert index.passage(change(id)) is None
    assert index.following(change(id), 5) == []
    index.close()


@settings(deadline=None)
@given(hostile_texts())
def test_any_text_is_a_safe_id(id: str) -> None:
    index = Index(None, [Path(__file__)])
    assert index.passage(id) is None
    index.close()


# The database file


def test_an_index_on_disk_is_there_the_next_time(docs: Path, tmp_path: Path) -> None:
    for path in docs.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    database = tmp_path / "home" / "deep" / "i.sqlite"
    first = Index(database, [docs])
    assert first.refresh().added == 2
    first.close()
    second = Index(database, [docs])
    assert only(second, "black").path == "tea.txt"
    assert second.refresh().added == 0
    second.close()


@pytest.mark.parametrize(
    "junk", [b"not a database" * 1_000, b"SQLite format 3\0" + b"\xff" * 5_000]
)
def test_a_file_that_is_no_database_is_made_anew(junk: bytes, docs: Path, tmp_path: Path) -> None:
    database = tmp_path / "i.sqlite"
    database.write_bytes(junk)
    (tmp_path / "i.sqlite-wal").write_bytes(junk)
    index = Index(database, [docs])
    assert index.refresh().added == 2
    index.close()


def test_a_database_that_is_broken_inside_is_made_anew(docs: Path, tmp_path: Path) -> None:
    database = tmp_path / "i.sqlite"
    index = Index(database, [docs])
    index.refresh()
    index.close()
    good = database.read_bytes()
    database.write_bytes(good[:4_096] + b"\xff" * (len(good) - 4_096))
    index = Index(database, [docs])
    assert index.refresh().added == 2
    assert only(index, "black").path == "tea.txt"
    index.close()


def test_an_error_that_is_not_about_the_file_deletes_nothing(docs: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "i.sqlite", [docs])
    index._db.execute(
        "create trigger no before insert on document begin select raise(abort, 'no'); end"
    )
    with pytest.raises(sqlite3.IntegrityError):
        index.refresh()
    assert index._db.execute("select count(*) from sqlite_master where name = 'no'").fetchone()[0]
    index.close()


def test_an_index_of_another_version_is_made_anew(docs: Path, tmp_path: Path) -> None:
    database = tmp_path / "i.sqlite"
    old = sqlite3.connect(database)
    old.execute("create table document (path text)")
    old.execute("pragma user_version = 1")
    old.close()
    index = Index(database, [docs])
    assert index.refresh().added == 2
    index.close()


def test_a_locked_database_is_left_alone(docs: Path, tmp_path: Path) -> None:
    database = tmp_path / "i.sqlite"
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("create table theirs (x)")
    other.execute("begin exclusive")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Index(database, [docs], patience=0)
    other.execute("commit")
    assert other.execute("select count(*) from theirs").fetchone() == (0,)
    other.close()


def test_a_place_that_cannot_be_written_is_left_alone(docs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "i.sqlite"
    write(folder / "theirs.md", "keep me")
    with pytest.raises(sqlite3.OperationalError):
        Index(folder, [docs])
    assert (folder / "theirs.md").read_text() == "keep me"


def test_a_place_that_is_no_folder_is_an_error_of_the_system(docs: Path, tmp_path: Path) -> None:
    write(tmp_path / "file", "keep me")
    with pytest.raises(OSError, match="file"):
        Index(tmp_path / "file" / "i.sqlite", [docs])


@requirement("cli:errors")
def test_an_index_that_another_process_writes_for_long_is_refused_by_name(
    docs: Path, tmp_path: Path
) -> None:
    database = tmp_path / "i.sqlite"
    index = Index(database, [docs], patience=0)
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(ConfigError, match="another process is writing") as caught:
        index.refresh()
    assert caught.value.hint
    other.execute("rollback")
    other.close()
    assert index.refresh().added == 2
    index.close()


@requirement("cli:errors")
def test_an_index_that_cannot_be_written_is_refused_by_name(docs: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "i.sqlite", [docs])
    index._db.execute("pragma query_only = on")
    with pytest.raises(ConfigError, match="cannot write the index") as caught:
        index.refresh()
    assert "--home" in caught.value.hint
    index.close()


def test_an_index_that_nothing_has_changed_is_refreshed_while_another_process_writes(
    docs: Path, tmp_path: Path
) -> None:
    for path in docs.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    database = tmp_path / "i.sqlite"
    index = Index(database, [docs], patience=0)
    index.refresh()
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("begin immediate")
    assert index.refresh().documents == 2
    other.close()
    index.close()


def test_what_another_process_indexed_in_the_meantime_is_not_indexed_again(
    docs: Path, tmp_path: Path
) -> None:
    for n in range(BATCH):
        write(docs / f"a{n}.md", "rice")
    database = tmp_path / "i.sqlite"
    one, other = Index(database, [docs], patience=0), Index(database, [docs], patience=0)
    one.refresh()
    write(docs / "zzz.md", "maize")
    added: list[int] = []

    def meanwhile(_done: int) -> None:
        if not added:
            added.append(other.refresh().added)

    found = one.refresh(meanwhile)
    assert added == [1]
    assert (found.added, found.documents) == (0, BATCH + 3)
    assert only(one, "maize").path == "zzz.md"
    one.close()
    other.close()


def test_a_new_database_that_others_switch_to_a_log_at_the_same_time_is_tried_again() -> None:
    class Contended:
        tries = 0

        def execute(self, statement: str) -> None:
            self.tries += 1
            if self.tries < 3:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            assert statement == "pragma journal_mode = wal"

    contended = Contended()
    _write_ahead(contended, 30.0)  # type: ignore[arg-type]  # all it needs of a connection
    assert contended.tries == 3


def test_processes_that_build_the_same_index_at_once_all_succeed(
    docs: Path, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from delegator.knowledge import Index\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "index = Index(Path(sys.argv[1]), [Path(sys.argv[2])])\n"
        "print(index.refresh().documents, len(index.search('black tea', 8)))"
    )
    for n in range(100):
        write(docs / f"{n}.md", "rice " * 300)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "i.sqlite", docs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate()[0] for process in started]
    assert ends == ["102 1\n"] * 4
