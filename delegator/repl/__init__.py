"""The REPL: question after question, with a conversation that later questions can point back to."""

from delegator.repl.repl import Repl

__all__ = ["Repl"]
