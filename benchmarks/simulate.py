"""How fast `epm simulate` starts and decides: attempts a second from JSONL, beside the cost of parsing the JSON alone.

Run by `make bench` or `python benchmarks/simulate.py [--attempts N] [--rules N]`. Writes results/simulate.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "simulate.json"
RULES_A_POLICY = 100
STARTS = 11

SETTINGS = """\
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {assignments: {include: [{group: all-devices}]}}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: developers}
spec: {type: USER}
"""
POLICY = """\
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: policy-{number}}}
spec:
  platform: WINDOWS
  assignments: {{include: [{{group: {group}}}]}}
  rules:
"""
RULE = """\
    - name: rule-{number}
      validations: [BUSINESS_JUSTIFICATION]
      detection: {{fileName: "{name}.exe", filePath: 'C:\\Tools', fileHash: "{digest}", minimumVersion: "1.2"}}
      arguments: ["/quiet", "/quiet /norestart"]
"""


def write_documents(folder: Path, rules: int) -> None:
    """Write a set of `rules` rules, in policies of a hundred, assigned to devices and to users in turn."""
    parts = [SETTINGS]
    for number in range(rules):
        if number % RULES_A_POLICY == 0:
            group = "all-devices" if number % (2 * RULES_A_POLICY) == 0 else "developers"
            parts.append(POLICY.format(number=number // RULES_A_POLICY, group=group))
        name = f"tool{number}-*" if number % 3 == 0 else f"tool{number}"
        digest = f"{number:064x}" if number % 2 == 0 else f"{number + 1:064x}"
        parts.append(RULE.format(number=number, name=name, digest=digest))
    (folder / "policies.yaml").write_text("".join(parts), encoding="utf-8")


def write_attempts(path: Path, *, attempts: int, rules: int) -> None:
    """Write attempts on as many files as there are rules, by many users on many devices."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(attempts):
            file.write(json.dumps(one_attempt(number, rules)) + "\n")


def one_attempt(number: int, rules: int) -> dict[str, object]:
    """Make attempt `number`, with every key that the form has."""
    rule = number % rules
    groups = ["all-users", "developers"] if number % 3 else ["all-users", f"team-{number % 50}"]
    return {
        "device": {"name": f"ws-{number % 500}", "groups": ["all-devices"], "attributes": {"os": "windows"}},
        "user": {"name": f"user-{number % 900}", "groups": groups, "administrator": False},
        "trigger": "REQUEST",
        "platform": "WINDOWS",
        "file": {
            "path": f"C:\\Tools\\tool{rule}.exe",
            "sha256": f"{rule:064x}",
            "version": "1.84.2.0",
            "description": "A tool",
            "productName": "Tools",
            "internalName": f"tool{rule}",
            "companyName": "Example",
            "rootOnlyPath": False,
            "signers": [],
        },
        "arguments": ["/quiet"] if number % 4 else [],
        "parent": None,
        "grants": [],
        "policyConfirmed": "2026-11-23T11:59:00Z",
        "now": "2026-11-23T12:00:00Z",
    }


def timed(command: list[str]) -> float:
    """Give the seconds that a process takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def parse_alone(path: Path) -> float:
    """Give the seconds that parsing each line as JSON takes, and nothing else."""
    start = time.perf_counter()
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
    return time.perf_counter() - start


def measure(folder: Path, *, attempts: int, rules: int) -> dict[str, float]:
    """Measure starts in alternation with a bare interpreter, then the whole file beside parsing alone."""
    write_documents(folder, rules)
    write_attempts(folder / "attempts.jsonl", attempts=attempts, rules=rules)
    small = folder / "small"
    small.mkdir()
    write_documents(small, 10)
    (folder / "one.json").write_text(json.dumps(one_attempt(1, 10)), encoding="utf-8")
    epm = [str(Path(sys.executable).parent / "epm"), "simulate"]
    start_command = [*epm, "-f", str(small), "--attempt", str(folder / "one.json")]
    pairs = [(timed(start_command), timed([sys.executable, "-c", "pass"])) for _ in range(STARTS)]
    total = timed([*epm, "-f", str(folder / "policies.yaml"), "--attempts", str(folder / "attempts.jsonl")])
    one = folder / "one.jsonl"
    one.write_text(json.dumps(one_attempt(1, 10)) + "\n", encoding="utf-8")
    loading = timed([*epm, "-f", str(folder / "policies.yaml"), "--attempts", str(one)])
    parsing = parse_alone(folder / "attempts.jsonl")
    return {
        "rules": rules,
        "attempts": attempts,
        "start_seconds": statistics.median(pair[0] for pair in pairs),
        "bare_python_seconds": statistics.median(pair[1] for pair in pairs),
        "start_and_load_seconds": loading,
        "total_seconds": total,
        "attempts_per_second": attempts / (total - loading),
        "attempts_per_second_with_start": attempts / total,
        "ratio_to_parsing_alone": (total - loading) / parsing,
    }


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=50_000)
    parser.add_argument("--rules", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), attempts=options.attempts, rules=options.rules)
    rows = [
        ("start, 10 rules, one attempt", f"{found['start_seconds'] * 1000:.0f} ms", "aim: under 300 ms"),
        ("a bare interpreter", f"{found['bare_python_seconds'] * 1000:.0f} ms", ""),
        (f"start and load {options.rules} rules", f"{found['start_and_load_seconds'] * 1000:.0f} ms", ""),
        ("attempts a second, once loaded", f"{found['attempts_per_second']:,.0f}", "aim: at least 10,000"),
        ("attempts a second, start included", f"{found['attempts_per_second_with_start']:,.0f}", ""),
        ("time against json.loads alone", f"{found['ratio_to_parsing_alone']:.1f} x", ""),
    ]
    for what, value, aim in rows:
        print(f"{what:<36}{value:>12}  {aim}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
