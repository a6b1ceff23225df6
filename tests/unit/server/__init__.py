"""Tests of bridge.server."""
