"""Names that look like what they are not: words of two scripts, letters and marks in disguise, names that look the same.

Scripts are told apart by the names that Unicode gives to letters. A word is of one script; a name may have words of
several, and Japanese, Chinese and Korean words mix scripts by nature. What passes for what: `elevation.glyphs`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice, product

from elevation.glyphs import FOREIGN_TWINS, LATIN_TWINS, MARK_TWINS, PASSES_FOR, STYLED_TWINS
from elevation.model import Problem

_EAST_ASIAN = frozenset(
    {"BOPOMOFO", "CJK", "HALFWIDTH", "HANGUL", "HENTAIGANA", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA", "KATAKANA-HIRAGANA"}
)
_OF_ANY_SCRIPT = frozenset({"", "MICRO", "MODIFIER"})
_JOINED = frozenset({"Mn", "Mc", "Me"})
_DISGUISED = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl"})
_RAISED = "<super>"
_UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What Unicode says may be left out of sight (Default_Ignorable_Code_Point), and blank pictures."""
_PARTS = re.compile(r"[^\W\d_]+|[ 0-9_.,:/()]+|[\W\d_]")
_LONGEST = 128  # longer names are refused
MOST_TWINS = 16
"""Twins of one name that are looked for; one of many words has more."""


def check_disguise(path: str, name: str) -> Iterator[Problem]:
    """Find what in a name looks like something else."""
    if name.isascii():
        return
    east_asian = any(_first_word(character) in _EAST_ASIAN for character in name)
    for character in name:
        if (plain := _disguised(character, east_asian=east_asian)) is not None:
            yield Problem(path, f"holds {_named(character)}, which passes for {plain!r}; write {plain!r}")
            return
    composed = unicodedata.normalize("NFC", name)
    if composed != name:
        stranger = _first_difference(name, composed)
        yield Problem(
            path, f"holds {_named(stranger)}, which stands apart from its letter; write {composed!r}, composed (NFC)"
        )
        return
    for word in words(name):
        if (message := _mixture(word)) is not None:
            yield Problem(path, message)


def twins(name: str) -> frozenset[str]:
    """Give the names of one script a word that look the same as this one, itself left out; of many words, some of them.

    INVARIANT: the one that is plain Latin as far as that goes is among them.
    """
    if len(name) > _LONGEST:
        return frozenset()
    parts = [_spellings(part) for part in _PARTS.findall(name)]
    styles = ["".join(spelt[style] for spelt in parts) for style in range(len(FOREIGN_TWINS) + 2)]
    several = ("".join(chosen) for chosen in product(*(dict.fromkeys(spelt) for spelt in parts)))
    found = dict.fromkeys([*styles, *islice(several, MOST_TWINS)])
    return frozenset(islice((twin for twin in found if twin != name), MOST_TWINS - 1))


def twin_message(twin: str) -> str:
    """Say that a name looks the same as one that is there."""
    told = ", ".join(sorted({f"U+{ord(character):04X}" for character in twin if _plain(character) != character}))
    of_letters = f" ({told})" if told else ""
    return f'looks the same as "{twin}"{of_letters}, which is there already; choose a name that does not'


def skeleton(name: str) -> str:
    """Give what all names have in common that look the same."""
    if name.isascii():
        return " ".join(name.split())
    seen = _UNSEEN.sub("", unicodedata.normalize("NFKD", _UNSEEN.sub("", name)))
    return " ".join("".join(map(_plain, seen)).split())


def words(name: str) -> Iterator[str]:
    """Give the words of a name: letters, with the marks on them."""
    word = ""
    for character in name:
        if character.isalpha() or (word and unicodedata.category(character) in _JOINED):
            word += character
        else:
            if word:
                yield word
            word = ""
    if word:
        yield word


def is_unseen(character: str) -> bool:
    """Tell whether a character shows as nothing, though it may count as a letter, a mark or a picture."""
    return _UNSEEN.fullmatch(character) is not None


