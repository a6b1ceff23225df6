"""The type of a flag that names where a bridge listens."""

import argparse

from bridge.address import LISTEN, split_listen


def listen_address(text: str) -> str:
    """Return this address, "host:port"; raise ArgumentTypeError, which argparse prints, where it is none."""
    try:
        split_listen(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be host:port, like {LISTEN}") from None
    return text
