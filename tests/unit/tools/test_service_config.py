"""The service config covers what the protos declare repeatable, however many rpcs and services there are."""

import json

import service_config
from contract import Rpc

RPCS = [
    Rpc("wallet.v1.WalletService", "Terminate", repeatable=True),
    Rpc("wallet.v1.WalletService", "GrantBonus", repeatable=False),
    Rpc("wallet.v1.OtherService", "Freeze", repeatable=True),
]


def test_only_what_is_repeatable_has_a_policy() -> None:
    """Each repeatable rpc is named once, by service and method; one that moves money is not."""
    (policy,) = json.loads(service_config.render(RPCS))["methodConfig"]
    assert policy["name"] == [
        {"service": "wallet.v1.WalletService", "method": "Terminate"},
        {"service": "wallet.v1.OtherService", "method": "Freeze"},
    ]
    assert policy["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_nothing_repeatable() -> None:
    """Without a repeatable rpc there is no policy at all: one without a name is an error in some libraries."""
    assert json.loads(service_config.render(RPCS[1:2]))["methodConfig"] == []
