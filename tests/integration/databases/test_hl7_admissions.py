"""ADT through the inbox into the cache of encounters: who is where, and since when."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from support.hl7 import at_noon, inbox_on, msh, oru, pid, wire

from gateway.ecg import Encounter, Name, State
from gateway.hl7.framing import Decoder, frame
from gateway.hl7.head import read_head
from gateway.store import Outcome

WHO = ("P100", "HOSP")
ED = "PV1|1|E|ED^12^A||||77^HOUSE^GREGORY||||||||||||V9"


def at(hour: int) -> datetime:
    """Give an hour of the day on which everything happens."""
    return datetime(2026, 1, 1, hour, tzinfo=UTC)


@pytest.fixture
def tell(store):
    """Send one ADT message of an hour; it must be taken."""
    inbox, number = inbox_on(store), iter(range(1000))

    def send(trigger: str, hour: int, *segments: str) -> None:
        head = msh(f"ADT^{trigger}", f"A{next(number)}")
        raw = wire(head, f"EVN|{trigger}|{at(hour):%Y%m%d%H%M%S}+0000", *segments)
        assert inbox.handle(raw, "127.0.0.1").code == "AA"

    return send


def visit(store, hour: int, who=WHO) -> Encounter | None:
    """Give the visit that the patient was on at an hour."""
    found = store.encounters.at(*who, at(hour))
    return found.encounter if found else None


@pytest.mark.parametrize("trigger", ["A01", "A04", "A08"])
def test_an_admission_is_filed(tell, store, trigger):
    """ADT says where the patient is; the ECG's encounter is looked up there."""
    tell(trigger, 9, pid(), ED)
    assert visit(store, 8) is None
    assert visit(store, 10) == Encounter("V9", "E", "ED^12^A", "77^HOUSE^GREGORY")
    assert store.encounters.latest(*WHO).patient.family == "DOE"


def test_a_transfer_changes_the_place_and_forgets_nothing_else(tell, store):
    """An A02 names the new bed; class and attending stay, and so does the place before it."""
    tell("A01", 9, pid(), ED)
    tell("A02", 11, pid(), "PV1|1||ICU^1^B||||||||||||||||V9")
    assert visit(store, 10).location == "ED^12^A"
    assert visit(store, 12) == Encounter("V9", "E", "ICU^1^B", "77^HOUSE^GREGORY")


def test_an_update_without_a_visit_does_not_forget_it(tell, store):
    """An A08 without PV1 changes the name and keeps the place."""
    tell("A01", 9, pid(), ED)
    tell("A08", 10, pid(family="ROE"))
    assert store.encounters.latest(*WHO).patient.family == "ROE"
    assert visit(store, 11).location == "ED^12^A"


def test_a_name_is_told_in_all_scripts_at_once(tell, store):
    """No name in the message: all stay. Another one: what the old one was in Latin is over."""
    tell("A01", 9, "PID|1||P100^^^HOSP^MR||王^小明^^^^^L^I~WANG^XIAOMING^^^^^L^A", ED)
    tell("A02", 10, "PID|1||P100^^^HOSP^MR", ED)
    assert store.encounters.latest(*WHO).patient.also_named == (Name("WANG", "XIAOMING"),)
    tell("A08", 11, "PID|1||P100^^^HOSP^MR||李^大華", ED)
    known = store.encounters.latest(*WHO).patient
    assert (known.family, known.also_named) == ("李", ())


def test_after_a_discharge_there_is_no_visit(tell, store):
    """An ECG from before it belongs to the visit, one from after it to none; identity is known."""
    tell("A01", 9, pid(), ED)
    tell("A03", 11, "PID|1||P100^^^HOSP^MR", ED)
    assert visit(store, 10).visit_number == "V9"
    assert visit(store, 12) is None
    assert store.encounters.latest(*WHO).patient.birth_date == "19500102"


def test_what_comes_after_a_discharge_does_not_reopen_the_visit(tell, store):
    """Billing corrects discharged visits for days."""
    tell("A01", 9, pid(), ED)
    tell("A03", 11, pid(), ED)
    tell("A08", 12, pid(), ED)
    assert visit(store, 13) is None
    tell("A01", 14, pid(), "PV1|1|I|WARD^1||||||||||||||||V10")
    assert visit(store, 15) == Encounter("V10", "I", "WARD^1")


