"""Composition root of the `console` role: the web console on a socket of our own."""

from __future__ import annotations

import os
import socket
import threading
from functools import lru_cache, partial
from importlib import metadata
from typing import TYPE_CHECKING

import uvicorn

from gateway import log, readiness
from gateway.console.app import create_app
from gateway.delivery.prepare import ResultSite
from gateway.errors import GatewayError
from gateway.roles.process import Misconfigured, Role
from gateway.roles.site_values import result_site
from inference.installed import recipe_of

if TYPE_CHECKING:
    from inference.runtime.maps import MapNetwork

STOP_S = 3
BACKLOG = 128


class ConsoleEnded(GatewayError):
    """The web server is gone though nobody told it to stop."""


def console(role: Role) -> None:
    """Serve pages, health and metrics until told to stop."""
    listening = _bound(role)
    role.closing.callback(listening.close)
    app = create_app(
        role.store,
        version=metadata.version("ecg-gateway"),
        site=partial(_results_of, role),
        recipes=partial(recipe_of, site_dir=role.settings.bundles_dir),
        maps=lru_cache(maxsize=1)(partial(_maps_of, role)),
        troubles=partial(readiness.troubles, role.settings.run_dir),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_S,
        )
    )
    log.close_libraries()
    serving = threading.Thread(target=server.run, args=([listening],), name="console")
    serving.start()
    role.ready({"console": listening.getsockname()[1]})
    while serving.is_alive() and not role.stop.wait(1.0):
        pass
    ended = not serving.is_alive()
    server.should_exit = True
    serving.join()
    if ended:
        raise ConsoleEnded("the web server ended by itself")


def _results_of(role: Role) -> ResultSite:
    version, site = role.site.current
    return result_site(site, version)


def _maps_of(role: Role, digest: str) -> MapNetwork | None:
    """Load a bundle's maps when somebody first asks for them: 300 MB, and a second of CPU."""
    from inference.runtime.maps import maps_of  # noqa: PLC0415 - loads a model runtime

    return maps_of(digest, role.settings.bundles_dir, role.settings.trusted)


def _bound(role: Role) -> socket.socket:
    """Open the port before anything else, so that port 0 gets a number that can be told.

    Raises:
        Misconfigured: it cannot be opened.
    """
    told = role.settings.console
    family = socket.AF_INET6 if ":" in told.host else socket.AF_INET
    try:
        return socket.create_server((told.host, told.port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Misconfigured(f"console.port = {told.port} on {told.host}: {reason}") from error
