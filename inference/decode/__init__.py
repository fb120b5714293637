"""From the bytes of any ECG file to a calibrated waveform or a picture of a page.

One module per format; `decode` finds out which by looking at the bytes, never at a name.
"""

from inference.decode.sniff import decode

__all__ = ["decode"]
