"""Tests of the bridge; docs/design/architecture.md says which folder holds what."""
