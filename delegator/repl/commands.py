"""What a person can say to a chat beside questions. Each command returns what to print, and changes nothing when it refuses."""

import asyncio
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from delegator.answer import Answer
from delegator.api import Settings, level_named, open_index
from delegator.budget import RUN_LIMITS, Limits, raised
from delegator.errors import ConfigError
from delegator.history import run_text, runs_text
from delegator.home import data_home
from delegator.journal import Journal, Past
from delegator.knowledge import Index
from delegator.listing import agents_text
from delegator.orchestrator import Run, Setup, Turn
from delegator.sanitize import for_terminal, one_line
from delegator.terminal import answers, streams
from delegator.terminal.board import counted, short
from delegator.trust import Label

_RUNS_SHOWN = 10
_AMOUNT = re.compile(r"\+?(\d+(?:\.\d+)?)(k|M)?( ?t(?:okens)?)?")
_MOST = 1e12
_SIZES = {"": 1, "k": 1_000, "M": 1_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a subagent was asked, and what these words are worth."""

    text: str
    label: Label


@dataclass(slots=True, kw_only=True)
class Chat:
    """What a chat is made of: commands change it, the next run reads it."""

    settings: Settings
    setup: Setup
    index: Index
    journal: Journal | None = None
    turns: list[Turn] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    runs_before: int = 0
    """Runs of this chat in the past, if it was taken up again."""
    asked: str = ""
    """The last question, without hints."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """What the subagents of the last run were asked."""
    questions: list[str] = field(default_factory=list)
    """Typed while a run goes on, to be asked next."""
    run: Run | None = None
    """The run that goes on."""
    approval: asyncio.Future[bool] | None = None
    """What a person is asked: whether one exact call may run."""

    @property
    def home(self) -> Path:
        """Where its files are."""
        return self.settings.home or data_home()


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what it takes, what it does, and the code for it."""

    takes: str
    does: str
    run: Callable[[Chat, str], str] | None
    """`None` where it takes more than the chat: the REPL does it."""
    meanwhile: bool = False
    """Whether it works while a run goes on."""


def obeyed(chat: Chat, name: str, given: str) -> str:
    """What a command has to say.

    Raises:
        ConfigError: It cannot be done.
    """
    command = COMMANDS.get(name)
    if command is None or command.run is None:
        return f"There is no command {one_line(name, 40)}; /help lists them."
    if command.takes and not command.takes.startswith("[") and not given:
        raise ConfigError(f"{name} needs {command.takes}", hint=f"It {command.does}.")
    return streams.folded(command.run(chat, given), _width())


def _help(_chat: Chat, _given: str) -> str:
    named = {
        f"{'*' if command.meanwhile else ' '} {name} {command.takes}": command.does
        for name, command in COMMANDS.items()
    }
    left, width = max(map(len, named)) + 2, _width()
    lines = [
        textwrap.fill(does, width, initial_indent=f"{head:<{left}}", subsequent_indent=" " * left)
        for head, does in named.items()
    ]
    return "\n".join([_HEAD, *lines, *(textwrap.fill(line, width) for line in _FOOT)])


def _agents(chat: Chat, _given: str) -> str:
    return agents_text(chat.settings.agents)


def _docs(chat: Chat, given: str) -> str:
    if not given:
        roots = [str(path) for path in chat.settings.docs] or ["the articles that ship"]
        return f"{', '.join(roots)}: {counted(chat.index.refreshed.documents, 'document')}"
    docs = (Path(given).expanduser(),)
    index = open_index(docs, chat.settings.home, private=chat.settings.private)
    chat.index.close()
    chat.index = index
    chat.settings = replace(chat.settings, docs=docs)
    remembered = {**chat.setup.remembered, "docs": [str(docs[0].absolute())]}
    chat.setup = replace(chat.setup, library=index, remembered=remembered)
    return f"{given}: {counted(index.refreshed.documents, 'document')}"


def _trust(chat: Chat, given: str) -> str:
    if given:
        level = level_named(given)
        remembered = {**chat.setup.remembered, "trust": level.value}
        chat.setup = replace(chat.setup, level=level, remembered=remembered)
    return f"{chat.setup.level.value}; delegator trust explain --trust {chat.setup.level.value} says what it means"


def _budget(chat: Chat, _given: str) -> str:
    each = _listed(chat.setup.limits.over(RUN_LIMITS))
    return f"each question: {each}\nthis chat: {answers.spent(chat.setup.session)}"


def _listed(limits: Limits) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_figure(v)}" for name, v in limits.to_json().items()
    )


def _extend(chat: Chat, given: str) -> str:
    tokens, usd = _amount(given)
    session = chat.setup.session
    each = chat.setup.limits.over(RUN_LIMITS)
    if usd and each.usd is None and session.limits.usd is None:
        raise ConfigError("there is no ceiling in dollars", hint="/budget shows those there are.")
    if chat.run is not None:
        return f"this run: {answers.spent(chat.run.extend(tokens=tokens, usd=usd))}"
    each = raised(each, tokens=tokens, usd=usd)
    own = {"max_tokens": each.tokens, "max_usd": each.usd}
    remembered = {**chat.setup.remembered, **{k: v for k, v in own.items() if v is not None}}
    chat.setup = replace(chat.setup, limits=each, remembered=remembered)
    session.extend(tokens=tokens, usd=usd)
    return _budget(chat, "")


