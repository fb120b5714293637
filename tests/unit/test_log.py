"""Logs: where they go, and that nothing that a library says carries a patient's values."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway import log
from gateway.errors import StoreUnavailable

PHI = "DOE^JANE 19440101 MRN-77"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    hooks = (warnings.showwarning, sys.excepthook, threading.excepthook)
    kept = (root.handlers[:], root.level)
    levels = {name: logging.getLogger(name).level for name in log.LIBRARIES}
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = kept
    warnings.showwarning, sys.excepthook, threading.excepthook = hooks
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def lines(folder: Path, role: str = "test") -> list[dict]:
    return [json.loads(line) for line in (folder / f"{role}.log").read_text("utf-8").splitlines()]


def test_an_event_goes_to_standard_error_and_to_the_role_s_file(tmp_path: Path, monkeypatch):
    """Containers read standard error, people on the machine read the file."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    log.configure("work-1", "info", "json", tmp_path)
    structlog.get_logger("gateway.scoring").info("scored", ecg_id="e1")
    [event] = lines(tmp_path, "work-1")
    assert event["event"] == "scored"
    assert event["role"] == "work-1"
    assert event["level"] == "info"
    assert event["ecg_id"] == "e1"
    assert json.loads(stderr.getvalue()) == event


def test_console_style_is_one_readable_line(tmp_path: Path, monkeypatch):
    """People read a line without colours when it goes to a file."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log.configure("listen", "info", "console", tmp_path)
    structlog.get_logger().info("listening", port=11112)
    [line] = (tmp_path / "listen.log").read_text("utf-8").splitlines()
    assert "listening" in line
    assert "port=11112" in line
    assert "\x1b" not in line


def test_the_level_is_kept(tmp_path: Path):
    """Debug events stay out at level info, ours and those of libraries."""
    log.configure("test", "info", "json", tmp_path)
    structlog.get_logger("gateway.x").debug("quiet")
    logging.getLogger("gateway.x").debug("quiet")
    assert lines(tmp_path) == []


def test_an_exception_of_a_library_is_told_without_its_text(tmp_path: Path):
    """`ValueError('DOE^JANE')` is logged as `ValueError` and the place where it rose."""
    log.configure("test", "info", "json", tmp_path)
    try:
        int(PHI)
    except ValueError as error:
        structlog.get_logger("gateway.x").exception("failed", cause=error)
        structlog.get_logger("gateway.x").error("failed", exc_info=error)
        logging.getLogger("celery").exception("failed")
    text = (tmp_path / "test.log").read_text("utf-8")
    assert "DOE" not in text
    for event in lines(tmp_path):
        assert event["error"] == "ValueError"
        assert event["at"].startswith("test_log.py:")


def test_an_exception_of_our_tree_is_told_with_its_text(tmp_path: Path):
    """Our own errors promise to carry no PHI, so their sentence helps."""
    log.configure("test", "info", "json", tmp_path)
    structlog.get_logger().warning("retry", error=StoreUnavailable("database is locked"))
    assert lines(tmp_path)[0]["error"] == "StoreUnavailable: database is locked"


def test_an_os_error_is_told_without_its_file_name():
    """A file's name may be a patient's."""
    error = FileNotFoundError(2, "No such file or directory", f"/in/{PHI}.pdf")
    assert log.describe(error) == "FileNotFoundError: No such file or directory"


def test_a_python_warning_is_told_without_its_text(tmp_path: Path):
    """Pydicom warns with the value that it does not like."""
    log.configure("test", "info", "json", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = log._log_warning
        warnings.warn(f"Invalid value for VR PN: {PHI}", UserWarning, stacklevel=1)
    [event] = lines(tmp_path)
    assert event["category"] == "UserWarning"
    assert "DOE" not in json.dumps(event)


@pytest.mark.parametrize("name", ["pydicom", "celery.app.trace", "uvicorn.access", "hl7apy"])
def test_loggers_that_quote_values_are_closed(tmp_path: Path, name: str):
    """Not even an error of these comes through."""
    log.configure("test", "debug", "json", tmp_path)
    logging.getLogger(name).critical(PHI)
    assert lines(tmp_path) == []


def test_pynetdicom_dumps_no_data_set_at_level_debug(tmp_path: Path):
    """Its debug messages contain identifiers; warnings still come through."""
    log.configure("test", "debug", "json", tmp_path)
    logging.getLogger("pynetdicom.acse").debug(PHI)
    logging.getLogger("pynetdicom.acse").info(PHI)
    logging.getLogger("pynetdicom.acse").warning("association aborted")
    assert [event["event"] for event in lines(tmp_path)] == ["association aborted"]


def test_a_crash_is_logged_without_values(tmp_path: Path):
    """The last words of a process carry no PHI either."""
    log.configure("test", "info", "json", tmp_path)
    try:
        {}[PHI]
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
    [event] = lines(tmp_path)
    assert (event["event"], event["error"]) == ("crashed", "KeyError")
    assert "DOE" not in json.dumps(event)


def test_a_crash_of_a_thread_is_logged_without_values(tmp_path: Path):
    """A thread's last words carry no PHI either."""
    log.configure("test", "info", "json", tmp_path)
    thread = threading.Thread(target=lambda: int(PHI), name="courier")
    thread.start()
    thread.join(30)
    [event] = lines(tmp_path)
    assert (event["event"], event["thread"], event["error"]) == (
        "thread_crashed",
        "courier",
        "ValueError",
    )


def test_only_the_first_line_of_a_library_s_message_is_kept(tmp_path: Path):
    """Asyncio lists the failed task, with the text of its exception, below its first line."""
    log.configure("test", "info", "json", tmp_path)
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: %s", PHI)
    assert lines(tmp_path)[0]["event"] == "Task exception was never retrieved"
