"""Filters over whatever has fields: every kind of value, and what a filter that means nothing is told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from elevation.filter_values import Kind
from elevation.filtering import Field, FilterError, Vocabulary, compile_with


@dataclass(frozen=True)
class Book:
    """Have a field of every kind."""

    title: str = ""
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    pages: int = 0
    printed: datetime | None = None
    sold: bool = False
    edition: str = ""
    format: str = "PAPER"


def label(key: str) -> Field[Book]:
    return Field(f"label.{key}", Kind.TEXT, lambda book: [book.labels[key]] if key in book.labels else [])


BOOKS = Vocabulary(
    {
        "title": Field("title", Kind.TEXT, lambda book: [book.title] if book.title else []),
        "tag": Field("tag", Kind.MANY, lambda book: book.tags),
        "pages": Field("pages", Kind.NUMBER, lambda book: [book.pages]),
        "printed": Field("printed", Kind.TIME, lambda book: [book.printed] if book.printed else []),
        "sold": Field("sold", Kind.BOOLEAN, lambda book: [book.sold]),
        "edition": Field("edition", Kind.VERSION, lambda book: [book.edition]),
        "format": Field("format", Kind.WORD, lambda book: [book.format], ("PAPER", "SOUND")),
    },
    {"label": label},
)
BOOK = Book(
    title="Sea and Sky",
    tags=("sea", "sky"),
    labels={"owner": "team:a", "empty": "", "two words": "yes", "it's": "1", "a.b": "c"},
    pages=90,
    printed=datetime(2026, 3, 1, 9, tzinfo=UTC),
    edition="1.10",
)


@pytest.mark.parametrize(
    "text",
    [
        'title = "Sea and Sky"',
        "title : Sea AND NOT title : sea",
        "title:*",
        "tag = sea AND tag : sky AND tag != land",
        "pages >= 90 AND pages < 100 AND pages != 9",
        "printed >= 2026-03-01 AND printed < 2026-03-02",
        'printed = "2026-03-01T10:00:00+01:00"',
        "sold = false AND sold != true",
        "edition > 1.9",
        "format = PAPER AND format != SOUND AND format : PAPER",
        'label.owner = "team:a" AND label.owner : team AND label.empty:* AND NOT label.other:*',
        "label.other != anything",
        r"""label."two words" = yes AND label.'it\'s' = 1 AND label.a.b = c""",
        "pages = 1 OR pages = 90 AND sold = false",
    ],
)
def test_a_filter_finds_what_it_asks_for(text: str) -> None:
    assert compile_with(BOOKS, text).holds(BOOK)
    assert not compile_with(BOOKS, f"NOT ({text})").holds(BOOK)


def test_what_is_not_filled_is_never_equal() -> None:
    for text in ("title:*", 'title = ""', 'label.owner = ""', "printed < 2030-01-01"):
        assert not compile_with(BOOKS, text).holds(Book())
    assert compile_with(BOOKS, "title != anything AND printed != 2026-01-01").holds(Book())


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("colour = red", 1, 'field "colour" is unknown; known are title, tag, pages'),
        ("label. = red", 1, 'field "label." is unknown'),
        ("label = red", 1, 'field "label" is unknown'),
        ('label. "x" = red', 1, 'field "label." is unknown'),
        ('label."" = red', 1, 'field "label." is unknown'),
        ('title."x" = red', 1, 'field "title." is unknown'),
        ("pages = many", 9, '"many" is no whole number'),
        ("pages : 9", 7, "looks for a part of a text"),
        ("pages = \uff19\uff10", 9, "is no whole number"),
        ("pages = 99999999999999999999", 9, "is no whole number"),
        ("printed > yesterday", 11, "is no time; write 2026-01-31"),
        ('printed > "2026-01-31T09:00:00"', 11, "is no time"),
        ("printed : 2026-01-31", 9, "looks for a part"),
        ("sold = maybe", 8, "neither true nor false"),
        ("sold > false", 6, "use = or !="),
        ("sold : true", 6, "use = or !="),
        ("format = CLAY", 10, '"CLAY" is none of PAPER, SOUND'),
        ("format < PAPER", 8, "use = or !="),
        ("title = Sea*", 9, "has a wildcard"),
        ("title = a AND", 14, "needs a field here"),
        ("(title = a", 11, "lacks a closing bracket"),
        ("title", 6, "needs one of = != >= <= > < :"),
        ("title =", 8, "needs a value"),
        ("title = a b", 11, "stands where AND, OR or the end belongs"),
        ("NOT " * 40 + "title = a", 129, "nests too deeply"),
        ("title = " + "a" * 2048, 2049, "is longer than 2048"),
    ],
)
def test_a_filter_that_means_nothing_is_told_where_and_why(text: str, position: int, message: str) -> None:
    with pytest.raises(FilterError, match=f"position {position}\\)") as refused:
        compile_with(BOOKS, text)
    assert message in str(refused.value)
    assert refused.value.position == position - 1


@pytest.mark.parametrize(
    ("text", "narrowing"),
    [
        ("title = a AND pages > 1", {"title", "pages"}),
        ("(title = a) AND (pages > 1 AND sold = true)", {"title", "pages", "sold"}),
        ("title = a AND pages != 1", {"title"}),
        ("title = a OR pages = 1", set()),
        ("sold = true AND (title = a OR pages = 1)", {"sold"}),
        ("sold = true AND NOT (title = a AND pages = 1)", {"sold"}),
        ("NOT NOT sold = true", set()),
    ],
)
def test_what_stands_under_and_alone_narrows(text: str, narrowing: set[str]) -> None:
    restrictions = compile_with(BOOKS, text).restrictions
    assert {restriction.field for restriction in restrictions if restriction.narrows} == narrowing
