"""`bridge certify` against wallets that deviate: each deviation has its finding, and its proposed [wallet.codes]."""

import base64
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.sandbox import serve, session
from bridge.sandbox.answers import failure, page, wallet_answer
from bridge.sandbox.server import FaultServer
from bridge.settings.model import load
from tests.support.certificates import Certificates
from tests.support.command_runs import MAPPED, certified
from tests.support.processes import bridge_command
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY, toml, write
from tests.support.staging_wallet import LIVE, SECOND, TERMINATED, StagingWallet

SAFE = ["wrong-signature", "unknown-provider", "unknown-token", "no-signature", "no-authorization", "http1"]
LIVE_PROBES = ["wrong-player", "terminate", "terminate-again", "at-once-1", "at-once-2"]


@dataclass(frozen=True)
class Case:
    """A wallet, and what is found out about it when its codes 7, 44 and 45 are mapped."""

    wallet: dict[str, Any]
    found: dict[str, str] = field(default_factory=dict)
    """Probe -> level, but for ok and note."""
    proposed: dict[int, str] = field(default_factory=dict)
    """Code -> what stands in its section."""
    says: str = ""
    """A part of one finding's text."""


UNCHECKED = {"x-request-signature": None}
FORBIDDEN = failure(403, 8, "")
ABORTED = 'grpc = "ABORTED"\nreason = "TERMINATE_IN_PROGRESS"'
DONE = failure(200, 8, "")
NOT_DONE = wallet_answer(409, {"status": "true", "code": "1"})

CASES = {
    "as the contract expects": Case({}),
    "a second terminate is a success": Case({"again": None}),
    "a second terminate has another code": Case(
        {"again": DONE},
        {"terminate-again": "decide"},
        {8: "success = true"},
        "a second terminate gets HTTP 200, code 8",
    ),
    "a second terminate is 403 with a code": Case(
        {"again": FORBIDDEN}, {"terminate-again": "decide"}, {8: "success = true"}, "WALLET_AUTH_REJECTED"
    ),
    "a second terminate is code 2": Case(
        {"again": failure(500, 2, "")}, {"terminate-again": "decide"}, {}, "WALLET_UNKNOWN_ERROR, outcome UNKNOWN"
    ),
    "a second terminate is an error page": Case(
        {"again": page(502)}, {"terminate-again": "decide"}, {}, "HTTP 502 without a wallet body"
    ),
    "a second terminate contradicts": Case({"again": NOT_DONE}, {"terminate-again": "decide"}, {}, "INCONSISTENT"),
    "terminated and unknown have one code": Case(
        {"again": DONE, "unknown": DONE},
        {"unknown-token": "decide", "terminate-again": "decide"},
        {8: 'grpc = "NOT_FOUND"\nreason = "TOKEN_NOT_FOUND"'},
        "success = true would report a wrong token as terminated",
    ),
    "a mapped success for unknown tokens": Case(
        {"unknown": TERMINATED}, {"unknown-token": "danger"}, {}, "take success = true out of wallet.codes.7"
    ),
    "success for unknown tokens": Case({"unknown": None}, {"unknown-token": "decide"}, {}, "never existed is answered"),
    "unknown tokens are 404 with another code": Case(
        {"unknown": failure(404, 9, "")},
        {"unknown-token": "decide"},
        {9: 'grpc = "NOT_FOUND"\nreason = "TOKEN_NOT_FOUND"'},
        "gets HTTP 404, code 9",
    ),
    "unknown tokens are 500 with another code": Case(
        {"unknown": failure(500, 9, "")},
        {"unknown-token": "decide"},
        {9: 'grpc = "NOT_FOUND"\nreason = "TOKEN_NOT_FOUND"'},
        "WALLET_REJECTED, outcome UNKNOWN",
    ),
    "unknown tokens are 503 with a mapped code": Case(
        {"unknown": failure(503, 44, "")}, {"unknown-token": "decide"}, {}, "WALLET_UNAVAILABLE, outcome REJECTED"
    ),
    "unknown tokens are a page": Case({"unknown": page(404)}, {"unknown-token": "decide"}, {}, "WALLET_ENDPOINT"),
    "unknown tokens are 403": Case(
        {"unknown": failure(403, 9, "")}, {"unknown-token": "decide"}, {}, "or answers so to such a token"
    ),
    "signatures are not checked": Case(
        {"refused": UNCHECKED},
        {"wrong-signature": "danger", "no-signature": "danger"},
        {},
        "the wallet does not check it, or looks at the token first",
    ),
    "signatures are not checked, and unknown tokens are a success": Case(
        {"refused": UNCHECKED, "unknown": None},
        {"wrong-signature": "danger", "no-signature": "danger", "unknown-token": "decide"},
        {},
        "a wrong signature is accepted (HTTP 200, code 1): the wallet does not check it",
    ),
    "wrong signatures are 400": Case(
        {"refused": {"x-request-signature": failure(400, 12, "")}},
        {"wrong-signature": "decide"},
        {12: 'grpc = "INTERNAL"\nreason = "SIGNATURE_REJECTED"'},
        "tries the other key only after 401 or 403",
    ),
    "wrong signatures are 500": Case(
        {"refused": {"x-request-signature": page(500)}},
        {"wrong-signature": "decide", "no-signature": "decide"},
        {},
        "WALLET_GATEWAY_ERROR, outcome UNKNOWN",
    ),
    "credentials are not checked": Case(
        {"refused": {"authorization": None, "x-request-signature": None}},
        dict.fromkeys(("wrong-signature", "unknown-provider", "no-signature", "no-authorization"), "danger"),
    ),
    "unknown providers are 404": Case(
        {"refused": {"authorization": failure(404, 13, "")}},
        {"unknown-provider": "decide"},
        {13: 'grpc = "INTERNAL"\nreason = "CREDENTIALS_REJECTED"'},
    ),
    "players are not compared": Case(
        {"another": None}, {"wrong-player": "danger", "terminate": "decide"}, {}, "does not compare the player"
    ),
    "players are not compared, and the right one is named": Case(
        {"another": None, "changes": {"player_id": 77}},
        {"wrong-player": "danger", "terminate": "decide"},
        {},
        "names another player_id",
    ),
    "another player's token has another code": Case(
        {"another": failure(422, 46, "")},
        {"wrong-player": "decide"},
        {46: 'grpc = "FAILED_PRECONDITION"\nreason = "TOKEN_OF_ANOTHER_SESSION"'},
    ),
    "a success lacks fields": Case({"lacks": frozenset({"balance", "request_id"})}, says="lacks request_id, balance"),
    "a success without an echo": Case(
        {"lacks": frozenset({"token"})},
        {"terminate": "decide", "at-once-1": "decide"},
        {},
        "WALLET_RESPONSE_INVALID, outcome UNKNOWN",
    ),
    "a success without an echo, and another code for the second": Case(
        {"lacks": frozenset({"token"}), "again": DONE},
        {"terminate": "decide", "terminate-again": "decide", "at-once-1": "decide"},
    ),
    "a success that names another site": Case(
        {"changes": {"site_id": 4}}, {"terminate": "decide", "at-once-1": "decide"}, {}, "WALLET_ECHO_MISMATCH"
    ),
    "two at once are refused": Case({"at_once": failure(409, 31, "")}, {"at-once-2": "decide"}, {31: ABORTED}),
}


