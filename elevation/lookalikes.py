"""Names that look like what they are not: words of two alphabets, letters in disguise, and names that look the same.

Alphabets that share shapes with the Latin one are told apart by the names that Unicode gives to letters. A word is of one
alphabet; a name may have words of several, and Japanese, Chinese and Korean words mix scripts by nature.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product

from elevation.model import Problem

_ALPHABETS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "COPTIC", "CHEROKEE"})
_JOINED = frozenset({"Mn", "Mc", "Me"})
_DISGUISED = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl"})
_RAISED = "<super>"
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

# Letters that most fonts draw alike, with the Latin one; only those that stand for whole words with others of their kind.
_LATIN_TWINS = {
    # Cyrillic
    **dict(
        zip(
            "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423"
            "\u0425\u04ba\u051a\u051c",
            "ABESIJKMHOPCTYXhQW",
            strict=True,
        )
    ),
    # Cyrillic, small
    **dict(
        zip(
            "\u0430\u0435\u0455\u0456\u0458\u043e\u0440\u0441\u0443\u0445\u04bb\u051b\u051d\u04cf\u0501",
            "aesijopcyxhqwld",
            strict=True,
        )
    ),
    # Greek
    **dict(
        zip(
            "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
            "ABEZHIKMNOPTYX",
            strict=True,
        )
    ),
    # Greek, small
    **dict(zip("\u03b1\u03bd\u03bf\u03c1\u03c5\u03b9\u03f3", "avopuij", strict=True)),
    # Armenian
    **dict(zip("\u0555\u054f\u054d\u0578\u057d\u0585", "OSUnuo", strict=True)),
}

_FOREIGN_TWINS = tuple(
    {latin: foreign for foreign, latin in _LATIN_TWINS.items() if unicodedata.name(foreign).startswith(alphabet)}
    for alphabet in ("CYRILLIC", "GREEK", "ARMENIAN")
)
_PARTS = re.compile(r"[^\W\d_]+|[\W\d_]+")
MOST_TWINS = 16
"""Twins of one name that are looked for; one of many words has more."""


def check_disguise(path: str, name: str) -> Iterator[Problem]:
    """Find what in a name looks like something else."""
    if name.isascii():
        return
    for character in name:
        if (plain := _disguised(character)) is not None:
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
    """Give the names of one alphabet a word that look the same as this one, itself left out; of many words, some of them."""
    parts = [[part, *_twin_words(part)] for part in _PARTS.findall(name)]
    if math.prod(map(len, parts)) > MOST_TWINS:
        return frozenset()
    return frozenset("".join(chosen) for chosen in product(*parts)) - {name}


def twin_message(twin: str) -> str:
    """Say that a name looks the same as one that is there."""
    told = ", ".join(sorted({f"U+{ord(character):04X}" for character in twin if character in _LATIN_TWINS}))
    of_letters = f" ({told})" if told else ""
    return f'looks the same as "{twin}"{of_letters}, which is there already; choose a name that does not'


def skeleton(name: str) -> str:
    """Give what all names have in common that look the same."""
    if name.isascii():
        return " ".join(name.split())
    shown = (_LATIN_TWINS.get(character, character) for character in unicodedata.normalize("NFKD", name))
    return " ".join("".join(character for character in shown if not _unseen(character)).split())


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


def is_blank_letter(character: str) -> bool:
    """Tell whether a character counts as a letter or a picture and shows as nothing."""
    return character in _BLANK_LETTERS


def _twin_words(word: str) -> list[str]:
    """Give the same-looking words of other alphabets."""
    latin = "".join(_LATIN_TWINS.get(character, character) for character in word)
    if not (latin.isascii() and latin.isalpha()):
        return []
    found = [latin, *(_spelt(latin, alphabet) for alphabet in _FOREIGN_TWINS)]
    return [other for other in dict.fromkeys(found) if other and other != word]


def _spelt(latin: str, alphabet: Mapping[str, str]) -> str:
    return "".join(alphabet[letter] for letter in latin) if all(letter in alphabet for letter in latin) else ""


def _mixture(word: str) -> str | None:
    """Say which alphabets a word mixes, and the first letter of the rarer one; None where it is of one."""
    alphabets = [_alphabet(character) for character in word]
    counts = Counter(found for found in alphabets if found)
    if len(counts) < 2:  # noqa: PLR2004 - one alphabet is no mixture
        return None
    rarest = min(counts, key=lambda found: (counts[found], found == "LATIN", found))
    stranger = word[alphabets.index(rarest)]
    named = " and ".join(found.capitalize() for found in sorted(counts, key=lambda found: (found != "LATIN", found)))
    return f'"{word}" mixes {named} ({stranger} is U+{ord(stranger):04X}); write each word in one alphabet'


def _alphabet(character: str) -> str:
    """Give the alphabet of a letter; empty for one of a script that looks like none of them."""
    if character.isascii():
        return "LATIN"
    first = unicodedata.name(character, "").partition(" ")[0]
    return first if first in _ALPHABETS else ""


def _disguised(character: str) -> str | None:
    """Give the plain letters or digits that a character stands for; None where it stands for itself."""
    if character.isascii() or unicodedata.category(character) not in _DISGUISED:
        return _blank(character)
    if unicodedata.decomposition(character).startswith(_RAISED):
        return None
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() and plain.isalnum() else None


def _blank(character: str) -> str | None:
    """Tell blanks that are as wide as the ordinary one from it."""
    if character in " \u3000" or unicodedata.category(character) != "Zs":
        return None
    return " "


def _first_difference(name: str, composed: str) -> str:
    """Give the first character that composition takes away or puts another one for."""
    at = next((at for at, ours in enumerate(name[: len(composed)]) if ours != composed[at]), len(composed))
    mark = name[at + 1 : at + 2]
    return mark if mark and unicodedata.combining(mark) else name[at]


def _unseen(character: str) -> bool:
    return unicodedata.name(character, "").startswith("VARIATION SELECTOR") or is_blank_letter(character)


def _named(character: str) -> str:
    number = f"U+{ord(character):04X}"
    return number if unicodedata.combining(character) or character.isspace() else f"{character} ({number})"
