"""What can go wrong with an expression: it does not compile, or its evaluation fails.

Compile errors are printed as cel-go prints them, since Kubernetes shows them to users word for word:

    ERROR: <input>:1:5: undeclared reference to 'x' (in container '')
     | 1 + x
     | ....^
"""

from __future__ import annotations

from tiphys.machinery.frozen import frozen

COST_EXCEEDED = "operation cancelled: actual cost limit exceeded"


@frozen
class Issue:
    """One error at one place. `line` counts from 1, `column` from 0; line -1 is the expression as a whole."""

    message: str
    line: int
    column: int


class CelError(Exception):
    """The expression does not compile. `issues` has at least one entry, in the order of the text."""

    def __init__(self, issues: list[Issue], text: str) -> None:
        self.issues = sorted(issues, key=lambda issue: (issue.line, issue.column))
        self.text = text
        super().__init__("\n".join(_display(issue, text) for issue in self.issues))

    @property
    def line(self) -> int:
        return self.issues[0].line

    @property
    def column(self) -> int:
        return self.issues[0].column


class CelRuntimeError(Exception):
    """The evaluation failed: no such key, an overflow, a bad conversion… `cost`: what had been spent by then."""

    cost = 0


class CostExceeded(CelRuntimeError):
    """The evaluation was given up because it cost more than allowed. Not absorbed by `||` and `&&`."""

    def __init__(self) -> None:
        super().__init__(COST_EXCEEDED)


def no_such_overload() -> CelRuntimeError:
    return CelRuntimeError("no such overload")


def _display(issue: Issue, text: str) -> str:
    head = f"ERROR: <input>:{issue.line}:{issue.column + 1 if issue.line > 0 else 0}: {issue.message}"
    lines = text.split("\n")
    if not 0 < issue.line <= len(lines):
        return head
    line = lines[issue.line - 1].replace("\t", " ")
    # A wide character is underlined by wide dots, so that the caret stands below its place.
    dots = "".join("．" if ord(character) > 0xFF else "." for character in line[: issue.column])
    wide = issue.column < len(line) and ord(line[issue.column]) > 0xFF
    return f"{head}\n | {line}\n | {dots}{'＾' if wide else '^'}"
