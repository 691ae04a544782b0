"""Groups of commands, listed with all that is said of each command in one sentence."""

import click

_WHOLE = 10_000
"""Characters: no sentence about a command is cut."""


class CommandGroup(click.Group):
    """A group whose help wraps what it says of a command, where click would cut it."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with its sentence."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_WHOLE)) for name, command in commands if command and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
