"""The server compares revisions and `epm` compares documents: where one finds a difference, the other does."""

from hypothesis import given

from epmctl.ascode import authored, canonical, difference
from epmctl.documents.model import Kind
from epmctl.output import Record
from services.policy.codec.authored import object_to_proto
from services.policy.model.difference import differences
from services.policy.model.objects import AnyContent, kind_of
from tests.builders.policy import stored
from tests.unit.policy.test_revision_laws import contents, law


@law
@given(contents, contents)
def test_the_server_and_the_command_line_find_the_same_things_changed(first: AnyContent, second: AnyContent) -> None:
    if type(first) is not type(second):
        return
    told = {(change.rule, block(change.field)) for change in differences(stored(first), stored(second))}
    found = difference.differences(document(first), document(second))
    assert {(change.rule, block(change.field)) for change in found if change.field != difference.ORDER} == told


def document(content: AnyContent) -> Record:
    """Return the document that the command line makes of an object."""
    kept = stored(content)
    message = authored.content(object_to_proto(kept.content, kept.about))
    return canonical.of_message(Kind[kind_of(type(content)).document], message)


def block(field: str) -> str:
    """Return a field but for its innermost part: of a block that is new one tells the block and the other its fields."""
    return field.partition(".")[0]
