"""Differential check of bridge.http2 with h2 and hpack: two ends that go through the same dialogue."""
