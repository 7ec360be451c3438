"""`delegator.toml` gives the settings of the command line, and every mistake in it is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegator.errors import ConfigError
from delegator.settings_file import NAME, read_settings_file
from requirements import requirement

EVERY_SETTING = """
docs = ["notes", "~/papers"]
model = "claude-opus-5-5"
base_url = "http://127.0.0.1:8080"
offline = false
max_tokens = 100_000
max_seconds = 1.5
max_calls = 20
max_delegations = 4
max_parallel = 2
agents = "agents"
home = "~/.here"
quiet = true
verbose = false
"""


def read(folder: Path, text: str) -> dict[str, object]:
    (folder / NAME).write_text(text, encoding="utf-8")
    return read_settings_file(folder)


def test_without_a_file_there_are_no_settings(tmp_path: Path) -> None:
    assert read_settings_file(tmp_path) == {}


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == {}


def test_every_setting_can_be_given(tmp_path: Path) -> None:
    assert read(tmp_path, EVERY_SETTING) == {
        "docs": ["notes", "~/papers"],
        "model": "claude-opus-5-5",
        "base_url": "http://127.0.0.1:8080",
        "offline": False,
        "max_tokens": 100_000,
        "max_seconds": 1.5,
        "max_calls": 20,
        "max_delegations": 4,
        "max_parallel": 2,
        "agents": "agents",
        "home": "~/.here",
        "quiet": True,
        "verbose": False,
    }


def test_the_file_is_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_text("quiet = true")
    monkeypatch.chdir(tmp_path)
    assert read_settings_file() == {"quiet": True}


def test_settings_may_be_written_as_on_the_command_line(tmp_path: Path) -> None:
    assert read(tmp_path, "max-tokens = 5\nbase-url = 'x'") == {"max_tokens": 5, "base_url": "x"}


def test_one_folder_of_documents_needs_no_list(tmp_path: Path) -> None:
    assert read(tmp_path, 'docs = "notes"') == {"docs": ["notes"]}


def test_whole_seconds_need_no_point(tmp_path: Path) -> None:
    assert read(tmp_path, "max_seconds = 60") == {"max_seconds": 60}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("docs = 5", "docs"),
        ("docs = [5]", "docs"),
        ('docs = [""]', "docs"),
        ('docs = ["a\\u0000b"]', "docs"),
        ("model = 5", "model"),
        ('model = ""', "model"),
        ("base_url = true", "base_url"),
        ("offline = 1", "offline"),
        ('offline = "yes"', "offline"),
        ("max_tokens = 0", "max_tokens"),
        ("max_tokens = -5", "max_tokens"),
        ("max_tokens = 5.0", "max_tokens"),
        ("max_tokens = true", "max_tokens"),
        ('max_tokens = "5"', "max_tokens"),
        ("max_seconds = 0", "max_seconds"),
        ("max_seconds = nan", "max_seconds"),
        ("max_seconds = inf", "max_seconds"),
        ("max_calls = 1.5", "max_calls"),
        ("max_delegations = []", "max_delegations"),
        ("max_parallel = 0", "max_parallel"),
        ("agents = [1]", "agents"),
        ("home = 1979-05-27", "home"),
        ("quiet = {}", "quiet"),
        ("verbose = 0", "verbose"),
    ],
)
@requirement("cli:errors")
def test_a_value_that_does_not_fit_is_refused_by_the_name_of_its_setting(
    line: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"^delegator\.toml: {name}\b") as caught:
        read(tmp_path, line)
    assert str(tmp_path / NAME) in caught.value.hint


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("colour = 1", "colour"),
        ("[limits]\ntokens = 5", "limits"),
        ('"a\\nb\\u001b[31m" = 1', "a b"),
        (f"{'x' * 500} = 1", "x" * 39),
        ('"" = 1', ""),
    ],
)
@requirement("cli:errors")
def test_an_unknown_setting_is_refused_by_its_name_and_the_known_ones_are_listed(
    line: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"there is no setting {name}") as caught:
        read(tmp_path, line)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 100
    assert "max_tokens" in caught.value.hint


@pytest.mark.parametrize("text", ["docs = [", "quiet = yes", "a = 1\na = 2", "= 5", "model = 'x"])
@requirement("cli:errors")
def test_what_is_not_toml_is_refused_with_its_place(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^delegator\.toml is not valid TOML$") as caught:
        read(tmp_path, text)
    assert caught.value.hint


@requirement("cli:errors")
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes("home = 'é'".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"^cannot read delegator\.toml$"):
        read_settings_file(tmp_path)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    with pytest.raises(ConfigError, match=r"^cannot read delegator\.toml$") as caught:
        read_settings_file(tmp_path)
    assert caught.value.hint


@requirement("cli:errors")
def test_a_file_nested_without_end_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^delegator\.toml is nested too deep$") as caught:
        read(tmp_path, "docs = " + "[" * 100_000)
    assert caught.value.hint


class Toml:
    """A folder with one file, which need not be on disk."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __truediv__(self, name: str) -> "Toml":
        assert name == NAME
        return self

    def read_text(self, *, encoding: str) -> str:
        assert encoding == "utf-8"
        return self.text


KEYS = "docs model offline max_tokens max-seconds home quiet other".split()
VALUES = '1 0 -1 1.5 nan inf true "x" "" [] ["a"] {} [1] [[]] 1979-05-27 \'y\''.split()


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES))).map(
        lambda pairs: "\n".join(f"{key} = {value}" for key, value in pairs)
    )
    | st.text()
)
def test_any_file_is_settings_or_a_refusal_by_name(text: str) -> None:
    problem = NAME
    values: dict[str, object] = {}
    try:
        values = read_settings_file(Toml(text))  # type: ignore[arg-type]  # all it needs of a path
    except ConfigError as error:
        problem = str(error)
    assert NAME in problem
    assert all(
        value not in (0, -1, "", float("inf")) or value is False for value in values.values()
    )
