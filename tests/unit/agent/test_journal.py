import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from agent_stub.events.frames import MARK, framed_entry
from agent_stub.events.journal import REWRITE_BYTES, Journal, SpoolError
from agent_stub.files import StateError
from epm.elevation.v1 import event_pb2
from tests.fakes.agent import FakeDisk, Numbers

LIMIT = 1 << 20
LIMITED = """
import resource, signal, sys
from pathlib import Path
from agent_stub.events.journal import Journal, LocalDisk, SpoolError
from epm.elevation.v1 import event_pb2
path = Path(sys.argv[1])
journal = Journal(path, LocalDisk(), lambda: "id", 1 << 20)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = path.stat().st_size + 20
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    journal.append(event_pb2.ElevationEvent(event_id="e4", boot_id="x" * 100))
except SpoolError as error:
    print(error)
"""


def event(name: str, padding: int = 0) -> event_pb2.ElevationEvent:
    return event_pb2.ElevationEvent(event_id=name, boot_id="x" * padding)


def opened(path: Path, disk: FakeDisk | None = None, limit: int = LIMIT) -> Journal:
    return Journal(path, disk or FakeDisk(), Numbers(), limit)


def names(journal: Journal, after: int = 0) -> list[str]:
    return [entry.event.event_id for entry in journal.entries(after, 100, LIMIT)]


def numbers(journal: Journal) -> list[int]:
    return [entry.seq for entry in journal.entries(0, 100, LIMIT)]


def filled(path: Path, count: int) -> Journal:
    journal = opened(path)
    for number in range(1, count + 1):
        journal.append(event(f"e{number}"))
    return journal


def test_events_get_numbers_from_one_without_gaps(tmp_path: Path) -> None:
    journal = filled(tmp_path / "j", 3)
    assert numbers(journal) == [1, 2, 3]


def test_what_was_written_is_there_after_a_restart_under_the_same_id(tmp_path: Path) -> None:
    before = filled(tmp_path / "j", 3)
    after = opened(tmp_path / "j")
    assert (after.id, names(after)) == (before.id, ["e1", "e2", "e3"])


def test_numbers_go_on_after_everything_was_acknowledged_and_the_agent_restarted(tmp_path: Path) -> None:
    filled(tmp_path / "j", 3).acknowledge(3)
    journal = opened(tmp_path / "j")
    assert len(journal) == 0
    assert journal.append(event("e4")) == 4


def test_only_acknowledged_events_are_forgotten(tmp_path: Path) -> None:
    journal = filled(tmp_path / "j", 3)
    journal.acknowledge(2)
    assert names(journal) == ["e3"]


def test_the_file_gets_short_once_nothing_waits(tmp_path: Path) -> None:
    journal = filled(tmp_path / "j", 50)
    before = (tmp_path / "j").stat().st_size
    journal.acknowledge(50)
    assert (tmp_path / "j").stat().st_size < before / 10


