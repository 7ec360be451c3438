"""Runs in a notebook: the tree below the cell, through the interface that a kernel gives; nothing where nobody asked."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

import delegator
from delegator.errors import ConfigError
from delegator.terminal import notebook
from requirements import requirement
from scripts import delegate, one_delegation, researcher


class Cell:
    """What a kernel shows below a cell: each display, as it was last updated."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, str]] = []
        self.updates = 0

    def display(self, shown: Any, *, display_id: bool) -> "Cell":
        assert display_id
        self.bundles.append(shown._repr_mimebundle_([], []))
        return self

    def update(self, shown: Any) -> None:
        self.updates += 1
        self.bundles[-1] = shown._repr_mimebundle_([], [])


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A notebook, as far as a program can tell."""
    made = Cell()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]  # made here
    display.display = made.display  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(notebook, "REFRESH_SECONDS", -1.0)
    return made


def test_a_run_is_shown_once_and_kept_up_to_date_below_its_cell(docs: Path, cell: Cell) -> None:
    model = one_delegation(researcher())
    delegator.ask("q?", docs=[docs], model=model, on_event=delegator.notebook())
    (bundle,) = cell.bundles
    assert cell.updates > 5
    assert "✓ orchestrator" in bundle["text/plain"]
    assert "└─ ✓ D1 researcher  What is BM25?" in bundle["text/plain"]
    assert "What is BM25?" in bundle["text/html"]


@requirement("T8")
def test_no_text_of_a_run_becomes_markup(docs: Path, cell: Cell) -> None:
    evil = "<img src=x onerror=alert(1)> [bold]x[/bold] \x1b[31m &amp;"
    model = one_delegation(researcher())
    model._script["orchestrator"][0] = delegate(evil)  # type: ignore[index]  # a list, as given
    delegator.ask("q?", docs=[docs], model=model, on_event=delegator.notebook())
    html, text = cell.bundles[0]["text/html"], cell.bundles[0]["text/plain"]
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt; [bold]x[/bold] [31m &amp;amp;" in html
    assert "\x1b" not in html + text


def test_without_being_asked_a_notebook_shows_nothing(docs: Path, cell: Cell, capsys: Any) -> None:
    delegator.ask("q?", docs=[docs], model=one_delegation(researcher()))
    assert cell.bundles == []
    assert capsys.readouterr() == ("", "")


def test_outside_of_a_notebook_it_says_so() -> None:
    with pytest.raises(ConfigError, match="this is no notebook"):
        delegator.notebook()
