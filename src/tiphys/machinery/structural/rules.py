"""Rules of a schema (`x-kubernetes-validations`) as programs (apiextensions-apiserver `schema/cel/compilation.go`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tiphys.machinery.cel import CelError, Environment, Program, Type, optional_of
from tiphys.machinery.cel.references import variables_of
from tiphys.machinery.cel.types import BOOL, STRING
from tiphys.machinery.errors import Path
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.declarations import Declared
from tiphys.machinery.structural.fieldpaths import FieldPathError, resolve

SELF, OLD_SELF = "self", "oldSelf"
TYPE_NAME = "selfType"
Rule = Mapping[str, Any]


@dataclass(slots=True)
class Compiled:
    """One rule. Without a program: its text is empty (then there is no error), or it does not compile."""

    rule: Rule
    program: Program | None = None
    error: str = ""
    message: Program | None = None
    message_error: str = ""
    uses_old_self: bool = False
    field_path: Path | None = None

    @property
    def is_optional_old_self(self) -> bool:
        return bool(self.rule.get("optionalOldSelf"))

    @property
    def text(self) -> str:
        """What is said of the rule when it cannot be evaluated: its message, or else the rule itself."""
        return str(self.rule.get("message") or self.rule.get("rule") or "").strip()

    @property
    def default_message(self) -> str:
        message = str(self.rule.get("message") or "")
        return message.strip() if message else f"failed rule: {self.text}"


def compile_rules(schema: Schema, declared: Declared) -> list[Compiled]:
    """The rules of this schema, without those below it."""
    plain = _environment(declared.type, declared.type)
    optional: Environment | None = None
    compiled = []
    for rule in schema.get("x-kubernetes-validations") or ():
        environment = plain
        if rule.get("optionalOldSelf"):
            if optional is None:
                optional = _environment(declared.type, optional_of(declared.type))
            environment = optional
        compiled.append(_compile(schema, rule, environment))
    return compiled


def _environment(this: Type, old: Type) -> Environment:
    return Environment({SELF: this, OLD_SELF: old})


def _compile(schema: Schema, rule: Rule, environment: Environment) -> Compiled:
    made = Compiled(rule)
    text = rule.get("rule") or ""
    if not text.strip():
        return made
    try:
        program = environment.compile(text)
    except CelError as error:
        made.error = f"compilation failed: {error}"
        return made
    if program.type.name != BOOL.name:
        made.error = "cel expression must evaluate to a bool"
        return made
    made.program = program
    made.uses_old_self = OLD_SELF in variables_of(program.node)
    if rule.get("messageExpression"):
        _compile_message(made, rule["messageExpression"], environment)
    if made.message_error:
        return made
    if rule.get("fieldPath"):
        try:
            made.field_path = resolve(rule["fieldPath"], schema)[0]
        except FieldPathError:
            made.field_path = None
    return made


def _compile_message(made: Compiled, text: str, environment: Environment) -> None:
    try:
        program = environment.compile(text)
    except CelError as error:
        made.message_error = f"messageExpression compilation failed: {error}"
        return
    if program.type.name != STRING.name:
        made.message_error = "messageExpression must evaluate to a string"
        return
    made.message = program
