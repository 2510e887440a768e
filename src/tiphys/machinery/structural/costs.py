"""What the rules of a whole definition could cost together (apiextensions `validation/cel_validation.go`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.machinery.cel.ranges import UNLIMITED
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.structural.correlation import Schema

RULE_LIMIT = 10_000_000
DEFINITION_LIMIT = 100_000_000
_TOLD = 4
_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength "
    "where arrays, maps, and strings are declared)"
)


@dataclass(slots=True)
class TotalCost:
    """The sum, and the few rules that contribute most: those of at least a hundredth of what is allowed."""

    total: int = 0
    most_expensive: list[tuple[int, Path]] = field(default_factory=list)

    def observe(self, path: Path, cost: int) -> None:
        self.total = min(self.total + cost, UNLIMITED)
        if cost >= DEFINITION_LIMIT // 100:
            self.most_expensive.append((cost, path))
            self.most_expensive.sort(key=lambda each: -each[0])
            del self.most_expensive[_TOLD:]

    def errors(self, path: Path) -> list[FieldError]:
        if self.total <= DEFINITION_LIMIT:
            return []
        detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        errors = [FieldError.forbidden(each, detail) for _, each in self.most_expensive]
        what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [*errors, FieldError.forbidden(path, too_costly(what, self.total, DEFINITION_LIMIT))]


def too_costly(what: str, cost: int, limit: int) -> str:
    times = cost / limit
    if times > 100:
        factor = "more than 100x"
    else:
        factor = f"{times:.6f}x" if times < 1.5 else f"{times:.1f}x"
    return f"{what} exceeds budget by factor of {factor} {_ADVICE}"


def times(cost: int, count: int) -> int:
    return min(cost * count, UNLIMITED)


def multiplied(count: int | None, schema: Schema) -> int | None:
    """How many values there can be below a schema, when there can be `count` of it. None: nobody knows."""
    if count is None:
        return None
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    elif kind == "array":
        most = schema.get("maxItems")
    else:
        return count
    return None if most is None else times(count, max(most, 0))
