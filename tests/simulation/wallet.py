"""An independent wallet on h2. It writes down what it has done, and that decides what the bridge may say."""

import base64
import contextlib
import hashlib
import hmac
import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
from h2.errors import ErrorCodes

from tests.simulation import answers
from tests.simulation.history import History
from tests.simulation.network import Address, Link, NetworkLoop
from tests.simulation.scenario import Scenario

SETTING = h2.settings.SettingCodes
GUARD_S, GUARD_RESETS = 10.0, 40
"""The reset guard that real servers have: so many RST_STREAMs in so many seconds, and the connection is closed."""


@dataclass(slots=True)
class Record:
    """What the wallet knows of one token."""

    begun_s: list[float] = field(default_factory=list)
    """When each of its requests was complete."""
    last: str = ""
    """The connection of the last one."""
    processed: list[float] = field(default_factory=list)
    """When it was terminated; more than once only for requests that were retried."""
    refused: int = 0
    """Requests that the wallet has certainly not carried out, and said so."""
    wrong: list[str] = field(default_factory=list)
    """What was wrong with a request: signature, authorization, length."""


class Wallet:
    """Every host of the wallet: one record of tokens, any number of connections."""

    def __init__(
        self, loop: NetworkLoop, scenario: Scenario, history: History, requests: dict[str, dict[str, Any]]
    ) -> None:
        self.loop = loop
        self.scenario = scenario
        self.history = history
        self.requests = requests
        """By token: what its call asks for."""
        self.records: defaultdict[str, Record] = defaultdict(Record)
        self.complaints: list[str] = []
        """What h2 found wrong with the bridge's HTTP/2."""
        self.keys = list(scenario.keys[:1])
        """Access key and private key that are accepted: the newest last."""
        self.connections: list[Connection] = []

    def accept(self, link: Link, address: Address) -> None:
        """Take a new connection."""
        self.connections.append(Connection(self, link, len(self.connections) + 1, address))

    def restart(self, *, with_reset: bool) -> None:
        """Drop every connection at once."""
        for connection in self.connections:
            connection.cut(with_reset=with_reset)

    def recycle(self) -> None:
        """Close every connection as a graceful reload does: RFC 9113, section 6.8."""
        for connection in self.connections:
            connection.go_away(ErrorCodes.NO_ERROR)

    def chance(self, *of: object) -> random.Random:
        """Return a source of chance that depends on the seed and on nothing but these."""
        return random.Random("/".join(map(str, (self.scenario.seed, *of))))


