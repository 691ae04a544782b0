"""Contracts made up on the spot, with access rules of any shape."""

from itertools import count

from google.protobuf import descriptor_pb2, descriptor_pool

from epm.access.v1 import options_pb2

NUMBERS = count(1)


def declared(*rules: options_pb2.AccessRule | None) -> str:
    """Make a proto service with a method for each rule; return its name."""
    number = next(NUMBERS)
    file = descriptor_pb2.FileDescriptorProto(
        name=f"test/contract{number}.proto", package="test.contract", syntax="proto3"
    )
    file.dependency.append("epm/access/v1/options.proto")
    file.message_type.add(name=f"Nothing{number}")
    service = file.service.add(name=f"Service{number}")
    for index, rule in enumerate(rules):
        message = f".test.contract.Nothing{number}"
        method = service.method.add(name=f"Method{index}", input_type=message, output_type=message)
        if rule is not None:
            method.options.Extensions[options_pb2.access].CopyFrom(rule)
    descriptor_pool.Default().Add(file)
    return f"test.contract.Service{number}"
