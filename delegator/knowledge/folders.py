"""Folders into files: what there is to read, each under a name of its own.

Links are never followed, so nothing outside the named folders is read. What is left out is counted by its reason.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from delegator.errors import ConfigError
from delegator.knowledge.reading import MAX_FILE_BYTES
from delegator.sanitize import clean

_GENERATED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: its name in the index, its place, and the state it was found in."""

    name: str
    path: str
    size: int
    mtime_ns: int


def labelled(roots: Sequence[Path]) -> dict[str, Path]:
    """Each folder by a name of its own: its last part, numbered where two are alike."""
    found: dict[str, Path] = {}
    for root in sorted({root.resolve() for root in roots}):
        name = label = root.name or "root"
        n = 1
        while label in found:
            n += 1
            label = f"{name}~{n}"
        found[label] = root
    return found


def files(roots: Mapping[str, Path], skipped: Counter[str]) -> Iterator[File]:
    """The files below some folders, in a fixed order, each name once."""
    seen: set[str] = set()
    for label, root in roots.items():
        prefix = f"{label}/" if len(roots) > 1 else ""
        for relative, path in _walk(root, skipped):
            try:
                stat = os.stat(path)  # noqa: PTH116 - a Path for each of 100,000 files costs a second
            except OSError:
                skipped["unreadable"] += 1
                continue
            name = _one_line(clean(prefix + relative))
            if stat.st_size > MAX_FILE_BYTES:
                skipped["too large"] += 1
            elif name in seen:
                skipped["same name"] += 1
            else:
                seen.add(name)
                yield File(name, path, stat.st_size, stat.st_mtime_ns)


def names_under(paths: Sequence[Path], roots: Mapping[str, Path]) -> tuple[str, ...]:
    """The names in the index under some folders and files: each as it is, or with a `/` at its end for all below it.

    Raises:
        ConfigError: One of them is not among the documents.
    """
    found: list[str] = []
    for path in (Path(path).expanduser().resolve() for path in paths):
        names = []
        for label, root in roots.items():
            prefix = f"{label}/" if len(roots) > 1 else ""
            if root.is_relative_to(path):
                names.append(prefix if not root.is_file() else prefix + root.name)
            elif path.is_relative_to(root):
                relative = path.relative_to(root).as_posix()
                names.append(prefix + relative + ("/" if path.is_dir() else ""))
        if not path.exists() or not names:
            raise ConfigError(
                f"{path} is marked private, but no document is there",
                hint="--private takes a folder or file that is there, below one of the --docs.",
            )
        found += (_one_line(clean(name)) for name in names)
    return tuple(found)


def _one_line(name: str) -> str:
    """A name that cannot pose as the next line of a list of sources."""
    return name.replace("\n", " ").replace("\t", " ")


def _walk(root: Path, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Regular files below `root`. Hidden and generated folders and links are left out."""
    if root.is_file():
        yield root.name, str(root)
        return
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            skipped["unreadable"] += 1
            continue
        folders = []
        for entry in entries:
            relative = f"{folder}/{entry.name}" if folder else entry.name
            if why := _left_out(entry):
                skipped[why] += 1
            elif entry.is_dir():
                folders.append(relative)
            elif entry.is_file():
                yield relative, entry.path
            else:
                skipped["not a file"] += 1
        pending += reversed(folders)


def _left_out(entry: os.DirEntry[str]) -> str:
    """Why not to look at it, or nothing."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_symlink():
        return "link"
    return "generated" if entry.name in _GENERATED and entry.is_dir() else ""
