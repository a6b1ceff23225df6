"""Test tokens, like payment providers' test cards: one row, one answer or fault of docs/design/contract.md.

A Terminate whose `token` is one of these passes all checks first and then gets that row's answer. Every other token
succeeds. The table is the documentation too: `tokens.py` prints it.
"""

import re
from dataclasses import dataclass, field

from bridge.sandbox.answers import Cut, Drip, Endless, Plan, Reply, Silence
from bridge.sandbox.recipes import (
    Call,
    Recipe,
    contradict,
    gzipped,
    refuse,
    say,
    show_page,
    with_a_second,
    with_another,
    with_body,
    with_ids_as_text,
    with_members,
    without,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Result for a caller of the bridge when the operator has mapped no codes: words of docs/design/contract.md."""

    grpc_code: str
    reason: str = "-"
    outcome: str = "-"


OK = Seen("OK")
TIMEOUT = Seen("DEADLINE_EXCEEDED", "WALLET_TIMEOUT", "UNKNOWN")
CONNECTION_LOST = Seen("UNKNOWN", "WALLET_CONNECTION_LOST", "UNKNOWN")
GATEWAY_ERROR = Seen("UNKNOWN", "WALLET_GATEWAY_ERROR", "UNKNOWN")
UNAVAILABLE = Seen("UNAVAILABLE", "WALLET_UNAVAILABLE", "REJECTED")
THROTTLED = Seen("RESOURCE_EXHAUSTED", "WALLET_THROTTLED", "REJECTED")
AUTH_REJECTED = Seen("INTERNAL", "WALLET_AUTH_REJECTED", "REJECTED")
ENDPOINT = Seen("INTERNAL", "WALLET_ENDPOINT", "REJECTED")
UNKNOWN_ERROR = Seen("UNKNOWN", "WALLET_UNKNOWN_ERROR", "UNKNOWN")
REJECTED_ARGUMENT = Seen("INVALID_ARGUMENT", "WALLET_REJECTED", "REJECTED")
REJECTED_NOT_FOUND = Seen("NOT_FOUND", "WALLET_REJECTED", "REJECTED")
REJECTED_CONFLICT = Seen("ABORTED", "WALLET_REJECTED", "REJECTED")
REJECTED_PRECONDITION = Seen("FAILED_PRECONDITION", "WALLET_REJECTED", "REJECTED")
REJECTED_FAILURE = Seen("UNKNOWN", "WALLET_REJECTED", "UNKNOWN")
INCONSISTENT = Seen("INTERNAL", "WALLET_INCONSISTENT", "UNKNOWN")
ECHO_MISMATCH = Seen("DATA_LOSS", "WALLET_ECHO_MISMATCH", "UNKNOWN")
INVALID = Seen("INTERNAL", "WALLET_RESPONSE_INVALID", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One test token."""

    token: str
    """The token's text, or, where it holds <ms>, its pattern."""
    does: str
    """Description of the sandbox's behaviour."""
    seen: Seen
    plan: Recipe = field(repr=False)


# 30 digits: more than a binary float can distinguish.
EXACT_BALANCE = "123456789012345678.901234567891"

# Below the bridge's limit of 64 KiB for an answer, so that it is the nesting and the message that are checked.
_DEPTH = 30_000
_LONG_MESSAGE = "\x1b[31mThe wallet\r\nsays no,\x1b[0m\tat length.\n" * 800

_TOO_LARGE_BYTES = 1_000_000
_BOMB_BYTES = 10_000_000
_SLOW_S = 10.0
_DRIP_INTERVAL_S = 0.5

TIMED_TOKEN = re.compile(r"(test-slow|test-drip)-([0-9]{1,6})")
"""The tokens of the rows with <ms>: the row's name, then the number of milliseconds."""


def _wait_s(token: str, default_s: float) -> float:
    match = TIMED_TOKEN.fullmatch(token)
    return int(match[2]) / 1000 if match else default_s


def _slow(call: Call) -> Plan:
    return Reply(call.success, _wait_s(call.token, _SLOW_S))


def _drip(call: Call) -> Plan:
    return Drip(call.success, _wait_s(call.token, _DRIP_INTERVAL_S))


ROWS: tuple[TokenRow, ...] = (
    # Successes
    TokenRow(
        "test-missing-fields",
        "success without request_id, message and balance",
        OK,
        without("request_id", "message", "balance"),
    ),
    TokenRow(
        "test-extra-fields",
        "success with members that the page does not have",
        OK,
        with_members({"bonus": '{"spins":[1,2,3]}', "vip": "true"}),
    ),
    TokenRow("test-ids-as-text", "success with every id as a decimal string", OK, with_ids_as_text),
    TokenRow("test-integer-game-id", "success with the number 4711 as game_id", OK, with_members({"game_id": "4711"})),
    TokenRow("test-exact-balance", "success with a balance of 30 digits", OK, with_members({"balance": EXACT_BALANCE})),
    TokenRow("test-zero-balance", "success with the balance 0", OK, with_members({"balance": "0"})),
    TokenRow("test-exponent-balance", "success with the balance 1e2", OK, with_members({"balance": "1e2"})),
    TokenRow(
        "test-slow-<ms>", "success after <ms> milliseconds, 0 to 999999; past the deadline as test-slow", OK, _slow
    ),
    TokenRow("test-drip-<ms>", "success, one byte every <ms> milliseconds; past the deadline as test-drip", OK, _drip),
    # Time and connection
    TokenRow("test-slow", "success after 10 seconds", TIMEOUT, _slow),
    TokenRow("test-never", "no answer at all", TIMEOUT, lambda _call: Silence()),
    TokenRow("test-drip", "success, one byte every half second", TIMEOUT, _drip),
    TokenRow(
        "test-connection-lost",
        "success, but the connection ends in mid-body, with all calls on it",
        CONNECTION_LOST,
        lambda call: Cut(call.success),
    ),
    # Those who stand before the wallet
    TokenRow("test-gateway-500", "500, an HTML page", GATEWAY_ERROR, show_page(500)),
    TokenRow("test-gateway-502", "502, an HTML page", GATEWAY_ERROR, show_page(502)),
    TokenRow("test-gateway-503", "503, an HTML page", GATEWAY_ERROR, show_page(503)),
    TokenRow("test-gateway-504", "504, an HTML page", GATEWAY_ERROR, show_page(504)),
    TokenRow(
        "test-gateway-json",
        "502, JSON that is not the wallet's",
        GATEWAY_ERROR,
        say(b'{"message":"Internal server error"}', 502),
    ),
    TokenRow("test-redirect", "302 to another place", ENDPOINT, show_page(302, (("location", "/login"),))),
    TokenRow("test-not-found-page", "404, an HTML page", ENDPOINT, show_page(404)),
    TokenRow("test-method-page", "405, an HTML page", ENDPOINT, show_page(405, (("allow", "GET"),))),
    TokenRow("test-length-page", "411, an HTML page", ENDPOINT, show_page(411)),
    TokenRow("test-too-large-page", "413, an HTML page", ENDPOINT, show_page(413)),
    TokenRow("test-uri-page", "414, an HTML page", ENDPOINT, show_page(414)),
    TokenRow("test-media-type-page", "415, an HTML page", ENDPOINT, show_page(415)),
    TokenRow("test-expectation-page", "417, an HTML page", ENDPOINT, show_page(417)),
    TokenRow("test-misdirected-page", "421, an HTML page", ENDPOINT, show_page(421)),
    TokenRow("test-headers-page", "431, an HTML page", ENDPOINT, show_page(431)),
    # The wallet says no
    TokenRow(
        "test-unavailable",
        "503, a failure of the wallet",
        UNAVAILABLE,
        refuse(503, 9503, "The wallet is under maintenance."),
    ),
    TokenRow(
        "test-throttled",
        "429 with Retry-After: 7",
        THROTTLED,
        refuse(429, 9429, "Too many requests.", (("retry-after", "7"),)),
    ),
    TokenRow(
        "test-throttled-page",
        "429, an HTML page with Retry-After: 3600",
        THROTTLED,
        show_page(429, (("retry-after", "3600"),)),
    ),
    TokenRow(
        "test-auth-rejected", "401, a failure of the wallet", AUTH_REJECTED, refuse(401, 9401, "Invalid credentials.")
    ),
    TokenRow(
        "test-forbidden", "403, a failure of the wallet", AUTH_REJECTED, refuse(403, 9403, "Invalid request signature.")
    ),
    TokenRow(
        "test-ip-rejected",
        "403, an HTML page, as for an IP address that is not on the allow-list",
        AUTH_REJECTED,
        show_page(403),
    ),
    TokenRow(
        "test-unknown-error",
        "500, code 2: the failure of the wallet's page",
        UNKNOWN_ERROR,
        refuse(500, 2, "An unknown error has occurred."),
    ),
    TokenRow("test-rejected", "409, code 77", REJECTED_CONFLICT, refuse(409, 77, "The session is busy.")),
    TokenRow("test-rejected-200", "200, status false, code 1200", REJECTED_PRECONDITION, refuse(200, 1200, "Not now.")),
    TokenRow("test-rejected-400", "400, code 1400", REJECTED_ARGUMENT, refuse(400, 1400, "The request is wrong.")),
    TokenRow("test-rejected-402", "402, code 1402", REJECTED_PRECONDITION, refuse(402, 1402, "A debt is open.")),
    TokenRow("test-rejected-404", "404, code 1404", REJECTED_NOT_FOUND, refuse(404, 1404, "There is no such token.")),
    TokenRow("test-rejected-409", "409, code 1409", REJECTED_CONFLICT, refuse(409, 1409, "A round is open.")),
    TokenRow("test-rejected-422", "422, code 1422", REJECTED_ARGUMENT, refuse(422, 1422, "The currency is wrong.")),
    TokenRow("test-rejected-500", "500, code 1500", REJECTED_FAILURE, refuse(500, 1500, "The database is down.")),
    TokenRow(
        "test-already-terminated",
        "409, code 7; an operator may map it to success",
        REJECTED_CONFLICT,
        refuse(409, 7, "The token is already terminated."),
    ),
    TokenRow(
        "test-long-message",
        "409, code 78, a message of some 40 kB with line breaks and ANSI escapes",
        REJECTED_CONFLICT,
        refuse(409, 78, _LONG_MESSAGE),
    ),
    # The wallet contradicts itself
    TokenRow(
        "test-inconsistent-code", "200, status true, code 77", INCONSISTENT, contradict(200, is_success=True, code=77)
    ),
    TokenRow(
        "test-inconsistent-http", "409, status true, code 1", INCONSISTENT, contradict(409, is_success=True, code=1)
    ),
    TokenRow(
        "test-inconsistent-status", "200, status false, code 1", INCONSISTENT, contradict(200, is_success=False, code=1)
    ),
    TokenRow("test-echo-token", "success for another token", ECHO_MISMATCH, with_another("token")),
    TokenRow("test-echo-player", "success for another player_id", ECHO_MISMATCH, with_another("player_id")),
    TokenRow("test-echo-site", "success for another site_id", ECHO_MISMATCH, with_another("site_id")),
    TokenRow("test-echo-provider", "success for another provider_id", ECHO_MISMATCH, with_another("provider_id")),
    # The answer cannot be read
    TokenRow("test-echo-missing", "success without player_id", INVALID, without("player_id")),
    TokenRow(
        "test-wrong-types",
        "success with a string as status and an array as player_id",
        INVALID,
        with_members({"status": '"true"', "player_id": "[1]"}),
    ),
    TokenRow(
        "test-number-too-large", "success with the player_id 2^64", INVALID, with_members({"player_id": str(2**64)})
    ),
    TokenRow(
        "test-number-endless",
        "success with a player_id of 5000 digits",
        INVALID,
        with_members({"player_id": "9" * 5000}),
    ),
    TokenRow("test-number-negative", "success with the player_id -1", INVALID, with_members({"player_id": "-1"})),
    TokenRow("test-number-float", "success with the player_id 1.0", INVALID, with_members({"player_id": "1.0"})),
    TokenRow("test-negative-balance", "success with the balance -1", INVALID, with_members({"balance": "-1"})),
    TokenRow("test-text-balance", "success with a string as balance", INVALID, with_members({"balance": '"22085.75"'})),
    TokenRow("test-nan", "success with the balance NaN", INVALID, with_members({"balance": "NaN"})),
    TokenRow("test-infinity", "success with the balance Infinity", INVALID, with_members({"balance": "Infinity"})),
    TokenRow("test-huge-balance", "success with the balance 1E+400", INVALID, with_members({"balance": "1E+400"})),
    TokenRow(
        "test-duplicate-key", "success with player_id twice, first another's", INVALID, with_a_second("player_id")
    ),
    TokenRow(
        "test-deep",
        "success with an array nested 30000 deep",
        INVALID,
        with_members({"deep": "[" * _DEPTH + "]" * _DEPTH}),
    ),
    TokenRow(
        "test-lone-surrogate",
        "success with half a surrogate pair as message",
        INVALID,
        with_members({"message": r'"\ud800"'}),
    ),
    TokenRow(
        "test-invalid-utf8",
        "success with the byte FF in its message",
        INVALID,
        with_body(lambda body: body.replace(b'"message":""', b'"message":"\xff"')),
    ),
    TokenRow("test-bom", "success after a byte order mark", INVALID, with_body(lambda body: b"\xef\xbb\xbf" + body)),
    TokenRow("test-trailing-bytes", "success with a brace too many", INVALID, with_body(lambda body: body + b"}")),
    TokenRow("test-array", "success inside an array", INVALID, with_body(lambda body: b"[" + body + b"]")),
    TokenRow("test-not-json", "200, the text OK as application/json", INVALID, say(b"OK")),
    TokenRow("test-empty", "200, an empty body", INVALID, say(b"")),
    TokenRow("test-html-200", "200, an HTML page", INVALID, show_page(200)),
    TokenRow("test-page-400", "400, an HTML page", INVALID, show_page(400)),
    TokenRow("test-gzip", "success with content-encoding gzip", INVALID, gzipped()),
    TokenRow(
        "test-gzip-bomb", "success with content-encoding gzip, 10 MB when unpacked", INVALID, gzipped(_BOMB_BYTES)
    ),
    TokenRow(
        "test-too-large", "success of 1 MB", INVALID, with_members({"padding": '"' + "x" * _TOO_LARGE_BYTES + '"'})
    ),
    TokenRow(
        "test-endless",
        "success that begins again and again and never ends",
        INVALID,
        lambda call: Endless(call.success),
    ),
)
"""Every test token, in the order in which the documentation shows them."""
