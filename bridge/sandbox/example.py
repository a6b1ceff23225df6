"""The wallet page's own example of a Terminate: what the documentation sends, and what it gets back."""

from typing import Any

TERMINATE_REQUEST: dict[str, Any] = {
    "token": "3dc8fe01-2018-486e-9632-35aef21028a5",
    "player_id": 1,
    "site_id": 1,
    "provider_id": 1,
    "game_id": "example",
    "currency": "EUR",
}
