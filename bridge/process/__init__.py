"""Processes that serve: one alone, or a supervisor and its workers; signals, memory, shared ports."""
