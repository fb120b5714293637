"""`bundle`: verify, install, activate and compare model bundles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import Config, Data, fail, plain, settings_of, show, store_of, table, who
from gateway.cli.site import check_bundle

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.store import Store
    from inference.bundle import Bundle

Name = Annotated[str, typer.Argument(help="An installed bundle's name, or a bundle's directory.")]
Key = Annotated[
    Path | None,
    typer.Option("--key", help="Ed25519 public key (PEM, or 32 raw bytes) that must have signed."),
]


def app() -> typer.Typer:
    """Build the group of commands."""
    group = typer.Typer(help="Model bundles.", no_args_is_help=True)
    group.command("list")(list_)
    for command in (show_card, verify, build, sign, install, activate, rollback, diff):
        name = "show" if command is show_card else command.__name__
        group.command(name)(command)
    return group


def list_(config: Config = None) -> None:
    """List the installed bundles, each verified."""
    from inference.bundle import open_bundle
    from inference.errors import BundleError
    from inference.installed import list_bundles

    settings = settings_of(config, None)
    rows = table("name", "version", "validation", "bundle", "")
    for path in list_bundles(settings.bundles_dir):
        try:
            found = open_bundle(path, trusted=settings.trusted)
        except BundleError as error:
            rows.add_row(*plain(path.name, "", "", "", f"✗ {error}"))
        else:
            status = found.card["validation"]["status"]
            rows.add_row(*plain(path.name, found.version, status, found.digest[:16], "✓"))
    show(rows)


def show_card(name: Name, config: Config = None) -> None:
    """Print a bundle's card."""
    typer.echo((_path(name, config) / "card.toml").read_text("utf-8"), nl=False)


def verify(name: Name, config: Config = None, key: Key = None, run: bool = True) -> None:
    """Check every hash, the signature if there is a key (--key, else `bundles_key`), golden scores.

    These are computed by the runtime that the settings choose and by every OpenVINO runtime whose
    parity holds: the int8 graph knows nothing of the card's network, fp32 is built by it.
    """
    from inference.bundle import open_bundle

    settings = settings_of(config, None)
    found = open_bundle(_path(name, config), trusted=_trusted(key, settings))
    typer.echo(f"✓ {found.name} {found.version}, bundle {found.digest}")
    typer.echo(_signature(found))
    if run:
        for line in _golden(found, settings.worker.runtime):
            typer.echo(line)


def _signature(found: Bundle) -> str:
    """Say what vouches for what the card states of itself; the hashes only cover other files."""
    from inference.bundle import SIGNATURE

    if found.signed:
        return "✓ signed with this key: the card is as its signer left it"
    why = (
        "the signature was not checked: name its public key with --key"
        if (found.path / SIGNATURE).is_file()
        else "not signed"
    )
    return (
        f"! {why}. No signature protects the card's own values (threshold, calibration, bounds, "
        "validation): compare the SHA-256 above with its maker's"
    )


def _golden(found: Bundle, runtime: str) -> Iterator[str]:
    """Score the golden ECGs on each runtime; one line each.

    Raises:
        BundleError: one does not reproduce the card's golden scores.
    """
    from inference.runtime import choose, load, usable
    from inference.score import Scorer, self_test

    wanted = choose(found) if runtime == "auto" else runtime
    for name in dict.fromkeys((wanted, *usable(found))):
        apart = self_test(Scorer(found, load(found, name)))
        yield f"✓ golden scores on {name}: largest difference {apart:.5f}"


def build(
    run: Annotated[Path, typer.Argument(help="Directory of `ecg-gateway train`.")],
    out: Annotated[Path, typer.Option("--out", help="Where the bundle is copied to.")],
) -> None:
    """Copy the verified bundle of a training run out of its directory."""
    from inference.bundle import open_bundle

    found = open_bundle(run / "bundle")
    _copy(found, out)
    typer.echo(f"{out}: {found.name} {found.version}, bundle {open_bundle(out).digest}")


def sign(
    name: Name,
    key: Annotated[Path, typer.Option("--key", help="Ed25519 private key (PEM, or 32 raw bytes).")],
    config: Config = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Sign a copy, written here.", show_default=False)
    ] = None,
) -> None:
    """Sign the card of a verified bundle: you vouch for its threshold, calibration and validation.

    A shipped bundle is signed as a copy only, which is then installed like any other.
    """
    from inference.bundle import sign as sign_it
    from inference.installed import SHIPPED

    found, raw = _open(name, config), _private_key(key)
    if out is None and found.path.resolve().is_relative_to(SHIPPED.resolve()):
        fail("a shipped bundle is signed as a copy; say where with --out", 2)
    if out is not None:
        _copy(found, out)
    path = out or found.path
    sign_it(path, raw)
    typer.echo(f"signed; check it with: bundle verify {path} --key PUBLIC")


