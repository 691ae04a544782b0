"""Read attempts fast: what devices tell repeats, so what was found right once is not looked at again.

- INVARIANT: an attempt that is read from memory is the same, field by field, as `attempt_of` gives; and whatever has any
  problem is not read here.
- What is remembered is bounded, in members and in their lengths: devices choose these texts.
- Fields are fetched many at a time: an access of its own costs as much as three inside an `attrgetter`.
"""

from collections.abc import Sequence
from operator import attrgetter

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2
from services.reporting.codec.words import (
    ELEVATION_TYPES,
    LOSSES,
    NANOS,
    OUTCOMES,
    PLATFORMS,
    RESULTS,
    SOURCES,
    TRIGGERS,
    file_name,
)
from services.reporting.model.attempts import AttemptRecord
from services.reporting.model.events import (
    LONGEST_JUSTIFICATION,
    UNKNOWN,
    Envelopes,
    are_envelopes,
    are_ids,
)

MOST_REMEMBERED = 10_000
LONGEST_REMEMBERED = 512
"""Characters of a file, or of what was decided, that is remembered: with longer ones a device could fill the memory."""
_SEQ = attrgetter("seq")
_TIME = attrgetter("seconds", "nanos")
_EVENT = attrgetter("event_id", "attempt_id", "occurred", "decided")
_DECIDED = attrgetter("user", "justification", "losers", "file")
_CHOICE = attrgetter(
    "platform",
    "trigger",
    "outcome",
    "source",
    "managed",
    "administrator",
    "elevation_type",
    "policy",
    "rule",
    "result",
)
_FACTS = attrgetter("path", "internal_name", "version", "company_name", "sha256", "publisher")
_FIRST_WORD, _FIRST_FACT = AttemptRecord._fields.index("trigger"), AttemptRecord._fields.index("file_name")
_BODY = AttemptRecord._fields.index("body")

Part = tuple[object, ...]
Files = dict[Part, Part]


class Remembered:
    """What was found right: users, and what was decided about which files."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self.users: dict[str, str] = {}
        self.choices: dict[Part, tuple[Part, Files]] = {}
        self._files: dict[int, Files] = {platform: {} for platform in PLATFORMS}

    def learn(self, decided: event_pb2.Decided, record: AttemptRecord) -> None:
        """Remember the parts of an attempt that has no problem."""
        if max(len(self.users), len(self.choices), *map(len, self._files.values())) >= self._most:
            self.users.clear()
            self.choices.clear()
            for files in self._files.values():
                files.clear()
        files = self._files[decided.platform]
        facts = _FACTS(decided.file)
        self.users[record.user_name] = record.user_name
        if len(record.policy) + len(record.rule) <= LONGEST_REMEMBERED:
            self.choices[_CHOICE(decided)] = (record[_FIRST_WORD:_FIRST_FACT], files)
        if sum(map(len, facts)) <= LONGEST_REMEMBERED:
            files[facts] = record[_FIRST_FACT:_BODY]


REMEMBERED = Remembered()
_NOTHING: tuple[Part, Files] = ((), {})


def right_attempts(
    entries: Sequence[agent_pb2.JournalEntry], received: int, remembered: Remembered = REMEMBERED
) -> list[AttemptRecord | None]:
    """Return the attempt of each entry; None where it tells of none, or where anything is unusual about it.

    What every event must have is checked for all at once; where it is missing in one, all are left to the careful reading.
    """
    events = [entry.event for entry in entries]
    heads = list(map(_EVENT, events))
    if not heads:
        return []
    event_ids, attempt_ids, stamps, decided = zip(*heads, strict=True)
    seconds, nanos = zip(*map(_TIME, stamps), strict=True)
    times = [whole * 1_000_000 + part // 1000 for whole, part in zip(seconds, nanos, strict=True)]
    seqs, bodies = list(map(_SEQ, entries)), [event.SerializeToString() for event in events]
    if not (
        0 <= min(nanos) <= max(nanos) < NANOS
        and are_ids(attempt_ids)
        and are_envelopes(Envelopes(seqs, event_ids, times, list(map(len, bodies))), received)
    ):
        return [None] * len(entries)
    rests, choices, users = list(map(_DECIDED, decided)), remembered.choices, remembered.users
    found: list[AttemptRecord | None] = []
    for head, choice, (told_user, justification, losers, _), facts, body in zip(
        zip(seqs, event_ids, attempt_ids, times, strict=True),
        map(_CHOICE, decided),
        rests,
        map(_FACTS, [rest[3] for rest in rests]),
        bodies,
        strict=True,
    ):
        words, files = choices.get(choice, _NOTHING)
        names, user = files.get(facts), users.get(told_user)
        if (
            names is None
            or user is None
            or len(justification) > LONGEST_JUSTIFICATION
            or (losers and not LOSSES.keys() >= {loser.lost_at for loser in losers})
        ):
            found.append(None)
        else:
            found.append(_new(AttemptRecord, (*head, user, *words, *names, body)))
    return found


_new = tuple.__new__


def attempt_of(entry: agent_pb2.JournalEntry, occurred: int, body: bytes) -> AttemptRecord:
    """Read an attempt as it is, right or wrong."""
    event = entry.event
    decided = event.decided
    file = decided.file
    return AttemptRecord(
        seq=entry.seq,
        event_id=event.event_id,
        attempt_id=event.attempt_id,
        occurred=occurred,
        user_name=decided.user,
        trigger=TRIGGERS.get(decided.trigger, UNKNOWN),
        outcome=OUTCOMES.get(decided.outcome, UNKNOWN),
        source=SOURCES.get(decided.source, UNKNOWN),
        managed=decided.managed,
        administrator=decided.administrator,
        elevation_type=ELEVATION_TYPES.get(decided.elevation_type, UNKNOWN),
        policy=decided.policy,
        rule=decided.rule,
        result=RESULTS.get(decided.result, UNKNOWN),
        file_name=file_name(file.path, decided.platform),
        internal_name=file.internal_name,
        version=file.version,
        company_name=file.company_name,
        sha256=file.sha256.lower(),
        publisher=file.publisher or file.company_name,
        body=body,
    )
