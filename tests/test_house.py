"""The rules of the house that no linter knows."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from epm.access.v1 import options_pb2

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "protos" / "gen"
CODE_ROOMS = ("auditchain", "elevation", "services", "agent_stub", "epmctl", "fleet", "benchmarks", "tests", "protos")
FILE_LIMIT = 400
FUNCTION_LIMIT = 60
PUBLIC_CALLERS = {options_pb2.CALLER_ANONYMOUS, options_pb2.CALLER_ADMINISTRATOR}
MESH_CALLERS = {options_pb2.CALLER_DEVICE, options_pb2.CALLER_SERVICE}
INNER_ROOMS = re.compile(r"auditchain/|elevation/|services/(?!_)[a-z]+/(model|ports|usecases)\b")
IMPURE_CALLS = re.compile(
    r"(^|\.)(now|utcnow|today|time|monotonic|uuid[1-8]|urandom|getenv|token_\w+)$|^(random|os\.environ)\."
)
GRPC_CODES = {code.name for code in grpc.StatusCode}
START_BUDGET_MODULES = ("grpc", "sqlalchemy", "google.protobuf", "cryptography", "lief", "rich", "yaml", "asyncio")


def test_generated_code_is_what_the_contracts_generate() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "protos" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_every_rpc_declares_who_may_call() -> None:
    problems = [
        f"{method.full_name}: {problem}"
        for service in rpc_services()
        for method in service.methods
        for problem in access_problems(method)
    ]
    assert problems == []


def test_all_rpcs_of_one_proto_service_belong_to_one_door() -> None:
    mixed = [
        service.full_name
        for service in rpc_services()
        if len({bool(callers(method) & PUBLIC_CALLERS) for method in service.methods}) != 1
    ]
    assert mixed == []


def test_there_are_contracts_to_check() -> None:
    packages = {service.full_name.split(".")[1] for service in rpc_services()}
    assert packages >= {"access", "device", "policy", "rbac", "reporting"}


def test_no_file_is_longer_than_the_limit() -> None:
    long = {name(path): lines for path in code_files() if (lines := line_count(path)) > FILE_LIMIT}
    assert long == {}


def test_no_function_is_longer_than_the_limit() -> None:
    long = {
        f"{name(path)}:{function.name}": length
        for path in code_files()
        for function in functions(path)
        if (length := function_length(function)) > FUNCTION_LIMIT
    }
    assert long == {}


def test_package_files_hold_a_docstring_and_nothing_else() -> None:
    wrong = [name(path) for path in code_files() if path.name == "__init__.py" and not only_a_docstring(path)]
    assert wrong == []


def test_every_package_of_ours_has_a_package_file() -> None:
    rooms = {path.parent for path in code_files() if path.parent.name != "versions"}
    unnamed = {"benchmarks", "protos", "tests/golden"}
    missing = [name(room) for room in rooms if name(room) not in unnamed and not (room / "__init__.py").exists()]
    assert missing == []


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    # Spelt in pieces, so that this file passes its own test.
    forbidden = re.compile(
        "|".join(["pypi" + r"\.org", "python" + "hosted", "npm" + "js", "/" + "root/", "/" + "work/"])
    )
    found = [name(path) for path in tracked_files() if forbidden.search(text_of(path))]
    assert found == []


def test_the_lock_holds_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9-]+==.*\\\n    --hash=sha256:", lock, flags=re.MULTILINE)
    assert "://" not in lock
    assert len(packages) == len(re.findall(r"^[a-z0-9-]+==", lock, flags=re.MULTILINE))


def test_the_locks_of_the_deployments_are_parts_of_the_whole_lock() -> None:
    whole = locked(ROOT / "requirements.lock")
    strays = {name(lock): locked(lock) - whole for lock in (ROOT / "deploy").glob("*.lock")}
    assert strays.keys() == {"deploy/agent.lock", "deploy/build.lock", "deploy/server.lock"}
    assert not any(strays.values()), strays


def test_the_images_are_built_from_all_that_the_wheel_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (\S+) \1$", dockerfile, flags=re.MULTILINE)
    missing = [
        package for package in packages if not any(package == one or package.startswith(f"{one}/") for one in copied)
    ]
    assert missing == []


def test_inner_rooms_read_no_clock_no_chance_and_no_environment() -> None:
    found = {
        f"{name(path)}:{call.lineno}": ast.unparse(call.func)
        for path in code_files()
        if INNER_ROOMS.match(name(path))
        for call in calls(path)
        if IMPURE_CALLS.search(ast.unparse(call.func))
    }
    assert found == {}


def test_every_link_between_documents_leads_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")]
    broken = [
        f"{name(document)}: {link}"
        for document in documents
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(document))
        if not (document.parent / link).exists()
    ]
    assert broken == []


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run", *ROOT.glob("docs/**/*.md")]
    named = {
        target
        for document in documents
        for target in re.findall(r"(?:`|^\s*(?:\$ )?)make ([a-z][a-z-]*)", text_of(document), flags=re.MULTILINE)
    }
    assert named - targets == set()


def test_every_reason_of_a_refusal_is_explained_and_no_other() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", page)) - GRPC_CODES
    given = {reason for path in (ROOT / "services").rglob("*.py") for reason in reasons(path)}
    assert {reason for reason in given if not re.search(rf"\b{reason}\b", page)} == set()
    assert explained - given == set()


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)", makefile, flags=re.MULTILINE))
    told = set(re.findall(r"^([a-z-]+):.*## \S", makefile, flags=re.MULTILINE))
    assert phony - told == set()


@pytest.mark.parametrize("program", ["epmctl.main", "agent_stub.main", "fleet.main"])
def test_help_loads_none_of_the_heavy_libraries(program: str) -> None:
    script = (
        f"import sys; from {program} import main\n"
        "sys.argv = ['program', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"heavy = [name for name in {START_BUDGET_MODULES!r} if name in sys.modules]\n"
        "sys.exit(f'loaded for --help: {heavy}' if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def rpc_services() -> Iterator[ServiceDescriptor]:
    for path in sorted(GENERATED.rglob("*_pb2.py")):
        module = importlib.import_module(".".join(path.relative_to(GENERATED).with_suffix("").parts))
        yield from module.DESCRIPTOR.services_by_name.values()


def callers(method: MethodDescriptor) -> set[int]:
    return set(method.GetOptions().Extensions[options_pb2.access].callers)


def access_problems(method: MethodDescriptor) -> Iterator[str]:
    rule = method.GetOptions().Extensions[options_pb2.access]
    if not rule.callers or options_pb2.CALLER_UNSPECIFIED in rule.callers:
        yield "declares no callers"
    if options_pb2.CALLER_ADMINISTRATOR in rule.callers and bool(rule.right) == rule.any_right:
        yield "needs either a right or any_right for administrators"
    if (options_pb2.CALLER_SERVICE in rule.callers) != bool(rule.services):
        yield "names services without letting services in, or the other way round"
    if set(rule.callers) & PUBLIC_CALLERS and set(rule.callers) & MESH_CALLERS:
        yield "mixes callers of the public door and of the mesh door"


def locked(lock: Path) -> set[str]:
    """Name every package of a lock with its version and its hashes, without markers."""
    entries = re.split(r"\n(?=[a-z0-9])", text_of(lock).strip())
    return {re.sub(r" ; [^\\]*", " ", entry) for entry in entries}


def calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, ast.Call))


def code_files() -> list[Path]:
    files = (path for room in CODE_ROOMS for path in (ROOT / room).rglob("*.py"))
    return sorted(path for path in files if GENERATED not in path.parents)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def function_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function from `def` to its end, without its docstring."""
    last = function.end_lineno or function.lineno
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return last - function.lineno + 1
    return last - function.lineno + 1 - ((first.end_lineno or first.lineno) - first.lineno + 1)


def only_a_docstring(path: Path) -> bool:
    tree = ast.parse(text_of(path))
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None


def line_count(path: Path) -> int:
    return len(text_of(path).splitlines())


def tracked_files() -> list[Path]:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    listing = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for part in listing.stdout.decode().split("\0") if part and (path := ROOT / part).is_file()]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def reasons(path: Path) -> Iterator[str]:
    """Find the reasons that errors are given, as texts or as names of constants of the same file."""
    tree = ast.parse(text_of(path))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        for given in (each.value for each in call.keywords if each.arg == "reason"):
            for part in ast.walk(given):
                value = part.value if isinstance(part, ast.Constant) else constants.get(getattr(part, "id", ""))
                if isinstance(value, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)*", value):
                    yield value
    if path.name == "errors.py":
        yield from re.findall(r'default_reason = "([A-Z_]+)"', text_of(path))
        yield from re.findall(r'"([A-Z_]+)" if stale', text_of(path))
