"""ECGs in XML: which vendor's, and a parser that expands no entities (defusedxml)."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from inference.decode import aecg, muse, sierra
from inference.errors import InferenceError, Undecodable
from inference.forms import Waveform

LARGEST_BYTES = 64 << 20
_READERS = {
    "AnnotatedECG": aecg.read,
    "RestingECG": muse.read,
    "restingecgdata": sierra.read,
}


def read(data: bytes) -> Waveform:
    """Read an HL7 aECG, GE MUSE or Philips Sierra document.

    Raises:
        Undecodable: not well formed, with entities, or of another vocabulary.
        Unscorable: no 12-lead rhythm in it.
    """
    if len(data) > LARGEST_BYTES:
        raise Undecodable("an XML file of more than 64 MB")
    try:
        root = fromstring(data.lstrip())
    except Exception as error:
        raise Undecodable(f"not well-formed XML ({type(error).__name__})") from None
    plain(root)
    reader = _READERS.get(root.tag)
    if reader is None:
        raise Undecodable("an XML file of another kind than aECG, MUSE and Sierra ECG")
    try:
        return reader(root)
    except InferenceError:
        raise
    except Exception as error:
        # values of the document may stand in the message, so only its kind is kept
        raise Undecodable(f"damaged {root.tag} document ({type(error).__name__})") from None


def plain(root: Element) -> None:
    """Drop namespaces from all tags, in place; vendors disagree about them."""
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
