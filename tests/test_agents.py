"""Agents are values with closed schemas; agent files are read as people write them, and every mistake is named."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delegator.agents import ANSWER_SCHEMA, Agent, Loaded, load_agent, load_folder, shipped
from delegator.agents.agent import fields_of
from delegator.budget import Limits
from delegator.errors import ConfigError, DelegatorError
from delegator.tools import Tool, tool
from requirements import requirement

FIGURES = {
    "type": "object",
    "properties": {"figures": {"type": "array", "items": {"type": "number"}}},
    "additionalProperties": False,
}


def load(folder: Path, front: str, body: str = "You do it.", name: str = "a.md") -> Loaded:
    """The agent with this front matter."""
    path = folder / name
    path.write_text(f"---\n{front}\n---\n{body}\n")
    return load_agent(path)


def agent(folder: Path, *lines: str) -> Agent:
    """The agent with these lines of front matter after its name and description; nothing to warn about."""
    loaded = load(folder, "\n".join(["name: a", "description: Does it.", *lines]))
    assert loaded.warnings == ()
    return loaded.agent


# The agents that ship


@pytest.mark.parametrize(
    ("name", "tools", "reviews", "cites"),
    [
        ("orchestrator", (), False, False),
        ("researcher", ("search", "read"), False, True),
        ("critic", (), True, False),
    ],
)
def test_the_shipped_agents_load_with_valid_closed_schemas(
    name: str, tools: tuple[str, ...], reviews: bool, cites: bool
) -> None:
    one = shipped(name)
    one.schema.check()
    assert one.name == name
    assert one.tool_names == (tools or one.tool_names)
    assert (one.reviews, one.cites) == (reviews, cites)
    assert one.limits.model_calls
    assert one.output_schema["additionalProperties"] is False


def test_the_shipped_agents_ask_for_nothing_that_is_not_honoured() -> None:
    folder = Path(str(load_agent.__code__.co_filename)).parent
    assert [loaded.warnings for loaded in load_folder(folder)] == [()] * 5


def test_a_shipped_prompt_is_what_stands_in_its_file() -> None:
    path = Path(str(load_agent.__code__.co_filename)).with_name("critic.md")
    prompt = shipped("critic").prompt
    assert path.read_text(encoding="utf-8").endswith(f"---\n{prompt}")
    assert prompt.startswith("You are a critic.")


# Agents as values


def test_an_agent_is_a_value(tmp_path: Path) -> None:
    one = agent(tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.prompt = "another"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    "name", ["", "A", "a b", "1a", "a.b", "a/b", "a" * 41, "é", "a\n", "-a", "delegate to"]
)
@requirement("cli:errors")
def test_a_name_that_makes_no_tool_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not usable") as caught:
        Agent(name=name, description="d", prompt="p")
    assert caught.value.hint


@pytest.mark.parametrize("prompt", ["", " \n"])
@requirement("cli:errors")
def test_an_agent_without_a_prompt_is_refused(prompt: str) -> None:
    with pytest.raises(ConfigError, match="agent a has no prompt") as caught:
        Agent(name="a", description="d", prompt=prompt)
    assert caught.value.hint


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {},
        {"type": "object"},
        {"type": "object", "properties": {"x": {"type": "object"}}, "additionalProperties": False},
    ],
)
@requirement("W1")
def test_an_agent_whose_report_is_no_closed_object_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        Agent(name="a", description="d", prompt="p", output_schema=schema)
    assert caught.value.hint


def citing(**most: object) -> dict[str, object]:
    """A schema of claims that code can check, at most so many."""
    names = ["text", "source", "quote"]
    item = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    claims = {"type": "array", "items": item, **most}
    return {"type": "object", "properties": {"claims": claims}, "additionalProperties": False}


def test_an_agent_whose_claims_name_their_sources_cites() -> None:
    assert Agent(name="a", description="d", prompt="p", output_schema=citing(maxItems=9)).cites


@pytest.mark.parametrize("most", [{}, {"maxItems": "9"}, {"maxItems": 10}])
@requirement("cli:errors")
def test_more_claims_than_there_are_digits_are_refused(most: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="too many claims") as caught:
        Agent(name="a", description="d", prompt="p", output_schema=citing(**most))
    assert caught.value.hint


@pytest.mark.parametrize("claims", [True, {"items": True}, {"items": {}}, {}])
def test_a_schema_that_says_little_about_claims_is_no_citing_agent(claims: object) -> None:
    schema = {"type": "object", "properties": {"claims": claims}, "additionalProperties": False}
    assert fields_of(schema) == {"claims": claims}
    assert not Agent(name="a", description="d", prompt="p", output_schema=schema).cites


def test_what_is_no_schema_has_no_fields() -> None:
    assert [fields_of(schema) for schema in (True, None, {}, {"properties": True})] == [{}] * 4


def test_tools_are_named_whether_they_are_names_or_values() -> None:
    @tool
    def add(a: int) -> int:
        """Add."""
        return a

    tools: tuple[str | Tool, ...] = ("search", add)
    assert Agent(name="a", description="d", prompt="p", tools=tools).tool_names == ("search", "add")


# Front matter, as people write it


def test_an_agent_file_needs_a_name_a_description_and_a_prompt(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, "name: figures\ndescription: Collects figures.", "\n# You\n\ncollect.\n\n"
    )
    assert loaded.warnings == ()
    assert loaded.agent == Agent(
        name="figures",
        description="Collects figures.",
        prompt="# You\n\ncollect.\n",
        tools=("search", "read"),
        output_schema=ANSWER_SCHEMA,
        limits=Limits(),
        model="",
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("description: Use it: always.", "Use it: always."),
        ('description: "Say \\"hi\\"\\nto: all"', 'Say "hi"\nto: all'),
        ("description: 'It''s: here'", "It's: here"),
        ("description: Issue #12 of it", "Issue #12 of it"),
        ("description: >\n  Folded\n  lines", "Folded\nlines"),
        (
            "description: |-\n  Use when: asked\n\n  # and not else",
            "Use when: asked\n# and not else",
        ),
        ("description:\n  On the\n  next lines", "On the\nnext lines"),
        ("description: Begins here\n  and goes on", "Begins here\nand goes on"),
        ('description: "Quoted\n  on two lines"', "Quoted\non two lines"),
        ("# a comment\ndescription: D\n\n# another", "D"),
        ("description: 'odd", "'odd"),
        ('description: "odd', '"odd'),
    ],
)
def test_a_description_is_read_in_every_form(written: str, meant: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"name: a\n{written}").agent.description == meant


@pytest.mark.parametrize("name", ["a", '"a"', "'a'", "a  # short", '"a" # quoted'])
def test_a_name_is_read_in_every_form(name: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"name: {name}\ndescription: d").agent.name == "a"


@pytest.mark.parametrize(
    "tools",
    [
        "tools: read, search",
        "tools: [read, search]",
        'tools: ["read", "search"]',
        "tools: 'read', 'search'",
        'tools: "read, search"',
        "tools:\n  - read\n  - search",
        "tools:\n- read\n- 'search'  # both",
        "tools: [\n  read,\n  search,\n]",
        "tools: read, search, read",
        "tools: read, search # both",
    ],
)
def test_tools_are_read_in_every_form_of_a_list(tools: str, tmp_path: Path) -> None:
    assert agent(tmp_path, tools).tools == ("read", "search")


@pytest.mark.parametrize("tools", ["tools:", "tools: []", 'tools: ""', "tools: # none"])
def test_an_agent_may_have_no_tools(tools: str, tmp_path: Path) -> None:
    assert agent(tmp_path, tools).tools == ()


def test_an_agent_with_a_schema_of_its_own_has_the_tools_it_names_and_no_others(
    tmp_path: Path,
) -> None:
    schema = f"output_schema: {json.dumps(FIGURES)}"
    assert agent(tmp_path, schema).tools == ()
    assert agent(tmp_path, schema, "tools: read").tools == ("read",)


@pytest.mark.parametrize(
    ("model", "id"),
    [
        ("inherit", ""),
        ("sonnet", "claude-sonnet-5-5"),
        ('"opus"', "claude-opus-5-5"),
        ("haiku  # small", "claude-haiku-5-5"),
        ("claude-opus-5-5", "claude-opus-5-5"),
        ("", ""),
    ],
)
def test_a_model_is_an_alias_an_id_or_the_runs(model: str, id: str, tmp_path: Path) -> None:
    assert agent(tmp_path, f"model: {model}").model == id


def test_what_is_not_honoured_is_named_in_a_warning(tmp_path: Path) -> None:
    front = "name: a\ndescription: d\ncolor: red\ntools: Bash, read, WebFetch\nhooks:\n  x: y\npermissionMode: plan"
    loaded = load(tmp_path, front)
    assert loaded.agent.tools == ("read",)
    assert loaded.warnings == (
        "a.md: `color` is not honoured",
        "a.md: `hooks` is not honoured",
        "a.md: `permissionMode` is not honoured",
        "a.md: there is no tool `Bash`; it is left out",
        "a.md: there is no tool `WebFetch`; it is left out",
    )


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    text = "---\nname: a\ndescription: >\n  One\n  two\ntools:\n  - read\n---\n\nDo it.\n\nNow.\n"
    plain, other = tmp_path / "plain.md", tmp_path / "other.md"
    plain.write_bytes(text.encode())
    other.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load_agent(other).agent == load_agent(plain).agent


def test_a_rule_in_the_prompt_does_not_end_it(tmp_path: Path) -> None:
    body = "One.\n\n---\nname: b\n---\n\nTwo."
    assert load(tmp_path, "name: a\ndescription: d", body).agent.prompt == body + "\n"


@pytest.mark.parametrize(
    "written",
    [
        f"output_schema: {json.dumps(FIGURES)}",
        f"output_schema: '{json.dumps(FIGURES)}'",
        "output_schema: |\n"
        + "\n".join(f"  {line}" for line in json.dumps(FIGURES, indent=1).split("\n")),
        "output_schema: " + json.dumps(FIGURES, indent=1),
        "output_schema: figures.json",
        'output_schema: "figures.json"',
    ],
    ids=["line", "quoted", "block", "lines", "file", "quoted file"],
)
def test_an_output_schema_stands_in_place_or_in_a_file(written: str, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(json.dumps(FIGURES))
    assert agent(tmp_path, written).output_schema == FIGURES


@pytest.mark.parametrize(
    "written",
    [
        "limits: {model_calls: 8, seconds: 1.5}",
        "limits: model_calls: 8, seconds: 1.5",
        "limits:\n  model_calls: 8\n  seconds: 1.5",
        "limits:\n  # few\n  model_calls: 8  # no more\n  seconds: 1.5",
        'limits: {"model_calls": 8, "seconds": "1.5"}',
        "limits: {model_calls: 8,\n  seconds: 1.5\n}",
    ],
)
def test_limits_stand_in_place_or_one_a_line(written: str, tmp_path: Path) -> None:
    assert agent(tmp_path, written).limits == Limits(model_calls=8, seconds=1.5)


def test_a_limit_may_have_its_digits_grouped(tmp_path: Path) -> None:
    assert agent(tmp_path, "limits: {tokens: 100_000}").limits == Limits(tokens=100_000)


# Mistakes: every error names the file and what to do


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no front matter"),
        ("You do it.", "no front matter"),
        ("---\nname: a\n", "no front matter"),
        ("\n---\nname: a\n---\n", "no front matter"),
        ("---\ndescription: d\n---\nx", "lacks name"),
        ("---\nname: a\ndescription:\n---\nx", "lacks description"),
        ("---\n---\nx", "lacks name and description"),
        ("---\nname: a\ndescription: d\n---\n \n", "agent a has no prompt"),
        ("---\nname: A b\ndescription: d\n---\nx", "'A b' is not usable"),
        ("---\nname a\n---\nx", "line 2 is not `key: value`"),
        ("---\nname: a\n? b\n---\nx", "line 3 is not `key: value`"),
    ],
)
@requirement("cli:errors")
def test_a_file_that_is_no_agent_is_refused_by_name(
    text: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.md").write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_agent(tmp_path / "mine.md")
    assert str(caught.value).startswith("mine.md: ")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("output_schema: gone.json", "neither JSON nor a readable JSON file"),
        ("output_schema: .", "neither JSON nor a readable JSON file"),
        ("output_schema: {nonsense", "neither JSON nor a readable JSON file"),
        ("output_schema: notes.txt", "neither JSON nor a readable JSON file"),
        ("output_schema: list.json", "no JSON Schema"),
        ("output_schema: {}", "not that of an object"),
        ('output_schema: {"type": "object"}', "leaves an object open"),
        ("limits: {cups: 3}", "there is no limit `cups`"),
        ("limits: 5", "there is no limit `5`"),
        ("limits: {tokens: many}", "limit tokens is not a number"),
        ("limits: {tokens: 1.5}", "limit tokens is not a number"),
        ("limits: {tokens}", "limit tokens is not a number"),
        ("limits: {seconds: 0}", "seconds must be more than zero"),
        ("limits: {seconds: nan}", "seconds must be more than zero"),
        ("limits: {model_calls: -1}", "model_calls must be more than zero"),
    ],
)
@requirement("cli:errors")
def test_a_field_that_does_not_work_is_refused_by_name(
    written: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ConfigError, match=problem) as caught:
        agent(tmp_path, written)
    assert str(caught.value).startswith("a.md: ")
    assert caught.value.hint


@requirement("cli:errors")
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes("---\nname: é".encode("latin-1"))
    for path in (tmp_path / "gone.md", tmp_path, tmp_path / "latin.md"):
        with pytest.raises(ConfigError, match="cannot read agent file") as caught:
            load_agent(path)
        assert str(path) in str(caught.value)
        assert caught.value.hint


FRONT = (
    "name: description: tools: limits: output_schema: model: a \" ' # - > | { } [ ] , : 1 read json"
)


@given(st.lists(st.sampled_from([*FRONT.split(), "\n", " ", "\n  "]), max_size=30).map("".join))
@example('name: "a\ndescription: d')
def test_any_front_matter_is_an_agent_or_a_refusal_with_the_files_name(front: str) -> None:
    path = Path(__file__).with_name("any.md")
    text = f"---\nname: a\ndescription: d\n{front}\n---\nDo it."
    problem = "any.md: "
    try:
        Reading(text).load(path)
    except DelegatorError as error:
        problem = str(error)
    assert problem.startswith("any.md: ")


class Reading:
    """A file that need not be on disk."""

    def __init__(self, text: str) -> None:
        self.text = text

    def load(self, path: Path) -> Loaded:
        outer = self

        class InMemory(type(path)):  # type: ignore[misc]  # a path of this system
            def read_text(self, *_: object, **__: object) -> str:
                return outer.text

        return load_agent(InMemory(path))


# Folders


def test_a_folder_gives_its_agents_in_order_of_their_file_names(tmp_path: Path) -> None:
    load(tmp_path, "name: z\ndescription: d", name="1.md")
    load(tmp_path, "name: y\ndescription: d\ncolor: red", name="2.md")
    (tmp_path / "notes.txt").write_text("no agent")
    found = load_folder(tmp_path)
    assert [loaded.agent.name for loaded in found] == ["z", "y"]
    assert [loaded.warnings for loaded in found] == [(), ("2.md: `color` is not honoured",)]


@requirement("cli:errors")
def test_two_agents_of_one_name_are_refused_by_name(tmp_path: Path) -> None:
    load(tmp_path, "name: z\ndescription: d", name="1.md")
    load(tmp_path, "name: z\ndescription: d", name="2.md")
    with pytest.raises(ConfigError, match=r"^2\.md: .* named z") as caught:
        load_folder(tmp_path)
    assert caught.value.hint


@requirement("cli:errors")
def test_a_folder_that_is_not_there_or_holds_no_agent_is_refused_by_name(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ConfigError) as caught:
            load_folder(folder)
        assert str(folder) in str(caught.value)
        assert caught.value.hint


@requirement("cli:errors")
def test_a_schema_that_is_not_valid_is_refused_when_its_folder_is_loaded(tmp_path: Path) -> None:
    schema = (
        '{"type": "object", "properties": {"x": {"type": "text"}}, "additionalProperties": false}'
    )
    load(tmp_path, f"name: a\ndescription: d\noutput_schema: {schema}")
    with pytest.raises(ConfigError, match=r"^a\.md: .*not valid at"):
        load_folder(tmp_path)
