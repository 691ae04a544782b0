"""Read facts out of the bytes of a file. Runs in the locked-down child alone, because `lief` is C++ and files lie.

Every function returns plain values and gives up on a damaged file by returning no facts; the hash stands whatever the
parser thinks.
"""

import base64
import struct
from collections.abc import Iterator
from typing import Any

TEXT_LIMIT = 1024
SIGNER_LIMIT = 4
CHAIN_LIMIT = 8
CERTIFICATE_LIMIT = 16 * 1024
PROGRAM_HEADER_LIMIT = 64
_PT_INTERP = 3
_VERSION_TEXTS = {
    "FileVersion": "version",
    "FileDescription": "description",
    "ProductName": "product_name",
    "InternalName": "internal_name",
    "CompanyName": "company_name",
}


def kind_of(start: bytes) -> str:
    """Name the kind of a file by its first bytes: `pe`, `elf`, `script` or `other`."""
    if start.startswith(b"MZ"):
        return "pe"
    if start.startswith(b"\x7fELF"):
        return "elf"
    return "script" if start.startswith(b"#!") else "other"


def facts_of(kind: str, content: bytes) -> dict[str, Any]:
    """Read the facts that the kind of file offers."""
    if kind == "pe":
        return _pe_facts(content)
    if kind == "elf":
        return {"interpreter": _elf_interpreter(content)}
    if kind == "script":
        return {"interpreter": _script_interpreter(content)}
    return {}


def _pe_facts(content: bytes) -> dict[str, Any]:
    import lief  # noqa: PLC0415 - 50 MB that only the child of a PE file pays for

    lief.logging.disable()
    binary = lief.PE.parse(content, lief.PE.ParserConfig.default_conf)
    if binary is None:
        return {}
    return _version_facts(binary) | {"signers": list(_signers(binary))}


def _version_facts(binary: Any) -> dict[str, str]:
    import lief  # noqa: PLC0415 - see above

    resources = binary.resources_manager if binary.has_resources else None
    if not isinstance(resources, lief.PE.ResourcesManager) or not resources.has_version:
        return {}
    facts: dict[str, str] = {}
    for version in resources.version:
        tables = version.string_file_info.children if version.string_file_info else ()
        for entry in (entry for table in tables for entry in table.entries):
            if (fact := _VERSION_TEXTS.get(entry.key)) is not None:
                facts.setdefault(fact, _bounded(entry.value))
        if (number := _file_version(version.file_info)) is not None:
            facts["version"] = number
    return facts


def _file_version(info: Any) -> str | None:
    """Prefer the numbers of the fixed header: the text beside them is free and often carries a build's name."""
    high, low = info.file_version_ms, info.file_version_ls
    if not high and not low:
        return None
    return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def _signers(binary: Any) -> Iterator[dict[str, Any]]:
    import lief  # noqa: PLC0415 - see above

    # Whether a certificate is in time is judged by the agent, at the time of the decision.
    checks = lief.PE.Signature.VERIFICATION_CHECKS.SKIP_CERT_TIME
    for signature in list(binary.signatures)[:SIGNER_LIMIT]:
        leaf = next((signer.cert for signer in signature.signers if signer.cert is not None), None)
        if leaf is None:
            continue
        verdict = binary.verify_signature(signature, checks)
        yield {
            "leaf": _der(leaf),
            "chain": [_der(issuer) for issuer in _issuers(leaf, list(signature.certificates))],
            "intact": verdict == lief.PE.Signature.VERIFICATION_FLAGS.OK,
        }


def _issuers(leaf: Any, certificates: list[Any]) -> Iterator[Any]:
    """Walk from the leaf upwards through the certificates of the signature, nearest issuer first."""
    current = leaf
    for _ in range(CHAIN_LIMIT):
        if current.subject == current.issuer:
            return
        above = next((one for one in certificates if one.subject == current.issuer), None)
        if above is None:
            return
        yield above
        current = above


def _der(certificate: Any) -> str:
    raw = bytes(certificate.raw)
    return base64.b64encode(raw).decode("ascii") if len(raw) <= CERTIFICATE_LIMIT else ""


def _elf_interpreter(content: bytes) -> str:
    """Read PT_INTERP by hand: twenty lines against the second that `import lief` takes."""
    wide, little = content[4:5] == b"\x02", content[5:6] == b"\x01"
    order = "<" if little else ">"
    try:
        table = struct.unpack_from(order + ("Q" if wide else "I"), content, 32 if wide else 28)[0]
        size, count = struct.unpack_from(order + "HH", content, 54 if wide else 42)
        for index in range(min(count, PROGRAM_HEADER_LIMIT)):
            at = table + index * size
            if struct.unpack_from(order + "I", content, at)[0] != _PT_INTERP:
                continue
            start = struct.unpack_from(order + ("Q" if wide else "I"), content, at + (8 if wide else 4))[0]
            length = struct.unpack_from(order + ("Q" if wide else "I"), content, at + (32 if wide else 16))[0]
            return _bounded(content[start : start + min(length, TEXT_LIMIT)])
    except (struct.error, OverflowError):
        return ""
    return ""


def _script_interpreter(content: bytes) -> str:
    line = content[2 : 2 + TEXT_LIMIT].split(b"\n", 1)[0]
    return _bounded(line.decode("utf-8", "replace").strip())


def _bounded(text: str | bytes) -> str:
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return text.lstrip("\x00").partition("\x00")[0][:TEXT_LIMIT]
