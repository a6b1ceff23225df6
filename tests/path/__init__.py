"""Whole calls over sockets: a bridge, a caller and a wallet."""
