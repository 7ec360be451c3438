"""Intervals against values that others have published or that can be worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegator.lab.statistics import Share, clustered, median, share, wilson, zero_bound


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_wilson_interval_is_the_published_one(
    hits: int, of: int, low: float, high: float
) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("of", "bound"), [(100, 0.030), (250, 0.012), (949, 0.0032), (1, 0.95)])
def test_the_bound_of_nothing_seen_is_the_exact_one(of: int, bound: float) -> None:
    assert zero_bound(of) == pytest.approx(bound, abs=6e-4)
    assert (1 - zero_bound(of)) ** of == pytest.approx(0.05)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(hits: int, of: int) -> None:
    one = Share(hits=min(hits, of), of=of)
    low, high = one.interval
    assert 0 <= low <= one.value <= high <= 1


@given(st.lists(st.booleans(), max_size=50))
def test_the_bound_is_named_only_where_nothing_was_seen(found: list[bool]) -> None:
    assert (share(found).bound is not None) == (bool(found) and not any(found))


def test_a_share_of_nothing_is_no_number() -> None:
    nothing = Share(hits=0, of=0)
    assert math.isnan(nothing.value)
    assert nothing.to_json()["share"] is None
    assert math.isnan(median([]))


def test_clusters_that_agree_with_themselves_widen_the_interval() -> None:
    alike = [Share(hits=10 * (i % 2), of=10) for i in range(10)]
    mixed = [Share(hits=5, of=10)] * 10
    low, high = clustered(alike, "seed")
    assert high - low > 0.4
    assert clustered(mixed, "seed") == (0.5, 0.5)


@given(st.lists(st.tuples(st.integers(0, 9), st.just(9)), min_size=1, max_size=12), st.text())
def test_a_bootstrap_comes_out_again_and_holds_all_clusters_between_its_ends(
    found: list[tuple[int, int]], seed: str
) -> None:
    clusters = [Share(hits=hits, of=of) for hits, of in found]
    low, high = clustered(clusters, seed, draws=200)
    assert (low, high) == clustered(clusters, seed, draws=200)
    values = [cluster.value for cluster in clusters]
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_the_median_of_an_even_number_lies_between() -> None:
    assert (median([3, 1, 2]), median([4, 1, 2, 3])) == (2, 2.5)
