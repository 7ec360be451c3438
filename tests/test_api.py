"""Settings in, runs out: what is picked, what is refused, what is left behind."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

import delegator
from delegator.api import Settings, checked_question, open_index, open_model
from delegator.home import data_home
from delegator.models.scripted import Scripted, call
from delegator.outcome import Outcome
from requirements import requirement
from scripts import researcher


def test_every_public_name_can_be_loaded_and_is_listed() -> None:
    assert set(delegator.__all__) == set(delegator._HOMES)
    for name in delegator.__all__:
        assert getattr(delegator, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = delegator.nonsense


@pytest.mark.parametrize(
    ("settings", "environment", "offline"),
    [
        (Settings(), {}, True),
        (Settings(offline=True), {"ANTHROPIC_API_KEY": "x"}, True),
        (Settings(), {"ANTHROPIC_API_KEY": "x"}, False),
        (Settings(), {"ANTHROPIC_AUTH_TOKEN": "x"}, False),
        (Settings(), {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, False),
        (Settings(base_url="http://127.0.0.1:1"), {}, False),
        (Settings(model="bedrock:some"), {}, False),
        (Settings(model="claude-opus-5-5"), {}, False),
    ],
)
def test_the_offline_model_plays_where_nothing_else_is_configured(
    settings: Settings, environment: dict[str, str], offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings.plays_offline is offline


@pytest.mark.parametrize("text", ["", "  \n ", "\x00\x1b\u202e", "\ud800"])
@requirement("cli:errors")
def test_a_question_without_visible_words_is_refused_by_name(text: str) -> None:
    with pytest.raises(delegator.ConfigError, match="the question is empty"):
        checked_question(text)


@requirement("cli:errors")
def test_a_question_of_a_megabyte_is_refused_by_name() -> None:
    with pytest.raises(delegator.ConfigError, match="1,000,000 characters"):
        checked_question("x" * 1_000_000)


def test_a_question_is_cleaned_of_what_nobody_can_see() -> None:
    assert checked_question("What\x00 is\u200b BM25\x1b[2J?") == "What is BM25[2J?"


@requirement("cli:errors")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such file or folder"),
        ("empty", "no readable documents"),
        ("pictures", "1 binary"),
    ],
)
def test_documents_that_cannot_be_used_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    with pytest.raises(delegator.ConfigError, match=message):
        open_index([tmp_path / name])


def test_a_folder_that_may_not_be_read_is_named(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(delegator.ConfigError, match="permission denied"):
        open_index([docs])


def test_an_index_that_cannot_be_written_is_kept_in_memory_and_says_so(
    docs: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    notices: list[str] = []
    index = open_index([docs], tmp_path / "home", notice=notices.append)
    assert len(index) == 2
    assert "kept in memory" in notices[0]
    index.close()


def test_an_index_is_kept_for_the_next_time(docs: Path, tmp_path: Path) -> None:
    for expected in (2, 0):
        index = open_index([docs], tmp_path / "home")
        assert index.refreshed.added == expected
        index.close()
    (database,) = (tmp_path / "home" / "index").glob("*.sqlite")
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from document").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"DELEGATOR_HOME": "/x/y"}, "/x/y"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/delegator"),
        ("linux", {"HOME": "/home/me"}, "/home/me/.local/share/delegator"),
        ("darwin", {"HOME": "/home/me"}, "/home/me/Library/Application Support/delegator"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/delegator"),
    ],
)
def test_files_are_kept_where_the_platform_keeps_them(
    platform: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DELEGATOR_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert data_home() == Path(expected)


def test_the_model_of_the_settings_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")

    async def ids() -> list[str]:
        found = []
        for settings in (Settings(offline=True), Settings(model="claude-opus-5-5"), Settings()):
            async with open_model(settings) as model:
                found.append(model.id)
        return found

    assert asyncio.run(ids()) == ["offline", "claude-opus-5-5", "claude-sonnet-5-5"]


def test_a_subagent_can_be_called_like_a_function(docs: Path) -> None:
    events: list[delegator.Event] = []
    result = asyncio.run(
        delegator.run_agent(
            delegator.shipped("researcher"),
            "What is BM25?",
            docs=[docs],
            model=Scripted({"researcher": researcher()}),
            on_event=events.append,
        )
    )
    assert result.outcome is Outcome.COMPLETE
    assert result.claims[0].verified
    assert [event.kind for event in events[:2]] == ["delegation_started", "agent_started"]
    assert events[-1].kind == "delegation_finished"


def test_an_own_agent_takes_the_place_of_its_namesake(docs: Path) -> None:
    mine = delegator.Agent(name="researcher", description="Mine.", prompt="My own prompt.")
    model = Scripted(
        {
            "orchestrator": [call("delegate_to_researcher", task="x"), call("nothing")] * 2,
            "researcher": [call("submit_report", answer="done")] * 2,
        }
    )
    delegator.ask("What is BM25?", docs=[docs], model=model, agents=[mine])
    assert model.shown("D1")[0].system.startswith("My own prompt.")


def test_ask_works_where_an_event_loop_is_running(docs: Path) -> None:
    async def notebook() -> delegator.Answer:
        return delegator.ask("What is BM25?", docs=[docs], offline=True)

    assert asyncio.run(notebook()).outcome is Outcome.COMPLETE


def test_an_agent_with_more_claims_than_there_are_numbers_is_refused() -> None:
    schema = {
        **delegator.shipped("researcher").output_schema,
    }
    claims = {**schema["properties"]["claims"], "maxItems": 10}
    schema["properties"] = {**schema["properties"], "claims": claims}
    with pytest.raises(delegator.ConfigError, match="too many claims"):
        delegator.Agent(name="x", description="x", prompt="x", output_schema=schema)
