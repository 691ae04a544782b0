"""The fleet's memory: who its agents are, and what each of them holds, in one SQLite file.

An agent's key is kept by the enrolment itself until its identity is here; a run that was interrupted goes on.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent_stub.files import PRIVATE_FILE, StateError, private_folder
from agent_stub.model import Credentials, Identity
from fleet.model import Holding, Standing

FILE = "fleet.db"
_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS installation (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), facts TEXT NOT NULL, ca BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS member (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, device_id TEXT NOT NULL, key BLOB NOT NULL, certificate BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS holding (number INTEGER PRIMARY KEY, revision INTEGER NOT NULL, sha256 BLOB NOT NULL, epm_state TEXT NOT NULL);
"""
Facts = dict[str, str]
_SHARED = ("trust_domain", "policy_address", "reporting_address", "device_address")


@dataclass(frozen=True, slots=True)
class Member:
    """One enrolled agent."""

    number: int
    identity: Identity
    credentials: Credentials = field(repr=False)


def name_of(number: int) -> str:
    """Name an agent."""
    return f"sim-{number:05d}"


class Members:
    """The file of a state folder. Threads and processes open one each."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        path = folder / FILE
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
            self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.DatabaseError) as error:
            raise StateError(f"{path}: cannot be used ({error}); choose another --state-dir") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def server(self) -> str | None:
        """Give the public address by which the fleet was enrolled; None before its first agent."""
        found = self._facts()
        return None if found is None else found[0]["server"]

    @property
    def ca(self) -> bytes:
        """Give the authorities that the fleet trusts; empty before its first agent."""
        found = self._facts()
        return b"" if found is None else found[1]

    def add(self, member: Member, server: str) -> None:
        """Keep an agent; the first one tells of the installation."""
        identity, credentials = member.identity, member.credentials
        facts = {name: getattr(identity, name) for name in _SHARED} | {
            "server": server,
            "policy_keys": json.dumps({name: key.hex() for name, key in identity.policy_keys.items()}),
        }
        self._database.execute(
            "INSERT INTO installation (only_one, facts, ca) VALUES (1, ?, ?)"
            " ON CONFLICT (only_one) DO UPDATE SET facts = excluded.facts, ca = excluded.ca",
            (json.dumps(facts), credentials.ca),
        )
        self._database.execute(
            "INSERT OR REPLACE INTO member (number, name, device_id, key, certificate) VALUES (?, ?, ?, ?, ?)",
            (member.number, identity.device_name, identity.device_id, credentials.key, credentials.certificate),
        )

    def numbers(self) -> frozenset[int]:
        """Give the numbers of all agents."""
        return frozenset(number for (number,) in self._database.execute("SELECT number FROM member"))

    def read(self, numbers: Iterable[int]) -> Iterator[Member]:
        """Give agents by number; those that are not there are left out."""
        found = self._facts()
        if found is None:
            return
        facts, ca = found
        keys = {name: bytes.fromhex(key) for name, key in json.loads(facts["policy_keys"]).items()}
        for number in numbers:
            row = self._database.execute(
                "SELECT name, device_id, key, certificate FROM member WHERE number = ?", (number,)
            ).fetchone()
            if row is not None:
                name, device_id, key, certificate = row
                identity = Identity(
                    device_id=device_id,
                    device_name=name,
                    trust_domain=facts["trust_domain"],
                    policy_address=facts["policy_address"],
                    reporting_address=facts["reporting_address"],
                    device_address=facts["device_address"],
                    policy_keys=keys,
                )
                yield Member(number, identity, Credentials(key, certificate, ca))

    def note(self, standings: Mapping[int, Standing]) -> None:
        """Note how agents stand."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            "INSERT OR REPLACE INTO holding (number, revision, sha256, epm_state) VALUES (?, ?, ?, ?)",
            [
                (number, stands.holding.revision, stands.holding.sha256, stands.epm_state)
                for number, stands in standings.items()
            ],
        )
        self._database.execute("COMMIT")

    def standings(self) -> dict[str, Standing]:
        """Give how every agent stands that ever ran, by device."""
        rows = self._database.execute(
            "SELECT device_id, revision, sha256, epm_state FROM holding JOIN member USING (number) ORDER BY number"
        )
        return {device_id: Standing(Holding(revision, sha256), state) for device_id, revision, sha256, state in rows}

    def names(self) -> dict[str, str]:
        """Give the names of all agents by device."""
        return dict(self._database.execute("SELECT device_id, name FROM member"))

    def _facts(self) -> tuple[Facts, bytes] | None:
        row = self._database.execute("SELECT facts, ca FROM installation").fetchone()
        return None if row is None else (json.loads(row[0]), row[1])


@contextmanager
def opened(folder: Path) -> Iterator[Members]:
    """Open the file of a state folder for a block."""
    with closing(Members(folder)) as members:
        yield members
