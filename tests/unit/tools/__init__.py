"""Tests of tools/: what generates and checks code."""
