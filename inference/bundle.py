"""Model bundles: a directory that holds a model, what it is, and the means to check both.

    NAME/card.toml             what it is; the SHA-256 of every other file; all bounds and measures
    NAME/weights.safetensors   fp16 kernels, fp32 vectors; no pickle is ever read
    NAME/openvino-int8.xml,.bin   optional, made by post-training quantisation
    NAME/embedding.safetensors the training inputs' features, for the guard; older bundles have none
    NAME/known-ecgs.txt        optional, what it was made with by content (`inference.known`)
    NAME/golden/waveforms.npz  simulated ECGs whose logits the card states
    NAME/card.sig              optional Ed25519 signature of card.toml

The bundle's identity is the SHA-256 of its card, and through the card's hashes that of all files.
"""

from __future__ import annotations

import hashlib
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from safetensors import SafetensorError
from safetensors.numpy import load

from inference.architecture import NetworkConfig
from inference.embedding import EMBEDDING, Embedding
from inference.errors import BundleError
from inference.preprocess import Recipe

FORMAT = 1
CARD, SIGNATURE = "card.toml", "card.sig"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden/waveforms.npz"
INT8 = ("openvino-int8.xml", "openvino-int8.bin")
_UNLISTED = {CARD, SIGNATURE, "README.md"}
_NEEDED: dict[str, type] = {
    "name": str,
    "version": str,
    "threshold": float,
    "validation": dict,
    "network": dict,
    "preprocess": dict,
    "golden": dict,
    "files": dict,
}
_IN_WORDS = {str: "a text", float: "a number with a decimal point", dict: "a table"}


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its directory.
        card: the parsed card.
        digest: SHA-256 hex of card.toml, the bundle's identity.
        network: what the weights fit.
        recipe: how a panel becomes an input.
        signed: the card's signature was checked against a trusted key.
    """

    path: Path
    card: dict[str, Any]
    digest: str
    network: NetworkConfig
    recipe: Recipe
    signed: bool = False

    @property
    def name(self) -> str:
        """Name the model."""
        return str(self.card["name"])

    @property
    def version(self) -> str:
        """Give the model's version."""
        return str(self.card["version"])

    @property
    def threshold(self) -> float:
        """Give the decision threshold on the (calibrated) probability."""
        return float(self.card["threshold"])

    @property
    def validated(self) -> bool:
        """Tell whether the card says that it is validated at this site."""
        return bool(self.card["validation"]["status"] == "validated")

    def weights(self) -> dict[str, Any]:
        """Read the tensors as numpy arrays.

        Raises:
            BundleError: the file is damaged.
        """
        try:
            tensors: dict[str, Any] = load((self.path / WEIGHTS).read_bytes())
        except (OSError, SafetensorError) as error:
            raise BundleError(f"{WEIGHTS}: {error}") from error
        return tensors

    @property
    def embedded(self) -> bool:
        """Tell whether the card states an embedding distance; older bundles do not."""
        return _states_embedding(self.card)

    def embedding(self) -> Embedding | None:
        """Read the training inputs' features; None when the card states no `[guard.embedding]`.

        Raises:
            BundleError: the file is damaged.
        """
        return Embedding.read(self.path) if self.embedded else None

    def golden(self, runtime: str = "") -> tuple[Any, Any]:
        """Give the golden waveforms, (n, 12, 2500) mV at 250 Hz, and their logits (n,).

        Args:
            runtime: the logits that the card states for this runtime; those of the fp32 network
                when it states none.
        """
        with np.load(self.path / GOLDEN, allow_pickle=False) as held:
            waveforms = held["uv"].astype(np.float32) / 1000
        stated = self.card["golden"]
        return waveforms, np.array(stated.get(runtime, stated["logits"]), np.float64)


def open_bundle(path: Path, *, trusted: bytes | None = None) -> Bundle:
    """Open a bundle after checking all of it.

    Args:
        path: the bundle's directory.
        trusted: a raw Ed25519 public key (32 bytes); then the card must be signed with it.

    Raises:
        BundleError: missing, damaged, tampered with, unsigned though a key is given, or made for
            another version of this library.
    """
    try:
        raw = (path / CARD).read_bytes()
    except OSError as error:
        raise BundleError(f"{path.name}: no readable {CARD}") from error
    if trusted is not None:
        check_signature(path, raw, trusted)
    card = read_card(raw)
    _check_files(path, card)
    network, recipe = _fit(card)
    return Bundle(
        path, card, hashlib.sha256(raw).hexdigest(), network, recipe, signed=trusted is not None
    )


