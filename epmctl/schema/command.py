"""`epm schema`: print the JSON Schema of documents, for editors and for checks."""

import click

from epmctl.output import print_json
from epmctl.schema.shipped import schema_of, shipped_schema


@click.command()
@click.argument("kind", required=False)
def schema(kind: str | None) -> None:
    """Print the JSON Schema of documents, or of those of one KIND.

    It says what a document may hold: keys, types and words. Whether a document means something, epm lint says.
    """
    print_json(schema_of(kind) if kind else shipped_schema())
