"""The two plugins. What they do is imported, and CEL with it, when the first policy is asked: most servers have none."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.policy.hooks import Hooks

if TYPE_CHECKING:
    from tiphys.apiserver.admission.policy import mutating, validating


class MutatingAdmissionPolicy:
    name = "MutatingAdmissionPolicy"

    def __init__(self) -> None:
        self._hooks = Hooks(
            "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", _compile_mutations
        )

    def follow(self, changed: Callable[[], None]) -> None:
        self._hooks.changed = changed

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return bool(self._hooks.of(attributes))

    def admit(self, attributes: Attributes) -> Coroutine[Any, Any, None] | None:
        hooks = self._hooks.of(attributes)
        if not hooks:
            return None
        from tiphys.apiserver.admission.policy.mutating import change

        return change(attributes, hooks)


def _compile_mutations(policy: Object) -> mutating.Evaluator:
    from tiphys.apiserver.admission.policy.mutating import Evaluator

    return Evaluator(policy)


class ValidatingAdmissionPolicy:
    name = "ValidatingAdmissionPolicy"

    def __init__(self) -> None:
        self._hooks = Hooks(
            "validatingadmissionpolicies", "validatingadmissionpolicybindings", _compile_validations
        )

    def follow(self, changed: Callable[[], None]) -> None:
        self._hooks.changed = changed

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return bool(self._hooks.of(attributes))

    def validate(self, attributes: Attributes) -> Coroutine[Any, Any, None] | None:
        hooks = self._hooks.of(attributes)
        if not hooks:
            return None
        from tiphys.apiserver.admission.policy.validating import judge

        return judge(attributes, hooks)


def _compile_validations(policy: Object) -> validating.Evaluator:
    from tiphys.apiserver.admission.policy.validating import Evaluator

    return Evaluator(policy)
