from dataclasses import dataclass

import pytest

from services._chassis.paging import PageRequest, page_request
from services.device.model.pages import LARGEST_PAGE, fitting_page, weigh


@dataclass(frozen=True)
class Thing:
    name: str
    weight: int


def shown(weights: list[int], *, size: int) -> tuple[int, str]:
    things = [Thing(f"t{number}", weight) for number, weight in enumerate(weights)]
    page = fitting_page(things[: size + 1], PageRequest(size), key=lambda thing: (thing.name,))
    after = page_request(page_size=1, page_token=page.next_token).after
    return len(page.items), str(after[0]) if after else ""


@pytest.mark.parametrize(
    ("weights", "size", "expected"),
    [
        ([], 5, (0, "")),
        ([1, 1, 1], 5, (3, "")),
        ([1, 1, 1], 2, (2, "t1")),
        ([LARGEST_PAGE - 1, 1, 1], 5, (2, "t1")),
        ([LARGEST_PAGE, 1], 5, (1, "t0")),
        ([LARGEST_PAGE + 1, 1], 5, (1, "t0")),
        ([LARGEST_PAGE + 1], 5, (1, "")),
    ],
)
def test_a_page_holds_what_fits_and_at_least_one_and_goes_on_after_it(
    weights: list[int], size: int, expected: tuple[int, str]
) -> None:
    assert shown(weights, size=size) == expected


def test_texts_weigh_their_bytes_and_not_their_characters() -> None:
    assert weigh(("ää",)) - weigh(("aa",)) == 2
    assert weigh(("a", "b"), ("c",)) == weigh(("a", "b", "c"))