def created() -> str:
    """Give the present in UTC, as cards and results state when they were made (ISO 8601)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write_card(path: Path, card: Mapping[str, Any]) -> str:
    """Write the card with the hashes of all files beside it; give the bundle's digest.

    A signature of an older card is removed: it no longer signs anything.
    """
    files = {name: _hash(path / name) for name in files_of(path)}
    raw = tomli_w.dumps({**card, "format": FORMAT, "files": files}).encode()
    read_card(raw)
    (path / SIGNATURE).unlink(missing_ok=True)
    partial = path / f"{CARD}.partial"
    partial.write_bytes(raw)
    partial.replace(path / CARD)
    return hashlib.sha256(raw).hexdigest()


def sign(path: Path, private_key: bytes) -> None:
    """Sign the card with a raw Ed25519 private key (32 bytes, RFC 8032)."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(private_key)
    (path / SIGNATURE).write_bytes(key.sign((path / CARD).read_bytes()))


def check_name(name: str, version: str) -> str:
    """Give the folder that a bundle of this name and version is installed as.

    Raises:
        BundleError: it cannot be a folder's name.
    """
    folder = f"{name}-{version}"
    if not name or not version or folder != Path(folder).name or folder.startswith("."):
        raise BundleError(f"not usable as a folder's name: {folder!r}")
    return folder


def diff(one: Bundle, other: Bundle) -> list[tuple[str, Any, Any]]:
    """List the card's keys, dotted, whose values differ: (key, one's, other's)."""
    left, right = _flat(one.card), _flat(other.card)
    keys = sorted(left.keys() | right.keys())
    return [(k, left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out


def read_card(raw: bytes) -> dict[str, Any]:
    """Give a card's tables.

    Raises:
        BundleError: it is none, lacks what every card has or has it of another kind, or is of
            another version.
    """
    try:
        card = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleError(f"{CARD} is not TOML: {error}") from error
    if card.get("format") != FORMAT:
        raise BundleError(
            f"bundle format {card.get('format')!r}; this version of the software reads {FORMAT}"
        )
    missing = [key for key in _NEEDED if key not in card]
    if missing:
        raise BundleError(f"{CARD} lacks {', '.join(missing)}")
    for key, kind in _NEEDED.items():
        _check_kind(key, card[key], kind)
    _check_kind("validation.status", card["validation"].get("status"), str)
    if not 0 < card["threshold"] < 1:
        raise BundleError(f"{CARD}: threshold must lie between 0 and 1")
    return card


def _check_kind(key: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise BundleError(f"{CARD}: {key} must be {_IN_WORDS[kind]}")


def _fit(card: Mapping[str, Any]) -> tuple[NetworkConfig, Recipe]:
    try:
        network = NetworkConfig.of(card["network"])
    except (TypeError, ValueError, KeyError) as error:
        raise BundleError(f"{CARD} [network] is of another version: {error}") from error
    recipe = Recipe.from_table(card["preprocess"])
    if (recipe.input_height, recipe.input_width) != (network.height, network.width):
        raise BundleError(f"{CARD}: [preprocess] and [network] differ in input size")
    return network, recipe


def _states_embedding(card: Mapping[str, Any]) -> bool:
    return "embedding" in card.get("guard", {})


def _check_files(path: Path, card: Mapping[str, Any]) -> None:
    listed, there = card["files"], set(files_of(path))
    for name in sorted(there - set(listed)):
        raise BundleError(f"{path.name}: {name} is not listed in {CARD}")
    for name in (WEIGHTS, GOLDEN, *([EMBEDDING] if _states_embedding(card) else [])):
        if name not in listed:
            raise BundleError(f"{CARD} lists no {name}")
    for name, wanted in listed.items():
        if name not in there:
            raise BundleError(f"{path.name}: {name} is missing")
        if _hash(path / name) != wanted:
            raise BundleError(f"{path.name}: {name} is damaged or was changed (SHA-256 differs)")


def files_of(path: Path) -> list[str]:
    """List the files of a bundle that its card must list.

    Raises:
        BundleError: one of them is a link.
    """
    found = (p for p in sorted(path.rglob("*")) if not p.is_dir() or p.is_symlink())
    names = [p.relative_to(path).as_posix() for p in found]
    for name in names:
        if (path / name).is_symlink():
            raise BundleError(f"{path.name}: {name} is a link")
    return [n for n in names if n not in _UNLISTED and not n.endswith(".partial")]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_signature(path: Path, raw: bytes, trusted: bytes) -> None:
    """Check that a card's bytes are as the trusted key signed them.

    Args:
        path: the bundle's directory, which holds the signature.
        raw: the card.
        trusted: a raw Ed25519 public key (32 bytes).

    Raises:
        BundleError: they are not; the message says what to do.
    """
    try:
        signature = (path / SIGNATURE).read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path.name}: not signed, but a trusted key is set (bundles_key, or --key); sign it "
            "with `ecg-gateway bundle sign` (of a shipped bundle a copy, by --out), or use one "
            "that is signed with this key"
        ) from error
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(trusted).verify(signature, raw)
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            f"{path.name}: the signature is not by the trusted key, or {CARD} was changed after it "
            "was signed; put the signed one back, or look at the card and sign it anew"
        ) from error
