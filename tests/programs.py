"""Ways to run `delegator` as a whole: as a process of its own, or its `main` in this one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from delegator import cli

PROGRAM = (sys.executable, "-m", "delegator")
MANY_SECONDS = 60.0
"""Nothing here takes so long: a test that does hangs."""
CONTROLS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""What no pipe is sent: control characters but the line feed, and what reorders or hides text."""

Main = Callable[..., tuple[int, str, str]]


def run(
    *arguments: str | bytes, stdin: bytes = b"", cwd: Path | None = None, **env: str
) -> tuple[int, str, str]:
    """Run the program to its end: exit status, stdout, stderr."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=MANY_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@contextmanager
def started(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The program while it runs; killed if the test leaves it behind."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*PROGRAM, *arguments], **{**pipes, **more})
    try:
        with process:
            yield process
            process.wait(MANY_SECONDS)
    finally:
        process.kill()


def read_until(stream: IO[bytes] | None, word: str) -> str:
    """Lines of a pipe up to the one that holds `word`."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line.decode())
        if word in lines[-1]:
            return "".join(lines)
    msg = f"{word!r} did not come; what came: {''.join(lines)}"
    raise AssertionError(msg)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Signals as in the foreground, even if the tests run in the background, where a shell ignores Ctrl-C.

    SIGTERM does nothing: a program that forgets to handle it fails its test, and does not end pytest.
    """
    before = [
        (signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler)),
        (signal.SIGTERM, signal.signal(signal.SIGTERM, lambda *_: None)),
    ]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    """The program's `main`, run in this process: exit status, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["delegator", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return call
