"""Policies compiled to decide by, kept while nothing changes."""

import asyncio
from dataclasses import replace

from elevation.document import PolicyDocument, UserPolicy, compile_document
from elevation.index import CompiledPolicy
from services.policy.model.effective import EffectivePolicies

MOST_COMPILED = 32
"""Compiled policies that are kept: a test run asks for many attempts of few users."""


class CompiledPolicies:
    """Compile what applies to a user, once for all whom the same policies reach.

    Thousands of rules take a second or two: a thread does it, and one at a time, so that streams go on meanwhile.
    """

    def __init__(self) -> None:
        self._compiling = asyncio.Lock()
        self._ground: EffectivePolicies | None = None
        self._compiled: dict[UserPolicy, CompiledPolicy] = {}

    async def of(self, document: PolicyDocument, user: str, ground: EffectivePolicies | None) -> CompiledPolicy:
        """Return what applies to a user of a document; kept as long as it is made of the same ground. None: not at all."""
        found = document.user_policy(user)
        async with self._compiling:
            if ground is None:
                return await asyncio.to_thread(compile_document, document, found)
            if self._ground is not ground:
                self._ground, self._compiled = ground, {}
            key = replace(found, user="")
            if key not in self._compiled:
                if len(self._compiled) >= MOST_COMPILED:
                    self._compiled.pop(next(iter(self._compiled)))
                self._compiled[key] = await asyncio.to_thread(compile_document, document, found)
            return self._compiled[key]
