"""The README does what it says: its Python runs, its output is real, its files exist, its options are the program's."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from delegator.api import Settings
from delegator.cli.commands import cli
from delegator.explain import explain
from delegator.trust import Level

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_the_first_block_prints_what_the_readme_shows() -> None:
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert _run(PYTHON[0]) == shown[1]


@pytest.mark.parametrize("code", PYTHON[1:])
def test_every_other_python_block_runs_and_prints(code: str) -> None:
    assert _run(code).strip()


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_option_and_command_in_the_readme_exists() -> None:
    common = (*cli.commands["ask"].params, *cli.commands["chat"].params)
    options = {name for param in common if isinstance(param, click.Option) for name in param.opts}
    table = re.findall(r"^\| (`--.*?) \|", README, re.MULTILINE)
    named = set(re.findall(r"`(--[a-z-]+)", " ".join(table)))
    assert named <= options
    assert options - named == {"-q", "-v"}
    commands = set(re.findall(r"^delegator ([a-z]+) ", README, re.MULTILINE))
    assert commands == set(cli.commands)


def test_the_layout_names_every_module() -> None:
    layout = README[README.index("## Layout") :]
    modules = {
        path.stem
        for path in (ROOT / "delegator").iterdir()
        if not path.name.startswith("_")
        and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert [name for name in modules if not re.search(rf"\b{name}\b", layout)] == []


def test_the_bits_in_the_readme_are_the_ones_that_are_computed() -> None:
    told = re.search(
        r"\(([\d,]+) for\na researcher's report at `typed`, ([\d.]+) at `sealed`\)", README
    )
    assert told is not None
    for level, number in zip((Level.TYPED, Level.SEALED), told.groups(), strict=True):
        boundaries = explain(Settings(level=level)).boundaries
        (carried,) = [b.bits for b in boundaries if b.name == "researcher → orchestrator"]
        digits = 1 if "." in number else 0
        assert round(carried, digits) == float(number.replace(",", ""))


def test_the_readme_names_every_level_in_order() -> None:
    assert re.findall(r"^\| `([a-z]+)`(?: \(default\))? \|", README, re.MULTILINE) == list(Level)
