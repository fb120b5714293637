"""The `ecg-gateway` command, in this process."""

from typer.testing import CliRunner

from gateway.cli.app import make_app


def invoke(*line: object, status: int = 0) -> str:
    """Give what a command says; it must end with that exit status."""
    result = CliRunner().invoke(make_app(), [str(part) for part in line], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output
