"""delegator: an orchestrator whose tools are subagents. Budgeted, attested, cited, and treated as untrusted.

Importing this package does nothing else: names are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from delegator.agents import Agent, load_agent, load_folder, shipped
    from delegator.answer import Answer
    from delegator.api import Settings, ask, open_index, opened, run_agent, start
    from delegator.budget import Limits, Usage
    from delegator.citations import Citation
    from delegator.errors import ConfigError, DelegatorError, ModelError, ToolRejected
    from delegator.events import Event
    from delegator.knowledge import Index
    from delegator.model import Model
    from delegator.orchestrator import Run, Setup, Turn
    from delegator.outcome import Outcome, Receipt
    from delegator.policy import ApprovalRequest, Effects
    from delegator.subagent import Result
    from delegator.terminal.notebook import notebook
    from delegator.tools import Call, Tool, ToolOutput, tool
    from delegator.trust import Confidentiality, Integrity, Label, Level, untrusted

_HOMES = {
    "untrusted": "trust",
    "ToolRejected": "errors",
    "ToolOutput": "tools",
    "Call": "tools",
    "Agent": "agents",
    "Answer": "answer",
    "ApprovalRequest": "policy",
    "Citation": "citations",
    "Confidentiality": "trust",
    "ConfigError": "errors",
    "DelegatorError": "errors",
    "Effects": "policy",
    "Event": "events",
    "Index": "knowledge",
    "Integrity": "trust",
    "Label": "trust",
    "Level": "trust",
    "Limits": "budget",
    "Model": "model",
    "ModelError": "errors",
    "Outcome": "outcome",
    "Receipt": "outcome",
    "Result": "subagent",
    "Run": "orchestrator",
    "Settings": "api",
    "Setup": "orchestrator",
    "Tool": "tools",
    "Turn": "orchestrator",
    "Usage": "budget",
    "ask": "api",
    "load_agent": "agents",
    "load_folder": "agents",
    "notebook": "terminal.notebook",
    "open_index": "api",
    "opened": "api",
    "run_agent": "api",
    "shipped": "agents",
    "start": "api",
    "tool": "tools",
}

__all__ = [
    "Agent",
    "Answer",
    "ApprovalRequest",
    "Call",
    "Citation",
    "Confidentiality",
    "ConfigError",
    "DelegatorError",
    "Effects",
    "Event",
    "Index",
    "Integrity",
    "Label",
    "Level",
    "Limits",
    "Model",
    "ModelError",
    "Outcome",
    "Receipt",
    "Result",
    "Run",
    "Settings",
    "Setup",
    "Tool",
    "ToolOutput",
    "ToolRejected",
    "Turn",
    "Usage",
    "ask",
    "load_agent",
    "load_folder",
    "notebook",
    "open_index",
    "opened",
    "run_agent",
    "shipped",
    "start",
    "tool",
    "untrusted",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
