"""A staging wallet for tests of `bridge certify`: it knows its live tokens, and deviates as a test asks.

Its texts are hostile: messages, request ids and headers echo the token, the credentials and the signature.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from bridge.sandbox.answers import JSON, Answer, Reply, failure
from bridge.sandbox.behaviours import success_body
from bridge.sandbox.operations import OPERATIONS
from bridge.sandbox.providers import SAMPLE_PROVIDERS
from bridge.sandbox.record import Request
from bridge.sandbox.stream import Stream
from bridge.sandbox.wallet import Wallet

PLAYER_ID, SITE_ID = 77, 3
LIVE, SECOND = "canary-live-token-5f0b", "canary-second-token-77aa"

UNKNOWN, ANOTHER, TERMINATED = failure(404, 44, ""), failure(409, 45, ""), failure(409, 7, "")
"""Its ways to say no: no such token, another player's token, a token that is terminated."""

CHECKED = {401: "authorization", 403: "x-request-signature"}
"""By the status with which the sandbox refuses a request for it."""
SANDBOX = Wallet(SAMPLE_PROVIDERS, OPERATIONS)


@dataclass
class StagingWallet:
    """A behaviour of FaultServer. As it is by default, it does what the contract expects."""

    refused: Mapping[str, Answer | None] = field(default_factory=dict)
    """By what is wrong, "authorization" or "x-request-signature": the answer; None: it is not checked."""
    unknown: Answer | None = UNKNOWN
    """The answer to a token that never existed; None: success."""
    another: Answer | None = ANOTHER
    """The answer to another player's token; None: players are not compared."""
    again: Answer | None = TERMINATED
    """The answer to a token that is terminated; None: success once more."""
    at_once: Answer | None = None
    """The answer to a request with SECOND while another one is under way; None: as if there were none."""
    changes: Mapping[str, object] = field(default_factory=dict)
    """Members of a success that are another way."""
    lacks: frozenset[str] = frozenset()
    """Members of a success that are not there."""
    request_id: str = ""
    """"": a UUID; else this form of the token: "raw", or "uuid": its bytes as one."""

    requests: list[Request] = field(default_factory=list)
    _live: set[str] = field(default_factory=lambda: {LIVE, SECOND})
    _is_under_way: bool = False
    _another_came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, stream: Stream) -> None:
        """Answer a request."""
        self.requests.append(stream.request)
        answer = await self.answer(stream.request)
        await stream.respond(
            answer.status, self._hostile(answer.body, stream.request), self._headers(stream.request, answer)
        )

    async def answer(self, request: Request) -> Answer:
        """Return the answer, without its hostile texts."""
        if no := self._refusal(request):
            return no
        token = request.token
        if self.at_once and token == SECOND:
            if self._is_under_way:
                self._another_came.set()
                return self.at_once
            self._is_under_way = True
            await self._another_came.wait()
        return self._decision(request) or Answer(200, JSON, self._success(request))

    def _decision(self, request: Request) -> Answer | None:
        if request.token not in (LIVE, SECOND):
            return self.unknown
        if request.fields["player_id"] != PLAYER_ID and self.another:
            return self.another
        no = None if request.token in self._live else self.again
        self._live.discard(request.token)
        return no

    def _refusal(self, request: Request) -> Answer | None:
        received, plan = SANDBOX.decide(request)
        if not received.refusal:
            return None
        assert isinstance(plan, Reply)
        return self.refused.get(CHECKED.get(plan.answer.status, ""), plan.answer)

    def _success(self, request: Request) -> bytes:
        members = {**json.loads(success_body(request)), **self.changes}
        return json.dumps({name: value for name, value in members.items() if name not in self.lacks}).encode()

    def _hostile(self, body: bytes, request: Request) -> bytes:
        if not body.startswith(b"{"):
            return body + b"<!-- " + spelt(request).encode() + b" -->"
        members = json.loads(body)
        if "message" in members:
            members["message"] = spelt(request)
        if self.request_id:
            token = request.token.encode()[:16].ljust(16, b"-")
            members["request_id"] = request.token if self.request_id == "raw" else str(uuid.UUID(bytes=token))
        return json.dumps(members).encode()

    def _headers(self, request: Request, answer: Answer) -> list[tuple[str, str]]:
        text = quote(spelt(request))
        names = ("location", "via", "www-authenticate", "retry-after", "x-debug", f"x-{request.token}")
        return [*answer.headers, *((name, text) for name in names)]


def spelt(request: Request) -> str:
    """Return the token, the credentials and the signature of a request, raw, in hex, in base64 and percent-encoded."""
    secrets = [request.token, *(request.header(name) or "" for name in CHECKED.values())]
    texts = ((text, text.encode().hex(), base64.b64encode(text.encode()).decode(), quote(text)) for text in secrets)
    return " ".join(form for forms in texts for form in forms)
