"""Whom to tell what: every rule of `gateway.policy` as a sentence."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.policy import (
    Finding,
    Kind,
    Mode,
    Policy,
    Target,
    decide,
    interrupts,
    least,
    reaches,
    stale_at,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TARGETS = (Target("ehr", test=False), Target("sandbox", test=True))


def finding(**changes):
    values = {
        "positive": True,
        "validated": True,
        "test_source": False,
        "acquired_at": NOW - timedelta(minutes=5),
        "received_at": NOW,
    }
    return Finding(**(values | changes))


def policy(**changes):
    values = {"version": 7, "mode": Mode.LIVE, "targets": TARGETS, "deadline_s": 3600.0}
    return Policy(**(values | changes))


def told(a_finding, a_policy):
    return {tell.destination: tell for tell in decide(a_finding, a_policy, NOW)}


def test_a_fresh_positive_score_is_an_alert_everywhere():
    """Live and test destinations are alerted; only the live one sees a live message."""
    tells = told(finding(), policy())
    assert [tell.kind for tell in tells.values()] == [Kind.ALERT, Kind.ALERT]
    assert tells["ehr"].live
    assert not tells["sandbox"].live
    assert tells["ehr"].expires_at == NOW + timedelta(minutes=55)


def test_a_negative_score_is_a_plain_result_that_never_expires():
    """Nobody is alerted by a score below the threshold."""
    tell = told(finding(positive=False), policy())["ehr"]
    assert (tell.kind, tell.alert, tell.expires_at) == (Kind.RESULT, False, None)


@pytest.mark.parametrize(
    ("a_finding", "a_policy"),
    [
        (finding(validated=False), policy()),
        (finding(), policy(mode=Mode.SHADOW)),
        (finding(test_source=True), policy()),
        (finding(positive=None, validated=False), policy()),
    ],
    ids=["unvalidated bundle", "shadow", "test sender", "unscorable, unvalidated"],
)
def test_what_is_not_live_reaches_test_destinations_only_and_says_so(a_finding, a_policy):
    """An unvalidated bundle, shadow mode or a test sender never reaches a live destination."""
    tells = told(a_finding, a_policy)
    assert set(tells) == {"sandbox"}
    assert not tells["sandbox"].live


def test_canary_files_at_live_destinations_and_alerts_test_ones():
    """Canary results are seen by live destinations without interrupting anybody."""
    tells = told(finding(), policy(mode=Mode.CANARY))
    assert (tells["ehr"].kind, tells["ehr"].live) == (Kind.RESULT, True)
    assert tells["sandbox"].kind is Kind.ALERT


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("mode", Mode)
def test_what_a_mode_lets_through_is_what_it_decides(mode, test):
    """A waiting message may go, and as an alert, exactly where a fresh one would."""
    target = Target("there", test=test)
    tells = decide(finding(), policy(mode=mode, targets=(target,)), NOW)
    assert reaches(mode, test=test) == bool(tells)
    assert interrupts(mode, test=test) == any(tell.alert for tell in tells)


def test_the_lesser_mode_wins():
    """Of the modes of site and source the one counts in which results go least far."""
    assert least(Mode.LIVE, Mode.SHADOW) is least(Mode.SHADOW, Mode.CANARY) is Mode.SHADOW
    assert least(Mode.OFF, *Mode) is Mode.OFF
    assert least(Mode.LIVE) is Mode.LIVE


def test_off_tells_nobody():
    """A switched-off model has no results."""
    assert told(finding(), policy(mode=Mode.OFF)) == {}


def test_stale_is_not_new():
    """A positive ECG older than the deadline is filed as late, not alerted."""
    tell = told(finding(acquired_at=NOW - timedelta(hours=1)), policy())["ehr"]
    assert (tell.kind, tell.late, tell.expires_at) == (Kind.RESULT, True, None)


def test_unscorable_is_its_own_kind_and_can_be_switched_off():
    """What could not be scored is told as such, or not at all where the site wants so."""
    tell = told(finding(positive=None), policy())["ehr"]
    assert (tell.kind, tell.alert) == (Kind.UNSCORABLE, False)
    assert told(finding(positive=None), policy(unscorable_results=False)) == {}


def test_a_failure_of_ours_is_told_like_an_unscorable_ecg_under_a_kind_of_its_own():
    """Whoever waits for a score hears that none will come, and why is told apart."""
    tell = told(finding(positive=None, failed=True), policy())["ehr"]
    assert (tell.kind, tell.alert, tell.live) == (Kind.UNSCORED, False, True)


def test_a_cart_clock_that_runs_ahead_does_not_lengthen_the_deadline():
    """The age counts from arrival when acquisition claims to be later, or is unknown."""
    ahead = finding(acquired_at=NOW + timedelta(days=1))
    assert stale_at(ahead, 60.0) == NOW + timedelta(seconds=60)
    assert stale_at(finding(acquired_at=None), 60.0) == NOW + timedelta(seconds=60)


def test_the_age_is_the_same_in_any_zone():
    """An acquisition time with a zone is that moment, wherever the gateway stands."""
    there = timezone(timedelta(hours=9))
    taken = (NOW - timedelta(minutes=10)).astimezone(there)
    assert stale_at(finding(acquired_at=taken), 3600.0) == NOW + timedelta(minutes=50)


def test_a_naive_time_is_read_in_this_machines_zone():
    """DICOM and HL7 times without a zone are local times (PS3.5 6.2 DT, HL7 2.A.77)."""
    taken = (NOW - timedelta(minutes=10)).astimezone().replace(tzinfo=None)
    assert stale_at(finding(acquired_at=taken), 3600.0) == NOW + timedelta(minutes=50)
