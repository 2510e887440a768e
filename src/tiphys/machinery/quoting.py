"""Text as Go prints it, because tools compare and people search for upstream's exact messages.

The rules are those of Go's `strconv.Quote` (`%q`), `fmt` (`%v` of a float) and `encoding/json.Marshal`.
"""

import re
from typing import Any

_SHORT_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
# Go escapes these in JSON so that the text may stand inside HTML.
_HTML_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_HTML_TABLE = str.maketrans(_HTML_ESCAPES)


def quote(text: str) -> str:
    """`text` in double quotes, as `%q` writes it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def format_float(value: float) -> str:
    """A float as `%v` writes it: the shortest digits, an exponent from 1e+06 on and below 1e-04."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    sign = "-" if value < 0 else ""
    digits, exponent = _shortest_digits(abs(value))
    if exponent < -4 or exponent >= 6:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _shortest_digits(value: float) -> tuple[str, int]:
    """The shortest decimal digits that read back as `value`, and the power of ten of the first one."""
    mantissa, _, power = f"{value!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole) if whole != "0" else len(digits) - len(fraction)
    return digits.rstrip("0") or "0", (int(power or 0) + leading - 1) if digits else 0


def go_json(value: Any) -> str:
    """Compact JSON as `json.Marshal` writes a map: keys sorted, HTML characters escaped."""
    import json

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)
    return text.translate(_HTML_TABLE)


class Verbatim(str):
    """A text that is shown as it is, where any other would be quoted: JSON of what has no JSON here."""

    __slots__ = ()


def format_value(value: Any) -> str:
    """A field's value inside an error message: strings quoted, numbers and booleans plain, the rest as JSON."""
    if isinstance(value, str):
        return value if isinstance(value, Verbatim) else quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, int):
        return str(value)
    return go_json(value)


def go_print(value: Any) -> str:
    """A JSON value as `%v` prints it: `map[a:1 b:[x y]]`, null as `<nil>`."""
    if value is None:
        return "<nil>"
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_print(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(go_print, value))}]"
    return format_value(value)


def go_type(value: Any) -> str:
    """What `%T` calls a JSON value."""
    for kind, name in ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "string")):
        if isinstance(value, kind):
            return name
    if value is None:
        return "<nil>"
    return "[]interface {}" if isinstance(value, list) else "map[string]interface {}"


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds of a duration as Go writes it: "1m30s", "500ms", "0". ValueError when it is none."""
    if text in ("0", "+0", "-0"):
        return 0.0
    unsigned = text.removeprefix("-").removeprefix("+")
    if not unsigned or not re.fullmatch(f"(?:{_DURATION.pattern})+", unsigned):
        raise ValueError(f"time: invalid duration {quote(text)}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(unsigned))
    return -seconds if text.startswith("-") else seconds


def format_duration(seconds: float) -> str:
    """A time span as Go's time.Duration prints it: `10s`, `2m40s`, `1h0m0s`, `1.5s`, `250ms`, `0s`."""
    nanos = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanos else ""
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if 0 < nanos < size * 1000:
            return f"{sign}{_decimal(nanos, size)}{unit}"
    minutes, rest = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _decimal(number: int, scale: int) -> str:
    """`number / scale` in full, without zeros at the end."""
    whole, rest = divmod(number, scale)
    fraction = str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0")
    return f"{whole}.{fraction}" if fraction and rest else str(whole)
