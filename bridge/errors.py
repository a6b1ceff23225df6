"""All failures of a call, by what is certain about the wallet's state.

    BridgeError
      NotSent                    no byte of the request left the bridge
        InvalidRequest             a field is unset, too long or malformed
        ProviderNotConfigured      no credentials for the provider_id
        CallerNotAllowed           the caller's identity is not on the allow-list
        DeadlineTooShort           less than the minimum is left
        BridgeOverloaded           admission is full
        BridgeDraining             the second step of a drain
        WalletUnreachable          no connection that speaks HTTP/2 could be made
        BridgeFaultBeforeSend      a fault of the bridge, before the first byte
      NotProcessed               HTTP/2 proves that the wallet did not process the request
        WalletNotProcessed         stream refused, or above the last id of a GOAWAY
      Rejected                   the wallet answered no
        WalletUnavailable          503 with a wallet body
        WalletThrottled            429
        WalletAuthRejected         401 or 403: our credentials, never the caller's
        WalletEndpoint             there is no such endpoint behind the URL
        WalletRejected             any other code with status false
      Unknown                    everything else after the first byte
        WalletTimeout              no complete answer within the deadline
        WalletConnectionLost       reset or closed after the first byte
        WalletGatewayError         a 5xx that the wallet itself did not write
        WalletUnknownError         code 2
        WalletFailed               5xx with status false and an unmapped code
        WalletInconsistent         HTTP status, status and code disagree
        WalletEchoMismatch         the answer is about another player, site or token
        WalletResponseInvalid      the answer is not one of the wallet's
        BridgeFault                a fault of the bridge, after the first byte

A class fixes its reason, its gRPC code and, by its branch (outcome.py), its outcome, so that no combination of the
three can be wrong. Source: docs/design/contract.md, "Failures". A new failure is a new leaf here and, if a wallet's
answer means it, a new row in `transcoding/verdict.py`; the translation to gRPC in `transcoding/status.py` stays as it
is.
"""

from bridge.outcome import BridgeError, ByCode, GrpcCode, NotProcessed, NotSent, Rejected, Unknown


class InvalidRequest(NotSent):
    """A field is unset, too long or malformed; `violations` lists them all."""

    reason = "INVALID_REQUEST"
    grpc_code = GrpcCode.INVALID_ARGUMENT
    summary = "The request cannot be sent as it is. Fix the fields listed in BadRequest."


class ProviderNotConfigured(NotSent):
    """There are no credentials for the request's provider_id."""

    reason = "PROVIDER_NOT_CONFIGURED"
    grpc_code = GrpcCode.FAILED_PRECONDITION
    summary = "The bridge has no credentials for this provider_id. Correct the id, or add [wallet.providers.<id>]."


class CallerNotAllowed(NotSent):
    """The identity in the caller's certificate is not on the allow-list."""

    reason = "CALLER_NOT_ALLOWED"
    grpc_code = GrpcCode.PERMISSION_DENIED
    summary = "This caller's identity is not on the bridge's allow-list. Add it to server.allowed_identities."


class DeadlineTooShort(NotSent):
    """Less time than the minimum is left."""

    reason = "DEADLINE_TOO_SHORT"
    grpc_code = GrpcCode.DEADLINE_EXCEEDED
    summary = "Too little of the deadline is left to ask the wallet. Nothing was sent; call with a longer deadline."


class BridgeOverloaded(NotSent):
    """Admission is full; `retry_after_s` says when to come back."""

    reason = "BRIDGE_OVERLOADED"
    grpc_code = GrpcCode.RESOURCE_EXHAUSTED
    summary = "The bridge has as many calls as it can hold. Nothing was sent; retry after the delay in RetryInfo."


class BridgeDraining(NotSent):
    """This bridge is about to stop."""

    reason = "BRIDGE_DRAINING"
    grpc_code = GrpcCode.UNAVAILABLE
    summary = "This bridge is shutting down. Nothing was sent; retry, another instance will take the call."


class WalletUnreachable(NotSent):
    """No HTTP/2 connection in time; `cause`: refused, timeout, dns, tls, http2_required, network or closed."""

    reason = "WALLET_UNREACHABLE"
    grpc_code = GrpcCode.UNAVAILABLE
    summary = "No HTTP/2 connection to the wallet could be made. Nothing was sent; retrying is safe."


class BridgeFaultBeforeSend(NotSent):
    """A fault of the bridge before the first byte of the request left."""

    reason = "BRIDGE_FAULT"
    grpc_code = GrpcCode.INTERNAL
    summary = "The bridge failed before it sent anything. Report it to the bridge's operator; its log has the place."


class WalletNotProcessed(NotProcessed):
    """The stream was refused or cut off by GOAWAY, and the attempts are used up."""

    reason = "WALLET_NOT_PROCESSED"
    grpc_code = GrpcCode.UNAVAILABLE
    summary = "The wallet turned the request away unprocessed, as HTTP/2 proves. Retrying is safe."


