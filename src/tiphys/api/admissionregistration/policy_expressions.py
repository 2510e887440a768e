"""The expressions of one admission policy, compiled in the order in which they may refer to each other.

Variables come first: each is known to those after it and to all the rest, as `variables.<name>`. What does not compile is kept
with its reason: the API refuses a policy for that, the server holds it against the requests that the policy is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from tiphys.api.admissionregistration.expressions import environment
from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from tiphys.machinery.cel import Environment, Program, Type

BUDGET = 10_000_000
"""What the expressions of a policy may cost together, for one request, one binding and one set of parameters."""
ANYTHING: tuple[str, ...] = ()
BOOLEAN = ("bool",)
TEXT = ("string",)
TEXT_OR_NULL = ("string", "null_type")
OBJECT = ("Object",)
PATCH = ("list(JSONPatch)",)
_AUTHORIZER = ("authorizer", "authorizer.requestResource")


@frozen
class Expression:
    """One expression. `error` says why there is no program."""

    text: str
    program: Program | None = None
    error: str = ""


class Expressions:
    """Compiles those of one policy. `composed`: there is `variables`, if only an empty one."""

    def __init__(self, *, params: bool, composed: bool = True) -> None:
        self._params = params
        self._composed = composed
        self._types: dict[str, Type] = {}
        self._environments: dict[str, Environment] = {}

    def variable(self, name: str, text: str) -> Expression:
        from tiphys.machinery.cel import DYN

        made = self.compile(text, ANYTHING)
        self._types = {**self._types, name: DYN if made.program is None else kept_type(made.program.type)}
        self._environments.clear()
        return made

    def compile(
        self, text: str, results: Sequence[str], *, authorizer: bool = True, patches: bool = False
    ) -> Expression:
        """`results`: what it may evaluate to. `patches`: Object{...} and JSONPatch{...} can be made."""
        from tiphys.machinery.cel import CelError

        key = "patches" if patches else "all" if authorizer else "message"
        known = self._environments.get(key)
        if known is None:
            known = self._environments[key] = self._environment(authorizer=authorizer, patches=patches)
        try:
            program = known.compile(text)
        except CelError as error:
            return Expression(text, error=f"compilation failed: {error}")
        found = shown(program.type)
        if results and found not in results:
            wanted = f"to {results[0]}" if len(results) == 1 else f"to one of [{' '.join(results)}]"
            return Expression(text, error=f"must evaluate {wanted} but got {found}")
        return Expression(text, program)

    def _environment(self, *, authorizer: bool, patches: bool) -> Environment:
        from tiphys.machinery.cel import Environment, object_type
        from tiphys.machinery.cel.library import JSON_PATCH, KUBERNETES
        from tiphys.machinery.cel.library.authorizer import AUTHORIZER

        base = environment(params=self._params)
        variables = {
            name: this for name, this in base.variables.items() if authorizer or name not in _AUTHORIZER
        }
        if self._composed:
            variables["variables"] = object_type("kubernetes.variables", self._types, escapes=False)
        libraries = (*KUBERNETES, AUTHORIZER, JSON_PATCH) if patches else (*KUBERNETES, AUTHORIZER)
        if not patches:
            return Environment(variables, libraries=libraries)
        return Environment(
            variables, libraries=libraries, named_types={"JSONPatch": _json_patch()}, open_root="Object"
        )


@cache
def _json_patch() -> Type:
    from tiphys.machinery.cel import DYN, STRING, object_type

    return object_type("JSONPatch", {"op": STRING, "path": STRING, "from": STRING, "value": DYN})


def kept_type(this: Type) -> Type:
    """What is known of the type of a variable: scalars, and lists and maps of them."""
    from tiphys.machinery.cel import DYN, list_of, map_of
    from tiphys.machinery.cel.types import LIST, MAP, PRIMITIVE

    if this.kind == PRIMITIVE:
        return this
    if this.kind == LIST:
        return list_of(kept_type(this.parameters[0]))
    if this.kind == MAP:
        return map_of(kept_type(this.parameters[0]), kept_type(this.parameters[1]))
    return DYN


def shown(this: Type) -> str:
    """A type as upstream's messages name it."""
    from tiphys.machinery.cel.types import value_name

    if this.parameters:
        return f"{this.name}({', '.join(map(shown, this.parameters))})"
    return value_name(this)
