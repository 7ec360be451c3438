"""Ceilings hold for every tree of agents, and everything that was held is given back."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from delegator.budget import RUN_LIMITS, SMALLEST_REPLY, Budget, Limits, Reservation, Usage
from delegator.errors import Ceiling, LimitExceeded
from requirements import requirement

UNTIMED = settings(deadline=None)

usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 400),
    output_tokens=st.integers(0, 400),
    cache_read_tokens=st.integers(0, 400),
    cache_write_tokens=st.integers(0, 400),
)
limits = st.builds(
    Limits,
    tokens=st.none() | st.integers(1, 1_000),
    model_calls=st.none() | st.integers(1, 6),
    delegations=st.none() | st.integers(1, 4),
)
steps = st.lists(
    st.tuples(st.sampled_from(["child", "open", "close", "fail"]), st.integers(0, 9), limits)
    | st.tuples(st.just("open"), st.integers(0, 9), st.integers(1, 300)),
    max_size=30,
)


class ProviderDown(Exception):
    pass


@dataclass
class Open:
    """A model call on its way."""

    node: Budget
    call: contextlib.AbstractContextManager[Reservation]
    reservation: Reservation


@dataclass
class Tree:
    """A tree of agents whose calls open and close in any order."""

    nodes: list[Budget]
    calls: list[Open] = field(default_factory=list)
    settled: list[tuple[Budget, Usage]] = field(default_factory=list)

    def take(self, kind: str, at: int, given: Limits | int) -> None:
        node = self.nodes[at % len(self.nodes)]
        if kind == "child" and isinstance(given, Limits):
            self.nodes.append(node.child(f"D{len(self.nodes)}", given))
        elif kind == "open":
            with contextlib.suppress(LimitExceeded):
                self.open(node, given if isinstance(given, int) else 100)
        elif self.calls:
            self.close(self.calls.pop(at % len(self.calls)), failed=kind == "fail")

    def open(self, node: Budget, reply_tokens: int) -> None:
        call = node.model_call(reply_tokens)
        reservation = call.__enter__()
        assert reservation.reply_tokens <= reply_tokens
        self.calls.append(Open(node, call, reservation))

    def close(self, call: Open, *, failed: bool = False) -> None:
        if failed:
            error = ProviderDown()
            with contextlib.suppress(ProviderDown):
                call.call.__exit__(ProviderDown, error, None)
            return
        used = Usage(output_tokens=call.reservation.reply_tokens)
        call.reservation.settle(used)
        self.settled.append((call.node, used))
        call.call.__exit__(None, None, None)

    def finish(self) -> None:
        while self.calls:
            self.close(self.calls.pop())

    def below(self, top: Budget) -> Iterator[Usage]:
        return (used for node, used in self.settled if top in list(node.lineage))


@UNTIMED
@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == a
    assert (a + b).total == a.total + b.total


def test_every_kind_of_token_counts() -> None:
    usage = Usage(input_tokens=1, output_tokens=20, cache_read_tokens=300, cache_write_tokens=4_000)
    assert usage.total == 4_321
    assert usage.to_json() == snapshot(
        {
            "input_tokens": 1,
            "output_tokens": 20,
            "cache_read_tokens": 300,
            "cache_write_tokens": 4000,
        }
    )


@requirement("B1")
@UNTIMED
@given(limits, steps)
def test_no_tree_of_calls_passes_a_ceiling_of_any_ancestor(
    top: Limits, taken: list[tuple[str, int, Limits | int]]
) -> None:
    tree = Tree([Budget(owner="run", limits=top)])
    for step in taken:
        tree.take(*step)
        for node in tree.nodes:
            tokens, calls = node.limits.tokens, node.limits.model_calls
            assert calls is None or node.model_calls <= calls
            assert tokens is None or node.spent.total + node.held_tokens <= tokens


@requirement("B1")
@UNTIMED
@given(limits, steps)
def test_when_all_calls_are_over_nothing_is_held_and_each_is_paid_once_at_every_level(
    top: Limits, taken: list[tuple[str, int, Limits | int]]
) -> None:
    tree = Tree([Budget(owner="run", limits=top)])
    for step in taken:
        tree.take(*step)
    tree.finish()
    for node in tree.nodes:
        assert node.held_tokens == 0
        assert node.spent == sum(tree.below(node), Usage())


def test_a_call_that_raises_gives_back_what_it_held_and_still_counts_as_a_call() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    child = run.child("D1", Limits())
    with pytest.raises(ProviderDown), child.model_call(80):
        raise ProviderDown
    assert [(node.held_tokens, node.spent, node.model_calls) for node in (run, child)] == [
        (0, Usage(), 1),
        (0, Usage(), 1),
    ]


def test_a_call_that_fails_after_it_was_billed_is_paid() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    with contextlib.suppress(ProviderDown), run.model_call(80) as reservation:
        reservation.settle(Usage(output_tokens=70))
        raise ProviderDown
    assert run.spent == Usage(output_tokens=70)


@requirement("B1")
def test_what_open_calls_may_still_use_is_not_there_for_others() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    with run.child("D1", Limits()).model_call(90), pytest.raises(LimitExceeded) as caught:  # noqa: SIM117
        with run.child("D2", Limits()).model_call(90):
            pass
    assert (caught.value.ceiling, caught.value.limit, caught.value.owner) == (
        Ceiling.TOKENS,
        100,
        "run",
    )


def test_a_refused_call_leaves_no_trace() -> None:
    run = Budget(owner="run", limits=Limits(model_calls=1))
    child = run.child("D1", Limits())
    with run.model_call(10):
        pass
    with pytest.raises(LimitExceeded), child.model_call(10):
        pass
    assert (child.model_calls, child.held_tokens, run.model_calls) == (0, 0, 1)


def test_a_call_is_granted_no_more_than_the_tightest_ceiling_leaves() -> None:
    run = Budget(owner="run", limits=Limits(tokens=1_000))
    child = run.child("D1", Limits(tokens=200))
    with child.model_call(500) as reservation:
        assert reservation.reply_tokens == 200


@requirement("B1")
@pytest.mark.parametrize("room", [SMALLEST_REPLY - 1, SMALLEST_REPLY])
def test_a_call_opens_only_if_there_is_room_to_say_something(room: int) -> None:
    run = Budget(owner="run", limits=Limits(tokens=100), spent=Usage(input_tokens=100 - room))
    if room < SMALLEST_REPLY:
        with pytest.raises(LimitExceeded), run.model_call(50):
            pass
    else:
        with run.model_call(50) as reservation:
            assert reservation.reply_tokens == room


def test_a_call_beyond_the_ceiling_names_the_ceiling_and_its_owner() -> None:
    run = Budget(owner="run", limits=Limits(model_calls=2))
    child = run.child("D1", Limits(model_calls=5))
    for _ in range(2):
        with child.model_call(10):
            pass
    with pytest.raises(LimitExceeded) as caught, child.model_call(10):
        pass
    assert (caught.value.ceiling, caught.value.limit, caught.value.owner) == (
        Ceiling.MODEL_CALLS,
        2,
        "run",
    )


def test_without_a_ceiling_a_call_gets_what_it_asks_for() -> None:
    with Budget(owner="run", limits=Limits()).model_call(50_000) as reservation:
        assert reservation.reply_tokens == 50_000


@requirement("B1")
def test_a_delegation_counts_at_every_level_up_to_the_ceiling() -> None:
    run = Budget(owner="run", limits=Limits(delegations=2))
    child = run.child("D1", Limits())
    child.open_delegation()
    run.open_delegation()
    with pytest.raises(LimitExceeded) as caught:
        child.open_delegation()
    assert (caught.value.ceiling, caught.value.owner) == (Ceiling.DELEGATIONS, "run")
    assert (run.delegations, child.delegations) == (2, 1)


def test_the_lineage_goes_from_an_agent_up_to_the_run() -> None:
    run = Budget(owner="run", limits=Limits())
    child = run.child("D1", Limits()).child("D1.1", Limits())
    assert [node.owner for node in child.lineage] == ["D1.1", "D1", "run"]


def test_the_calls_left_are_those_of_the_tightest_ceiling() -> None:
    run = Budget(owner="run", limits=Limits(model_calls=3))
    child = run.child("D1", Limits(model_calls=9))
    assert child.calls_left == 3
    with run.model_call(10):
        assert child.calls_left == 2
    assert Budget(owner="run", limits=Limits()).calls_left is None


@requirement("B3")
@pytest.mark.parametrize("spent", [0, 100])
def test_an_end_in_sight_of_the_tokens_is_announced(spent: int) -> None:
    run = Budget(owner="run", limits=Limits(tokens=100), spent=Usage(output_tokens=spent))
    assert run.nearly_spent is (spent == 100)
    assert not run.child("D1", Limits()).nearly_spent


def test_the_smallest_reply_ceiling_of_all_ancestors_counts() -> None:
    run = Budget(owner="run", limits=Limits(reply_tokens=500))
    assert run.child("D1", Limits(reply_tokens=4_000)).reply_tokens == 500
    assert run.child("D1", Limits(reply_tokens=40)).reply_tokens == 40
    assert Budget(owner="run", limits=Limits()).reply_tokens is None


def test_seconds_are_counted_from_when_the_budget_was_made() -> None:
    long_ago = time.monotonic() - 1_000
    assert Budget(owner="run", limits=Limits(), started=long_ago).seconds >= 1_000


@requirement("B3")
@pytest.mark.parametrize("age", [0, 1_000])
def test_an_end_in_sight_of_the_seconds_is_announced(age: int) -> None:
    started = time.monotonic() - age
    run = Budget(owner="run", limits=Limits(seconds=1_200), started=started)
    assert run.nearly_spent is (age == 1_000)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_a_ceiling_that_no_run_could_live_under_is_refused(name: str, value: float) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        Limits(**given)


@UNTIMED
@given(limits, limits)
def test_own_limits_come_before_the_defaults(own: Limits, defaults: Limits) -> None:
    over = own.over(defaults)
    for name in Limits.__dataclass_fields__:
        chosen = getattr(own, name)
        assert getattr(over, name) == (getattr(defaults, name) if chosen is None else chosen)


def test_limits_as_json_leave_out_what_is_not_set() -> None:
    assert Limits(tokens=5).to_json() == {"tokens": 5}
    assert RUN_LIMITS.to_json() == snapshot(
        {
            "tokens": 2000000,
            "model_calls": 120,
            "delegations": 24,
            "parallel": 8,
            "seconds": 900.0,
            "reply_tokens": 8000,
        }
    )
