"""Check documents before they count, and say all that is wrong with them at once.

Every check returns problems; an empty list means the document is good. A problem names its place in the spelling of
the document, below `spec` (`rules[3].detection.fileHash`, `name`), and the remedy. What needs other documents (groups
and reusable certificates) is checked by `check_references`. A certificate that has expired is no problem: the document
loads, and the rule never matches.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from elevation import filters, texts
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    DefaultResponse,
    Group,
    GroupType,
    Problem,
    ReportingScope,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
)
from elevation.rule_checks import check_lint, check_rule

MAX_RULES = 100
"""Rules of one policy, where an installation says nothing else."""
MOST_RULES = 1000
"""What an installation may allow, and agents accept."""
MAX_TARGETS = 1000
MAX_NESTED = 100
BUILT_IN_GROUPS: Mapping[str, GroupType] = {ALL_DEVICES: GroupType.DEVICE, ALL_USERS: GroupType.USER}


def check_settings_policy(policy: SettingsPolicy) -> list[Problem]:
    """Check a settings policy by itself."""
    return [
        *texts.check_name("name", policy.name),
        *texts.check_description("description", policy.description),
        *_check_response(policy),
        *_check_reporting(policy),
        *_check_stale_after(policy.stale_after),
        *check_lint("lint", policy.lint),
        *_check_assignments(policy.assignments),
    ]


def check_rules_policy(policy: RulesPolicy, *, most_rules: int = MAX_RULES) -> list[Problem]:
    """Check a rules policy and all its rules by themselves; it holds at most `most_rules`."""
    problems = [
        *texts.check_name("name", policy.name),
        *texts.check_description("description", policy.description),
        *_check_rule_names(policy, most_rules),
        *check_lint("lint", policy.lint),
    ]
    for number, rule in enumerate(policy.rules):
        problems.extend(check_rule(f"rules[{number}]", rule, policy.platform))
    return [*problems, *_check_assignments(policy.assignments)]


def check_reusable_certificate(certificate: ReusableCertificate) -> list[Problem]:
    """Check a reusable certificate; its PEM was checked when it was read."""
    return [
        *texts.check_name("name", certificate.name),
        *texts.check_description("description", certificate.description),
        *check_lint("lint", certificate.lint),
    ]


def check_group(group: Group) -> list[Problem]:
    """Check a group of devices or users; whether what it nests may be nested is for `check_nesting`."""
    problems = [*texts.check_name("name", group.name), *texts.check_description("description", group.description)]
    if group.name in BUILT_IN_GROUPS:
        problems.append(Problem("name", f'"{group.name}" always exists; choose another name'))
    for number, member in enumerate(group.members):
        problems.extend(texts.check_name(f"members[{number}]", member))
    problems.extend(_check_nested_names(group))
    if group.filter:
        if group.members or group.groups:
            problems.append(Problem("filter", "a group has members and groups, or a filter; remove one of the two"))
        if group.type is GroupType.USER:
            problems.append(Problem("filter", "filters find devices; list the members of a group of users"))
        problems.extend(_check_filter("filter", group.filter))
    return problems


def check_references(
    policy: SettingsPolicy | RulesPolicy, groups: Mapping[str, GroupType], certificates: Collection[str]
) -> list[Problem]:
    """Check what a policy names in other documents, and that it mixes no devices with users.

    `groups` are the groups that exist, all-devices and all-users excepted; `certificates` the reusable ones.
    """
    problems = [*_check_groups(policy.assignments, {**groups, **BUILT_IN_GROUPS})]
    if isinstance(policy, RulesPolicy):
        for number, rule in enumerate(policy.rules):
            condition = rule.detection.certificate
            if condition is not None and condition.reusable and condition.reusable not in certificates:
                path = f"rules[{number}].detection.certificate.reusable"
                message = f'reusable certificate "{condition.reusable}" does not exist; create it or correct the name'
                problems.append(Problem(path, message))
    return problems


def _check_response(policy: SettingsPolicy) -> Iterator[Problem]:
    if policy.validations and policy.default_response is not DefaultResponse.USER_CONFIRMED:
        yield Problem("validations", "only go with defaultResponse USER_CONFIRMED; remove them or change the response")


def _check_reporting(policy: SettingsPolicy) -> Iterator[Problem]:
    if policy.reporting_scope is ReportingScope.NOTHING:
        yield Problem("reportingScope", "NOTHING is no scope; write sendReportingData: false instead")
    elif policy.reporting_scope is not None and not policy.send_reporting_data:
        yield Problem("reportingScope", "only goes with sendReportingData: true; remove it or send data")


def _check_stale_after(stale_after: timedelta | None) -> Iterator[Problem]:
    if stale_after is not None and stale_after <= timedelta(0):
        yield Problem("staleAfter", "has to be longer than nothing; write null for a policy that never gets stale")


def _check_rule_names(policy: RulesPolicy, most_rules: int) -> Iterator[Problem]:
    if len(policy.rules) > most_rules:
        message = f"has {len(policy.rules)} rules; at most {most_rules} go into one policy, so split it"
        yield Problem("rules", message, "L24")
    first: dict[str, int] = {}
    for number, rule in enumerate(policy.rules):
        earlier = first.setdefault(rule.name.casefold(), number)
        if earlier != number and rule.name:
            message = f'"{rule.name}" is the name of rules[{earlier}] too; rename one'
            yield Problem(f"rules[{number}].name", message, "L24")


def check_nesting(group: Group, others: Mapping[str, Group]) -> list[Problem]:
    """Check the groups that a group nests: each is there, of the same type, and nests none.

    `others` has those of them that exist, as they will be.
    """
    problems: list[Problem] = []
    for number, name in enumerate(group.groups):
        if (
            name != group.name
            and name not in BUILT_IN_GROUPS
            and (message := _not_nestable(group, others.get(name), name))
        ):
            problems.append(Problem(f"groups[{number}]", message))
    return problems


def _not_nestable(group: Group, nested: Group | None, name: str) -> str:
    """Say why the group cannot nest the other one; blank if it can."""
    if nested is None:
        return f'there is no group "{name}"; make it first or together with this one, or correct the name'
    if nested.type is not group.type:
        ours, theirs = group.type.value.lower(), nested.type.value.lower()
        return f'"{name}" is a group of {theirs}s; a group of {ours}s nests groups of {ours}s alone'
    if group.name in nested.groups:
        return f'"{name}" and "{group.name}" nest each other, which has no end; take one out of the other'
    if nested.groups:
        inner = ", ".join(f'"{inner}"' for inner in nested.groups)
        return f'"{name}" itself nests {inner}, and groups nest one level deep; name those here instead'
    return ""


def _check_nested_names(group: Group) -> Iterator[Problem]:
    if len(group.groups) > MAX_NESTED:
        yield Problem("groups", f"has {len(group.groups)} entries; at most {MAX_NESTED} are allowed")
        return
    seen: set[str] = set()
    for number, name in enumerate(group.groups):
        at = f"groups[{number}]"
        yield from texts.check_name(at, name)
        if name == group.name:
            yield Problem(at, "a group does not nest itself; remove it")
        elif name in BUILT_IN_GROUPS:
            yield Problem(at, f'"{name}" holds everything there is; assign policies to it instead of nesting it')
        elif name in seen:
            yield Problem(at, f'"{name}" stands twice; remove the repetition')
        seen.add(name)


def _targets(assignments: Assignments) -> Iterator[tuple[str, str]]:
    """Walk over all groups that an assignment names, with the place of each."""
    for number, include in enumerate(assignments.include):
        yield f"assignments.include[{number}].group", include.group
    for number, exclude in enumerate(assignments.exclude):
        yield f"assignments.exclude[{number}].group", exclude.group


def _check_assignments(assignments: Assignments) -> Iterator[Problem]:
    for field, count in (("include", len(assignments.include)), ("exclude", len(assignments.exclude))):
        if count > MAX_TARGETS:
            yield Problem(f"assignments.{field}", f"names {count} groups; at most {MAX_TARGETS} are allowed")
    for path, group in _targets(assignments):
        yield from texts.check_name(path, group)
    for number, include in enumerate(assignments.include):
        if include.filter:
            yield from _check_filter(f"assignments.include[{number}].filter", include.filter)


def _check_filter(path: str, text: str) -> Iterator[Problem]:
    try:
        filters.compile_filter(text)
    except filters.FilterError as error:
        yield Problem(path, str(error))


def _check_groups(assignments: Assignments, groups: Mapping[str, GroupType]) -> Iterator[Problem]:
    for path, group in _targets(assignments):
        if group and group not in groups:
            yield Problem(path, f'group "{group}" does not exist; create it or correct the name')
    included = Counter(groups[target.group] for target in assignments.include if target.group in groups)
    for number, target in enumerate(assignments.exclude):
        kind = groups.get(target.group)
        other = GroupType.USER if kind is GroupType.DEVICE else GroupType.DEVICE
        if kind is not None and included[other]:
            yield Problem(
                f"assignments.exclude[{number}].group",
                f'"{target.group}" holds {kind.value.lower()}s and an include holds {other.value.lower()}s, which does '
                "not mix; exclude a group of the same kind or narrow the include by a filter",
                "L29",
            )
