"""Which lead is where: layouts of a page, told apart and verified by Einthoven's law.

Leads of one column are simultaneous, so I - II + III = 0 and aVR + aVL + aVF = 0 hold there at
each moment (Einthoven 1908, Goldberger 1942). A page read in the wrong layout, in the wrong order
or upside down breaks them; a page placed right keeps them whatever the heart does.
"""

from __future__ import annotations

from dataclasses import dataclass

STANDARD = (
    ("I", "II", "III"),
    ("aVR", "aVL", "aVF"),
    ("V1", "V2", "V3"),
    ("V4", "V5", "V6"),
)
_CABRERA = (("aVL", "I", "-aVR"), ("II", "aVF", "III"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a page shows an ECG.

    Attributes:
        name: `3x4`, `6x2`, `12x1`, `4x3`, with `-cabrera` where limb leads have that order.
        columns: lead names of each column from left to right, each from top to bottom.
        strips: rhythm strips below (or above) the rows.
        strips_first: the strips stand above.
    """

    name: str
    columns: tuple[tuple[str, ...], ...]
    strips: int = 0
    strips_first: bool = False

    @property
    def rows(self) -> int:
        """Rows of leads, without strips."""
        return len(self.columns[0])

    def row_of(self, row: int) -> int:
        """Index on the page, from the top, of the layout's row."""
        return row + (self.strips if self.strips_first else 0)

    def strip_rows(self) -> tuple[int, ...]:
        """Indices on the page, from the top, of the strips."""
        first = 0 if self.strips_first else self.rows
        return tuple(range(first, first + self.strips))


def _flat(columns: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(lead for column in columns for lead in column)


def candidates(rows: int) -> tuple[Layout, ...]:
    """The layouts that a page with so many rows of traces may have."""
    out = []
    for suffix, order in (("", STANDARD), ("-cabrera", _CABRERA)):
        flat = _flat(order)
        shapes = (
            ("3x4", order, 3, True),
            ("6x2", (flat[:6], flat[6:]), 1, False),
            ("4x3", (flat[:4], flat[4:8], flat[8:]), 1, False),
            ("12x1", (flat,), 1, False),
        )
        for name, columns, most, either in shapes:
            strips = rows - len(columns[0])
            if 0 <= strips <= most:
                out.append(Layout(name + suffix, columns, strips))
                if either and strips:
                    out.append(Layout(name + suffix, columns, strips, strips_first=True))
    return tuple(out)
