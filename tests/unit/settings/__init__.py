"""Tests of bridge.settings."""
