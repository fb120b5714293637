"""The text of a data set's header: character sets, names, dates (PS3.5 chapter 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone

from pydicom import charset

from gateway.clock import plausible
from gateway.dicom.elements import Element, items, walk
from gateway.ecg import Name, Order, Patient
from gateway.text import plain

LAST_GROUP = 0x0040
"""Groups above hold waveforms, documents and pixels; nothing of them is read."""

SPECIFIC_CHARACTER_SET = 0x00080005
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
STUDY_DATE, STUDY_TIME = 0x00080020, 0x00080030
ACQUISITION_DATE, ACQUISITION_TIME = 0x00080022, 0x00080032
CONTENT_DATE, CONTENT_TIME = 0x00080023, 0x00080033
ACQUISITION_DATE_TIME = 0x0008002A
ACCESSION_NUMBER = 0x00080050
TIMEZONE_OFFSET_FROM_UTC = 0x00080201
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
ISSUER_QUALIFIERS_SEQUENCE = 0x00100024
PATIENT_BIRTH_DATE = 0x00100030
PATIENT_SEX = 0x00100040
STUDY_INSTANCE_UID = 0x0020000D
IDENTIFIER_TYPE_CODE = 0x00400035
REQUEST_ATTRIBUTES_SEQUENCE = 0x00400275
PLACER_ORDER_NUMBER = 0x00402016
FILLER_ORDER_NUMBER = 0x00402017

PADDING = " \0"
NAME_DELIMITERS = {ord("^"), ord("=")}
TEXT_DELIMITERS = {ord("\\"), 0x0D, 0x0A, 0x0C, 0x09}


class Header:
    """The elements up to group 0040, decoded on demand; no value ever raises or warns in clear.

    A control character inside of a value is given as U+FFFD.
    """

    def __init__(
        self, elements: Mapping[int, Element], *, implicit: bool, encodings: list[str] | None = None
    ) -> None:
        self._elements = elements
        self._implicit = implicit
        self._encodings = encodings or self._character_sets()

    @classmethod
    def read(cls, data: memoryview, *, implicit: bool) -> Header:
        """Walk a whole data set and keep its header.

        Raises:
            NotUnderstood: damaged or cut off anywhere, also behind the header.
        """
        kept = {
            element.tag: element
            for element in walk(data, implicit=implicit)
            if element.tag >> 16 <= LAST_GROUP
        }
        return cls(kept, implicit=implicit)

    def _raw(self, tag: int) -> bytes:
        element = self._elements.get(tag)
        return bytes(element.value) if element else b""

    def ascii(self, tag: int) -> str:
        """A value of the default repertoire: UI, DA, TM, DT, CS."""
        return plain(self._raw(tag).decode("ascii", "replace").strip(PADDING))

    def text(self, tag: int, delimiters: set[int] | None = None) -> str:
        """A value in the data set's character sets: LO, SH, PN."""
        raw = self._raw(tag)
        if b"\x1b" in raw:
            decoded: str = charset.decode_bytes(raw, self._encodings, delimiters or TEXT_DELIMITERS)
        else:
            decoded = raw.decode(self._encodings[0], "replace")
        return plain(decoded.strip(PADDING))

    def first_item(self, tag: int) -> Header:
        """The first item of a sequence; an empty header when there is none."""
        element = self._elements.get(tag)
        first = next(items(element, implicit=self._implicit), None) if element else None
        if first is None:
            return Header({}, implicit=self._implicit, encodings=self._encodings)
        inner = {found.tag: found for found in walk(first, implicit=self._implicit)}
        own = None if SPECIFIC_CHARACTER_SET in inner else self._encodings
        return Header(inner, implicit=self._implicit, encodings=own)

    def _character_sets(self) -> list[str]:
        """Python codecs for Specific Character Set (PS3.3 C.12.1.1.2).

        An unknown term reads as the default repertoire, where other bytes become U+FFFD: a name
        that cannot be read must not look like another one.
        """
        terms = [term.strip(PADDING) for term in self.ascii(SPECIFIC_CHARACTER_SET).split("\\")]
        known = [charset.python_encoding.get(term, "ascii") for term in terms]
        known[0] = "ascii" if terms[0] in {"", "ISO_IR 6", "ISO 2022 IR 6"} else known[0]
        return known


