"""Hides secrets in what is shown, exported or compared."""

from __future__ import annotations

import re
from typing import Any

MASK = "********"
_SECRET = re.compile(r"(^|_)(password|passphrase|secret|token|api_key)$")
_USERINFO = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*://)(?P<user>[^:/@\s]*):[^@\s]+@", re.IGNORECASE
)


def masked(value: Any, key: str = "") -> Any:
    """Copy a document with every secret replaced by `MASK`: secret keys, passwords in URLs."""
    if isinstance(value, dict):
        return {name: masked(inner, name) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, key) for inner in value]
    if isinstance(value, str) and value and _SECRET.search(key):
        return MASK
    if isinstance(value, str):
        return _USERINFO.sub(rf"\g<scheme>\g<user>:{MASK}@", value)
    return value


def unmasked(value: Any, kept: Any) -> Any:
    """Put the secrets of `kept` back where an exported document still carries `MASK`.

    Entries of a list are matched by their `name`, so that a moved entry keeps its own secret.
    """
    if isinstance(value, dict):
        inside = kept if isinstance(kept, dict) else {}
        return {name: unmasked(inner, inside.get(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [unmasked(inner, _same_name(inner, kept)) for inner in value]
    if isinstance(value, str) and MASK in value and isinstance(kept, str):
        return kept
    return value


def _same_name(entry: Any, kept: Any) -> Any:
    """Find the entry of the same name in the document that is in force."""
    if not isinstance(entry, dict) or not isinstance(kept, list):
        return None
    named = (other for other in kept if isinstance(other, dict))
    return next((other for other in named if other.get("name") == entry.get("name")), None)
