"""When certificates end: reported for each that is in use; and none that is not valid comes into use by a reload."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from bridge.events import CertificateInUse, Event, Reloaded, ReloadFailed
from bridge.server.app import running
from bridge.server.tls import ServerTls
from bridge.settings.certificate_dates import AUTHORITIES, CERTIFICATES, WARN_DAYS, certificate_in_use, check_dates
from bridge.settings.file_watch import FileWatch, ReloadError
from bridge.settings.model import Settings, load
from bridge.upstream.from_settings import keyring_of
from bridge.upstream.key_rotation import Rotation
from tests.support.whole_path import environment

NOW = datetime(2030, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
AUTHORITY = trustme.CA()

SERVER, CLIENT = CERTIFICATES
CALLERS_CA, WALLET_CA = AUTHORITIES


def leaf(begin: datetime, end: datetime) -> bytes:
    """Return the PEM of a certificate for this time, without its key."""
    made = AUTHORITY.issue_cert("a.example", not_before=begin, not_after=end)
    return b"".join(each.bytes() for each in made.cert_chain_pems)


GOOD = leaf(NOW - DAY, NOW + 90 * DAY)
ENDING = leaf(NOW - DAY, NOW + 3 * DAY)
EXPIRED = leaf(NOW - 90 * DAY, NOW - DAY)
FUTURE = leaf(NOW + DAY, NOW + 90 * DAY)

IN_USE: dict[str, tuple[str, bytes, timedelta, str]] = {
    "good": (SERVER, GOOD, 90 * DAY, ""),
    "ends soon": (CLIENT, ENDING, 3 * DAY, f"it ends within {WARN_DAYS} days"),
    "expired": (SERVER, EXPIRED, -DAY, "has expired, on 2030-05-31 00:00 UTC"),
    "not valid yet": (CLIENT, FUTURE, 90 * DAY, "is not valid before 2030-06-02 00:00 UTC"),
    "the first of a chain": (SERVER, GOOD + EXPIRED + ENDING, 90 * DAY, ""),
    "an expired one before others": (SERVER, EXPIRED + GOOD, -DAY, "has expired"),
    "of authorities the first to end": (WALLET_CA, GOOD + ENDING, 3 * DAY, "it ends within"),
    "of authorities one that is valid": (CALLERS_CA, EXPIRED + GOOD + FUTURE, 90 * DAY, ""),
    "all authorities expired": (WALLET_CA, EXPIRED + leaf(NOW - 90 * DAY, NOW - 2 * DAY), -DAY, "has expired"),
}


@pytest.mark.parametrize(("key", "pem", "left", "problem"), IN_USE.values(), ids=IN_USE)
def test_the_end_of_a_certificate_in_use(key: str, pem: bytes, left: timedelta, problem: str) -> None:
    """Of a certificate's file the first one counts, of authorities the first to end that is valid."""
    found = certificate_in_use(key, pem, NOW)
    assert found is not None
    assert found.problem.startswith(problem)
    assert bool(found.problem) == bool(problem)
    assert found.not_after_s == (NOW + left).timestamp()
    assert datetime.strptime(found.not_after, "%Y-%m-%dT%H:%M:%S%z") == NOW + left


def test_other_files_have_no_end() -> None:
    """Keys are no certificates, and what OpenSSL alone can read is no reason to stop."""
    assert certificate_in_use("server.tls_key_file", GOOD, NOW) is None
    assert certificate_in_use(SERVER, b"no PEM", NOW) is None
    check_dates({"wallet.client_key_file": EXPIRED, SERVER: b"no PEM"}, NOW)


REFUSED = {
    "expired": (SERVER, EXPIRED + GOOD, "tls_certificate_file: has expired, on 2030-05-31", False),
    "not valid yet": (CLIENT, FUTURE, "client_certificate_file: is not valid before 2030-06-02", True),
    "no authority that is valid": (CALLERS_CA, EXPIRED + EXPIRED, "tls_client_ca_file: has expired", False),
}


