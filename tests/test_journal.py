"""The journal's file: what is told is in it, in order and for good; what was changed shows; what goes wrong has a name."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import delegator
from delegator.answer import Answer
from delegator.entries import attempt_of, attempt_to_json, reply_of, reply_to_json
from delegator.errors import ConfigError
from delegator.journal import FILE, Journal, JournalError, Opened, Past, claim, file, forget
from delegator.journal.file import ENTRIES
from delegator.journal.writer import LARGE, _Batch, _checkpointed, dumped
from delegator.messages import (
    Block,
    Opaque,
    Stop,
    Text,
    ToolResult,
    ToolUse,
    block_from_wire,
    block_to_wire,
)
from delegator.model import Reply
from delegator.models.claude import Claude
from delegator.models.scripted import Scripted, call, say
from delegator.outcome import Outcome, SourceSeen
from delegator.recording import Recording
from delegator.tools import Attempt, ToolOutput
from delegator.trust import Confidentiality, Integrity, Label, untrusted
from messages_api import MessagesApi
from requirements import requirement
from scripts import delegate, researcher
from serving import delegate as delegates
from serving import playing
from serving import say as says
from test_worst_spenders import Counted

SECONDS = 60.0
"""Nothing here takes so long: a test that does hangs."""
CALL = Opened(key="D1/1", attempt=1, request="0" * 64, reply_tokens=9, last=False, worst={})


def begin(journal: Journal, run: str = "r") -> None:
    journal.begin(run, question="q", settings={"level": "typed"}, seed="00", at=1.0)


def tell(journal: Journal, run: str, seq: int, **data: Any) -> None:
    if seq == 1:
        begin(journal, run)
    journal.event(run, at=seq / 10, agent="D1", kind="noticed", data={"seq": seq, **data})


def flushed(home: Path, work: Callable[[Journal], None]) -> None:
    """Tell a journal something, and see that it was put down."""

    async def go() -> None:
        async with asyncio.timeout(SECONDS):
            with Journal(home) as journal:
                work(journal)
                await journal.flush()

    asyncio.run(go())


def rows(home: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / FILE)) as connection:
        return connection.execute(f"select * from {table}").fetchall()  # noqa: S608


# --- what is told is in the file


@requirement("W2")
def test_what_was_flushed_is_seen_by_another_connection_while_the_writer_lives(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        with Journal(tmp_path) as journal:
            for seq in range(1, 50):
                tell(journal, "r", seq)
                await journal.flush()
                assert len(rows(tmp_path, "entries")) == seq

    asyncio.run(go())


@requirement("W2")
def test_everything_told_before_the_block_ends_is_in_the_file_in_the_order_told(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path) as journal:
        begin(journal)
        for seq in range(1, 2_001):
            tell(journal, "r", seq, n=seq)
        journal.opened("r", CALL, at=7.0)
        journal.closed("r", CALL, at=8.0, state="failed", paid={"usage": {}}, fault="server")
    with Past(tmp_path) as past:
        assert [json.loads(e["data"])["n"] for e in past.events("r")] == list(range(1, 2_001))
        assert [(c["state"], c["seq"], c["at"], c["ended"]) for c in past.calls("r")] == [
            ("failed", 2_001, 7.0, 8.0)
        ]
        assert past.broken_link("r") is None


def test_many_entries_share_a_transaction(tmp_path: Path) -> None:
    batches: list[int] = []

    class Counting(Journal):
        def _commit(self, connection: sqlite3.Connection, batch: _Batch, **how: Any) -> None:
            batches.append(len(batch.entries))
            super()._commit(connection, batch, **how)

    async def go() -> None:
        with Counting(tmp_path) as journal:
            for seq in range(1, 501):
                tell(journal, "r", seq)
            await asyncio.gather(*(journal.flush() for _ in range(10)))

    asyncio.run(go())
    assert batches == [500]


@requirement("W5")
def test_a_journal_that_nobody_writes_says_so_and_does_not_wait(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    async def flush() -> None:
        async with asyncio.timeout(SECONDS):
            await journal.flush()

    with pytest.raises(JournalError, match="is not open"):
        asyncio.run(flush())
    with journal:
        asyncio.run(flush())
    with pytest.raises(JournalError, match="is not open"):
        asyncio.run(flush())


@requirement("W5")
def test_what_sqlite_cannot_hold_is_an_error_and_ends_no_thread(tmp_path: Path) -> None:
    async def go() -> None:
        async with asyncio.timeout(SECONDS):
            with Journal(tmp_path) as journal:
                begin(journal, "half a pair: \ud800")
                for _ in range(2):
                    with pytest.raises(JournalError, match=r"written \(UnicodeEncodeError\)$"):
                        await journal.flush()

    asyncio.run(go())


@requirement("W2")
def test_two_journals_on_one_file_lose_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path) as one, Journal(tmp_path) as other:
        for seq in range(1, 1_001):
            tell(one, "one", seq)
            tell(other, "other", seq)
    with Past(tmp_path) as past:
        for run in ("one", "other"):
            assert len(past.events(run)) == 1_000
            assert past.broken_link(run) is None


WRITER = """
import sys
from pathlib import Path
from delegator.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    journal.begin(sys.argv[2], question="q", settings={}, seed="", at=1.0)
    for seq in range(1, 301):
        journal.event(sys.argv[2], at=1.0, agent="a", kind="k", data={"n": seq})
