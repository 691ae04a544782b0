"""What lint finds in the command lines that a rule allows."""

from collections.abc import Iterator

from elevation import commandline
from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity, Subject
from elevation.lint.secrets import secret_in
from elevation.model import Platform, Rule


def lint_arguments(rule: Rule, platform: Platform, path: str, subject: Subject) -> Iterator[Finding]:
    """Look at the command lines of a rule that stands at `path`; no message repeats what may be a secret."""
    if rule.arguments is None:
        return
    lines = [_words(line, platform) for line in rule.arguments]
    if not any(lines):
        message = "arguments allow no command line, so the program starts without arguments or not at all"
        yield found("L16", Severity.WARNING, subject, path=f"{path}.arguments", message=message)
    first: dict[tuple[str, ...], int] = {}
    for number, words in enumerate(lines):
        place = f"{path}.arguments[{number}]"
        if secret := secret_in(words, rule.detection.file_name):
            yield found("L15", Severity.ERROR, subject, path=place, message=f"the command line holds {secret}")
        earlier = first.setdefault(tuple(word.casefold() for word in words), number)
        if lines[earlier] != words:
            message = f"the command line differs from arguments[{earlier}] by case alone"
            yield found("L16", Severity.WARNING, subject, path=place, message=message)


def _words(line: str, platform: Platform) -> tuple[str, ...]:
    """Split a command line as the decision does; one that cannot be split is one word, which `checks` refuses."""
    try:
        return commandline.split(line, platform)
    except ValueError:
        return (line,)
