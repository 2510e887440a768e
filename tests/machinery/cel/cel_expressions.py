"""Random expressions: well formed, and of all types mixed, so that many do not compile or fail."""

from hypothesis import strategies as st

NAMES = ["self", "self.n", "self.s", "self.l", "self.m", "self.any", "self.any.a", "self.any.missing", "i"]
LITERALS = [
    *("0", "1", "-1", "7", "9223372036854775807", "-9223372036854775808", "1u", "18446744073709551615u"),
    *("0.0", "1.5", "-2.0", "1e300", "true", "false", "null", "''", "'a'", "'aé☺'", "b'\\xff'", "[]", "{}"),
    *("[1, 2]", "['a', 'b']", "{'a': 1}", "{1: 'x'}", "duration('1h')", "timestamp('2020-01-01T00:00:00Z')"),
    *("optional.none()", "optional.of(1)", "int", "dyn(1)", "dyn('x')", "dyn([1, 'a'])"),
]
BINARY = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"]
METHODS = [
    *(
        "size()",
        "contains('a')",
        "startsWith('a')",
        "matches('a|b')",
        "matches('(a+)+$')",
        "sum()",
        "min()",
        "max()",
    ),
    *(
        "isSorted()",
        "indexOf(1)",
        "lastIndexOf('a')",
        "split('')",
        "join()",
        "lowerAscii()",
        "substring(1)",
        "trim()",
    ),
    *(
        "replace('a', 'bb')",
        "charAt(0)",
        "find('[a-z]')",
        "findAll('.')",
        "getFullYear()",
        "getHours()",
        "hasValue()",
    ),
    *("value()", "orValue(1)", "a", "?a", "format([1])", "optMap(x, x)", "family()", "asInteger()"),
]
FUNCTIONS = [
    *(
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "bool",
        "type",
        "dyn",
        "size",
        "duration",
        "timestamp",
        "quantity",
    ),
    *(
        "isQuantity",
        "ip",
        "isIP",
        "cidr",
        "url",
        "isURL",
        "semver",
        "isSemver",
        "optional.of",
        "strings.quote",
        "has",
    ),
]
MACROS = ["all", "exists", "exists_one", "map", "filter"]
PAIR_MACROS = ["all", "exists", "existsOne", "transformList", "transformMap"]

leaves = st.sampled_from([*NAMES, *LITERALS])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions made of smaller ones."""
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(BINARY), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}{}".format, st.sampled_from(["!", "-"]), inner),
        st.builds("{}.{}".format, inner, st.sampled_from(METHODS)),
        st.builds("{}({})".format, st.sampled_from(FUNCTIONS), inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}[?{}]".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{{}: {}}}".format, inner, inner),
        st.builds("{}.{}(i, {})".format, inner, st.sampled_from(MACROS), inner),
        st.builds("{}.{}(i, x, {})".format, inner, st.sampled_from(PAIR_MACROS), inner),
        st.builds("cel.bind(i, {}, {})".format, inner, inner),
    )


expressions = st.recursive(leaves, grown, max_leaves=12)
