"""Split a command line of a rule into the arguments it allows, and write arguments as such a line.

A rule says its arguments as people write them; an attempt brings them as a list. LINUX and MACOS follow the words of a
POSIX shell: quotes and backslashes, between double quotes only before `$`, a backquote, `"` and a backslash; nothing is
expanded. WINDOWS follows CommandLineToArgvW for what comes after the program's name: blanks separate, `"` quotes, 2n
backslashes before a quote stand for n and 2n+1 for n and a literal quote, and every third of a run of quotes inside
quotes is literal.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from elevation.model import Platform

_QUOTES_FOR_A_LITERAL = 3
_POSIX_PART: Final = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*+)"|\\(?P<escaped>.)"""
    r"""|(?P<plain>[^ \t\r\n'"\\]+)""",
    re.DOTALL,
)
_BEFORE_QUOTE: Final = re.compile(r'(?<!\\)(\\*)"')
_BLANK_OR_QUOTE: Final = re.compile(r'[ \t"]')
_ESCAPED_IN_QUOTES: Final = re.compile(r'\\([$`"\\])')


def split(line: str, platform: Platform) -> tuple[str, ...]:
    """Split one allowed command line; raise ValueError, naming what is open, where that is not possible."""
    if platform is Platform.WINDOWS:
        return _split_windows(line)
    return tuple(_split_posix(line))


def quote(arguments: Iterable[str], platform: Platform) -> str:
    """Write arguments as one allowed command line, which `split` takes apart again into these very ones."""
    write = _quote_windows if platform is Platform.WINDOWS else shlex.quote
    return " ".join(map(write, arguments))


def _quote_windows(argument: str) -> str:
    """Double the backslashes that a quote follows, and escape quotes."""
    if argument and not _BLANK_OR_QUOTE.search(argument):
        return argument
    escaped = _BEFORE_QUOTE.sub(r'\1\1\\"', argument)
    at_end = len(escaped) - len(escaped.rstrip("\\"))
    return '"' + escaped + "\\" * at_end + '"'


def _split_posix(line: str) -> Iterator[str]:
    word: str | None = None
    at = 0
    while at < len(line):
        part = _POSIX_PART.match(line, at)
        if part is None or part.lastgroup is None:
            raise ValueError("no escaped character" if line[at] == "\\" else "no closing quotation")
        at = part.end()
        if part.lastgroup == "blank":
            if word is not None:
                yield word
            word = None
            continue
        text = part[part.lastgroup]
        word = (word or "") + (_ESCAPED_IN_QUOTES.sub(r"\1", text) if part.lastgroup == "double" else text)
    if word is not None:
        yield word


def _split_windows(line: str) -> tuple[str, ...]:
    if '"' not in line:  # backslashes mean something before quotes alone
        return tuple(word for word in line.replace("\t", " ").split(" ") if word)
    splitter = _WindowsSplitter()
    for character in line:
        splitter.take(character)
    return splitter.finish()


class _WindowsSplitter:
    """Hold the state of CommandLineToArgvW between two characters."""

    __slots__ = ("_arguments", "_backslashes", "_current", "_open", "_quotes", "_run")

    def __init__(self) -> None:
        self._arguments: list[str] = []
        self._current: list[str] = []
        self._open = False
        self._quotes = 0
        self._backslashes = 0
        self._run = False

    def take(self, character: str) -> None:
        """Read one character."""
        if character == '"':
            self._quote()
            return
        self._end_run()
        if character == "\\":
            self._backslashes += 1
            self._current.append(character)
            self._open = True
        elif character in " \t" and not self._quotes:
            self._close()
        else:
            self._current.append(character)
            self._backslashes = 0
            self._open = True

    def finish(self) -> tuple[str, ...]:
        """End the last argument; an open quote ends with the line."""
        self._close()
        return tuple(self._arguments)

    def _quote(self) -> None:
        self._open = True
        if self._backslashes:
            halved, escaped = divmod(self._backslashes, 2)
            del self._current[len(self._current) - self._backslashes + halved :]
            self._backslashes = 0
            if escaped:
                self._current.append('"')
                self._run = True
                return
        self._quotes += 1
        if self._run and self._quotes == _QUOTES_FOR_A_LITERAL:
            self._current.append('"')
            self._quotes = 0
        self._run = True

    def _end_run(self) -> None:
        """Close the quoted part where a run of quotes ends with the second one."""
        if self._run and self._quotes > 1:
            self._quotes = 0
        self._run = False

    def _close(self) -> None:
        self._backslashes = 0
        if self._open:
            self._arguments.append("".join(self._current))
        self._current.clear()
        self._open = False