def _amount(given: str) -> tuple[int, float]:
    """Tokens and dollars, one of them zero.

    Raises:
        ConfigError: It is no amount.
    """
    match = _AMOUNT.fullmatch(given)
    amount = float(match[1]) * _SIZES[match[2] or ""] if match else 0.0
    if not match or not 0 < amount < _MOST:
        raise ConfigError(
            "that is no amount", hint="/extend +0.50 (dollars), or /extend +50k tokens."
        )
    return (int(amount), 0.0) if match[3] or match[2] else (0, amount)


def _cancel(chat: Chat, given: str) -> str:
    run = _going_on(chat)
    if not run.cancel_delegation(given.upper()):
        at_work = ", ".join(run.at_work) or "none"
        raise ConfigError(
            f"no subagent {one_line(given, 20)} is at work", hint=f"At work: {at_work}."
        )
    return f"{given.upper()} is cancelled; the run goes on."


def _approve(chat: Chat, _given: str) -> str:
    return _decided(chat, yes=True)


def _deny(chat: Chat, _given: str) -> str:
    return _decided(chat, yes=False)


def _decided(chat: Chat, *, yes: bool) -> str:
    if chat.approval is None or chat.approval.done():
        raise ConfigError("no call waits for an approval", hint="You are asked when one does.")
    chat.approval.set_result(yes)
    return "approved: this call, once" if yes else "denied"


def _going_on(chat: Chat) -> Run:
    if chat.run is None:
        raise ConfigError("no run goes on", hint="Ask something first.")
    return chat.run


def _cost(chat: Chat, _given: str) -> str:
    runs = chat.runs_before + len(chat.answers)
    return f"{counted(runs, 'run')} · {answers.spent(chat.setup.session)}"


def _runs(chat: Chat, _given: str) -> str:
    with Past(chat.home) as past:
        return runs_text(past.runs(_RUNS_SHOWN), _width())


def _show(chat: Chat, given: str) -> str:
    with Past(chat.home) as past:
        row = past.run(given or _last(chat).run_id)
        return run_text(past, row, _width())


def _why(chat: Chat, given: str) -> str:
    answer = _last(chat)
    cited = {str(citation.n): citation for citation in answer.citations}
    if given not in cited:
        known = ", ".join(cited) or "none"
        raise ConfigError(
            f"the answer has no source {one_line(given, 20)}", hint=f"It has: {known}."
        )
    citation = cited[given]
    lines = [
        f"[{given}] {one_line(citation.source, 200)}",
        f'    "{for_terminal(citation.quote)}"',
        f"    {'it stands there, letter by letter' if citation.verified else 'NOT found there'}",
    ]
    for record in answer.delegations:
        here = [c for c in record.claims if (c.place, c.quote) == (citation.source, citation.quote)]
        lines += [f"{record.id} {record.agent.name} claims: {one_line(c.text, 300)}" for c in here]
        if here and record.review:
            review = record.review
            lines.append(f"  {review.by} says: {review.verdict}, {review.score}/5")
    return "\n".join(lines)


def _save(chat: Chat, given: str) -> str:
    path = Path(given).expanduser()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{_last(chat)}\n")
    except FileExistsError:
        raise ConfigError(f"{given} is there already", hint="Choose another name.") from None
    except OSError as error:
        raise ConfigError(f"cannot write {given}", hint=f"{error.strerror}.") from error
    return f"saved as {given}"


def _clear(chat: Chat, _given: str) -> str:
    chat.turns.clear()
    return "The conversation is forgotten."


def _last(chat: Chat) -> Answer:
    if not chat.answers:
        raise ConfigError("there is no answer yet", hint="Ask something first.")
    return chat.answers[-1]


def _figure(value: float) -> str:
    return short(int(value)) if value == int(value) else f"{value:g}"


def _width() -> int:
    return streams.size(sys.stderr)[0] if sys.stderr.isatty() else 120


_HEAD = """\
Ask a question. A follow-up may point back:
  how does the second one compare with it?
Commands:"""
_FOOT = (
    "Those marked with * work while a run goes on; a question typed meanwhile is asked next.",
    "Alt-Enter begins a new line. Ctrl-C cancels a run and keeps the chat; twice leaves.",
)
COMMANDS: Mapping[str, Command] = {
    "/help": Command("", "this list", _help, meanwhile=True),
    "/agents": Command("", "who can be asked", _agents, meanwhile=True),
    "/docs": Command("[PATH]", "answer from this folder or file from now on", _docs),
    "/trust": Command("[LEVEL]", "the level of the defence ladder from now on", _trust),
    "/budget": Command("", "what a question and the chat may use", _budget, meanwhile=True),
    "/cost": Command("", "what this chat has used", _cost, meanwhile=True),
    "/cancel": Command("D2", "stop one subagent; the run goes on", _cancel, meanwhile=True),
    "/extend": Command("AMOUNT", "allow more: +0.50 (dollars), +50k (tokens)", _extend, meanwhile=True),
    "/approve": Command("", "let the call through that is asked about", _approve, meanwhile=True),
    "/deny": Command("", "do not let it through", _deny, meanwhile=True),
    "/why": Command("N", "where source N of the answer comes from, and who passed it on", _why, meanwhile=True),
    "/retry": Command("[D2] HINT", "ask the last question again, or one subtask of it, with a hint", None),
    "/save": Command("FILE", "write the last answer to a file", _save, meanwhile=True),
    "/runs": Command("", "the runs on record", _runs, meanwhile=True),
    "/show": Command("[RUN]", "what happened in a run; the last one if none is named", _show, meanwhile=True),
    "/resume": Command("RUN", "go on with a run", None),
    "/clear": Command("", "forget the conversation", _clear),
    "/exit": Command("", "leave (also Ctrl-D)", None),
}  # fmt: skip
