"""Talk to the agent from the command line."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from agent_stub.control.lines import ANSWER_LIMIT, LINE_LIMIT, line


class UnreachableError(Exception):
    """The agent does not answer; the message says what to do."""


class AgentError(Exception):
    """The agent refused the request; the message says why."""


class Terminal(Protocol):
    """Asks the person in front of it. All methods return None where nobody answers."""

    def confirm(self, file: str, reason: str) -> bool | None:
        """Ask whether the elevation is wanted."""
        ...

    def justification(self, problem: str) -> str | None:
        """Ask for a reason."""
        ...

    def approval(self, file: str, reason: str) -> bool | None:
        """Ask whether the support is to be asked."""
        ...


def ask(path: Path, request: dict[str, Any], terminal: Terminal | None = None) -> dict[str, Any]:
    """Send a request, answer what the agent asks, give its answer; raise UnreachableError or AgentError."""
    sent = line(request)
    if len(sent) > LINE_LIMIT:
        raise AgentError(f"file and arguments are longer than {LINE_LIMIT} bytes; shorten them")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            connection.sendall(sent)
            return _converse(connection, terminal)
    except OSError as error:
        raise UnreachableError(
            f"no agent answers at {path} ({error.strerror or error}); start it by `epm-agent run`, name its --socket, "
            "or wait for a settings policy: without one there is no elevation here"
        ) from error


def _converse(connection: socket.socket, terminal: Terminal | None) -> dict[str, Any]:
    with connection.makefile("rb") as lines:
        while (received := lines.readline(ANSWER_LIMIT)).endswith(b"\n"):
            fields: dict[str, Any] = json.loads(received)
            if "error" in fields:
                raise AgentError(fields["error"])
            if "answer" in fields:
                answer: dict[str, Any] = fields["answer"]
                return answer
            connection.sendall(line({"answer": _reply(fields, terminal)}))
    raise UnreachableError(f"the agent at {connection.getpeername()} stopped; start it again and repeat the attempt")


def _reply(fields: dict[str, Any], terminal: Terminal | None) -> object:
    if terminal is None:
        return None
    questions: dict[str, Callable[[], object]] = {
        "confirm": lambda: terminal.confirm(fields["file"], fields["reason"]),
        "justification": lambda: terminal.justification(fields["problem"]),
        "approval": lambda: terminal.approval(fields["file"], fields["reason"]),
    }
    question = questions.get(fields.get("ask", ""))
    return question() if question is not None else None
