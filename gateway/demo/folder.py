"""A folder of real ECG files as samples: DICOM goes by C-STORE, anything else as HL7 `ED`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gateway.demo import objects
from gateway.demo.objects import DicomFile, Taken
from gateway.demo.samples import AUTHORITY, Sample, described
from gateway.ecg import Patient

_KINDS = {
    ".png": ("IM", "PNG"),
    ".jpg": ("IM", "JPEG"),
    ".jpeg": ("IM", "JPEG"),
    ".tif": ("IM", "TIFF"),
    ".tiff": ("IM", "TIFF"),
    ".pdf": ("AP", "PDF"),
    ".xml": ("TEXT", "XML"),
}
_PREAMBLE = 128


def files(folder: Path) -> list[Path]:
    """List what can be played, in the order of names."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and _playable(path))


def from_folder(folder: Path, now: datetime) -> Iterator[Sample]:
    """Make a sample of each file, as it is asked for.

    A file that is no DICOM carries no patient that we may trust: it gets an invented one of its
    own, and now as its time.
    """
    for number, path in enumerate(files(folder), start=1):
        content = path.read_bytes()
        pseudonym = f"FILE-{number:04d}"
        shows = _shortened(path.name)
        if _is_dicom(content):
            yield Sample(shows, "DICOM file", pseudonym, dicom=_described(content))
            continue
        kind = _KINDS[path.suffix.lower()]
        patient = Patient(pseudonym, AUTHORITY, "MR", "Unknown", f"of file {number}")
        control_id = f"F{hashlib.sha256(path.name.encode() + content).hexdigest()[:19].upper()}"
        message = objects.result_message(content, kind, Taken(patient, now), control_id)
        yield Sample(shows, f"HL7 {kind[1]}", pseudonym, message=message, control_id=control_id)


def _described(content: bytes) -> DicomFile | None:
    """Describe a file; None for a damaged one, which no cart could send."""
    try:
        return described(content)
    except ValueError:
        return None


def _playable(path: Path) -> bool:
    if path.suffix.lower() in _KINDS:
        return True
    with path.open("rb") as file:
        return _is_dicom(file.read(_PREAMBLE + 4))


def _is_dicom(content: bytes) -> bool:
    """Tell a DICOM file by its prefix (PS3.10 7.1)."""
    return content[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:25]}..."
