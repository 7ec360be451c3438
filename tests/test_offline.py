"""The offline model: plays every role for real, on any folder, and says so when it does not know."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

import delegator
from corpus.fetch import fetch
from delegator.models.offline.question import Kind, analyse, parts, resolve, topic
from delegator.orchestrator import Turn
from delegator.outcome import Outcome
from delegator.trust import UNTRUSTED
from requirements import requirement

CACHE = Path(__file__).parent.parent / ".cache" / "corpus"
QUESTIONS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "corpus" / "questions.json").read_text()
)
MAIN_JOB = "How do modern LLM agents learn to follow instructions and use tools effectively?"


@pytest.fixture(scope="module")
def corpus() -> Path:
    try:
        return fetch(CACHE)
    except RuntimeError as error:
        pytest.skip(f"the corpus cannot be installed: {error}")


def _right(question: dict[str, Any], answer: delegator.Answer) -> bool:
    """Whether the fact is in the answer and a file that states it is cited for it."""
    cited = {citation.source.rsplit(":", 1)[0] for citation in answer.citations}
    stated = re.search(question["fact"], answer.text, re.IGNORECASE)
    return stated is not None and bool(cited & set(question["files"]))


@requirement("offline")
def test_eight_of_ten_questions_about_real_documents_are_answered_from_the_right_file(
    corpus: Path,
) -> None:
    asked = [q for q in QUESTIONS if q["fact"]]
    right = [
        q for q in asked if _right(q, delegator.ask(q["question"], docs=[corpus], offline=True))
    ]
    missed = [q["question"] for q in asked if q not in right]
    assert len(right) >= 0.8 * len(asked), missed


@requirement("offline")
def test_what_the_documents_do_not_say_is_not_answered(corpus: Path) -> None:
    for question in (q["question"] for q in QUESTIONS if not q["fact"]):
        answer = delegator.ask(question, docs=[corpus], offline=True)
        assert not answer.citations, question
        assert "do not answer" in answer.text, question


def test_the_main_question_is_taken_apart_and_answered_from_several_articles() -> None:
    answer = delegator.ask(MAIN_JOB, offline=True)
    assert answer.outcome is Outcome.COMPLETE
    assert len({citation.source.split(":")[0] for citation in answer.citations}) >= 2
    assert all(citation.verified for citation in answer.citations)


@pytest.mark.parametrize(
    ("question", "fact", "file"),
    [
        ("What is RLHF?", "reward", "rlhf.md"),
        ("Who introduced the Transformer and when?", "Vaswani.*2017", "transformer.md"),
        ("What transports does MCP use?", "stdio", "mcp.md"),
        ("Why does prompt injection defeat filters?", "filters", "prompt-injection.md"),
        ("How does BM25 work?", "term", "embeddings-and-vector-search.md"),
        ("What is ReAct?", "reason", "react.md"),
        ("What is retrieval-augmented generation?", "retriev", "rag.md"),
    ],
)
def test_the_shipped_articles_answer_real_questions(question: str, fact: str, file: str) -> None:
    answer = delegator.ask(question, offline=True)
    assert re.search(fact, answer.text)
    assert file in {citation.source.split(":")[0] for citation in answer.citations}


@requirement("offline")
def test_the_order_and_names_of_the_documents_do_not_matter(docs: Path, tmp_path: Path) -> None:
    other = tmp_path / "renamed"
    other.mkdir()
    for n, path in enumerate(sorted(docs.iterdir(), reverse=True)):
        shutil.copy(path, other / f"{n}{path.suffix}")
    question = "At how many degrees is green tea brewed?"
    first, second = (delegator.ask(question, docs=[d], offline=True) for d in (docs, other))
    assert first.text == second.text == "Green tea is brewed at 80 degrees for two minutes. [1]"


@requirement("offline")
@given(question=st.text(min_size=1, max_size=200).filter(lambda text: text.strip()))
@settings(max_examples=60, deadline=None)
def test_any_question_ends_in_an_answer(question: str) -> None:
    try:
        answer = delegator.ask(question, offline=True)
    except delegator.ConfigError as error:
        assert "empty" in str(error)  # noqa: PT017 - nothing visible was in it
        return
    assert answer.outcome in (Outcome.COMPLETE, Outcome.NEEDS_REVIEW)
    assert answer.text


def test_questions_are_taken_apart_by_their_grammar() -> None:
    asked = [
        MAIN_JOB,
        "What is the difference between a mutex and a semaphore?",
        "Who wrote Dracula and when was it published?",
        "Explain caching, sharding and replication.",
        "How do bees find flowers?",
        "What is salt and pepper made of?",
        "Postgres vs MySQL?",
        "What is DNS? How does it work?",
    ]
    assert {question: parts(question) for question in asked} == snapshot(
        {
            "How do modern LLM agents learn to follow instructions and use tools effectively?": [
                "How do modern LLM agents learn to follow instructions?",
                "How do modern LLM agents learn to use tools effectively?",
            ],
            "What is the difference between a mutex and a semaphore?": [
                "What is mutex?",
                "What is semaphore?",
                "How do mutex and semaphore differ?",
            ],
            "Who wrote Dracula and when was it published?": [
                "Who wrote Dracula?",
                "When was Dracula published?",
            ],
            "Explain caching, sharding and replication.": [
                "What is caching?",
                "What is sharding?",
                "What is replication?",
            ],
            "How do bees find flowers?": ["How do bees find flowers?"],
            "What is salt and pepper made of?": ["What is salt and pepper made of?"],
            "Postgres vs MySQL?": [
                "What is Postgres?",
                "What is MySQL?",
                "How do Postgres and MySQL differ?",
            ],
            "What is DNS? How does it work?": ["What is DNS?", "How does DNS work?"],
        }
    )


def test_a_follow_up_takes_its_subject_from_the_question_before() -> None:
    earlier = ["What is a mutex and what is a semaphore?"]
    asked = [
        "and how does it compare with the second one?",
        "Why is it used?",
        "What about performance?",
        "Who invented the Transformer?",
    ]
    assert {question: resolve(question, earlier) for question in asked} == snapshot(
        {
            "and how does it compare with the second one?": "How does mutex compare with semaphore?",
            "Why is it used?": "Why is mutex used?",
            "What about performance?": "Performance (mutex semaphore)?",
            "Who invented the Transformer?": "Who invented the Transformer?",
        }
    )


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What is RLHF?", Kind.DEFINITION),
        ("Who wrote it?", Kind.PERSON),
        ("When was it written?", Kind.TIME),
        ("How many planets are there?", Kind.NUMBER),
        ("Why is the sky blue?", Kind.REASON),
        ("How do I install it?", Kind.METHOD),
        ("Which library draws plots?", Kind.NAME),
        ("What is the e-mail address of the editor?", Kind.ADDRESS),
    ],
)
def test_a_question_says_what_kind_of_answer_it_wants(question: str, kind: Kind) -> None:
    assert analyse(question).kind is kind


def test_a_topic_is_the_longest_run_of_telling_words() -> None:
    assert topic("How do modern LLM agents learn?") == "modern LLM agents"


def test_the_conversation_is_used_for_a_follow_up(docs: Path) -> None:
    turn = Turn(question="What is BM25?", answer="A ranking function.", label=UNTRUSTED)

    async def go() -> str:
        async with delegator.start(
            "Who developed it?", docs=[docs], offline=True, history=(turn,)
        ) as run:
            return (await run.answer()).text

    assert "Stephen Robertson" in asyncio.run(go())


def test_what_was_found_without_some_word_of_the_question_says_so(docs: Path) -> None:
    answer = delegator.ask("How is green tea brewed for samurai?", docs=[docs], offline=True)
    assert answer.text.startswith("Green tea is brewed at 80 degrees for two minutes. [1]")
    assert "(Not mentioned in what was found: samurai.)" in answer.text


def test_an_agent_with_any_schema_can_be_played(docs: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 3, "maxLength": 20},
            "mood": {"enum": ["good", "bad"]},
            "points": {"type": "array", "items": {"type": "integer", "minimum": 2}, "minItems": 2},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "sure": {"type": "boolean"},
        },
        "required": ["title", "mood", "points", "maybe", "sure"],
        "additionalProperties": False,
    }
    agent = delegator.Agent(
        name="odd", description="Odd.", prompt="Be odd.", tools=("search",), output_schema=schema
    )
    answer = delegator.ask("Ask the odd one about BM25.", docs=[docs], agents=[agent], offline=True)
    assert answer.delegations[0].agent.name == "odd"
    assert answer.delegations[0].outcome is Outcome.COMPLETE
