"""The bundles of a machine: those that ship with this library, and a site's own directory.

inference/bundles/NAME          shipped
BUNDLES_DIR/NAME-VERSION        the site's, installed; hides a shipped one of the same name
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from inference.bundle import (
    CARD,
    SIGNATURE,
    Bundle,
    check_name,
    check_signature,
    files_of,
    open_bundle,
    read_card,
)
from inference.errors import BundleError
from inference.preprocess import Recipe

SHIPPED = Path(__file__).parent / "bundles"


def find_bundle(name: str, site_dir: Path | None = None, trusted: bytes | None = None) -> Path:
    """Find a bundle by name: the site's directory first, then the shipped ones.

    Args:
        name: the bundle's folder.
        site_dir: the site's directory.
        trusted: a raw Ed25519 public key (32 bytes); then the card must be signed with it.

    Raises:
        BundleError: there is none of that name, and the message says where it was looked for; or
            it is not signed as it must be.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise BundleError(f"not a bundle's name: {name!r}")
    for folder in (site_dir, SHIPPED):
        if folder is not None and (folder / name / CARD).is_file():
            if trusted is not None:
                check_signature(folder / name, (folder / name / CARD).read_bytes(), trusted)
            return folder / name
    own = f"{site_dir} (bundles_dir)" if site_dir else "no folder of your own (bundles_dir not set)"
    raise BundleError(
        f"no bundle {name!r} is installed; looked in {own} and in {SHIPPED} (shipped); "
        "`ecg-gateway bundle list` shows what there is"
    )


def list_bundles(site_dir: Path | None = None) -> list[Path]:
    """List installed bundles; a site's bundle hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in (site_dir, SHIPPED):
        if folder is not None and folder.is_dir():
            for card in sorted(folder.glob(f"[!.]*/{CARD}")):  # not `.installing-...`
                found.setdefault(card.parent.name, card.parent)
    return list(found.values())


def path_of(digest: str, site_dir: Path | None = None) -> Path | None:
    """Find the installed bundle whose card has this SHA-256; None when there is none."""
    for path in list_bundles(site_dir):
        if hashlib.sha256((path / CARD).read_bytes()).hexdigest() == digest:
            return path
    return None


def recipe_of(digest: str, site_dir: Path | None = None) -> Recipe | None:
    """Find how the bundle of this digest prepares a panel.

    The digest is the card's, and the card holds the recipe: no other file has to be checked.

    Returns:
        Its recipe; None when it is not installed, or was made for another version of this library.
    """
    path = path_of(digest, site_dir)
    if path is None:
        return None
    try:
        return Recipe.from_table(read_card((path / CARD).read_bytes())["preprocess"])
    except BundleError:
        return None


def install(source: Path, bundles_dir: Path, *, trusted: bytes | None = None) -> Bundle:
    """Copy a verified bundle into a site's directory under its card's name and version.

    Its signature goes along, checked or not. Installing the same bundle again changes nothing but
    its signature: one that is checked, or the first one, takes its place.

    Raises:
        BundleError: it does not verify, or another bundle of that name is there already.
    """
    bundle = open_bundle(source, trusted=trusted)
    folder = check_name(bundle.name, bundle.version)
    target = bundles_dir / folder
    if target.exists():
        if open_bundle(target).digest != bundle.digest:
            raise BundleError(f"another bundle is installed as {folder}; give it a new version")
        if bundle.signed or not (target / SIGNATURE).is_file():
            _copy_signature(source, target)
        return open_bundle(target, trusted=trusted)
    bundles_dir.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".installing-", dir=bundles_dir))
    try:
        for name in (*files_of(source), CARD):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, partial / name)
            _sync(partial / name)
        _copy_signature(source, partial)
        open_bundle(partial, trusted=trusted)
        partial.chmod(0o755)
        partial.rename(target)
        _sync(bundles_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_bundle(target, trusted=trusted)


def _copy_signature(source: Path, target: Path) -> None:
    """Bring a bundle's signature, if it has one, to its copy."""
    if not (source / SIGNATURE).is_file():
        return
    partial = target / f"{SIGNATURE}.partial"
    shutil.copyfile(source / SIGNATURE, partial)
    _sync(partial)
    partial.replace(target / SIGNATURE)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
