"""What the verbs need from the outside."""

from typing import Protocol

from services.policy.model.directory import Directory
from services.policy.model.objects import Corpus


class CorpusReader(Protocol):
    """Read everything that is authored."""

    async def corpus(self) -> Corpus:
        """Return all objects, each kind sorted by name, at the newest revision."""
        ...


class Directories(Protocol):
    """Know the devices and the groups."""

    def directory(self) -> Directory:
        """Return the newest directory. Raises UnavailableError while none was received."""
        ...

    async def at_least(self, revision: int) -> Directory:
        """Return the directory once it is as new as `revision`. Raises UnavailableError if that takes too long."""
        ...
