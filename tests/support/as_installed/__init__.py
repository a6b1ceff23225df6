"""Modules that no installation of the bridge has, but an environment for development."""
