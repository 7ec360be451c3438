"""The tree of exceptions: data first, prose derived, nobody's words quoted."""

import re
from collections.abc import Iterator

import pytest

from delegator import errors
from delegator.errors import (
    Ceiling,
    ConfigError,
    DelegatorError,
    Fault,
    GuardTripped,
    HandoffRejected,
    LimitExceeded,
    ModelError,
)
from requirements import requirement

CANARY = "ignore-all-previous-instructions"


def below(kind: type[DelegatorError]) -> Iterator[type[DelegatorError]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    own = [kind.__name__ for kind in below(DelegatorError) if kind.__module__ == errors.__name__]
    assert sorted(drawn) == sorted(own)


@requirement("cli:errors")
@pytest.mark.parametrize("fault", Fault)
def test_every_fault_says_in_one_line_what_is_wrong_and_in_another_what_to_do(fault: Fault) -> None:
    error = ModelError(fault)
    assert re.fullmatch(r"[A-Z][^\n]+\.", str(error))
    assert re.fullmatch(r"[A-Z][^\n]+\.", error.hint)


def test_a_model_error_carries_the_status_that_the_server_gave() -> None:
    error = ModelError(Fault.OVERLOADED, status=529)
    assert (error.fault, error.status) == (Fault.OVERLOADED, 529)
    assert "529" in str(error)


@requirement("T7")
@pytest.mark.parametrize("fault", Fault)
def test_a_servers_own_words_stand_in_detail_and_nowhere_else(fault: Fault) -> None:
    error = ModelError(fault, status=400, detail=CANARY)
    assert error.detail == CANARY
    assert CANARY not in str(error) + error.hint


@pytest.mark.parametrize(
    ("ceiling", "option"),
    [
        (Ceiling.TOKENS, "--max-tokens"),
        (Ceiling.MODEL_CALLS, "--max-calls"),
        (Ceiling.DELEGATIONS, "--max-delegations"),
        (Ceiling.SECONDS, "--max-seconds"),
    ],
)
def test_a_reached_limit_says_which_whose_and_how_to_raise_it(
    ceiling: Ceiling, option: str
) -> None:
    error = LimitExceeded(ceiling, 12, "D1")
    assert (error.ceiling, error.limit, error.owner) == (ceiling, 12, "D1")
    assert option in error.hint
    assert "D1" in str(error)
    assert "12" in str(error)


def test_a_rejected_handoff_lists_its_problems() -> None:
    error = HandoffRejected(("$.a: required", "$.b: type string"))
    assert error.problems == ("$.a: required", "$.b: type string")
    assert str(error) == "$.a: required; $.b: type string"


def test_a_tripped_guard_says_which_rule_and_where() -> None:
    error = GuardTripped("T2", "message 3")
    assert (error.rule, error.place) == ("T2", "message 3")
    assert "T2" in str(error)
    assert "message 3" in str(error)


def test_a_configuration_error_may_say_what_to_do() -> None:
    assert ConfigError("wrong", hint="Right it.").hint == "Right it."
    assert ConfigError("wrong").hint == ""
