"""Lines that are no trace: lead separators, solid or dotted, frames and rules."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inference.forms import U8
from inference.paper.grid import Grid
from inference.paper.runs import I64, Runs

_SEPARATOR_MM = 50.0  # taller than a QRS complex is in one column; those of two rows ...
_LEG_MM = 1.0  # ... that run into one another have their other legs so near, ...
_ALONE = 1.45  # ... where what crosses a separator is less than half of its ink
_LEVEL_MM = 2.0  # the separators of a page begin and end at the same heights
_CERTAIN_MM = 90.0  # no QRS complexes of neighbouring rows make a line as tall
_DOTS_MM = 20.0  # ink in the columns of a dotted separator ...
_LEAN = 2  # px: from its middle ...
_GAP_MM = 2.0  # ... with gaps up to this
_RULE_MM = 60.0  # a straight line of this width is no trace


@dataclass(frozen=True, slots=True)
class _Line:
    """A tall line: rows `first:last`, columns `left:right`."""

    first: int
    last: int
    left: int
    right: int

    def spans(self, other: _Line, off: float) -> bool:
        """Whether it is as long as the other, or longer: a QRS complex may hang on its end."""
        return self.first <= other.first + off and self.last >= other.last - off


def erase_lines(mask: U8, runs: Runs, grid: Grid) -> tuple[U8, tuple[int, ...]]:
    """Erase lead separators, frames and rules; returns the rest and the separators' columns."""
    rest = mask.copy()
    columns: list[int] = []
    for line in _solid(mask, runs, grid) or _dotted(mask, grid):
        rest[line.first : line.last, max(0, line.left - 1) : line.right + 1] = 0
        columns += range(line.left, line.right)
    width = int(_RULE_MM * grid.x_px_per_mm)
    rules = cv2.erode(rest, np.ones((1, width), np.uint8), borderValue=0)
    if cv2.countNonZero(rules):
        rules = cv2.dilate(rules, np.ones((3, width), np.uint8))
        rest[rules > 0] = 0
    return rest, _groups(columns)


def _solid(mask: U8, runs: Runs, grid: Grid) -> list[_Line]:
    """Neighbouring columns of tall runs that stand alone, or are as long as such a one."""
    tall = np.flatnonzero(runs.height > _SEPARATOR_MM * grid.y_px_per_mm)
    lines = [
        _Line(
            int(runs.first[group].min()),
            int(runs.last[group].max()) + 1,
            int(runs.col[group[0]]),
            int(runs.col[group[-1]]) + 1,
        )
        for group in _apart(tall, runs.col[tall], 1)
    ]
    reach, certain = max(2, round(_LEG_MM * grid.x_px_per_mm)), _CERTAIN_MM * grid.y_px_per_mm
    sure = [line for line in lines if line.last - line.first > certain or _alone(mask, line, reach)]
    off = _LEVEL_MM * grid.y_px_per_mm
    return [line for line in lines if any(line.spans(other, off) for other in sure)]


def _alone(mask: U8, line: _Line, reach: int) -> bool:
    """Whether little ink lies beside a tall line: beside one leg of a QRS complex is the other."""
    left, right = max(0, line.left - 1), line.right + 1
    inside = mask[line.first : line.last, left:right]
    around = mask[line.first : line.last, max(0, left - reach) : right + reach]
    return bool(cv2.countNonZero(around) <= _ALONE * cv2.countNonZero(inside))


def _dotted(mask: U8, grid: Grid) -> list[_Line]:
    """Narrow columns of dots as tall as separators, at least two of the same height."""
    ink = cv2.reduce(mask, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    near = np.convolve(ink, np.ones(2 * _LEAN + 1), "same")
    rich = np.flatnonzero(near > _DOTS_MM * grid.y_px_per_mm)
    lines = []
    for group in _apart(rich, rich, 1):
        middle = int(group[near[group].argmax()])
        inked = np.flatnonzero(mask[:, max(0, middle - _LEAN) : middle + _LEAN + 1].any(axis=1))
        tallest = max(_apart(inked, inked, _GAP_MM * grid.y_px_per_mm), key=np.size)
        line = _Line(int(tallest[0]), int(tallest[-1]) + 1, max(0, middle - 1), middle + 2)
        if line.last - line.first > _SEPARATOR_MM * grid.y_px_per_mm:
            lines.append(line)
    off = _LEVEL_MM * grid.y_px_per_mm
    return [
        line
        for line in lines
        if any(
            line.spans(other, off) and other.spans(line, off)
            for other in lines
            if other is not line
        )
    ]


def _apart(values: I64, places: I64, most: float) -> list[I64]:
    """The values in groups, each of which begins more than `most` behind the last place."""
    groups = np.split(values, np.flatnonzero(np.diff(places) > most) + 1)
    return [group for group in groups if group.size]


def _groups(columns: list[int]) -> tuple[int, ...]:
    """Middles of groups of neighbouring columns."""
    groups: list[list[int]] = []
    for col in sorted(columns):
        if groups and col - groups[-1][-1] <= 3:
            groups[-1].append(col)
        else:
            groups.append([col])
    return tuple(round(sum(group) / len(group)) for group in groups)