def test_the_discharge_of_another_visit_ends_nothing(tell, store):
    """A late word on last month's visit, known or not, leaves today's alone."""
    old = "PV1|1|O|OUT^1||||||||||||||||V1"
    tell("A04", 7, pid(), old)
    tell("A03", 8, pid(), old)
    tell("A01", 9, pid(), ED)
    for trigger in ("A08", "A02", "A03"):
        tell(trigger, 10, pid(), old)
        assert visit(store, 11).visit_number == "V9"
    tell("A03", 11, pid(), "PV1|1|O|OUT^1||||||||||||||||V0")
    assert visit(store, 12).visit_number == "V9"


def test_a_visit_without_a_number_takes_nothing_from_the_one_before(tell, store):
    """An admission after a discharge is another visit, whatever it leaves empty."""
    tell("A01", 9, pid(), "PV1|1|E|ED^12^A||||77^HOUSE^GREGORY")
    tell("A03", 10, pid())
    tell("A01", 11, pid(), "PV1|1|I|WARD^1")
    assert visit(store, 12) == Encounter("", "I", "WARD^1")


def test_a_cancelled_discharge_never_was(tell, store):
    """The visit goes on, and held in between as well."""
    tell("A01", 9, pid(), ED)
    tell("A03", 11, pid(), ED)
    tell("A13", 13, pid(), ED)
    assert [visit(store, hour).visit_number for hour in (10, 12, 14)] == ["V9", "V9", "V9"]


def test_a_cancelled_admission_never_was(tell, store):
    """With its transfers; what held before holds again, and who the patient is stays known."""
    tell("A04", 8, pid(), "PV1|1|O|OUT^1||||||||||||||||V1")
    tell("A01", 9, pid(), ED)
    tell("A02", 10, pid(), "PV1|1||ICU^1^B||||||||||||||||V9")
    tell("A11", 11, pid(), ED)
    assert [visit(store, hour).visit_number for hour in (9, 10, 12)] == ["V1", "V1", "V1"]
    tell("A11", 12, pid(), "PV1|1|O|OUT^1||||||||||||||||V1")
    assert visit(store, 13) is None
    assert store.encounters.latest(*WHO).patient.family == "DOE"


def test_a_cancellation_without_a_visit_number_ends_what_is_known(tell, store):
    """Better no visit than a wrong one."""
    tell("A01", 9, pid(), "PV1|1|E|ED^12^A")
    tell("A11", 11, pid())
    assert visit(store, 12) is None


def test_an_update_of_the_person_changes_no_visit(tell, store):
    """The PV1 of an A31 is there for form's sake (`N`)."""
    tell("A31", 8, pid(), "PV1||N")
    assert visit(store, 9) is None
    tell("A01", 9, pid(), ED)
    tell("A31", 10, pid(family="ROE"), "PV1||N")
    assert visit(store, 11).location == "ED^12^A"
    assert store.encounters.latest(*WHO).patient.family == "ROE"


def test_merged_records_are_one(tell, store):
    """Visits of the retired number are those of the surviving one, and are found under both."""
    tell("A01", 9, pid("OLD"), ED)
    tell("A40", 11, pid("NEW", family="ROE"), "MRG|OLD^^^HOSP^MR")
    for number in ("OLD", "NEW"):
        assert visit(store, 10, (number, "HOSP")).visit_number == "V9"
        assert visit(store, 12, (number, "HOSP")).visit_number == "V9"
        assert store.encounters.latest(number, "HOSP").patient.family == "ROE"
    tell("A02", 13, pid("NEW"), "PV1|1||ICU^1^B||||||||||||||||V9")
    assert visit(store, 14, ("OLD", "HOSP")).location == "ICU^1^B"


def test_merges_may_follow_one_another_and_be_taken_back(tell, store):
    """Two steps lead to the last; a merge back the other way ends in no circle."""
    tell("A01", 9, pid("A"), ED)
    tell("A40", 10, pid("B"), "MRG|A^^^HOSP")
    tell("A40", 11, pid("C"), "MRG|B^^^HOSP")
    assert visit(store, 12, ("A", "HOSP")).visit_number == "V9"
    tell("A40", 12, pid("A"), "MRG|C^^^HOSP")
    for number in "ABC":
        assert visit(store, 13, (number, "HOSP")).visit_number == "V9"
    tell("A40", 13, pid("A"), "MRG|A^^^HOSP")
    assert visit(store, 14, ("A", "HOSP")).visit_number == "V9"


