"""Settlement: requests of unknown outcome, kept and repeated until the wallet has given a certain answer."""
