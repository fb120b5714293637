"""The `ecg-gateway` command. Exit status: 0 done, 1 failed, 2 used or configured wrongly.

Commands import what they need when they run, so that `--help` is quick.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit; errors of ours become one sentence, not a traceback."""
    from gateway.cli.app import make_app

    try:
        make_app()()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        status = _status(error)
        if status is None:
            raise
        sys.stderr.write(f"ecg-gateway: {error}\n")
        sys.exit(status)


def _status(error: Exception) -> int | None:
    """Give the exit status of an error that speaks for itself; None for a defect."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if "config.errors.ConfigError" in names:
        return 2
    if names & {"gateway.errors.GatewayError", "inference.errors.InferenceError"}:
        return 1
    return None
