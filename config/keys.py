"""The public key that vouches for a site's model bundles: read once, with the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """An Ed25519 public key (RFC 8032) and the file that it was read from.

    Attributes:
        path: the file.
        raw: the key's 32 bytes.
    """

    path: Path
    raw: bytes


def read_key(given: object) -> TrustedKey:
    """Read the key of a settings value, which is a file's path.

    Raises:
        ValueError: it is no path, or the file holds no such key; the message says what is allowed.
    """
    if isinstance(given, TrustedKey):
        return given
    if not isinstance(given, str | Path):
        raise ValueError('allowed is a path in "quotes"')  # noqa: TRY004 - pydantic tells these
    path = Path(given).absolute()
    try:
        return TrustedKey(path, public_key(path))
    except ValueError as error:
        raise ValueError(f"allowed is the path of a public key: {error}") from error


def public_key(path: Path) -> bytes:
    """Give the 32 bytes of the Ed25519 public key that a file holds, as they are or as PEM.

    Raises:
        ValueError: it cannot be read, or holds no such key; the message says which.
    """
    try:
        held = path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from error
    raw = _of_pem(held) if held.startswith(b"-----") else held
    if len(raw) != 32:
        raise ValueError("it holds no Ed25519 public key (PEM, or 32 raw bytes)")
    return raw


def _of_pem(pem: bytes) -> bytes:
    """Give the key's bytes; none of another kind of key."""
    # these take a while to load, and most processes need no key
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        held = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return held.public_bytes_raw() if isinstance(held, Ed25519PublicKey) else b""
