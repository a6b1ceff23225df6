"""A JSON number whose text matters. By itself, since no compiled class can be a str."""


class Number(str):
    """Exact text of a JSON number that is not an int of Python's: a fraction, one with an exponent, or -0.

    Its type distinguishes it from a string.
    """

    __slots__ = ()
