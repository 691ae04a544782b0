"""The tables of the kinds that decide elevation, and of what all documents have."""

import re
from enum import Enum
from typing import Final

from elevation import rule_checks, texts
from elevation.lint import accepting
from elevation.words import (
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    ElevationType,
    FilterMode,
    GroupType,
    Platform,
    Validation,
)
from epmctl.documents.shapes import Choice, Choices, Each, Flag, Key, Labels, Nested, Shape, Text, Texts

NAME: Final = Text(blank=False, most=texts.MAX_NAME)
PEM: Final = Text(layout=True, blank=False)
DESCRIPTION: Final = Text(layout=True, null=True, most=texts.MAX_DESCRIPTION)
FACT: Final = Text(null=True, most=texts.MAX_FACT)
DURATION: Final = re.compile(r"P[0-9YMWDTHS.,:-]+")


class StatedScope(Enum):
    """The reporting scopes that a document can state; to report nothing it says `sendReportingData: false`."""

    DIAGNOSTIC = "DIAGNOSTIC"
    MANAGED = "MANAGED"
    ALL = "ALL"


METADATA: Final = Shape(
    title="Metadata",
    keys={
        "name": Key(NAME, "The name, unique among the objects of the kind; it cannot be changed.", required=True),
        "description": Key(DESCRIPTION, "Free text."),
        "scopeTags": Key(
            Texts(), "Scope tags: administrators see and change the object within theirs. Absent: those of its creator."
        ),
        "labels": Key(Labels(), "Labels, free for the author, for example `owner`."),
    },
)


def _accepting(title: str, checks: tuple[str, ...]) -> Key:
    return Key(
        Each(
            Shape(
                title=title,
                keys={
                    "ignore": Key(
                        Text(blank=False, words=checks),
                        f"The check whose finding is accepted, for example `{checks[0]}`.",
                        required=True,
                    ),
                    "reason": Key(
                        Text(blank=False, most=texts.MAX_FACT),
                        "Why it is accepted; this is kept and shown.",
                        required=True,
                    ),
                },
            )
        ),
        "Findings of lint about this that its author accepts, each check once, with the reason.",
    )


_LINT_OF_RULE_KEY: Final = _accepting("RuleLintIgnore", accepting.IN_RULES)
_LINT_KEY: Final = _accepting("LintIgnore", accepting.IN_SPECS)

INCLUDE: Final = Shape(
    title="Include",
    keys={
        "group": Key(NAME, "A group; `all-devices` and `all-users` always exist.", required=True),
        "filter": Key(Text(blank=False), 'Narrows the group by attributes of the device, for example `os = "linux"`.'),
        "filterMode": Key(
            Choice(FilterMode, FilterMode.INCLUDE), "Whether devices that the filter matches are in or out."
        ),
    },
    only_with=(("filterMode", "filter"),),
)

EXCLUDE: Final = Shape(title="Exclude", keys={"group": Key(NAME, "A group.", required=True)})

ASSIGNMENTS: Final = Shape(
    title="Assignments",
    keys={
        "include": Key(Each(INCLUDE), "Groups that get the policy."),
        "exclude": Key(Each(EXCLUDE), "Groups that do not get the policy, whatever includes them."),
    },
)
_ASSIGNMENTS_KEY: Final = Key(Nested(shape=ASSIGNMENTS), "Who gets the policy. Without includes: nobody.")

SETTINGS_POLICY: Final = Shape(
    title="ElevationSettingsPolicySpec",
    keys={
        "enabled": Key(Flag(default=True), "Whether elevation is managed; false switches it off."),
        "defaultResponse": Key(
            Choice(DefaultResponse, DefaultResponse.NOT_CONFIGURED), "What holds where no rule recognises the file."
        ),
        "validations": Key(
            Choices(Validation), "What users owe where the default response is USER_CONFIRMED; not with any other."
        ),
        "sendReportingData": Key(Flag(default=True), "Whether devices report."),
        "reportingScope": Key(
            Choice(StatedScope), "What devices report; ALL if absent. Only with `sendReportingData`."
        ),
        "staleAfter": Key(
            Text(null=True, form=DURATION),
            "How long policy counts that is not confirmed, as an ISO 8601 duration such as `P30D` (the default); "
            "null: for ever.",
        ),
        "lint": _LINT_KEY,
        "assignments": _ASSIGNMENTS_KEY,
    },
)

