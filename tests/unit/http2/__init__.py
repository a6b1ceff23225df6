"""Tests of bridge.http2, over bytes and over real sockets."""
