"""The settings of the agent, and where its files are."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elevation.words import Platform

SYSTEM_STATE = Path("/var/lib/openepm-agent")
SYSTEM_SOCKET = Path("/run/openepm-agent/agent.sock")
DEFAULT_ADMINISTRATOR_GROUPS = ("sudo", "wheel")
JUSTIFICATION_LIMIT = 256
"""Longest justification, in characters."""
DEFAULT_SPOOL_LIMIT = 64 * 1024 * 1024
_PLATFORMS = {"linux": Platform.LINUX, "darwin": Platform.MACOS, "win32": Platform.WINDOWS}


@dataclass(frozen=True, slots=True)
class UnsafeSettings:
    """What the demo and tests may have: see `agent_stub.identity.UnsafeStatedIdentity`."""

    platform: Platform
    drives: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How one agent runs."""

    state_dir: Path
    socket: Path
    administrator_groups: tuple[str, ...]
    trusted_signers: Path | None = None
    """None: no code signature is trusted."""
    spool_limit: int = DEFAULT_SPOOL_LIMIT
    unsafe: UnsafeSettings | None = field(default=None)
    """None: callers are who the operating system says."""


def default_state_dir() -> Path:
    """Give the system's folder to root, and one of their own to others."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    return Path.home() / ".local" / "state" / "openepm-agent"


def default_socket(state_dir: Path) -> Path:
    """Give the socket that users of an agent with this state folder talk to."""
    return SYSTEM_SOCKET if state_dir == SYSTEM_STATE else state_dir / "agent.sock"


def status_socket(state_dir: Path) -> Path:
    """Give the socket at which the agent shows its status to its own user, with or without a component."""
    return state_dir / "status.sock"


def host_platform() -> Platform:
    """Name the platform of this device."""
    return _PLATFORMS.get(sys.platform, Platform.LINUX)