def sections(codes: str) -> dict[int, str]:
    """Return what stands in each section of a proposal, without its questions."""
    found: dict[int, str] = {}
    for part in codes.split("[wallet.codes.")[1:]:
        number, _, rest = part.partition("]\n")
        found[int(number)] = "\n".join(line for line in rest.splitlines() if line and not line.startswith("#"))
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_each_deviation_is_found(case: Case, tmp_path: Path) -> None:
    """A deviating wallet has exactly these findings and proposals, which settings accept; exit code 1 if any."""
    second = tmp_path / "second"
    second.write_text(f"{SECOND}\n")
    async with FaultServer(StagingWallet(**case.wallet), greets_first=False) as server:
        run = await certified(server.url, "--yes", "--json", "--second-token-file", str(second), settings=MAPPED)
    findings = "\n".join(each["text"] for each in run.report["findings"])
    assert run.levels == case.found, findings
    assert sections(run.report["codes"]) == case.proposed
    assert case.says in findings
    assert [each["probe"] for each in run.report["probes"]] == SAFE + LIVE_PROBES
    assert (run.exit_code, run.report["problem"], run.err) == (int(bool(case.found)), "", "")
    load(write(tmp_path, toml(rest=run.report["codes"])), {})


async def test_what_is_proposed_is_what_was_missing(tmp_path: Path) -> None:
    """Without mappings a good wallet's codes are proposed, each with its question; with these nothing is left."""
    keys = 'access_key = "abcde12345"\nprivate_key = "e56eb966-a55f-4087-bc7d-e66df1f377a1"'
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        first = await certified(server.url, "--yes", "--json")
    assert first.levels == dict.fromkeys(("unknown-token", "wrong-player", "terminate-again"), "decide")
    assert "# code 7 is what a second terminate answers: success = true?\n" in first.report["codes"]
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        config = write(tmp_path, toml(wallet=f'url = "{server.url}"\nallow_plaintext = true', keys=keys))
        config.write_text(config.read_text() + first.report["codes"])
        second = await certified(server.url, "--yes", "--json", "--config", str(config))
    async with bridge_command("serve", "--check", "--config", str(config)) as check:
        assert await check.end() == 0
    assert "wallet.codes.7.success = true" in check.output
    assert (second.exit_code, second.levels, second.report["codes"]) == (0, {}, "")


