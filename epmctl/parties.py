"""Name the objects that have part in a finding, also those that nobody may see."""

from typing import Final

from epmctl.output import show

UNSEEN: Final = "an object that you may not see"


def named(kind: str, name: str, rule: str = "") -> str:
    """Name an object, or a rule of it; without a name it is one that the caller may not see."""
    if not name:
        return UNSEEN
    return f"{show(kind)} {show(name)}" + (f"/{show(rule)}" if rule else "")
