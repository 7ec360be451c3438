"""The loop of `delegator chat`. A run that is cancelled or fails leaves the conversation as it was."""

import asyncio
import sys

from delegator import __version__
from delegator.answer import Answer
from delegator.api import Settings, checked_question, opened
from delegator.budget import Budget
from delegator.errors import ConfigError
from delegator.interrupt import cancelling
from delegator.knowledge import Index
from delegator.listing import agents_text
from delegator.orchestrator import Run, Setup, Turn
from delegator.outcome import Outcome
from delegator.policy import ApprovalRequest
from delegator.repl.lines import PROMPT, Reader, reader
from delegator.sanitize import one_line
from delegator.terminal import answers, approvals, streams
from delegator.terminal.board import counted
from delegator.terminal.views import QuietView, View, view

INTERRUPTED = 130
_HELP = """\
Ask a question. A follow-up may point back:
  how does the second one compare with it?
Commands:
  /agents  who can be asked
  /clear   forget the conversation
  /cost    what this chat has used
  /exit    leave (also Ctrl-D)
Ctrl-C stops a run and keeps the chat."""
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
    ) -> None:
        self._settings = settings
        self._index = index
        self._quiet = quiet
        self._verbose = verbose
        self._turns: list[Turn] = []
        self._runs = 0
        self._read = read or reader()
        self._view: View = QuietView()
        self._asking = asyncio.Lock()

    async def run(self) -> int:
        """Talk until the person leaves; the exit status."""
        interrupted = False
        async with opened(self._settings, index=self._index, approve=self._approve) as setup:
            self._greet(setup)
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
                if line.startswith("/"):
                    self._command(line.split(maxsplit=1)[0], setup.session)
                elif line:
                    await self._ask(line, setup)

    def _greet(self, setup: Setup) -> None:
        if not self._quiet:
            documents = counted(self._index.refreshed.documents, "document")
            streams.notice(
                f"delegator {__version__} · {setup.model.id} · {documents} · {setup.level.value} · /help"
            )

    def _command(self, name: str, session: Budget) -> None:
        match name:
            case "/help":
                streams.say(_HELP)
            case "/agents":
                streams.say(agents_text(self._settings.agents))
            case "/cost":
                streams.say(f"{counted(self._runs, 'run')} · {answers.spent(session)}")
            case "/clear":
                self._turns.clear()
                streams.say("The conversation is forgotten.")
            case _:
                streams.say(f"There is no command {one_line(name, 40)}; /help lists them.")

    async def _ask(self, text: str, setup: Setup) -> None:
        try:
            question = checked_question(text)
        except ConfigError as error:
            streams.problem(str(error), error.hint)
            return
        answer = await self._watch(Run(question, setup, tuple(self._turns)))
        self._runs += 1
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
            await self._ask(f"{question}\n\nHint: {hint}", setup)
        elif choice == "accept" and answer.outcome in _KEPT:
            self._turns.append(Turn(question=question, answer=answer.text, label=answer.label))

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
