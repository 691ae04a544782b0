"""Check one rule by itself, whatever policy it is in.

Limits are ours where the reference publishes none: names 128 characters, file names 255, folders 4096, other facts
1024, a command line 8192, and 500 command lines a rule.
"""

import re
from collections.abc import Iterator, Sequence

from elevation import commandline, texts
from elevation.model import (
    CertificateCondition,
    Detection,
    ElevationType,
    LintIgnore,
    Platform,
    Problem,
    Rule,
    Validation,
)
from elevation.paths import extension, is_network_path, is_sha256, separator
from elevation.versions import parse_version
from elevation.wildcards import has_wildcard

MAX_FILE_NAME = 255
MAX_FILE_PATH = 4096
MAX_COMMAND_LINE = 8192
MAX_COMMAND_LINES = 500
WINDOWS_EXTENSIONS = frozenset({"exe", "msi", "ps1"})

_WINDOWS_FORBIDDEN = re.compile(r'[<>:"|]')
LINT_CHECK = re.compile(r"L[0-9]{1,3}|D2[23]")


def check_rule(path: str, rule: Rule, platform: Platform) -> Iterator[Problem]:
    """Find all that is wrong with a rule for a platform; `path` is the place of the rule."""
    yield from texts.check_name(f"{path}.name", rule.name)
    yield from texts.check_description(f"{path}.description", rule.description)
    yield from _check_validations(f"{path}.validations", rule)
    yield from _check_child_processes(f"{path}.childProcesses", rule, platform)
    yield from _check_detection(f"{path}.detection", rule, platform)
    yield from _check_arguments(f"{path}.arguments", rule, platform)
    yield from check_lint(f"{path}.lint", rule.lint)


def check_lint(path: str, lint: Sequence[LintIgnore]) -> Iterator[Problem]:
    """Find what is wrong with the findings that an author accepts; `path` is the place of their list."""
    for number, ignored in enumerate(lint):
        if LINT_CHECK.fullmatch(ignored.check) is None:
            yield Problem(f"{path}[{number}].ignore", "is not the name of a check, for example L7")
        yield from texts.check_text(f"{path}[{number}].reason", ignored.reason, texts.MAX_FACT)
        if not ignored.reason.strip():
            yield Problem(f"{path}[{number}].reason", "is missing; say why the finding is accepted")


def _check_validations(path: str, rule: Rule) -> Iterator[Problem]:
    if rule.elevation_type is ElevationType.USER_CONFIRMED:
        return
    if rule.elevation_type is ElevationType.CURRENT_USER:
        if rule.validations - {Validation.AUTHENTICATION}:
            yield Problem(path, "CURRENT_USER always asks for AUTHENTICATION and nothing else; remove the others")
    elif rule.validations:
        yield Problem(path, f"only go with USER_CONFIRMED, not with {rule.elevation_type.value}; remove them")


def _check_child_processes(path: str, rule: Rule, platform: Platform) -> Iterator[Problem]:
    stated = rule.child_processes is not None or rule.elevation_type is ElevationType.DENY
    if platform is Platform.LINUX and not stated:
        yield Problem(path, "is missing; a rule on LINUX has to say REQUIRE_RULE, ALLOW or DENY")


def _check_detection(path: str, rule: Rule, platform: Platform) -> Iterator[Problem]:
    detection = rule.detection
    yield from _check_file_name(f"{path}.fileName", detection.file_name, platform)
    if detection.file_path:
        yield from _check_file_path(f"{path}.filePath", detection.file_path, platform)
    yield from _check_hash(f"{path}.fileHash", rule, platform)
    if detection.certificate is not None:
        yield from _check_certificate(f"{path}.certificate", detection.certificate, platform)
    yield from _check_facts(path, detection)
    if rule.elevation_type is ElevationType.AUTOMATIC:
        for field, text in (("fileName", detection.file_name), ("filePath", detection.file_path)):
            if has_wildcard(text):
                yield Problem(
                    f"{path}.{field}", "has a wildcard, which an AUTOMATIC rule may not have; write it out", "L3"
                )


def _check_file_name(path: str, name: str, platform: Platform) -> Iterator[Problem]:
    if not name.strip():
        yield Problem(path, "is missing; every rule names the file, for example setup.exe")
        return
    yield from texts.check_text(path, name, MAX_FILE_NAME)
    yield from _check_stars(path, name)
    if separator(platform) in name or "/" in name or name in {".", ".."}:
        yield Problem(path, "is not the name of a file; put the folder into filePath")
    last = extension(name)
    if has_wildcard(last):
        yield Problem(path, "has a wildcard in the extension; write the extension out", "L22")
    if platform is not Platform.WINDOWS:
        return
    if last.casefold() not in WINDOWS_EXTENSIONS:
        yield Problem(path, "needs the extension exe, msi or ps1 on WINDOWS", "L22")
    if _WINDOWS_FORBIDDEN.search(name):
        yield Problem(path, 'holds one of < > : " |, which no file on WINDOWS has; remove it')