def test_a_long_acknowledged_part_goes_while_events_still_wait(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j", limit=10 * LIMIT)
    for number in range(1, 5):
        journal.append(event(f"e{number}", padding=REWRITE_BYTES // 2))
    journal.acknowledge(3)
    assert names(journal) == ["e4"]
    assert (tmp_path / "j").stat().st_size < REWRITE_BYTES
    assert (names(opened(tmp_path / "j")), numbers(opened(tmp_path / "j"))) == (["e4"], [4])


def test_a_full_journal_that_goes_home_is_not_written_over_and_over(tmp_path: Path) -> None:
    disk = FakeDisk()
    journal = opened(tmp_path / "j", disk, limit=40 * LIMIT)
    for number in range(1, 33):
        journal.append(event(f"e{number}", padding=REWRITE_BYTES // 2))
    replaced = disk.replaced
    for number in range(1, 33):
        journal.acknowledge(number)
    assert disk.replaced - replaced <= 5


def test_what_was_acknowledged_makes_room_where_the_journal_is_full(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j", limit=4 * LIMIT)
    for number in range(1, 8):
        journal.append(event(f"e{number}", padding=REWRITE_BYTES // 2))
    with pytest.raises(SpoolError, match="full"):
        journal.append(event("e8", padding=REWRITE_BYTES // 2))
    journal.acknowledge(3)
    assert journal.append(event("e8", padding=REWRITE_BYTES // 2)) == 8
    assert len(journal) == 5


def test_a_torn_end_is_cut_off_and_the_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    identity = filled(path, 3).id
    path.write_bytes(path.read_bytes()[:-5])
    journal = opened(path)
    assert (journal.id, journal.damage, names(journal)) == (identity, None, ["e1", "e2"])
    assert journal.append(event("e3")) == 3
    assert names(opened(path)) == ["e1", "e2", "e3"]


def test_zeros_at_the_end_are_what_a_crash_leaves(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(path, 2)
    path.write_bytes(path.read_bytes() + bytes(64))
    journal = opened(path)
    assert (journal.damage, names(journal)) == (None, ["e1", "e2"])


def test_damage_in_the_middle_sets_the_file_aside_and_keeps_the_other_events(tmp_path: Path) -> None:
    path = tmp_path / "j"
    identity = filled(path, 5).id
    content = path.read_bytes().replace(b"e3", b"XX")
    path.write_bytes(content)
    journal = opened(path)
    assert journal.id != identity
    assert (names(journal), numbers(journal)) == (["e1", "e2", "e4", "e5"], [1, 2, 3, 4])
    assert journal.damage is not None
    assert (journal.damage.count, journal.damage.first_seq, journal.damage.last_seq) == (1, 3, 3)
    assert (tmp_path / journal.damage.kept_as).read_bytes() == content


def test_damage_to_the_first_and_the_last_event_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(path, 4)
    path.write_bytes(path.read_bytes().replace(b"e1", b"XX").replace(b"e4", b"XX"))
    journal = opened(path)
    assert names(journal) == ["e2", "e3"]
    assert journal.damage is not None
    assert (journal.damage.count, journal.damage.first_seq, journal.damage.last_seq) == (2, 1, 4)


def test_what_a_user_wrote_into_a_damaged_event_does_not_become_an_event(tmp_path: Path) -> None:
    path = tmp_path / "j"
    frames = (framed_entry(7, event(f"forged{number}")) for number in count())
    forged = next(frame for frame in frames if frame.isascii()).decode("ascii")
    journal = opened(path)
    journal.append(event_pb2.ElevationEvent(event_id="e1", attempt_id=forged))
    journal.append(event("e2"))
    path.write_bytes(path.read_bytes().replace(b"e1", b"XX"))
    assert forged.encode() in path.read_bytes()
    assert names(opened(path)) == ["e2"]


def test_an_event_that_is_damaged_while_the_agent_runs_is_noticed_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = filled(path, 3)
    identity = journal.id
    path.write_bytes(path.read_bytes().replace(b"e2", b"XX"))
    with pytest.raises(SpoolError, match="was damaged and has begun anew"):
        names(journal)
    assert journal.id != identity
    assert names(journal) == ["e1", "e3"]
    assert journal.damage is not None
    assert (journal.damage.count, journal.damage.first_seq) == (1, 2)
    assert journal.append(event("e4")) == 3


@pytest.mark.parametrize("content", [b"", b"nonsense", MARK, bytes(100)], ids=["empty", "text", "mark", "zeros"])
def test_a_file_that_is_no_journal_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    journal = opened(path)
    assert journal.damage is not None
    assert (tmp_path / journal.damage.kept_as).read_bytes() == content
    assert journal.append(event("e1")) == 1


def test_a_full_disk_refuses_the_event_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    disk = FakeDisk()
    journal = opened(tmp_path / "j", disk)
    journal.append(event("e1"))
    disk.full = True
    with pytest.raises(SpoolError, match="no space left on device"):
        journal.append(event("e2"))
    disk.full = False
    assert journal.append(event("e3")) == 2
    assert names(opened(tmp_path / "j")) == ["e1", "e3"]


def test_what_a_full_disk_left_half_written_is_cut_off_before_the_next_event(tmp_path: Path) -> None:
    disk = FakeDisk()
    journal = opened(tmp_path / "j", disk)
    journal.append(event("e1"))
    disk.full, disk.broken = True, True
    with pytest.raises(SpoolError, match="no space left on device"):
        journal.append(event("e2"))
    disk.full = False
    with pytest.raises(SpoolError, match="cannot be repaired"):
        journal.append(event("e2"))
    disk.broken = False
    assert journal.append(event("e3")) == 2
    assert names(journal) == names(opened(tmp_path / "j")) == ["e1", "e3"]


def test_a_disk_that_is_full_at_the_start_is_a_refused_start(tmp_path: Path) -> None:
    disk = FakeDisk()
    disk.full = True
    with pytest.raises(StateError, match=r"j: cannot be used \(no space left on device\); make room"):
        opened(tmp_path / "j", disk)


def test_a_disk_that_takes_no_more_bytes_refuses_the_event_and_keeps_the_others(tmp_path: Path) -> None:
    """The same with the real file system: a process that may write no file longer than this one is."""
    path = tmp_path / "j"
    filled(path, 3)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (
        0,
        "the spool cannot be written (file too large)",
        "",
    )
    assert names(opened(path)) == ["e1", "e2", "e3"]


def test_a_full_disk_keeps_acknowledged_events_in_the_file_and_out_of_the_way(tmp_path: Path) -> None:
    disk = FakeDisk()
    journal = opened(tmp_path / "j", disk)
    journal.append(event("e1"))
    disk.full = True
    journal.acknowledge(1)
    assert names(journal) == []
    disk.full = False
    assert journal.append(event("e2")) == 2


def test_a_spool_over_its_limit_takes_no_more(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j", limit=500)
    journal.append(event("e1", padding=200))
    with pytest.raises(SpoolError, match="the spool is full"):
        journal.append(event("e2", padding=400))


def test_a_batch_is_bounded_by_count_and_by_bytes_but_never_empty(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    for number in range(1, 5):
        journal.append(event(f"e{number}", padding=1000))
    assert len(journal.entries(0, 2, LIMIT)) == 2
    assert len(journal.entries(0, 100, 2500)) == 2
    assert len(journal.entries(0, 100, 10)) == 1


def test_journals_are_readable_by_the_agent_alone(tmp_path: Path) -> None:
    filled(tmp_path / "j", 1)
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600
