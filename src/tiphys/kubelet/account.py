"""What the pods of one node take of it, each as much as it is granted, from its admission to its end. One a node.

Pods' workers keep it. Who would come onto the node is held against it by the gate, and who would have more than it was granted by
`Resizing`: so neither gives away what the other has given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from tiphys.api.core.pod_resources import qos_class
from tiphys.kubelet import allocation, fit
from tiphys.kubelet.allocation import Refusal
from tiphys.kubelet.fit import Amounts
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.quantity import Quantity

_MANAGERS = (("cpu", "CPU", "static"), ("memory", "Memory", "Static"))


class Account:
    """`allocatable` empty: resizes are never refused. Belongs to the kubelet's loop and asks nobody.

    `fixed`: resources of which managers have given Guaranteed pods a part of the machine, and give no other one.
    """

    def __init__(
        self, allocatable: Mapping[str, Quantity] | None = None, *, fixed: Collection[str] = ()
    ) -> None:
        self._allocatable = allocatable or {}
        self._fixed = fixed
        self._taken: dict[str, Amounts] = {}
        self._waiting: dict[str, Callable[[str], None]] = {}

    def take(self, pod: Object) -> None:
        """`pod` as it is granted from now on."""
        uid, amounts = meta.uid(pod), fit.requests(pod)
        before = self._taken.get(uid)
        if before != amounts:
            self._taken[uid] = amounts
            self._retry("pods_added" if before is None else "pod_resized")

    def release(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        if self._taken.pop(uid, None) is not None:
            self._retry("pods_removed")

    def others(self, pod: Object) -> list[Amounts]:
        """What all but this one take."""
        uid = meta.uid(pod)
        return [amounts for other, amounts in self._taken.items() if other != uid]

    def ask(self, pod: Object, wake: Callable[[str], None], changed: Collection[str] = ()) -> Refusal | None:
        """Whether the pod may have what it asks for; if not yet, `wake` is called with the reason when it is worth to ask again.

        `changed`: resources of which one of its containers asks for something else.
        """
        uid, amounts = meta.uid(pod), fit.requests(pod)
        self._waiting.pop(uid, None)
        if qos_class(pod["spec"]) == "Guaranteed":
            for resource, manager, policy in _MANAGERS:
                if resource in self._fixed and resource in changed:
                    told = f'alongside {manager} Manager policy "{policy}"'
                    detail = f"guaranteed_pod_{manager.lower()}_manager_static_policy"
                    return Refusal("Infeasible", f"Resize is infeasible for Guaranteed Pods {told}", detail)
        taken = self._taken.get(uid)
        if taken is not None and not allocation.grows(amounts, taken):
            return None
        found = allocation.refusal(amounts, self.others(pod), self._allocatable)
        if found is not None and found.reason == "Deferred":
            self._waiting[uid] = wake
        return found

    def _retry(self, trigger: str) -> None:
        for wake in list(self._waiting.values()):
            wake(trigger)
