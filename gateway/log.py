"""Logs of a process: standard error and `logs/ROLE.log`, for people or as JSON; never PHI.

Our own events name ids, sizes, codes and classes. What libraries say is another matter: their
warnings and exception texts quote the values that they stumble over. So nothing that a library
says passes as it is: its loggers are closed or kept at WARNING, Python warnings are logged by class
and place, and an exception by class and place, with its text only where our own tree made it.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MAX_BYTES, BACKUPS = 20_000_000, 5
CLOSED = logging.CRITICAL + 1
# What each library's logger may say at least how badly; CLOSED ones quote patients' values.
LIBRARIES = {
    "alembic": logging.WARNING,
    "asyncio": logging.ERROR,
    "celery": logging.WARNING,
    "celery.app.trace": CLOSED,  # quotes the text of exceptions
    "fontTools": CLOSED,
    "hl7apy": CLOSED,
    "httpx": logging.WARNING,
    "kombu": logging.WARNING,
    "matplotlib": logging.WARNING,
    "multiprocessing": logging.WARNING,
    "nncf": logging.ERROR,
    "PIL": logging.ERROR,
    "pydicom": CLOSED,
    "pynetdicom": logging.WARNING,
    "pynetdicom.events": CLOSED,  # quotes the exceptions of handlers
    "sqlalchemy": logging.ERROR,
    "uvicorn": logging.WARNING,
    "uvicorn.access": CLOSED,
    "uvicorn.error": logging.ERROR,
}
OUR_ERRORS = ("gateway.", "inference.", "config.", "listeners.")
Outcome = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(role: str, level: str, style: str, logs_dir: Path | None = None) -> None:
    """Set up logging, once, at the start of a process.

    Args:
        role: name of this process, e.g. `work-1`; it stands on every line.
        level: `debug`, `info`, `warning` or `error`.
        style: `console` or `json`.
        logs_dir: where `ROLE.log` is written; None for standard error alone.
    """
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _with_role(role),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        told_safely,
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in _handlers(role, style, before, logs_dir):
        root.addHandler(handler)
    root.setLevel(LEVELS[level])
    close_libraries()
    warnings.showwarning = _log_warning
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash


def close_libraries() -> None:
    """Set every library's logger to what it may say; called again after one set itself up."""
    for name, level in LIBRARIES.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = True
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)


def _handlers(
    role: str, style: str, before: list[Processor], logs_dir: Path | None
) -> Iterator[logging.Handler]:
    """Give the handlers: standard error, and the role's own file."""
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(_formatter(style, before, colors=sys.stderr.isatty()))
    yield stderr
    if logs_dir is not None:
        logs_dir.mkdir(parents=True, exist_ok=True)
        path = logs_dir / f"{role}.log"
        file = logging.handlers.RotatingFileHandler(
            path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"
        )
        file.setFormatter(_formatter(style, before, colors=False))
        yield file


def _formatter(style: str, before: list[Processor], *, colors: bool) -> logging.Formatter:
    """Render an event for people or as one JSON object per line."""
    render: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )


def _with_role(role: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    return add


def told_safely(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace exceptions, as `exc_info` or as a value, by what may be said of them."""
    for key, value in list(event.items()):
        if isinstance(value, BaseException):
            event[key] = describe(value)
    record = event.get("_record")
    if record is not None and not event.get("_from_structlog"):
        event["event"] = str(event["event"]).partition("\n")[0]  # asyncio lists values below
    outcome = _outcome(event.pop("exc_info", None) or getattr(record, "exc_info", None))
    if record is not None:
        record.exc_info = record.exc_text = None
    if outcome is not None:
        event["error"] = describe(outcome[1])
        event["at"] = place(outcome[2])
    return event


def _outcome(value: Any) -> Outcome | None:
    """Normalise the forms that `exc_info` takes."""
    if isinstance(value, BaseException):
        return type(value), value, value.__traceback__
    if isinstance(value, tuple):
        return value if value[1] is not None else None
    found = sys.exc_info() if value else (None, None, None)
    return found if found[1] is not None else None


def describe(error: BaseException) -> str:
    """Say what an exception is: its class, and its text where our own error trees made it.

    Those promise to carry no PHI; of an `OSError` the system's own words are given, no file name.
    """
    kind = type(error)
    name = kind.__qualname__
    if f"{kind.__module__}.".startswith(OUR_ERRORS):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name


def place(trace: TracebackType | None) -> str:
    """Give the calls that led to an exception as `file.py:line function`, innermost first."""
    frames = traceback.extract_tb(trace)[-8:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a Python warning by class and place; its text may quote a data element."""
    del message, file, line
    structlog.get_logger("python").warning(
        "python_warning", category=category.__name__, at=f"{Path(filename).name}:{lineno}"
    )


def _log_crash(
    _kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log an exception that ends the process, without its values."""
    if isinstance(error, KeyboardInterrupt):
        return
    structlog.get_logger("crash").critical("crashed", exc_info=(type(error), error, trace))


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    """Log an exception that ends a thread, without its values."""
    if crash.exc_value is None or crash.exc_type is SystemExit:
        return
    name = crash.thread.name if crash.thread else ""
    outcome = (crash.exc_type, crash.exc_value, crash.exc_traceback)
    structlog.get_logger("crash").critical("thread_crashed", thread=name, exc_info=outcome)
