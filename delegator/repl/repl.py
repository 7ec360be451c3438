"""The loop of `delegator chat`. A run that is cancelled or fails leaves the conversation as it was."""

import asyncio
import json
import re
import sys
from contextlib import nullcontext
from dataclasses import replace

from delegator import __version__
from delegator.answer import Answer
from delegator.api import Settings, checked_question, level_named, opened
from delegator.errors import ConfigError, DelegatorError
from delegator.events import DelegationStarted, Event
from delegator.home import data_home
from delegator.interrupt import cancelling
from delegator.journal import Journal, Past
from delegator.knowledge import Index
from delegator.orchestrator import Run, Setup, Turn, turns_of
from delegator.outcome import Outcome
from delegator.policy import ApprovalRequest
from delegator.recording import resumed
from delegator.repl import sessions
from delegator.repl.commands import Chat, Task, obeyed
from delegator.repl.lines import PROMPT, Reader, reader
from delegator.repl.meanwhile import Meanwhile
from delegator.repl.sessions import Session
from delegator.sanitize import clean, for_terminal, one_line
from delegator.terminal import answers, approvals, streams
from delegator.terminal.board import counted
from delegator.terminal.views import QuietView, View

INTERRUPTED = 130
_JUDGE = "Accept it, retry with a hint, or drop it? [a/r/d] "
_EXACTLY = "Ask exactly this? [y/N] "
_CHOICES = {"a": "accept", "r": "retry", "d": "drop"}
_KEPT = frozenset(
    {Outcome.COMPLETE, Outcome.PARTIAL, Outcome.BUDGET, Outcome.TIMEOUT, Outcome.NEEDS_REVIEW}
)
_SUBTASK = re.compile(r"([dD]\d+)\b\s*(.*)", re.DOTALL)


