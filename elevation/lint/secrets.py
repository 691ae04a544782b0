"""Guess whether a command line gives a secret away.

Three things look like one: a value after an option whose name says so, a text with the shape of a known kind of token,
and a user with a password in an address. A value that stands for another (`$PASSWORD`, `%PASSWORD%`, `<password>`), the
name of a file, a switch (`true`, `prompt`) or a small number is none. What is found is described and never repeated. Every expression here is bounded, so a long line costs no more
than its length.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import log2

from elevation.paths import extension

_ENDING = (
    r"(?:password|passwd|passphrase|passwort|kennwort|secret|token|pwd|(?:store|key)pass"
    r"|(?:api|access|account|private|secret|shared|encryption)[-_]?key|credentials?"
    r"|(?<![A-Za-z0-9])(?:pass|pw|psk|pin|sas))"
)
"""The end of a name that says that its value is secret."""
_ASSIGNED = re.compile(rf"{_ENDING}['\"]?\s?[=:]\s?['\"]?([^\s;,&'\"]+)", re.IGNORECASE)
_NAME_BEFORE = re.compile(r"[\w.-]*\Z")
_BARE = re.compile(rf"[\w.-]{{0,40}}?{_ENDING}", re.IGNORECASE)
_LAST = re.compile(rf"{_ENDING}\Z", re.IGNORECASE)
_OPTION = re.compile(rf"(?:--?|/|\+)[\w.-]{{0,40}}?{_ENDING}", re.IGNORECASE)
_SHORT = frozenset({"-p", "-P", "/p", "/P", "/rp", "/RP", "-pw", "-PW"})
_GUESSED = re.compile(
    r"(?:--?|/)(?:key|auth|authorization|license-?key|k|sig|signature|jwt|bearer|otp|hash-?key)", re.IGNORECASE
)
_SHORT_GLUED = re.compile(r"[-/][pP]:?(.+)")
_GLUING = frozenset(
    [
        "mysql",
        "mysqldump",
        "mysqladmin",
        "mariadb",
        "mariadb-dump",
        "7z",
        "7za",
        "7zz",
        "7zr",
        "rar",
        "unrar",
        "winrar",
        "sshpass",
        "sqlcmd",
        "osql",
        "bcp",
        "isql",
    ]
)
"""Programs that take a password right behind `-p`."""
_TAKING = frozenset(
    ["sshpass", "sqlcmd", "osql", "bcp", "isql", "psexec", "psexec64", "plink", "pscp", "psftp", "schtasks"]
)
"""Programs whose `-p`, `-pw` or `/rp` takes a password and nothing else."""
_OWN_OPTION = {
    "redis-cli": "-a",
    "ldapsearch": "-w",
    "ldapadd": "-w",
    "ldapmodify": "-w",
    "ldapdelete": "-w",
    "ldapwhoami": "-w",
    "ldappasswd": "-w",
}
"""Programs that take a password behind an option of their own."""
_NET = frozenset({"net", "net1"})
"""Programs that take a password by its place: `net use Z: \\\\server\\share PASSWORD`, `net user NAME PASSWORD`."""
_KNOWN = frozenset({*_GLUING, *_TAKING, *_OWN_OPTION, *_NET})
_LONGEST_NAME = 260
_END_OF_COMMAND = re.compile(r"[0-9]?[&|;<>]")
_NET_NAMES = {"use": 0, "user": 1}
"""How many words that are no option, device or share stand before the password, by the command."""
_DEVICE_OR_SHARE = re.compile(r"[A-Za-z]:|lpt[0-9]:?|\\\\.*", re.IGNORECASE)
_USER_OPTION = frozenset({"-u", "--user", "-U", "--proxy-user", "-E"})
_USER_AND_PASSWORD = re.compile(r"[^\s:/%\\]+[:%]([^\s/\\].*)")

_SHAPES = (
    ("an AWS access key", re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20}|github_pat_\w{20})")),
    ("a GitLab token", re.compile(r"\bglpat-[\w-]{16}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[\w-]{10}")),
    (
        "an API key",
        re.compile(
            r"\b(?:AIza[\w-]{35}|sk-[\w-]{20}|[sr]k_live_[A-Za-z0-9]{16}|npm_[A-Za-z0-9]{30}|pypi-[\w-]{30}|hvs\.[\w-]{20}|SG\.[\w-]{16,64}\.[\w-]{16})"
        ),
    ),
    ("a signed token", re.compile(r"(?<![\w-])eyJ[\w-]{8,400}\.[\w-]{8}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY")),
    (
        "a bearer token",
        re.compile(r"\b(?:bearer|basic)[\s:=]{1,3}(?=[\w.~+/=-]{0,100}[\d=._~+/-])[\w.~+/=-]{8}", re.IGNORECASE),
    ),
    (
        "a password in an address",
        re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{0,100}:(?![$%<{*])[^\s/@]{1,200}@", re.IGNORECASE),
    ),
)

_HINT = re.compile(
    r"pass|pwd|pw|secret|token|key|cred|psk|pin|sas|wort|auth|bearer|basic|sig|jwt|otp|://|net|ldap|redis|akia|asia|gh[pousr]_|github|glpat"
    r"|xox|aiza|[sr]k[-_]|npm_|pypi|hvs|SG\.|eyj|BEGIN|[-/]r?[pukE]|[!@#$^&*+?]",
    re.IGNORECASE,
)
"""Something of this is in every line in which anything is found; most lines have none and cost this one search."""

_STAND_IN = re.compile(
    r"\$\w+|\$\{.*|\$\(.*|\$env:.*|%.+%|<.*>?|\{\{?.*|\[.*\]|\*+|x{3,}|\.{3}|-|@.+|(?:env|file|fd):.*", re.IGNORECASE
)
_SWITCH = frozenset(
    [
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "none",
        "null",
        "prompt",
        "ask",
        "stdin",
        "interactive",
        "required",
        "optional",
        "enable",
        "enabled",
        "disable",
        "disabled",
        "default",
        "always",
        "never",
        "auto",
        "help",
        "?",
        "0",
        "1",
    ]
)
_FILE = re.compile(
    r"[A-Za-z]:\\.+|\.{0,2}/[^/]+/.+|\.{1,2}[\\/].+|\\\\.+|~/.+|[\w.-]+\.(?:txt|key|pem|pfx|p12|json|ya?ml|ini|conf|cfg|xml|dat|bin|env|crt|cer)",
    re.IGNORECASE,
)
_PLAIN_NUMBER = re.compile(r"\d{1,3}")
_DOTTED = re.compile(r"\w+(?:[.-]\w+)+")
_STRONG = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])(?=.*[!@#$^&*+?])[A-Za-z0-9!@#$^&*+?]{8,64}")
_SHORTEST_GUESS = 6
_LONG = 16
_ENTROPY = 3.0
_MANY_KINDS = 2


def secret_in(words: Sequence[str], file_name: str) -> str:
    """Describe what looks like a secret in the words of a command line; blank where nothing does."""
    return next(_found(words, file_name), "")


def _found(words: Sequence[str], file_name: str) -> Iterator[str]:
    whole = " ".join(words)
    program = _program(file_name)
    if program not in _KNOWN and _HINT.search(whole) is None:
        return
    for kind, shape in _SHAPES:
        if shape.search(whole):
            yield f"what looks like {kind}"
    if any(_STRONG.fullmatch(word) for word in words):
        yield "what looks like a password"
    for started, told in _runs(words, program):
        yield from _in_run(told, started)


def _runs(words: Sequence[str], program: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Give what the program is told, and what programs are told that its words start, also within one word."""
    yield program, words
    for line in (words, *(word.split() for word in words if " " in word)):
        yield from _started(line)


