"""What stops a command: bad input (exit 2) or a refusal by the server or the machine (exit 1).

Commands raise these; `epmctl.main` alone prints them and ends the process, so that no traceback reaches a user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from epmctl.visible import visible


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """One thing wrong in one place of the input; `line` 0 speaks of the whole file, `key` "" of the whole line."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        """Give the printed form, `FILE:LINE: KEY: message`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return visible(f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}")


class CommandError(Exception):
    """A command cannot go on; `lines` are printed on standard error, then the process ends with `exit_code`."""

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


class BadInputError(CommandError):
    """The files or values given are not acceptable; all of what is wrong with them at once."""

    exit_code = 2

    @classmethod
    def of(cls, flaws: Sequence[Flaw]) -> "BadInputError":
        """Make the error that lists `flaws`, sorted by place, each once."""
        return cls(*(str(flaw) for flaw in sorted(set(flaws))))
