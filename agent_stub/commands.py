"""What `epm-agent elevate` and `epm-agent status` do."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent_stub.config import JUSTIFICATION_LIMIT, default_socket, default_state_dir, status_socket
from agent_stub.control.client import AgentError, UnreachableError, ask

ELEVATED, NOT_ELEVATED, BAD_INPUT, NOT_MANAGED, NO_AGENT = 0, 1, 2, 3, 4
_CODES = {"ELEVATED": ELEVATED, "NOT_MANAGED": NOT_MANAGED}


def elevate(file: Path, arguments: tuple[str, ...], options: Mapping[str, Any]) -> int:
    """Carry one attempt through at the terminal and give the exit status."""
    request: dict[str, Any] = {"do": "elevate", "file": str(file.absolute()), "arguments": list(arguments)}
    stated, problem = _stated(options)
    if problem:
        return complain(problem, BAD_INPUT)
    if stated:
        request["stated"] = stated
    terminal, problem = _terminal(options, stated=bool(stated))
    if problem:
        return complain(problem, BAD_INPUT)
    socket = socket_of(options["state_dir"], options["socket_path"])
    try:
        answer = ask(socket, request, terminal)
        code = _shown(answer, options["output"])
        if options["wait"] and answer["requestId"] and _is_usable(socket, answer["requestId"], request.get("stated")):
            return _shown(ask(socket, request, terminal), options["output"])
    except UnreachableError as error:
        return complain(str(error), NO_AGENT)
    except AgentError as error:
        return complain(str(error), BAD_INPUT)
    return code


def _is_usable(socket: Path, request_id: str, stated: object) -> bool:
    """Wait until a request is decided, show that, and tell whether its grant can be used."""
    waiting = {"do": "await", "id": request_id} | ({"stated": stated} if stated else {})
    try:
        request = ask(socket, waiting)["requests"][0]
        while request["state"] == "PENDING":
            request = ask(socket, waiting)["requests"][0]
    except KeyboardInterrupt:
        complain("waits no longer; `epm-agent requests` shows what becomes of the request", NOT_ELEVATED)
        return False
    click.echo(news_line(request), err=True)
    if request["state"] == "APPROVED" and not request["usable"]:
        click.echo("the approval cannot be used on this device yet; run the command again in a moment", err=True)
    return bool(request["usable"])


def _shown(answer: Mapping[str, Any], output: str) -> int:
    if output == "json":
        click.echo(json.dumps(answer, indent=1))
    else:
        click.echo(visible(answer["message"]), err=answer["result"] != "ELEVATED")
    for request in answer.get("news", ()):
        click.echo(news_line(request), err=True)
    return _CODES.get(answer["result"], NOT_ELEVATED)


def status(output: str, state_dir: Path | None, socket_path: Path | None) -> int:
    """Show how the agent is and give the exit status."""
    try:
        found = _ask_status(state_dir, socket_path)
    except UnreachableError as error:
        return complain(str(error), NO_AGENT)
    except AgentError as error:
        return complain(str(error), NOT_ELEVATED)
    click.echo(json.dumps(found, indent=1) if output == "json" else _status_text(found))
    return ELEVATED


def _ask_status(state_dir: Path | None, socket_path: Path | None) -> dict[str, Any]:
    """Ask at the agent's own socket, which is always there, or at the component's, which is there for everybody."""
    if state_dir is None and socket_path is not None:
        return ask(socket_path, {"do": "status"})
    try:
        return ask(status_socket((state_dir or default_state_dir()).absolute()), {"do": "status"})
    except UnreachableError:
        return ask(socket_of(state_dir, socket_path), {"do": "status"})


def _status_text(found: dict[str, Any]) -> str:
    device, policy = found["device"], found["policy"]
    lines = [
        f"device          {device['name']} ({device['id']}) of {device['tenant']}",
        f"policy          {_policy_text(policy)}",
        *([f"policy SHA-256  {policy['sha256']}"] if policy["sha256"] else []),
        f"last confirmed  {policy['confirmed'] or 'never'}",
        f"component       {_component_text(found['component'])}",
        f"certificate     {_certificate_text(found['certificate'])}",
        *(f"{f'{name} link':<15} {_link_text(link)}" for name, link in found["links"].items()),
        f"events waiting  {found['eventsWaiting']}",
        *_uses_lines(found.get("grantUses", {})),
    ]
    if found["unsafeStatedIdentity"]:
        lines.append("UNSAFE          this agent believes what its callers say of themselves")
    return "\n".join(lines)


def _uses_lines(uses: Mapping[str, Any]) -> list[str]:
    if not uses.get("waiting"):
        return []
    problem = f": {uses['problem']}" if uses["problem"] else ""
    return [f"grant uses      {uses['waiting']} wait for the server{problem}"]


def _policy_text(policy: dict[str, Any]) -> str:
    if policy["revision"] is None:
        return "none"
    return f"revision {policy['revision']}, elevation {'on' if policy['enabled'] else 'off'}"


def _component_text(component: dict[str, Any]) -> str:
    if component["stands"]:
        return f"provisioned{': ' if component['problem'] else ''}{component['problem']}"
    return component["problem"] or "none: no settings policy applies"


def _certificate_text(certificate: dict[str, Any]) -> str:
    problem = f"; {certificate['problem']}" if certificate["problem"] else ""
    return f"until {certificate['expires']}, renewed from {certificate['renewal']} on{problem}"


def _link_text(link: dict[str, Any]) -> str:
    answered = link.get("lastAnswered")
    if link["connected"]:
        return f"last answered {answered}" if answered else "connected"
    when = f"; last answered {answered}" if answered else ""
    return f"not connected{': ' if link['problem'] else ''}{link['problem']}{when}"


def _stated(options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    names = {"user": "stated_user", "administrator": "stated_administrator"}
    names |= {"platform": "stated_platform", "trigger": "stated_trigger"}
    stated = {name: options[option] for name, option in names.items() if options[option] is not None}
    if (parent := options["stated_parent"]) is not None:
        policy, slash, rule = parent.partition("/")
        if not (policy and slash and rule):
            return {}, "--parent: give it as POLICY/RULE"
        stated["parent"] = {"policy": policy, "rule": rule}
    return stated, ""


def _terminal(options: Mapping[str, Any], *, stated: bool) -> tuple["_Person | _Prepared", str]:
    confirm, reason = options["answer_confirm"], options["justification"]
    if confirm is None and reason is None:
        return _Person(), ""
    if not stated:
        return _Person(), "--answer-confirm and --justification are for unsafe agents; state the user by --as too"
    return _Prepared(confirm, reason), ""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Answers that were given on the command line; they go with a stated user, which only unsafe agents take."""

    confirmed: bool | None
    reason: str | None

    def confirm(self, file: str, reason: str) -> bool | None:
        click.echo(visible(f"{file}: {reason}"), err=True)
        return self.confirmed

    def justification(self, problem: str) -> str | None:
        if problem:
            click.echo(problem, err=True)
        return None if problem else self.reason

    def approval(self, file: str, reason: str) -> bool | None:
        click.echo(visible(f"{file}: {reason}"), err=True)
        return self.confirmed


