"""Structured logs: for people on a terminal, JSON lines everywhere else."""

import logging
import sys
from typing import TextIO, cast

import structlog

LEVELS = ("debug", "info", "warning", "error")
Logger = structlog.typing.FilteringBoundLogger


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
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)


def get_logger(name: str) -> Logger:
    """Return a logger whose lines carry the name of the room they come from."""
    return cast("Logger", structlog.get_logger(room=name))
