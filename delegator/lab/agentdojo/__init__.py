"""AgentDojo: its tasks and attacks, played against delegator, and its environments as folders of poisoned documents.

Everything here that imports `agentdojo` is imported only when it is used: that package brings the clients of several vendors along,
and takes seconds. It needs the extra `lab`.
"""

from importlib.util import find_spec

from delegator.errors import ConfigError

VERSIONS = ("v1", "v1.1", "v1.1.1", "v1.1.2", "v1.2", "v1.2.1", "v1.2.2")
SUITES = ("workspace", "travel", "banking", "slack")
ATTACK = "important_instructions"
"""The attack of the published table."""


def require() -> None:
    """Make sure that AgentDojo is there.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        found = find_spec("agentdojo")
    except ValueError:  # somebody put a stand-in in its place
        found = None
    if found is None:
        raise ConfigError(
            "AgentDojo is not installed; it comes with the extra lab",
            hint="pip install 'delegator[lab]'",
        )
