"""`queue`, `resend`, `rescore`, `dismiss`: what is held for a person, and the way out. No PHI."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import TOOLS, Config, Data, fail, plain, settings_of, show, store_of, table
from gateway.cli.options import who as account

if TYPE_CHECKING:
    from gateway.store import DeliveryRow, Store

EVERY = 1_000_000
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many rows of a kind.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=TOOLS)(queue)
    app.command(rich_help_panel=TOOLS)(resend)
    app.command(rich_help_panel=TOOLS)(rescore)
    app.command(rich_help_panel=TOOLS)(dismiss)


def queue(config: Config = None, data: Data = None, limit: Limit = 50) -> None:
    """Show what waits: ECGs by state, held ones with reason and age, dead letters."""
    now = datetime.now(UTC)
    with closing(store_of(settings_of(config, data))) as store:
        _show_states(store)
        _show_held(store, limit, now)
        _show_dead_letters(store, limit, now)


def _show_states(store: Store) -> None:
    """Print how many ECGs are in each state."""
    rows = table("state", "ECGs", title="ECGs by state")
    for state, number in store.ecgs.count_by_state().items():
        rows.add_row(*plain(state.value, str(number)))
    show(rows)


def _show_held(store: Store, limit: int, now: datetime) -> None:
    """Print the ECGs that wait for a person, the newest of each state first."""
    from gateway.ecg import State

    rows = table("ECG", "state", "reason", "age", title="Held ECGs")
    for state in (State.QUARANTINED, State.FAILED, State.UNSCORABLE):
        for row in store.ecgs.recent(limit, state=state):
            rows.add_row(*plain(row.id, state.value, row.reason, _age(now, row.state_at)))
    show(rows)


def _show_dead_letters(store: Store, limit: int, now: datetime) -> None:
    """Print what no destination took, newest first."""
    rows = table(
        "delivery", "destination", "kind", "state", "reason", "age", "ECG", title="Dead letters"
    )
    for row in store.deliveries.dead_letters(limit):
        told = (str(row.id), row.destination, row.kind, row.state.value, row.last_error)
        rows.add_row(*plain(*told, _age(now, row.created_at), row.ecg_id))
    show(rows)


def _age(now: datetime, since: datetime) -> str:
    """Say how long ago, in the largest unit that gives a number of 1 or more."""
    seconds = max((now - since).total_seconds(), 0.0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def resend(
    deliveries: Annotated[
        list[int] | None, typer.Argument(help="Deliveries' numbers, as `queue` shows them.")
    ] = None,
    config: Config = None,
    data: Data = None,
    every: Annotated[bool, typer.Option("--all", help="Every rejected or dead one.")] = False,
) -> None:
    """Queue rejected or dead deliveries again, with the same bytes and ids.

    Exit status 1 when one could not be.
    """
    if bool(deliveries) == every:
        fail("name either deliveries or --all", 2)
    with closing(store_of(settings_of(config, data))) as store:
        names = _destinations(store)
        troubles = []
        for row in _dead(store) if every else _named(store, deliveries or []):
            if trouble := _resend(store, row, names):
                troubles.append(trouble)
            else:
                typer.echo(f"delivery {row.id} to {row.destination} waits again")
    if troubles:
        fail("\n".join(troubles))


def _dead(store: Store) -> list[DeliveryRow]:
    """List all dead letters that can be sent again, oldest first."""
    from gateway.ecg import DeliveryState

    found = reversed(store.deliveries.dead_letters(EVERY))
    return [row for row in found if row.state is not DeliveryState.EXPIRED]


def _named(store: Store, numbers: list[int]) -> list[DeliveryRow]:
    """Give deliveries; all must exist before any is touched."""
    try:
        return [store.deliveries.get(number) for number in numbers]
    except KeyError as error:
        fail(f"there is no delivery {error}; nothing was done")


def _destinations(store: Store) -> set[str]:
    """Give the names of the destinations that the site in force sends results to."""
    from config.documents import site_of
    from gateway.roles.site_values import reached

    now = store.site.current()
    if now is None:
        return set()
    return {item.name for item in reached(site_of(now.document, "the site in force"))}


def _resend(store: Store, row: DeliveryRow, destinations: set[str]) -> str:
    """Queue one again; give what is in the way."""
    if row.destination not in destinations:
        return f"delivery {row.id} is not resent: the site sends nothing to {row.destination}"
    if not store.deliveries.resend(row.id):
        state = store.deliveries.get(row.id).state.value
        return f"delivery {row.id} is not resent: it is {state}, neither rejected nor dead"
    return ""


def rescore(
    ecgs: Annotated[list[str], typer.Argument(help="ECGs' identifiers, as `queue` shows them.")],
    config: Config = None,
    data: Data = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also one that is quarantined as `conflict`.")
    ] = False,
) -> None:
    """Put failed, unscorable or quarantined ECGs back to be scored; the timeline says who did.

    Exit status 1 when one could not be.
    """
    with closing(store_of(settings_of(config, data))) as store:
        troubles = []
        for ecg_id in ecgs:
            if store.ecgs.rescore(ecg_id, account(), force=force):
                typer.echo(f"ECG {ecg_id} is received again; a worker takes it up")
            else:
                troubles.append(_not_rescored(store, ecg_id))
    if troubles:
        fail("\n".join(troubles))


def dismiss(
    ecgs: Annotated[list[str], typer.Argument(help="ECGs' identifiers, as `queue` shows them.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Take held ECGs and their dead letters off the list: a person has dealt with them.

    Nobody is told anything; the timeline says who did it. Exit status 1 when one is not held.
    """
    with closing(store_of(settings_of(config, data))) as store:
        troubles = []
        for ecg_id in ecgs:
            if store.ecgs.dismiss(ecg_id, account()):
                typer.echo(f"ECG {ecg_id} and its dead letters are off the list")
            else:
                troubles.append(f"of ECG {ecg_id} nothing is held")
    if troubles:
        fail("\n".join(troubles))


def _not_rescored(store: Store, ecg_id: str) -> str:
    """Say why an ECG was left alone."""
    from gateway.ecg import State

    try:
        row = store.ecgs.get(ecg_id)
    except KeyError:
        return f"there is no ECG {ecg_id}"
    if row.state in {State.QUARANTINED, State.DISMISSED}:
        return (
            f"ECG {ecg_id} is not rescored: it is {row.state.value} as {row.reason}; look at "
            "both ECGs, then use --force"
        )
    return f"ECG {ecg_id} is not rescored: it is {row.state.value}, which is not held"