def patient(header: Header) -> Patient:
    """Patient module (PS3.3 C.7.1.1); the first name representation that is filled in is shown."""
    sex = header.ascii(PATIENT_SEX).upper()
    return Patient(
        id=header.text(PATIENT_ID),
        id_authority=header.text(ISSUER_OF_PATIENT_ID),
        id_type=header.first_item(ISSUER_QUALIFIERS_SEQUENCE).ascii(IDENTIFIER_TYPE_CODE),
        birth_date=_date(header.ascii(PATIENT_BIRTH_DATE)),
        sex=sex if sex in {"M", "F", "O", "U"} else "",
    ).named(_names(header.text(PATIENT_NAME, NAME_DELIMITERS)))


def order(header: Header) -> Order:
    """Numbers of the imaging service request (PS3.3 C.7.2.1, C.4.12)."""
    request = header.first_item(REQUEST_ATTRIBUTES_SEQUENCE)

    def value(tag: int) -> str:
        return header.text(tag) or request.text(tag)

    return Order(
        placer=value(PLACER_ORDER_NUMBER),
        filler=value(FILLER_ORDER_NUMBER),
        accession=value(ACCESSION_NUMBER),
    )


def acquired_at(header: Header) -> datetime | None:
    """When the ECG was recorded: Acquisition, else Content, else Study date and time.

    Naive when neither the value nor Timezone Offset From UTC tells the zone. A date without a time
    is no time: it counts as unknown, not as midnight.
    """
    offset = header.ascii(TIMEZONE_OFFSET_FROM_UTC)
    candidates = (
        header.ascii(ACQUISITION_DATE_TIME),
        header.ascii(ACQUISITION_DATE) + header.ascii(ACQUISITION_TIME),
        header.ascii(CONTENT_DATE) + header.ascii(CONTENT_TIME),
        header.ascii(STUDY_DATE) + header.ascii(STUDY_TIME),
    )
    return next((at for text in candidates if (at := parse_date_time(text, offset))), None)


def _names(text: str) -> Iterator[Name]:
    """The component groups of a PN: alphabetic, ideographic, phonetic (PS3.5 6.2.1)."""
    for group in text.split("=")[:3]:
        yield Name(*[part.strip() for part in group.split("^")][:3])


def _date(text: str) -> str:
    """`YYYYMMDD`, also from the retired `YYYY.MM.DD` (PS3.5 6.2, DA)."""
    text = text.replace(".", "")
    return text if len(text) == 8 and text.isascii() and text.isdigit() else ""


def parse_date_time(text: str, offset: str = "") -> datetime | None:
    """Read VR DT, or DA and TM joined (PS3.5 6.2); at least hours and minutes are needed.

    Args:
        text: `YYYYMMDDHHMM[SS[.FFFFFF]][&ZZXX]`.
        offset: `&ZZXX` for a value without its own.
    """
    text = text.replace(" ", "")
    sign = max(text.rfind("+"), text.rfind("-"))
    if sign > 0:
        text, offset = text[:sign], text[sign:]
    whole, _, fraction = text.partition(".")
    whole = whole.replace(":", "")
    if len(whole) not in {12, 14} or not (whole.isascii() and whole.isdigit()):
        return None
    try:
        at = datetime.strptime(whole.ljust(14, "0"), "%Y%m%d%H%M%S")
        at = at.replace(microsecond=int(fraction[:6].ljust(6, "0")) if fraction else 0)
        at = at.replace(tzinfo=_zone(offset))
    except ValueError:
        return None
    return at if plausible(at) else None


def _zone(offset: str) -> timezone | None:
    if not offset:
        return None
    minutes = int(offset[1:3]) * 60 + int(offset[3:5] or 0)
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
