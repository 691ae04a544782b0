"""A real Cerbos server on loopback, and the messages that it takes.

It is the binary of `$CERBOS`, or the one of its npm package, which is fetched once into build/. Only the few messages that
the load needs are declared here, by the numbers of Cerbos's own contracts.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "@cerbos/cerbos-linux-x64"
VERSION = "0.55.0"
CHECK = "/cerbos.svc.v1.CerbosService/CheckResources"
MOST_RESOURCES = 50
"""Most resources that the server takes in one request."""

PATIENCE = 20.0
_TEXT, _MESSAGE, _ENUM = (
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
)
_SHAPES: dict[str, list[tuple[str, int, int, str, bool]]] = {
    "Principal": [("id", 1, _TEXT, "", False), ("roles", 3, _TEXT, "", True)],
    "Resource": [("kind", 1, _TEXT, "", False), ("id", 3, _TEXT, "", False)],
    "Entry": [("actions", 1, _TEXT, "", True), ("resource", 2, _MESSAGE, "Resource", False)],
    "Request": [
        ("request_id", 1, _TEXT, "", False),
        ("principal", 3, _MESSAGE, "Principal", False),
        ("resources", 4, _MESSAGE, "Entry", True),
    ],
    "Effect": [("action", 1, _TEXT, "", False), ("effect", 2, _ENUM, "", False)],
    "Result": [("actions", 2, _MESSAGE, "Effect", True)],
    "Response": [("results", 2, _MESSAGE, "Result", True)],
}


class CerbosMissingError(Exception):
    """Say why there is no Cerbos to measure."""


@cache
def _message(name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="cerbos.proto", package="cerbos", syntax="proto3")
    for message, fields in _SHAPES.items():
        made = file.message_type.add(name=message)
        for field, number, kind, of, many in fields:
            label = (
                descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
                if many
                else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
            )
            typed = {"type_name": f".cerbos.{of}"} if of else {}
            made.field.add(name=field, number=number, type=kind, label=label, **typed)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"cerbos.{name}"))


def request(principal: str, roles: Sequence[str], actions: Sequence[str]) -> bytes:
    """Ask whether the principal may do each of the actions, each to a resource of its own."""
    entries = [
        {"actions": [action], "resource": {"kind": "object", "id": str(number)}}
        for number, action in enumerate(actions)
    ]
    asked = {"id": principal, "roles": list(roles)}
    sent: bytes = _message("Request")(request_id="r", principal=asked, resources=entries).SerializeToString()
    return sent


def allowed(response: bytes) -> list[bool]:
    """Read what the server answered, resource by resource."""
    read = _message("Response").FromString(response)
    return [result.actions[0].effect == 1 for result in read.results]


@asynccontextmanager
async def cerbos(folder: Path, roles: Mapping[str, Sequence[str]]) -> AsyncIterator[grpc.aio.Channel]:
    """Run the server with these roles, and open a channel to it. Raises CerbosMissingError."""
    binary = _binary()
    (folder / "policies").mkdir()
    rules = [
        {"actions": [action], "effect": "EFFECT_ALLOW", "roles": [role]}
        for role, actions in roles.items()
        for action in actions
    ]
    policy = {
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {"resource": "object", "version": "default", "rules": rules},
    }
    (folder / "policies" / "object.json").write_text(json.dumps(policy), encoding="utf-8")
    http, port = _free_ports()
    configuration = {
        "server": {"httpListenAddr": f"127.0.0.1:{http}", "grpcListenAddr": f"127.0.0.1:{port}"},
        "storage": {"driver": "disk", "disk": {"directory": str(folder / "policies"), "watchForChanges": False}},
        "telemetry": {"disabled": True},
    }
    (folder / "cerbos.yaml").write_text(json.dumps(configuration), encoding="utf-8")
    with (folder / "cerbos.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binary, "server", f"--config={folder / 'cerbos.yaml'}", "--log-level=error", stdout=log, stderr=log
        )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                await asyncio.wait_for(channel.channel_ready(), PATIENCE)
            except TimeoutError as error:
                raise CerbosMissingError(
                    f"Cerbos did not start: {(folder / 'cerbos.log').read_text()[-300:]}"
                ) from error
            yield channel
    finally:
        process.terminate()
        await process.wait()


def _binary() -> Path:
    given = os.environ.get("CERBOS", "")
    if given:
        return Path(given)
    prefix = Path(__file__).resolve().parents[2] / "build" / "cerbos"
    binary = prefix / "node_modules" / PACKAGE / PACKAGE.rpartition("/")[2]
    if not binary.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise CerbosMissingError("missing: set CERBOS to its binary, or install npm")
        prefix.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(prefix),
            f"{PACKAGE}@{VERSION}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0 or not binary.exists():
            raise CerbosMissingError(f"missing: npm could not install {PACKAGE}: {done.stderr.strip()[-200:]}")
    return binary


def _free_ports() -> Iterator[int]:
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener.getsockname()[1]
