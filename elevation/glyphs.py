"""Letters and marks that most fonts draw like plain Latin ones.

Letters of other alphabets are here as far as they make up whole words with others of their kind; a word that mixes
alphabets is refused whatever its letters look like.
"""

from collections.abc import Mapping
from typing import Final

_ALPHABETS: Final[Mapping[str, str]] = {
    "CYRILLIC": (
        "\u0410A \u0412B \u0415E \u0405S \u0406I \u0408J \u041aK \u041cM \u041dH \u041eO \u0420P \u0421C \u0422T "
        "\u0474V \u04aeY \u0423Y \u0425X \u050cG \u051aQ \u051cW \u04c0I \u0430a \u0435e \u0455s \u0456i \u0458j "
        "\u043eo \u0440p \u0441c \u0443y \u04afy \u0445x \u0475v \u04bah \u04bbh \u051bq \u051dw \u04cfl \u0501d"
    ),
    "GREEK": (
        "\u0391A \u0392B \u0395E \u0396Z \u0397H \u0399I \u039aK \u039cM \u039dN \u039fO \u03a1P \u03a4T \u03a5Y "
        "\u03a7X \u03b1a \u03b3y \u03b7n \u03b9i \u03bak \u03bdv \u03bfo \u03c1p \u03c5u \u03c7x \u03f3j"
    ),
    "ARMENIAN": (
        "\u0555O \u054fS \u054dU \u053cL \u0561w \u0563q \u0566q \u056cl \u0570h \u0575j \u0578n \u057du \u0581g "
        "\u0585o"
    ),
    "CHEROKEE": (
        "\u13a0D \u13a1R \u13a2T \u13a5i \u13a9Y \u13aaA \u13abJ \u13acE \u13b3W \u13b7M \u13bbH \u13bdY \u13c0G "
        "\u13c2h \u13c3Z \u13cfb \u13a2T \u13d2R \u13d4W \u13d5S \u13d9V \u13daS \u13deL \u13dfC \u13e2P \u13e6K "
        "\u13e7d \u13f3G \u13f4B \uab83w \uaba3z \uabaas \uaba9v \uabafc"
    ),
    "LISU": (
        "\ua4d0B \ua4d1P \ua4d3D \ua4d4T \ua4d6G \ua4d7K \ua4d9J \ua4daC \ua4dcZ \ua4ddF \ua4dfM \ua4e0N \ua4e1L "
        "\ua4e2S \ua4e3R \ua4e6V \ua4e7H \ua4eaW \ua4ebX \ua4ecY \ua4eeA \ua4f0E \ua4f2I \ua4f3O \ua4f4U"
    ),
    "COPTIC": (
        "\u2c82B \u2c8cZ \u2c8eH \u2c92I \u2c94K \u2c98M \u2c9aN \u2c9eO \u2c9fo \u2ca2P \u2ca3p \u2ca4C \u2ca5c "
        "\u2ca6T \u2ca8Y \u2ca9y \u2cacX \u2cadx"
    ),
    "CANADIAN": (
        "\u142fV \u144cU \u146dP \u146fd \u148dJ \u14aaL \u157cH \u1587R \u15c5A \u15deD \u15eaD \u15f0M \u15f7B"
    ),
    "TIFINAGH": "\u2d38V \u2d4fl \u2d54O \u2d5dX",
}

_PAIRS: Final = {
    alphabet: [(pair[0], pair[1]) for pair in letters.split(" ")] for alphabet, letters in _ALPHABETS.items()
}
LATIN_TWINS: Final[Mapping[str, str]] = {foreign: latin for pairs in _PAIRS.values() for foreign, latin in pairs}
"""The Latin letter that one of another alphabet looks like."""
FOREIGN_TWINS: Final[tuple[Mapping[str, str], ...]] = tuple(
    {latin: foreign for foreign, latin in pairs} for pairs in _PAIRS.values()
)
"""For each other alphabet, the letters in it that look like Latin ones."""

STYLED_TWINS: Final[Mapping[str, str]] = {"\u0131": "i", "\u0237": "j", "\u0269": "i", "\u026a": "i", "\u0196": "l"}
"""Latin letters of some languages that look like other Latin ones."""
MARK_TWINS: Final[Mapping[str, str]] = {
    "\u2013": "-",
    "\u2019": "'",
    "\u2018": "'",
    "\u02bb": "'",
    "\u02bc": "'",
    "\ua78c": "'",
}
"""Marks that good typography puts for plain ones; a name may have them, and looks the same."""

PASSES_FOR: Final[Mapping[str, str]] = {
    **dict.fromkeys("\u02d7\u1806\u2010\u2011\u2012\u2043\u2212\u2796\ufe58\ufe63", "-"),
    **dict.fromkeys("\u2044\u2215\u2571\u27cb\u29f8\u3033", "/"),
    **dict.fromkeys("\u02d0\u02f8\u2236\ua789\ufe13\ufe55", ":"),
    **dict.fromkeys("\u2216\u27cd\u29f5\u29f9\ufe68", "\\"),
    **dict.fromkeys("\u01c0\u2223\u23d0\u2758", "|"),
    **dict.fromkeys("\u2024\ua4f8", "."),
    **dict.fromkeys("\u2217\u204e\u2731", "*"),
    **dict.fromkeys("\u02b9\u02c8\u201b\u2032\u2035", "'"),
    **dict.fromkeys("\u02dc\u223c", "~"),
    "\u01c3": "!",
    "\u201a": ",",
    "\u0251": "a",
    "\u0261": "g",
    "\u1d04": "c",
    "\u1d0f": "o",
    "\u1d1c": "u",
    "\u1d20": "v",
    "\u1d21": "w",
    "\u1d22": "z",
    "\ua731": "s",
}
"""Letters of phonetic alphabets and marks that nobody needs in a name, and what each passes for."""
