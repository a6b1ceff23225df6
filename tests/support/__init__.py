"""Helpers of the tests, imported by package name."""
