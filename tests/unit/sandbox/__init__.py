"""Tests of the sandbox wallet."""
