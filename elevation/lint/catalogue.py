"""What there is to find: every check of lint with how bad it is, why it matters and how to mend it.

The numbers are those of the reference that the product was built from; L31, D22 and D23 are decisions without a number
there. Checks that `elevation.checks` makes are here too: what they find is an error and saved by nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from elevation.lint.findings import Finding, Severity, Subject

_IGNORABLE_ERRORS = frozenset({"L15", "D23"})
_INFO, _WARNING, _HIGH, _ERROR = Severity.INFO, Severity.WARNING, Severity.HIGH, Severity.ERROR


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that lint looks for."""

    id: str
    title: str
    severities: tuple[Severity, ...]
    """Each that a finding of it may have."""
    why: str
    remedy: str
    why_in_part: str = ""
    """Why it is worth knowing where it holds for only some of those whom a policy reaches; such a finding is an INFO."""
    remedy_in_part: str = ""

    @property
    def ignorable(self) -> bool:
        """Tell whether an author may set it aside; an error only where the check guesses or the site may know better."""
        return self.severities != (_ERROR,) or self.id in _IGNORABLE_ERRORS


_CHECKS: Final = (
    Check(
        "L1",
        "a rule with neither hash nor certificate",
        (_ERROR,),
        why="A name alone recognises whatever a user calls by that name.",
        remedy="Give the rule a file hash or a certificate; on LINUX a filePath that only root can write will do.",
    ),
    Check(
        "L2",
        "an AUTOMATIC rule without a hash",
        (_ERROR,),
        why="An automatic elevation asks nobody, so it has to know the very file.",
        remedy="Give the rule the hash of the file, or choose another elevation type.",
    ),
    Check(
        "L3",
        "an AUTOMATIC rule with a wildcard",
        (_ERROR,),
        why="An automatic elevation asks nobody, so nothing about the file may be left open.",
        remedy="Write the name and the folder out.",
    ),
    Check(
        "L4",
        "a certificate with nothing but a file name beside it",
        (_WARNING,),
        why="Users rename files, so the rule takes everything that the signer ever signed for this one file.",
        remedy="Add productName, internalName or fileDescription, which the signature covers, a hash, or a folder that standard users cannot write.",
    ),
    Check(
        "L5",
        "a certificate authority with nothing beside it",
        (_HIGH, _WARNING),
        why="Everything that anybody signs with a certificate of this authority is elevated under that name.",
        remedy="Use the certificate of the publisher, or add productName, internalName, fileDescription or a hash.",
    ),
    Check(
        "L6",
        "a certificate that is not valid, or not for long",
        (
            _HIGH,
            _WARNING,
        ),
        why="A rule never matches by a certificate that is not valid at the time: what it allows stops working, and what it denies is denied no more.",
        remedy="Put the signer's current certificate in its place, or take the rules that name it away.",
    ),
    Check(
        "L7",
        "a rule without a folder",
        (
            _HIGH,
            _WARNING,
        ),
        why="The file counts wherever it lies, also where users put it themselves, beside libraries of their own.",
        remedy="Give filePath a folder that standard users cannot write.",
    ),
    Check(
        "L8",
        "a folder that standard users can write",
        (_HIGH,),
        why="Users put files of their own there, and libraries that an elevated program loads from its folder.",
        remedy="Install the program where only administrators write, and name that folder.",
    ),
    Check(
        "L9",
        "a network path or a mapped drive",
        (
            _ERROR,
            _WARNING,
        ),
        why="Files that are not on a local disk are never elevated, and a share belongs to whoever may write it.",
        remedy="Name a folder on a local drive.",
    ),
    Check(
        "L10",
        "a wildcard that takes nearly every name",
        (_HIGH, _WARNING),
        why="Such a name takes in files that nobody thought of when the rule was written.",
        remedy="Write out what the names have in common, at least three characters, or one rule for each file.",
    ),
    Check(
        "L11",
        "a wildcard beside a hash",
        (_INFO,),
        why="The hash settles which file it is, so the wildcard says nothing and misleads readers.",
        remedy="Write the name of the file out.",
    ),
    Check(
        "L12",
        "child processes that are all elevated",
        (
            _HIGH,
            _WARNING,
        ),
        why="Whatever the program starts is elevated without being looked at, and Deny rules do not count for it.",
        remedy="Say REQUIRE_RULE, and write rules for the children that need elevation.",
    ),
    Check(
        "L13",
        "a program that runs whatever it is told, with any arguments",
        (_HIGH,),
        why="Shells, interpreters, browsers and the like run any code, so one rule for them elevates everything.",
        remedy="List the command lines that are needed in arguments, or write a rule for the script or program itself.",
    ),
    Check(
        "L14",
        "elevation as the current user",
        (_WARNING,),
        why="The elevated program runs within the user's own profile, whose files and settings can lead it astray.",
        remedy="Use USER_CONFIRMED; where the program needs the profile, ignore this check and say why.",
    ),
    Check(
        "L15",
        "something like a password in a command line",
        (_ERROR,),
        why="Policies are read by many people, are sent to devices, and are kept as revisions for good.",
        remedy="Take the secret out of the command line and change it; if it is none, ignore this check and say why.",
    ),
    Check(
        "L16",
        "command lines that differ by case alone, or none at all",
        (_WARNING,),
        why="Arguments compare by case, and an empty list allows a start without arguments alone; either is often a slip.",
        remedy="Remove the spelling that is not meant; write the command lines that are meant, or leave arguments out to allow any.",
    ),
    Check(
        "L17",
        "a risky program after nothing but a click",
        (_WARNING,),
        why="Whoever sits at the keyboard, or a program that clicks for them, gets all that the program can do.",
        remedy="Ask for BUSINESS_JUSTIFICATION or AUTHENTICATION.",
    ),
    Check(
        "L18",
        "a default response that confirms without a question",
        (_HIGH,),
        why="Every file without a rule is elevated after one click.",
        remedy="Use DENY or SUPPORT_APPROVED, or ask for BUSINESS_JUSTIFICATION or AUTHENTICATION.",
    ),
    Check(
        "L19",
        "a rule that another one overrules",
        (_WARNING, _INFO),
        why="Another rule decides for every file that this one recognises, so it does nothing and misleads readers.",
        remedy="Remove the rule, or narrow the other one.",
        why_in_part="Where both policies apply, the other rule decides; everywhere else this one counts.",
        remedy_in_part="Leave it as it is if the other rule is a meant exception; if not, narrow the other rule or keep the assignments apart by excludes.",
    ),
    Check(
        "L20",
        "two rules of one rank that answer differently",
        (_WARNING,),
        why="Where both apply neither is more specific, so the elevation type decides, which is rarely meant.",
        remedy="Make the one that is meant to decide more specific, give both the same elevation type, or keep their assignments apart by excludes.",
    ),
    Check(
        "L21",
        "a weak rule for users before a strong one for devices",
        (_WARNING,),
        why="Where both apply, a rule that reaches its users goes before one with a hash that reaches their devices.",
        remedy="Assign both alike, or give the rule for users a hash too; leave it as it is if those users are a meant exception.",
    ),
    Check(
        "L22",
        "a file name without its extension",
        (_ERROR,),
        why="On WINDOWS only exe, msi and ps1 files are elevated, each by its own host.",
        remedy="Write the file name with the extension exe, msi or ps1.",
    ),
    Check(
        "L23",
        "a minimum version that is none",
        (_ERROR,),
        why="A version that cannot be compared never matches.",
        remedy="Give one to four dotted numbers, for example 1.80.",
    ),
    Check(
        "L24",
        "a name that two rules have, or too many rules",
        (_ERROR, _WARNING),
        why="Reports and decisions name rules, and one long list is read by nobody.",
        remedy="Rename one of the rules, or split the policy.",
    ),
    Check(
        "L25",
        "child processes of a Deny rule",
        (_INFO,),
        why="A file that is denied starts no children, so the setting does nothing.",
        remedy="Remove childProcesses from the rule.",
    ),
    Check(
        "L26",
        "rules for those who have elevation switched off",
        (_WARNING, _INFO),
        why="Without a settings policy that enables elevation the rules do nothing there.",
        remedy="Assign a settings policy with enabled: true to the same groups.",
        why_in_part="The rules count only for those whom a settings policy that enables elevation reaches, too.",
        remedy_in_part="Leave it as it is if the rest is meant to go without; if not, assign a settings policy with enabled: true to all of them.",
    ),
    Check(
        "L27",
        "settings policies that disagree and meet",
        (_WARNING,),
        why="Where they meet, a fallback counts that neither of them says.",
        remedy="Make the values equal, or keep the assignments apart by excludes.",
    ),
    Check(
        "L28",
        "a rule that nobody uses, or a file that is approved again and again",
        (_INFO,),
        why="A rule that decides nothing allows what nobody needs, and hides the rules that count.",
        remedy="Remove the rule; if it is kept for a rare case or as a barrier, ignore this check and say so.",
    ),
    Check(
        "L29",
        "users and devices mixed in one assignment",
        (_ERROR,),
        why="Groups of users and of devices cannot be taken from one another.",
        remedy="Exclude a group of the same kind, or narrow the include by a filter.",
    ),
    Check(
        "L30",
        "a script without a signature where users can write",
        (_HIGH, _WARNING),
        why="Nothing but its hash vouches for the script, and users write beside it what it loads.",
        remedy="Sign the script and use the certificate, or give filePath a folder that standard users cannot write.",
    ),
    Check(
        "L31",
        "a group that there is not",
        (_HIGH,),
        why="A policy that excludes it reaches nobody at all, a Deny policy too, and an include of it brings nobody to the policy.",
        remedy="Take the group out of the assignments, or make it again.",
    ),
    Check(
        "D22",
        "a policy that never gets stale",
        (_WARNING,),
        why="A device that is kept away from the server goes on under the old policy for good.",
        remedy="Give staleAfter a period, for example P30D.",
    ),
    Check(
        "D23",
        "what devices say of themselves decides who is allowed",
        (_ERROR,),
        why="An agent may report any version or architecture, so a device could give itself the policy.",
        remedy="Assign by tag, ownership, name or listed groups; a plain os = is always allowed.",
    ),
)
CATALOGUE: Mapping[str, Check] = {check.id: check for check in _CHECKS}
"""Every check under its id, in the order in which people read them."""


def found(
    check: str, severity: Severity, subject: Subject, *, path: str, message: str, related: tuple[Subject, ...] = ()
) -> Finding:
    """Make a finding; why and remedy are those of the check, for an INFO those of what holds in part."""
    known = CATALOGUE[check]
    in_part = severity is Severity.INFO and known.why_in_part != ""
    return Finding(
        check=check,
        severity=severity,
        subject=subject,
        path=path,
        message=message,
        why=known.why_in_part if in_part else known.why,
        remedy=known.remedy_in_part if in_part else known.remedy,
        related=related,
    )
