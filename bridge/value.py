"""The base of values that are made anew for every call."""

import msgspec


class Value(msgspec.Struct, frozen=True, gc=False):
    """An immutable value, compared and hashed by its fields, at a third of a frozen dataclass's cost.

    The garbage collector does not look at it: it must hold nothing that could lead back to it.
    """
