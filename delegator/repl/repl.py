"""The loop of `delegator chat`. A run that is cancelled or fails leaves the conversation as it was."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from delegator.answer import Answer
from delegator.api import Settings, checked_question, opened
from delegator.budget import Usage
from delegator.errors import ConfigError
from delegator.interrupt import cancelling
from delegator.knowledge import Index
from delegator.listing import agents_text
from delegator.orchestrator import Run, Setup, Turn
from delegator.outcome import Outcome
from delegator.sanitize import one_line
from delegator.terminal import answer_text, cost_line, count, view

INTERRUPTED = 130
PROMPT = "› "
_HELP = """\
Ask a question. A follow-up may point back: "and how does it compare with the second one?"
  /agents   who can be asked        /cost    what this chat has used
  /clear    forget the conversation /exit    leave (also Ctrl-D)
  /help     this text
Ctrl-C stops a run and keeps the chat; twice at the prompt leaves."""
_KEPT = frozenset(
    {Outcome.COMPLETE, Outcome.PARTIAL, Outcome.BUDGET, Outcome.TIMEOUT, Outcome.NEEDS_REVIEW}
)


class Repl:
    """One chat: its settings, its conversation, what it has cost."""

    def __init__(
        self, settings: Settings, index: Index, *, quiet: bool = False, verbose: bool = False
    ) -> None:
        self._settings = settings
        self._index = index
        self._quiet = quiet
        self._verbose = verbose
        self._turns: list[Turn] = []
        self._usage = Usage()
        self._runs = 0
        self._read = _reader()

    async def run(self) -> int:
        """Talk until the person leaves; the exit status."""
        interrupted = False
        async with opened(self._settings, index=self._index) as setup:
            while True:
                try:
                    line = (await self._read()).strip()
                except EOFError:
                    return 0
                except KeyboardInterrupt:
                    if interrupted:
                        return INTERRUPTED
                    interrupted = True
                    self._say("Ctrl-C again, or Ctrl-D, leaves.")
                    continue
                interrupted = False
                if line in ("/exit", "/quit"):
                    return 0
                if line.startswith("/"):
                    self._command(line)
                elif line:
                    await self._ask(line, setup)

    def _command(self, line: str) -> None:
        match line.split(maxsplit=1)[0]:
            case "/help":
                self._say(_HELP)
            case "/agents":
                self._say(agents_text(self._settings.agents))
            case "/cost":
                tokens = count(self._usage.total)
                self._say(f"{self._runs} runs · {tokens} tokens")
            case "/clear":
                self._turns.clear()
                self._say("The conversation is forgotten.")
            case _:
                self._say(
                    f"There is no command {one_line(line.split(maxsplit=1)[0], 40)}; /help lists them."
                )

    async def _ask(self, text: str, setup: Setup) -> None:
        try:
            question = checked_question(text)
        except ConfigError as error:
            self._say(f"{error}. {error.hint}")
            return
        answer = await self._watch(Run(question, setup, tuple(self._turns)))
        self._runs += 1
        self._usage += answer.usage
        print(f"\n{answer_text(answer)}\n")  # noqa: T201 - the answer
        if not self._quiet:
            self._say(cost_line(answer))
        if answer.error is not None:
            self._say(f"{answer.error} {answer.error.hint}")
        if answer.outcome in _KEPT:
            self._turns.append(Turn(question=question, answer=answer.text, label=answer.label))

    async def _watch(self, run: Run) -> Answer:
        async with run:
            with cancelling(run.cancel), view(quiet=self._quiet, verbose=self._verbose) as watch:
                async for event in run:
                    watch(event)
            return await run.answer()

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr)  # noqa: T201 - beside the answers


def _reader() -> Callable[[], Awaitable[str]]:
    """Lines from a person with editing and history; from a pipe, as they come."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - only on a terminal

        session: PromptSession[str] = PromptSession(PROMPT)

        async def ask() -> str:
            return str(await session.prompt_async())

        return ask

    async def read() -> str:
        line: str = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            raise EOFError
        return line

    return read
