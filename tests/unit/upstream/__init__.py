"""Tests of bridge.upstream."""