class WalletUnavailable(Rejected):
    """503 in the wallet's own words."""

    reason = "WALLET_UNAVAILABLE"
    grpc_code = GrpcCode.UNAVAILABLE
    summary = "The wallet says that it is unavailable and did not do it. Retrying is safe."


class WalletThrottled(Rejected):
    """429; `retry_after_s` is the wallet's Retry-After."""

    reason = "WALLET_THROTTLED"
    grpc_code = GrpcCode.RESOURCE_EXHAUSTED
    summary = "The wallet has had too many requests and did not do it. Retry after the delay in RetryInfo."


class WalletAuthRejected(Rejected):
    """401 or 403: about the bridge's credentials, signature or address, never about the caller's."""

    reason = "WALLET_AUTH_REJECTED"
    grpc_code = GrpcCode.INTERNAL
    summary = (
        "The wallet refused the bridge's credentials, signature or IP address. The bridge's operator must check the "
        "provider's access_key, private_key and the wallet's allow-list; retrying does not help."
    )


class WalletEndpoint(Rejected):
    """A redirect, or a page that refuses the request by its outer form; `cause` is the HTTP status.

    The statuses: 3xx, and without a wallet body 404, 405, 411, 413, 414, 415, 417, 421, 431.
    """

    reason = "WALLET_ENDPOINT"
    grpc_code = GrpcCode.INTERNAL
    summary = (
        "What answers at the configured URL refused the request before the wallet's API saw it. The bridge's operator "
        "must check wallet.url and what stands in front of the wallet; retrying does not help."
    )


class WalletRejected(ByCode, Rejected):
    """Any other code with status false: by the operator's table of codes, else by HTTP status."""

    reason = "WALLET_REJECTED"
    grpc_code = GrpcCode.FAILED_PRECONDITION
    summary = "The wallet refused the call. Retrying does not help until the cause that its code names is fixed."


class WalletTimeout(Unknown):
    """The deadline passed after the first byte and before a complete answer."""

    reason = "WALLET_TIMEOUT"
    grpc_code = GrpcCode.DEADLINE_EXCEEDED
    summary = "The wallet gave no complete answer in time. It may have done it: check before going on."


class WalletConnectionLost(Unknown):
    """The stream or the connection broke after the first byte."""

    reason = "WALLET_CONNECTION_LOST"
    grpc_code = GrpcCode.UNKNOWN
    summary = "The connection to the wallet broke before its answer was complete. It may have done it: check first."


class WalletGatewayError(Unknown):
    """502, 503, 504 or another 5xx without a wallet body: something in between answered."""

    reason = "WALLET_GATEWAY_ERROR"
    grpc_code = GrpcCode.UNKNOWN
    summary = "Something in front of the wallet answered with an error. The wallet may have done it: check first."


class WalletUnknownError(Unknown):
    """Code 2: the wallet's page calls it an unknown error."""

    reason = "WALLET_UNKNOWN_ERROR"
    grpc_code = GrpcCode.UNKNOWN
    summary = "The wallet reports an unknown error (code 2). It may have done it: check before going on."


class WalletFailed(ByCode, Unknown):
    """5xx with status false and an unmapped code: the wallet failed while it processed the call."""

    reason = "WALLET_REJECTED"
    grpc_code = GrpcCode.UNKNOWN
    summary = "The wallet failed with a code that the bridge does not know. It may have done it: check first."


class WalletInconsistent(Unknown):
    """HTTP status, `status` and `code` disagree."""

    reason = "WALLET_INCONSISTENT"
    grpc_code = GrpcCode.INTERNAL
    summary = "The wallet's answer contradicts itself. It may have done it: check before going on, and report it."


class WalletEchoMismatch(Unknown):
    """A field that must echo the request's differs; `cause` names it."""

    reason = "WALLET_ECHO_MISMATCH"
    grpc_code = GrpcCode.DATA_LOSS
    summary = (
        "The wallet's answer is about something other than what was asked: perhaps another player's session. "
        "Do not go on before this is cleared up with the wallet."
    )


class WalletResponseInvalid(Unknown):
    """The answer is not one that the wallet's page allows; `cause` says why."""

    reason = "WALLET_RESPONSE_INVALID"
    grpc_code = GrpcCode.INTERNAL
    summary = "The wallet's answer cannot be read. It may have done it: check before going on, and report it."


class BridgeFault(Unknown):
    """A fault of the bridge after the first byte of the request left."""

    reason = "BRIDGE_FAULT"
    grpc_code = GrpcCode.INTERNAL
    summary = "The bridge failed after it had asked the wallet, which may have done it: check before going on."


def leaves(branch: type[BridgeError] = BridgeError) -> tuple[type[BridgeError], ...]:
    """Every failure there is, in the order of this file: the rows of the table of failures."""
    children = [child for child in branch.__subclasses__() if child is not ByCode]
    return tuple(leaf for child in children for leaf in leaves(child)) if children else (branch,)


REASONS = frozenset(leaf.reason for leaf in leaves())
"""The bridge's own reasons. An operator's reason for a wallet code must be another."""
