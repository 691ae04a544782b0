"""The lines of the control socket: JSON objects, bounded, strict.

A caller sends one request: `{"do": "status"}`, `{"do": "elevate", "file": ABSOLUTE-PATH, "arguments": [...]}`,
`{"do": "requests"}` (the caller's own), `{"do": "await"}` (news of them, or with `"id"` what becomes of one) or
`{"do": "cancel", "id": ID}`; all but the first with `"stated"` where an unsafe agent is to believe it. The agent may ask
(`{"ask": "confirm", ...}`, `{"ask": "justification", ...}`, `{"ask": "approval", ...}`), which the caller answers by
`{"answer": true | false | TEXT | null}`, and ends with `{"answer": ...}` or `{"error": TEXT}`.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from agent_stub.control.lines import LINE_LIMIT
from agent_stub.model import Stated
from elevation.model import Parent, Platform, Trigger

ARGUMENT_LIMIT = 4096
ID_LIMIT = 64
_STATED = frozenset({"user", "administrator", "platform", "trigger", "parent"})


class WireError(Exception):
    """A line that is not what it should be; the message says how."""


@dataclass(frozen=True, slots=True)
class ElevateRequest:
    """Asks to elevate a file."""

    file: str
    arguments: tuple[str, ...]
    stated: Stated


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """Asks about the caller's own elevation requests: `requests`, `await` or `cancel`."""

    do: str
    stated: Stated
    id: str = ""


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Asks how the agent is."""


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Read one object; None at the end. Raise WireError for a line that is too long or no object."""
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise WireError("the line does not end") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise WireError(f"the line is longer than {LINE_LIMIT} bytes") from error
    try:
        found = json.loads(line.decode())  # other encodings would come out longer than they went in
    except (ValueError, RecursionError) as error:
        raise WireError("the line is no JSON") from error
    if not isinstance(found, dict):
        raise WireError("the line is no JSON object")
    return found


def parse_request(fields: dict[str, Any]) -> ElevateRequest | OwnRequest | StatusRequest:
    """Read a request; raise WireError for anything unknown or missing."""
    match fields:
        case {"do": "status", **rest} if not rest:
            return StatusRequest()
        case {"do": "elevate", "file": str(file), "arguments": list(arguments), **rest} if not set(rest) - {"stated"}:
            return ElevateRequest(_path(file), _arguments(arguments), _stated(rest.get("stated", {})))
        case {"do": "requests" as do, **rest} if not set(rest) - {"stated"}:
            return OwnRequest(do, _stated(rest.get("stated", {})))
        case {"do": "await" as do, **rest} if not set(rest) - {"stated", "id"}:
            return OwnRequest(do, _stated(rest.get("stated", {})), _id(rest.get("id", "")))
        case {"do": "cancel" as do, "id": identifier, **rest} if not set(rest) - {"stated"}:
            return OwnRequest(do, _stated(rest.get("stated", {})), _id(identifier))
        case _:
            raise WireError("the request is none that this agent knows")


def _id(value: object) -> str:
    if not isinstance(value, str) or len(value) > ID_LIMIT:
        raise WireError(f"id must be a text of at most {ID_LIMIT} characters")
    return value


def _path(file: str) -> str:
    if not file.startswith("/") or "\x00" in file:
        raise WireError("file must be an absolute path")
    return file


def _arguments(values: list[Any]) -> tuple[str, ...]:
    if len(values) > ARGUMENT_LIMIT or not all(isinstance(value, str) for value in values):
        raise WireError(f"arguments must be at most {ARGUMENT_LIMIT} texts")
    return tuple(values)


def _stated(fields: object) -> Stated:
    if not isinstance(fields, dict) or set(fields) - _STATED:
        raise WireError(f"stated knows {', '.join(sorted(_STATED))}")
    user, administrator = fields.get("user", ""), fields.get("administrator")
    if not isinstance(user, str) or not isinstance(administrator, bool | None):
        raise WireError("stated.user must be a text and stated.administrator true or false")
    parent = fields.get("parent")
    if isinstance(parent, dict) and not all(isinstance(value, str) for value in parent.values()):
        raise WireError("stated.parent must name a policy and a rule")
    try:
        return Stated(
            user=user,
            administrator=administrator,
            platform=Platform[fields["platform"]] if "platform" in fields else None,
            trigger=Trigger[fields["trigger"]] if "trigger" in fields else None,
            parent=Parent(**parent) if parent is not None else None,
        )
    except (KeyError, TypeError) as error:
        raise WireError("stated.platform, trigger or parent is none that this agent knows") from error
