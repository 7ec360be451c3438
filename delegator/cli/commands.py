"""The command line. Parses, picks, prints; everything else happens below.

Nothing is imported before the command that needs it: `--version` and `--help` answer at once.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from delegator import __version__
from delegator.cli.options import (
    AGENTS,
    HOME,
    JSON,
    RESUME,
    SESSION_TOKENS,
    SESSION_USD,
    Chosen,
    common,
    file_settings,
    home_of,
    own_agents,
    settings,
)
from delegator.errors import ConfigError, DelegatorError
from delegator.terminal import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from delegator.answer import Answer
    from delegator.events import Event
    from delegator.journal import Journal
    from delegator.knowledge import Index
    from delegator.orchestrator import Turn
    from delegator.policy import ApprovalRequest, Approver
    from delegator.recording import Recording
    from delegator.repl.sessions import Session
    from delegator.terminal.views import View

FAILED = 1
_RESUMABLE = frozenset({1, 3, 130})
USAGE_ERROR = 2
INTERRUPTED = 130
OFFLINE_NOTICE = "No ANTHROPIC_API_KEY: answering with the offline model (no language model, quotes only). --offline hides this line."
_EXAMPLES = """\
\b
Examples:
  delegator ask "What is RLHF?"
  delegator ask --docs papers/ "Who proposed DPO?"
  delegator ask --json - < question.txt
  delegator chat --docs notes/
"""
_EXIT_STATUS = """\
\b
Exit status:
    0  complete
    1  failed
    2  wrong usage or configuration
    3  stopped by a limit; a partial answer is given
    4  a finding needs review
  130  interrupted; what was finished is printed
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXAMPLES,
)
@click.version_option(__version__, message="delegator %(version)s")
def cli() -> None:
    """Answer questions by delegation: subagents search, quote and review; every quote is checked."""


@cli.command(short_help="Ask one question.", epilog=_EXIT_STATUS)
@click.argument("question")
@JSON
@click.option("--events", "as_events", is_flag=True, help="Print events, one JSON object a line.")
@common
def ask(question: str, *, as_json: bool, as_events: bool, **options: Any) -> None:
    """Ask one QUESTION (`-` reads it from stdin) and print a cited answer.

    The answer goes to stdout, everything else to stderr.
    """
    if as_json and as_events:
        raise click.UsageError("--json and --events exclude each other")
    from delegator.api import checked_question  # noqa: PLC0415

    chosen = settings(options)
    asked = checked_question(_from_stdin() if question == "-" else question)
    with followed(chosen):
        with journal_of(chosen) as journal:
            answer = run_one(asked, chosen, as_events=as_events, journal=journal)
        give(answer, chosen, as_json=as_json, as_events=as_events)


@cli.command(short_help="Ask question after question.")
@common
@SESSION_USD
@SESSION_TOKENS
@RESUME
def chat(*, resume: str | None, **options: Any) -> None:
    """Ask question after question; follow-ups know the conversation.

    While a run goes on, /cancel, /extend and others work, and the next question can be typed. Ctrl-C stops a run and keeps
    the chat, twice leaves. /help lists what else there is.
    """
    import asyncio  # noqa: PLC0415

    from delegator.repl import Repl  # noqa: PLC0415

    earlier = None if resume is None else _earlier(resume, options["home"])
    chosen = settings(options, earlier.remembered if earlier else None)
    if earlier and not chosen.journal:
        raise click.UsageError("a chat goes on in its journal; leave --no-journal out")
    _announce(chosen)
    with _index(chosen) as index, journal_of(chosen) as journal, followed(chosen):
        repl = Repl(
            chosen.settings,
            index,
            quiet=chosen.quiet,
            verbose=chosen.verbose,
            journal=journal,
            resume=earlier,
        )
        raise SystemExit(asyncio.run(repl.run()))


def _earlier(run: str, home: str | None) -> Session:
    """A chat on record: the one that a run is part of, or the newest."""
    from delegator.journal import Past  # noqa: PLC0415
    from delegator.repl.sessions import session  # noqa: PLC0415

    with Past(home_of(home)) as past:
        return session(past, run)


