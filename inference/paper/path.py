"""Following one trace from column to column.

Each column offers some vertical runs of ink. The path takes one run per column, or none where the
trace is interrupted, so that the sum of the jumps between neighbours is least (Viterbi). Runs that
touch cost nothing, so a steep QRS complex is no jump.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from inference.errors import Unscorable
from inference.paper.grid import Grid
from inference.paper.runs import Runs

_OFF_BASE = 0.005  # cost per mm from the baseline and column
_OFF_START = 0.1  # cost per mm from the baseline where a path begins
_INK = 0.05  # gain per mm of ink that the path covers: whole legs of a QRS, not their fringes
_JUMP = 3.0  # cost per mm of blank between two runs
_LEAP_MM = 2.5  # a larger jump costs no more where one lead ends and the next begins
_BREAK_MM = 1.5  # how near to there
_DOUBT = 0.3  # cost per mm of ink that may be text
_SKIP = 1.0  # cost per mm of interruption
_MOST_STATES = 8
_LATE_MM = 2.0  # a page may begin in a QRS complex

_TALLER = 2.0  # a run beside a crossing is so many times taller in the row whose QRS it is
_MOST_TANGLES = 3

_State = tuple[float, float, float, int]  # cost, top, bottom, index of its last link


def follow_row(
    runs: Runs,
    sure: Sequence[bool],
    baseline: float,
    grid: Grid,
    reach_mm: float,
    breaks_mm: Sequence[float] = (),
) -> list[int]:
    """Choose runs for the trace around `baseline`.

    Args:
        runs: all runs that may be trace.
        sure: whether each run belongs to a piece that is no text.
        baseline: row of the page in px.
        grid: for mm.
        reach_mm: how far from the baseline the trace may go.
        breaks_mm: where one lead ends and the next, which may begin at any height, begins.

    Returns:
        Indices into `runs`, ordered by column, at most one per column.
    """
    scale, reach = 1 / grid.y_px_per_mm, reach_mm * grid.y_px_per_mm
    jump = _JUMP * scale
    skip, doubt = _SKIP / grid.x_px_per_mm, _DOUBT / grid.x_px_per_mm
    dearest = _dearest(breaks_mm, grid, runs.start.size)
    tops, bottoms, starts = runs.top.tolist(), runs.bottom.tolist(), runs.start.tolist()
    links: list[tuple[int, int]] = []  # (run, link before it or -1)
    states: list[_State] = []
    first = int(runs.col[0]) if runs.col.size else 0
    for col in range(len(starts) - 1):
        here: list[_State] = []
        touched, most = [False] * len(states), dearest[col]
        for run in range(starts[col], starts[col + 1]):
            top, bottom = tops[run], bottoms[run]
            if bottom < baseline - reach or top > baseline + reach:
                continue
            away = max(0.0, top - baseline, baseline - bottom) * scale
            # a path may begin late, at the price of the columns that it leaves out
            best, before = (col - first) * skip + away * _OFF_START, -1
            for k, (cost, other_top, other_bottom, link) in enumerate(states):
                if top - other_bottom > 1.0:
                    total = cost + (top - other_bottom - 1.0) * jump
                elif other_top - bottom > 1.0:
                    total = cost + (other_top - bottom - 1.0) * jump
                else:
                    touched[k], total = True, cost
                if total - cost > most:
                    total = cost + most
                if total < best:
                    best, before = total, link
            links.append((run, before))
            ink = doubt if not sure[run] else (top - bottom) * scale * _INK
            here.append((best + away * _OFF_BASE + ink, top, bottom, len(links) - 1))
        here += [
            (cost + skip, top, bottom, link)
            for k, (cost, top, bottom, link) in enumerate(states)
            if not touched[k]
        ]
        if len(here) > _MOST_STATES:
            here = sorted(here)[:_MOST_STATES]
        states = here
    chosen = _unwind(links, min(states)[3]) if states else []
    return _before(runs, sure, chosen, round(_LATE_MM * grid.x_px_per_mm)) + chosen


def _dearest(breaks_mm: Sequence[float], grid: Grid, cols: int) -> list[float]:
    """What a jump may cost at most in each column."""
    dearest = [math.inf] * cols
    for at in breaks_mm:
        first = max(0, round((at - _BREAK_MM) * grid.x_px_per_mm))
        last = min(cols, round((at + _BREAK_MM) * grid.x_px_per_mm))
        dearest[first:last] = [_JUMP * _LEAP_MM] * max(0, last - first)
    return dearest


def _unwind(links: list[tuple[int, int]], last: int) -> list[int]:
    chosen = []
    while last >= 0:
        run, last = links[last]
        chosen.append(run)
    return chosen[::-1]


def _before(runs: Runs, sure: Sequence[bool], chosen: Sequence[int], most: int) -> list[int]:
    """The touching runs before a path's first: to begin far from the baseline costs too much."""
    found: list[int] = []
    run = chosen[0] if chosen else -1
    while run >= 0 and runs.col[run] > 0 and len(found) < most:
        top, bottom, col = runs.top[run], runs.bottom[run], runs.col[run]
        beside = [
            k
            for k in range(runs.start[col - 1], runs.start[col])
            if sure[k] and runs.top[k] - bottom <= 1.0 and top - runs.bottom[k] <= 1.0
        ]
        run = beside[0] if len(beside) == 1 else -1
        found += [run] if run >= 0 else []
    return found[::-1]


def untangle(runs: Runs, paths: Sequence[Sequence[int]]) -> list[list[int]]:
    """Give each run that several paths use to the row whose QRS complex it is.

    Where a QRS complex crosses another row's trace, both are one run. Beside the crossing the
    runs of the QRS are its tall legs, those of the other row flat; that row is bridged.

    Raises:
        Unscorable: `overlapping` when too often no row can be told to be the flat one.
    """
    users = Counter(run for path in paths for run in path)
    heights = runs.height.tolist()
    beside = [_beside(path, users, heights) for path in paths]
    tangles, out = 0, []
    for path, legs in zip(paths, beside, strict=True):
        kept = []
        for run in path:
            rivals = [other[run] for other in beside if run in other and other is not legs]
            rival = max(rivals, default=0.0)
            if run in legs and legs[run] * _TALLER < rival:
                continue
            tangles += bool(rivals) and rival * _TALLER >= legs[run]
            kept.append(run)
        out.append(kept)
    if tangles > _MOST_TANGLES * len(paths):
        raise Unscorable("overlapping", "the traces of neighbouring rows run into one another")
    return out


def _beside(path: Sequence[int], users: Counter[int], heights: list[float]) -> dict[int, float]:
    """Each shared run of a path, with the height of the tallest unshared run beside its stretch."""
    out: dict[int, float] = {}
    before, stretch = 0.0, []
    for run in path:
        if users[run] > 1:
            stretch.append(run)
            continue
        out.update(dict.fromkeys(stretch, max(before, heights[run])))
        before, stretch = heights[run], []
    out.update(dict.fromkeys(stretch, before))
    return out
