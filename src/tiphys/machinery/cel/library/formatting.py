"""`"%s is %d".format([name, count])` (cel-go `ext/formatting.go`, for American English as in Kubernetes)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from tiphys.machinery.cel import times
from tiphys.machinery.cel.conversions import to_string
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.measures import Walk, check_length
from tiphys.machinery.cel.types import Type, of_value, value_name
from tiphys.machinery.cel.values import Duration, Timestamp
from tiphys.machinery.quoting import quote

PRECISION_LIMIT = 1000
_clause = re.compile(r"%(?:(%)|(?:\.([0-9]*))?(.)?)", re.DOTALL | re.ASCII)
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def format_text(template: str, values: Sequence[Any]) -> str:
    parts: list[str] = []
    position = index = total = 0
    for found in _clause.finditer(template):
        parts.append(template[position : found.start()])
        position = found.end()
        if found[1]:
            parts.append("%")
            continue
        clause = _find_clause(found)
        if index >= len(values):
            raise CelRuntimeError(f"index {index} out of range")
        parts.append(clause(values[index], _precision(found)))
        total += len(parts[-1])
        check_length(total)
        index += 1
    parts.append(template[position:])
    return "".join(parts)


def _find_clause(found: re.Match[str]) -> Callable[[Any, int], str]:
    if found[3] is None:
        raise CelRuntimeError("unexpected end of string")
    clause = _CLAUSES.get(found[3])
    if clause is None:
        raise CelRuntimeError(
            f'could not parse formatting clause: unrecognized formatting clause "{found[3]}"'
        )
    return clause


def _precision(found: re.Match[str]) -> int:
    if found[2] is None:
        return 6
    if not found[2]:
        raise CelRuntimeError(
            "could not parse formatting clause: error while parsing precision: could not find end of precision specifier"
        )
    if len(found[2]) > 4 or int(found[2]) > PRECISION_LIMIT:
        raise CelRuntimeError(f"precision limit exceeded: {PRECISION_LIMIT}")
    return int(found[2])


def _bad(what: str, value: Any) -> CelRuntimeError:
    return CelRuntimeError(f"error during formatting: {what}, was given {value_name(of_value(value))}")


def _string(value: Any, _precision: int = 0) -> str:
    return _shown(value, Walk())


def _shown(value: Any, walk: Walk) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        walk.step(len(value))
        return f"[{', '.join(_nested(each, walk) for each in value)}]"
    if isinstance(value, dict):
        walk.step(len(value))
        pairs = sorted((_key(key), _nested(each, walk)) for key, each in value.items())
        return f"{{{', '.join(f'{key}:{each}' for key, each in pairs)}}}"
    try:
        return to_string(value)
    except CelRuntimeError:
        kinds = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        raise _bad(f"string clause can only be used on {kinds}", value) from None


def _key(key: Any) -> str:
    return quote(key) if isinstance(key, str) else to_string(key)


def _nested(value: Any, walk: Walk) -> str:
    """A value inside a list or map: as an expression would have it."""
    if isinstance(value, str):
        walk.step(len(value) // 10)
        return quote(value)
    if isinstance(value, bytes):
        return f"b{quote(to_string(value))}"
    if isinstance(value, float):
        if math.isfinite(value):
            return f"{value:.6f}"
        return quote("NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf")
    if isinstance(value, Timestamp):
        return f"timestamp({quote(times.timestamp_text(value))})"
    if isinstance(value, Duration):
        return f"duration({quote(times.duration_text(value))})"
    if isinstance(value, Type):
        return to_string(value)
    return _shown(value, walk)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _decimal(value: Any, _precision: int) -> str:
    if not _is_int(value):
        raise _bad("decimal clause can only be used on integers", value)
    return str(int(value))


def _number(value: Any, clause: str) -> float:
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if not isinstance(value, float):
        raise _bad(f"{clause} clause can only be used on doubles", value)
    return value


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"


def _fixed(value: Any, precision: int) -> str:
    number = _number(value, "fixed-point")
    return f"{number:,.{precision}f}" if math.isfinite(number) else _not_finite(number)


def _scientific(value: Any, precision: int) -> str:
    number = _number(value, "scientific")
    if not math.isfinite(number):
        return _not_finite(number)
    mantissa, _, exponent = f"{number:.{precision}e}".partition("e")
    return f"{mantissa}\u202f×\u202f10{exponent.removeprefix('+').translate(_SUPERSCRIPTS)}"


def _binary(value: Any, _precision: int) -> str:
    if not isinstance(value, int):
        raise _bad("only integers and bools can be formatted as binary", value)
    return format(int(value), "b")


def _octal(value: Any, _precision: int) -> str:
    if not _is_int(value):
        raise _bad("octal clause can only be used on integers", value)
    return format(int(value), "o")


def _hex(value: Any, _precision: int) -> str:
    if isinstance(value, str):
        return value.encode().hex()
    if isinstance(value, bytes):
        return value.hex()
    if not _is_int(value):
        raise _bad("only integers, byte buffers, and strings can be formatted as hex", value)
    return format(int(value), "x")


_CLAUSES: dict[str, Callable[[Any, int], str]] = {
    "s": _string,
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "o": _octal,
    "x": _hex,
    "X": lambda value, precision: _hex(value, precision).upper(),
}
