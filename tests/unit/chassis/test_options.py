"""The options of the doors: gRPC passes over those that it does not know, without a word."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from services._chassis.server import OPTIONS


@pytest.mark.parametrize("name", [name for name, _ in OPTIONS])
def test_grpc_knows_the_option(name: str) -> None:
    library = find_spec("grpc._cython.cygrpc")
    assert library is not None
    assert name.encode() + b"\0" in Path(library.origin or "").read_bytes()