class _Person:
    """Whoever sits at the terminal. Without a terminal nobody answers."""

    def confirm(self, file: str, reason: str) -> bool | None:
        if not sys.stdin.isatty():
            click.echo("a confirmation is asked for, and standard input is no terminal", err=True)
            return None
        click.echo(visible(reason), err=True)
        try:
            return click.confirm(f"Run {visible(file)} with elevated rights?", err=True)
        except click.Abort:
            return None

    def approval(self, file: str, reason: str) -> bool | None:
        if not sys.stdin.isatty():
            click.echo("an approval can be asked for, and standard input is no terminal", err=True)
            return None
        click.echo(visible(reason), err=True)
        try:
            return click.confirm(f"Ask the support to approve {visible(file)}?", err=True)
        except click.Abort:
            return None

    def justification(self, problem: str) -> str | None:
        if not sys.stdin.isatty():
            return None
        if problem:
            click.echo(problem, err=True)
        try:
            question = f"Reason (up to {JUSTIFICATION_LIMIT} characters)"
            # An empty line is answered by the broker, which says what is wrong; click would ask again without a word.
            text: str = click.prompt(question, default="", show_default=False, err=True)
        except click.Abort:
            return None
        return text


def visible(text: str) -> str:
    """Show by its code what cannot be printed: a file's name must not rewrite the question about it."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def news_line(request: Mapping[str, Any]) -> str:
    """Tell what became of a request."""
    return visible(f"request {request['id']} for {request['file']}: {request['message']}")


def socket_of(state_dir: Path | None, socket_path: Path | None) -> Path:
    """Give the socket at which users reach the agent."""
    return socket_path or default_socket((state_dir or default_state_dir()).absolute())


def complain(message: str, code: int) -> int:
    """Say what is wrong and give the exit status."""
    click.echo(f"epm-agent: {message}", err=True)
    return code
