"""Evidence and decisions keep what they say on the wire, and what cannot be read is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.codec.decisions import (
    decode_decision,
    decode_evidence,
    encode_decision,
    encode_evidence,
    evidence_faults,
)
from elevation.codec.strict import CodecError
from elevation.explain import explain, without_names
from elevation.model import Attempt, FileEvidence, Settings
from epm.elevation.v1 import decision_pb2
from tests.builders.elevation import HASH, certificate
from tests.unit.elevation.test_laws import Targeted, attempts, compiled, files, merged, policies


@given(files, st.booleans(), st.booleans())
def test_evidence_comes_back_as_it_was(
    file: FileEvidence,
    local: bool,  # noqa: FBT001 - hypothesis names it
    root_only: bool,  # noqa: FBT001 - same
) -> None:
    told = FileEvidence(
        path=file.path,
        sha256=file.sha256,
        version=file.version,
        description=file.description,
        product_name=file.product_name,
        internal_name=file.internal_name,
        company_name="c",
        root_only_path=root_only,
        signers=file.signers,
        local=local,
    )
    message = decision_pb2.FileEvidence.FromString(encode_evidence(told).SerializeToString())
    assert decode_evidence(message) == told


def test_every_fault_of_evidence_is_named() -> None:
    good = certificate("vendor").der
    message = decision_pb2.FileEvidence(
        sha256=HASH[:-1],
        signers=[
            decision_pb2.Signer(leaf=good, chain=[good, b"no certificate"]),
            decision_pb2.Signer(),
        ],
    )
    places = [place for place, _ in evidence_faults(message)]
    assert places == ["file.sha256", "file.signers[0].chain[1]", "file.signers[1].leaf"]
    with pytest.raises(CodecError) as refused:
        decode_evidence(message)
    assert refused.value.path == "file.sha256"


@given(policies(), attempts, merged)
def test_a_decision_is_told_whole(targeted: Targeted, attempt: Attempt, response: Settings) -> None:
    decision = explain(compiled(targeted, response), attempt)
    told = decode_decision(decision_pb2.Decision.FromString(encode_decision(decision).SerializeToString()))
    names = ("outcome", "managed", "source", "elevation_type", "validations", "policy", "rule", "grant", "reason")
    assert [getattr(told, name) for name in names] == [getattr(decision, name) for name in names]
    assert (told.losers, told.near_misses) == (decision.losers, decision.near_misses)


@given(policies(), attempts, st.sets(st.sampled_from(["p0", "p1", "p2", "p3"])))
def test_names_out_of_sight_are_nowhere_in_a_decision(targeted: Targeted, attempt: Attempt, hidden: set[str]) -> None:
    decision = explain(compiled(targeted), attempt)
    shown = without_names(decision, hidden)
    named = [
        (shown.policy, shown.rule),
        *((loser.policy, loser.rule) for loser in shown.losers),
        *((miss.policy, miss.rule) for miss in shown.near_misses),
    ]
    assert not {policy for policy, _ in named} & hidden
    assert all(bool(policy) == bool(rule) for policy, rule in named)
    if decision.policy in hidden:
        assert f'"{decision.policy}"' not in shown.reason
        assert "{" not in shown.reason
    else:
        assert shown.reason == decision.reason
    assert (shown.outcome, shown.source, shown.cause) == (decision.outcome, decision.source, decision.cause)
    assert len(shown.losers) == len(decision.losers)
    assert list(shown.losers) == sorted(shown.losers, key=lambda loser: (loser.policy, loser.rule, loser.lost_at.name))
    assert without_names(decision, ()) == decision
