"""Generate the Python side of the contracts: `python protos/generate.py [--check]`.

Reads every `.proto` under `protos/epm` and writes messages, type stubs and gRPC bindings to `protos/gen`, which is
checked in. With `--check` nothing is written: the exit code says whether `protos/gen` is what would be generated.
The output depends on the `.proto` files and the pinned tools alone.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import google.rpc
import grpc_tools

ROOT = Path(__file__).resolve().parent
GENERATED = ROOT / "gen"
REMEDY = "run `make generate` and commit protos/gen"


def main(arguments: list[str] | None = None) -> int:
    """Generate, or check with `--check`; return the exit code."""
    parser = argparse.ArgumentParser(description="generate the Python code of the contracts")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when protos/gen is stale")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        if options.check:
            return report(stale_files(fresh))
        replace(fresh)
    return 0


def generate(target: Path) -> None:
    """Write the generated code of all contracts under `target`."""
    contracts = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "epm").rglob("*.proto"))
    tools = Path(sys.executable).parent
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--proto_path={ROOT}",
        f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",  # google/protobuf
        f"--proto_path={Path(next(iter(google.rpc.__path__))).parents[1]}",  # google/rpc
        f"--plugin=protoc-gen-mypy={tools / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={tools / 'protoc-gen-mypy_grpc'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *contracts,
    ]
    subprocess.run(command, check=True)  # noqa: S603 - our own tools on our own files
    drop_bindings_without_services(target)


def drop_bindings_without_services(target: Path) -> None:
    """Delete the gRPC modules of contracts that declare no service; they hold nothing."""
    for stub in target.rglob("*_pb2_grpc.py"):
        if "Servicer" not in stub.read_text(encoding="utf-8"):
            stub.unlink()
            stub.with_suffix(".pyi").unlink(missing_ok=True)


def stale_files(fresh: Path) -> list[str]:
    """Name the files of `protos/gen` that differ from `fresh`, are missing, or should not be there."""
    wanted, found = contents(fresh), contents(GENERATED)
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def contents(folder: Path) -> dict[str, bytes]:
    """Read every generated file under `folder`, by its relative name."""
    files = (path for pattern in ("*.py", "*.pyi") for path in folder.rglob(pattern))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def replace(fresh: Path) -> None:
    """Bring `protos/gen` in line with `fresh`; a file that is already right keeps its time."""
    wanted = contents(fresh)
    for name in stale_files(fresh):
        path = GENERATED / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh / name, path)
        else:
            path.unlink()


def report(stale: list[str]) -> int:
    """Print what is stale with the remedy; return the exit code."""
    for name in stale:
        print(f"protos/gen/{name} is not what the contracts generate: {REMEDY}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
