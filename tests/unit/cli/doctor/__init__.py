"""Tests of `bridge doctor`."""
