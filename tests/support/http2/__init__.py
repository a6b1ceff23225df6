"""Frames, conversations and oracles for the tests of bridge.http2."""