@cli.command(short_help="List the agents, check agent files.")
@JSON
@AGENTS
def agents(*, as_json: bool, agents: str | None) -> None:
    """List the agents with their tools, limits and report schemas; check the files in a folder."""
    from delegator.listing import agents_json, agents_text  # noqa: PLC0415

    own = own_agents(agents or file_settings().get("agents"))
    streams.put(agents_json(own) if as_json else agents_text(own))


@cli.command(short_help="Build or refresh an index.")
@click.argument("folder", metavar="DIR")
@JSON
@HOME
def index(folder: str, *, as_json: bool, home: str | None) -> None:
    """Build or refresh the index of the folder DIR."""
    from delegator.listing import index_json, index_text  # noqa: PLC0415

    chosen = settings({"docs": (folder,), "home": home, "quiet": as_json})
    with _index(chosen) as opened:
        found = opened.refreshed
        streams.put(index_json(found) if as_json else index_text(found, folder))


@cli.group(short_help="Explain the defence levels, attack them.")
def trust() -> None:
    """What a trust level guarantees, what it leaves open, and what attacks come to."""


@trust.command(short_help="What may cross which boundary.")
@JSON
@common
def explain(*, as_json: bool, **options: Any) -> None:
    """Explain the trust level for these options: what may cross each boundary, and the worst case of a run."""
    from delegator.explain import explain as explained  # noqa: PLC0415
    from delegator.explain import explanation_json, explanation_text  # noqa: PLC0415

    found = explained(settings(options).settings)
    streams.put(explanation_json(found) if as_json else explanation_text(found))


def _from_stdin() -> str:
    if sys.stdin.isatty():
        streams.notice("reading the question from the terminal; end with Ctrl-D")
    return sys.stdin.buffer.read().decode("utf-8", errors="replace")


def _announce(chosen: Chosen) -> None:
    asked = chosen.settings
    if asked.plays_offline and not asked.offline and not chosen.quiet:
        streams.notice(OFFLINE_NOTICE)


@contextmanager
def _index(chosen: Chosen) -> Iterator[Index]:
    """The index of the chosen documents, with progress while it is built; closed at the end."""
    from delegator.api import open_index  # noqa: PLC0415
    from delegator.terminal.views import Progress  # noqa: PLC0415

    given, progress = chosen.settings, Progress(quiet=chosen.quiet)
    tell: Callable[[str], None] = (lambda _text: None) if chosen.quiet else streams.notice
    try:
        opened = open_index(
            given.docs, given.home, private=given.private, progress=progress, notice=tell
        )
    finally:
        progress.end()
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def journal_of(chosen: Chosen) -> Iterator[Journal | None]:
    """The journal, unless it is not wanted."""
    if not chosen.journal:
        yield None
        return
    from delegator.home import data_home  # noqa: PLC0415
    from delegator.journal import Journal  # noqa: PLC0415

    with Journal(chosen.settings.home or data_home()) as journal:
        yield journal


@contextmanager
def followed(chosen: Chosen) -> Iterator[None]:
    """Telemetry of all runs in the block, if it is wanted. It is delivered at the end of the block: print the answer before."""
    if not chosen.otel:
        yield
        return
    from delegator.telemetry.exporting import exporting  # noqa: PLC0415

    with exporting(streams.notice):
        yield


def give(answer: Answer, chosen: Chosen, *, as_json: bool, as_events: bool = False) -> NoReturn:
    """Print an answer, and what is to be said about it; end with its status."""
    from delegator.terminal import answers  # noqa: PLC0415

    if as_json:
        streams.put_json(answer.to_json(), indent=2)
    elif not as_events:
        answers.show(answer)
    if not chosen.quiet:
        answers.sum_up(answer)
        if chosen.journal and answer.exit_status in _RESUMABLE:
            streams.notice(f"delegator resume {answer.run_id} goes on from here")
    answers.explain(answer, verbose=chosen.verbose)
    raise SystemExit(answer.exit_status)


