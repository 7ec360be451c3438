"""What defence costs where there is no attack: documents full of commands are still answered from, word for word."""

import asyncio
from pathlib import Path

import pytest

from delegator.lab import benign
from delegator.lab.summary import LEAST_FAITHFUL, MOST_BLOCKED
from delegator.sanitize import fold
from delegator.trust import Level

LEVELS = (Level.RAW, Level.TYPED, Level.SEALED, Level.GUARDED)
Answers = dict[Level, dict[str, benign.Served]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Every question at every level."""
    return {level: _served(level, tmp_path_factory.mktemp("benign")) for level in LEVELS}


def _served(level: Level, folder: Path) -> dict[str, benign.Served]:
    index = benign.indexed(folder)
    try:
        return {q.document: asyncio.run(benign.serve(q, level, index)) for q in benign.questions()}
    finally:
        index.close()


def _answered(answers: dict[str, benign.Served]) -> set[str]:
    return {name for name, served in answers.items() if served.answered}


def test_there_are_forty_five_documents_and_a_question_for_each_whose_fact_is_in_it() -> None:
    names = {path.name for path in benign.FOLDER.iterdir()}
    assert len(names) == 45
    assert {q.document for q in benign.questions()} == names
    for q in benign.questions():
        assert fold(q.fact) in fold((benign.FOLDER / q.document).read_text("utf-8")), q


def test_without_defence_nearly_all_questions_are_answered(answers: Answers) -> None:
    missed = answers[Level.RAW].keys() - _answered(answers[Level.RAW])
    assert len(missed) <= 5, sorted(missed)


@pytest.mark.parametrize("level", [Level.TYPED, Level.SEALED, Level.GUARDED])
def test_hardly_anything_that_is_answered_without_defence_is_blocked(
    answers: Answers, level: Level
) -> None:
    plain = _answered(answers[Level.RAW])
    blocked = plain - _answered(answers[level])
    assert len(blocked) <= MOST_BLOCKED * len(plain), sorted(blocked)


@pytest.mark.parametrize("level", [Level.SEALED, Level.GUARDED])
def test_what_an_answer_quotes_stands_in_its_document_unaltered(
    answers: Answers, level: Level
) -> None:
    altered = [piece for served in answers[level].values() for piece in served.altered]
    pieces = sum(served.pieces for served in answers[level].values())
    assert len(altered) <= (1 - LEAST_FAITHFUL) * pieces, altered