@pytest.mark.parametrize(("key", "pem", "text", "passes"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_valid_is_refused(key: str, pem: bytes, text: str, *, passes: bool) -> None:
    """The text names the setting and what to do; only what is not valid yet may be right later."""
    with pytest.raises(ReloadError) as refused:
        check_dates({key: pem}, NOW)
    assert str(refused.value).startswith(text)
    assert refused.value.passes_with_time is passes


@pytest.mark.parametrize("moment", [NOW - DAY, NOW + 90 * DAY], ids=["first second", "last second"])
def test_both_ends_belong_to_it(moment: datetime) -> None:
    """RFC 5280, 4.1.2.5: the period includes both dates."""
    check_dates({SERVER: GOOD, WALLET_CA: EXPIRED + GOOD}, moment)


TODAY = datetime.now(UTC).replace(microsecond=0)
WALLET_TIMES = {"expired": (-90 * DAY, -DAY), "not valid yet": (DAY, 90 * DAY)}
WALLET = "https://wallet.example"


def put(folder: Path, begin: timedelta, end: timedelta) -> None:
    """Write a certificate for this time, relative to now, with its key and authority."""
    made = AUTHORITY.issue_cert("localhost", not_before=TODAY + begin, not_after=TODAY + end)
    made.cert_chain_pems[0].write_to_path(str(folder / "certificate"))
    made.private_key_pem.write_to_path(str(folder / "key"))
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca"))


def loaded(folder: Path) -> Settings:
    """Return the settings of a bridge with these files on both sides."""
    certificate, key, authority = (str(folder / name) for name in ("certificate", "key", "ca"))
    files = {
        "SERVER__TLS_CERTIFICATE_FILE": certificate,
        "SERVER__TLS_KEY_FILE": key,
        "WALLET__CA_FILE": authority,
        "WALLET__CLIENT_CERTIFICATE_FILE": certificate,
        "WALLET__CLIENT_KEY_FILE": key,
    }
    return load(None, environment(WALLET, files))


@pytest.mark.parametrize("times", WALLET_TIMES.values(), ids=WALLET_TIMES)
def test_the_certificate_in_use_stays(tmp_path: Path, times: tuple[timedelta, timedelta]) -> None:
    """On both sides a new certificate that is not valid is reported, and changes nothing; the next good one is used."""
    put(tmp_path, -DAY, 90 * DAY)
    settings, events, used = loaded(tmp_path), list[Event](), list[object]()
    rotation = Rotation(settings.wallet, keyring_of(settings.wallet), used.append, events.append)
    server = ServerTls(settings.server)
    watches = (rotation, FileWatch(server.files, server.reload, events.append, groups=[server.files]))
    for watch in watches:
        watch.check()
    shown = server._in_use
    used.clear()
    put(tmp_path, *times)
    for watch in watches * 3:
        watch.check()
    assert {type(event) for event in events} == {ReloadFailed}
    assert len(events) == len({str(event) for event in events}), "each is reported once"
    assert (used, server._in_use) == ([], shown)
    events.clear()
    put(tmp_path, -DAY, 30 * DAY)
    for watch in watches * 2:
        watch.check()
    assert {type(event) for event in events} == {Reloaded}
    assert len(used) == 1
    assert server._in_use != shown


def test_what_is_not_valid_yet_is_taken_up_when_it_is(tmp_path: Path) -> None:
    """Its file does not change any more: it is tried again at every look, and neither reported nor applied twice."""
    file, events, applied = tmp_path / "file", list[Event](), list[str]()
    file.write_text("old")
    is_time = False

    def apply(key: str) -> None:
        if file.read_text() == "future" and not is_time:
            raise ReloadError("is not valid yet", passes_with_time=True)
        applied.append(key)

    watch = FileWatch({"a": file}, apply, events.append)
    watch.check()
    file.write_text("future")
    for _ in range(5):
        watch.check()
    assert events == [ReloadFailed("a", "is not valid yet")]
    is_time = True
    for _ in range(3):
        watch.check()
    assert events == [ReloadFailed("a", "is not valid yet"), Reloaded("a")]
    assert applied == ["a", "a"]


async def test_a_bridge_reports_the_ends_of_all_its_certificates(tmp_path: Path) -> None:
    """At its start, one that has expired too, which it starts with all the same."""
    put(tmp_path, -90 * DAY, -DAY)
    events: list[Event] = []
    async with running(loaded(tmp_path), emit=events.append):
        pass
    reported = {event.key: event for event in events if isinstance(event, CertificateInUse)}
    assert set(reported) == {SERVER, CLIENT, WALLET_CA}
    assert reported[SERVER].not_after_s == reported[CLIENT].not_after_s == (TODAY - DAY).timestamp()
    assert reported[SERVER].problem.startswith("has expired")
    assert reported[WALLET_CA].problem == ""