def install(
    source: Annotated[Path, typer.Argument(help="A bundle's directory.")],
    config: Config = None,
    key: Key = None,
) -> None:
    """Copy a verified bundle into the site's bundles directory; it is not used until activated.

    With --key, else with `bundles_key`, it must be signed. Its signature goes along in any case.
    """
    from inference.installed import install as install_it

    settings = settings_of(config, None)
    found = install_it(source, _bundles_dir(settings), trusted=_trusted(key, settings))
    typer.echo(f"installed as {found.path.name}; use it with: bundle activate {found.path.name}")


def activate(
    name: Annotated[str, typer.Argument(help="An installed bundle's name.")],
    config: Config = None,
    data: Data = None,
    note: Annotated[str, typer.Option("--note", help="Why; kept in the history.")] = "",
) -> None:
    """Put a bundle in force after its self-test, as a new version of the site configuration."""
    from gateway.roles.model import load_scorer

    settings = settings_of(config, data)
    load_scorer(settings, name)
    with closing(store_of(settings)) as store:
        _put(store, name, note or f"bundle {name} activated")


def rollback(config: Config = None, data: Data = None) -> None:
    """Return to the bundle that was in force before the present one."""
    settings = settings_of(config, data)
    with closing(store_of(settings)) as store:
        now = store.site.current()
        if now is None:
            fail("there is no site configuration yet")
        active = _active(now.document)
        older = sorted(store.site.history(), key=lambda kept: kept.version, reverse=True)
        for kept in older:
            name = _active(store.site.get(kept.version).document)
            if kept.version < now.version and name != active:
                check_bundle(settings, name)
                _put(store, name, f"bundle rolled back from {active} to {name}")
                return
        fail(f"no bundle but {active} was ever in force")


def diff(one: Name, other: Name, config: Config = None) -> None:
    """Show which of the cards' keys differ; exit status 1 when any does."""
    from inference.bundle import diff as diff_them

    left, right = _open(one, config), _open(other, config)
    rows = table("key", f"{left.name} {left.version}", f"{right.name} {right.version}")
    found = diff_them(left, right)
    for key, a, b in found:
        rows.add_row(*plain(key, _short(a), _short(b)))
    show(rows)
    if found:
        raise typer.Exit(1)


def _put(store: Store, name: str, note: str) -> None:
    now = store.site.current()
    if now is None:
        fail("there is no site configuration yet; start the gateway once")
    document = now.document | {"model": {**now.document.get("model", {}), "bundle": name}}
    version = store.site.save(document, who=who(), note=note, expected=now.version)
    typer.echo(f"{name} is in force from version {version} of the site configuration on")


def _active(document: dict[str, object]) -> str:
    model = document.get("model")
    return str(model.get("bundle", "reference")) if isinstance(model, dict) else "reference"


def _open(name: str, config: Path | None) -> Bundle:
    from inference.bundle import open_bundle

    return open_bundle(_path(name, config))


def _path(name: str, config: Path | None) -> Path:
    from inference.installed import find_bundle

    if (Path(name) / "card.toml").is_file():
        return Path(name)
    return find_bundle(name, settings_of(config, None).bundles_dir)


def _bundles_dir(settings: Settings) -> Path:
    if settings.bundles_dir is None:
        fail("set `bundles_dir` in the settings: the folder that installed bundles live in", 2)
    return settings.bundles_dir


def _copy(found: Bundle, out: Path) -> None:
    import shutil

    if out.exists():
        fail(f"{out} exists already", 2)
    shutil.copytree(found.path, out)


def _trusted(key: Path | None, settings: Settings) -> bytes | None:
    """Read the public key of the option; without it give that of the settings.

    Raises:
        typer.Exit: the option's file holds no such key.
    """
    from config.keys import public_key

    if key is None:
        return settings.trusted
    try:
        return public_key(key)
    except ValueError as error:
        fail(f"--key {key}: {error}", 2)


def _private_key(key: Path) -> bytes:
    """Give the 32 bytes (RFC 8032) of a file that holds them, or a PEM of them.

    Raises:
        typer.Exit: it holds no such key.
    """
    try:
        held = key.read_bytes()
        raw = _of_pem(held) if held.startswith(b"-----") else held
    except (OSError, ValueError, TypeError) as error:
        fail(f"--key {key}: {getattr(error, 'strerror', None) or 'not a key without password'}", 2)
    if len(raw) != 32:
        fail(f"--key {key}: an Ed25519 private key of 32 bytes, or a PEM of one, is needed", 2)
    return raw


def _of_pem(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    held = load_pem_private_key(pem, None)
    return held.private_bytes_raw() if isinstance(held, Ed25519PrivateKey) else b""


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
