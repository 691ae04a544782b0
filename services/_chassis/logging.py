"""Structured logs: for people on a terminal, JSON lines everywhere else."""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO, cast

import structlog

LEVELS = ("debug", "info", "warning", "error")
FORMATS: Mapping[str, bool | None] = {"auto": None, "json": True, "text": False}
"""Whether a format that is set means JSON lines; None where the stream decides."""

Logger = structlog.typing.FilteringBoundLogger


class Losing:
    """Write to a stream; what it does not take is lost, so that a full disk costs the log and not the call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if that can be done."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written, if that can be done."""
        with suppress(OSError):
            self._stream.flush()


def configure(*, level: str = "info", as_json: bool | None = None, stream: TextIO = sys.stderr) -> None:
    """Set up logging for this process; `as_json` None decides by whether `stream` is a terminal."""
    json_lines = not stream.isatty() if as_json is None else as_json
    # Where rich is installed, structlog would show the values of variables too: tokens and justifications among them.
    on_terminal = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer = structlog.processors.JSONRenderer() if json_lines else on_terminal
    tracebacks = [structlog.processors.format_exc_info] if json_lines else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *tracebacks,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", Losing(stream))),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)


def get_logger(name: str) -> Logger:
    """Return a logger whose lines carry the name of the room they come from."""
    return cast("Logger", structlog.get_logger(room=name))
