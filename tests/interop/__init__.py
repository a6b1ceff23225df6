"""Real HTTP/2 servers behind the bridge."""
