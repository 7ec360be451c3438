"""What a person says while a run goes on: commands that work at once, an approval, Ctrl-C, the next question."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from delegator.errors import DelegatorError
from delegator.orchestrator import Run
from delegator.policy import ApprovalRequest
from delegator.repl.commands import COMMANDS, Chat, obeyed
from delegator.repl.lines import PROMPT, Reader
from delegator.sanitize import one_line
from delegator.terminal import approvals

_ANSWERS = {"y": "/approve", "yes": "/approve", "n": "/deny", "no": "/deny"}
_BUSY = "A run goes on: Ctrl-C cancels it, /help shows what else works."
_ANOTHER = "Another call is asked about by now: look at that one, then answer."
_HOW = "/approve (or y) runs it, /deny (or n) does not."


@dataclass(slots=True, kw_only=True)
class Meanwhile:
    """The person's side of a run that goes on."""

    chat: Chat
    read: Reader
    _asked_so_far: int = field(default=0, init=False)
    """How many calls the person has been asked about."""

    @asynccontextmanager
    async def during(self, run: Run) -> AsyncIterator[None]:
        """Listen to the person until the block is left."""
        self.chat.run, self.read.at_work = run, lambda: run.at_work
        listening = asyncio.create_task(self._listen()) if self.read.interjects else None
        try:
            yield
        finally:
            self.chat.run, self.read.at_work = None, tuple
            if listening is not None:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening

    async def approve(self, request: ApprovalRequest) -> str:
        """Ask the person about a call that a policy denies; the call's digest, or an empty string."""
        if not approvals.showed(request, self.read.say):
            return ""
        with self._asked() as answer:
            return request.digest if await answer else ""

    @contextmanager
    def _asked(self) -> Iterator[asyncio.Future[bool]]:
        self._asked_so_far += 1
        self.chat.approval = asyncio.get_running_loop().create_future()
        try:
            yield self.chat.approval
        finally:
            self.chat.approval = None

    async def _listen(self) -> None:
        while True:
            known = self._asked_so_far - (self.chat.approval is not None)
            try:
                line = (await self.read.meanwhile(self._prompt)).strip()
            except KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)  # as if there were no editing: see `interrupt`
                continue
            except EOFError:
                line = "/exit"  # which says that a run goes on
            if line:
                self.read.say(self._heeded(line, known))

    def _prompt(self) -> str:
        return approvals.QUESTION if self.chat.approval is not None else PROMPT

    def _heeded(self, line: str, known: int) -> str:
        """Do what a line says, or keep it for later; what to say to that. `known` calls had been asked about before it was begun."""
        if self.chat.approval is not None and not line.startswith("/"):
            if line.lower() not in _ANSWERS:
                return _HOW
            line = _ANSWERS[line.lower()]
        name, _, given = line.partition(" ")
        if name == "/approve" and self._asked_so_far > known + 1:
            return _ANOTHER  # the line was begun below a call that has gone
        if not line.startswith("/"):
            self.chat.questions.append(line)
            return f"Asked next: {one_line(line, 60)}"
        if (command := COMMANDS.get(name)) is not None and not command.meanwhile:
            return _BUSY
        try:
            return obeyed(self.chat, name, given.strip())
        except DelegatorError as error:
            hint = getattr(error, "hint", "")
            return f"{error}. {hint}".strip()
