"""The sources of settings: whose word counts, names that do not exist, files that cannot be read, relative paths."""

from pathlib import Path

import pytest

from bridge.outcome import GrpcCode
from bridge.settings.model import NO_FILE, load
from tests.support.settings_files import (
    ACCESS_KEY,
    ACCESS_KEY_EITHER,
    KEYS,
    PRIVATE_KEY,
    PRIVATE_KEY_EITHER,
    PROVIDER,
    PROVIDERS_MISSING,
    URL,
    URL_RULE,
    WHOLE_RULE,
    refusal,
    toml,
    write,
)

LOG_LEVEL = 'telemetry.log_level: must be "debug", "info", "warning" or "error"'
ENVIRON = {
    "BRIDGE_WALLET__URL": "https://environment.example",
    "BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY": ACCESS_KEY,
    "BRIDGE_WALLET__PROVIDERS__12345__PRIVATE_KEY": PRIVATE_KEY,
}


def test_environment_alone() -> None:
    """Every key can come from the environment: numbers, truth values, ids and codes are read from text."""
    settings = load(
        None,
        {
            **ENVIRON,
            "BRIDGE_SERVER__LISTEN": "[::]:0",
            "BRIDGE_SERVER__REFLECTION": "false",
            "BRIDGE_SERVER__DRAIN_S": "0.5",
            "BRIDGE_WALLET__RETRY_UNKNOWN": "true",
            "BRIDGE_WALLET__CODES__7__GRPC": "NOT_FOUND",
            "BRIDGE_WALLET__CODES__7__REASON": "TOKEN_NOT_FOUND",
            "BRIDGE_WALLET__CODES__8__SUCCESS": "true",
            "BRIDGE_TELEMETRY__LOG_FORMAT": "console",
        },
    )
    assert (settings.server.listen, settings.server.reflection, settings.server.drain_s) == ("[::]:0", False, 0.5)
    assert (settings.wallet.url, settings.wallet.retry_unknown) == ("https://environment.example", True)
    assert settings.wallet.providers[12345].access_key.get_secret_value() == ACCESS_KEY
    assert settings.wallet.codes[7].grpc is GrpcCode.NOT_FOUND
    assert settings.wallet.codes[8].success is True
    assert settings.telemetry.log_format == "console"


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    """A variable replaces the one key that it names; its neighbours in the file stay."""
    path = write(tmp_path, toml(server='listen = "127.0.0.1:1"\ndrain_s = 7'))
    settings = load(path, {"BRIDGE_SERVER__LISTEN": "127.0.0.1:2"})
    assert (settings.server.listen, settings.server.drain_s) == ("127.0.0.1:2", 7.0)


def test_sources_share_a_table(tmp_path: Path) -> None:
    """The file may give one key of a provider or of a code, and the environment the other."""
    rest = '[wallet.codes.7]\ngrpc = "ABORTED"'
    path = write(tmp_path, toml(keys=f'access_key = "{ACCESS_KEY}"', rest=rest))
    private = {"BRIDGE_WALLET__PROVIDERS__12345__PRIVATE_KEY": PRIVATE_KEY}
    wallet = load(path, {**private, "BRIDGE_WALLET__CODES__7__REASON": "BUSY"}).wallet
    assert wallet.providers[12345].access_key.get_secret_value() == ACCESS_KEY
    assert wallet.providers[12345].private_key.get_secret_value() == PRIVATE_KEY
    assert (wallet.codes[7].grpc, wallet.codes[7].reason) == (GrpcCode.ABORTED, "BUSY")


def test_environment_adds_a_provider(tmp_path: Path) -> None:
    """Providers of both sources are there."""
    variables = {name.replace("12345", "6"): value for name, value in ENVIRON.items()}
    assert sorted(load(write(tmp_path, toml()), variables).wallet.providers) == [6, 12345]


