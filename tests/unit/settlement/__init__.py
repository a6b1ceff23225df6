"""Tests of bridge.settlement."""
