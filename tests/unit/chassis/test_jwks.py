"""Key sets of issuers: what is read of them, and what is refused whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from services._chassis.jwks import LONGEST_KEY_SET, canonical_key_set, read_key_set
from services._chassis.strictjson import read_object
from tests.builders.issuer import encoded, key_set, public_ec, public_ed, public_rsa

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["RSA", "EC", "OKP", "P-256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kty", "n", "e", "x"]), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y", "d", "k"])


def test_of_a_set_the_keys_are_read_that_we_verify_with() -> None:
    foreign = (ECKey.generate_key("P-384"), OKPKey.generate_key("Ed448"))
    text = key_set(
        *(key.as_dict(private=False) for key in foreign),
        public_rsa("r"),
        public_ec("e"),
        {"kty": "AKP", "pub": "AA"},
        public_ed("o"),
    )
    assert [(key.kid, key.algorithm) for key in read_key_set(text)] == [("r", "RS256"), ("e", "ES256"), ("o", "EdDSA")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", "is no JSON object"),
        ("{}", "must be a JSON Web Key Set"),
        ('{"keys": {}}', "must be a JSON Web Key Set"),
        ('{"keys": ["x"]}', "must be a JSON Web Key Set"),
        ('{"keys": [], "keys": []}', "gives a name twice"),
        ('{"keys": [' + "[" * 100_000 + "]}", "is longer than"),
        ('{"keys": ' + "[" * 30_000 + "}", "is nested too deep"),
        (key_set(public_rsa() | {"d": "AQAB"}), "holds a private or a secret key"),
        (key_set(public_rsa(), {"kty": "oct", "k": "c2VjcmV0"}), "holds a private or a secret key"),
        (key_set(public_rsa() | {"n": encoded(b"\xff" * 128)}), "holds no public key"),
        (key_set(public_rsa() | {"n": encoded(b"\xff" * 1025)}), "holds no public key"),
        (key_set(public_ec() | {"x": "AQAB"}), "holds no public key"),
        (key_set(public_ed() | {"x": "AQAB"}), "holds no public key"),
        (" " * (LONGEST_KEY_SET + 1), "is longer than"),
    ],
)
def test_a_set_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_key_set(text)


def test_the_same_keys_in_another_order_and_spelling_are_the_same_text() -> None:
    one = key_set(public_rsa(), public_ec(), public_ed())
    other = json.dumps(
        {"more": 1, "keys": [dict(reversed(key.items())) for key in (public_ed(), public_rsa(), public_ec())]}
    )
    assert canonical_key_set(one) == canonical_key_set(other)
    assert set(read_key_set(canonical_key_set(one))) == set(read_key_set(one))
    assert canonical_key_set(one) != canonical_key_set(key_set(public_rsa(), public_ec()))


def test_a_key_whose_name_nobody_could_write_down_is_passed_over() -> None:
    assert [key.kid for key in read_key_set(key_set(public_rsa("\ud800"), public_ed("o")))] == ["o"]


@given(st.sampled_from([public_rsa(), public_ec(), public_ed()]), st.dictionaries(FIELDS, ANYTHING))
def test_whatever_a_key_says_it_is_read_or_refused(key: dict[str, object], changes: dict[str, object]) -> None:
    try:
        keys = read_key_set(key_set(key | changes))
    except ValueError:
        return
    assert len(keys) == len(read_key_set(canonical_key_set(key_set(key | changes)))) == 1
    assert not changes.keys() & {"d", "k"}


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        assert isinstance(read_object(data), dict)
    except ValueError:
        return


@given(st.dictionaries(st.text(), ANYTHING))
def test_what_json_says_once_is_read_as_it_is(value: dict[str, object]) -> None:
    assert read_object(json.dumps(value).encode()) == value
