"""What the pods of one node take of it, each as much as it is granted, from its admission to its end. One a node.

Pods' workers keep it. Who would come onto the node is held against it by the gate, and who would have more than it was granted by
`Resizing`: so neither gives away what the other has given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiphys.api.core.pod_resources import qos_class
from tiphys.kubelet import allocation, fit
from tiphys.kubelet.allocation import Refusal
from tiphys.kubelet.fit import Amounts
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.quantity import Quantity


class Account:
    """`allocatable` empty: resizes are never refused. Belongs to the kubelet's loop and asks nobody.

    `fixed_by`: the manager that has given Guaranteed pods parts of the machine, and gives no other ones.
    """

    def __init__(self, allocatable: Mapping[str, Quantity] | None = None, *, fixed_by: str = "") -> None:
        self._allocatable = allocatable or {}
        self._fixed_by = fixed_by
        self._taken: dict[str, Amounts] = {}
        self._waiting: dict[str, Callable[[], None]] = {}

    def take(self, pod: Object) -> None:
        """`pod` as it is granted from now on."""
        uid, amounts = meta.uid(pod), fit.requests(pod)
        if self._taken.get(uid) != amounts:
            self._taken[uid] = amounts
            self._retry()

    def release(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        if self._taken.pop(uid, None) is not None:
            self._retry()

    def others(self, pod: Object) -> list[Amounts]:
        """What all but this one take."""
        uid = meta.uid(pod)
        return [amounts for other, amounts in self._taken.items() if other != uid]

    def ask(self, pod: Object, wake: Callable[[], None]) -> Refusal | None:
        """Whether the pod may have what it asks for; if not yet, `wake` is called when it is worth to ask again."""
        uid, amounts = meta.uid(pod), fit.requests(pod)
        self._waiting.pop(uid, None)
        if self._fixed_by and qos_class(pod["spec"]) == "Guaranteed":
            told = f"Resize is infeasible for Guaranteed Pods alongside {self._fixed_by} static policy"
            return Refusal("Infeasible", told)
        taken = self._taken.get(uid)
        if taken is not None and not allocation.grows(amounts, taken):
            return None
        found = allocation.refusal(amounts, self.others(pod), self._allocatable)
        if found is not None and found.reason == "Deferred":
            self._waiting[uid] = wake
        return found

    def _retry(self) -> None:
        for wake in list(self._waiting.values()):
            wake()
