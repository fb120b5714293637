"""DICOM elements that a reader cannot do without."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from inference.errors import Undecodable


def needed(item: Dataset, keyword: str) -> Any:
    """Give the value of an element that must be there (types 1 and 1C, PS3.5 7.4).

    Raises:
        Undecodable: it is absent or empty; the message names it.
    """
    value = item.get(keyword)
    if value in (None, b"", []):
        raise Undecodable(f"damaged DICOM file: {keyword} is absent or empty")
    return value