def test_merges_that_lead_in_a_circle_are_followed_once(tell, store):
    """With an issuer there and without one back: before the first word no visit is known."""
    tell("A40", 10, pid("B"), "MRG|A^^^HOSP")
    tell("A40", 11, "PID|1||A||DOE^JANE", "MRG|B")
    for who in (("A", "HOSP"), ("B", "HOSP"), ("A", ""), ("B", "")):
        assert visit(store, 9, who) is None
        assert store.encounters.known(*who, at(9)) is None
    assert store.encounters.latest("A", "HOSP").patient.family == "DOE"


@pytest.mark.parametrize("segments", [(pid(),), (pid(), "MRG|"), ("MRG|OLD",)])
def test_a_merge_of_nobody_is_an_error(store, segments):
    """A40 without both numbers is told AE."""
    handled = inbox_on(store).handle(wire(msh("ADT^A40"), "EVN|A40", *segments), "127.0.0.1")
    assert handled.code == "AE"


@pytest.mark.shared
def test_the_messages_of_others(store, shared):
    """Each real ADT message of these events is taken, or refused for what it truly lacks."""
    inbox, outcomes = inbox_on(store), Counter()
    for trigger in ("A02", "A03", "A11", "A13", "A31", "A40"):
        for path in sorted((shared / "hl7" / "messages").glob(f"*_ADT_{trigger}*")):
            (raw,) = Decoder(1 << 24).feed(frame(path.read_bytes()))
            outcomes[read_head(raw).trigger, inbox.handle(raw, "127.0.0.1").code] += 1
    taken = {"A02": 3, "A03": 8, "A11": 1, "A13": 1, "A31": 18, "A40": 5}
    refused = {"A03": 1, "A31": 1, "A40": 1}  # without MSH-10, PID-3, MSH-10
    assert outcomes == Counter(
        {(trigger, "AA"): n for trigger, n in taken.items()}
        | {(trigger, "AE"): n for trigger, n in refused.items()}
    )
    old, new = ("MR2", "XYZ"), ("MR1", "XYZ")
    assert store.encounters.latest(*old) == store.encounters.latest(*new)
    assert store.encounters.latest(*new).patient.given == "EVE"
    discharged = store.encounters.latest("1234", "")
    assert discharged.ended
    assert discharged.encounter.visit_number == "VisitNumber"
    assert store.encounters.at("1234", "", at_noon() + timedelta(days=1)) is None


def test_control_characters_in_an_admission_harm_nobody(tell, store):
    """NUL and its kin, escaped or not, are marked; every later admission is filed as well."""
    tell("A01", 9, "PID|1||P100^^^HOSP^MR||D\\X00\\OE^JA\x00NE||19500102|F", ED)
    tell("A08", 10, pid(number="P2\\X00\\"), ED)
    tell("A08", 11, pid(number="P200"), ED)
    known = store.encounters.latest(*WHO).patient
    assert (known.family, known.given) == ("D\ufffdOE", "JA\ufffdNE")
    assert store.encounters.latest("P2\ufffd", "HOSP") is not None
    assert store.encounters.latest("P2", "HOSP") is None


def test_control_characters_in_a_name_keep_no_admission_out(tell, store):
    """An ECG in quarantine whose header had a NUL does not stop ADT, of whomever it tells."""
    inbox = inbox_on(store)
    raw = oru().replace(b"P100^", b"P\\X00\\1^").replace(b"DOE", b"D\x00OE")
    (receipt,) = inbox.handle(raw, "127.0.0.1").receipts
    assert store.ecgs.get(receipt.ecg_id).patient.id == "P\ufffd1"
    assert store.ecgs.claim(receipt.ecg_id, "w", 60)
    store.ecgs.finish(receipt.ecg_id, "w", Outcome(State.QUARANTINED, "patient-unknown"), [])
    tell("A01", 9, pid(), ED)
    assert visit(store, 10) is not None


def test_a_control_id_with_control_characters_is_kept(store):
    """MSH-10 is written to the message log, so what the database cannot keep is marked there."""
    raw = oru("C\x001")
    assert inbox_on(store).handle(raw, "127.0.0.1").code == "AA"
    assert store.messages.recent(1)[0].control_id == "C\ufffd1"
