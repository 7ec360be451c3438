"""`--otel`: what the program sends to a receiver of OTLP, and what it does where it cannot."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from otlp import Received, attributes, receiving
from programs import run
from requirements import requirement
from serving import delegate, playing, say, serving

QUESTION = "What is BM25 about?"


def ask(docs: Path, *more: str, **env: str) -> tuple[int, str, str]:
    """The program asks the offline model, in a process of its own, where no collector is found by chance."""
    told: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": closed(), **env}
    return run("ask", "--offline", "--docs", str(docs), "--otel", *more, QUESTION, **told)


def closed() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def paths(received: Received) -> list[str]:
    """The names from the root down to each span."""
    by_id = {span.span_id: span for span in received.spans}

    def path(span: Any) -> str:
        above = by_id.get(span.parent_span_id)
        return f"{path(above)} > {span.name}" if above else span.name

    return sorted(map(path, by_id.values()))


@requirement("traces")
def test_a_receiver_gets_the_whole_tree_of_children_that_run_together(docs: Path) -> None:
    steps = delegate("a", "b", "c"), say("BM25 ranks [11].")
    with receiving() as received, serving(playing(*steps)) as api:
        status, out, err = run(
            "ask", QUESTION, "--docs", str(docs), "--base-url", api.url, "--model", "m-1", "--otel",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.url, ANTHROPIC_API_KEY="key",
        )  # fmt: skip
    assert (status, "telemetry" in err) == (0, False), err
    root, tool = "invoke_agent orchestrator", "execute_tool delegate_to_researcher"
    agent = f"{root} > {tool} > invoke_agent researcher"
    assert paths(received) == sorted(
        [
            root,
            *[f"{root} > chat m-1"] * 2,
            *[f"{root} > {tool}", agent, f"{agent} > execute_tool search"] * 3,
            *[f"{agent} > chat m-1"] * 6,
        ]
    )
    assert len({span.trace_id for span in received.spans}) == 1
    ids = {s.span_id: attributes(s).get("delegator.agent.id") for s in received.spans}
    within = [s for s in received.spans if s.name in ("chat m-1", "execute_tool search")]
    assert all(ids[span.parent_span_id] == ids[span.span_id] for span in within)
    assert {r["service.name"] for r in received.resources} == {"delegator"}
    (tokens,) = [m for name, m in received.metrics.items() if name == "gen_ai.client.token.usage"]
    kinds = {attributes(p)["gen_ai.token.type"]: p.sum for p in tokens.histogram.data_points}
    assert kinds == {"input": 800.0, "output": 160.0}
    assert QUESTION not in str(received.requests)
    assert "BM25 is a ranking function" in out


def test_the_standard_variables_are_heeded(docs: Path) -> None:
    with receiving() as received:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url}
        assert ask(docs, OTEL_SDK_DISABLED="true", **env)[0] == 0
        assert not received.requests
        assert ask(docs, OTEL_METRICS_EXPORTER="none", OTEL_SERVICE_NAME="mine", **env)[0] == 0
        assert {path for path, _ in received.requests} == {"/v1/traces"}
        assert {resource["service.name"] for resource in received.resources} == {"mine"}


def test_the_console_gets_what_is_asked_for_there_beside_the_answer(docs: Path) -> None:
    console = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}
    status, out, err = ask(docs, "--quiet", **console)
    assert status == 0
    assert "invoke_agent orchestrator" in err
    assert "invoke_agent" not in out


@requirement("cli:errors")
def test_a_collector_that_is_not_there_costs_a_line_and_no_answer(docs: Path) -> None:
    status, out, err = ask(docs, "--quiet", OTEL_EXPORTER_OTLP_TIMEOUT="0.2")
    assert status == 0
    assert "BM25" in out
    (line,) = err.splitlines()
    assert "telemetry was not delivered" in line


@requirement("cli:errors")
def test_an_exporter_that_nobody_has_is_a_configuration_error(docs: Path) -> None:
    status, out, err = ask(docs, OTEL_TRACES_EXPORTER="carrier-pigeon\x1b[31m")
    assert (status, out, len(err.splitlines())) == (2, "", 2)
    assert "carrier-pigeon" in err
    assert "\x1b" not in err


_WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from delegator.cli import main
sys.argv = ["delegator", *sys.argv[1:]]
main()
"""


@requirement("cli:errors")
def test_without_the_extra_one_line_says_how_to_get_it(docs: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT, "ask", "--offline", "--docs", str(docs), QUESTION]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    done = subprocess.run([*command, "--otel"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'delegator[otel]'" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@requirement("lazy")
def test_a_run_that_nobody_follows_imports_no_telemetry(docs: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "delegator", "ask", "--offline"]
    done = subprocess.run(
        [*command, "--docs", str(docs), QUESTION], capture_output=True, text=True, check=True
    )
    loaded = [line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line]
    assert "delegator.tracing" in loaded
    assert not [m for m in loaded if m.startswith(("opentelemetry", "delegator.telemetry"))]


def test_the_settings_file_turns_it_on_too(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "delegator.toml").write_text("otel = true\n")
    with receiving() as received:
        env: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url}
        status, _, _ = run("ask", "--offline", "--docs", str(docs), QUESTION, cwd=tmp_path, **env)
    assert status == 0
    assert "invoke_agent orchestrator" in paths(received)
