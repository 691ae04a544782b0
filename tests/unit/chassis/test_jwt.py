"""Which tokens of a trusted issuer are believed, and as whom; every other one is refused with a reason."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services._chassis.auth import digest_of
from services._chassis.errors import UnauthenticatedError
from services._chassis.jwt import LONGEST_JWT, MOST_REMEMBERED, TokenVerifier, VerifiedToken, is_jwt
from tests.builders.issuer import (
    ISSUER,
    claims,
    ec_key,
    ed_key,
    encoded,
    key_set,
    public_ec,
    public_ed,
    public_rsa,
    rsa_key,
    token,
    trust,
    with_ec,
    with_rsa,
    with_secret,
)
from tests.fakes.clock import NOW

RSA = {"alg": "RS256", "kid": "rsa"}
SECONDS = int(NOW.timestamp())


def verify(text: str, *, now: datetime = NOW, **believed: Any) -> VerifiedToken:
    return TokenVerifier([trust(**believed)]).verify(text, digest_of(text), now)


def refusal(text: str, *, now: datetime = NOW, **believed: Any) -> str:
    with pytest.raises(UnauthenticatedError) as caught:
        verify(text, now=now, **believed)
    return caught.value.reason


def test_a_good_token_speaks_for_its_subject() -> None:
    assert verify(token()).principal == "user:alice"


@pytest.mark.parametrize(
    ("header", "sign"),
    [
        ({"alg": "RS256", "kid": "rsa"}, with_rsa(rsa_key())),
        ({"alg": "ES256", "kid": "ec"}, with_ec(ec_key())),
        ({"alg": "EdDSA", "kid": "ed"}, ed_key().sign),
        ({"alg": "EdDSA", "kid": "ed", "typ": "at+JWT"}, ed_key().sign),
        ({"alg": "ES256", "x5t": "unknown to us, and not critical"}, with_ec(ec_key())),
    ],
)
def test_every_allowed_algorithm_is_verified_with_its_own_key(header: dict[str, Any], sign: Any) -> None:
    assert verify(token(header=header, sign=sign)).principal == "user:alice"


def test_a_token_may_be_for_several_audiences_of_which_one_is_ours() -> None:
    assert verify(token(claims(aud=["other", "epm-cli"]))).principal == "user:alice"


def test_the_principal_is_the_prefix_and_the_value_of_the_claim_that_names_it() -> None:
    text = token(claims(email="alice@example.com", email_verified=True))
    assert verify(text, principal_claim="email", principal_prefix="corp:").principal == "user:corp:alice@example.com"


def test_groups_count_as_what_they_are_mapped_to_and_others_as_nothing() -> None:
    text = token(claims(groups=["everyone", "epm-admins", "Domain Users"]))
    assert verify(text).groups == {"admins", "readers", "approvers"}


def test_one_group_may_stand_by_itself() -> None:
    assert verify(token(claims(groups="epm-admins"))).groups == {"admins"}


def test_no_group_is_read_where_no_claim_is_named_for_it() -> None:
    assert verify(token(claims(groups=["epm-admins"])), groups_claim="").groups == frozenset()


TWICE = json.dumps(claims())[:-1].encode()
BAD = {
    "of another issuer": (token(claims(iss="https://elsewhere.example.com")), "TOKEN_ISSUER_UNKNOWN"),
    "of an issuer that differs by a slash": (token(claims(iss=f"{ISSUER}/")), "TOKEN_ISSUER_UNKNOWN"),
    "without an issuer": (token(claims(iss=None)), "TOKEN_ISSUER_UNKNOWN"),
    "of several issuers": (token(claims(iss=[ISSUER])), "TOKEN_ISSUER_UNKNOWN"),
    "unsigned": (token(header={"alg": "none"}, sign=lambda _: b""), "TOKEN_ALGORITHM_REFUSED"),
    "unsigned, spelt otherwise": (token(header={"alg": "nOnE"}, sign=lambda _: b""), "TOKEN_ALGORITHM_REFUSED"),
    "without an algorithm": (token(header={"kid": "rsa"}), "TOKEN_ALGORITHM_REFUSED"),
    "of a list of algorithms": (token(header={"alg": ["RS256"]}), "TOKEN_ALGORITHM_REFUSED"),
    "of a longer algorithm": (token(header={"alg": "RS512", "kid": "rsa"}), "TOKEN_ALGORITHM_REFUSED"),
    "for somebody else": (token(claims(aud="other")), "TOKEN_CLAIMS_REFUSED"),
    "for several others": (token(claims(aud=["other", "epm2"])), "TOKEN_CLAIMS_REFUSED"),
    "for nobody": (token(claims(aud=None)), "TOKEN_CLAIMS_REFUSED"),
    "for an empty list": (token(claims(aud=[])), "TOKEN_CLAIMS_REFUSED"),
    "for a number": (token(claims(aud=7)), "TOKEN_CLAIMS_REFUSED"),
    "without an end": (token(claims(exp=None)), "TOKEN_CLAIMS_REFUSED"),
    "with an end in words": (token(claims(exp=str(SECONDS + 300))), "TOKEN_CLAIMS_REFUSED"),
    "with an end that is true": (token(claims(exp=True)), "TOKEN_CLAIMS_REFUSED"),
    "with an end beyond all numbers": (
        token(json.dumps(claims()).encode().replace(str(SECONDS + 300).encode(), b"1e999")),
        "TOKEN_CLAIMS_REFUSED",
    ),
    "expired": (token(claims(exp=SECONDS - 61)), "TOKEN_EXPIRED"),
    "not valid yet": (token(claims(nbf=SECONDS + 61)), "TOKEN_CLAIMS_REFUSED"),
    "issued in the future": (token(claims(iat=SECONDS + 61)), "TOKEN_CLAIMS_REFUSED"),
    "without a subject": (token(claims(sub=None)), "TOKEN_CLAIMS_REFUSED"),
    "of a subject that is a number": (token(claims(sub=7)), "TOKEN_CLAIMS_REFUSED"),
    "of an empty subject": (token(claims(sub="")), "TOKEN_CLAIMS_REFUSED"),
    "of a subject with a line end": (token(claims(sub="alice\nroot")), "TOKEN_CLAIMS_REFUSED"),
    "of a subject with half a character": (token(claims(sub="\ud800")), "TOKEN_CLAIMS_REFUSED"),
    "of a subject with a space": (token(claims(sub="alice ")), "TOKEN_CLAIMS_REFUSED"),
    "of a subject too long": (token(claims(sub="a" * 129)), "TOKEN_CLAIMS_REFUSED"),
    "with groups in a mapping": (token(claims(groups={"epm-admins": True})), "TOKEN_CLAIMS_REFUSED"),
    "with a group that is a number": (token(claims(groups=["epm-admins", 7])), "TOKEN_CLAIMS_REFUSED"),
    "with a subject given twice": (token(TWICE + b', "sub": "root"}'), "TOKEN_MALFORMED"),
    "with an algorithm given twice": (token(header=b'{"alg":"RS256","alg":"RS256","kid":"rsa"}'), "TOKEN_MALFORMED"),
    "with what is critical to it": (token(header={**RSA, "crit": ["exp"], "exp": 1}), "TOKEN_MALFORMED"),
    "with an empty list of what is critical": (token(header={**RSA, "crit": []}), "TOKEN_MALFORMED"),
    "for the end of a session": (token(header={**RSA, "typ": "logout+jwt"}), "TOKEN_MALFORMED"),
    "of a type that is a number": (token(header={**RSA, "typ": 7}), "TOKEN_MALFORMED"),
    "with NaN in it": (token(b'{"iss": NaN}'), "TOKEN_MALFORMED"),
    "nested deep": (token(b'{"iss":' + b"[" * 4000 + b"]" * 4000 + b"}"), "TOKEN_MALFORMED"),
    "that is a list": (token(b'["iss"]'), "TOKEN_MALFORMED"),
    "in another encoding": (token(json.dumps(claims()).encode("utf-16")), "TOKEN_MALFORMED"),
    "enormous": (token(claims(more="a" * LONGEST_JWT)), "TOKEN_MALFORMED"),
    "with padding": (token().replace(".", "=.", 1), "TOKEN_MALFORMED"),
    "of two parts": (token().rpartition(".")[0], "TOKEN_MALFORMED"),
    "of no letters": ("..", "TOKEN_MALFORMED"),
    "without a signature": (token().rpartition(".")[0] + ".", "TOKEN_SIGNATURE_WRONG"),
    "cut short": (token()[:-8], "TOKEN_SIGNATURE_WRONG"),
    "signed with another key": (token(sign=with_rsa(rsa_key("other"))), "TOKEN_SIGNATURE_WRONG"),
    "with a long signature": (token(sign=lambda _: b"s" * 4096), "TOKEN_SIGNATURE_WRONG"),
    "of a key that is not published": (token(header={"alg": "RS256", "kid": "gone"}), "TOKEN_KEY_UNKNOWN"),
    "of a key named by a number": (token(header={"alg": "RS256", "kid": 7}), "TOKEN_KEY_UNKNOWN"),
    "of a key of another kind": (token(header={"alg": "ES256", "kid": "rsa"}), "TOKEN_KEY_UNKNOWN"),
    "with a key of its own": (
        token(header={"alg": "RS256", "kid": "own", "jwk": public_rsa("own")}),
        "TOKEN_KEY_UNKNOWN",
    ),
    "with the address of its own keys": (
        token(header={**RSA, "jku": "https://evil.example.com"}, sign=with_rsa(rsa_key("other"))),
        "TOKEN_SIGNATURE_WRONG",
    ),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_a_token_is_refused(text: str, reason: str) -> None:
    assert refusal(text) == reason


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    modulus = base64.urlsafe_b64decode(public_rsa()["n"] + "==")
    for secret in (modulus, json.dumps(public_rsa()).encode(), key_set().encode()):
        text = token(header={"alg": "HS256", "kid": "rsa"}, sign=with_secret(secret))
        assert refusal(text) == "TOKEN_ALGORITHM_REFUSED"


def test_clocks_may_differ_by_a_minute_and_no_more() -> None:
    for within in ({"exp": SECONDS - 59}, {"nbf": SECONDS + 60}, {"iat": SECONDS + 60}):
        assert verify(token(claims(**within))).principal == "user:alice"
    assert refusal(token(claims(exp=SECONDS - 60))) == "TOKEN_EXPIRED"


def test_an_end_that_no_float_holds_is_an_end_all_the_same() -> None:
    assert verify(token(claims(exp=10**400))).principal == "user:alice"


@pytest.mark.parametrize("said", [False, "true", "false", 1])
def test_an_address_that_the_issuer_has_not_verified_names_nobody(said: object) -> None:
    text = token(claims(email="owner@example.com", email_verified=said))
    assert refusal(text, principal_claim="email") == "TOKEN_CLAIMS_REFUSED"


def test_a_token_that_names_no_key_needs_the_only_one_that_fits() -> None:
    unnamed = token(header={"alg": "RS256"})
    assert verify(unnamed).principal == "user:alice"
    two = key_set(public_rsa("old", rsa_key("other")), public_rsa("new"))
    assert refusal(unnamed, key_set=two) == "TOKEN_KEY_UNKNOWN"


def test_two_keys_of_one_name_are_told_apart_by_their_kind_alone() -> None:
    both = key_set(public_ec("k"), public_rsa("k"))
    assert verify(token(header={"alg": "RS256", "kid": "k"}), key_set=both).principal == "user:alice"
    assert refusal(token(header={"alg": "RS256", "kid": "k"}), key_set=key_set(public_rsa("k"), public_rsa("k")))


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"n": "AQAB"},
    ],
)
def test_a_key_for_other_purposes_or_too_short_verifies_nothing(changed: dict[str, object]) -> None:
    keys = key_set(public_rsa() | changed, public_ed())
    assert refusal(token(), key_set=keys) == "TOKEN_KEY_UNKNOWN"


@pytest.mark.parametrize(
    "unread", ["", "no JSON", '{"keys": []}', '{"keys": 7}', key_set({"kty": "oct", "k": "c2VjcmV0"})]
)
def test_an_issuer_without_keys_is_believed_nothing(unread: str) -> None:
    assert refusal(token(), key_set=unread) == "TOKEN_KEY_UNKNOWN"


def test_a_key_that_was_rotated_away_is_refused_by_the_next_snapshot() -> None:
    old, new = rsa_key("other"), rsa_key()
    text = token(header={"alg": "RS256", "kid": "old"}, sign=with_rsa(old))
    assert verify(text, key_set=key_set(public_rsa("old", old), public_rsa("new", new))).principal == "user:alice"
    assert refusal(text, key_set=key_set(public_rsa("new", new))) == "TOKEN_KEY_UNKNOWN"


def test_without_issuers_every_token_is_refused() -> None:
    with pytest.raises(UnauthenticatedError):
        TokenVerifier().verify(token(), digest_of(token()), NOW)


def test_a_token_that_was_believed_is_refused_once_it_has_expired() -> None:
    text, verifier = token(claims(exp=SECONDS + 10)), TokenVerifier([trust()])
    first = verifier.verify(text, digest_of(text), NOW)
    assert verifier.verify(text, digest_of(text), NOW + timedelta(seconds=69)) is first
    with pytest.raises(UnauthenticatedError, match="expired"):
        verifier.verify(text, digest_of(text), NOW + timedelta(seconds=70))


def test_what_is_remembered_is_bounded() -> None:
    verifier, text = TokenVerifier([trust()]), token()
    first = verifier.verify(text, digest_of(text), NOW)
    for number in range(MOST_REMEMBERED):
        verifier.verify(text, number.to_bytes(32, "big"), NOW)
    again = verifier.verify(text, digest_of(text), NOW)
    assert again == first
    assert again is not first


def test_our_own_tokens_have_not_the_form_of_a_json_web_token() -> None:
    assert is_jwt(token())
    assert not is_jwt("epm_" + "a-Z_0" * 9)
    assert not is_jwt("a.b.c.d.e")


SCRAPS = st.one_of(
    st.binary(max_size=60), st.text(max_size=60).map(str.encode), st.just(b'{"alg":"RS256","kid":"rsa"}')
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(SCRAPS, min_size=3, max_size=3))
@example([b"{}", b"{}", b""])
def test_no_three_scraps_make_a_token(scraps: list[bytes]) -> None:
    assert refusal(".".join(encoded(scrap) for scrap in scraps))


@given(st.text(max_size=200))
def test_no_text_makes_a_token(text: str) -> None:
    assert refusal(text)


@given(st.dictionaries(st.sampled_from(["sub", "aud", "exp", "nbf", "iat", "jti", "groups", "typ"]), VALUES))
def test_whatever_a_signed_token_claims_is_believed_whole_or_refused(changes: dict[str, Any]) -> None:
    text = token(claims(**changes))
    try:
        verified = verify(text)
    except UnauthenticatedError:
        return
    said = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert verified.principal == f"user:{said['sub']}"
    assert said["exp"] > SECONDS - 60
    assert "epm" in said["aud"]


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), VALUES))
def test_no_header_makes_a_token_of_another_algorithm(changes: dict[str, Any]) -> None:
    text = token(header={**RSA, **changes})
    try:
        verify(text)
    except UnauthenticatedError:
        return
    assert changes.get("alg", "RS256") == "RS256"
    assert changes.get("kid", "rsa") == "rsa"
    assert "crit" not in changes


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    data = bytearray(token(header={"alg": "EdDSA", "kid": "ed"}, sign=ed_key().sign).encode())
    data[place % len(data)] ^= change
    assert refusal(data.decode("latin-1"))


def test_a_set_of_every_kind_is_read() -> None:
    assert (
        verify(token(), key_set=key_set(public_ed(), public_ec(), public_rsa(), {"kty": "AKP"})).principal
        == "user:alice"
    )
