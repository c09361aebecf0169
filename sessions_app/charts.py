"""Lines over a day, drawn here as SVG: values in, markup out.

A gap in the samples is a gap in the line: nobody knows what was there. The drawing is stretched to its place by the page, so it holds no
text; what it says in numbers stands beside it in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 288, 60
DAY = timedelta(days=1)
#: One point of a line stands for so long.
STEP = DAY / WIDTH


@dataclass(frozen=True)
class Line:
    """Values by step, oldest first; None where nothing is known. `tone` is a class of static/oxy.css."""

    values: Sequence[float | None]
    tone: str
    filled: bool = False


def by_step(
    samples: Iterable[tuple[datetime, float]], until: datetime, choose: Callable[[list[float]], float]
) -> list[float | None]:
    """Samples of the day before `until` as one value a step, which `choose` (min, max) takes from those of the step."""
    steps: list[list[float]] = [[] for _ in range(WIDTH)]
    for at, value in samples:
        index = WIDTH - 1 - int((until - at) / STEP)
        if 0 <= index < WIDTH:
            steps[index].append(value)
    return [choose(values) if values else None for values in steps]


def draw(lines: Sequence[Line], label: str) -> str:
    """The chart as an SVG element; `label` is what a screen reader says. Its scale begins at 0 and ends at the highest value."""
    top = max((value for line in lines for value in line.values if value is not None), default=0) or 1
    paths = "".join(path for line in lines for path in _paths(line, top))
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{paths}</svg>"
    )


def _paths(line: Line, top: float) -> Iterable[str]:
    for start, values in _runs(line.values):
        points = [f"{start + index + 0.5:g} {_height(value, top):g}" for index, value in enumerate(values)]
        if len(points) == 1:
            points.append(f"{start + 1:g} {_height(values[0], top):g}")
        trace = "M" + "L".join(points)
        if line.filled:
            yield f'<path class="fill-{line.tone}" d="{trace}V{HEIGHT}H{start + 0.5:g}Z"/>'
        yield f'<path class="line-{line.tone}" d="{trace}" vector-effect="non-scaling-stroke"/>'


def _height(value: float, top: float) -> float:
    # Room for the stroke at both edges.
    return round(HEIGHT - 1.5 - value / top * (HEIGHT - 4), 1)


def _runs(values: Sequence[float | None]) -> Iterable[tuple[int, list[float]]]:
    """Stretches without a gap, each with the step where it begins."""
    run: list[float] = []
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append(value)
        elif run:
            yield index - len(run), run
            run = []