async def test_over_tls(tmp_path: Path) -> None:
    """Over TLS, with the authority of the settings, all probes have their answers; HTTP/1.1 has a refusal."""
    certificates = Certificates(tmp_path)
    settings = {**MAPPED, "WALLET__CA_FILE": str(certificates.ca_file)}
    async with FaultServer(StagingWallet(), tls=certificates.server.server_context(), greets_first=False) as server:
        run = await certified(server.url, "--yes", "--json", settings=settings)
    statuses = {each["probe"]: each["http_status"] for each in run.report["probes"]}
    assert (run.exit_code, statuses["terminate"], statuses["http1"]) == (0, 200, 505)


async def test_a_wallet_that_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    """Without trust in its certificate nothing is sent, over HTTP/1.1 neither, and the exit code is 2."""
    certificates = Certificates(tmp_path)
    settings = {"WALLET__CA_FILE": str(certificates.ca_file)}
    async with FaultServer(StagingWallet(), tls=certificates.untrusted.server_context()) as server:
        run = await certified(server.url, "--yes", settings=settings)
        assert server.received_bytes == 0
    assert run.exit_code == 2
    assert "the live token was not sent to the wallet" in run.out
    assert "cannot be reached (tls): run `bridge doctor`" in run.err


async def test_a_wallet_that_speaks_http1_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noted, and needs no decision: the bridge speaks HTTP/2 alone."""
    monkeypatch.setattr(session, "_REFUSAL", b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n")
    monkeypatch.setattr(session, "_HTTP_2_ONLY", failure(404, 44, "").body)
    async with FaultServer(StagingWallet(), greets_first=False) as server:
        run = await certified(server.url, "--yes", "--json", settings=MAPPED)
    (found,) = (each for each in run.report["findings"] if each["probe"] == "http1")
    assert (run.exit_code, found["level"]) == (0, "note")
    assert found["text"] == "the wallet speaks HTTP/1.1 too (HTTP 404, code 44); the bridge never does"


async def test_against_the_sandbox() -> None:
    """The sandbox knows no tokens: all are terminated with success, and that alone needs a decision."""
    async with serve() as sandbox:
        run = await certified(sandbox.url, "--yes", "--json")
        assert [received.token for received in sandbox.received if received.token == LIVE] == [LIVE] * 5
    assert (run.exit_code, run.levels) == (1, {"unknown-token": "decide", "wrong-player": "danger"})
    assert run.report["tokens"] == {"the live token": "TERMINATED"}


async def test_what_is_sent_in_which_order() -> None:
    """Nothing of the first probes holds a live token or, for the made-up provider, a real credential."""
    wallet = StagingWallet()
    async with FaultServer(wallet, greets_first=False) as server:
        await certified(server.url, "--yes", settings=MAPPED)
    safe, live = wallet.requests[:5], wallet.requests[5:]
    assert [request.token for request in live] == [LIVE] * 5
    tokens = {request.token for request in safe}
    assert len(tokens) == 5
    assert LIVE not in tokens
    right = safe[2].header("authorization")
    authorizations = [request.header("authorization") for request in safe]
    assert authorizations == [right, authorizations[1], right, right, None]
    assert authorizations[1] not in (None, right)
    made_up = base64.b64decode((authorizations[1] or "").removeprefix("Basic ")).decode()
    assert made_up.startswith(f"{safe[1].fields['provider_id']}:")
    assert ACCESS_KEY not in made_up
    assert safe[1].fields["provider_id"] != 1
    ours = [hmac.new(PRIVATE_KEY.encode(), request.body, "sha256").hexdigest() for request in safe]
    assert [request.header("x-request-signature") == right for request, right in zip(safe, ours, strict=True)] == [
        *(False, False, True, False, True)
    ]
    assert [request.header("x-request-signature") is None for request in safe] == [False, False, False, True, False]
    assert [request.fields["player_id"] for request in live] == [78, 77, 77, 77, 77]
