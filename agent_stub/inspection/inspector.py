"""Inspect a file through a child process, and remember what cannot have changed."""

import asyncio
import os
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from agent_stub.inspection.opened import EvidenceError, OpenedFile, Stamp
from agent_stub.inspection.report import REPORT_LIMIT, Report, parse_report
from agent_stub.inspection.trust import TrustStore
from elevation.model import FileEvidence, Platform, Signer

TIMEOUT_SECONDS = 45.0
CHILDREN_AT_ONCE = 4
CACHE_SIZE = 512
_CHILD = ("-I", "-m", "agent_stub.inspection.child")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of a file: the evidence that the kernel decides by, and facts for people."""

    evidence: FileEvidence
    kind: str = ""
    interpreter: str = ""
    owner: str = ""


class ChildInspector:
    """Read files in short-lived children.

    INVARIANT: only files that root alone can write are remembered. Whoever may write a file may hold it mapped and
    change its bytes without a trace in its times.
    """

    def __init__(self, trust: TrustStore, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._trust = trust
        self._timeout = timeout_seconds
        self._known: OrderedDict[tuple[str, Stamp], Report] = OrderedDict()
        self._slots = asyncio.Semaphore(CHILDREN_AT_ONCE)

    @property
    def remembered(self) -> int:
        """Count the files whose facts are remembered."""
        return len(self._known)

    async def inspect(self, file: OpenedFile, platform: Platform, now: datetime) -> Inspection:
        """Find out what is known of an opened file; raise EvidenceError where it cannot be read."""
        report = await self._report(file)
        if not file.unchanged():
            raise EvidenceError("it changed while it was read")
        evidence = self._evidence(file, report, platform, now)
        return Inspection(evidence, kind=report.kind, interpreter=report.interpreter, owner=file.owner)

    async def _report(self, file: OpenedFile) -> Report:
        key = (file.path, file.stamp)
        if file.root_only and (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        async with self._slots:
            report = parse_report(await _run_child(file, self._timeout), file.stamp.size)
        if file.root_only:
            self._known[key] = report
            if len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)
        return report

    def _evidence(self, file: OpenedFile, report: Report, platform: Platform, now: datetime) -> FileEvidence:
        if platform is Platform.LINUX:
            return _linux_evidence(file, report)
        return FileEvidence(
            path=file.path,
            sha256=report.sha256,
            version=report.version,
            description=report.description,
            product_name=report.product_name,
            internal_name=report.internal_name,
            company_name=report.company_name,
            root_only_path=file.root_only,
            signers=self._signers(report, now),
            local=file.local,
        )

    def _signers(self, report: Report, now: datetime) -> tuple[Signer, ...]:
        judged = (self._trust.judge(signer, now) for signer in report.signers)
        return tuple(signer for signer in judged if signer is not None)


def _linux_evidence(file: OpenedFile, report: Report) -> FileEvidence:
    """Take version, product and company of the owning package, which is worth as much as the path is safe."""
    package = report.package if file.root_only else None
    return FileEvidence(
        path=file.path,
        sha256=report.sha256,
        version=package.version if package else "",
        product_name=package.name if package else "",
        company_name=package.maintainer if package else "",
        root_only_path=file.root_only,
        local=file.local,
    )


async def _run_child(file: OpenedFile, timeout_seconds: float) -> bytes:
    arguments = [str(file.descriptor), str(file.stamp.size)] + ([file.path] if file.root_only else [])
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *_CHILD,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(file.descriptor,),
            limit=REPORT_LIMIT,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        )
    except OSError as error:
        raise EvidenceError("its inspection could not be started") from error
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _answer(child)
    except TimeoutError as error:
        raise EvidenceError("its inspection took too long") from error
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _answer(child: asyncio.subprocess.Process) -> bytes:
    if child.stdout is None:
        raise EvidenceError("its inspection could not be started")
    try:
        line = await child.stdout.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        raise EvidenceError("its inspection ended without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise EvidenceError("its inspection answered too much") from error
    return line
