"""Two more operations in the real proto, in a copy of the repository: two edits and `make proto` are all they need.

`make second-operation` runs the copy's own `make check` in an environment of its own, too.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plain_words
import toolchain
from tests.second_operation.copied import Copy, are_added, copied, text_of

pytestmark = [
    # Generators and processes: seconds on a free machine, minutes on a busy one.
    pytest.mark.timeout(600),
    pytest.mark.skipif(are_added(), reason="the two operations are in this proto already: this is the copy"),
]
RUNS_ALL = bool(os.environ.get("SECOND_OPERATION"))
CHECK_TIMEOUT_S = 3 * 3600
"""`make check` takes more than an hour on a machine that is busy with other work."""
MESSAGES = ("FreezeRequest", "FreezeResponse", "GrantBonusRequest", "GrantBonusResponse")


@pytest.fixture(name="copy", scope="module")
def _copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Return a copy in which `make proto` has run; Go's and Node.js's packages are made where their plugins are."""
    copy = copied(tmp_path_factory.mktemp("second") / "wallet-bridge")
    if toolchain.TOOLS.exists():
        (copy.folder / ".tools").symlink_to(toolchain.TOOLS)
    copy.python("tools/generate.py", "--offline")
    return copy


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a generator's plugin is missing."""
    why = "; ".join(dict.fromkeys(filter(None, map(toolchain.absent, programs))))
    return pytest.mark.skipif(bool(why), reason=why)


@pytest.mark.parametrize("command", ["tools/lint_protos.py", "tools/proto_image.py"])
def test_checks_of_the_protos_pass(copy: Copy, command: str) -> None:
    """After `make proto` buf has no complaint, and no one's older stubs break."""
    copy.python(*command.split())


@pytest.mark.parametrize("part", ["rpcs", "messages", "rows"])
def test_added_text_is_plain(part: str) -> None:
    """What is added uses no word that `make lint` refuses: its file itself is none that lint reads."""
    assert [str(found) for found in plain_words.found_in(part, text_of(part))] == []


def test_call_knows_them(copy: Copy) -> None:
    """`bridge call` has a command for each, with a flag for each field."""
    operations = copy.python("-m", "bridge", "call", "--help")
    assert re.findall(r"^ {4}([a-z][\w-]*)", operations, re.MULTILINE) == ["terminate", "freeze", "grant-bonus"]
    assert {"--provider-id", "--player-id", "--amount"} <= set(
        re.findall(r"--[\w-]+", copy.python("-m", "bridge", "call", "grant-bonus", "--help"))
    )


def test_calls_reach_the_sandbox(copy: Copy) -> None:
    """Each is carried out by the sandbox of the copy, signed, with the amount exact and the answer typed."""
    printed = copy.python("tests/second_operation/calls.py")
    bonus = {"code": "1", "balance": {"value": "22185.75"}}
    assert json.loads(printed) == {"Freeze": {"code": "1", "player_id": "5"}, "GrantBonus": bonus}


def test_service_config_covers_them(copy: Copy) -> None:
    """The idempotent one is retried by clients, the one that moves money is not; every package has that config."""
    config = copy.text("generated/service_config.json")
    methods = {name["method"] for policy in json.loads(config)["methodConfig"] for name in policy["name"]}
    assert {"Terminate", "Freeze"} <= methods
    assert "GrantBonus" not in methods
    assert config in copy.text("docs/callers.md")
    for path in ("python/wallet/v1", "java/src/main/resources/wallet/v1"):
        assert copy.text(f"generated/{path}/service_config.json") == config


def test_python_and_java_have_them(copy: Copy) -> None:
    """Python's distribution has messages and stubs; Java's has the protos from which Maven makes both."""
    assert "def Freeze(self, request, context):" in copy.text("generated/python/wallet/v1/wallet_service_pb2_grpc.py")
    proto = "wallet/v1/wallet_service.proto"
    assert copy.text(f"generated/java/src/main/proto/{proto}") == copy.text(f"protos/{proto}")


@needs("protoc-gen-go", "protoc-gen-go-grpc")
def test_go_has_them(copy: Copy) -> None:
    """Go's module has the messages and the client's methods, and its service config is the common one."""
    assert all(f"type {name} struct" in copy.text("generated/go/wallet/v1/wallet_service.pb.go") for name in MESSAGES)
    assert "GrantBonus(ctx context.Context" in copy.text("generated/go/wallet/v1/wallet_service_grpc.pb.go")
    assert copy.text("generated/go/wallet/v1/service_config.json") == copy.text("generated/service_config.json")


@needs("protoc-gen-ts_proto", "tsc")
def test_node_exports_them(copy: Copy) -> None:
    """Node.js's package exports the messages by both kinds of import, and its service config is the common one."""
    for entry in ("index.js", "index.mjs", "index.d.ts"):
        assert set(MESSAGES) <= set(re.findall(r"\w+", copy.text(f"generated/node/{entry}")))
    assert copy.text("generated/node/service_config.json") == copy.text("generated/service_config.json")


@pytest.fixture(name="whole")
def _whole(tmp_path: Path) -> Iterator[Copy]:
    """Return another copy, a repository of its own, for its own `make`; its environment is removed at the end."""
    copy = copied(tmp_path / "wallet-bridge")
    copy.run("git", "init", "--quiet")
    copy.run("git", "add", "--all")
    copy.run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "before")
    (copy.folder / ".tools").symlink_to(toolchain.TOOLS)
    yield copy
    shutil.rmtree(copy.folder)


@pytest.mark.skipif(not RUNS_ALL, reason="`make second-operation` runs it")
@pytest.mark.timeout(CHECK_TIMEOUT_S)
def test_make_check_passes(whole: Copy) -> None:
    """`make proto` and then everything that a change must pass, in the copy's own environment."""
    python = f"PYTHON={sys.executable}"
    whole.make("proto", python)
    whole.make(*os.environ.get("SECOND_OPERATION_TARGET", "check").split(), python)