"""
HOLDER = """
import sys, time
from pathlib import Path
from delegator.journal import Journal
with Journal(Path(sys.argv[1])) as journal, journal.claimed(sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@requirement("W2")
def test_processes_that_make_and_write_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(n)]) for n in range(6)]
    assert [process.wait(SECONDS) for process in started] == [0] * 6
    with Past(tmp_path) as past:
        for n in range(6):
            assert len(past.events(str(n))) == 300
            assert past.broken_link(str(n)) is None


@requirement("W2")
@requirement("W5")
def test_who_must_wait_for_another_process_to_write_lets_everything_else_go_on(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        async with asyncio.timeout(SECONDS):
            with Journal(tmp_path) as journal, another(tmp_path) as other:
                other.execute("begin immediate")
                begin(journal)
                flushing = asyncio.ensure_future(journal.flush())
                for _ in range(100):
                    await asyncio.sleep(0)
                assert not flushing.done()
                other.execute("commit")
                await flushing
                assert len(rows(tmp_path, "runs")) == 1

    asyncio.run(go())


@requirement("W5")
def test_who_waits_for_another_process_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_SECONDS", 0.05)

    async def go() -> None:
        async with asyncio.timeout(SECONDS):
            with Journal(tmp_path) as journal, another(tmp_path) as other:
                other.execute("begin immediate")
                begin(journal)
                with pytest.raises(JournalError, match="database is locked"):
                    await journal.flush()

    asyncio.run(go())


@requirement("W5")
def test_tidying_up_does_not_wait_for_who_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_SECONDS", 3_600.0)
    with Journal(tmp_path) as journal, another(tmp_path) as reader:
        begin(journal)
        reader.execute("begin")
        reader.execute("select * from runs").fetchall()  # it sees this state until it ends
        tell(journal, "other", 1)
        tidying = threading.Thread(target=_checkpointed, args=(journal.path,), daemon=True)
        tidying.start()
        tidying.join(SECONDS)
        assert not tidying.is_alive()


def another(home: Path) -> closing[sqlite3.Connection]:
    """What another process does to a journal."""
    return closing(sqlite3.connect(home / FILE, isolation_level=None))


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with Journal(tmp_path / "home") as journal:
        begin(journal)
        for path in (tmp_path / "home").glob(f"{FILE}*"):
            assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "home" / "runs").stat().st_mode & 0o777 == 0o700


# --- what was changed shows


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with one run of twenty events."""
    home = tmp_path_factory.mktemp("story")
    with Journal(home) as journal:
        for seq in range(1, 21):
            tell(journal, "r", seq, text=f"event {seq}")
        journal.end("r", outcome="complete", answer={}, at=9.0)
    return home


@contextmanager
def tampered(story: Path) -> Iterator[tuple[sqlite3.Connection, Past]]:
    """The story, open for changes that are taken back."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        with closing(sqlite3.connect(story / FILE)) as source:
            source.backup(copy)
        with Past(story) as past:
            real, past._connection = past._connection, copy
            copy.row_factory = sqlite3.Row
            yield copy, past
            past._connection = real


N = f"place % {ENTRIES}"
CHANGES = {
    "at": "at + 0.5",
    "agent": "'D9'",
    "kind": "kind || 'x'",
    "data": "replace(data, 'event', 'Event')",
    "text": "x'00'",
    "chain": "zeroblob(32)",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seq=st.integers(1, 20), column=st.sampled_from(sorted(CHANGES)))
