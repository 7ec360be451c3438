"""Fetch the documentation that the question set in ``questions.json`` asks about.

The corpus is the ``docs`` folder of the Django source distribution (BSD-3-Clause), pinned to
one exact version and checksum. It is downloaded with pip, never stored in this repository.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

NAME = "django"
VERSION = "5.2.1"
SHA256 = "57fe1f1b59462caed092c80b3dd324fd92161b620d59a9ba9181c34746c97284"
TIMEOUT_SECONDS = 300


def _pip_commands() -> list[list[str]]:
    """Return the ways to start pip that are worth trying, best first.

    An environment made by ``uv`` may hold no pip, so pip commands outside it are listed too.

    Returns:
        Command prefixes, each to be followed by pip's own arguments.
    """
    commands = [[sys.executable, "-m", "pip"]]
    pip3 = shutil.which("pip3")
    if pip3 is not None:
        commands.append([pip3])
    python3 = shutil.which("python3")
    if python3 is not None:
        commands.append([python3, "-m", "pip"])
    return commands


def _find_pip() -> list[str]:
    """Return the first pip command that starts.

    Returns:
        A command prefix, to be followed by pip's own arguments.

    Raises:
        RuntimeError: If no pip can be started.
    """
    for command in _pip_commands():
        try:
            done = subprocess.run(
                [*command, "--version"],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    raise RuntimeError("cannot fetch the corpus: no working pip found")


def _download(folder: Path) -> Path:
    """Download the pinned source distribution.

    Args:
        folder: An existing, empty folder to download into.

    Returns:
        The downloaded archive.

    Raises:
        RuntimeError: If pip fails, takes too long, or the archive is not the pinned one.
    """
    wanted = f"{NAME}=={VERSION}"
    command = [
        *_find_pip(),
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--ignore-requires-python",
        "--no-deps",
        "--no-binary",
        NAME,
        "--dest",
        str(folder),
        wanted,
    ]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"downloading {wanted} took over {TIMEOUT_SECONDS} s") from None
    except OSError as error:
        raise RuntimeError(f"downloading {wanted} failed: {error}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        reason = errors[-1] if errors else f"pip exited with {done.returncode}"
        raise RuntimeError(f"downloading {wanted} failed: {reason}")
    archives = sorted(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        raise RuntimeError(f"downloading {wanted} gave {len(archives)} archives, not 1")
    digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if digest != SHA256:
        raise RuntimeError(f"downloading {wanted} gave an archive with SHA-256 {digest}")
    return archives[0]


def _unpack_docs(archive: Path, folder: Path) -> Path:
    """Unpack only the top-level ``docs`` folder of a source distribution.

    Args:
        archive: The source distribution.
        folder: An existing folder to unpack into.

    Returns:
        The unpacked ``docs`` folder.

    Raises:
        RuntimeError: If the archive is broken, unsafe, or holds no ``docs`` folder.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = [
                member
                for member in tar.getmembers()
                if PurePosixPath(member.name).parts[1:2] == ("docs",)
            ]
            tar.extractall(folder, members=members, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise RuntimeError(f"unpacking {archive.name} failed: {error}") from error
    found = [path for path in folder.glob("*/docs") if path.is_dir()]
    if len(found) != 1:
        raise RuntimeError(f"unpacking {archive.name} gave {len(found)} docs folders, not 1")
    return found[0]


def fetch(cache: Path) -> Path:
    """Return the corpus folder, downloading it first if the cache does not hold it.

    The folder appears in the cache complete or not at all, so that a run that was cut short
    or several runs at once do no harm.

    Args:
        cache: A folder to keep the corpus in; created if missing.

    Returns:
        The documentation folder, ``cache/<name>-<version>``.

    Raises:
        RuntimeError: If the corpus cannot be downloaded or unpacked, with a one-line reason.
    """
    target = cache / f"{NAME}-{VERSION}"
    if target.is_dir():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as name:
            work = Path(name).resolve()
            download, unpacked = work / "download", work / "unpacked"
            download.mkdir()
            unpacked.mkdir()
            docs = _unpack_docs(_download(download), unpacked)
            try:
                docs.rename(target)
            except OSError:
                if not target.is_dir():  # else another run put it there first
                    raise
    except OSError as error:
        raise RuntimeError(f"cannot fill the corpus cache: {error}") from error
    return target