def run_one(
    question: str,
    chosen: Chosen,
    *,
    as_events: bool = False,
    journal: Journal | None = None,
    recording: Recording | None = None,
    history: tuple[Turn, ...] = (),
    tell: Callable[[Event], None] = lambda _event: None,
) -> Answer:
    """Run a question, or go on with it, for a person to watch, and for whoever is told."""
    import asyncio  # noqa: PLC0415

    from delegator.api import opened  # noqa: PLC0415
    from delegator.interrupt import cancelling  # noqa: PLC0415
    from delegator.models.recorded import Recorded  # noqa: PLC0415
    from delegator.orchestrator import Run  # noqa: PLC0415
    from delegator.policy import nobody  # noqa: PLC0415
    from delegator.terminal.views import view  # noqa: PLC0415

    async def watched() -> Answer:
        with view(quiet=quiet, verbose=chosen.verbose) as watch:
            async with (
                opened(
                    chosen.settings,
                    index=index,
                    model=recorded,
                    approve=nobody if recorded else _approver(watch),
                    journal=journal,
                ) as setup,
                Run(question, setup, history, recording) as run,
            ):
                with cancelling(run.cancel):
                    async for event in run:
                        watch(event)
                        tell(event)
                        if as_events:
                            streams.put_json(event.to_json())
                    return await run.answer()

    recorded = None
    if recording is not None and recording.replays:
        model = chosen.settings.model or ("offline" if recording.free else "")
        recorded = Recorded(model, recording.said, free=recording.free)
    quiet = chosen.quiet or as_events
    _announce(chosen)
    with _index(chosen) as index:
        return asyncio.run(watched())


def _approver(watch: View) -> Approver:
    """Asks the person at the terminal, if there is one; a script is never kept waiting."""
    import asyncio  # noqa: PLC0415

    from delegator.policy import nobody  # noqa: PLC0415
    from delegator.terminal import approvals  # noqa: PLC0415

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return nobody

    asking = asyncio.Lock()

    async def approve(request: ApprovalRequest) -> str:
        from delegator.repl.lines import reader  # noqa: PLC0415 - only when somebody is asked

        async with asking:
            with watch.paused():
                return await approvals.put(request, reader())

    return approve


def main() -> NoReturn:
    """Run the command line. Errors are one or two lines; a traceback only with --verbose."""
    from delegator.interrupt import interrupt_on_termination  # noqa: PLC0415

    try:
        streams.prepare()
        interrupt_on_termination()
        cli.main(prog_name="delegator", standalone_mode=False)
    except click.UsageError as error:
        _misused(error)
    except (click.Abort, KeyboardInterrupt):
        streams.problem("interrupted")
        raise SystemExit(INTERRUPTED) from None
    except ConfigError as error:
        _fail(error, str(error), error.hint, status=USAGE_ERROR)
    except DelegatorError as error:
        _fail(error, str(error), error.hint)
    except OSError as error:
        what = f"cannot use {error.filename}" if error.filename else "cannot write the output"
        _fail(error, f"{what}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - the contract: two lines, a traceback only for who asks
        _fail(
            error,
            f"internal error: {type(error).__name__}",
            "--verbose shows where. Please report it.",
        )
    raise SystemExit(0)


def _misused(error: click.UsageError) -> NoReturn:
    """A command line that cannot be understood; without arguments, the help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        streams.say(error.format_message())
    else:
        command = error.ctx.command_path if error.ctx else "delegator"
        message = error.format_message()
        streams.problem(message[:1].lower() + message[1:], f"See {command} --help.")
    raise SystemExit(USAGE_ERROR) from None


def _fail(error: Exception, text: str, hint: str = "", *, status: int = FAILED) -> NoReturn:
    if {"-v", "--verbose"} & set(sys.argv):
        import traceback  # noqa: PLC0415

        from delegator.sanitize import for_terminal  # noqa: PLC0415

        streams.say(for_terminal("".join(traceback.format_exception(error))))
    streams.problem(text, hint)
    raise SystemExit(status) from None