def test_key_and_file_in_two_sources(tmp_path: Path) -> None:
    """A key in one source and its file in another contradict each other: neither is taken silently."""
    access, private = (f"BRIDGE_WALLET__PROVIDERS__12345__{key}_KEY" for key in ("ACCESS", "PRIVATE"))
    assert refusal(write(tmp_path, toml()), {f"{private}_FILE": "private"}) == [
        f"{PROVIDER}.private_key: {PRIVATE_KEY_EITHER}, not both ({private}_FILE is set)"
    ]
    assert refusal(None, {**ENVIRON, f"{access}_FILE": "x"}) == [
        f"{PROVIDER}.access_key: {ACCESS_KEY_EITHER}, not both ({access} is set)"
    ]


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in the file counts from the file's folder, one in the environment from the working directory."""
    for name in ("etc", "work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(f"access-{name}")
    # The working directory is the case itself.
    monkeypatch.chdir(tmp_path / "work")
    private = f'private_key = "{PRIVATE_KEY}"'
    of_file = load(write(tmp_path / "etc", toml(keys=f'access_key_file = "key"\n{private}')), {})
    environ = {"BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY_FILE": "key"}
    of_environment = load(write(tmp_path / "etc", toml(keys=private)), environ)
    assert of_file.wallet.providers[12345].access_key.get_secret_value() == "access-etc"
    assert of_environment.wallet.providers[12345].access_key.get_secret_value() == "access-work"


def test_absolute_path(tmp_path: Path) -> None:
    """An absolute path in the file stays as it is."""
    (tmp_path / "key").write_text(ACCESS_KEY)
    (tmp_path / "etc").mkdir()
    keys = f'access_key_file = "{tmp_path / "key"}"\nprivate_key = "{PRIVATE_KEY}"'
    provider = load(write(tmp_path / "etc", toml(keys=keys)), {}).wallet.providers[12345]
    assert provider.access_key_file == tmp_path / "key"


UNKNOWN = "is not a setting; did you mean"
UNKNOWN_KEYS = {
    "misspelt": ("[server]\nlisen = 1", f"server.lisen: {UNKNOWN} server.listen?"),
    "misspelt-section": ("[sever]\nlisten = 1", f"sever: {UNKNOWN} server?"),
    "section-forgotten": ("listen = 1", f"listen: {UNKNOWN} server.listen?"),
    "misspelt-table": ("[wallet.provider.12345]", f"wallet.provider: {UNKNOWN} wallet.providers?"),
    "misspelt-in-a-provider": (
        f"[wallet.providers.6]\nacess_key = 1\n{KEYS}",
        f"wallet.providers.6.acess_key: {UNKNOWN} wallet.providers.6.access_key?",
    ),
    "misspelt-in-a-code": (
        "[wallet.codes.7]\nsuccess = true\nreson = 1",
        f"wallet.codes.7.reson: {UNKNOWN} wallet.codes.7.reason?",
    ),
    "nothing-like-it": ("[server]\nzz = 1", "server.zz: is not a setting"),
    "in-the-wrong-section": ("[server]\nurl = 1", f"server.url: {UNKNOWN} wallet.url?"),
    "far-off": ("zzz = 1", "zzz: is not a setting"),
    "upper-case": ("[SERVER]", "SERVER: is not a setting"),
    "empty": ('"" = 1', '"": is not a setting'),
    "two-lines": ('"a\\nb" = 1', r'"a\nb": is not a setting'),
    "escape-code": ('"\\u001b[31m" = 1', r'"\u001b[31m": is not a setting'),
    "wildcard": ('"*" = 1', '"*": is not a setting'),
    "below-a-value": ("[telemetry.log_level]\na = 1", LOG_LEVEL),
    "array-for-a-table": ("[[telemetry]]", "telemetry: must be a table, [telemetry]"),
    "value-for-a-table": ("telemetry = 1", "telemetry: must be a table, [telemetry]"),
    "value-for-a-provider": (
        "[wallet.providers]\n6 = 1",
        "wallet.providers.6: must be a table, [wallet.providers.6], with access_key, private_key",
    ),
    "provider-without-an-id": (
        "[wallet.providers]\naccess_key = 1",
        "wallet.providers.access_key: must stand in a table with an id, [wallet.providers.<id>]",
    ),
    "an-array": ("[[wallet.providers]]\nid = 6", "wallet.providers: must hold tables, [wallet.providers.<id>]"),
    "value-for-a-code": (
        '[wallet.codes]\n7 = "NOT_FOUND"',
        "wallet.codes.7: must be a table, [wallet.codes.7], with grpc, reason, success",
    ),
    "key-of-provider": ("[wallet]\naccess_key = 1", f"wallet.access_key: {UNKNOWN} wallet.providers.<id>.access_key?"),
    "key-of-a-code-in-server": ("[server]\ngrpc = 1", f"server.grpc: {UNKNOWN} wallet.codes.<id>.grpc?"),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


UNKNOWN_VARIABLES = {
    "section": ("BRIDGE_WALET__URL", "BRIDGE_WALLET__URL"),
    "key": ("BRIDGE_WALLET__ULR", "BRIDGE_WALLET__URL"),
    "one-underscore": ("BRIDGE_WALLET_URL", "BRIDGE_WALLET__URL"),
    "lower-case": ("BRIDGE_wallet__url", "BRIDGE_WALLET__URL"),
    "in-a-provider": ("BRIDGE_WALLET__PROVIDERS__6__ACESS_KEY", "BRIDGE_WALLET__PROVIDERS__6__ACCESS_KEY"),
    "too-deep": ("BRIDGE_SERVER__LISTEN__HOST", "BRIDGE_SERVER__LISTEN"),
    "far-off": ("BRIDGE_FOO", ""),
    "no-name": ("BRIDGE_", ""),
    "section-forgotten": ("BRIDGE_PROVIDERS__6__ACCESS_KEY", "BRIDGE_WALLET__PROVIDERS__<ID>__ACCESS_KEY"),
    "id-forgotten": ("BRIDGE_WALLET__CODES__GRPC", "BRIDGE_WALLET__CODES__<ID>__GRPC"),
    "provider-alone": ("BRIDGE_WALLET__PROVIDERS__6", "BRIDGE_WALLET__PROVIDERS__6__ACCESS_KEY"),
    "misspelt-table": ("BRIDGE_WALLET__CODE__7__GRPC", "BRIDGE_WALLET__CODES__7__GRPC"),
    "table": ("BRIDGE_TELEMETRY", ""),
}


@pytest.mark.parametrize(("name", "meant"), UNKNOWN_VARIABLES.values(), ids=UNKNOWN_VARIABLES.keys())
def test_unknown_variable(name: str, meant: str) -> None:
    """A variable that starts with BRIDGE_ and gives no setting is refused by its name."""
    hint = f"; did you mean {meant}?" if meant else ""
    assert refusal(None, {**ENVIRON, name: "x"}) == [f"{name}: is not a setting{hint}"]


def test_unknown_variable_of_two_lines() -> None:
    """A variable's name cannot add a line to the errors."""
    assert refusal(None, {**ENVIRON, "BRIDGE_A\nB": "x"}) == [r'"BRIDGE_A\nB": is not a setting']


@pytest.mark.parametrize("name", ["WALLET__URL", "XBRIDGE_FOO", "BRIDGE", "bridge_wallet__ulr"])
def test_other_variables(name: str) -> None:
    """A variable that does not start with BRIDGE_ is none of ours."""
    assert load(None, {**ENVIRON, name: "x"}) == load(None, ENVIRON)


WHITE_SPACE = "it has white space or other invisible characters in it"
WRONG_VARIABLES = {
    "value": ("SERVER__DRAIN_S", "soon", "server.drain_s: must be seconds, 0 to 600"),
    "empty": ("SERVER__REFLECTION", "", "server.reflection: must be true or false"),
    "code": ("WALLET__CODES__7__GRPC", "ABORTED", f"wallet.codes.7: {WHOLE_RULE}"),
    "id": ("WALLET__CODES__1__SUCCESS", "true", "wallet.codes.1: cannot be mapped: code 1 is the wallet's success"),
    "not-utf-8": (
        "WALLET__URL",
        "https://\udcff",
        f"wallet.url: {URL_RULE}; it has white space or other invisible characters in it",
    ),
}


@pytest.mark.parametrize(("name", "value", "problem"), WRONG_VARIABLES.values(), ids=WRONG_VARIABLES.keys())
def test_wrong_value_of_a_variable(name: str, value: str, problem: str) -> None:
    """An error about a value names the key and the variable that had a part in it."""
    assert refusal(None, {**ENVIRON, f"BRIDGE_{name}": value}) == [f"{problem} (BRIDGE_{name} is set)"]


IN_QUOTES = " (a text stands in quotes)"
A_LINE = ' (each line is [table] or key = "value")'
SAVE = "save it as UTF-8"
BACKSLASH = " (in 'single quotes' a backslash stands for itself)"
UNREADABLE = {
    "no-value": (b"[server]\nlisten =\n", f"line 2 is not TOML: Invalid value, at column 9{IN_QUOTES}"),
    "no-quotes": (b"[server]\nlisten = here\n", f"line 2 is not TOML: Invalid value, at column 10{IN_QUOTES}"),
    "json": (b'{"server": {}}', f"line 1 is not TOML: Invalid statement, at column 1{A_LINE}"),
    "yml": (
        b"server:\n  listen: a\n",
        f"line 1 is not TOML: Expected '=' after a key in a key/value pair, at column 7{A_LINE}",
    ),
    "key-twice": (
        b"a = 1\na = 1\n",
        "line 2 is not TOML: Cannot overwrite a value, at column 6 (the key stands there twice)",
    ),
    "table-twice": (
        b"[a]\n[a]\n",
        "line 2 is not TOML: Cannot declare ('a',) twice, at column 3 (the table stands there twice)",
    ),
    "escape": (
        b'a = "C:\\certs"',
        rf"line 1 is not TOML: Unescaped '\' in a string, at column 10{BACKSLASH}",
    ),
    "second-statement": (
        b"a = 1\nb = 2 c",
        "line 2 is not TOML: Expected newline or end of document after a statement, at column 7",
    ),
    "open-string": (b'[server]\nlisten = "a', "is not TOML: Unterminated string (at end of document)"),
    "not-utf-8": (b"[server]\n\n# \xff", "line 3 is not TOML: it is not UTF-8"),
    "bom": (b"\xef\xbb\xbf[server]\n", f"begins with a byte order mark of UTF-8: {SAVE} without one"),
    "utf-16": ("[server]\n".encode("utf-16"), f"begins with a byte order mark of UTF-16: {SAVE} without one"),
    "utf-16-be": (b"\xfe\xff\0[", f"begins with a byte order mark of UTF-16: {SAVE} without one"),
    "utf-32": ("[server]\n".encode("utf-32"), f"begins with a byte order mark of UTF-32: {SAVE} without one"),
    "utf-16-without-bom": ("[server]\n".encode("utf-16-le"), f"is no text in UTF-8 (it has NUL bytes): {SAVE}"),
    "deep": (b"a = " + b"[" * 20_000, "is not TOML that can be read: it is nested too deep"),
    "long-number": (b"a = " + b"9" * 5_000, "is not TOML that can be read: a number in it is too long"),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    """It is named; it cannot add a line to the errors, nor can one that is no path end otherwise."""
    path = tmp_path / "bridge.toml"
    assert refusal(path) == [f"{path}: cannot be read: No such file or directory"]
    assert refusal(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert refusal(Path("a\nb")) == [r'"a\nb": cannot be read: No such file or directory']
    assert refusal(Path("a\0b")) == [r'"a\u0000b": cannot be read: a path cannot hold a NUL']
    assert not list(tmp_path.iterdir())


def test_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named as the operator named it."""
    # The working directory is the case itself.
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "[server]\n\nlisten = 5 6")
    assert refusal(Path("bridge.toml")) == [
        "bridge.toml: line 3 is not TOML: Expected newline or end of document after a statement, at column 12"
    ]


def test_unreadable_file_and_unknown_variable(tmp_path: Path) -> None:
    """A wrong variable is reported even when the file cannot be read."""
    path = tmp_path / "bridge.toml"
    assert refusal(path, {"BRIDGE_FOO": ""}) == [
        "BRIDGE_FOO: is not a setting",
        f"{path}: cannot be read: No such file or directory",
    ]


def test_all_errors_at_once(tmp_path: Path) -> None:
    """Names of the file, names of the environment and values are all reported, in this order."""
    text = toml(server='lisen = "x"\ndrain_s = -1', wallet=f"{URL}\nconnect_timeout_s = 31")
    assert refusal(write(tmp_path, text), {"BRIDGE_FOO": "", "BRIDGE_TELEMETRY__LOG_LEVEL": "x"}) == [
        "server.lisen: is not a setting; did you mean server.listen?",
        "BRIDGE_FOO: is not a setting",
        "server.drain_s: must be seconds, 0 to 600",
        "wallet.connect_timeout_s: must be seconds, more than 0, at most 30",
        f"{LOG_LEVEL} (BRIDGE_TELEMETRY__LOG_LEVEL is set)",
    ]


def test_variables_without_a_file() -> None:
    """Where variables alone leave something out, that there is no file is said first."""
    assert refusal(None, {"BRIDGE_WALLET__URL": "https://wallet.example"}) == [NO_FILE, PROVIDERS_MISSING]
    assert refusal(None, {**ENVIRON, "BRIDGE_SERVER__DRAIN_S": "x"}) == [
        "server.drain_s: must be seconds, 0 to 600 (BRIDGE_SERVER__DRAIN_S is set)"
    ]
