"""The ECGs that a bundle was made with, known again by their content: none of them may judge it.

`known-ecgs.txt` in a bundle has a line for each ECG that trained the network or chose its threshold
or calibration: the first 128 bits of the SHA-256 of its bytes, sorted. No name, path or order is
kept. An ECG that was exported anew is other bytes and is not known again, nor is another ECG of the
same patient. Bundles without the file know none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from inference.bundle import Bundle
from inference.cohort import Case
from inference.errors import CohortError

KNOWN = "known-ecgs.txt"
_DIGITS = 32  # of a SHA-256 in hexadecimal


def known_to(bundle: Bundle) -> frozenset[str]:
    """Give the shortened hashes that a bundle keeps."""
    path = bundle.path / KNOWN
    return frozenset(path.read_text().split() if path.exists() else ())


def shortened(digests: Iterable[str]) -> frozenset[str]:
    """Shorten SHA-256 hashes in hexadecimal, as they are kept; what has none is left out."""
    return frozenset(digest[:_DIGITS] for digest in digests if digest)


def save(folder: Path, known: Iterable[str]) -> None:
    """Write shortened hashes into a bundle's folder, before its card is written."""
    (folder / KNOWN).write_text("".join(f"{each}\n" for each in sorted(known)))


def may_judge(
    cases: Sequence[Case], bundle: Bundle, *, allow_known: bool = False
) -> tuple[list[Case], list[Case]]:
    """Give the cases that may judge or calibrate a bundle, and those that it knows.

    Args:
        cases: with their digests.
        bundle: which is to be judged.
        allow_known: have those that it knows judge it, too.

    Raises:
        CohortError: what it does not know are not ECGs of both outcomes.
    """
    held = known_to(bundle)
    known = [case for case in cases if case.digest[:_DIGITS] in held]
    if allow_known or not known:
        return list(cases), known
    strangers = [case for case in cases if case.digest[:_DIGITS] not in held]
    if len({case.label for case in strangers}) != 2:
        raise CohortError(
            f"{len(known)} of {len(cases)} ECGs trained this bundle or chose its threshold, and "
            "the others are not of both outcomes; take ECGs that it does not know (or "
            "--allow-known, to see how well it fits its own)"
        )
    return strangers, known
