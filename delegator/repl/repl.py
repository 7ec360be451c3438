"""The loop of `delegator chat`. A run that is cancelled or fails leaves the conversation as it was."""

import asyncio
import json
import sys
from dataclasses import replace

from delegator import __version__
from delegator.answer import Answer
from delegator.api import Settings, checked_question, level_named, opened
from delegator.errors import ConfigError, DelegatorError
from delegator.home import data_home
from delegator.interrupt import cancelling
from delegator.journal import Journal, Past
from delegator.knowledge import Index
from delegator.orchestrator import Run, Setup, Turn, turns_of
from delegator.outcome import Outcome
from delegator.policy import ApprovalRequest
from delegator.recording import resumed
from delegator.repl.commands import Chat, obeyed
from delegator.repl.lines import PROMPT, Reader, reader
from delegator.terminal import answers, approvals, streams
from delegator.terminal.board import counted
from delegator.terminal.views import QuietView, View, view

INTERRUPTED = 130
_JUDGE = "Accept it, retry with a hint, or drop it? [a/r/d] "
_CHOICES = {"a": "accept", "r": "retry", "d": "drop"}
_KEPT = frozenset(
    {Outcome.COMPLETE, Outcome.PARTIAL, Outcome.BUDGET, Outcome.TIMEOUT, Outcome.NEEDS_REVIEW}
)


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
    ) -> None:
        self._settings = settings
        self._index = index
        self._journal = journal
        self._quiet = quiet
        self._verbose = verbose
        self._read = read or reader(settings.home or data_home())
        self._view: View = QuietView()
        self._asking = asyncio.Lock()

    async def run(self) -> int:
        """Talk until the person leaves; the exit status."""
        async with opened(
            self._settings, index=self._index, approve=self._approve, journal=self._journal
        ) as setup:
            chat = Chat(
                settings=self._settings, setup=setup, index=self._index, journal=self._journal
            )
            self._greet(setup)
            try:
                return await self._talk(chat)
            finally:
                if chat.index is not self._index:
                    chat.index.close()

    async def _talk(self, chat: Chat) -> int:
        interrupted = False
        while True:
            try:
                line = (await self._read(PROMPT)).strip()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                if interrupted:
                    return INTERRUPTED
                interrupted = True
                streams.say("Ctrl-C again, or Ctrl-D, leaves.")
                continue
            interrupted = False
            if line in ("/exit", "/quit"):
                return 0
            if line:
                await self._heed(chat, line)

    async def _heed(self, chat: Chat, line: str) -> None:
        """Do what a line says; what cannot be done is said, and the chat goes on."""
        name, _, given = line.partition(" ")
        try:
            match name:
                case "/resume" if given.strip():
                    await self._go_on(chat, given.strip())
                case "/retry" if chat.asked:
                    await self._ask(f"{chat.asked}\n\nHint: {given.strip()}", chat)
                case _ if line.startswith("/"):
                    streams.say(obeyed(chat, name, given.strip()))
                case _:
                    chat.asked = line
                    await self._ask(line, chat)
        except DelegatorError as error:
            streams.problem(str(error), getattr(error, "hint", ""))

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
            answer = await self._watch(Run(row["question"], setup, history, recording))
        await self._heard(row["question"], answer, chat)

    def _greet(self, setup: Setup) -> None:
        if not self._quiet:
            documents = counted(self._index.refreshed.documents, "document")
            streams.notice(
                f"delegator {__version__} · {setup.model.id} · {documents} · {setup.level.value} · /help"
            )

    async def _ask(self, text: str, chat: Chat) -> None:
        question = checked_question(text)
        answer = await self._watch(Run(question, chat.setup, tuple(chat.turns)))
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
        if answer.flagged and self._read.answers:
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
        if not self._read.answers:
            return ""
        async with self._asking:
            with self._view.paused():
                return await approvals.put(request, self._read)

    async def _watch(self, run: Run) -> Answer:
        async with run:
            with cancelling(run.cancel), view(quiet=self._quiet, verbose=self._verbose) as watch:
                self._view = watch
                async for event in run:
                    watch(event)
            return await run.answer()
