import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.glob("examples/*.py"))
SHOWN = {
    "1_ask": "Sources",
    "2_own_subagent": "calculator complete",
    "3_watch_events": "cancelled",
    "4_call_a_subagent": "verified | transformer.md",
    "5_generator_and_critic": "round 2: An agent calls",
    "6_fan_out": "not found in the documents",
    "7_trust_levels": "guarded  sent: []",
}


def test_every_example_is_known() -> None:
    assert {path.stem for path in EXAMPLES} == set(SHOWN)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_offline_and_shows_what_it_says(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert SHOWN[path.stem] in done.stdout