def _plain(character: str) -> str:
    """Give what a character looks like in plain Latin."""
    for table in (LATIN_TWINS, STYLED_TWINS, MARK_TWINS, PASSES_FOR):
        if (plain := table.get(character)) is not None:
            return plain
    return character


@lru_cache(maxsize=1024)  # names share words
def _spellings(part: str) -> Sequence[str]:
    """Give the same-looking spellings of a word or a mark: plain, in other Latin letters or style, in each alphabet."""
    plain = part if part.isascii() else "".join(map(_plain, part))
    if not plain.isalpha():
        if len(part) > 1 or (part.isascii() and part not in "-'"):
            return [plain, *([part] * (len(FOREIGN_TWINS) + 1))]
        plain = _mark(part) or plain
        styled = next((mark for mark, looks in MARK_TWINS.items() if looks == plain), plain)
        return [plain, styled, *([part] * len(FOREIGN_TWINS))]
    if not plain.isascii():
        plain = "".join(STYLED_TWINS.get(character, character) for character in part)
        return [plain, plain.replace("i", "\u0131"), *([part] * len(FOREIGN_TWINS))]
    letters = set(plain)
    spelt = ["".join(map(each.__getitem__, plain)) if each.keys() >= letters else part for each in FOREIGN_TWINS]
    return [plain, plain.replace("i", "\u0131"), *spelt]


def _mixture(word: str) -> str | None:
    """Say which scripts a word mixes, and the first letter of the rarer one; None where it is of one."""
    scripts = [_script(character) for character in word]
    counts = Counter(found for found in scripts if found)
    if len(counts) < 2:  # noqa: PLR2004 - one script is no mixture
        return None
    rarest = min(counts, key=lambda found: (counts[found], found == "LATIN", found))
    stranger = word[scripts.index(rarest)]
    named = " and ".join(found.capitalize() for found in sorted(counts, key=lambda found: (found != "LATIN", found)))
    return f'"{word}" mixes {named} ({stranger} is U+{ord(stranger):04X}); write each word in one alphabet'


def _script(character: str) -> str:
    """Give the script of a letter; empty for one that goes with those of any."""
    if character.isascii():
        return "LATIN"
    if not character.isalpha():
        return ""
    first = _first_word(character)
    if first in _OF_ANY_SCRIPT or first in _EAST_ASIAN:
        return ""
    first = _first_word(unicodedata.normalize("NFKC", character)[0])  # of what a symbol stands for
    return "" if first in _EAST_ASIAN else first


def _first_word(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]


def _disguised(character: str, *, east_asian: bool) -> str | None:
    """Give the plain characters that one stands for; None where it stands for itself, as wide marks in East Asian do."""
    if character.isascii():
        return None
    if (plain := PASSES_FOR.get(character)) is not None:
        return plain
    if unicodedata.category(character) not in _DISGUISED:
        return _blank(character) or (None if east_asian else _mark(character))
    if unicodedata.decomposition(character).startswith(_RAISED):
        return None
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() and plain.isalnum() else None


def _mark(character: str) -> str | None:
    """Give the plain mark that one of another width stands for."""
    plain = unicodedata.normalize("NFKC", character)
    is_other = plain != character and len(plain) == 1 and plain.isascii() and plain.isprintable()
    return plain if is_other and not plain.isalnum() and plain != " " else None


def _blank(character: str) -> str | None:
    """Tell blanks that are as wide as the ordinary one from it."""
    if character == "\u3000" or unicodedata.category(character) != "Zs":
        return None
    return " "


def _first_difference(name: str, composed: str) -> str:
    """Give the first character that composition takes away or puts another one for."""
    at = next((at for at, ours in enumerate(name[: len(composed)]) if ours != composed[at]), len(composed))
    mark = name[at + 1 : at + 2]
    return mark if mark and unicodedata.combining(mark) else name[at]


def _named(character: str) -> str:
    number = f"U+{ord(character):04X}"
    return number if unicodedata.combining(character) or character.isspace() else f"{character} ({number})"
