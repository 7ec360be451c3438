"""Ceilings hold for every tree of agents, whatever happens; what was held is given back; what is scarce is waited for."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inline_snapshot import snapshot

from delegator.budget import (
    COMFORTABLE_REPLY,
    NANO,
    RUN_LIMITS,
    SMALLEST_REPLY,
    Budget,
    Busy,
    Limits,
    Reservation,
    Usage,
    Worst,
)
from delegator.errors import Ceiling, LimitExceeded
from delegator.prices import Price, price_from
from requirements import requirement

UNTIMED = settings(deadline=None)
PRICE = price_from(
    {"input": 3, "output": 15, "above": {"tokens": 500, "input": 6, "output": 30}}, "m"
)

usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 400),
    output_tokens=st.integers(0, 400),
    cache_read_tokens=st.integers(0, 400),
    cache_write_tokens=st.integers(0, 400),
)
limits = st.builds(
    Limits,
    tokens=st.none() | st.integers(1, 20_000),
    usd=st.none() | st.floats(0.0001, 0.2),
    model_calls=st.none() | st.integers(1, 60),
    delegations=st.none() | st.integers(1, 4),
)


class ProviderDown(Exception):
    pass


@contextlib.contextmanager
def model_call(
    node: Budget, reply_tokens: int, input_tokens: int = 0, price: Price | None = None
) -> Iterator[Reservation]:
    """A call that is refused at once where it would have to wait."""
    reservation = node.reserve(
        Worst(input_tokens=input_tokens, reply_tokens=reply_tokens, price=price)
    )
    try:
        yield reservation
    finally:
        node.release(reservation, price)


@dataclass
class Open:
    """A model call on its way."""

    node: Budget
    worst: Worst
    reservation: Reservation
    done: list[Usage] = field(default_factory=list)


class Ledger(RuleBasedStateMachine):
    """Trees of agents of any shape, up to 200 wide: calls that open, fail, are cancelled, retried and answered in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Budget] = []
        self.open: list[Open] = []
        self.billed: list[tuple[Budget, Usage, int]] = []
        """What the server counted: the truth."""

    @rule(top=limits)
    @precondition(lambda self: not self.nodes)
    def begin(self, top: Limits) -> None:
        self.nodes.append(Budget(owner="run", limits=top))

    @rule(at=st.integers(0, 400), width=st.integers(1, 200), given=limits)
    @precondition(lambda self: 0 < len(self.nodes) < 400)
    def branch(self, at: int, width: int, given: Limits) -> None:
        parent = self.nodes[at % len(self.nodes)]
        self.nodes += [parent.child(f"D{len(self.nodes) + i}", given) for i in range(width)]

    @rule(
        at=st.integers(0, 400),
        prompt=st.integers(0, 2_000),
        reply=st.integers(1, 2_000),
        lands=st.booleans(),
        many=st.integers(1, 30),
    )
    @precondition(lambda self: self.nodes)
    def call(self, at: int, prompt: int, reply: int, lands: bool, many: int) -> None:
        worst = Worst(input_tokens=prompt, reply_tokens=reply, price=PRICE)
        for i in range(many):
            node = self.nodes[(at + i) % len(self.nodes)]
            with contextlib.suppress(LimitExceeded, Busy):
                reservation = node.reserve(worst, landing=node if lands else None)
                assert SMALLEST_REPLY <= reservation.reply_tokens <= reply or reply < SMALLEST_REPLY
                self.open.append(Open(node, worst, reservation))

    @rule(at=st.integers(0, 400), tokens=st.integers(0, 5_000), nano=st.integers(0, 10**8))
    @precondition(lambda self: self.nodes)
    def keep(self, at: int, tokens: int, nano: int) -> None:
        self.nodes[at % len(self.nodes)].keep(tokens, nano)

    def _billed(self, call: Open, share: float, kind: int) -> Usage:
        prompt = call.worst.input_tokens
        parts = [0, 0, 0]
        parts[kind] = int(prompt * share)
        parts[0] += prompt - sum(parts) if share > 0.5 else 0
        used = Usage(
            input_tokens=parts[0],
            cache_read_tokens=parts[1],
            cache_write_tokens=parts[2],
            output_tokens=int(call.reservation.reply_tokens * share),
        )
        self.billed.append((call.node, used, PRICE.cost(used)))
        return used

    @rule(
        at=st.integers(0, 400), share=st.floats(0, 1), kind=st.integers(0, 2), retried=st.booleans()
    )
    @precondition(lambda self: self.open)
    def answer(self, at: int, share: float, kind: int, retried: bool) -> None:
        call = self.open.pop(at % len(self.open))
        if retried:  # an attempt that failed before it said anything is the same call
            call.reservation.settle(Usage())
        call.reservation.settle(self._billed(call, share, kind))
        call.node.release(call.reservation, PRICE)

    @rule(at=st.integers(0, 400), begun=st.booleans())
    @precondition(lambda self: self.open)
    def cut(self, at: int, begun: bool) -> None:
        """A failure or a cancellation, before or after the server has counted the prompt."""
        call = self.open.pop(at % len(self.open))
        if begun:
            used = Usage(input_tokens=call.worst.input_tokens)
            call.reservation.settle(used)
            self.billed.append((call.node, used, PRICE.cost(used)))
        call.node.release(call.reservation, PRICE)

    @invariant()
    def no_ceiling_is_passed(self) -> None:
        for node in self.nodes:
            tokens, money, calls = node.limits.tokens, node.limits.usd, node.limits.model_calls
            assert calls is None or node.model_calls <= calls
            assert tokens is None or node.spent.total + node.held_tokens <= tokens
            assert money is None or node.spent_nano + node.held_nano <= money * NANO
            assert node.held_tokens >= 0
            assert node.held_nano >= 0

    @invariant()
    def what_was_settled_is_what_was_billed(self) -> None:
        if self.nodes:
            assert self.nodes[0].spent == sum((u for _, u, _ in self.billed), Usage())
            assert self.nodes[0].spent_nano == sum(nano for *_, nano in self.billed)

    def teardown(self) -> None:
        while self.open:
            self.cut(0, begun=False)
        for node in self.nodes:
            below = [(u, n) for own, u, n in self.billed if node in list(own.lineage)]
            assert (node.held_tokens, node.held_nano) == (0, 0)
            assert node.spent == sum((u for u, _ in below), Usage())
            assert node.spent_nano == sum(n for _, n in below)