def _check_file_path(path: str, folder: str, platform: Platform) -> Iterator[Problem]:
    yield from texts.check_text(path, folder, MAX_FILE_PATH)
    yield from _check_stars(path, folder)
    if platform is Platform.WINDOWS:
        yield from _check_windows_folder(path, folder)
    elif not folder.startswith("/"):
        yield Problem(path, "is not absolute; start it with /")
    elif _has_odd_names(folder[1:].removesuffix("/"), "/"):
        yield Problem(path, "is not canonical; remove doubled separators, . and ..")


def _check_windows_folder(path: str, folder: str) -> Iterator[Problem]:
    if is_network_path(folder):
        yield Problem(path, "is a network or device path; only folders on local drives are allowed", "L9")
    elif "/" in folder:
        yield Problem(path, "holds a /; separate folders by \\ on WINDOWS")
    elif re.match(r"[A-Za-z]:\\", folder) is None:
        yield Problem(path, "is not absolute; start it with a drive, for example C:\\")
    elif _has_odd_names(folder[3:].removesuffix("\\"), "\\"):
        yield Problem(path, "is not canonical; remove doubled separators, . and .., and dots or blanks after a name")
    elif _WINDOWS_FORBIDDEN.search(folder[2:]):
        yield Problem(path, 'holds one of < > : " |, which no folder on WINDOWS has; remove it')


def _has_odd_names(folder: str, mark: str) -> bool:
    """Tell whether a folder below its root has names that no canonical path has."""
    if not folder:
        return False
    ends = (".", " ") if mark == "\\" else ()
    return any(name in {"", ".", ".."} or name.endswith(ends) for name in folder.split(mark))


def _check_stars(path: str, text: str) -> Iterator[Problem]:
    if "**" in text:
        yield Problem(path, 'holds "**", which means nothing more than "*"; write one star')


def _check_hash(path: str, rule: Rule, platform: Platform) -> Iterator[Problem]:
    detection = rule.detection
    if detection.file_hash:
        if is_sha256(detection.file_hash) is None:
            yield Problem(path, "is not a SHA-256; give 64 hexadecimal digits")
    elif rule.elevation_type is ElevationType.AUTOMATIC:
        yield Problem(path, "is missing; an AUTOMATIC rule needs a file hash", "L2")
    elif platform is Platform.LINUX:
        if not detection.file_path:
            message = "is missing; a rule on LINUX needs a file hash or a filePath that only root can write"
            yield Problem(path, message, "L1")
    elif detection.certificate is None:
        yield Problem(path, "is missing; a rule needs a file hash or a certificate", "L1")


def _check_certificate(path: str, condition: CertificateCondition, platform: Platform) -> Iterator[Problem]:
    if platform is Platform.LINUX:
        yield Problem(path, "files on LINUX carry no certificates; use fileHash or filePath")
        return
    if condition.type is None:
        yield Problem(f"{path}.type", "is missing; say PUBLISHER or CERTIFICATE_AUTHORITY")
    if condition.certificate is None and not condition.reusable:
        yield Problem(path, "names no certificate; give pem or reusable")
    elif condition.certificate is not None and condition.reusable:
        yield Problem(path, "names two certificates; give either pem or reusable")
    yield from texts.check_text(f"{path}.reusable", condition.reusable, texts.MAX_NAME)


def _check_facts(path: str, detection: Detection) -> Iterator[Problem]:
    if detection.minimum_version and parse_version(detection.minimum_version) is None:
        message = "is not a version; give one to four dotted numbers, for example 1.80"
        yield Problem(f"{path}.minimumVersion", message, "L23")
    for field, text in (
        ("fileDescription", detection.file_description),
        ("productName", detection.product_name),
        ("internalName", detection.internal_name),
    ):
        yield from texts.check_text(f"{path}.{field}", text, texts.MAX_FACT)


def _check_arguments(path: str, rule: Rule, platform: Platform) -> Iterator[Problem]:
    if rule.arguments is None:
        return
    if rule.elevation_type is ElevationType.DENY:
        yield Problem(path, "do not go with DENY, which denies whatever the arguments are; remove them")
    if len(rule.arguments) > MAX_COMMAND_LINES:
        yield Problem(path, f"has {len(rule.arguments)} command lines; at most {MAX_COMMAND_LINES} are allowed")
    for number, line in enumerate(rule.arguments):
        place = f"{path}[{number}]"
        yield from texts.check_text(place, line.replace("\t", " "), MAX_COMMAND_LINE)  # a tab separates like a blank
        try:
            commandline.split(line, platform)
        except ValueError as error:
            yield Problem(place, f"cannot be split into arguments ({error}); close the quote or escape it")
