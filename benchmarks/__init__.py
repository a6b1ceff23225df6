"""Programs that measure the bridge and print figures."""
