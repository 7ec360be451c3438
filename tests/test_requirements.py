import re
from pathlib import Path

from requirements import PROMISES


def test_every_promise_is_kept_by_a_test() -> None:
    source = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    marked = set(re.findall(r'^@requirement\("([^"]+)"\)', source, re.MULTILINE))
    assert marked == set(PROMISES)