TestLedger = requirement("B1")(Ledger.TestCase)
TestLedger.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


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


def test_a_call_that_raises_gives_back_what_it_held_and_still_counts_as_a_call() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    child = run.child("D1", Limits())
    with pytest.raises(ProviderDown), model_call(child, 80):
        raise ProviderDown
    assert [(node.held_tokens, node.spent, node.model_calls) for node in (run, child)] == [
        (0, Usage(), 1),
        (0, Usage(), 1),
    ]


def test_a_call_that_fails_after_it_was_billed_is_paid() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    with contextlib.suppress(ProviderDown), model_call(run, 80) as reservation:
        reservation.settle(Usage(output_tokens=70))
        raise ProviderDown
    assert run.spent == Usage(output_tokens=70)


@requirement("B1")
def test_what_open_calls_may_still_use_is_not_there_for_others() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    with model_call(run.child("D1", Limits()), 90), pytest.raises(Busy):
        run.child("D2", Limits()).reserve(Worst(input_tokens=0, reply_tokens=90))


@requirement("B1")
def test_a_call_that_could_never_fit_is_refused_and_the_ceiling_named() -> None:
    run = Budget(owner="run", limits=Limits(tokens=100))
    with model_call(run.child("D1", Limits()), 10), pytest.raises(LimitExceeded) as caught:
        run.child("D2", Limits()).reserve(Worst(input_tokens=99, reply_tokens=50))
    assert (caught.value.ceiling, caught.value.limit, caught.value.owner) == (
        Ceiling.TOKENS,
        100,
        "run",
    )


@requirement("B1")
def test_a_call_waits_until_a_sibling_gives_back_what_it_does_not_use() -> None:
    run = Budget(owner="run", limits=Limits(tokens=10_000))
    order: list[str] = []

    async def one(name: str, priority: int, hold: float) -> None:
        worst = Worst(input_tokens=2_000, reply_tokens=6_000)
        async with run.child(name, Limits()).model_call(worst, priority=priority) as reservation:
            order.append(name)
            assert reservation.reply_tokens == 6_000
            await asyncio.sleep(hold)
            reservation.settle(Usage(input_tokens=100, output_tokens=50))

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one("first", 2, 0.01))
            await asyncio.sleep(0)
            group.create_task(one("researcher", 2, 0))
            group.create_task(one("critic", 1, 0))
            group.create_task(one("orchestrator", 0, 0))

    asyncio.run(asyncio.wait_for(all_of_them(), 20))
    assert order == ["first", "orchestrator", "critic", "researcher"]
    assert run.spent == Usage(input_tokens=400, output_tokens=200)


@requirement("B1")
def test_who_waits_for_room_that_never_comes_is_refused() -> None:
    run = Budget(owner="run", limits=Limits(tokens=10_000))

    async def both() -> None:
        worst = Worst(input_tokens=2_000, reply_tokens=6_000)
        async with run.model_call(worst) as reservation:
            late = asyncio.create_task(_opened(run, worst))
            await asyncio.sleep(0)
            assert not late.done()
            reservation.settle(Usage(input_tokens=2_000, output_tokens=6_000))
        with pytest.raises(LimitExceeded):
            await late

    asyncio.run(asyncio.wait_for(both(), 20))


