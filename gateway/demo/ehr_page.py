"""The simulated EHR's web page: the alert banner, the results, one result. Loopback only."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, PackageLoader, select_autoescape

from gateway.demo.chart import Result
from gateway.demo.filing import Filing
from inference.thresholds import written

_STATIC = Path(__file__).with_name("static")
_FILES = {
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_SAFETY = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, content type, body; where to go for a redirect."""

    status: HTTPStatus
    kind: str = "text/plain; charset=utf-8"
    body: bytes = b""
    location: str = ""


_NOT_FOUND = Reply(HTTPStatus.NOT_FOUND, body=b"There is no such page.\n")


class Pages:
    """Paths to pages, without a socket; every text is escaped by the templates."""

    def __init__(self, filing: Filing, console_url: str = "") -> None:
        """Wire the pages.

        Args:
            filing: what the EHR has filed.
            console_url: where the gateway's console is, for links to an ECG; may be empty.
        """
        self._filing = filing
        self._console_url = console_url.rstrip("/")
        self._templates = Environment(
            loader=PackageLoader("gateway.demo"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"clock": clock, "day": day, "score": score}

    def get(self, path: str) -> Reply:
        """Answer a GET."""
        if path == "/":
            return self._html(
                "list.html", alerts=self._filing.open_alerts, results=self._filing.results[::-1]
            )
        if path in _FILES:
            name, kind = _FILES[path]
            return Reply(HTTPStatus.OK, kind, (_STATIC / name).read_bytes())
        result = self._named(path.removesuffix(".pdf"), "/results/")
        if result is None:
            return _NOT_FOUND
        if path.endswith(".pdf"):
            return Reply(HTTPStatus.OK, "application/pdf", result.pdf)
        segments = result.message.decode("utf-8", "replace").split("\r")
        return self._html("result.html", result=result, segments=map(_cut, segments))

    def post(self, path: str) -> Reply:
        """Answer a POST: a person has seen an alert."""
        result = self._named(path, "/seen/")
        if result is None:
            return _NOT_FOUND
        self._filing.see(result.control_id)
        return Reply(HTTPStatus.SEE_OTHER, location="/")

    def _named(self, path: str, prefix: str) -> Result | None:
        if not path.startswith(prefix):
            return None
        return self._filing.get(unquote(path.removeprefix(prefix)))

    def _html(self, name: str, **values: object) -> Reply:
        page = self._templates.get_template(name).render(console_url=self._console_url, **values)
        return Reply(HTTPStatus.OK, "text/html; charset=utf-8", page.encode())


def _cut(segment: str, most: int = 300) -> str:
    """Give a segment without most of an embedded document."""
    return segment if len(segment) <= most else f"{segment[:most]}… ({len(segment)} characters)"


def clock(moment: datetime | None) -> str:
    """Show a time of today as a clock time, another with its date."""
    if moment is None:
        return "unknown"
    local = moment.astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M}" if today else f"{local:%d %b %Y, %H:%M}"


def day(date: str) -> str:
    """Show `YYYYMMDD` as people write it."""
    try:
        return f"{datetime.strptime(date, '%Y%m%d'):%d %b %Y}"
    except ValueError:
        return ""


def score(result: Result) -> str:
    """Show a score, 0 to 1, in as many places as its reference (OBX-7, `<0.5`) needs."""
    if result.score is None:
        return "-"
    limit = result.limit.removeprefix("<")
    return written(result.score, float(limit) if limit else None)


class EhrPage:
    """The web server; `with EhrPage(filing) as page` serves until the block ends."""

    def __init__(self, filing: Filing, console_url: str = "", port: int = 0) -> None:
        """Bind the port on loopback."""
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.pages = Pages(filing, console_url)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    pages: Pages
    daemon_threads = True  # a browser may keep an idle connection open


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0  # seconds for a request

    def do_GET(self) -> None:
        if self._known_host():
            self._send(self.server.pages.get(urlsplit(self.path).path))

    def do_POST(self) -> None:
        if not self._known_host():
            return
        origin = self.headers.get("Origin", "")
        if origin and urlsplit(origin).netloc != self.headers.get("Host"):
            self._send(Reply(HTTPStatus.FORBIDDEN, body=b"This form belongs to another site.\n"))
            return
        self._send(self.server.pages.post(urlsplit(self.path).path))

    def _known_host(self) -> bool:
        """Turn away a name that somebody pointed at loopback (DNS rebinding)."""
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host in {"127.0.0.1", "localhost"}:
            return True
        self._send(Reply(HTTPStatus.MISDIRECTED_REQUEST, body=b"Use 127.0.0.1.\n"))
        return False

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in _SAFETY.items():
            self.send_header(name, value)
        if reply.location:
            self.send_header("Location", reply.location)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing: a path may name a patient's message."""
