"""What the SCP takes: abstract syntaxes and the transfer syntaxes that can be decoded (PS3.4 B.5).

Taken is what the base install decodes; docs/input-checks.md has the table. JPEG Extended (.51) is
decoded of 8 bits alone, which no negotiation tells, so it is taken only where nothing else is
offered. Refused are JPEG Lossless (.57, .70), for which there is no sound decoder
(docs/decisions/0006-dependencies.md), and Explicit VR Big Endian (retired in 2006), which files may
have: who stores an uncompressed or losslessly compressed object must also offer Implicit VR Little
Endian (PS3.5 10.1), so such a sender converts. A context that is not supported is refused by
itself, never the association (PS3.8 9.3.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

VERIFICATION = "1.2.840.10008.1.1"

TWELVE_LEAD_ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
GENERAL_ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"
AMBULATORY_ECG = "1.2.840.10008.5.1.4.1.1.9.1.3"
GENERAL_32BIT_ECG = "1.2.840.10008.5.1.4.1.1.9.1.4"
WAVEFORMS = (TWELVE_LEAD_ECG, GENERAL_ECG, AMBULATORY_ECG, GENERAL_32BIT_ECG)

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_SINGLE_BIT = "1.2.840.10008.5.1.4.1.1.7.1"
MULTI_FRAME_GRAYSCALE_BYTE = "1.2.840.10008.5.1.4.1.1.7.2"
MULTI_FRAME_GRAYSCALE_WORD = "1.2.840.10008.5.1.4.1.1.7.3"
MULTI_FRAME_TRUE_COLOR = "1.2.840.10008.5.1.4.1.1.7.4"
VL_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"
IMAGES = (
    SECONDARY_CAPTURE,
    MULTI_FRAME_SINGLE_BIT,
    MULTI_FRAME_GRAYSCALE_BYTE,
    MULTI_FRAME_GRAYSCALE_WORD,
    MULTI_FRAME_TRUE_COLOR,
    VL_PHOTOGRAPHIC,
)

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE)
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
COMPRESSED_IMAGES = (
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    JPEG_EXTENDED,  # of 8 bits; of 12 it is kept, and unscorable
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # high-throughput JPEG 2000 lossless
    "1.2.840.10008.1.2.4.202",  # high-throughput JPEG 2000 lossless, resolutions in order
    "1.2.840.10008.1.2.4.203",  # high-throughput JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE
)

STORAGE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(WAVEFORMS, UNCOMPRESSED),
    ENCAPSULATED_PDF: UNCOMPRESSED,
    **dict.fromkeys(IMAGES, UNCOMPRESSED + COMPRESSED_IMAGES),
}
"""SOP Class UID to the transfer syntaxes in which it is taken."""

SUPPORTED: dict[str, tuple[str, ...]] = {VERIFICATION: (EXPLICIT_LE, IMPLICIT_LE), **STORAGE}
"""Abstract syntax to acceptable transfer syntaxes."""

LAST_CHOICE = (IMPLICIT_LE, DEFLATED_LE, JPEG_EXTENDED)
"""Taken in this order, and only where nothing else is offered."""

ACCEPTED = 0
ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


def choose(abstract: str, offered: Sequence[str]) -> tuple[int, str]:
    """Answer one proposed presentation context.

    The requestor's first acceptable syntax wins, so an object is not converted on its way to us;
    Implicit VR (it loses the VR of private elements), Deflated and JPEG Extended (it may have 12
    bits) are taken only without another.

    Args:
        abstract: abstract syntax UID.
        offered: transfer syntax UIDs in the requestor's order.

    Returns:
        Result (PS3.8 Table 9-18) and the transfer syntax UID. With a refusal that syntax is not
        significant, and it is the first offered one.
    """
    taken = SUPPORTED.get(abstract)
    first = offered[0] if offered else IMPLICIT_LE
    if taken is None:
        return ABSTRACT_SYNTAX_NOT_SUPPORTED, first
    acceptable = [syntax for syntax in offered if syntax in taken]
    if not acceptable:
        return TRANSFER_SYNTAXES_NOT_SUPPORTED, first
    direct = [syntax for syntax in acceptable if syntax not in LAST_CHOICE]
    return ACCEPTED, direct[0] if direct else min(acceptable, key=LAST_CHOICE.index)