def _started(line: Iterable[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Give the programs that a line starts with what it tells each, up to the next one or to the end of a command."""
    program, told = "", list[str]()
    for word in line:
        name = _program(_base(word)) if len(word) <= _LONGEST_NAME else ""
        ends = _END_OF_COMMAND.match(word) is not None
        if not ends and name not in _KNOWN:
            told.append(word)
            continue
        if program:
            yield program, told
        program, told = "" if ends else name, []
    if program:
        yield program, told


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _in_run(words: Sequence[str], program: str) -> Iterator[str]:
    if program in _NET:
        yield from _told_net(words)
    for word, following in pairwise([*words, ""]):
        for assigned in _ASSIGNED.finditer(word):
            if _is_value(assigned[1]):
                yield f'a value for "{_name_of(assigned)}"'
        yield from _after_option(word, following, program)
        glued = _SHORT_GLUED.fullmatch(word)
        if glued and (program in _GLUING or ":" in word[:3]) and _looks_secret(glued[1], program in _GLUING):
            yield f'what looks like a password behind "{word[:2]}"'


def _told_net(words: Sequence[str]) -> Iterator[str]:
    """Find the password of `net use` and `net user`, which stands behind what it is for."""
    command = words[0].casefold() if words else ""
    before = _NET_NAMES.get(command)
    if before is None:
        return
    plain = [word for word in words[1:] if word[:1] != "/" and not _DEVICE_OR_SHARE.fullmatch(word)]
    if any(_is_value(word) for word in plain[before : before + 1]):
        yield f'what looks like a password after "net {command}"'


def _name_of(assigned: re.Match[str]) -> str:
    """Give the whole name to which a value is assigned, and nothing of the value."""
    text, at = assigned.string, assigned.start()
    before = _NAME_BEFORE.search(text, max(0, at - _LONG), at)
    begin = at if before is None else before.start()
    return text[begin : assigned.start(1)].strip(" \t=:'\"-")


def _after_option(word: str, following: str, program: str) -> Iterator[str]:
    if not following or (following[0] in "-/" and not _looks_secret(following.lstrip("-/"), known=False)):
        return
    if word == _OWN_OPTION.get(program) and _is_value(following):
        yield f'a value after "{word}"'
    elif _OPTION.fullmatch(word) or (_BARE.fullmatch(word) and _looks_secret(following, known=False)):
        if _is_value(following):
            yield f'a value after "{_option_in(word, program)}"'
    elif (word in _SHORT and _looks_secret(following, known=program in _TAKING)) or (
        _GUESSED.fullmatch(word) and len(following) >= _LONG and _is_random(following)
    ):
        yield f'what looks like a secret after "{word}"'
    elif word in _USER_OPTION and (both := _USER_AND_PASSWORD.fullmatch(following)) and _is_value(both[1]):
        yield f'a user with a password after "{word}"'


def _option_in(word: str, program: str) -> str:
    """Give the name of an option; of a word that may be a secret itself no more than the end that says what follows."""
    glued = program in _GLUING and _SHORT_GLUED.fullmatch(word)
    ending = None if _OPTION.fullmatch(word) and not glued else _LAST.search(word)
    return word if ending is None else ending[0]


def _is_value(text: str) -> bool:
    """Tell whether a text may be a secret itself, and not stand for one or say where it is."""
    return not (
        _STAND_IN.fullmatch(text)
        or text.casefold() in _SWITCH
        or _FILE.fullmatch(text)
        or _PLAIN_NUMBER.fullmatch(text)
    )


def _looks_secret(text: str, known: bool) -> bool:  # noqa: FBT001
    """Tell whether a text looks like a password by itself; where one is `known` to stand there, anything may be one."""
    if not _is_value(text):
        return False
    if known:
        return True
    if _DOTTED.fullmatch(text):
        return False
    if re.search(r"pass|secret|pwd|hunter|letmein|changeme|qwerty|geheim", text, re.IGNORECASE):
        return True
    kinds = [re.search(kind, text) is not None for kind in ("[a-z]", "[A-Z]", "[0-9]", "[!@#$^&*+?]")]
    return len(text) >= _SHORTEST_GUESS and sum(kinds) > _MANY_KINDS


def _is_random(text: str) -> bool:
    """Tell whether the characters of a text are as many and as mixed as those of a generated one."""
    counts = Counter(text)
    entropy = -sum(count / len(text) * log2(count / len(text)) for count in counts.values())
    return _is_value(text) and entropy >= _ENTROPY and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _program(file_name: str) -> str:
    last = extension(file_name)
    return (file_name.removesuffix(f".{last}") if last else file_name).casefold()
