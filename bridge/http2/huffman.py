"""Huffman code of header strings (RFC 7541, section 5.2 and appendix B).

The code is canonical: codes count upwards, first by length, then by octet, so that the lengths alone define it.
Decoding goes by four bits at a time, over a table that is made when this module is imported.
"""

from typing import Final, NamedTuple

LENGTHS: Final = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d"
    b"\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    24: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13"
    b"\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    30: b"\n\r\x16",
}
"""Length in bits -> the octets with codes of that length, ascending. EOS, the only other symbol, is thirty ones."""

EOS_BITS: Final = 30
EOS: Final = b""  # it decodes to nothing, and must not stand in a string
PADDING_BITS_MAX: Final = 7

Node = list["Node | bytes | None"]


class HuffmanError(ValueError):
    """A string is no Huffman code: EOS stands in it, or its end is not padded with up to seven ones."""


class Step(NamedTuple):
    """Effect of four bits in a state."""

    state: int
    octets: bytes
    is_error: bool


class States(NamedTuple):
    """The decoder as a table."""

    steps: tuple[tuple[Step, ...], ...]
    """By state, then by the next four bits. State 0 stands between two octets."""
    may_end: tuple[bool, ...]
    """By state: whether what has been read since the last octet may be padding."""


def decode(data: bytes) -> bytes:
    """Return the string of which this is the code; raise HuffmanError."""
    steps, may_end = STATES
    state, decoded = 0, []
    for byte in data:
        state, octets, is_error = steps[state][byte >> 4]
        decoded.append(octets)
        if not is_error:
            state, octets, is_error = steps[state][byte & 0x0F]
            decoded.append(octets)
        if is_error:
            raise HuffmanError
    if not may_end[state]:
        raise HuffmanError
    return b"".join(decoded)


def _states() -> States:
    nodes = _nodes()
    number_of = {id(node): number for number, (node, _) in enumerate(nodes)}

    def step(node: Node, four_bits: int) -> Step:
        octets = b""
        for shift in (3, 2, 1, 0):
            follower = node[four_bits >> shift & 1]
            if follower == EOS:
                return Step(0, b"", is_error=True)
            if isinstance(follower, bytes):
                octets += follower
                follower = nodes[0][0]
            assert follower is not None, "each node of a complete code has two followers"  # noqa: S101
            node = follower
        return Step(number_of[id(node)], octets, is_error=False)

    return States(
        tuple(tuple(step(node, four_bits) for four_bits in range(16)) for node, _ in nodes),
        tuple(set(path) <= {"1"} and len(path) <= PADDING_BITS_MAX for _, path in nodes),
    )


def _nodes() -> list[tuple[Node, str]]:
    """Return the inner nodes of the tree of codes, each with the bits that lead to it; the root comes first."""
    root: Node = [None, None]
    nodes = [(root, "")]
    for code, symbol in _codes():
        node = root
        for at, bit in enumerate(code[:-1], 1):
            follower = node[int(bit)]
            if not isinstance(follower, list):
                follower = [None, None]
                node[int(bit)] = follower
                nodes.append((follower, code[:at]))
            node = follower
        node[int(code[-1])] = symbol
    return nodes


def _codes() -> list[tuple[str, bytes]]:
    """Return each symbol behind its code, written as a text of zeros and ones."""
    symbols = [(length, bytes((octet,))) for length, octets in LENGTHS.items() for octet in octets]
    codes, code, before = [], 0, 0
    for length, symbol in [*symbols, (EOS_BITS, EOS)]:
        code <<= length - before
        codes.append((f"{code:0{length}b}", symbol))
        code, before = code + 1, length
    return codes


STATES: Final = _states()
