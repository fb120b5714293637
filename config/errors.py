"""What is wrong with a settings file or a site document, said for the person who wrote it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be used.

    Attributes:
        where: file and line, or the environment variable, e.g. `gateway.toml, line 7`.
        key: the dotted key, e.g. `dicom.port` or `destinations[0].port`.
        value: the bad value as text; empty when a key is missing, `***` when it is a secret.
        allowed: what may stand there instead.
    """

    where: str
    key: str
    value: str
    allowed: str

    def __str__(self) -> str:
        """One line: where, key, value, what is allowed."""
        shown = f" = {self.value}" if self.value else ""
        return f"{self.where}: {self.key}{shown}: {self.allowed}"


class ConfigError(Exception):
    """Settings or a site document that cannot be used; carries every problem found.

    Attributes:
        problems: all of them, in the order of the file.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
