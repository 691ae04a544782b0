"""Pages of a list: sizes, and tokens that belong to one question."""

import base64

import pytest

from services._chassis.errors import InvalidError
from services._chassis.paging import DEFAULT_SIZE, LARGEST_SIZE, Page, PageRequest, cut, page_request

ROWS = [f"name-{number:03}" for number in range(120)]


def ask(size: int = 0, token: str = "", question: str = "roles", shape: tuple[type, ...] = (str,)) -> PageRequest:
    return page_request(page_size=size, page_token=token, question=question, shape=shape)


def page(request: PageRequest) -> Page[str]:
    rest = [row for row in ROWS if not request.after or (row,) > request.after]
    return cut(rest[: request.size + 1], request, key=lambda row: (row,))


def refused(size: int = 0, token: str = "", question: str = "roles") -> str:
    with pytest.raises(InvalidError) as raised:
        ask(size, token, question)
    (problem,) = raised.value.problems
    return problem.field


@pytest.mark.parametrize(("wanted", "size"), [(0, DEFAULT_SIZE), (1, 1), (1000, 1000), (5000, LARGEST_SIZE)])
def test_a_page_has_a_usual_size_and_a_largest_one(wanted: int, size: int) -> None:
    assert ask(wanted).size == size


def test_a_negative_size_is_bad_input() -> None:
    assert refused(-1) == "page_size"


@pytest.mark.parametrize("size", [1, 7, 60, 119, 120, 121])
def test_pages_hold_every_item_once_and_the_last_has_no_token(size: int) -> None:
    found: list[str] = []
    token = ""
    while True:
        part = page(ask(size, token))
        found += part.items
        token = part.next_token
        if not token:
            break
    assert found == ROWS


def test_keys_of_several_parts_come_back_as_they_went_in() -> None:
    token = ask().next_token((-5, "ü", "x"))
    assert ask(token=token, shape=(int, str, str)).after == (-5, "ü", "x")
    assert not set(token) & set("+/=")


@pytest.mark.parametrize("character", ["a", "\x01", "\N{GRINNING FACE}"])
def test_a_token_of_long_texts_is_taken_back_whatever_they_hold(character: str) -> None:
    key: tuple[str | int, ...] = (5, *[character * 1024] * 5)
    shape = (int, *[str] * 5)
    assert ask(token=ask().next_token(key), shape=shape).after == key


def test_a_forged_key_that_nothing_can_have_is_no_token() -> None:
    token = ask().next_token(("b",))
    page_request(page_size=0, page_token=token, question="roles", may_be=lambda key: key == ("b",))
    with pytest.raises(InvalidError) as raised:
        page_request(page_size=0, page_token=token, question="roles", may_be=lambda key: key == ("a",))
    assert raised.value.reason == "PAGE_TOKEN_INVALID"


def test_a_token_belongs_to_its_question() -> None:
    token = ask(question="roles").next_token(("a",))
    assert refused(token=token, question="groups") == "page_token"


def forged(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "ü",
        "====",
        forged("no json"),
        forged("{}"),
        forged("[]"),
        forged('["f"]'),
        forged("7"),
        forged('["f", null]'),
        forged("[" * 40_000),
        forged("x" * 4_000_000),
    ],
)
def test_what_this_list_never_gave_is_no_token(token: str) -> None:
    assert refused(token=token) == "page_token"


@pytest.mark.parametrize("part", [None, True, 1.5, ["a"], {"a": 1}])
def test_a_key_is_made_of_texts_and_numbers(part: object) -> None:
    token = ask().next_token(("a", part))  # type: ignore[arg-type]
    assert refused(token=token) == "page_token"


@pytest.mark.parametrize("key", [(7,), ("a", "b"), ("a\0",), ("\ud800",)])
def test_a_forged_key_that_no_item_of_the_list_has_is_no_token(key: tuple[str | int, ...]) -> None:
    assert refused(token=ask().next_token(key)) == "page_token"


@pytest.mark.parametrize("number", [2**63, -(2**64), True])
def test_a_forged_number_that_no_database_holds_is_no_token(number: int) -> None:
    with pytest.raises(InvalidError, match="page_token"):
        ask(token=ask().next_token((number,)), shape=(int,))
