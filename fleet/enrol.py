"""Enrol a fleet: every agent as a real one enrols, several at a time."""

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent_stub import identity_store
from agent_stub.enrolment import Enrolment, EnrolmentError, enroll
from agent_stub.system import facts
from elevation.words import Platform
from fleet.members import Member, name_of, opened


@dataclass(frozen=True, slots=True)
class Recruiting:
    """How to enrol."""

    state_dir: Path
    server: str
    ca: bytes | None
    """None: the one that the token names."""
    token: str = field(repr=False)
    count: int
    at_once: int
    platform: Platform = Platform.LINUX


def recruit(recruiting: Recruiting, told: Callable[[int], None]) -> int:
    """Enrol the agents that are missing, and give how many that were; `told` hears how many are there.

    Raises EnrolmentError or StateError, after which the same call goes on.
    """
    with opened(recruiting.state_dir) as members:
        there = members.numbers()
        if there and members.server != recruiting.server:
            raise EnrolmentError(
                f"{recruiting.state_dir} holds a fleet of {members.server}; choose another --state-dir"
            )
        missing = [number for number in range(1, recruiting.count + 1) if number not in there]
        # Tidies up after a run that was interrupted between keeping an agent and removing its folder.
        for number in there:
            shutil.rmtree(_folder(recruiting, number), ignore_errors=True)
    # The first one finds the CA by the token; the others need not look for it again.
    for part in (missing[:1], missing[1:]):
        with opened(recruiting.state_dir) as members:
            known = recruiting.ca or members.ca or None
        _in_parallel(replace(recruiting, ca=known), part, told)
    return len(missing)


def _in_parallel(recruiting: Recruiting, missing: Iterable[int], told: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(recruiting.at_once) as pool:
        running = {pool.submit(_enrol, recruiting, number) for number in missing}
        try:
            while running:
                done, running = wait(running, timeout=1, return_when=FIRST_EXCEPTION)
                for one in done:
                    one.result()
                told(len(running))
        finally:
            pool.shutdown(cancel_futures=True)


def _enrol(recruiting: Recruiting, number: int) -> None:
    folder = _folder(recruiting, number)
    if not identity_store.is_enrolled(folder):
        enroll(
            folder,
            Enrolment(
                server=recruiting.server,
                ca=recruiting.ca,
                token=recruiting.token,
                device_name=name_of(number),
                facts=facts(recruiting.platform, ()),
            ),
        )
    identity, credentials = identity_store.load(folder)
    with opened(recruiting.state_dir) as members:
        members.add(Member(number, identity, credentials), recruiting.server)
    shutil.rmtree(folder)


def _folder(recruiting: Recruiting, number: int) -> Path:
    """Name the folder of an agent that is being enrolled: its key is there, and may be certified already."""
    return recruiting.state_dir / "enrolling" / name_of(number)