async def _opened(budget: Budget, worst: Worst) -> None:
    async with budget.model_call(worst):
        pass


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    run = Budget(owner="run", limits=Limits(tokens=10_000))

    async def cancelled() -> None:
        worst = Worst(input_tokens=2_000, reply_tokens=6_000)
        async with run.model_call(worst):
            late = asyncio.create_task(_opened(run, worst))
            await asyncio.sleep(0)
            late.cancel()
            await asyncio.wait([late])
        assert (run.held_tokens, run.model_calls) == (0, 1)

    asyncio.run(asyncio.wait_for(cancelled(), 20))


@requirement("B3")
def test_what_is_kept_for_a_last_turn_is_there_for_it_alone() -> None:
    run = Budget(owner="run", limits=Limits(tokens=10_000))
    run.keep(2_000)
    worst = Worst(input_tokens=9_000, reply_tokens=900)
    assert not run.affords(worst)
    with pytest.raises(LimitExceeded):
        run.child("D1", Limits()).reserve(worst)
    assert run.child("orchestrator", Limits()).reserve(worst, landing=run).reply_tokens == 900


def test_at_most_a_quarter_is_kept() -> None:
    run = Budget(owner="run", limits=Limits(tokens=10_000, usd=0.01))
    run.keep(99_999, 10**12)
    assert (run.kept_tokens, run.kept_nano) == (2_500, 2_500_000)


@requirement("B1")
def test_a_reply_is_shortened_to_the_money_that_is_left() -> None:
    run = Budget(owner="run", limits=Limits(usd=0.01))
    with model_call(run, 4_000, input_tokens=400, price=PRICE) as reservation:
        assert run.spent_nano + run.held_nano <= 0.01 * NANO
        assert COMFORTABLE_REPLY > reservation.reply_tokens > SMALLEST_REPLY
        reservation.settle(Usage(input_tokens=400, output_tokens=100))
    assert run.usd == pytest.approx((400 * 3 + 100 * 15) / 1e6)


@requirement("B1")
def test_a_call_that_costs_too_much_names_the_dollars() -> None:
    run = Budget(owner="run", limits=Limits(usd=0.001))
    with pytest.raises(LimitExceeded) as caught:
        run.reserve(Worst(input_tokens=400, reply_tokens=100, price=PRICE))
    assert caught.value.ceiling is Ceiling.USD
    assert "--max-usd" in caught.value.hint


def test_what_nobody_has_a_price_for_makes_the_sum_unknown() -> None:
    run = Budget(owner="run", limits=Limits())
    with model_call(run, 10) as reservation:
        reservation.settle(Usage(output_tokens=1))
    assert run.usd is None


def test_a_refused_call_leaves_no_trace() -> None:
    run = Budget(owner="run", limits=Limits(model_calls=1))
    child = run.child("D1", Limits())
    with model_call(run, 10):
        pass
    with pytest.raises(LimitExceeded), model_call(child, 10):
        pass
    assert (child.model_calls, child.held_tokens, run.model_calls) == (0, 0, 1)


def test_a_call_is_granted_no_more_than_the_tightest_ceiling_leaves() -> None:
    run = Budget(owner="run", limits=Limits(tokens=1_000))
    child = run.child("D1", Limits(tokens=200))
    with model_call(child, 500) as reservation:
        assert reservation.reply_tokens == 200


@requirement("B1")
@pytest.mark.parametrize("room", [SMALLEST_REPLY - 1, SMALLEST_REPLY])
def test_a_call_opens_only_if_there_is_room_to_say_something(room: int) -> None:
    run = Budget(owner="run", limits=Limits(tokens=100), spent=Usage(input_tokens=100 - room))
    if room < SMALLEST_REPLY:
        with pytest.raises(LimitExceeded), model_call(run, 50):
            pass
    else:
        with model_call(run, 50) as reservation:
            assert reservation.reply_tokens == room


def test_a_call_beyond_the_ceiling_names_the_ceiling_and_its_owner() -> None:
    run = Budget(owner="run", limits=Limits(model_calls=2))
    child = run.child("D1", Limits(model_calls=5))
    for _ in range(2):
        with model_call(child, 10):
            pass
    with pytest.raises(LimitExceeded) as caught, model_call(child, 10):
        pass
    assert (caught.value.ceiling, caught.value.limit, caught.value.owner) == (
        Ceiling.MODEL_CALLS,
        2,
        "run",
    )


def test_without_a_ceiling_a_call_gets_what_it_asks_for() -> None:
    with model_call(Budget(owner="run", limits=Limits()), 50_000) as reservation:
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
    with model_call(run, 10):
        assert child.calls_left == 2
    assert Budget(owner="run", limits=Limits()).calls_left is None


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
    assert run.late is (age == 1_000)


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
