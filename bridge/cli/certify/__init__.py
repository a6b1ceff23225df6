"""`bridge certify`: sends scripted requests to a staging wallet and says what its answers mean for the bridge.

tokens     a made-up token that looks like the live one
requests   the requests of all probes, as a table
exchange   one request and its answer, over HTTP/2 or HTTP/1.1
seen       what is kept of an answer: facts, kinds and lengths, no text of the wallet's
script     which probe is sent when, and the state of the live tokens
findings   what the answers mean, in words; pure
codes      the proposed [wallet.codes]; pure
report     text and JSON
command    flags, consent, exit codes
"""
