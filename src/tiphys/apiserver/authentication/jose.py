"""JSON Web Tokens and Keys (RFC 7515 to 7519) over the `cryptography` package, which is loaded at the first key.

A key says which algorithms it is for, never the token: "none" and every HMAC are unknown here, so a public key cannot be
taken for a secret. Keys that a token brings along (`jwk`, `jku`, `x5c`) are not looked at.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson

from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

Object = dict[str, Any]
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA")
_OF_CURVES = {
    "secp256r1": ("ES256", "P-256", 32),
    "secp384r1": ("ES384", "P-384", 48),
    "secp521r1": ("ES512", "P-521", 66),
}
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_LONGEST_BYTES = 64 << 10
_SHORTEST_RSA_BITS = 1024


class BadToken(Exception):
    """Not a token, or not with a signature that counts."""


class BadKey(Exception):
    """One line: what is wrong with a key."""


@frozen
class Token:
    """A token taken apart; nothing of it is proven."""

    header: Object
    claims: Object
    signed: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        found = self.header.get("alg")
        return found if isinstance(found, str) else ""

    @property
    def key_id(self) -> str:
        found = self.header.get("kid")
        return found if isinstance(found, str) else ""


def parse(text: str) -> Token:
    """Raises BadToken."""
    if len(text) > _LONGEST_BYTES or text.count(".") != 2:
        raise BadToken("malformed token")
    head, body, signature = text.split(".")
    try:
        header, claims, raw = orjson.loads(decode(head)), orjson.loads(decode(body)), decode(signature)
    except (ValueError, UnicodeEncodeError):
        raise BadToken("malformed token") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise BadToken("malformed token")
    if "crit" in header or header.get("b64") is False:
        raise BadToken("unsupported critical header")
    return Token(header, claims, f"{head}.{body}".encode(), raw)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Base64url without padding, and nothing else. Raises ValueError."""
    if not text.isascii() or any(letter in "+/=\r\n\t " for letter in text):
        raise ValueError("not base64url")
    try:
        return base64.b64decode(
            text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True
        )
    except binascii.Error as error:
        raise ValueError(str(error)) from None


class VerificationKey:
    """A public key and the algorithms that it is for."""

    def __init__(self, key: Public, key_id: str = "", algorithms: Iterable[str] = ()) -> None:
        self._key = key
        self.key_id = key_id or key_id_of(key)
        possible = _possible(key)
        self.algorithms = frozenset(algorithms) & possible if algorithms else possible

    def verify(self, token: Token) -> bool:
        from cryptography.exceptions import InvalidSignature

        if token.algorithm not in self.algorithms:
            return False
        try:
            _check(self._key, token)
        except (InvalidSignature, ValueError):
            return False
        return True

    def jwk(self) -> Object:
        """As it is published, with the algorithm that our own tokens have."""
        return {"use": "sig", **_numbers(self._key, self.key_id)}


class SigningKey:
    """A private key: ES256, ES384 or ES512 by its curve; RS256 for RSA."""

    def __init__(self, pem: bytes) -> None:
        """Raises BadKey."""
        self._key = _private(pem)
        self.public = VerificationKey(self._key.public_key())
        self.algorithm: str = self.public.jwk()["alg"]

    def sign(self, claims: Object) -> str:
        head = encode(orjson.dumps({"alg": self.algorithm, "kid": self.public.key_id}))
        text = f"{head}.{encode(orjson.dumps(claims))}"
        return f"{text}.{encode(_sign(self._key, text.encode()))}"


def public_keys(pem: bytes) -> list[VerificationKey]:
    """Of a file with public keys, private keys or certificates. Raises BadKey."""
    found = []
    for block in _blocks(pem):
        if b"PRIVATE KEY" in block:
            found.append(VerificationKey(_private(block).public_key()))
        else:
            found.append(VerificationKey(_public(block)))
    if not found:
        raise BadKey("data does not contain any valid RSA or ECDSA public keys")
    return found


def keys_of_set(document: Object) -> list[VerificationKey]:
    """Of a JWK set: those that are for signatures and that can be read."""
    keys = document.get("keys")
    found = [_of_jwk(jwk) for jwk in keys if isinstance(jwk, dict)] if isinstance(keys, list) else []
    return [key for key in found if key is not None]


