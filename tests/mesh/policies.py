"""Retry policies of a mesh: those that are safe, where they are, and those that are not; see deploy/mesh/istio.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAFE_TO_REPEAT = "wallet-safe-to-repeat"
NAMES_HEADER = "x-envoy-retriable-header-names"


@dataclass(frozen=True)
class RetryPolicy:
    """What Envoy retries: on the other bridge, at most twice."""

    retry_on: str
    retriable_header: str = ""
    """For `retriable-headers`: the response header that asks for a retry."""
    as_istio: bool = False
    """Istio's VirtualService has no field for that header: its route sets a request header that names it."""

    def retry_policy(self) -> Mapping[str, Any]:
        """Return the retry_policy of the route."""
        named = self.retriable_header and not self.as_istio
        return {
            "retry_on": self.retry_on,
            "num_retries": 2,
            "retriable_headers": [{"name": self.retriable_header, "present_match": True}] if named else [],
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 5,
        }

    def request_headers(self) -> Sequence[Mapping[str, Any]]:
        """Return the request headers that the route sets."""
        if not self.as_istio:
            return []
        header = {"key": NAMES_HEADER, "value": self.retriable_header}
        return [{"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]


BRIDGES_WORD = RetryPolicy("connect-failure,refused-stream,retriable-headers", SAFE_TO_REPEAT)
"""Safe in every topology: UNAVAILABLE counts only where the bridge itself says that nothing was done."""

BRIDGES_WORD_AS_ISTIO = RetryPolicy(BRIDGES_WORD.retry_on, SAFE_TO_REPEAT, as_istio=True)
"""The same, as deploy/mesh/istio.yaml writes it."""

UNAVAILABLE = RetryPolicy("connect-failure,refused-stream,unavailable")
"""Safe where no proxy stands between this Envoy and the bridge: no one else can say UNAVAILABLE."""

ISTIO_DEFAULT = RetryPolicy("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes")
"""What Istio does without being asked."""
