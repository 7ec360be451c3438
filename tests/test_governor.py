"""One governor paces all calls to a server: nothing is held back until it objects, and then nobody storms it."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delegator.errors import Fault, ModelError
from delegator.models.governor import ATTEMPTS, LONGEST_PAUSE, Governor, retry_after
from requirements import requirement


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 10))


async def call(governor: Governor, name: str, log: list[str], **more: Any) -> None:
    async with governor.slot(**{"priority": 2, "run": "r", **more}):
        log.append(name)
        await asyncio.sleep(0)


def test_until_a_server_objects_everything_runs_at_once() -> None:
    async def work() -> None:
        governor, peak = Governor(), 0
        async with asyncio.TaskGroup() as group:

            async def one() -> None:
                nonlocal peak
                async with governor.slot(priority=2, run="r"):
                    peak = max(peak, governor.under_way)
                    await asyncio.sleep(0)

            for _ in range(300):
                group.create_task(one())
        assert peak == 300
        assert governor.under_way == 0

    run(work)


@requirement("pace")
def test_after_a_refusal_half_of_what_was_under_way_may_run() -> None:
    async def work() -> None:
        governor, log = Governor(limit=8), list[str]()
        governor._under_way["r"] = 8
        governor.failed(ModelError(Fault.RATE_LIMITED), 1)
        assert governor.limit == 4
        governor._under_way.clear()
        held = [governor.slot(priority=2, run="r") for _ in range(4)]
        for slot in held:
            await slot.__aenter__()
        late = asyncio.create_task(call(governor, "late", log))
        await asyncio.sleep(0.01)
        assert log == []
        await held[0].__aexit__(None, None, None)
        await late
        for slot in held[1:]:
            await slot.__aexit__(None, None, None)

    run(work)


@requirement("pace")
def test_answers_open_it_again_one_for_each_round() -> None:
    governor = Governor(limit=4)
    for _ in range(4):
        governor.answered({})
    assert 4.8 < governor.limit <= 5


@requirement("pace")
def test_the_urgent_go_first_and_then_the_run_that_has_least_under_way() -> None:
    async def work() -> None:
        governor, log = Governor(limit=1), list[str]()
        first = governor.slot(priority=2, run="busy")
        await first.__aenter__()
        governor.limit = 2
        second = governor.slot(priority=2, run="busy")
        await second.__aenter__()
        governor.limit = 1
        tasks = [
            asyncio.create_task(call(governor, "researcher of the busy run", log, run="busy")),
            asyncio.create_task(call(governor, "researcher of another", log, run="other")),
            asyncio.create_task(call(governor, "critic", log, priority=1, run="busy")),
            asyncio.create_task(call(governor, "orchestrator", log, priority=0, run="busy")),
        ]
        await asyncio.sleep(0.01)
        governor.limit = 2
        await first.__aexit__(None, None, None)
        await asyncio.gather(*tasks)
        await second.__aexit__(None, None, None)
        assert log == [
            "orchestrator",
            "critic",
            "researcher of another",
            "researcher of the busy run",
        ]

    run(work)


@requirement("pace")
def test_a_pause_that_a_server_asks_for_holds_for_everybody() -> None:
    async def work() -> None:
        governor, log = Governor(), list[str]()
        pause = governor.failed(ModelError(Fault.RATE_LIMITED, retry_after=0.05), 1)
        assert pause is not None
        assert 0.05 <= pause <= 0.055
        other = asyncio.create_task(call(governor, "another agent", log))
        await asyncio.sleep(0.02)
        assert log == []
        await other
        assert log == ["another agent"]

    run(work)


@requirement("pace")
def test_a_server_that_has_nothing_left_is_left_alone_until_it_has() -> None:
    governor = Governor(clock=lambda: 100.0)
    headers = {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2999-01-01T00:00:00Z",
    }
    governor.answered(headers)
    assert governor.not_before > 1_000
    calm = Governor(clock=lambda: 100.0)
    calm.answered({**headers, "anthropic-ratelimit-requests-remaining": "7"})
    assert calm.not_before == 0


@requirement("pace")
@pytest.mark.parametrize("fault", Fault)
def test_only_faults_that_may_pass_are_tried_again_and_a_spend_limit_is_final(fault: Fault) -> None:
    passing = {Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.SERVER, Fault.UNREACHABLE, Fault.CUT}
    assert (Governor().failed(ModelError(fault), 1) is not None) is (fault in passing)
    assert Governor().failed(ModelError(fault), ATTEMPTS) is None


@settings(deadline=None)
@given(st.integers(1, ATTEMPTS - 1), st.floats(0, 1))
def test_pauses_grow_are_spread_and_have_an_end(attempt: int, chance: float) -> None:
    pause = Governor(chance=lambda: chance).failed(ModelError(Fault.SERVER), attempt)
    assert pause is not None
    assert 0 < pause <= LONGEST_PAUSE


@requirement("W3")
def test_who_is_cancelled_in_the_queue_takes_no_place_with_it() -> None:
    async def work() -> None:
        governor, log = Governor(limit=1), list[str]()
        held = governor.slot(priority=2, run="r")
        await held.__aenter__()
        gone = asyncio.create_task(call(governor, "gone", log))
        after = asyncio.create_task(call(governor, "after", log))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        await held.__aexit__(None, None, None)
        await after
        assert log == ["after"]
        assert governor.under_way == 0

    run(work)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 9999 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 99 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_pause_that_a_header_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_pause_may_be_asked_for_as_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    pause = retry_after({"retry-after": format_datetime(moment, usegmt=True)})
    assert pause is not None
    assert 0 < pause <= 100
