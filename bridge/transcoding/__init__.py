"""From typed message to JSON body, and from the answer to its verdict: pure, without I/O, as the protos say."""
