"""What calls of functions cost: a bound when the expression is compiled, the actual cost when it runs.

Numbers are those of cel-go (`checker/cost.go`, `interpreter/runtimecost.go`) and of Kubernetes
(apiserver `pkg/cel/library/cost.go`). They are part of the API: they decide which rules a CRD may have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from tiphys.machinery.cel.measures import length, traverse
from tiphys.machinery.cel.ranges import FREE, ONE, REGEX_FACTOR, STRING_FACTOR, UNLIMITED, Range, exactly
from tiphys.machinery.cel.syntax import Literal, Node
from tiphys.machinery.cel.types import LIST
from tiphys.machinery.frozen import frozen


@frozen
class Operand:
    """An operand of a call, as the estimate sees it. `element` is the size of the elements of a list."""

    node: Node
    size: Range
    element: Range


@frozen
class Estimate:
    """Cost of a call without its operands, and the size of its result where that is known."""

    cost: Range
    size: Range | None = None


@frozen
class Charge:
    """The cost of a function. `code`: the actual cost in Python, of operands {0}, {1}… and {result}."""

    estimate: Callable[[Sequence[Operand]], Estimate]
    code: str
    # Whether `code` needs the result: then it is counted after the call, else before.
    after: bool = False


def fixed(cost: int) -> Charge:
    return Charge(lambda operands: Estimate(exactly(cost)), str(cost))


NOMINAL = fixed(1)


def tenth(code: str) -> str:
    """Python for a tenth, rounded up."""
    return f"({code}+9)//10"


def traversal(index: int = 0, *, times: int = 1, same_size: bool = False) -> Charge:
    """One operand is read through, so many times."""

    def estimate(operands: Sequence[Operand]) -> Estimate:
        size = operands[index].size
        return Estimate(size.scaled(times * STRING_FACTOR), size if same_size else None)

    length = f"length({{{index}}})"
    return Charge(estimate, tenth(f"{length}*{times}" if times > 1 else length))


def product(left: int, right: int) -> Charge:
    """A string is searched for another."""

    def estimate(operands: Sequence[Operand]) -> Estimate:
        return Estimate(
            operands[left].size.scaled(STRING_FACTOR).times(operands[right].size.scaled(STRING_FACTOR))
        )

    return Charge(estimate, f"({tenth(f'length({{{left}}})')})*({tenth(f'length({{{right}}})')})")


def _regex(operands: Sequence[Operand]) -> Range:
    # One more than the string has, since also an empty one costs when the pattern is long.
    text = operands[0].size.plus(ONE).scaled(STRING_FACTOR)
    return text.times(operands[1].size.scaled(REGEX_FACTOR))


_REGEX_CODE = "((length({0})+10)//10)*((length({1})+3)//4)"
MATCHES = Charge(lambda operands: Estimate(_regex(operands)), _REGEX_CODE)
FIND = Charge(lambda operands: Estimate(_regex(operands), Range(0, operands[0].size.high)), _REGEX_CODE)


def _compare(operands: Sequence[Operand]) -> Estimate:
    smaller = min(operands[0].size.high, operands[1].size.high)
    return Estimate(Range(1 if smaller else 0, smaller).scaled(STRING_FACTOR))


COMPARISON = Charge(_compare, tenth("min(length({0}),length({1}))"))


def _concatenate(operands: Sequence[Operand]) -> Estimate:
    size = operands[0].size.plus(operands[1].size)
    return Estimate(size.scaled(STRING_FACTOR), size)


CONCATENATION = Charge(_concatenate, tenth("length({result})"), after=True)
LIST_CONCATENATION = Charge(lambda operands: Estimate(ONE, operands[0].size.plus(operands[1].size)), "1")
IN_LIST = Charge(lambda operands: Estimate(operands[1].size), "length({1})")


def _through_list(operands: Sequence[Operand]) -> Estimate:
    target = operands[0]
    if target.node.type.kind != LIST:
        return Estimate(target.size.scaled(STRING_FACTOR))
    each = ONE
    if target.node.type.parameters[0].name in ("string", "bytes"):
        each = ONE.plus(target.element.scaled(STRING_FACTOR))
    return Estimate(target.size.times(each))


THROUGH_LIST = Charge(_through_list, "traverse({0})")


def _replace(operands: Sequence[Operand]) -> Estimate:
    text, old, new = (operand.size for operand in operands[:3])
    size = Range(_replaced_low(text, old, new), _replaced_high(text, old, new))
    return Estimate(text.scaled(2 * STRING_FACTOR), size)


def _replaced_high(text: Range, old: Range, new: Range) -> int:
    """The longest result. What is empty is found between all characters."""
    if old.low == 0:
        return min((text.high + 1) * new.high + text.high, UNLIMITED)
    if new.high <= old.low:
        return text.high
    return min(-(-text.high // old.low) * new.high, UNLIMITED)


def _replaced_low(text: Range, old: Range, new: Range) -> int:
    if old.high == 0:
        return min((text.low + 1) * new.low + text.low, UNLIMITED)
    if old.high <= new.low:
        return text.low
    return min(-(-text.low // old.high) * new.low, UNLIMITED)


REPLACE = Charge(_replace, tenth("length({0})*2"))


def _split(operands: Sequence[Operand]) -> Estimate:
    most = operands[0].size.high
    if len(operands) > 2 and isinstance(limit := operands[2].node, Literal) and isinstance(limit.value, int):
        most = limit.value if limit.value >= 0 else UNLIMITED
    return Estimate(operands[0].size.scaled(2 * STRING_FACTOR), Range(0, most))


SPLIT = Charge(_split, tenth("length({0})*2"))


def _join(operands: Sequence[Operand]) -> Estimate:
    count = operands[0].size
    size = count.times(operands[0].element)
    if len(operands) > 1:
        size = size.plus(operands[1].size.times(Range(max(count.low - 1, 0), max(count.high - 1, 0))))
    return Estimate(size.scaled(STRING_FACTOR), size)


JOIN = Charge(_join, tenth("length({result})*2"), after=True)


def _to_bytes(operands: Sequence[Operand]) -> Estimate:
    size = operands[0].size
    return Estimate(size.scaled(STRING_FACTOR), Range(size.low, min(size.high * 4, UNLIMITED)))


def _to_text(operands: Sequence[Operand]) -> Estimate:
    size = operands[0].size
    return Estimate(size.scaled(STRING_FACTOR), Range(size.low // 4, size.high))


def _quote(operands: Sequence[Operand]) -> Estimate:
    size = operands[0].size
    return Estimate(size.scaled(STRING_FACTOR), Range(size.low + 2, min(size.high * 2 + 2, UNLIMITED)))


STRING_TO_BYTES = Charge(_to_bytes, tenth("length({0})"))
BYTES_TO_STRING = Charge(_to_text, tenth("length({0})"))
QUOTE = Charge(_quote, tenth("length({0})"))

# Addresses have 4 or 16 bytes.
_ADDRESS = Range(4, 16)
_ADDRESS_COMPARISON = _ADDRESS.plus(_ADDRESS).scaled(STRING_FACTOR)


def contains_address(*, network: bool, text: bool) -> Charge:
    """Whether a CIDR contains an address (or a `network`), which may have to be parsed (`text`) first."""

    def estimate(operands: Sequence[Operand]) -> Estimate:
        cost = _ADDRESS_COMPARISON
        if network:
            cost = cost.plus(_ADDRESS.scaled(STRING_FACTOR)).plus(ONE)
        return Estimate(cost.plus(operands[1].size.scaled(STRING_FACTOR)) if text else cost)

    code = tenth("length({0})*2")
    if network:
        code += "+" + tenth("length({0})") + "+1"
    return Charge(estimate, code + ("+" + tenth("length({1})") if text else ""))


_LONGEST_FORMAT_REGEX = 128


def _validate(operands: Sequence[Operand]) -> Estimate:
    return Estimate(operands[1].size.scaled(STRING_FACTOR).scaled(_LONGEST_FORMAT_REGEX * REGEX_FACTOR))


VALIDATE = Charge(_validate, "((length({1})+10)//10)*(({0}.regex_size+3)//4)")


def pairs(times: int) -> Charge:
    """Each element of one list is compared with each of another, so many times."""

    def estimate(operands: Sequence[Operand]) -> Estimate:
        return Estimate(operands[0].size.times(operands[1].size).times(exactly(times)).plus(ONE))

    return Charge(estimate, f"length({{0}})*length({{1}})*{times}+1")


_SELECTOR_REQUIREMENT = 50


def _selector(operands: Sequence[Operand]) -> Estimate:
    size = operands[1].size
    parsing = size.scaled(STRING_FACTOR)
    requirements = size.scaled(0.5).times(exactly(_SELECTOR_REQUIREMENT))
    return Estimate(exactly(10).plus(parsing).plus(requirements))


# For the functions of an authorizer, which a caller registers: an authorization check, a parsed selector.
AUTHORIZATION_CHECK = fixed(350_000)
SELECTOR = Charge(_selector, "10+(length({1})+9)//10+(length({1})+1)//2*50")

_LONGEST_FORMAT = 64


def _equal_formats(operands: Sequence[Operand]) -> Estimate:
    return Estimate(Range(1, _LONGEST_FORMAT).scaled(STRING_FACTOR))


def _equal_urls(operands: Sequence[Operand]) -> Estimate:
    # Upstream looks at the right side only.
    return Estimate(Range(1, max(operands[1].size.high, 1)).scaled(STRING_FACTOR))


EQUAL_BY_TYPE: dict[str, Charge] = {
    "kubernetes.NamedFormat": Charge(_equal_formats, "1"),
    "kubernetes.URL": Charge(_equal_urls, "1"),
    "net.IP": NOMINAL,
    "net.CIDR": NOMINAL,
    "kubernetes.Quantity": NOMINAL,
    "kubernetes.Semver": NOMINAL,
    "kubernetes.Image": NOMINAL,
}
NOTHING = Charge(lambda operands: Estimate(FREE), "0")


def runtime(charge: Charge, operands: Sequence[str], result: str) -> str:
    """The Python that computes the actual cost."""
    return charge.code.format(*operands, result=result)


@lru_cache(maxsize=1024)
def counter(charge: Charge, arity: int) -> Callable[..., int]:
    """`counter(*operands, result)`: the actual cost, for calls whose overload is found at run time."""
    names = [f"o{index}" for index in range(arity)]
    source = f"lambda {', '.join([*names, 'result'])}: {runtime(charge, names, 'result')}"
    made: Callable[..., int] = eval(source, {"length": length, "traverse": traverse, "min": min})
    return made
