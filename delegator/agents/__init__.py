"""Who can be asked: agents as values, fixed before the run, and as Markdown files with front matter."""

from delegator.agents.agent import AGENT_LIMITS, ANSWER_SCHEMA, MAX_CLAIMS, Agent
from delegator.agents.files import Loaded, load_agent, load_folder, shipped

__all__ = [
    "AGENT_LIMITS",
    "ANSWER_SCHEMA",
    "MAX_CLAIMS",
    "Agent",
    "Loaded",
    "load_agent",
    "load_folder",
    "shipped",
]
