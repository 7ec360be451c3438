"""Where delegator keeps its files."""

import os
import sys
from pathlib import Path


def data_home() -> Path:
    """Where delegator keeps its files: `DELEGATOR_HOME`, or the platform's data directory."""
    if given := os.environ.get("DELEGATOR_HOME"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "delegator"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "delegator"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "delegator"
