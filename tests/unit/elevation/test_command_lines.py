"""Arguments written as one allowed command line mean the very same arguments again."""

from hypothesis import given
from hypothesis import strategies as st

from elevation.commandline import quote, split
from elevation.model import Platform

arguments = st.lists(st.text(st.sampled_from("ab \t\"'\\$`\n~|é"), max_size=8) | st.text(max_size=8), max_size=5)


@given(arguments, st.sampled_from(Platform))
def test_what_is_quoted_splits_into_the_same_arguments(wanted: list[str], platform: Platform) -> None:
    assert split(quote(wanted, platform), platform) == tuple(wanted)


def test_plain_arguments_stay_as_people_write_them() -> None:
    assert quote(["/silent", "/log", r"C:\a b\c"], Platform.WINDOWS) == r'/silent /log "C:\a b\c"'
    assert quote(["--yes", "it's"], Platform.LINUX) == """--yes 'it'"'"'s'"""
