"""Tests of bridge.server.native."""
