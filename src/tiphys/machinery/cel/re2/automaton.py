"""Matching without going back: a deterministic automaton, made while it runs (as RE2 does).

A state is the list of places in the pattern where the match can be, most wanted first. What comes first is found by
one run forward, which tells the end of the leftmost match, and one backward from there, which tells its beginning.
States are dropped when there are too many; a search that makes new states all the time is given up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.machinery.cel.errors import CostExceeded
from tiphys.machinery.cel.re2.tree import (
    ANY,
    Assertion,
    Chars,
    Choice,
    Ranges,
    Repeat,
    Sequence,
    Tree,
    contains,
)

STATE_LIMIT = 2_000
TRANSITION_LIMIT = 50_000
# Places visited while states are made, in one search: about half a second.
WORK_LIMIT = 2_000_000

# What is beside a place in the text.
EDGE, NEWLINE, WORD, OTHER = range(4)
MATCH, SPLIT, CHARS, ASSERT = range(4)


@dataclass(slots=True)
class Instruction:
    kind: int
    ranges: Ranges = ()
    assertion: str = ""
    next: int = 0
    other: int = 0


class Program:
    """The pattern as a graph of instructions."""

    def __init__(self, tree: Tree, *, backward: bool, anchored: bool) -> None:
        self.code = [Instruction(MATCH)]
        self.backward = backward
        self.start = self.add(tree, 0)
        if not anchored:
            # Anything may come before; the later a match begins, the less it is wanted.
            loop = self.emit(Instruction(SPLIT, next=self.start))
            self.code[loop].other = self.emit(Instruction(CHARS, ANY, next=loop))
            self.start = loop

    def emit(self, instruction: Instruction) -> int:
        self.code.append(instruction)
        return len(self.code) - 1

    def add(self, tree: Tree, after: int) -> int:
        """Instructions for a tree that go on at `after`. Where they begin."""
        if isinstance(tree, Chars):
            return self.emit(Instruction(CHARS, tree.ranges, next=after))
        if isinstance(tree, Assertion):
            return self.emit(Instruction(ASSERT, assertion=tree.kind, next=after))
        if isinstance(tree, Sequence):
            for item in tree.items if self.backward else reversed(tree.items):
                after = self.add(item, after)
            return after
        if isinstance(tree, Choice):
            start = self.add(tree.items[-1], after)
            for item in reversed(tree.items[:-1]):
                start = self.emit(Instruction(SPLIT, next=self.add(item, after), other=start))
            return start
        return self.repeat(tree, after)

    def repeat(self, tree: Repeat, after: int) -> int:
        if tree.high is None:
            start = self.loop(tree, after)
        else:
            start = after
            for _ in range(tree.high - tree.low):
                start = self.split(self.add(tree.item, start), after, greedy=tree.greedy)
        for _ in range(tree.low):
            start = self.add(tree.item, start)
        return start

    def loop(self, tree: Repeat, after: int) -> int:
        loop = self.emit(Instruction(SPLIT))
        body = self.add(tree.item, loop)
        instruction = self.code[loop]
        instruction.next, instruction.other = (body, after) if tree.greedy else (after, body)
        return loop

    def split(self, wanted: int, else_: int, *, greedy: bool) -> int:
        first, second = (wanted, else_) if greedy else (else_, wanted)
        return self.emit(Instruction(SPLIT, next=first, other=second))


@dataclass(slots=True, eq=False)
class State:
    places: tuple[int, ...]
    before: int
    # By next character (or None at the end): the next state, and whether there is a match before that character.
    moves: dict[str | None, tuple[State, bool]] = field(default_factory=dict)


class Automaton:
    """Runs a program over texts. `longest`: any match counts, not only the most wanted one."""

    def __init__(self, program: Program, *, longest: bool) -> None:
        self.program = program
        self.longest = longest
        self.states: dict[tuple[tuple[int, ...], int], State] = {}
        self.transitions = 0
        self.work = 0

    def begin(self, before: int) -> State:
        self.work = 0
        return self.state((self.program.start,), before)

    def state(self, places: tuple[int, ...], before: int) -> State:
        if len(self.states) > STATE_LIMIT or self.transitions > TRANSITION_LIMIT:
            self.states.clear()
            self.transitions = 0
        found = self.states.get((places, before))
        if found is None:
            found = self.states[(places, before)] = State(places, before)
        return found

    def move(self, state: State, character: str | None) -> tuple[State, bool]:
        after = kind_of(character)
        places, matched = self.advance(state, character, after)
        self.transitions += 1
        found = self.state(places, after), matched
        state.moves[character] = found
        return found

    def advance(self, state: State, character: str | None, after: int) -> tuple[tuple[int, ...], bool]:
        code = self.program.code
        stack, seen = list(reversed(state.places)), set[int]()
        places: dict[int, None] = {}
        matched = False
        while stack:
            place = stack.pop()
            if place in seen:
                continue
            seen.add(place)
            instruction = code[place]
            if instruction.kind == SPLIT:
                stack += (instruction.other, instruction.next)
            elif instruction.kind == CHARS:
                if character is not None and contains(instruction.ranges, ord(character)):
                    places[instruction.next] = None
            elif instruction.kind == ASSERT:
                if self.holds(instruction.assertion, state.before, after):
                    stack.append(instruction.next)
            else:
                matched = True
                if not self.longest:
                    break
        self.work += len(seen) + 1
        if self.work > WORK_LIMIT:
            raise CostExceeded
        return tuple(places), matched

    def holds(self, assertion: str, before: int, after: int) -> bool:
        if self.program.backward:
            before, after = after, before
        if assertion == "begin":
            return before == EDGE
        if assertion == "end":
            return after == EDGE
        if assertion == "line_begin":
            return before in (EDGE, NEWLINE)
        if assertion == "line_end":
            return after in (EDGE, NEWLINE)
        return ((before == WORD) != (after == WORD)) == (assertion == "word")


class Searcher:
    """Searches for a pattern."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.forward = Automaton(Program(tree, backward=False, anchored=False), longest=False)
        self.backward: Automaton | None = None

    def matches(self, text: str) -> bool:
        automaton = self.forward
        state = automaton.begin(EDGE)
        for character in text:
            move = state.moves.get(character) or automaton.move(state, character)
            if move[1]:
                return True
            state = move[0]
            if not state.places:
                return False
        return automaton.move(state, None)[1]

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        end = self.end_of_match(text, start)
        return None if end is None else (self.start_of_match(text, start, end), end)

    def end_of_match(self, text: str, start: int) -> int | None:
        automaton, found = self.forward, None
        state = automaton.begin(kind_of(text[start - 1] if start else None))
        for position in range(start, len(text)):
            character = text[position]
            move = state.moves.get(character) or automaton.move(state, character)
            if move[1]:
                found = position
            state = move[0]
            if not state.places:
                return found
        return len(text) if automaton.move(state, None)[1] else found

    def start_of_match(self, text: str, lowest: int, end: int) -> int:
        if self.backward is None:
            self.backward = Automaton(Program(self.tree, backward=True, anchored=True), longest=True)
        automaton, found = self.backward, end
        state = automaton.begin(kind_of(text[end] if end < len(text) else None))
        for position in range(end, lowest, -1):
            character = text[position - 1]
            move = state.moves.get(character) or automaton.move(state, character)
            if move[1]:
                found = position
            state = move[0]
            if not state.places:
                return found
        before = text[lowest - 1] if lowest else None
        _, matched = automaton.advance(state, before, kind_of(before))
        return lowest if matched else found


def kind_of(character: str | None) -> int:
    if character is None:
        return EDGE
    if character == "\n":
        return NEWLINE
    return WORD if character == "_" or (character.isascii() and character.isalnum()) else OTHER
