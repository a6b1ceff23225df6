"""The real Envoy before two bridges."""
