"""Tests of bridge.process, without a bridge in the processes."""
