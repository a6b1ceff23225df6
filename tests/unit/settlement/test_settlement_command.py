"""`bridge settlement` on a real store, run as a person runs it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from bridge.cli.main import main
from bridge.settlement.entry import Entry, Last, State
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import Problem, StoreError
from tests.support.settlement_calls import FAR_S, OPERATIONS, TIMEOUT, add, new_call

ResultT = TypeVar("ResultT")
SETTINGS = """
[wallet]
url = "https://wallet.example"
[wallet.providers.7]
access_key = "access"
private_key = "11111111-2222-3333-4444-555555555555"
{codes}
[settlement]
store = "sqlite://{store}"
key_file = "{key_file}"
"""
SUCCESS = "[wallet.codes.5]\nsuccess = true\n"


class Command:
    """The command with its settings and its store."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = folder / "settlement.db"
        self.key_file = folder / "key"
        self.key_file.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", encoding="ascii")
        self.config = folder / "bridge.toml"
        self.configure("")
        self._capsys = capsys

    def configure(self, codes: str) -> None:
        """Write the settings."""
        text = SETTINGS.format(codes=codes, store=self.path, key_file=self.key_file)
        self.config.write_text(text, encoding="utf-8")

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run it; return its exit code, what it printed and what it complained of."""
        code = main(["settlement", *arguments, "--config", str(self.config)])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    def store(self, work: Callable[[SqliteStore], Awaitable[ResultT]]) -> ResultT:
        """Do something with the store, as the bridge would."""

        async def run() -> ResultT:
            store = SqliteStore(self.path)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def entries(self) -> Sequence[Entry]:
        """Return what is in the store, newest first."""

        async def read(store: SqliteStore) -> Sequence[Entry]:
            return (await store.page(1000)).entries

        return self.store(read)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give the command on a store with three entries, oldest first: PENDING; REJECTED, UNRESOLVED, both of call x."""
    command = Command(tmp_path, capsys)

    async def fill(store: SqliteStore) -> None:
        for request, call_id in (("canary-1", "first"), ("canary-2", "x"), ("canary-3", "x")):
            await add(store, new_call(request, call_id=call_id, identities=("games.example",)))
        _, second, third = await store.take(3, FAR_S, OPERATIONS)
        await store.reject(second.entry_id, second.fence, Last("WALLET_REJECTED", 5))
        await store.give_up(third.entry_id, third.fence, TIMEOUT)

    command.store(fill)
    return command


def test_list_prints_every_entry_newest_first(command: Command) -> None:
    """One line each under a head line, with what an operator looks for."""
    code, out, _ = command("list")
    head, *lines = out.splitlines()
    assert code == 0
    assert head.split() == ["ENTRY", "STATE", "CREATED", "ATTEMPTS", "REASON", "CODE", "PROVIDER", "CALL"]
    assert [line.split()[0] for line in lines] == [entry.entry_id for entry in command.entries()]
    assert [line.split()[1] for line in lines] == ["UNRESOLVED", "REJECTED", "PENDING"]
    assert lines[1].split()[3:] == ["1", "WALLET_REJECTED", "5", "7", "x"]


