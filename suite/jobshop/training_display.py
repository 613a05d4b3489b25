"""What is shown while a training goes on: a bar on a terminal, a line a checkpoint elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.jobshop.training.train import Training

Told = Callable[[Training], None]


@contextmanager
def training_display(training: Training) -> Iterator[Told]:
    """Gives what the training is to tell after each iteration."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda now: _line(console, now)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=training.num_iterations)

        def told(now: Training) -> None:
            progress.update(task, completed=now.iteration, description=_words(now))

        told(training)
        yield told


def _line(console: Console, now: Training) -> None:
    if now.curve and now.curve[-1].iteration == now.iteration:
        console.print(f"{now.iteration}/{now.num_iterations} {_words(now)}", highlight=False)


def _words(now: Training) -> str:
    if not now.curve:
        return "training"
    point = now.curve[-1]
    return (
        f"{point.phase}: {point.validation_ratio:.3f} of FIFO+BF, {point.decisions} decisions, "
        f"{point.seconds / 60:.0f} min"
    )
