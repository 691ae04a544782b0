"""Set up the agent's log: one line an event, on standard error."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class Losing:
    """Write to a stream; what it does not take is lost, so that a full disk costs the log and not the work."""

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


def configure(*, as_json: bool) -> None:
    """Log at info and above, for people or (`as_json`) for machines."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Losing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
