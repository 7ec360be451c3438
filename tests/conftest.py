"""What holds for every test: no real service can be reached, no key is seen, no file of the person's is touched."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from delegator.models import governor

settings.register_profile("ci", derandomize=True, deadline=None)
"""The same examples in every checking run; at a desk new ones are looked for each time."""
if os.environ.get("CI") == "true":
    settings.load_profile("ci")

ALLOW_REMOTE = False
"""The one switch. With it off, a connection to anything but loopback fails before it is tried."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_connect = socket.socket.connect


def _only_loopback(self: socket.socket, address: Any) -> None:
    if not ALLOW_REMOTE and self.family in (socket.AF_INET, socket.AF_INET6):
        host = str(address[0])
        if host not in _LOOPBACK and not host.startswith("127."):
            msg = f"a test tried to reach {host}"
            raise RuntimeError(msg)
    _connect(self, address)


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Loopback only, no credentials, a home of its own."""
    monkeypatch.setattr(socket.socket, "connect", _only_loopback)
    for name in list(os.environ):
        own = name.startswith(("ANTHROPIC_", "OTEL_", "DELEGATOR_OTEL_"))
        if own or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(governor, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv("DELEGATOR_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path_factory.getbasetemp() / "no-config"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where everything can be installed (`CI=true`), a skipped test is a failed run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and exitstatus == 0 and os.environ.get("CI") == "true":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A small folder of documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "bm25.md").write_text(
        "# BM25\n\nBM25 is a ranking function that scores a document by the query terms it contains.\n"
        "It was developed by Stephen Robertson for the Okapi system in the 1990s.\n\n"
        "## Saturation\n\nThe parameter k1 of BM25 limits how much repeated terms add to the score.\n"
    )
    (folder / "tea.txt").write_text(
        "Tea\n===\n\nGreen tea is brewed at 80 degrees for two minutes.\n\nBlack tea is brewed at 95 degrees.\n"
    )
    return folder
