"""Hostile callers, and what they cost everybody else."""
