"""The DICOM listener: one port, one thread for each association."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from gateway.dicom.admission import Peer
from gateway.ecg import Arrival, Receipt
from listeners.association import Association, DicomOptions, Seats, Services
from listeners.channel import Channel

__all__ = ["DicomListener", "DicomOptions", "Peer"]

log = structlog.get_logger(__name__)

BACKLOG = 256
OUT_OF_FILES_PAUSE_S = 0.1


class DicomListener:
    """A Verification and Storage SCP (PS3.4 A, B).

    The upper layer protocol is our own (docs/decisions/0007-dicom-upper-layer.md): an association
    through the threads and polling loops of pynetdicom costs far more than the ECG that it carries.
    """

    def __init__(
        self,
        options: DicomOptions,
        *,
        peers: Callable[[], Sequence[Peer]],
        ae_title: Callable[[], str],
        accept: Callable[[Arrival], Receipt],
        wake: Callable[[Receipt], None],
        refused: Callable[[str, str, str, str], None],
    ) -> None:
        """Keep what is needed; nothing is opened yet.

        Args:
            options: ports, limits and timeouts.
            peers: who may associate, asked for every association.
            ae_title: our own AE title, asked likewise.
            accept: makes an arrival durable.
            wake: wakes a worker, called after the answer is on the wire.
            refused: records protocol, peer, address and reason of a refusal.
        """
        self._options = options
        self._services = Services(peers, ae_title, accept, wake, refused)
        self._seats = Seats(options.max_associations, options.max_associations_per_ae)
        self._max_connections = 2 * options.max_associations + 32
        self._associations: dict[Association, threading.Thread] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def start(self) -> int:
        """Listen; give the port.

        Raises:
            OSError: the address cannot be bound.
        """
        options = self._options
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self._socket = socket.create_server(
            (options.host, options.port),
            family=family,
            backlog=BACKLOG,
            reuse_port=options.reuse_port,
            dualstack_ipv6=options.host == "::" and socket.has_dualstack_ipv6(),
        )
        port: int = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(
            target=self._accept_loop, args=(self._socket,), name="dicom-accept", daemon=True
        )
        self._acceptor.start()
        return port

    def stop(self, drain_s: float) -> None:
        """Take no more associations, let messages under way end, then close what is left.

        Args:
            drain_s: how long messages under way may take.
        """
        deadline = time.monotonic() + drain_s
        self._stopping.set()
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._acceptor:
            self._acceptor.join()
        if self._socket:
            self._socket.close()
        with self._changed:
            for association in self._associations:
                association.drain()
            self._changed.wait_for(lambda: not self._associations, deadline - time.monotonic())
            left = dict(self._associations)
        for association in left:
            association.kill()
        for thread in left.values():
            thread.join(1.0)

    def _accept_loop(self, listening: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                sock, peer = listening.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    log.warning("dicom cannot accept a connection", error=error.strerror)
                    self._stopping.wait(OUT_OF_FILES_PAUSE_S)
                continue
            try:
                self._begin(sock, str(peer[0]))
            except Exception:  # no thread to be had, or the peer is gone already
                log.warning("dicom cannot serve a connection", exc_info=True)
                sock.close()
                self._stopping.wait(OUT_OF_FILES_PAUSE_S)

    def _begin(self, sock: socket.socket, address: str) -> None:
        """Give a connection its thread; one too many is closed at once."""
        with self._changed:
            if self._stopping.is_set() or len(self._associations) >= self._max_connections:
                sock.close()
                return
            association = Association(
                Channel(sock), address, self._options, self._services, self._seats
            )
            thread = threading.Thread(
                target=self._run, args=(association,), name="dicom-association", daemon=True
            )
            self._associations[association] = thread
        try:
            thread.start()
        except BaseException:
            self._forget(association)
            raise

    def _run(self, association: Association) -> None:
        try:
            association.run()
        finally:
            self._forget(association)

    def _forget(self, association: Association) -> None:
        with self._changed:
            del self._associations[association]
            self._changed.notify_all()
