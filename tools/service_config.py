"""The gRPC service config for callers, made from the protos (docs/callers.md, "The service config").

Format: grpc/service_config.proto of grpc-proto, as JSON; gRFC A6 for retries, A17 for client-side health checks.
"""

import json
from collections.abc import Iterable

from contract import Rpc

HEALTH_SERVICE = "wallet.v1.WalletService"
"""The service whose health turns a channel away from a bridge that drains."""

TEMPLATE = """\
{
  "loadBalancingConfig": [{ "round_robin": {} }],
  "healthCheckConfig": { "serviceName": %(health)s },
  "methodConfig": [%(policies)s]
}
"""

POLICY = """
    {
      "name": [
%(names)s
      ],
      "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  """


def render(rpcs: Iterable[Rpc]) -> str:
    """Return the config: the retry policy names each rpc that is declared repeatable, and no other."""
    names = [
        f'        {{ "service": {json.dumps(rpc.service)}, "method": {json.dumps(rpc.method)} }}'
        for rpc in rpcs
        if rpc.repeatable
    ]
    policies = POLICY % {"names": ",\n".join(names)} if names else ""
    return TEMPLATE % {"health": json.dumps(HEALTH_SERVICE), "policies": policies}
