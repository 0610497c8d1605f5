"""Results as a picture: a bar for each contender's median, a line for its quartiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from tests.benchmarks.figures import spread
from tests.benchmarks.results import JobResult, Results, Sample

_WIDTH, _LABELS, _RIGHT = 760, 280, 70
_BAR, _GAP, _HEAD = 16, 6, 34
_COLOURS = {"ours": "#2563eb", "plain": "#64748b", "tool": "#cbd5e1"}
#: The jobs that are shown: the others are about memory, or about next to nothing.
SHOWN = ("one", "four-warm", "four-cold", "fresh")


def svg(results: Results, shown: Sequence[str] = SHOWN) -> str:
    """An SVG document with a panel for each job."""
    parts, top = [], 8
    for name in shown:
        job = results.job(name)
        measured = [s for s in job.samples if s.numbers("wall")] if job is not None else []
        if job is not None and measured:
            parts += list(_panel(job, measured, top))
            top += _HEAD + len(measured) * (_BAR + _GAP) + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
        f'viewBox="0 0 {_WIDTH} {top}" font-family="sans-serif" font-size="12" role="img">'
    )
    title = "<title>Seconds that each tool takes, by job</title>"
    paper = f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, title, paper, *parts, "</svg>"]) + "\n"


def _panel(job: JobResult, measured: Sequence[Sample], top: int) -> Iterator[str]:
    yield _text(8, top + 20, f"{job.title} (seconds; less is better)", weight="bold")
    longest = max(spread(sample.wall).high for sample in measured)
    scale = (_WIDTH - _LABELS - _RIGHT) / longest
    for number, sample in enumerate(measured):
        yield from _bar(sample, top + _HEAD + number * (_BAR + _GAP), scale)


def _bar(sample: Sample, top: int, scale: float) -> Iterator[str]:
    wall = spread(sample.wall)
    end, middle = _LABELS + wall.median * scale, top + _BAR / 2
    weight = "bold" if sample.kind == "ours" else "normal"
    yield _text(_LABELS - 8, top + 12, sample.title, anchor="end", weight=weight)
    yield (
        f'<rect x="{_LABELS}" y="{top}" width="{wall.median * scale:.1f}" height="{_BAR}" '
        f'fill="{_COLOURS[sample.kind]}"/>'
    )
    low, high = (_LABELS + number * scale for number in (wall.low, wall.high))
    yield (
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" '
        f'stroke="#0f172a" stroke-width="1.5"/>'
    )
    yield _text(max(end, high) + 6, top + 12, f"{wall.median:.2f}")


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#0f172a">{escape(text)}</text>'
    )
