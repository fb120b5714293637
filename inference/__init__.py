"""From an ECG image or waveform to a score; usable without the gateway."""

import logging
import sys

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who uses it decides who hears

# OpenVINO reports each import to its makers (openvino/tools/ovc/__init__.py) unless its telemetry
# package is absent, in which case it uses the stub that it ships. This makes it absent, for NNCF
# too: an entry of None lets `import openvino_telemetry` raise ModuleNotFoundError.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