def test_a_changed_event_is_found(story: Path, seq: int, column: str) -> None:
    with tampered(story) as (copy, past):
        assert past.broken_link("r") is None
        copy.execute(f"update entries set {column} = {CHANGES[column]} where {N} = ?", (seq,))  # noqa: S608
        assert past.broken_link("r") == seq


@given(gone=st.sets(st.integers(1, 20), min_size=1))
def test_a_removed_event_is_found_the_last_ones_too(story: Path, gone: set[int]) -> None:
    with tampered(story) as (copy, past):
        copy.executemany(f"delete from entries where {N} = ?", [(seq,) for seq in gone])  # noqa: S608
        assert past.broken_link("r") == min(gone)


@given(pair=st.tuples(st.integers(1, 20), st.integers(1, 20)).filter(lambda p: p[0] != p[1]))
def test_swapped_events_are_found(story: Path, pair: tuple[int, int]) -> None:
    one, other = sorted(pair)
    with tampered(story) as (copy, past):
        for before, after in ((one, 99), (other, one), (99, other)):
            move = f"update entries set place = place + ? where {N} = ?"  # noqa: S608
            copy.execute(move, (after - before, before))
        assert past.broken_link("r") == one


@settings(deadline=None)
@given(after=st.integers(1, 20), data=st.text(max_size=5))
def test_an_added_event_is_found(story: Path, after: int, data: str) -> None:
    with tampered(story) as (copy, past):
        for seq in range(20, after, -1):
            copy.execute(f"update entries set place = place + 1 where {N} = ?", (seq,))  # noqa: S608
        copy.execute(
            "insert into entries values (?, 1.0, 'a', 'k', ?, null, ?)",
            (ENTRIES + after + 1, json.dumps(data), bytes(32)),
        )
        assert past.broken_link("r") == after + 1


def test_a_chain_goes_on_where_an_earlier_process_left_it(story: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes((story / FILE).read_bytes())
    with Past(tmp_path) as past:
        last = past.last("r")
    assert last is not None
    with Journal(tmp_path) as journal:
        journal.continues("r", last["n"], last["chain"], calls=0, places=0)
        tell(journal, "r", 21)
    with Past(tmp_path) as past:
        assert past.broken_link("r") is None
        assert len(past.events("r")) == 21
        assert past.lives("r") == [2.1]
    with Journal(tmp_path) as journal:  # one that has the number and not the hash
        journal.continues("r", 22, b"", calls=0, places=0)
        tell(journal, "r", 22)
    with Past(tmp_path) as past:
        assert past.broken_link("r") == 23


# --- who holds a run


def held(journal: Journal, run: str) -> ConfigError:
    """What is said to who wants a run that another holds."""
    with pytest.raises(ConfigError) as caught, journal.claimed(run):
        pass
    return caught.value


@requirement("W2")
def test_a_run_is_held_once_and_then_let_go(tmp_path: Path) -> None:
    one, other = Journal(tmp_path), Journal(tmp_path)
    for _ in range(3):
        with one.claimed("r"), other.claimed("another"):
            for journal in (one, other):
                error = held(journal, "r")
                assert str(error) == "run r is at work in another process"
                assert error.hint
        with other.claimed("r"):
            pass
    assert list((tmp_path / "runs").iterdir()) == []


@requirement("W2")
def test_a_hold_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path, "r"], stdout=-1) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        journal = Journal(tmp_path)
        with pytest.raises(ConfigError, match="at work in another"), journal.claimed("r"):
            pass
        holder.kill()
        holder.wait()
        with journal.claimed("r"):
            pass


@requirement("W2")
def test_a_lock_whose_file_its_last_holder_took_away_is_no_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, locked = Journal(tmp_path), claim._locked
    path = tmp_path / "runs" / "r.lock"
    taken: list[int] = []

    def just_gone(file: int) -> bool:
        if not taken:  # between opening and locking it, the last holder ends
            path.unlink()
        taken.append(os.fstat(file).st_ino)
        return locked(file)

    monkeypatch.setattr(claim, "_locked", just_gone)
    with journal.claimed("r"):
        assert path.stat().st_ino == taken[1]
        monkeypatch.undo()
        with pytest.raises(ConfigError), Journal(tmp_path).claimed("r"):
            pass
    assert len(taken) == 2


# --- what goes wrong has a name


