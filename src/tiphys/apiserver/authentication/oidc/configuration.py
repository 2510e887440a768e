"""AuthenticationConfiguration: what `--authentication-config` says, checked as upstream checks it.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tiphys.apiserver.authentication.jose import ALGORITHMS
from tiphys.apiserver.authentication.oidc.claims import ClaimRule, Mapped, UserMapping, UserRule
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from tiphys.machinery.cel import Environment, Program

Object = dict[str, Any]
API_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_KIND = "AuthenticationConfiguration"
_MOST = 64
# The fields of each object, by their place; a list's items have the list's place.
_FIELDS = {
    "": "apiVersion kind jwt anonymous",
    "anonymous": "enabled conditions",
    "anonymous.conditions": "path",
    "jwt": "issuer claimValidationRules claimMappings userValidationRules",
    "jwt.issuer": "url discoveryURL certificateAuthority audiences audienceMatchPolicy egressSelectorType",
    "jwt.claimValidationRules": "claim requiredValue expression message",
    "jwt.claimMappings": "username groups uid extra",
    "jwt.claimMappings.username": "claim prefix expression",
    "jwt.claimMappings.groups": "claim prefix expression",
    "jwt.claimMappings.uid": "claim expression",
    "jwt.claimMappings.extra": "key valueExpression",
    "jwt.userValidationRules": "expression message",
}
_LISTS = frozenset(
    {
        "anonymous.conditions", "jwt", "jwt.claimValidationRules", "jwt.claimMappings.extra", "jwt.userValidationRules",
    }
)  # fmt: skip


@frozen
class Issuer:
    """One provider. Tokens of `url` for one of the audiences become users by the mapping."""

    url: str
    audiences: tuple[str, ...]
    mapping: UserMapping
    discovery_url: str = ""
    certificate_authority: str = ""
    algorithms: tuple[str, ...] = ALGORITHMS


@frozen
class Configuration:
    """`anonymous_paths` None: nothing is said of anonymous requests; `everywhere`: they are let in at every path."""

    issuers: tuple[Issuer, ...] = ()
    says_anonymous: bool = False
    anonymous_paths: frozenset[str] | None = None


def read(document: Any, disallowed_issuers: Iterable[str] = ()) -> tuple[Configuration, list[str]]:
    """The configuration, and what is wrong with it, each in a line."""
    problems = list(_shape(document))
    if problems:
        return Configuration(), problems
    reader = _Reader(tuple(disallowed_issuers))
    issuers = reader.issuers(document.get("jwt") or [])
    says, paths = reader.anonymous(document.get("anonymous"))
    return Configuration(issuers, says, paths), [str(error) for error in reader.errors]


def _shape(document: Any) -> Iterator[str]:
    """What decoding would refuse: another kind, unknown fields, values of other types."""
    if not isinstance(document, dict):
        yield "the file is not an object"
        return
    if document.get("kind") != _KIND or document.get("apiVersion") not in API_VERSIONS:
        wanted = f"{document.get('apiVersion')}, Kind={document.get('kind')}"
        yield f'no kind "{document.get("kind")}" is registered for version "{document.get("apiVersion")}" ({wanted})'
        return
    unknown = list(_unknown(document, "", ""))
    if unknown:
        yield f"strict decoding error: {', '.join(unknown)}"


def _unknown(value: Any, place: str, shown: str) -> Iterator[str]:
    if place in _LISTS:
        if value is not None and not isinstance(value, list):
            yield f'"{shown}" must be a list'
            return
        items = [(f"{shown}[{position}]", item) for position, item in enumerate(value or ())]
    else:
        items = [(shown, value)]
    for where, item in items:
        if item is None:
            continue
        if not isinstance(item, dict):
            yield f'"{where}" must be an object'
            continue
        known = _FIELDS[place].split()
        for name, inner in item.items():
            path = f"{where}.{name}" if where else str(name)
            below = f"{place}.{name}" if place else str(name)
            if name not in known:
                yield f'unknown field "{path}"'
            elif below in _FIELDS:
                yield from _unknown(inner, below, path)
            elif not _is_leaf(name, inner):
                yield f'"{path}" has a value of another type'


def _is_leaf(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == "enabled":
        return isinstance(value, bool)
    if name == "audiences":
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, str)


class _Reader:
    """Gathers errors on the way."""

    def __init__(self, disallowed: Sequence[str]) -> None:
        self.errors: list[FieldError] = []
        self._disallowed = frozenset(disallowed)

    def anonymous(self, section: Object | None) -> tuple[bool, frozenset[str] | None]:
        if section is None:
            return False, None
        conditions = section.get("conditions") or []
        if not section.get("enabled"):
            if conditions:
                self._invalid(
                    Path("anonymous", "conditions"),
                    conditions,
                    "enabled should be set to true when conditions are defined",
                )
            return True, frozenset()
        return True, frozenset(each.get("path") or "" for each in conditions) if conditions else None

    def issuers(self, section: list[Object]) -> tuple[Issuer, ...]:
        root = Path("jwt")
        if len(section) > _MOST:
            self.errors.append(FieldError.too_many(root, len(section), _MOST))
            return ()
        found, urls, discovery_urls = [], set[str](), set[str]()
        for position, each in enumerate(section):
            path = root.index(position)
            issuer = self._issuer(each or {}, path)
            if issuer.url in urls:
                self.errors.append(FieldError.duplicate(path.child("issuer", "url"), issuer.url))
            urls.add(issuer.url)
            if issuer.discovery_url and issuer.discovery_url in discovery_urls:
                place = path.child("issuer", "discoveryURL")
                self.errors.append(FieldError.duplicate(place, issuer.discovery_url))
            discovery_urls.add(issuer.discovery_url)
            found.append(issuer)
        return tuple(found)

    def _issuer(self, entry: Object, path: Path) -> Issuer:
        issuer, place = entry.get("issuer") or {}, path.child("issuer")
        url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
        if url:
            self._url(url, place.child("url"), self._disallowed)
        else:
            self._required(place.child("url"))
        if discovery:
            where = place.child("discoveryURL")
            if url and url.rstrip("/") == discovery.rstrip("/"):
                self._invalid(where, discovery, "discoveryURL must be different from URL")
            self._url(discovery, where, frozenset())
        self._audiences(issuer, place)
        authority = issuer.get("certificateAuthority") or ""
        if authority and not _is_pem(authority):
            self._invalid(
                place.child("certificateAuthority"),
                "<omitted>",
                "data does not contain any valid RSA or ECDSA certificates",
            )
        if (issuer.get("egressSelectorType") or "") not in ("", "controlplane", "cluster"):
            where = place.child("egressSelectorType")
            self._invalid(
                where, issuer["egressSelectorType"], "egress selector must be either controlplane or cluster"
            )
        rules = self._claim_rules(entry.get("claimValidationRules") or [], path.child("claimValidationRules"))
        mapping = self._mapping(entry, rules, path)
        return Issuer(url, tuple(issuer.get("audiences") or ()), mapping, discovery, authority)

    def _url(self, url: str, path: Path, disallowed: frozenset[str]) -> None:
        if url in disallowed:
            listed = " ".join(sorted(disallowed))
            self._invalid(path, url, f"URL must not overlap with disallowed issuers: [{listed}]")
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises for a port that is no number
        except ValueError as error:
            self._invalid(path, url, str(error))
            return
        if parts.scheme != "https":
            self._invalid(path, url, "URL scheme must be https")
        if "@" in parts.netloc:
            self._invalid(path, url, "URL must not contain a username or password")
        if parts.query:
            self._invalid(path, url, "URL must not contain a query")
        if parts.fragment:
            self._invalid(path, url, "URL must not contain a fragment")

    def _audiences(self, issuer: Object, place: Path) -> None:
        audiences, path = issuer.get("audiences") or [], place.child("audiences")
        if not audiences:
            self._required(path, f"at least one {path} is required")
            return
        for position, audience in enumerate(audiences):
            if not audience:
                self._required(path.index(position))
            elif audience in audiences[:position]:
                self.errors.append(FieldError.duplicate(path.index(position), audience))
        policy, where = issuer.get("audienceMatchPolicy") or "", place.child("audienceMatchPolicy")
        if len(audiences) > 1 and policy != "MatchAny":
            self._invalid(where, policy, "audienceMatchPolicy must be MatchAny for multiple audiences")
        elif policy not in ("", "MatchAny"):
            self._invalid(where, policy, "audienceMatchPolicy must be empty or MatchAny for single audience")

    def _claim_rules(self, section: list[Object], root: Path) -> list[ClaimRule]:
        found: list[ClaimRule] = []
        seen: set[tuple[str, str]] = set()
        for position, rule in enumerate(section):
            path = root.index(position)
            claim, expression = rule.get("claim") or "", rule.get("expression") or ""
            required, message = rule.get("requiredValue") or "", rule.get("message") or ""
            what = "claim" if claim else "expression"
            if claim and expression:
                self._invalid(path, claim, "claim and expression can't both be set")
                continue
            if not claim and not expression:
                self._required(path, "claim or expression is required")
                continue
            if claim and message:
                self._invalid(path.child("message"), message, "may not be specified when claim is set")
            if expression and required:
                self._invalid(
                    path.child("requiredValue"), required, "may not be specified when expression is set"
                )
            if (what, claim or expression) in seen:
                self.errors.append(FieldError.duplicate(path.child(what), claim or expression))
                continue
            seen.add((what, claim or expression))
            program = (
                self._compile(expression, path.child("expression"), condition=True) if expression else None
            )
            found.append(ClaimRule(claim, required, program, message))
        return found

    def _mapping(self, entry: Object, rules: list[ClaimRule], path: Path) -> UserMapping:
        section, place = entry.get("claimMappings") or {}, path.child("claimMappings")
        username = self._mapped(section.get("username") or {}, place.child("username"), required=True)
        groups = self._mapped(section.get("groups") or {}, place.child("groups"))
        uid_section, uid_path = section.get("uid") or {}, place.child("uid")
        uid = Mapped(uid_section.get("claim") or "")
        if uid_section.get("claim") and uid_section.get("expression"):
            self._invalid(uid_path, "", "claim and expression can't both be set")
        elif uid_section.get("expression"):
            uid = Mapped(expression=self._compile(uid_section["expression"], uid_path.child("expression")))
        extra = self._extra(section.get("extra") or [], place.child("extra"))
        programs = [username.expression, *(rule.expression for rule in rules), *(each for _, each in extra)]
        if _uses(username.expression, "email") and not any(
            _uses(each, "email_verified") for each in programs
        ):
            self._invalid(
                place.child("username", "expression"),
                (section.get("username") or {}).get("expression"),
                "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression "
                "or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
            )
        user_rules = self._user_rules(
            entry.get("userValidationRules") or [], path.child("userValidationRules")
        )
        return UserMapping(username, groups, uid, tuple(extra), tuple(rules), tuple(user_rules))

    def _mapped(self, section: Object, path: Path, *, required: bool = False) -> Mapped:
        claim, expression = section.get("claim") or "", section.get("expression") or ""
        prefix = section.get("prefix")
        if claim and expression:
            self._invalid(path, "", "claim and expression can't both be set")
        elif expression:
            if prefix is not None:
                self._invalid(path.child("prefix"), prefix, "may not be specified when expression is set")
            return Mapped(expression=self._compile(expression, path.child("expression")))
        elif claim:
            if prefix is None:
                self._required(
                    path.child("prefix"),
                    "prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                )
            return Mapped(claim, prefix or "")
        elif required:
            self._required(path, "claim or expression is required")
        return Mapped()

    def _extra(self, section: list[Object], root: Path) -> list[tuple[str, Program]]:
        found: list[tuple[str, Program]] = []
        seen: set[str] = set()
        for position, mapping in enumerate(section):
            path = root.index(position)
            key, expression = mapping.get("key") or "", mapping.get("valueExpression") or ""
            self._extra_key(key, path.child("key"))
            if key in seen:
                self.errors.append(FieldError.duplicate(path.child("key"), key))
                continue
            seen.add(key)
            if not expression:
                self._required(path.child("valueExpression"))
                continue
            program = self._compile(expression, path.child("valueExpression"))
            if program is not None:
                found.append((key, program))
        return found

    def _extra_key(self, key: str, path: Path) -> None:
        domain, slash, rest = key.partition("/")
        if not key:
            self._required(path)
        elif not slash or not domain or not rest:
            self._invalid(path, key, 'must be a domain-prefixed path (such as "acme.io/foo")')
        elif problems := names.dns1123_subdomain(domain):
            self._invalid(path, domain, problems[0])
        if key != key.lower():
            self._invalid(path, key, "must be lowercase")
        if any(domain == owner or domain.endswith(f".{owner}") for owner in ("k8s.io", "kubernetes.io")):
            self._invalid(
                path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            )

    def _user_rules(self, section: list[Object], root: Path) -> list[UserRule]:
        found: list[UserRule] = []
        seen: set[str] = set()
        for position, rule in enumerate(section):
            path, expression = root.index(position).child("expression"), rule.get("expression") or ""
            if not expression:
                self._required(path)
                continue
            if expression in seen:
                self.errors.append(FieldError.duplicate(path, expression))
                continue
            seen.add(expression)
            program = self._compile(expression, path, condition=True, of_user=True)
            if program is not None:
                found.append(UserRule(program, rule.get("message") or ""))
        return found

    def _compile(
        self, text: str, path: Path, *, condition: bool = False, of_user: bool = False
    ) -> Program | None:
        from tiphys.machinery.cel import BOOL, DYN, CelError

        try:
            program = (_user_environment() if of_user else _claims_environment()).compile(text)
        except CelError as error:
            self._invalid(path, text, f"compilation failed: {error}")
            return None
        if condition and program.type not in (BOOL, DYN):
            self._invalid(path, text, "must evaluate to bool")
            return None
        return program

    def _invalid(self, path: Path, value: Any, detail: str) -> None:
        self.errors.append(FieldError.invalid(path, value, detail))

    def _required(self, path: Path, detail: str = "") -> None:
        self.errors.append(FieldError.required(path, detail))


@cache
def _claims_environment() -> Environment:
    from tiphys.machinery.cel import DYN, STRING, Environment, map_of

    return Environment({"claims": map_of(STRING, DYN)})


@cache
def _user_environment() -> Environment:
    from tiphys.machinery.cel import STRING, Environment, list_of, map_of, object_type

    properties = {
        "username": STRING,
        "uid": STRING,
        "groups": list_of(STRING),
        "extra": map_of(STRING, list_of(STRING)),
    }
    return Environment({"user": object_type("kubernetes.UserInfo", properties, escapes=False)})


def _uses(program: Program | None, claim: str) -> bool:
    """Whether an expression looks at `claims.<claim>`."""
    return program is not None and _selects(program.node, claim)


def _selects(node: Any, claim: str) -> bool:
    from tiphys.machinery.cel import syntax

    if isinstance(node, list):
        return any(_selects(each, claim) for each in node)
    if not isinstance(node, syntax.Node | syntax.Entry):
        return False
    if isinstance(node, syntax.Select | syntax.Presence) and node.name == claim:
        operand = node.operand
        if isinstance(operand, syntax.Identifier) and operand.name == "claims":
            return True
    return any(_selects(getattr(node, each.name, None), claim) for each in fields(node))


def _is_pem(text: str) -> bool:
    from cryptography import x509

    try:
        return bool(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        return False
