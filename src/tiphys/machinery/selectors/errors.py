"""What is wrong with a selector."""


class SelectorError(ValueError):
    """A selector that cannot be understood; the text is upstream's and goes into a 400 answer as it is."""
