"""Progress of slow commands."""

import pytest

from gateway.cli import progress


@pytest.mark.parametrize(
    ("seconds", "said"), [(12, "12 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_times_are_written_as_people_say_them(seconds, said):
    """Seconds, then minutes, then hours."""
    assert progress.span(seconds) == said


def test_lines_are_few_where_they_stay(capsys, monkeypatch):
    """No terminal: a line every five seconds and one at the end, with the time that is left."""
    now = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    ticker = progress.Ticker()
    for done in range(1, 13):
        ticker("reading ECGs", done, 12)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "reading ECGs: 6 of 12, 5 s left",
        "reading ECGs: 11 of 12, 1 s left",
        "reading ECGs: 12, took 11 s",
    ]
    ticker("building the bundle", 0, 1)
    ticker("building the bundle", 1, 1)
    said = capsys.readouterr().err.splitlines()
    assert said == ["building the bundle ...", "building the bundle: took 1 s"]