class Repl:
    """One chat: its settings, its conversation, what it has cost."""

    def __init__(
        self,
        settings: Settings,
        index: Index,
        *,
        quiet: bool = False,
        verbose: bool = False,
        read: Reader | None = None,
        journal: Journal | None = None,
        resume: Session | None = None,
    ) -> None:
        self._settings = settings
        self._index = index
        self._journal = journal
        self._quiet = quiet
        self._verbose = verbose
        self._read = read or reader(settings.home or data_home())
        self._view: View = QuietView()
        self._asking = asyncio.Lock()
        self._resume = resume
        self._meanwhile: Meanwhile | None = None

    async def run(self) -> int:
        """Talk until the person leaves; the exit status."""
        async with opened(
            self._settings, index=self._index, approve=self._approve, journal=self._journal
        ) as setup:
            chat = Chat(
                settings=self._settings, setup=setup, index=self._index, journal=self._journal
            )
            chat.setup = replace(
                setup, remembered={sessions.NAME: sessions.named(), **setup.remembered}
            )
            self._meanwhile = Meanwhile(chat=chat, read=self._read)
            self._greet(setup)
            try:
                if self._resume is not None:
                    await self._taken_up(chat, self._resume)
                return await self._talk(chat)
            finally:
                if chat.index is not self._index:
                    chat.index.close()

    async def _talk(self, chat: Chat) -> int:
        interrupted = False
        while True:
            try:
                line = (await self._next(chat)).strip()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                if interrupted:
                    return INTERRUPTED
                interrupted = True
                streams.say("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            if line in ("/exit", "/quit"):
                return 0
            interrupted = bool(line) and await self._cancelled(chat, line)

    async def _next(self, chat: Chat) -> str:
        """A question that was typed while a run went on, or a new line."""
        if chat.questions:
            question = chat.questions.pop(0)
            streams.say(PROMPT + one_line(question, 200))
            return question
        return await self._read(PROMPT)

    async def _cancelled(self, chat: Chat, line: str) -> bool:
        """Do what a line says; whether the person has cancelled the run that it began."""
        before = len(chat.answers)
        await self._heed(chat, line)
        cancelled = any(a.outcome is Outcome.CANCELLED for a in chat.answers[before:])
        if cancelled:
            for question in chat.questions:
                streams.notice(f"Not asked: {question}")
            chat.questions.clear()
            if self._read.answers and not self._quiet:
                streams.say("Ctrl-C again leaves.")
        return cancelled

    async def _heed(self, chat: Chat, line: str) -> None:
        """Do what a line says; what cannot be done is said, and the chat goes on."""
        name, _, given = line.partition(" ")
        try:
            match name:
                case "/resume" if given.strip():
                    await self._go_on(chat, given.strip())
                case "/retry" if chat.asked:
                    await self._retry(chat, given.strip())
                case _ if line.startswith("/"):
                    streams.say(obeyed(chat, name, given.strip()))
                case _:
                    chat.asked = line
                    await self._ask(line, chat)
        except DelegatorError as error:
            streams.problem(str(error), getattr(error, "hint", ""))

    async def _retry(self, chat: Chat, given: str) -> None:
        """Ask the last question again with a hint, or one subtask of it."""
        task, subtask = None, _SUBTASK.fullmatch(given)
        if subtask:
            id, given = subtask[1].upper(), subtask[2]
            task = chat.tasks.get(id)
            if task is None:
                known = ", ".join(chat.tasks) or "none"
                raise ConfigError(f"the last run has no {id}", hint=f"It has: {known}.")
        about = clean(task.text) if task else chat.asked
        question = f"{about}\n\nHint: {given}" if given else about
        if task is None or await self._vouched(task, question):
            await self._ask(question, chat)

    async def _vouched(self, task: Task, question: str) -> bool:
        """Whether a person asks in the words of a model that has read what nobody vouches for: they see them first."""
        if task.label.trusted:
            return True
        if not self._read.answers:
            raise ConfigError("a model wrote this task", hint="Ask in your own words.")
        streams.say("A model wrote this task after reading what nobody vouches for:")
        streams.say("\n".join(f"  | {line}" for line in for_terminal(question).split("\n")))
        try:
            return (await self._read(_EXACTLY)).strip().lower() in approvals.YES
        except (EOFError, KeyboardInterrupt):
            return False

    async def _taken_up(self, chat: Chat, found: Session) -> None:
        """Take up an earlier chat: its conversation, what it has used, and its last run, if that has not ended."""
        last, run = found.last, found.last["id"]
        with Past(chat.home) as past:
            sessions.charge(past, found, chat.setup)
            chat.tasks = sessions.tasks(past, run)
        chat.turns.extend(found.turns)
        chat.runs_before = len(found.runs) - 1  # the last one is counted as an answer
        chat.asked = last["question"]
        for turn in found.turns:
            self._recall(turn.question, turn.answer)
        if not self._quiet:
            streams.say(PROMPT + one_line(last["question"], 200))
        if not last["answer"]:
            try:
                await self._go_on(chat, run)
            except DelegatorError as error:
                streams.problem(str(error), getattr(error, "hint", ""))
            return
        answer = sessions.answer_of(last)
        await self._heard(answer.question, answer, chat)

    def _recall(self, question: str, answer: str) -> None:
        if not self._quiet:
            streams.say(PROMPT + one_line(question, 200))
            streams.say(f"  {one_line(answer, 200)}")

    async def _go_on(self, chat: Chat, run: str) -> None:
        """Go on with a run on record, as a turn of this conversation."""
        if chat.journal is None:
            raise ConfigError("there is no journal", hint="Leave --no-journal out.")
        with Past(chat.home) as past:
            row = past.run(run)
        remembered = json.loads(row["settings"])
        history = turns_of(remembered)
        setup = replace(chat.setup, level=level_named(remembered["level"]))
        with resumed(row["id"], chat.home, chat.journal) as recording:
            answer = await self._watch(Run(row["question"], setup, history, recording), chat)
        await self._heard(row["question"], answer, chat)

    def _greet(self, setup: Setup) -> None:
        if not self._quiet:
            documents = counted(self._index.refreshed.documents, "document")
            streams.notice(
                f"delegator {__version__} · {setup.model.id} · {documents} · {setup.level.value} · /help"
            )

    async def _ask(self, text: str, chat: Chat) -> None:
        question = checked_question(text)
        answer = await self._watch(Run(question, chat.setup, tuple(chat.turns)), chat)
        await self._heard(question, answer, chat)

    async def _heard(self, question: str, answer: Answer, chat: Chat) -> None:
        """Show an answer, and keep it if it is one."""
        chat.answers.append(answer)
        answers.show(answer)
        if not sys.stdout.isatty():
            streams.put("")  # between this answer and the next one
        if not self._quiet:
            answers.sum_up(answer)
        if answer.outcome is not Outcome.CANCELLED:  # who did it knows why
            answers.explain(answer, verbose=self._verbose)
        choice, hint = "accept", ""
        if answer.outcome is Outcome.NEEDS_REVIEW and self._read.answers:
            choice, hint = await self._judged()
        if choice == "retry":
            await self._ask(f"{question}\n\nHint: {hint}", chat)
        elif choice == "accept" and answer.outcome in _KEPT:
            chat.turns.append(Turn(question=question, answer=answer.text, label=answer.label))

    async def _judged(self) -> tuple[str, str]:
        """What a person wants done about a finding that stayed below the bar, and a hint for another try."""
        try:
            while (choice := _CHOICES.get((await self._read(_JUDGE)).strip().lower()[:1])) is None:
                pass
            return choice, await self._read("Hint: ") if choice == "retry" else ""
        except (KeyboardInterrupt, EOFError):
            return "drop", ""

    async def _approve(self, request: ApprovalRequest) -> str:
        """Ask the person about a call that a policy denies; one question at a time."""
        if not self._read.answers or self._meanwhile is None:
            return ""
        async with self._asking:
            if self._read.interjects:
                return await self._meanwhile.approve(request)
            with self._view.paused():
                return await approvals.put(request, self._read)

    async def _watch(self, run: Run, chat: Chat) -> Answer:
        chat.tasks = {}
        listening = self._meanwhile.during(run) if self._meanwhile else nullcontext()
        async with run:
            with (
                cancelling(run.cancel),
                self._read.view(quiet=self._quiet, verbose=self._verbose) as watch,
            ):
                self._view = watch
                async with listening:
                    async for event in run:
                        watch(event)
                        _note_task(chat, event)
            return await run.answer()


def _note_task(chat: Chat, event: Event) -> None:
    match event.what:
        case DelegationStarted(id=id, task=task, label=label):
            chat.tasks[id] = Task(text=task, label=label)
        case _:
            pass
