"""From the claims of a proven token to a user, by the mappings and rules of one issuer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiphys.apiserver.authentication.tokens import TokenError
from tiphys.apiserver.call import User
from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from tiphys.machinery.cel import Program

Object = dict[str, Any]


@frozen
class Mapped:
    """A value: of a claim, with a prefix, or of an expression. Neither: there is none."""

    claim: str = ""
    prefix: str = ""
    expression: Program | None = None


@frozen
class ClaimRule:
    claim: str = ""
    required: str = ""
    expression: Program | None = None
    message: str = ""


@frozen
class UserRule:
    expression: Program
    message: str = ""


@frozen
class UserMapping:
    """What makes a user of claims, and what both must be like."""

    username: Mapped
    groups: Mapped = Mapped()
    uid: Mapped = Mapped()
    extra: tuple[tuple[str, Program], ...] = ()
    claim_rules: tuple[ClaimRule, ...] = ()
    user_rules: tuple[UserRule, ...] = ()

    def user(self, claims: Object) -> User:
        """Raises TokenError."""
        for rule in self.claim_rules:
            _check_claims(rule, claims)
        groups = self._groups(claims)
        name = self._username(claims)
        uid = self._uid(claims)
        extra = {key: found for key, program in self.extra if (found := _extra(key, program, claims))}
        user = User(name, (*groups, "system:authenticated"), uid, extra)
        # The rules see the groups that the provider gave; the one of all who have come in is ours.
        shown = {"username": name, "uid": uid, "groups": list(groups), "extra": extra}
        for user_rule in self.user_rules:
            _check_user(user_rule, shown)
        return user

    def _username(self, claims: Object) -> str:
        if self.username.expression is not None:
            name = _value(
                self.username.expression, {"claims": claims}, "error evaluating username claim expression"
            )
            if not isinstance(name, str):
                raise TokenError(
                    "oidc: error evaluating username claim expression: username claim must be a string"
                )
            if not name:
                raise TokenError("oidc: empty username via CEL expression is not allowed")
            return name
        claim = self.username.claim
        name = claims.get(claim)
        if not isinstance(name, str):
            problem = "claim not present" if claim not in claims else "not a string"
            raise TokenError(f'oidc: parse username claims "{claim}": {problem}')
        if claim == "email" and "email_verified" in claims and claims["email_verified"] is not True:
            raise TokenError("oidc: email not verified")
        return self.username.prefix + name

    def _groups(self, claims: Object) -> tuple[str, ...]:
        mapped = self.groups
        if mapped.expression is not None:
            found = _value(mapped.expression, {"claims": claims}, "error evaluating group claim expression")
            problem = "oidc: error evaluating group claim expression: expression must return a string or a list of strings"
        else:
            found = claims.get(mapped.claim) if mapped.claim else None
            problem = f'oidc: parse groups claim "{mapped.claim}": it must be a string or a list of strings'
        names = texts(found)
        if names is None:
            raise TokenError(problem)
        return tuple(mapped.prefix + name for name in names)

    def _uid(self, claims: Object) -> str:
        if self.uid.expression is not None:
            found = _value(self.uid.expression, {"claims": claims}, "error evaluating uid claim expression")
        elif self.uid.claim:
            found = claims.get(self.uid.claim)
        else:
            return ""
        if not isinstance(found, str):
            raise TokenError("oidc: uid claim must be a string")
        return found


def texts(value: Any) -> list[str] | None:
    """A string or a list of strings as a list; null is none of them; None: it is something else."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        return list(value)
    return None


def _extra(key: str, program: Program, claims: Object) -> list[str]:
    found = texts(_value(program, {"claims": claims}, "error evaluating extra claim expression"))
    if found is None:
        raise TokenError(
            f'oidc: error evaluating extra claim expression: extra "{key}" must be a string or a list of strings'
        )
    return [each for each in found if each]


def _check_claims(rule: ClaimRule, claims: Object) -> None:
    if rule.expression is not None:
        found = _value(rule.expression, {"claims": claims}, "error evaluating claim validation expression")
        if found is not True:
            said = rule.message or f"validation expression '{rule.expression.text}' failed"
            raise TokenError(f"oidc: error evaluating claim validation expression: {said}")
        return
    if rule.claim not in claims:
        raise TokenError(f"oidc: required claim {rule.claim} not present in ID token")
    value = claims[rule.claim]
    if not isinstance(value, str):
        raise TokenError(f"oidc: parse claim {rule.claim}: it must be a string")
    if value != rule.required:
        raise TokenError(
            f"oidc: required claim {rule.claim} value does not match. Got = {value}, want = {rule.required}"
        )


def _check_user(rule: UserRule, user: Object) -> None:
    if _value(rule.expression, {"user": user}, "error evaluating user info validation rule") is not True:
        said = rule.message or f"validation expression '{rule.expression.text}' failed"
        raise TokenError(f"oidc: error evaluating user info validation rule: {said}")


def _value(program: Program, bindings: Mapping[str, Any], what: str) -> Any:
    from tiphys.machinery.cel import CelRuntimeError

    try:
        return program.evaluate(bindings)
    except CelRuntimeError as error:
        raise TokenError(f"oidc: {what}: expression '{program.text}' resulted in error: {error}") from None
