"""Tell who asks: by the operating system or, for the demo and tests alone, by what the caller says."""

import grp
import os
import pwd
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from agent_stub.config import DEFAULT_ADMINISTRATOR_GROUPS
from agent_stub.model import Origin, Peer, Rights, Stated, Subject
from elevation.model import Platform, Trigger


class RefusedError(Exception):
    """The agent does not act on what it was asked; the message says why."""


class SystemIdentity:
    """Name the user by the uid of the calling process. D17: uid 0 and members of the named groups administer."""

    def __init__(self, platform: Platform, administrator_groups: Sequence[str] = DEFAULT_ADMINISTRATOR_GROUPS) -> None:
        self._platform = platform
        self._administrator_groups = frozenset(administrator_groups)

    def origin(self, peer: Peer, stated: Stated) -> Origin:
        """Name the user of the process; raise RefusedError where anything is stated or the uid has no name."""
        if stated:
            raise RefusedError("this agent takes its callers from the operating system and lets nobody state another")
        return Origin(self.subject(peer), self._platform, self.rights(peer))

    def subject(self, peer: Peer) -> Subject:
        """Name the user of a process."""
        try:
            entry = pwd.getpwuid(peer.uid)
        except KeyError as error:
            raise RefusedError(f"user id {peer.uid} has no name on this device") from error
        groups = _group_names(os.getgrouplist(entry.pw_name, entry.pw_gid))
        return Subject(entry.pw_name, administrator=peer.uid == 0 or bool(groups & self._administrator_groups))

    def rights(self, peer: Peer) -> Rights:
        """Give the rights of a process; without a name there are none but those of its own numbers."""
        try:
            name = pwd.getpwuid(peer.uid).pw_name
        except KeyError:
            return Rights(peer.uid, peer.gid)
        return Rights(peer.uid, peer.gid, tuple(sorted(os.getgrouplist(name, peer.gid))))

    def judged_path(self, path: str, platform: Platform) -> str:
        """Judge files by their own paths."""
        del platform
        return path


class UnsafeStatedIdentity:
    r"""Believe what the caller says. For the demo and for tests: anybody may name anybody.

    `epm-agent run` takes it only with `--unsafe-stated-identity` and EPM_AGENT_UNSAFE=1 together, and warns loudly.
    A caller may state the user, whether that is an administrator, the trigger, a parent and the platform. For the
    platform WINDOWS, a file below a mapped folder is judged by its place on the drive: with `C:` mapped to `/srv/c`,
    `/srv/c/Tools/a.exe` is `C:\Tools\a.exe`; a file elsewhere keeps its path, which WINDOWS cannot evaluate.
    """

    def __init__(self, system: SystemIdentity, platform: Platform, drives: Mapping[str, str]) -> None:
        self._system = system
        self._platform = platform
        self._drives = {drive: PurePosixPath(folder) for drive, folder in drives.items()}

    def origin(self, peer: Peer, stated: Stated) -> Origin:
        """Take what is stated; the operating system fills in the rest."""
        if stated.user:
            subject = Subject(stated.user, administrator=stated.administrator is True)
        else:
            known = self._system.subject(peer)
            administrator = known.administrator if stated.administrator is None else stated.administrator
            subject = Subject(known.name, administrator)
        return Origin(
            subject,
            platform=stated.platform or self._platform,
            rights=self._system.rights(peer),
            trigger=stated.trigger or Trigger.REQUEST,
            parent=stated.parent,
        )

    def judged_path(self, path: str, platform: Platform) -> str:
        """Put a file below a mapped folder on its drive."""
        if platform is not Platform.WINDOWS:
            return path
        for drive, folder in self._drives.items():
            if PurePosixPath(path).is_relative_to(folder):
                return "\\".join((drive, *PurePosixPath(path).relative_to(folder).parts))
        return path


def _group_names(gids: Sequence[int]) -> set[str]:
    names = set()
    for gid in gids:
        try:
            names.add(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return names
