"""What delegator promises, in sentences with ids. Tests that keep a promise carry `@requirement(id)`.

`test_requirements.py` checks that every promise has a test and every id is known.
"""

import pytest

PROMISES: dict[str, str] = {
    "T1": "The system text of every request is byte-identical to text the operator wrote.",
    "T2": "Untrusted text reaches a model only inside tool results, in an envelope, through one function.",
    "T3": "A subagent starts from an empty message list and sees its brief and nothing else of the parent.",
    "T4": "A label is the minimum of everything its author had read; nothing raises one.",
    "T5": "No message adds a tool, an agent, a budget or a permission; subagents cannot delegate.",
    "T6": "Claimed and observed are separate; a report that claims unseen work is quarantined.",
    "T7": "No error text quotes an untrusted value.",
    "T8": "Text is made safe for its sink.",
    "ladder": "What a level guarantees holds for a model that obeys everything; success sets shrink with every level.",
    "lab:fails": "With any one control switched off, the lab reports the break and exits with 1.",
    "lab:same": "The same seed gives the lab's results again, to the byte, in any order and after any interruption.",
    "policy": "From guarded up no effect outside rests on untrusted text, and nothing private leaves, but by approval.",
    "B1": "A call starts only if the ceilings of its agent and of every ancestor leave room.",
    "pace": "Rate limits are shared: one governor paces all agents, and a spend limit is final.",
    "B3": "Running out gives a partial answer that says so, not nothing.",
    "W1": "Every handoff is checked against a closed schema, repaired at most once, then contract_failed.",
    "W2": "Nothing that finished is run or paid for again after a kill; resume gives the same answer.",
    "W3": "Cancelling a run cancels the whole tree and keeps what is finished.",
    "W5": "Nothing hangs, nothing ends in silence: every loop has an outcome, every call a result.",
    "cite": "Every quote in an answer was compared with its stored source; what fails is marked.",
    "cli:exit": "The exit status says how a run ended.",
    "cli:errors": "An error is one or two lines: what is wrong, and what to do.",
    "cli:json": "`--json` prints one object that fits the schema in the package.",
    "lazy": "Importing the package loads no SDK and nothing heavy.",
    "offline": "The offline model answers from any folder of documents, or says that it cannot.",
    "parallel": "Delegations in one reply run at the same time.",
    "faults": "Whatever a server does, a run ends in a named outcome in its time, and no call is paid for twice.",
    "cache": "What a prompt cache could serve stands under a marker.",
    "lab:agentdojo": "AgentDojo is played in the versions and pairs of the published table; what failed is no result.",
    "traces": "Every agent, model call and tool call has a span with the right parent; what was said is in none unasked.",
    "view:inert": "A page of a run is one file: no text in it runs or leads anywhere, and it asks no network for anything.",
    "view:why": "A page of a run shows each decision with its rule, its reason and the exact call.",
    "wire": "The Messages API is spoken with every stop reason and every fault named.",
}


def requirement(id: str) -> pytest.MarkDecorator:
    """Mark a test as keeping the promise `id`."""
    if id not in PROMISES:
        msg = f"there is no promise {id!r}"
        raise KeyError(msg)
    return pytest.mark.requirement(id)
