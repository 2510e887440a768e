"""ControllerRevisions: the templates that a StatefulSet or a DaemonSet has had, under numbers, for `kubectl rollout`.

A revision's data is the patch that brings its template back (`spec.template` with `$patch: replace`): `rollout undo` sends it as it
is, and compares it byte for byte with the present template's, so its fields stand in Go's order, the alphabet's. Equal data is the
same revision: who goes back to an earlier template gets that revision again, with a new number. The rules are upstream's
`pkg/controller/history`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tiphys.client.cache import BY_CONTROLLER, View
from tiphys.client.resources import CONTROLLERREVISIONS
from tiphys.client.transport import Object
from tiphys.controllers.actions import Action, Create, Delete, Update
from tiphys.controllers.claims import Claims, claim
from tiphys.controllers.pods import spec_of, status_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import label_selector_from_dict

POD_HASH = "controller-revision-hash"
"""On pods: a DaemonSet's have the hash there, a StatefulSet's the whole name of the revision."""
LONGEST_PREFIX = 223
"""So much of an owner's name is in its revisions' names: room is left for the hash."""


@frozen
class History:
    """What an owner's revisions are. `namesake`: whoever has the name that a revision of the present template would get."""

    claims: Claims
    namesake: Object | None

    @property
    def revisions(self) -> list[Object]:
        """The highest number last."""
        return sorted(self.claims.owned, key=_rank)


@frozen
class Lineage:
    """`update` is the revision of the present template, and `actions` make it so; None: another object has its name."""

    update: Object | None
    all: tuple[Object, ...] = ()
    actions: tuple[Action, ...] = ()

    @property
    def others(self) -> list[Object]:
        return [revision for revision in self.all if meta.name(revision) != meta.name(self.update or {})]


def _rank(revision: Object) -> tuple[int, str, str]:
    return number_of(revision), meta.metadata(revision).get("creationTimestamp") or "", meta.name(revision)


def number_of(revision: Object) -> int:
    return revision.get("revision") or 0


def template_of(revision: Object) -> dict[str, Any]:
    """The template that a revision remembers."""
    template = spec_of(revision.get("data") or {}).get("template") or {}
    return {field: value for field, value in template.items() if field != "$patch"}


def data_of(owner: Object) -> dict[str, Any]:
    """The patch that brings the present template back."""
    template = {**(spec_of(owner).get("template") or {}), "$patch": "replace"}
    return {"spec": {"template": _ordered(template)}}


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_ordered(each) for each in value]
    return value


def hash_of(owner: Object) -> str:
    return meta.template_hash(data_of(owner), status_of(owner).get("collisionCount") or None)


def next_name(owner: Object) -> str:
    return f"{meta.name(owner)[:LONGEST_PREFIX]}-{hash_of(owner)}"


def observe_history(owner: Object, view: View) -> History:
    owned = view.by(CONTROLLERREVISIONS, BY_CONTROLLER, meta.uid(owner))
    orphans = view.by(CONTROLLERREVISIONS, BY_CONTROLLER, f"orphan/{meta.namespace(owner)}")
    selector = label_selector_from_dict(spec_of(owner).get("selector"))
    adopted = claim(owner, selector, orphans, CONTROLLERREVISIONS)
    # None is let go of: their labels are those that the template had then.
    return History(
        Claims((*owned, *adopted.owned), adopted.patches),
        view.get(CONTROLLERREVISIONS, next_name(owner), meta.namespace(owner)),
    )


def settle(owner: Object, history: History, *, hash_label: str) -> Lineage:
    """Finds or makes the revision of the present template, and gives it the highest number."""
    known, data = history.revisions, data_of(owner)
    highest = number_of(known[-1]) if known else 0
    equal = [revision for revision in known if revision.get("data") == data]
    if not equal:
        return _begin(owner, history, hash_label, highest + 1)
    update = equal[-1]
    adopted = {patch.name for patch in history.claims.patches}
    if update is known[-1] or meta.name(update) in adopted:
        # An adopted one is written again only after the adoption is seen: its version changes with it.
        return Lineage(update, tuple(known), history.claims.patches)
    newest = {**update, "revision": highest + 1}
    remaining = (revision for revision in known if revision is not update)
    return Lineage(
        newest, (*remaining, newest), (*history.claims.patches, Update(CONTROLLERREVISIONS, newest))
    )


def _begin(owner: Object, history: History, hash_label: str, number: int) -> Lineage:
    known = tuple(history.revisions)
    if history.namesake is not None:
        if history.namesake.get("data") != data_of(owner):
            return Lineage(None, known, history.claims.patches)
        # Somebody else's, of the same template: of a namesake that is just going away, say. It will be replaced when it is gone.
        return Lineage(history.namesake, (*known, history.namesake), history.claims.patches)
    made = _revision(owner, hash_label, number)
    return Lineage(made, (*known, made), (*history.claims.patches, Create(CONTROLLERREVISIONS, made)))


def _revision(owner: Object, hash_label: str, number: int) -> Object:
    annotations = dict(meta.annotations(owner))
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": next_name(owner),
            "namespace": meta.namespace(owner),
            "labels": {
                **meta.labels(spec_of(owner).get("template") or {}),
                hash_label: hash_of(owner),
            },
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [meta.controller_reference(owner)],
        },
        "data": data_of(owner),
        "revision": number,
    }


def after_collision(owner: Object) -> Object:
    """The owner, counting one more collision: another count gives another hash."""
    status = status_of(owner)
    return {**owner, "status": {**status, "collisionCount": status.get("collisionCount", 0) + 1}}


def truncate(
    owner: Object, revisions: Sequence[Object], is_live: Callable[[Object], bool]
) -> Iterable[Delete]:
    """Of these, the oldest ones beyond revisionHistoryLimit; a revision that some pod still has stays."""
    surplus = len(revisions) - spec_of(owner).get("revisionHistoryLimit", 10)
    if surplus <= 0:
        return
    dead = [revision for revision in sorted(revisions, key=_rank) if not is_live(revision)]
    for revision in dead[:surplus]:
        yield Delete(
            CONTROLLERREVISIONS,
            meta.name(revision),
            meta.namespace(revision),
            uid=meta.uid(revision),
        )
