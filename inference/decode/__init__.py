"""From any ECG file to a calibrated waveform or a picture of a page.

One module per format; `decode` finds out which by looking at the bytes, never at a name. A WFDB
record is several files, so `decode_file` takes it by the name of its header.
"""

from __future__ import annotations

from pathlib import Path

from inference.decode import wfdb
from inference.decode.sniff import decode
from inference.forms import Picture, Waveform

__all__ = ["content_of", "decode", "decode_file"]


def decode_file(path: Path) -> Waveform | Picture:
    """Read an ECG from disk: a file of any format of `decode`, or a WFDB record by its `.hea`.

    Raises:
        Undecodable, Unscorable: as `decode`.
        OSError: the file cannot be read.
    """
    return wfdb.read(path) if _is_wfdb(path) else decode(path.read_bytes())


def content_of(path: Path) -> list[Path]:
    """Name the files whose bytes are the ECG: itself, or a WFDB record's signal files.

    Raises:
        Undecodable: a WFDB header that names no signals.
    """
    return wfdb.signal_files(path) if _is_wfdb(path) else [path]


def _is_wfdb(path: Path) -> bool:
    return path.suffix.lower() == ".hea"
