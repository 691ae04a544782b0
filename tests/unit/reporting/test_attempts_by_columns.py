from dataclasses import replace

import pytest

from services.reporting.model.attempts import AttemptRecord, Attempts, Numbering, together
from services.reporting.model.events import Batch
from tests.fakes.reporting import batch, decided, unmanaged

RECORDS = batch([decided(1), unmanaged(2), decided(3, user="another"), decided(1)]).attempts


def by_columns(*parts: tuple[AttemptRecord, ...]) -> list[Attempts]:
    numbering = Numbering()
    columns = [numbering.columns(part) for part in parts]
    return [Attempts(one, numbering.common) for one in columns]


def test_attempts_by_columns_are_the_records_that_they_were_made_of() -> None:
    [attempts] = by_columns(tuple(RECORDS))
    assert tuple(attempts) == tuple(RECORDS)
    assert (attempts[1], attempts[1:3], len(attempts)) == (RECORDS[1], RECORDS[1:3], 4)
    assert all(isinstance(one, AttemptRecord) for one in attempts)


def test_what_attempts_have_in_common_is_there_once() -> None:
    [attempts] = by_columns(tuple(RECORDS))
    assert [len(part) for part in attempts.common] == [2, 1]


@pytest.mark.parametrize("apart", [False, True])
def test_attempts_of_one_group_and_of_several_are_put_together_in_their_order(*, apart: bool) -> None:
    first, second = tuple(RECORDS[:1]), tuple(RECORDS[1:])  # so that the same has other numbers in the second
    parts = [*by_columns(first), *by_columns(second)] if apart else by_columns(first, second)
    assert tuple(together(parts)) == tuple(RECORDS)
    assert tuple(together([parts[0], second])) == tuple(RECORDS)
    assert tuple(together([])) == ()


def test_a_batch_knows_its_places_however_its_attempts_are_kept() -> None:
    plain = batch([decided(1), decided(2)], first=7)
    [attempts] = by_columns(tuple(plain.attempts))
    kept: Batch = replace(plain, attempts=attempts)
    assert (kept.seqs(), kept.size, kept.weight) == ([7, 8], 2, plain.weight)
