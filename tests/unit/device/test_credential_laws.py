"""The laws of certificates, in memory."""

import asyncio

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakes.device import MemoryStore
from tests.reference.credentials import CredentialMachine


def test_certificates_obey_their_laws() -> None:
    with asyncio.Runner() as runner:
        run_state_machine_as_test(
            lambda: CredentialMachine(runner, MemoryStore()),  # type: ignore[arg-type]
            settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
        )
