"""Certificates of signatures as they came with requests, each chain once: most requests of a vendor's files bring the same one."""

import base64
import hashlib
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.policy.store.tables import CERTIFICATE_CHAIN, ELEVATION_REQUEST

_C, _E = CERTIFICATE_CHAIN.c, ELEVATION_REQUEST.c
NO_CHAIN = ""


async def keep_chain(tx: Transaction, certificates: Sequence[bytes]) -> str:
    """Keep a chain unless it is, and return by what requests name it. The transaction holds the revision."""
    if not certificates:
        return NO_CHAIN
    digest = hashlib.sha256(b"".join(hashlib.sha256(der).digest() for der in certificates)).hexdigest()
    if (await tx.execute(sa.select(_C.digest).where(_C.digest == digest))).first() is None:
        written = [base64.b64encode(der).decode() for der in certificates]
        await tx.execute(sa.insert(CERTIFICATE_CHAIN), {"digest": digest, "certificates": written})
    return digest


async def chain_of(tx: Transaction, request_id: str) -> Sequence[bytes]:
    """Read the certificates of a request; those of older ones stand with it."""
    both = ELEVATION_REQUEST.outerjoin(CERTIFICATE_CHAIN, _C.digest == _E.chain)
    asked = sa.select(_C.certificates, _E.certificates.label("own")).select_from(both)
    row = (await tx.execute(asked.where(_E.request_id == request_id))).first()
    return [] if row is None else [base64.b64decode(text) for text in row.certificates or row.own]


async def forget_chains(tx: Transaction, digests: Collection[str]) -> None:
    """Delete those of the chains that no request has any more. The transaction holds the revision."""
    known = sa.select(_E.request_id).where(_E.chain == _C.digest).exists()
    await tx.execute(sa.delete(CERTIFICATE_CHAIN).where(_C.digest.in_(digests), ~known))