class Connection:
    """One HTTP/2 connection as its server."""

    def __init__(self, wallet: Wallet, link: Link, number: int, address: Address) -> None:
        self.wallet = wallet
        self.link = link
        self.name = f"connection {number}"
        self.chance = wallet.chance(self.name)
        self.is_over = False
        self.pings: list[float] = []
        self.resets: list[float] = []
        """When the bridge reset a stream whose request was complete."""
        self.began_s = wallet.loop.time()
        self.cut_s = 0.0
        """When the wallet ended it; 0 if it did not."""
        self.tokens: list[str] = []
        """Those whose requests came over it."""
        self._last_id: int | None = None
        """The last stream that may be processed, once a GOAWAY has said so."""
        self._highest_id = 0
        self._settings_sent, self._settings_acknowledged = 1, 0
        self.highest_taken = 0
        """The highest stream whose request was complete, so that something was done about it."""
        self._bodies: dict[int, bytes] = {}
        self._headers: dict[int, list[tuple[bytes, bytes]]] = {}
        self._unsent: dict[int, tuple[bytes, bool]] = {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        first = {SETTING(name): value for name, value in wallet.scenario.settings(self.chance).items()}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=first)
        link.server = self
        wallet.history.add(f"opened to {address.host} with {dict(first)}", self.name)
        self.h2.initiate_connection()
        self.flush()
        for at_s, act in wallet.scenario.connection_faults(self.chance):
            wallet.loop.call_later(at_s, self._happen, act)

    # --- what happens to the connection ---------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what h2 has to say."""
        data = self.h2.data_to_send()
        if data and not self.is_over:
            self.link.from_server(data)

    def raw(self, data: bytes) -> None:
        """Put bytes on the wire of which h2 knows nothing."""
        self.flush()
        if not self.is_over:
            self.link.from_server(data)

    def cut(self, *, with_reset: bool) -> None:
        """End the connection."""
        if not self.is_over:
            self.flush()
            self.is_over, self.cut_s = True, self.wallet.loop.time()
            self.wallet.history.add(f"cut by the wallet, {'reset' if with_reset else 'FIN'}", self.name)
            self.link.cut(with_reset=with_reset)

    def go_away(self, code: ErrorCodes, last_id: int | None = None) -> None:
        """Say that streams above `last_id` (by default: those not seen yet) will never be processed."""
        if self.is_over or self._last_id is not None:
            return
        self._last_id = self._highest_id if last_id is None else last_id
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=self._last_id, error_code=int(code))
        self.wallet.history.add(f"GOAWAY {code.name}, last stream {self._last_id}", self.name)
        self.raw(frame.serialize())

    def change_settings(self, values: dict[int, int]) -> None:
        """Send SETTINGS, once those before are acknowledged: h2 takes any acknowledgement for that of the last ones."""
        if self._settings_sent > self._settings_acknowledged:
            self.wallet.loop.call_later(0.1, self.change_settings, values)
        elif not self.is_over:
            self._settings_sent += 1
            self.h2.update_settings({SETTING(name): value for name, value in values.items()})
            self.flush()

    def _happen(self, act: str) -> None:
        self.wallet.history.add(act, self.name)
        match act:
            case "goaway":
                self.go_away(
                    self.chance.choice([ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR, ErrorCodes.ENHANCE_YOUR_CALM])
                )
            case "reset":
                self.cut(with_reset=True)
            case "finish":
                self.cut(with_reset=False)
            case "silence":
                self.link.is_silent = True
            case "settings":
                self.change_settings(self.wallet.scenario.settings(self.chance))

    # --- simulation.network.Server --------------------------------------------------------------------------------

    def connection_lost(self) -> None:
        """Take note that the bridge has closed."""
        self.is_over = True

    def data_received(self, data: bytes) -> None:
        """Act on the bridge's frames."""
        if self.is_over:
            return
        try:
            happened = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.wallet.complaints.append(f"{self.name}: {error!r}")
            self.cut(with_reset=True)
            return
        for event in happened:
            act = self._acts.get(type(event))
            if act is not None:
                act(self, event)
        self.flush()

    def _on_request(self, event: h2.events.RequestReceived) -> None:
        if self._last_id is not None and event.stream_id > self._last_id:
            return  # its client was informed: never processed
        self._highest_id = max(self._highest_id, event.stream_id)
        self._bodies[event.stream_id] = b""
        self._headers[event.stream_id] = list(event.headers)

    def _on_data(self, event: h2.events.DataReceived) -> None:
        if event.stream_id in self._bodies:
            self._bodies[event.stream_id] += event.data
        self._quietly(lambda: self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id))

    def _on_end(self, event: h2.events.StreamEnded) -> None:
        body = self._bodies.pop(event.stream_id, None)
        if body is not None and (self._last_id is None or event.stream_id <= self._last_id):
            self.highest_taken = max(self.highest_taken, event.stream_id)
            self._take(Request(self, event.stream_id, self._headers.pop(event.stream_id), body))

    def _on_reset(self, event: h2.events.StreamReset) -> None:
        was_half_sent = self._bodies.pop(event.stream_id, None) is not None
        self._unsent.pop(event.stream_id, None)
        now = self.wallet.loop.time()
        self.wallet.history.add(f"stream {event.stream_id} reset by the bridge", self.name)
        if not was_half_sent:
            self.resets.append(now)
        if self.wallet.scenario.has_reset_guard and sum(at > now - GUARD_S for at in self.resets) > GUARD_RESETS:
            self.go_away(ErrorCodes.ENHANCE_YOUR_CALM)
            self.cut(with_reset=False)

    def _on_settings_acknowledged(self, _event: h2.events.SettingsAcknowledged) -> None:
        self._settings_acknowledged += 1

    def _on_ping(self, _event: h2.events.PingReceived) -> None:
        self.pings.append(self.wallet.loop.time())

    def _on_window(self, _event: object) -> None:
        for stream_id in list(self._unsent):
            self._quietly(partial(self._send_more, stream_id))

    _acts: ClassVar[dict[type, Callable[..., None]]] = {
        h2.events.RequestReceived: _on_request,
        h2.events.DataReceived: _on_data,
        h2.events.StreamEnded: _on_end,
        h2.events.StreamReset: _on_reset,
        h2.events.PingReceived: _on_ping,
        h2.events.SettingsAcknowledged: _on_settings_acknowledged,
        h2.events.WindowUpdated: _on_window,
        h2.events.RemoteSettingsChanged: _on_window,
    }

    # --- answering ------------------------------------------------------------------------------------------------

    def _take(self, request: "Request") -> None:
        record = self.wallet.records[request.token]
        record.begun_s.append(self.wallet.loop.time())
        record.last = self.name
        self.tokens.append(request.token)
        record.wrong += request.faults()
        chance = self.wallet.chance("answer", request.token, len(record.begun_s))
        act = self.wallet.scenario.answer(request.token, chance)
        if not request.is_signed and act not in answers.UNSIGNED:
            act = "wrong signature"
        self.wallet.history.add(
            f"stream {request.stream_id}, attempt {len(record.begun_s)}: {act}", request.token, self.name
        )
        answers.ANSWERS[act](request, chance)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something on the connection after a while, unless it is over then."""
        self.wallet.loop.call_later(seconds, self._act, act)

    def _act(self, act: Callable[[], None]) -> None:
        if not self.is_over:
            self._quietly(act)
            self.flush()

    def _quietly(self, act: Callable[[], None]) -> None:
        # The stream may have been reset meanwhile.
        with contextlib.suppress(h2.exceptions.ProtocolError, KeyError):
            act()

    def send_body(self, stream_id: int, body: bytes, *, ends: bool) -> None:
        """Send a body as the bridge's windows allow."""
        self._unsent[stream_id] = body, ends
        self._send_more(stream_id)

    def _send_more(self, stream_id: int) -> None:
        body, ends = self._unsent.pop(stream_id)
        while body:
            size = min(len(body), self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if size <= 0:
                self._unsent[stream_id] = body, ends
                return
            self.h2.send_data(stream_id, body[:size], end_stream=ends and size == len(body))
            body = body[size:]


@dataclass(frozen=True, slots=True)
class Request:
    """One POST that has arrived whole."""

    connection: Connection
    stream_id: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The body's members."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def token(self) -> str:
        """Which token is to be terminated."""
        return str(self.fields["token"])

    @property
    def record(self) -> Record:
        """What the wallet knows of the token."""
        return self.connection.wallet.records[self.token]

    @property
    def is_signed(self) -> bool:
        """Whether one of the keys that are accepted now has signed it."""
        headers = dict(self.headers)
        for access_key, private_key in self.connection.wallet.keys:
            basic = b"Basic " + base64.b64encode(f"{self.fields['provider_id']}:{access_key}".encode())
            signature = hmac.new(private_key.encode(), self.body, hashlib.sha256).hexdigest().encode()
            if (headers.get(b"authorization"), headers.get(b"x-request-signature")) == (basic, signature):
                return True
        return False

    def faults(self) -> list[str]:
        """Return what no request of the bridge may be, whatever happens."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        found = []
        if lengths != [str(len(self.body)).encode()]:
            found.append(f"content-length {lengths} for {len(self.body)} bytes")
        if self.fields != self.connection.wallet.requests.get(self.token):
            found.append("not the body that the call asks for")
        return found

    def process(self) -> None:
        """Terminate the token."""
        self.record.processed.append(self.connection.wallet.loop.time())

    def refuse(self) -> None:
        """Note that the wallet does not carry it out and says so."""
        self.record.refused += 1