CERTIFICATE: Final = Shape(
    title="CertificateCondition",
    keys={
        "type": Key(
            Choice(CertificateType),
            "Whether the certificate is the publisher's or that of an issuer above.",
            required=True,
        ),
        "reusable": Key(NAME, "Name of a ReusableCertificate."),
        "pem": Key(PEM, "The certificate itself, PEM, exactly one."),
    },
    one_of=("reusable", "pem"),
)

DETECTION: Final = Shape(
    title="Detection",
    keys={
        "fileName": Key(
            Text(null=True, most=rule_checks.MAX_FILE_NAME),
            "Name of the file; `*` and `?` stand for any characters, one character.",
        ),
        "filePath": Key(Text(null=True, most=rule_checks.MAX_FILE_PATH), "Folder of the file, absolute."),
        "fileHash": Key(Text(null=True), "SHA-256 of the file, 64 hexadecimal digits."),
        "certificate": Key(Nested(shape=CERTIFICATE, null=True), "Who has to have signed the file."),
        "minimumVersion": Key(Text(null=True), "The oldest version of the file, one to four dotted numbers in quotes."),
        "fileDescription": Key(FACT, "Description in the file's metadata."),
        "productName": Key(FACT, "Name of the product in the file's metadata."),
        "internalName": Key(FACT, "Internal name in the file's metadata."),
    },
)

RULE: Final = Shape(
    title="Rule",
    keys={
        "name": Key(NAME, "The name, unique in the policy.", required=True),
        "description": Key(DESCRIPTION, "Free text."),
        "elevationType": Key(
            Choice(ElevationType, ElevationType.USER_CONFIRMED), "What becomes of an attempt that the rule recognises."
        ),
        "validations": Key(Choices(Validation), "What the user owes; only with USER_CONFIRMED and CURRENT_USER."),
        "childProcesses": Key(
            Choice(ChildProcesses),
            "What holds for processes that the file starts; REQUIRE_RULE if absent, and LINUX has to state it.",
        ),
        "detection": Key(
            Nested(shape=DETECTION), "What recognises the file; every key that is filled has to hold.", required=True
        ),
        "arguments": Key(
            Texts(item=Text(layout=True, most=rule_checks.MAX_COMMAND_LINE), most=rule_checks.MAX_COMMAND_LINES),
            "Command lines that are allowed. Absent: any; `[]`: none but the empty one.",
        ),
        "lint": _LINT_OF_RULE_KEY,
    },
)

RULES_POLICY: Final = Shape(
    title="ElevationRulesPolicySpec",
    keys={
        "platform": Key(
            Choice(Platform), "Platform whose files the rules recognise; it cannot be changed.", required=True
        ),
        "rules": Key(Each(RULE), "The rules; their order has no meaning.", required=True),
        "lint": _LINT_KEY,
        "assignments": _ASSIGNMENTS_KEY,
    },
)

REUSABLE_CERTIFICATE: Final = Shape(
    title="ReusableCertificateSpec",
    keys={"pem": Key(PEM, "The certificate, PEM, exactly one.", required=True), "lint": _LINT_KEY},
)

GROUP: Final = Shape(
    title="GroupSpec",
    keys={
        "type": Key(Choice(GroupType), "Whether devices or users are in it.", required=True),
        "members": Key(Texts(), "Names of devices or of users."),
        "groups": Key(Texts(), "Groups whose members are in it too."),
        "filter": Key(
            Text(blank=False), 'Finds devices by their attributes, for example `tag = "finance"`; instead of members.'
        ),
    },
    apart=(("members", "filter"), ("groups", "filter")),
)
