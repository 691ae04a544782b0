"""The options of the doors: gRPC passes over those that it does not know, without a word."""

from pathlib import Path

import pytest
from grpc._cython import cygrpc

from services._chassis.server import OPTIONS


@pytest.mark.parametrize("name", [name for name, _ in OPTIONS])
def test_grpc_knows_the_option(name: str) -> None:
    assert name.encode() + b"\0" in Path(cygrpc.__file__).read_bytes()
