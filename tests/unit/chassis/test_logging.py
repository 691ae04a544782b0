"""What logs never show."""

import io
from collections.abc import Iterator

import pytest
import structlog

from services._chassis import logging


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


def fail_with(token: str) -> None:
    raise ValueError(len(token))


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    before = structlog.get_config()
    yield Terminal()
    structlog.configure(**before)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_does_not_show_the_values_of_variables(terminal: Terminal, *, as_json: bool) -> None:
    logging.configure(as_json=as_json, stream=terminal)
    token = "hunter2"
    try:
        fail_with(token)
    except ValueError as error:
        logging.get_logger("test").error("rpc_failed", exc_info=error)
    assert "ValueError" in terminal.getvalue()
    assert "hunter2" not in terminal.getvalue()


def test_what_a_device_says_cannot_write_lines_of_its_own(terminal: Terminal) -> None:
    logging.configure(as_json=False, stream=terminal)
    logging.get_logger("test").info("event_stream_opened", agent_version="1\nforged \x1b[2J")
    assert terminal.getvalue().count("\n") == 1
    assert "\x1b[2J" not in terminal.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.usefixtures("terminal")
def test_a_line_for_which_the_disk_has_no_room_is_lost_and_nothing_else(*, as_json: bool) -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        logging.configure(as_json=as_json, stream=full)
        for number in range(3):
            logging.get_logger("test").error("rpc_failed", number=number)
