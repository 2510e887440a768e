"""Signatures: every algorithm with its own kind of key, and none with another's."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from tiphys.apiserver.authentication import jose
from tiphys.apiserver.authentication.jose import BadKey, BadToken, SigningKey, keys_of_set, parse, public_keys

CLAIMS = {"sub": "me"}
RSA = rsa.generate_private_key(65537, 2048)


def pem_of(key: jose.Private) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem_of(key: jose.Private) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


KEYS: dict[str, jose.Private] = {
    "RS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_is_verified_by_its_own_key_alone(algorithm: str) -> None:
    signing = SigningKey(pem_of(KEYS[algorithm]))
    token = parse(signing.sign(CLAIMS))
    assert (token.claims, token.algorithm, token.key_id) == (CLAIMS, algorithm, signing.public.key_id)
    for name, key in KEYS.items():
        (public,) = public_keys(public_pem_of(key))
        assert public.verify(token) is (name == algorithm), name
    (published,) = keys_of_set({"keys": [signing.public.jwk()]})
    assert published.verify(token)
    assert published.key_id == signing.public.key_id


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_rsa_with_other_hashes_and_pss(bits: int) -> None:
    digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}[bits]
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    (public,) = public_keys(public_pem_of(RSA))
    for name, scheme in (("RS", padding.PKCS1v15()), ("PS", pss)):
        text = f'{jose.encode(b"""{"alg":"%s%d"}""" % (name.encode(), bits))}.{jose.encode(b"{}")}'
        signature = RSA.sign(text.encode(), scheme, digest)
        assert public.verify(parse(f"{text}.{jose.encode(signature)}"))
        # Another name for the same bytes is another algorithm.
        other = text.replace(
            text.split(".")[0], jose.encode(b'{"alg":"RS384"}' if bits != 384 else b'{"alg":"PS512"}')
        )
        assert not public.verify(parse(f"{other}.{jose.encode(signature)}"))


def test_a_published_key_may_be_for_one_algorithm() -> None:
    signing = SigningKey(pem_of(RSA))
    jwk = {**signing.public.jwk(), "alg": "PS256"}
    assert not keys_of_set({"keys": [jwk]})[0].verify(parse(signing.sign(CLAIMS)))


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "RSA", "n": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "RSA", "n": 5, "e": "AQAB"},
        {**SigningKey(pem_of(KEYS["ES256"])).public.jwk(), "use": "enc"},
        {},
    ],
)
def test_keys_that_cannot_be_used_are_left_out(jwk: dict[str, object]) -> None:
    assert keys_of_set({"keys": [jwk, 7]}) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a.b",
        "a.b.c.d",
        "e30.e30",
        "e30=.e30.",
        "e 30.e30.",
        "W10.e30.",
        "e30.W10.",
        "é.e30.",
        "e30.e30.\u2028",
        "eyJjcml0IjpbImEiXX0.e30.",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(BadToken):
        parse(text)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse(text)
    except BadToken:
        pass


def test_files_with_several_keys_of_all_forms() -> None:
    pems = b"\n".join([public_pem_of(KEYS["ES256"]), pem_of(RSA), b"a remark"])
    assert [key.algorithms for key in public_keys(pems)] == [
        frozenset({"ES256"}),
        frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ]


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"nothing",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        public_pem_of(KEYS["ES256"]).replace(b"PUBLIC", b"PRIVATE"),
        pem_of(rsa.generate_private_key(65537, 1024)).replace(b"PRIVATE", b"OTHER"),
    ],
)
def test_files_without_keys(pem: bytes) -> None:
    with pytest.raises(BadKey):
        public_keys(pem)
