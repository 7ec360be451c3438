"""Labels join along data flow and only go down."""

import dataclasses
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from delegator.trust import (
    OPERATOR,
    UNTRUSTED,
    USER,
    Confidentiality,
    Integrity,
    Label,
    untrusted,
)
from requirements import requirement

UNTIMED = settings(deadline=None)

labels = st.builds(
    Label,
    integrity=st.sampled_from(Integrity),
    confidentiality=st.sampled_from(Confidentiality),
    sources=st.frozensets(st.sampled_from(["D1", "D2", "doc.1", "tool:clock"])),
)


@UNTIMED
@given(labels, labels)
def test_the_order_of_a_join_does_not_matter(a: Label, b: Label) -> None:
    assert a & b == b & a


@UNTIMED
@given(labels, labels, labels)
def test_the_grouping_of_joins_does_not_matter(a: Label, b: Label, c: Label) -> None:
    assert (a & b) & c == a & (b & c)


@UNTIMED
@given(labels)
def test_a_label_joined_with_its_equal_stays_the_same(a: Label) -> None:
    assert a & a == a
    assert a & dataclasses.replace(a) == a


@requirement("T4")
@UNTIMED
@given(st.lists(labels, min_size=1))
def test_a_join_is_the_minimum_of_its_parts(parts: list[Label]) -> None:
    joined = reduce(Label.__and__, parts)
    assert joined.integrity == min(part.integrity for part in parts)
    assert joined.confidentiality == max(part.confidentiality for part in parts)
    assert joined.sources == frozenset().union(*(part.sources for part in parts))


@requirement("T4")
@UNTIMED
@given(labels, labels)
def test_a_join_is_never_above_a_part(a: Label, b: Label) -> None:
    joined = a & b
    assert joined.integrity <= a.integrity
    assert joined.confidentiality >= a.confidentiality
    assert joined.sources >= a.sources


@UNTIMED
@given(labels)
def test_operator_text_takes_nothing_from_what_it_is_joined_with(a: Label) -> None:
    assert OPERATOR & a == a


@pytest.mark.parametrize(("label", "trusted"), [(OPERATOR, True), (USER, True), (UNTRUSTED, False)])
def test_only_what_people_wrote_is_trusted(label: Label, trusted: bool) -> None:
    assert label.trusted is trusted


def test_one_untrusted_part_makes_the_whole_untrusted() -> None:
    assert not (OPERATOR & USER & untrusted("doc.1")).trusted


def test_an_untrusted_label_names_its_sources() -> None:
    assert untrusted("doc.1", "D2") == Label(
        integrity=Integrity.UNTRUSTED, sources=frozenset({"doc.1", "D2"})
    )


@requirement("T4")
def test_a_label_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        UNTRUSTED.integrity = Integrity.OPERATOR  # type: ignore[misc]  # what this test is about


def test_a_label_as_json_has_sorted_sources() -> None:
    assert untrusted("b", "c", "a").to_json() == snapshot(
        {"integrity": "untrusted", "confidentiality": "conversation", "sources": ["a", "b", "c"]}
    )
