"""h2spec against the bridge on each engine."""