def test_list_prints_more_than_a_page(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are the store's, not the reader's."""
    monkeypatch.setattr("bridge.cli.settlement_actions.PAGE", 2)
    assert len(command("list")[1].splitlines()) == 4


@pytest.mark.parametrize("state", list(State))
def test_list_of_a_state(command: Command, state: State) -> None:
    """Only the entries of that state; none is no failure."""
    code, out, _ = command("list", state.value, "--json")
    shown = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [one["entry_id"] for one in shown] == [entry.entry_id for entry in command.entries() if entry.state is state]


def test_json_has_every_fact(command: Command) -> None:
    """One object a line, 64-bit numbers whole."""
    entry = next(entry for entry in command.entries() if entry.state is State.REJECTED)
    shown = json.loads(command("show", entry.entry_id, "--json")[1])
    assert shown["entry_id"] == entry.entry_id
    assert (shown["state"], shown["code"], shown["provider_id"], shown["attempts"]) == ("REJECTED", 5, 7, 1)
    assert shown["calls"] == [{"call_id": "x", "identities": ["games.example"]}]
    assert shown["created"].endswith("Z")
    assert shown["due"] is None


@pytest.mark.parametrize("json_flag", [(), ("--json",)], ids=["text", "json"])
def test_nothing_shows_a_request(command: Command, json_flag: tuple[str, ...]) -> None:
    """Not even encrypted, in no action."""
    first = command.entries()[-1]
    shown = "".join(command("list", *json_flag)[1:] + command("show", first.entry_id, *json_flag)[1:])
    hidden = ("canary", first.ciphertext.hex(), repr(first.ciphertext)[2:20])
    assert first.entry_id in shown
    assert not [text for text in hidden if text in shown]


def test_a_call_id_that_names_one_entry_does_as_well(command: Command) -> None:
    """For show, retry and close."""
    entry = command.entries()[-1]
    assert entry.entry_id in command("show", "first")[1]
    assert command("close", "first", "--reason", "asked the wallet")[0] == 0
    assert command.entries()[-1].state is State.CLOSED


@pytest.mark.parametrize("action", [("show",), ("retry",), ("close", "--reason", "because")], ids=lambda one: one[0])
def test_a_call_id_that_names_several_changes_nothing(command: Command, action: tuple[str, ...]) -> None:
    """The newest is reported, so that the next try can name it."""
    before = command.entries()
    code, out, err = command(action[0], "x", *action[1:])
    assert (code, out) == (1, "")
    assert err == f"bridge: x: names 2 entries, the newest is {before[0].entry_id}; give an entry id instead\n"
    assert [entry.state for entry in command.entries()] == [entry.state for entry in before]


def test_an_id_that_is_not_there_is_reported(command: Command) -> None:
    """One line, exit code 1."""
    code, out, err = command("show", "nowhere")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "nowhere" in err


def test_retry_makes_it_pending(command: Command) -> None:
    """The entry is printed as it is afterwards."""
    entry = command.entries()[0]
    code, out, _ = command("retry", entry.entry_id, "--json")
    assert (code, json.loads(out)["state"]) == (0, "PENDING")
    assert command.entries()[0].state is State.PENDING


def test_what_cannot_be_changed_is_reported(command: Command) -> None:
    """Exit code 1, with the reason."""
    entry = command.entries()[0]
    command("close", entry.entry_id, "--reason", "done by hand")
    code, _, err = command("retry", entry.entry_id)
    assert code == 1
    assert err == f"bridge: {entry.entry_id}: nothing was changed: it is SETTLED or CLOSED\n"


def test_close_keeps_its_reason(command: Command) -> None:
    """For those who read it later."""
    entry = command.entries()[0]
    code, out, _ = command("close", entry.entry_id, "--reason", " asked the wallet: dead ")
    assert code == 0
    assert "asked the wallet: dead" in out
    assert command.entries()[0].closed_reason == "asked the wallet: dead"


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\x1b[31mred", "x" * 257], ids=ascii)
def test_a_reason_that_is_none_is_refused(command: Command, reason: str) -> None:
    """Nothing that steers a terminal, and nothing without end, is stored."""
    entry = command.entries()[0]
    code, _, err = command("close", entry.entry_id, "--reason", reason)
    assert (code, command.entries()[0].state) == (1, State.UNRESOLVED)
    assert err.startswith("bridge: --reason: must be ")


def test_close_requires_a_reason(command: Command) -> None:
    """As every command line does that lacks something: exit code 2."""
    with pytest.raises(SystemExit) as caught:
        command("close", "first")
    assert caught.value.code == 2


def test_reclassify_settles_by_the_codes_of_the_settings(command: Command) -> None:
    """Without a code that means success it says so and changes nothing."""
    code, _, err = command("reclassify")
    assert (code, "no code means success" in err) == (1, True)
    command.configure(SUCCESS)
    code, out, _ = command("reclassify", "--json")
    assert (code, [json.loads(line)["state"] for line in out.splitlines()]) == (0, ["SETTLED"])
    assert [entry.state for entry in command.entries()] == [State.UNRESOLVED, State.SETTLED, State.PENDING]


def test_without_settlement_there_is_nothing_to_see(tmp_path: Path, command: Command) -> None:
    """One line that names what to set, exit code 2."""
    text = command.config.read_text(encoding="utf-8").partition("[settlement]")[0]
    command.config.write_text(text, encoding="utf-8")
    code, out, err = command("list")
    assert (code, out) == (2, "")
    assert err.startswith("bridge: settlement: is not set")
    assert tmp_path.exists()


def test_a_store_that_is_missing_is_reported_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that another user creates is one that the bridge cannot open."""
    command = Command(tmp_path, capsys)
    code, out, err = command("list")
    assert (code, out) == (2, "")
    assert err == f"bridge: settlement.store: {StoreError(f'sqlite://{command.path}', Problem.UNREACHABLE)}\n"
    assert not command.path.exists()


def test_the_parser_imports_no_store() -> None:
    """A bridge without settlement imports nothing of it: the commands are loaded only when one is asked for."""
    code = "import sys, bridge.cli.main; sys.exit(any(name.startswith('bridge.settlement') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603 - our own interpreter
    assert done.returncode == 0
