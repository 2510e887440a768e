"""Shared bits of printing: how long ago, which containers, and the columns of a kind that has none of its own.

`kubectl get` prints what the server answers, so the words here are upstream's (`pkg/printers/internalversion`,
apimachinery `util/duration`). Descriptions of columns are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import metadata, name, parse_time
from tiphys.machinery.selectors import SelectorError, label_selector_from_dict

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"

NAME = Column("Name", format="name", description="Name of the object, unique for its kind and namespace.")
AGE = Column("Age", description="Time since the object was created.")
CONTAINERS = Column("Containers", priority=1, description="Names of the containers in the template.")
IMAGES = Column("Images", priority=1, description="Images of the containers in the template.")
SELECTOR = Column("Selector", priority=1, description="Label selector of the pods that belong to the object.")


def human_duration(seconds: float) -> str:
    """A length of time in at most two units, as `duration.HumanDuration`: 5s, 2m30s, 12m, 4h5m, 3d2h, 2y10d."""
    total = int(seconds)  # the part after the point is cut
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    if total < 120:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


class Later(datetime):
    """A `now` that is not known yet, for a row that is made once and shown at many times: where it says how long ago a time was,
    the time itself stands between two marks. `asked`: how many of these a row has got; another mark was in the object."""

    MARK = "\0"
    __slots__ = ("asked",)
    asked: int

    def __new__(cls) -> Later:
        later = super().__new__(cls, 1, 1, 1, tzinfo=UTC)
        later.asked = 0
        return later

    def leave(self, time: str) -> str:
        self.asked += 1
        return f"{self.MARK}{time}{self.MARK}"

    def __sub__(self, other: object) -> NoReturn:
        raise TypeError("columns tell of times with since() only")

    __rsub__ = __lt__ = __le__ = __gt__ = __ge__ = __sub__


def since(time: str | None, now: datetime) -> str:
    """How long ago a time of an object was. ValueError if it is none. What this returns stands in the row once, and as it is."""
    if not time:
        return UNKNOWN
    moment = _moment(time)
    if type(now) is Later:
        return now.leave(time)
    return human_duration((now - moment).total_seconds())


@lru_cache(maxsize=4096)
def _moment(time: str) -> datetime:
    """Thousands of objects were made in few different seconds."""
    return parse_time(time)


def age(obj: Object, now: datetime) -> str:
    return since(metadata(obj).get("creationTimestamp"), now)


def container_cells(template: Object | None) -> tuple[str, str]:
    """Names and images of a template's containers."""
    containers = ((template or {}).get("spec") or {}).get("containers") or ()
    return (
        ",".join(container.get("name", "") for container in containers),
        ",".join(container.get("image", "") for container in containers),
    )


def format_labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) if labels else NONE


def format_label_selector(selector: Mapping[str, Any] | None) -> str:
    """`metav1.FormatLabelSelector`: a selector that selects nothing or everything is none."""
    try:
        return str(label_selector_from_dict(selector)) or NONE
    except SelectorError:
        return "<error>"


def list_with_more(items: Iterable[str], limit: int = 3) -> str:
    """`a,b,c + 2 more...`"""
    everything = list(items)
    shown = ",".join(everything[:limit])
    hidden = len(everything) - limit
    return f"{shown} + {hidden} more..." if hidden > 0 else shown


def _default_cells(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), metadata(obj).get("creationTimestamp")]


DEFAULT_TABLE = Table(
    (NAME, Column("Created At", format="date", description="When the object was created.")), _default_cells
)
"""For kinds without columns of their own: kubectl turns the time into an age."""


def _name_and_age(obj: Object, now: datetime) -> list[Any]:
    return [name(obj), age(obj, now)]


NAME_AND_AGE = Table((NAME, AGE), _name_and_age)
