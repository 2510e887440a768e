"""Tokens to a syntax tree, by recursive descent. It stops at the first syntax error.

Grammar: langdef.md. Places and messages follow cel-go's generated parser as far as one error tells.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.machinery.cel import lexer, macros
from tiphys.machinery.cel.errors import CelError
from tiphys.machinery.cel.lexer import Token
from tiphys.machinery.cel.names import RESERVED
from tiphys.machinery.cel.syntax import (
    Call,
    Conditional,
    Entry,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Node,
    ObjectLiteral,
    Select,
)
from tiphys.machinery.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt

DEPTH_LIMIT = 250
TOO_DEEP = f"expression recursion limit exceeded: {DEPTH_LIMIT}"

_EXPECT_OPERAND = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
_BINARY: dict[str, tuple[int, str]] = {
    "==": (1, "_==_"),
    "!=": (1, "_!=_"),
    "<": (1, "_<_"),
    "<=": (1, "_<=_"),
    ">": (1, "_>_"),
    ">=": (1, "_>=_"),
    "in": (1, "@in"),
    "+": (2, "_+_"),
    "-": (2, "_-_"),
    "*": (3, "_*_"),
    "/": (3, "_/_"),
    "%": (3, "_%_"),
}
_VALUES = frozenset({lexer.FLOAT, lexer.INT, lexer.UINT, lexer.STRING, lexer.BYTES})
_OPERAND_STARTS = _VALUES | {"[", "{", "(", ".", "-", "!", "true", "false", "null", lexer.IDENTIFIER}


def parse(text: str) -> Node:
    """The tree of an expression. CelError when there is none."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = lexer.tokenize(text)
        self.position = 0
        self.depth = 0
        self.token = self.tokens[0]

    def parse(self) -> Node:
        try:
            node = self.expression()
        except RecursionError:
            raise lexer.error_of_whole(self.text, TOO_DEEP) from None
        if self.token.kind != lexer.END:
            last = self.tokens[self.position + 1].kind == lexer.END
            how = "extraneous" if last else "mismatched"
            raise self.syntax_error(f"{how} input {self.shown()} expecting <EOF>")
        return node

    # Tokens

    def advance(self) -> Token:
        token = self.token
        self.position += 1
        self.token = self.tokens[self.position]
        return token

    def take(self, kind: str) -> Token | None:
        return self.advance() if self.token.kind == kind else None

    def expect(self, kind: str) -> Token:
        if self.token.kind == kind:
            return self.advance()
        shown = kind if kind == lexer.IDENTIFIER else f"'{kind}'"
        if self.token.kind in _OPERAND_STARTS or (kind == lexer.IDENTIFIER and self.token.kind != lexer.END):
            raise self.syntax_error(f"mismatched input {self.shown()} expecting {shown}")
        raise self.syntax_error(f"missing {shown} at {self.shown()}")

    def shown(self) -> str:
        return f"'{self.token.text}'"

    def syntax_error(self, message: str) -> CelError:
        return lexer.error_at(self.text, self.token.offset, f"Syntax error: {message}")

    def error(self, offset: int, message: str) -> CelError:
        return lexer.error_at(self.text, offset, message)

    # Expressions, from loose to tight

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise lexer.error_of_whole(self.text, TOO_DEEP)
        condition = self.either()
        if question := self.take("?"):
            then = self.either()
            self.expect(":")
            condition = Conditional(question.offset, condition, then, self.expression())
        self.depth -= 1
        return condition

    def either(self) -> Node:
        first = self.both()
        if self.token.kind != "||":
            return first
        offset, terms = self.token.offset, [first]
        while self.take("||"):
            terms.append(self.both())
        return Logic(offset, "||", terms)

    def both(self) -> Node:
        first = self.binary(1)
        if self.token.kind != "&&":
            return first
        offset, terms = self.token.offset, [first]
        while self.take("&&"):
            terms.append(self.binary(1))
        return Logic(offset, "&&", terms)

    def binary(self, strength: int) -> Node:
        left, length = self.unary(), 0
        while (found := _BINARY.get(self.token.kind)) and found[0] >= strength:
            length += 1
            if length > DEPTH_LIMIT:
                raise lexer.error_of_whole(self.text, TOO_DEEP)
            operator = self.advance()
            left = Call(operator.offset, found[1], None, [left, self.binary(found[0] + 1)])
        return left

    def unary(self) -> Node:
        kind = self.token.kind
        if kind not in ("!", "-"):
            return self.member()
        if kind == "-" and (literal := self.negative_literal()) is not None:
            return self.members(literal)
        first, count = self.token.offset, 0
        while self.take(kind):
            count += 1
        operand = self.member()
        if count % 2 == 0:
            return operand
        return Call(first, "!_" if kind == "!" else "-_", None, [operand])

    def negative_literal(self) -> Node | None:
        if self.tokens[self.position + 1].kind not in (lexer.INT, lexer.FLOAT):
            return None
        minus, token = self.advance(), self.advance()
        if token.kind == lexer.FLOAT:
            return Literal(minus.offset, -self.float_value(token))
        return Literal(minus.offset, self.int_value(token, -1))

    def member(self) -> Node:
        return self.members(self.primary())

    def members(self, node: Node) -> Node:
        """What follows an operand: `.field`, `.method(...)`, `[index]`, `{...}`."""
        length = 0
        while (kind := self.token.kind) in (".", "[", "{"):
            length += 1
            if length > DEPTH_LIMIT:
                raise lexer.error_of_whole(self.text, TOO_DEEP)
            if kind == ".":
                node = self.field_or_method(node)
            elif kind == "[":
                node = self.index(node)
            elif (name := _qualified_name(node)) is not None:
                node = self.object_literal(name)
            else:
                break
        return node

    def field_or_method(self, operand: Node) -> Node:
        dot = self.advance()
        optional = self.take("?") is not None
        name = self.expect(lexer.IDENTIFIER).text
        if optional or self.token.kind != "(":
            return Select(dot.offset, operand, name, optional)
        opening = self.advance()
        arguments = self.list_until(")")
        call = Call(opening.offset, name, operand, arguments)
        return macros.expand(call, self.error) or call

    def index(self, operand: Node) -> Node:
        opening = self.advance()
        optional = self.take("?") is not None
        index = self.expression()
        self.expect("]")
        return Index(opening.offset, operand, index, optional)

    # Operands

    def primary(self) -> Node:
        token = self.token
        if token.kind in (lexer.IDENTIFIER, "."):
            return self.name_or_call()
        if token.kind == "(":
            self.advance()
            node = self.expression()
            self.expect(")")
            return node
        if token.kind == "[":
            return self.list_literal()
        if token.kind == "{":
            return self.map_literal()
        return self.literal()

    def name_or_call(self) -> Node:
        dot = self.take(".")
        name = self.expect(lexer.IDENTIFIER)
        full = f".{name.text}" if dot else name.text
        if self.token.kind != "(":
            if name.text in RESERVED:
                raise self.error(name.offset, f"reserved identifier: {name.text}")
            return Identifier(name.offset, full)
        opening = self.advance()
        call = Call(opening.offset, full, None, self.list_until(")"))
        return macros.expand(call, self.error) or call

    def list_until(self, closing: str) -> list[Node]:
        nodes: list[Node] = []
        if self.take(closing):
            return nodes
        nodes.append(self.expression())
        while self.take(","):
            nodes.append(self.expression())
        self.expect(closing)
        return nodes

    def list_literal(self) -> Node:
        node = ListLiteral(self.advance().offset, [], set())
        while self.more(node.elements, "]"):
            if self.take("?"):
                node.optional.add(len(node.elements))
            node.elements.append(self.expression())
        return node

    def map_literal(self) -> Node:
        node = MapLiteral(self.advance().offset, [])
        while self.more(node.entries, "}"):
            optional = self.take("?") is not None
            key = self.expression()
            colon = self.expect(":")
            node.entries.append(Entry(colon.offset, key, self.expression(), optional))
        return node

    def object_literal(self, name: str) -> Node:
        node = ObjectLiteral(self.advance().offset, name, [])
        while self.more(node.entries, "}"):
            optional = self.take("?") is not None
            key = self.expect(lexer.IDENTIFIER).text
            colon = self.expect(":")
            node.entries.append(Entry(colon.offset, key, self.expression(), optional))
        return node

    def more(self, before: Sequence[object], closing: str) -> bool:
        """Whether another element follows. The last one may have a comma; so may none."""
        if self.take(closing):
            return False
        if before:
            self.expect(",")
        elif not self.take(","):
            return True
        else:
            self.expect(closing)
            return False
        return self.take(closing) is None

    def literal(self) -> Node:
        token, kind = self.token, self.token.kind
        if kind in ("true", "false"):
            self.advance()
            return Literal(token.offset, kind == "true")
        if kind == "null":
            self.advance()
            return Literal(token.offset, None)
        if kind not in _VALUES:
            following = self.tokens[min(self.position + 1, len(self.tokens) - 1)].kind
            how = (
                "extraneous" if kind not in _OPERAND_STARTS and following in _OPERAND_STARTS else "mismatched"
            )
            raise self.syntax_error(f"{how} input {self.shown()} expecting {_EXPECT_OPERAND}")
        self.advance()
        return Literal(token.offset, self.literal_value(token))

    def literal_value(self, token: Token) -> object:
        if token.kind == lexer.INT:
            return self.int_value(token, 1)
        if token.kind == lexer.UINT:
            return self.uint_value(token)
        if token.kind == lexer.FLOAT:
            return self.float_value(token)
        try:
            return (
                lexer.string_value(token.text)
                if token.kind == lexer.STRING
                else lexer.bytes_value(token.text)
            )
        except ValueError as error:
            raise self.error(token.offset, str(error)) from None

    def int_value(self, token: Token, sign: int) -> int:
        value = sign * _integer(token.text)
        if not INT_MIN <= value <= INT_MAX:
            raise self.error(token.offset, "invalid int literal")
        return value

    def uint_value(self, token: Token) -> UInt:
        value = _integer(token.text[:-1])
        if value > UINT_MAX:
            raise self.error(token.offset, "invalid uint literal")
        return UInt(value)

    def float_value(self, token: Token) -> float:
        value = float(token.text)
        if value == float("inf"):
            raise self.error(token.offset, "invalid double literal")
        return value


def _integer(text: str) -> int:
    # Longer than any 64-bit number: not worth reading.
    if len(text) > 400:
        return 2**70
    return int(text, 16) if text[:2] == "0x" else int(text)


def _qualified_name(node: Node) -> str | None:
    """`a.b.c` when the node is such a name."""
    if isinstance(node, Identifier):
        return node.name
    if isinstance(node, Select) and not node.optional:
        prefix = _qualified_name(node.operand)
        return None if prefix is None else f"{prefix}.{node.name}"
    return None


qualified_name = _qualified_name
