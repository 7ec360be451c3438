"""How far a plan is: a bar on a terminal, nothing elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from delegator.lab.results import ERROR, WORKED, Result
from delegator.lab.runner import Told


@contextmanager
def shown(of: int, *, quiet: bool) -> Iterator[Told]:
    """A bar over `of` runs, told each result."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _result: None
        return
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=of)
        counted = {WORKED: 0, ERROR: 0}

        def tell(result: Result) -> None:
            if result.outcome in counted:
                counted[result.outcome] += 1
            errors = f", {counted[ERROR]} errors" if counted[ERROR] else ""
            bar.update(task, advance=1, description=f"{counted[WORKED]} attacks worked{errors}")

        yield tell