def key_id_of(key: Public) -> str:
    """The digest of the public key, as upstream names its keys."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encode(hashlib.sha256(der).digest())


# Signatures


def _possible(key: Public) -> frozenset[str]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return frozenset(_OF_RSA)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return frozenset(("EdDSA",))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return frozenset((_OF_CURVES[key.curve.name][0],))


def _hash_of(algorithm: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    sizes: dict[str, Any] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
    return sizes[algorithm[-3:]]()


def _rsa_padding(algorithm: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import padding

    if algorithm.startswith("RS"):
        return padding.PKCS1v15()
    digest = _hash_of(algorithm)
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def _check(key: Public, token: Token) -> None:
    """Raises InvalidSignature or ValueError."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(token.signature, token.signed)
    elif isinstance(key, rsa.RSAPublicKey):
        algorithm = token.algorithm
        key.verify(token.signature, token.signed, _rsa_padding(algorithm), _hash_of(algorithm))
    else:
        size = _OF_CURVES[key.curve.name][2]
        if len(token.signature) != 2 * size:
            raise ValueError("the signature has another length")
        r, s = (int.from_bytes(part, "big") for part in (token.signature[:size], token.signature[size:]))
        key.verify(encode_dss_signature(r, s), token.signed, ec.ECDSA(_hash_of(token.algorithm)))


def _sign(key: Private, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _rsa_padding("RS256"), _hash_of("RS256"))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    algorithm, _, size = _OF_CURVES[key.curve.name]
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(_hash_of(algorithm))))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


# Keys


def _blocks(pem: bytes) -> list[bytes]:
    found, current = [], b""
    for line in pem.splitlines(keepends=True):
        if line.startswith(b"-----BEGIN "):
            current = b""
        current += line
        if line.startswith(b"-----END ") and b"EC PARAMETERS" not in line:
            found.append(current)
    return found


def _private(pem: bytes) -> Private:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise BadKey("data does not contain a valid RSA or ECDSA private key") from None
    return _known(key)  # type: ignore[no-any-return]


def _public(pem: bytes) -> Public:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if b"CERTIFICATE" in pem:
            return _known(x509.load_pem_x509_certificate(pem).public_key())  # type: ignore[no-any-return]
        return _known(load_pem_public_key(pem))  # type: ignore[no-any-return]
    except ValueError:
        raise BadKey("data does not contain any valid RSA or ECDSA public keys") from None


def _known(key: Any) -> Any:
    """The key, when it is of a kind that signs tokens. Raises BadKey."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        if key.key_size < _SHORTEST_RSA_BITS:
            raise BadKey(f"an RSA key of {key.key_size} bits is too short")
        return key
    if (
        isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey)
        and key.curve.name in _OF_CURVES
    ):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return key
    raise BadKey("unknown public key type, must be RSA, ECDSA (P-256, P-384, P-521) or Ed25519")


def _numbers(key: Public, key_id: str) -> Object:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        n, e = (value.to_bytes((value.bit_length() + 7) // 8, "big") for value in (numbers.n, numbers.e))
        return {"kty": "RSA", "kid": key_id, "alg": "RS256", "n": encode(n), "e": encode(e)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        algorithm, curve, size = _OF_CURVES[key.curve.name]
        point = key.public_numbers()
        x, y = (encode(value.to_bytes(size, "big")) for value in (point.x, point.y))
        return {"kty": "EC", "kid": key_id, "crv": curve, "alg": algorithm, "x": x, "y": y}
    raw = encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    return {"kty": "OKP", "kid": key_id, "crv": "Ed25519", "alg": "EdDSA", "x": raw}


def _of_jwk(jwk: Object) -> VerificationKey | None:
    """None: for something else than signatures, or of a kind that we cannot read."""
    if jwk.get("use") not in (None, "", "sig"):
        return None
    try:
        key = _known(_key_of(jwk))
    except (BadKey, KeyError, ValueError, TypeError, AttributeError):
        return None
    algorithm = jwk.get("alg")
    wanted = (algorithm,) if isinstance(algorithm, str) and algorithm else ()
    key_id = jwk.get("kid")
    return VerificationKey(key, key_id if isinstance(key_id, str) else "", wanted)


def _key_of(jwk: Object) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    kind = jwk["kty"]
    if kind == "RSA":
        return rsa.RSAPublicNumbers(_integer(jwk["e"]), _integer(jwk["n"])).public_key()
    if kind == "EC":
        curves: dict[str, Any] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
        numbers = ec.EllipticCurvePublicNumbers(_integer(jwk["x"]), _integer(jwk["y"]), curves[jwk["crv"]]())
        return numbers.public_key()
    if kind == "OKP" and jwk["crv"] == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(decode(jwk["x"]))
    raise BadKey(f"unknown kind of key {kind}")


def _integer(text: str) -> int:
    return int.from_bytes(decode(text), "big")