def refused(home: Path, who: Callable[[Path], Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        who(home)
    assert "\n" not in f"{caught.value}{caught.value.hint}"
    assert str(home) in str(caught.value)
    return caught.value


@requirement("cli:errors")
@pytest.mark.parametrize("content", [b"not a database, but long enough to look at" * 40, b"short"])
def test_a_file_that_is_no_database_is_named_and_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    error = refused(tmp_path, Journal)
    assert "--no-journal" in error.hint
    assert "file is not a database" in refused(tmp_path, Past).hint
    assert (tmp_path / FILE).read_bytes() == content


@requirement("cli:errors")
def test_a_file_of_a_newer_version_is_named_and_left_alone(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        begin(journal)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("pragma user_version = 2")
    error = refused(tmp_path, Journal)
    assert "newer version" in str(error)
    assert "Update delegator" in error.hint
    assert "newer version" in str(refused(tmp_path, Past))
    assert len(rows(tmp_path, "runs")) == 1


def test_a_file_of_an_earlier_version_is_brought_up_to_date_and_keeps_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path) as journal:
        tell(journal, "r", 1)
    later = (*file._SCHEMAS, "alter table runs add column mood text;\n")
    monkeypatch.setattr(file, "_SCHEMAS", later)
    monkeypatch.setattr(file, "VERSION", len(later))
    for _ in range(2):
        with Journal(tmp_path), Past(tmp_path) as past:
            assert past.run("r")["mood"] is None
            assert past.broken_link("r") is None
            assert len(past.events("r")) == 1


@requirement("cli:errors")
def test_a_home_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")  # as root nothing is denied

    monkeypatch.setattr(Path, "mkdir", denied)
    error = refused(tmp_path, Journal)
    assert error.hint == "Permission denied. Choose another --home, or go on with --no-journal."


@requirement("cli:errors")
def test_where_there_is_no_journal_there_is_no_past(tmp_path: Path) -> None:
    refused(tmp_path, Past)
    Journal(tmp_path)
    with Past(tmp_path) as past:
        assert past.runs(5) == []
        with pytest.raises(ConfigError, match="there is no such run"):
            past.run("r")


def test_a_run_is_found_by_a_beginning_that_fits_one_only(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for run in ("abc", "abd", "ab", "x%"):
            begin(journal, run)
    with Past(tmp_path) as past:
        assert past.run("abc")["id"] == "abc"
        assert past.run("ab")["id"] == "ab"
        assert past.run("x")["id"] == "x%"
        with pytest.raises(ConfigError, match="more than one run"):
            past.run("a")
        with pytest.raises(ConfigError, match="no such run"):
            past.run("%")


class Full(Journal):
    """A journal on a disk with room for so many pages more."""

    pages = 0

    def _commit(self, connection: sqlite3.Connection, batch: _Batch, **how: Any) -> None:
        (now,) = connection.execute("pragma page_count").fetchone()
        self.limit = getattr(self, "limit", now + self.pages)
        connection.execute(f"pragma max_page_count = {self.limit}")
        super()._commit(connection, batch, **how)


@requirement("W5")
def test_on_a_full_disk_a_flush_fails_and_so_do_all_after_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with asyncio.timeout(SECONDS):
            with Full(tmp_path) as journal:
                await journal.flush()
                tell(journal, "r", 1, text="x" * 100_000)
                with pytest.raises(JournalError) as caught:
                    await journal.flush()
                assert str(caught.value) == (
                    "the journal cannot be written (database or disk is full)"
                )
                assert "--no-journal" in caught.value.hint
                tell(journal, "r", 2)
                with pytest.raises(JournalError):
                    await journal.flush()

    asyncio.run(go())
    assert rows(tmp_path, "entries") == []


@requirement("W5")
@requirement("B3")
@pytest.mark.parametrize("pages", range(7))
def test_a_run_on_a_full_disk_fails_with_what_was_found_and_asks_no_more(
    pages: int, docs: Path, tmp_path: Path
) -> None:
    steps = [delegate("a"), delegate("b"), delegate("c"), say("BM25 ranks [11].")]
    model = Scripted(
        {"orchestrator": steps, "D1": researcher(), "D2": researcher(), "D3": researcher()}
    )

    async def go() -> Answer:
        journal = Full(tmp_path)
        journal.pages = pages
        async with asyncio.timeout(SECONDS):
            with journal:
                async with delegator.start(
                    "What is BM25?", docs=[docs], model=model, journal=journal
                ) as run:
                    return await run.answer()

    answer = asyncio.run(go())
    if answer.outcome is Outcome.COMPLETE:
        assert pages > 2
        return
    assert (answer.outcome, answer.stop) == (Outcome.FAILED, "journal")
    assert isinstance(answer.error, JournalError)
    if answer.delegations and answer.delegations[0].report:
        assert "BM25 ranks. [1]" in answer.text
    with Past(tmp_path) as past:  # what it holds is whole
        for run in past.runs(1):
            assert past.broken_link(run["id"]) is None
            assert len(past.calls(run["id"])) >= len(model.requests) - 1


# --- what is forgotten


def test_what_is_forgotten_was_that_runs_alone(tmp_path: Path) -> None:
    large = "large" * LARGE
    with Journal(tmp_path) as journal:
        for run in ("one", "other"):
            tell(journal, run, 1)
            journal.opened(run, CALL, at=1.0)
            journal.placed(run, "p", "D1", at=1.0)
            journal.ran(run, "D1/1/x", {"shared": large}, at=1.0)
            journal.ran(run, "D1/1/y", {"of": run, "more": large}, at=1.0)
            journal.ran(run, "D1/1/z", {"small": run}, at=1.0)
    assert len(rows(tmp_path, "texts")) == 3
    with Journal(tmp_path) as journal:  # somebody is at work
        forget(tmp_path, ["one", "nobody"])
        begin(journal, "third")
    with Past(tmp_path) as past:
        assert {row["id"] for row in past.runs(9)} == {"other", "third"}
        assert list(past.tools("other")) == [
            ("D1/1/x", {"shared": large}),
            ("D1/1/y", {"of": "other", "more": large}),
            ("D1/1/z", {"small": "other"}),
        ]
        assert past.broken_link("other") is None
        for of in (past.events, past.calls, past.tools, past.places):
            assert list(of("one")) == []
            assert len(list(of("other"))) >= 1
    assert len(rows(tmp_path, "texts")) == 2
    assert b'"of":"one"' not in (tmp_path / FILE).read_bytes()
    assert b'"small":"one"' not in (tmp_path / FILE).read_bytes()


@requirement("W2")
def test_a_run_at_work_is_not_forgotten_and_no_run_gets_the_place_of_another(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path) as journal, journal.claimed("one"):
        tell(journal, "one", 1)
        with pytest.raises(ConfigError, match="run one is at work"):
            forget(tmp_path, ["one"])
    forget(tmp_path, ["one"])
    with Journal(tmp_path) as journal:
        begin(journal, "other")
    assert [row[0] for row in rows(tmp_path, "runs")] == [2]


def test_a_large_text_that_was_changed_shows(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        begin(journal)
        journal.ran("r", "D1/1/x", {"text": "x" * LARGE}, at=1.0)
    for change in ("update texts set text = replace(text, 'xx', 'xy')", "delete from texts"):
        with closing(sqlite3.connect(tmp_path / FILE)) as connection:
            connection.execute(change)
            connection.commit()
        with Past(tmp_path) as past:
            assert past.broken_link("r") == 1


def test_a_large_result_is_kept_once(tmp_path: Path) -> None:
    large = {"text": "x" * LARGE}
    with Journal(tmp_path) as journal:
        begin(journal)
        for n in range(9):
            journal.ran("r", f"D1/{n}/x", large, at=1.0)
    assert len(rows(tmp_path, "texts")) == 1
    with Past(tmp_path) as past:
        assert dict(past.tools("r")) == {f"D1/{n}/x": large for n in range(9)}


# --- what is not in it


@requirement("W2")
def test_no_key_and_no_header_is_put_on_record(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary-93417")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Canary: header-canary")
    held: list[bytes] = []

    async def go() -> Answer:
        async with (
            asyncio.timeout(SECONDS),
            MessagesApi(playing(delegates("a"), says("BM25 ranks [11]."))) as api,
            Claude(base_url=api.url) as model,
        ):
            with Journal(tmp_path) as journal:
                async with delegator.start(
                    "What is BM25?", docs=[docs], model=model, journal=journal
                ) as run:
                    answer = await run.answer()
                held.extend(path.read_bytes() for path in tmp_path.glob(f"{FILE}*"))
            assert any("canary" in str(e.headers) for e in api.exchanges)
            return answer

    assert asyncio.run(go()).outcome is Outcome.COMPLETE
    held.extend(path.read_bytes() for path in tmp_path.glob(f"{FILE}*"))
    whole = b"".join(held).lower()
    assert b"bm25 is a ranking function" in whole
    for secret in (b"canary", b"bearer", b"x-api-key", b"authorization", b"anthropic-version"):
        assert secret not in whole
    assert b"127.0.0.1" not in whole


def test_no_prompt_is_put_on_record(docs: Path, tmp_path: Path) -> None:
    async def go() -> Answer:
        with Journal(tmp_path) as journal:
            async with delegator.start(
                "What is BM25?", docs=[docs], model=Counted(), journal=journal
            ) as run:
                return await run.answer()

    asyncio.run(go())
    whole = (tmp_path / FILE).read_bytes()
    for name in ("researcher", "critic", "orchestrator"):
        prompt = delegator.agents.shipped(name).prompt.encode()
        assert prompt[:60] not in whole


# --- what is written can be read

names = st.text(max_size=20)
labels = st.builds(
    Label,
    integrity=st.sampled_from(Integrity),
    confidentiality=st.sampled_from(Confidentiality),
    sources=st.frozensets(names, max_size=4),
)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, data, max_size=4)
blocks = st.one_of(
    st.builds(Text, text=st.text()),
    st.builds(ToolUse, id=names, name=names, input=objects),
    st.builds(ToolResult, tool_use_id=names, text=st.text(), is_error=st.booleans()),
    st.builds(
        Opaque,
        data=objects.map(lambda more: {**more, "type": "thinking"})
        | st.builds(lambda t, c: {"type": "text", "text": t, "citations": c}, st.text(), objects),
    ),
)


def through_the_file(value: Any) -> Any:
    return json.loads(dumped(value))


@requirement("W2")
@given(labels)
def test_a_label_is_read_as_it_was_written(label: Label) -> None:
    assert Label.from_json(through_the_file(label.to_json())) == label


@requirement("W2")
@given(blocks)
def test_a_block_is_read_as_it_was_written(block: Block) -> None:
    assert block_from_wire(through_the_file(block_to_wire(block))) == block


@requirement("W2")
@given(st.lists(blocks, max_size=3), st.sampled_from(Stop), names)
def test_a_reply_is_read_as_it_was_written(content: list[Block], stop: Stop, named: str) -> None:
    usage = delegator.Usage(input_tokens=1)
    reply = Reply(content=tuple(content), stop=stop, usage=usage, stop_named=named)
    assert reply_of(through_the_file(reply_to_json(reply)), usage) == reply


@requirement("W2")
@given(
    st.builds(
        Attempt,
        st.none()
        | st.builds(
            ToolOutput,
            data=objects,
            label=labels,
            sources=st.lists(st.builds(SourceSeen, id=names, sha256=names), max_size=3).map(tuple),
            is_error=st.booleans(),
        ),
        names,
        rejected=st.booleans(),
        rule=names,
    )
)
def test_what_a_tool_did_is_read_as_it_was_written(done: Attempt) -> None:
    assert attempt_of(through_the_file(attempt_to_json(done))) == done


@requirement("W2")
def test_words_that_are_no_text_and_numbers_that_are_none_come_through_a_run(
    docs: Path, tmp_path: Path
) -> None:
    """Half a surrogate pair and a NaN in a tool's input: JSON as Python reads it."""
    odd = call("search", query="half \ud800", limit=float("nan"))
    model = Scripted(
        {"orchestrator": [delegate("a"), say("BM25 ranks [11].")], "D1": [odd, *researcher()]}
    )

    async def go() -> Answer:
        async with asyncio.timeout(SECONDS):
            with Journal(tmp_path) as journal:
                async with delegator.start(
                    "What is BM25?", docs=[docs], model=model, journal=journal
                ) as run:
                    return await run.answer()

    answer = asyncio.run(go())
    assert answer.outcome is Outcome.COMPLETE
    assert answer.delegations[0].outcome is Outcome.COMPLETE


def test_without_a_journal_nothing_is_kept_and_everything_is_new() -> None:
    recording = Recording()
    recording.begin("q", {})
    recording.keep_tool("k", Attempt(None, "p"))
    recording.end("complete", {})
    asyncio.run(recording.flush())
    assert recording.tool("k") is None
    assert recording.answered("D1/1") is None
    assert list(recording.paid) == []
    assert Recording().drawn("x") != Recording().drawn("x")
    assert untrusted("a").sources == {"a"}
