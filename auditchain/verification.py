"""Find out whether a log is whole, and if not, where and what.

A record is held by its hash and by the one before it; the newest are held by checkpoints. What this cannot see is said in
docs/security.md.
"""

import enum
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from auditchain.checkpoint import Checkpoint, Keys, is_signed
from auditchain.record import AuditRecord, genesis, link
from auditchain.times import to_text


class Fault(enum.Enum):
    """Tell what is wrong with a part of a log."""

    ALTERED = "altered"
    MISSING = "missing"
    MISPLACED = "misplaced"
    REWRITTEN = "rewritten"
    CHECKPOINT = "checkpoint"
    UNVOUCHED = "unvouched"


@dataclass(frozen=True, slots=True)
class Finding:
    """Name one fault: the records from `first` to `last`, and what is wrong with them."""

    fault: Fault
    first: int
    last: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Say what became of the verification of one log."""

    service: str
    records: int
    first: int
    last: int
    covered_through: int
    """Newest record that a checkpoint vouches for; 0 if none does."""
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings


class ChainVerifier:
    """Take the records of one service as they come, then the checkpoints, and judge."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._hashes: dict[int, bytes] = {}
        self._last: AuditRecord | None = None
        self._openings: list[tuple[int, AuditRecord]] = []
        """Records without the one before them, each with the first sequence number that is missing there."""
        self._findings: list[Finding] = []

    def add(self, record: AuditRecord) -> None:
        """Look at the next record of the log."""
        before = self._last.sequence if self._last else 0
        if record.sequence <= before:
            said = f"it stands after record {before}: out of order, there twice, or put there"
            self._findings.append(Finding(Fault.MISPLACED, record.sequence, record.sequence, said))
            return
        if self._last is None or record.sequence > before + 1:
            self._openings.append((before + 1, record))
        else:
            self._check_link(self._last.hash, record)
        self._hashes[record.sequence] = record.hash
        self._last = record

    def verdict(self, checkpoints: Iterable[Checkpoint], keys: Keys) -> Verdict:
        """Judge what was added by checkpoints and the keys that may have signed them."""
        good = list(self._signed(checkpoints, keys))
        pruned = max((checkpoint.pruned_through for checkpoint in good), default=0)
        self._check_anchors(good)
        self._check_openings(good, pruned)
        self._check_rewriting(good)
        self._check_end(good, pruned)
        last = self._last.sequence if self._last else 0
        covered = [checkpoint.sequence for checkpoint in good if self._agrees(checkpoint)]
        return Verdict(
            service=self._service,
            records=len(self._hashes),
            first=next(iter(self._hashes), 0),
            last=last,
            covered_through=max(covered, default=0),
            findings=tuple(_merged(self._findings)),
        )

    def _check_link(self, previous: bytes, record: AuditRecord) -> None:
        if link(previous, record) != record.hash:
            number = record.sequence
            other = f"; or record {number - 1} was, and got a new hash" if number > 1 else ""
            said = f"it does not fit its hash, so it was changed{other}"
            self._findings.append(Finding(Fault.ALTERED, number, number, said))

    def _signed(self, checkpoints: Iterable[Checkpoint], keys: Keys) -> Iterator[Checkpoint]:
        for checkpoint in checkpoints:
            if is_signed(self._service, checkpoint, keys):
                yield checkpoint
                continue
            known = checkpoint.key_id in keys
            why = "does not fit its signature" if known else "is signed by no key that is trusted"
            said = f"what it says {why} (key {checkpoint.key_id or 'none'})"
            self._findings.append(Finding(Fault.CHECKPOINT, checkpoint.sequence, checkpoint.sequence, said))

    def _check_anchors(self, good: Sequence[Checkpoint]) -> None:
        """See that what retention left hangs onto what it deleted, always in the same way."""
        anchors: dict[int, bytes] = {}
        for checkpoint in good:
            number = checkpoint.pruned_through
            anchor = anchors.setdefault(number, self._hashes.get(number, checkpoint.anchor_hash)) if number else b""
            if number and anchor != checkpoint.anchor_hash:
                said = f"it is not the record that retention deleted, says a checkpoint of {_moment(checkpoint)}"
                self._findings.append(Finding(Fault.REWRITTEN, number, number, said))

    def _check_openings(self, good: Sequence[Checkpoint], pruned: int) -> None:
        before = {checkpoint.sequence: checkpoint.hash for checkpoint in good}
        before |= {checkpoint.pruned_through: checkpoint.anchor_hash for checkpoint in good}
        before[0] = genesis(self._service)
        for missing, record in self._openings:
            previous = before.get(record.sequence - 1)
            if previous is not None:
                self._check_link(previous, record)
            elif record.sequence <= pruned:
                said = "retention deleted this record, and nothing says that the one here is genuine"
                self._findings.append(Finding(Fault.MISPLACED, record.sequence, record.sequence, said))
            self._miss(max(missing, pruned + 1), record.sequence - 1, "there are records after it")

    def _check_rewriting(self, good: Sequence[Checkpoint]) -> None:
        """Compare with what was signed; what differs was written anew, together with everything after it."""
        agreed = sorted(checkpoint.sequence for checkpoint in good if self._agrees(checkpoint))
        for checkpoint in good:
            if checkpoint.sequence in self._hashes and not self._agrees(checkpoint):
                held = bisect_left(agreed, checkpoint.sequence)
                first = agreed[held - 1] + 1 if held else 1
                said = f"a checkpoint of {_moment(checkpoint)} says otherwise; every hash was made anew"
                self._findings.append(Finding(Fault.REWRITTEN, first, checkpoint.sequence, said))

    def _check_end(self, good: Sequence[Checkpoint], pruned: int) -> None:
        last = self._last.sequence if self._last else 0
        newest = max(good, key=lambda checkpoint: checkpoint.sequence, default=None)
        if newest is None:
            self._findings.append(Finding(Fault.UNVOUCHED, last, last, "no checkpoint vouches for the log"))
        else:
            self._miss(max(last, pruned) + 1, newest.sequence, f"a checkpoint of {_moment(newest)} knows it")

    def _agrees(self, checkpoint: Checkpoint) -> bool:
        return self._hashes.get(checkpoint.sequence) == checkpoint.hash

    def _miss(self, first: int, last: int, why: str) -> None:
        if first <= last:
            self._findings.append(Finding(Fault.MISSING, first, last, why))


def _moment(checkpoint: Checkpoint) -> str:
    try:
        return to_text(checkpoint.signed)
    except ValueError:
        return "an impossible time"


def _merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Give the findings in the order of the log; neighbours with the same fault become one."""
    open_one: Finding | None = None
    for finding in sorted(findings, key=lambda finding: (finding.first, finding.last, finding.fault.value)):
        if open_one and open_one.fault is finding.fault and finding.first <= open_one.last + 1:
            open_one = Finding(finding.fault, open_one.first, max(open_one.last, finding.last), open_one.message)
            continue
        if open_one:
            yield open_one
        open_one = finding
    if open_one:
        yield open_one
