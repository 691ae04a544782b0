"""The entry point of `epm`: finds the command that was asked for and imports that one alone.

`epm --help` and a mistyped command cost the import of click and nothing else; every command lives in a module of its
own, named in `COMMANDS`.
"""

import importlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

import click

from epmctl.errors import CommandError
from epmctl.visible import visible


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and the line that `epm --help` shows for it without importing it."""

    module: str
    attribute: str
    help: str


COMMANDS: Mapping[str, Entry] = {
    "simulate": Entry(
        "epmctl.commands.simulate", "simulate", "Decide elevation attempts, offline or as a device of the server would."
    ),
    "demo": Entry("epmctl.demo.command", "demo", "Start everything in a temporary folder and show it at work."),
    "serve": Entry("epmctl.commands.serve", "serve", "Run the services, all in one process or one of them."),
    "ca": Entry(
        "epmctl.commands.ca", "ca", "Make the certificates of separate services, and change the key that signs policy."
    ),
    "login": Entry("epmctl.commands.login", "login", "Log in to a server, with a token or at an identity provider."),
    "lint": Entry("epmctl.linting.command", "lint", "Find what is accepted in documents and probably not meant."),
    "schema": Entry("epmctl.schema.command", "schema", "Print the JSON Schema of documents, for editors."),
    "apply": Entry("epmctl.commands.apply", "apply", "Make the server hold what the documents say."),
    "plan": Entry("epmctl.commands.plan", "plan", "Show what apply would change, and keep it for later."),
    "export": Entry(
        "epmctl.commands.export", "export", "Write what the server holds as documents, one file each or a stream."
    ),
    "get": Entry("epmctl.commands.get", "get", "Show objects that the server holds."),
    "revisions": Entry("epmctl.commands.revisions", "revisions", "Show what became of a policy, and take it back."),
    "duplicate": Entry("epmctl.commands.duplicate", "duplicate", "Make a policy or a certificate like another one."),
    "delete": Entry("epmctl.commands.delete", "delete", "Delete one object."),
    "devices": Entry("epmctl.commands.devices", "devices", "List devices, tell what became of them, and let them go."),
    "groups": Entry("epmctl.commands.groups", "groups", "Tell who is in a group."),
    "users": Entry("epmctl.commands.users", "users", "List the users that the server knows."),
    "effective": Entry(
        "epmctl.commands.effective", "effective", "Tell what applies to a device or a user on it, and why."
    ),
    "preview": Entry(
        "epmctl.commands.preview", "preview", "Tell who would gain and lose which policies, before anything is saved."
    ),
    "rule": Entry("epmctl.commands.rule", "rule", "Make rules from what was seen on devices."),
    "rollout": Entry("epmctl.commands.rollout", "rollout", "Tell how far a policy has come, and watch it arrive."),
    "audit": Entry("epmctl.commands.audit", "audit", "List, export and verify the audit logs."),
    "report": Entry("epmctl.commands.report", "report", "Show what was elevated, by whom, and under which rule."),
    "requests": Entry("epmctl.commands.requests", "requests", "List requests for approval, and answer them."),
    "access": Entry("epmctl.commands.access", "access", "Tell who may do what, who can do something, and why."),
    "token": Entry("epmctl.commands.token", "token", "Create, list and revoke administrators' tokens."),
    "enrolment-token": Entry(
        "epmctl.commands.enrolment_token", "enrolment_token", "Create, list and revoke enrolment tokens."
    ),
}


class EndedError(BaseException):
    """A signal asks this process to end; raised where it is, so that it leaves nothing half done behind."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are asked for, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order of the registry: the ones to try first stand first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command `cmd_name`, or give None for one that the registry does not name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands from the registry, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="openepm", prog_name="epm")
def cli() -> None:
    """Write elevation policy, stream it to devices, and see what was elevated.

    Exit codes: 0 done, 1 refused or failed, 2 bad input.
    """


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; what went wrong stands on standard error, one line each."""
    try:
        result = cli.main(arguments, prog_name="epm", standalone_mode=False)
    except CommandError as error:
        for line in error.lines:
            click.echo(visible(line), err=True)  # a server may have said what went wrong
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit:
        # Outside its standalone mode click ends the process for one reason alone: the reader of our output went away.
        raise BrokenPipeError from None
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except EndedError as ended:
        click.echo("interrupted", err=True)
        return ended.exit_code
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run `epm` with the arguments of this process."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away (`epm ... | head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # who asks again does not want to wait
    raise EndedError(number)
