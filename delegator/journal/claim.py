"""Who holds a run: one process at a time. The hold ends with the process, however that ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from delegator.errors import ConfigError


@contextmanager
def claimed(folder: Path, run: str) -> Iterator[None]:
    """Hold a run for this process.

    Raises:
        ConfigError: Another process has it.
    """
    path = folder / f"{run}.lock"
    while True:
        with path.open("a", encoding="ascii") as file:
            if not _locked(file.fileno()):
                raise ConfigError(
                    f"run {run} is at work in another process",
                    hint="Wait for it, or stop it, then resume.",
                )
            if not _is_still(path, file.fileno()):  # its last holder took it away meanwhile
                continue
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
            return


def _locked(file: int) -> bool:
    """Whether the lock of a file is ours now."""
    try:
        import fcntl  # noqa: PLC0415 - not on every system
    except ImportError:  # pragma: no cover - Windows
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_still(path: Path, file: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except FileNotFoundError:
        return False
