"""Frames and conversations for the tests of bridge.http2."""
