"""Small line charts as SVG text, for reports that must open anywhere without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_SIZE, _LEFT, _TOP = 260, 44, 12
_COLOURS = ("#0b5cab", "#8a8a8a", "#b3541e", "#2b7a3d")

Line = tuple[str, Sequence[float], Sequence[float]]
"""Name, x and y."""


def chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    *,
    y_range: tuple[float, float] = (0.0, 1.0),
    dots: bool = False,
) -> str:
    """Draw lines over x from 0 to 1; values outside the range are clipped."""
    low, high = y_range

    def at(x: float, y: float) -> str:
        part = (min(max(y, low), high) - low) / (high - low)
        return f"{_LEFT + x * _SIZE:.1f},{_TOP + (1 - part) * _SIZE:.1f}"

    parts = [
        f'<svg viewBox="0 0 {_SIZE + _LEFT + 12} {_SIZE + 54}" role="img"',
        f' aria-label="{escape(title)}">',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIZE}" height="{_SIZE}" class="frame"/>',
    ]
    for step in range(5):
        share = step / 4
        x, y = _LEFT + share * _SIZE, _TOP + (1 - share) * _SIZE
        parts.append(f'<text x="{x:.0f}" y="{_TOP + _SIZE + 14}" class="x">{share:g}</text>')
        value = low + share * (high - low)
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.0f}" class="y">{value:.2g}</text>')
    for number, (name, xs, ys) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [at(x, y) for x, y in zip(xs, ys, strict=True)]
        parts.append(f'<polyline points="{" ".join(points)}" stroke="{colour}"/>')
        if dots and number == 0:
            parts += [
                f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>'
                for p in points
            ]
        parts.append(
            f'<text x="{_LEFT + 8}" y="{_TOP + 16 + 14 * number}" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    middle = _TOP + _SIZE / 2
    parts.append(
        f'<text x="{_LEFT + _SIZE / 2:.0f}" y="{_TOP + _SIZE + 32}" class="x">'
        f"{escape(x_label)}</text>"
    )
    parts.append(
        f'<text x="10" y="{middle:.0f}" class="x" transform="rotate(-90 10 {middle:.0f})">'
        f"{escape(y_label)}</text></svg>"
    )
    return f"<figure>{''.join(parts)}<figcaption>{escape(title)}</figcaption></figure>"
