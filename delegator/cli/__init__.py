"""The command line: `options` are parsed and merged with the settings file, `commands`, `past` and `lab` do what was asked."""

from delegator.cli import agentdojo as agentdojo
from delegator.cli import lab as lab
from delegator.cli import past as past
from delegator.cli import view as view
from delegator.cli.commands import main

__all__ = ["main"]
