"""A real terminal for tests: a program in tmux, keys sent to it, its screen read until it shows what it should."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from programs import MANY_SECONDS, PROGRAM

TMUX = shutil.which("tmux")
needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
_PAUSE = 0.02
"""Seconds between two looks at the screen: a test waits for what it shows, never for a time."""


class Screen:
    """A terminal with a program in it."""

    def __init__(self, folder: Path, columns: int, rows: int, **env: str) -> None:
        self._socket = folder / "socket"
        self._cwd = folder
        self._env = env
        self._size = (columns, rows)
        self._begun = False

    def start(self, *arguments: str) -> None:
        """Begin the program; once more, in the window where it has ended."""
        columns, rows = self._size
        kept = {k: v for k, v in os.environ.items() if k.startswith(("DELEGATOR_", "COVERAGE_"))}
        given = {"PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8", **kept, **self._env}
        pairs = [f"{name}={value}" for name, value in given.items()]
        unset = [
            x
            for name in ("NO_COLOR", "ANTHROPIC_API_KEY")
            if name not in given
            for x in ("-u", name)
        ]
        command = ["env", *unset, *pairs, *PROGRAM, *arguments]
        if self._begun:
            self._tmux("respawn-pane", "-c", str(self._cwd), *command)
            return
        self._begun = True
        config = self._cwd / "tmux.conf"
        config.write_text(
            "set -g remain-on-exit on\nset -g escape-time 0\nset -g history-limit 9999\n"
        )
        self._tmux(
            "-f", str(config), "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(self._cwd), *command
        )  # fmt: skip

    def send(self, *keys: str) -> None:
        """Press keys, by tmux's names of them."""
        self._tmux("send-keys", *keys)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self.send("Enter")

    def paste(self, text: str) -> None:
        """Paste, as a terminal does that brackets what is pasted."""
        file = self._cwd / "pasted"
        file.write_text(text)
        self._tmux("load-buffer", str(file))
        self._tmux("paste-buffer", "-p", "-r")

    def resize(self, columns: int) -> None:
        """Make the window wider or narrower."""
        self._tmux("resize-window", "-x", str(columns))

    @property
    def pid(self) -> int:
        """The program's process."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def shown(self, *, scrolled: bool = False) -> str:
        """What the screen shows; with what has scrolled off it, on request."""
        back = ["-S", "-"] if scrolled else []
        lines = self._tmux("capture-pane", "-p", *back).split("\n")
        return "\n".join(line.rstrip() for line in lines).rstrip()

    def styled(self) -> str:
        """The same with escape sequences for styles."""
        return self._tmux("capture-pane", "-p", "-e")

    def until(self, holds: Callable[[str], bool] | str, *, scrolled: bool = True) -> str:
        """Wait until the screen shows something; what it shows then."""
        test = holds if callable(holds) else lambda shown: holds in shown
        deadline = time.monotonic() + MANY_SECONDS
        while not test(shown := self.shown(scrolled=scrolled)):
            if time.monotonic() > deadline:
                msg = f"not shown: {holds}\n{shown}"
                raise AssertionError(msg)
            time.sleep(_PAUSE)
        return shown

    @property
    def ended(self) -> int | None:
        """The program's exit status, if it has ended; a signal that killed it as a negative number."""
        told = "#{pane_dead}/#{pane_dead_status}/#{pane_dead_signal}/#{pane_pid}"
        dead, status, killed, pid = self._tmux("display-message", "-p", told).strip().split("/")
        if status or killed:
            return int(status) if status else -int(killed)
        return _left_by(int(pid)) if dead == "1" else None

    @property
    def modes(self) -> tuple[str, ...]:
        """Alternate screen, the title that a program can set, the cursor: what no text may change."""
        told = self._tmux("display-message", "-p", "#{alternate_on} #{pane_title} #{cursor_flag}")
        return tuple(told.split())

    def recorded(self) -> Path:
        """A file that gets every byte which the program sends to the terminal from now on."""
        file = self._cwd / "raw"
        file.touch()
        self._tmux("pipe-pane", f"cat >> '{file}'")
        return file

    def close(self) -> None:
        """End the terminal and what runs in it."""
        self._tmux("kill-server", check=False)

    def _tmux(self, *arguments: str, check: bool = True) -> str:
        env = {k: v for k, v in os.environ.items() if k not in ("TMUX", "TMUX_PANE")}
        done = subprocess.run(
            [TMUX or "tmux", "-u", "-S", str(self._socket), *arguments],
            capture_output=True, text=True, check=check, env={**env, "LC_ALL": "C.UTF-8"}, timeout=MANY_SECONDS,
        )  # fmt: skip
        return done.stdout


def _left_by(pid: int) -> int | None:
    """The exit status of a process that nobody has asked for it: tmux sometimes misses that one has ended."""
    with suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if after_name[0] == "Z":
            return os.waitstatus_to_exitcode(int(after_name[-1]))
    return None
