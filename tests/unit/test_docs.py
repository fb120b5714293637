"""The documentation points at things that exist and names commands that the program knows."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import make_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"ecg-gateway ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)")


def _page(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def _is_command(words: str) -> bool:
    """Whether the program takes `WORDS --help`."""
    return CliRunner().invoke(make_app(), [*words.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page is a file or folder of the checkout."""
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{_page(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_commands_exist(page: Path) -> None:
    """Each `ecg-gateway ...` that a page tells its reader to type is a command."""
    for words in COMMAND.findall(page.read_text()):
        assert _is_command(words) or _is_command(words.split()[0]), f"{_page(page)}: {words}"


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_no_machine_is_named(page: Path) -> None:
    """No page names a path of the machine that it was written on."""
    assert not re.search(r"/work/|/root/|/tmp/[a-z]", page.read_text())


def test_every_decision_is_half_a_page() -> None:
    """Decisions stay short enough to be read, and their numbers are unique."""
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert numbers == [f"{n:04d}" for n in range(1, len(pages) + 1)]
    for page in pages:
        assert len(page.read_text().splitlines()) <= 45, page.name
