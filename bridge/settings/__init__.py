"""Settings: the model, where values come from, and files that change while the bridge runs."""
