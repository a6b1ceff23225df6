"""Settlement: requests of unknown outcome, stored and retried until the wallet has given a certain answer."""
