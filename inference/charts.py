"""Small charts as SVG text, for reports that must open anywhere without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_SIZE, _LEFT, _TOP = 260, 46, 10
_LETTER = 6.5  # width of one in 11 px, wide ones among them
_COLOURS = ("#0b5cab", "#8a8a8a", "#b3541e", "#2b7a3d")

Line = tuple[str, Sequence[float], Sequence[float]]
"""Name, x and y."""
Estimate = tuple[str, float | None, float | None, float | None]
"""Name, estimate and its bounds; None where undefined."""


def chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    *,
    y_range: tuple[float, float] = (0.0, 1.0),
    dots: bool = False,
    at: tuple[float, float] | None = None,
) -> str:
    """Draw lines over x from 0 to 1; values outside the range are clipped.

    Args:
        title: in words.
        x_label: of the x axis.
        y_label: of the y axis.
        lines: the first one is the model's; the others are drawn dashed.
        y_range: of the y axis.
        dots: mark the first line's points.
        at: the operating point, marked with a ring.
    """
    low, high = y_range

    def place(x: float, y: float) -> tuple[float, float]:
        part = (min(max(y, low), high) - low) / (high - low)
        return _LEFT + min(max(x, 0), 1) * _SIZE, _TOP + (1 - part) * _SIZE

    parts = [
        f'<svg viewBox="0 0 {_SIZE + _LEFT + 12} {_SIZE + 50}" role="img"',
        f' aria-label="{escape(title)}">',
        *_axes(x_label, y_label, low, high),
    ]
    for number, (_, xs, ys) in reversed(list(enumerate(lines))):
        points = [place(x, y) for x, y in zip(xs, ys, strict=True)]
        parts.append(_polyline(points, number))
        if dots and number == 0:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="dot"/>' for x, y in points]
    if at is not None:
        x, y = place(*at)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="ring"/>')
    parts.append("</svg>")
    legend = [
        f'<span style="color:{_COLOURS[number % len(_COLOURS)]}">'
        f"{'━' if number == 0 else '╌'} {escape(name)}</span>"
        for number, (name, _, _) in enumerate(lines)
    ]
    legend += ["<span>◯ at the threshold</span>"] if at is not None else []
    caption = f"<b>{escape(title)}</b><br>{' &nbsp; '.join(legend)}"
    return f"<figure>{''.join(parts)}<figcaption>{caption}</figcaption></figure>"


def _axes(x_label: str, y_label: str, low: float, high: float) -> list[str]:
    bottom, middle = _TOP + _SIZE, _TOP + _SIZE / 2
    parts = [
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIZE}" height="{_SIZE}" class="frame"/>',
        f'<text x="{_LEFT + _SIZE / 2:.0f}" y="{bottom + 34}" class="x">{escape(x_label)}</text>',
        f'<text x="11" y="{middle:.0f}" class="x" transform="rotate(-90 11 {middle:.0f})">',
        f"{escape(y_label)}</text>",
    ]
    for step in range(5):
        share = step / 4
        x, y = _LEFT + share * _SIZE, _TOP + (1 - share) * _SIZE
        value = low + share * (high - low)
        parts += [
            f'<path d="M{x:.1f} {_TOP}V{bottom}M{_LEFT} {y:.1f}h{_SIZE}" class="rule"/>',
            f'<text x="{x:.0f}" y="{bottom + 15}" class="x">{share:g}</text>',
            f'<text x="{_LEFT - 5}" y="{y + 4:.0f}" class="y">{value:.2g}</text>',
        ]
    return parts


def _polyline(points: Sequence[tuple[float, float]], number: int) -> str:
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = "" if number == 0 else ' stroke-dasharray="4 3"'
    return f'<polyline points="{at}" stroke="{_COLOURS[number % len(_COLOURS)]}"{dashes}/>'


def forest(
    title: str, rows: Sequence[Estimate], x_range: tuple[float, float], line: float | None = None
) -> str:
    """Draw estimates with their intervals, one a row, clipped to the range.

    Args:
        title: in words.
        rows: what is undefined is left blank.
        x_range: of the axis.
        line: where a vertical line stands, such as the whole cohort's value or no difference.
    """
    left = 12 + round(_LETTER * max((len(name) for name, *_ in rows), default=0))
    width, step = 380, 22
    low, high = x_range
    bottom = 8 + step * len(rows)

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * width

    parts = [
        f'<svg viewBox="0 0 {left + width + 24} {bottom + 26}" class="wide" role="img"',
        f' aria-label="{escape(title)}">',
    ]
    for part in range(5):
        value = low + part / 4 * (high - low)
        parts += [
            f'<path d="M{at(value):.1f} 4V{bottom}" class="rule"/>',
            f'<text x="{at(value):.0f}" y="{bottom + 16}" class="x">{value:.2f}</text>',
        ]
    if line is not None:
        parts.append(f'<path d="M{at(line):.1f} 4V{bottom}" class="line"/>')
    for number, (name, estimate, lower, upper) in enumerate(rows):
        y = 8 + step * number + step / 2
        parts.append(f'<text x="{left - 8}" y="{y + 4:.0f}" class="y">{escape(name)}</text>')
        if lower is not None and upper is not None:
            parts.append(f'<path d="M{at(lower):.1f} {y}H{at(upper):.1f}" class="range"/>')
        if estimate is not None:
            parts.append(f'<circle cx="{at(estimate):.1f}" cy="{y}" r="4" class="dot"/>')
    caption = f"<figcaption><b>{escape(title)}</b></figcaption>"
    return f"<figure>{''.join(parts)}</svg>{caption}</figure>"


def aurocs(title: str, rows: Sequence[Estimate], line: float) -> str:
    """Draw AUROCs with their intervals, on an axis that begins at 0.4 where that holds all."""
    lowest = min((low for _, _, low, _ in rows if low is not None), default=1.0)
    return forest(title, rows, (0.4 if lowest >= 0.4 else 0.0, 1.0), line)
