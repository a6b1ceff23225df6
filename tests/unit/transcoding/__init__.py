"""Tests of bridge.transcoding."""
