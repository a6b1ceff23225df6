"""Keys of a wallet that change, and a bridge that has them in files."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

from bridge.sandbox.behaviours import answer
from bridge.sandbox.record import Request

FILES = ("access_key", "private_key")
"""The names of provider 1's files, in the test's folder."""

REFUSED = answer(401, b'{"status":false,"code":9401,"message":"no","request_id":"r"}')


@dataclass(frozen=True)
class Keys:
    """The access key and the private key of a provider."""

    access_key: str = field(repr=False)
    private_key: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log, event or status may hold, in the forms in which it could stand there."""
        basic = base64.b64encode(f"1:{self.access_key}".encode()).decode()
        return self.access_key, self.private_key, self.private_key[:8], basic

    def write(self, folder: Path) -> None:
        """Write both into the files that `in_files` names."""
        for name in FILES:
            (folder / name).write_text(f"{getattr(self, name)}\n")

    def signed(self, request: Request) -> bool:
        """Say whether the request, of whichever provider, was signed with these."""
        headers = dict(request.headers)
        user_and_password = f"{request.fields['provider_id']}:{self.access_key}".encode()
        signature = hmac.new(self.private_key.encode(), request.body, hashlib.sha256).hexdigest()
        basic = f"Basic {base64.b64encode(user_and_password).decode()}"
        return (headers["authorization"], headers["x-request-signature"]) == (basic, signature)


OLD = Keys("old-access-key", "e56eb966-a55f-4087-bc7d-e66df1f377a1")
NEW = Keys("new-access-key", "0f4b8f5e-5d5e-4c8e-9a43-6a1f3d2b7c90")
OTHER = Keys("other-access-key", "7a1f9c52-3f8d-4b6b-8a57-d1c2e3f40516")


def in_files(folder: Path) -> dict[str, str]:
    """Return the settings of a bridge that has the keys of provider 1 in files of this folder."""
    return {f"WALLET__PROVIDERS__1__{name.upper()}_FILE": str(folder / name) for name in FILES}
