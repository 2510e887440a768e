"""What a client sent cannot be understood. The apiserver answers 400 with the text."""


class DecodeError(ValueError):
    """The text is upstream's, without the name of the kind in front."""
