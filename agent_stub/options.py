"""Options that several commands of `epm-agent` have."""

from pathlib import Path

import click

STATE = click.option(
    "--state-dir",
    envvar="EPM_AGENT_STATE_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the agent's identity, policy and spool.  [default: /var/lib/openepm-agent for root, else "
    "~/.local/state/openepm-agent]",
)
SOCKET = click.option(
    "--socket",
    "socket_path",
    envvar="EPM_AGENT_SOCKET",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Control socket.  [default: /run/openepm-agent/agent.sock for the default state folder of root, else "
    "agent.sock in the state folder]",
)
OUTPUT = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
