"""A real Redis: its failures, its persistence, TLS and passwords, and what is left behind in it."""

# ruff: noqa: ASYNC240 - no other task waits while a test waits for a disk

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from redis import Redis

from bridge.settlement.entry import SCHEMA, Last, State
from bridge.settlement.redis import RedisStore
from bridge.settlement.redis.address import RedisUrlError, connection_arguments, shown
from bridge.settlement.redis.store import CONNECTIONS_MAX, PREFIX
from bridge.settlement.store import Problem, StoreError, Warn
from tests.support.ports import reserved_address
from tests.support.redis_server import needs_redis, redis_server
from tests.support.settlement_calls import FAR_S, OPERATIONS, TIMEOUT, add, end, new_call

pytestmark = needs_redis


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisStore]:
    """Give an open store."""
    store = RedisStore(url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    """Give another program's connection to the server that the tests share, emptied."""
    with Redis.from_url(redis_url) as connected:
        connected.flushall()
        yield connected


async def problem_at(url: str) -> Problem:
    """Return why a server cannot be used, reported alike by every way to use it."""
    store = RedisStore(url)
    problems = set()
    for ask in (store.open, lambda: store.write([new_call()]), store.check):
        with pytest.raises(StoreError) as caught:
            await ask()
        problems.add(caught.value.problem)
        assert str(caught.value) == f"settlement store {store.name} {caught.value.problem.value}"
        assert caught.value.__cause__ is None
    await store.close()
    (problem,) = problems
    return problem


async def test_a_server_that_may_evict_entries_is_refused(short_path: Path) -> None:
    """Any policy but noeviction."""
    with redis_server(short_path, "--maxmemory-policy", "volatile-lru") as url:
        assert await problem_at(url) is Problem.EVICTS


PERSISTENCE = {
    "none": (("--appendonly", "no"), (Warn.NO_APPEND_LOG,)),
    "every second": (("--appendonly", "yes", "--appendfsync", "everysec"), (Warn.APPEND_LOG_EVERY_SECOND,)),
    "always": (("--appendonly", "yes", "--appendfsync", "always"), ()),
    "not shown": (("--appendonly", "yes", "--rename-command", "CONFIG", ""), (Warn.APPEND_LOG_NOT_SHOWN,)),
}


@pytest.mark.parametrize("case", PERSISTENCE)
async def test_what_a_crash_may_lose_is_warned_of(short_path: Path, case: str) -> None:
    """By what INFO and CONFIG say of the append-only file."""
    options, expected = PERSISTENCE[case]
    with redis_server(short_path, *options) as url:
        async with opened(url) as store:
            assert (await store.check()).warnings == expected


async def test_a_newer_layout_is_refused_and_left_alone(redis_url: str, client: Redis) -> None:
    """An older bridge cannot know what it would break."""
    async with opened(redis_url) as store:
        added = await add(store, new_call())
    client.set(f"{PREFIX}layout", 2)
    assert await problem_at(redis_url) is Problem.NEWER_LAYOUT
    client.set(f"{PREFIX}layout", 1)
    async with opened(redis_url) as store:
        assert await store.get(added.entry_id) is not None


async def test_an_entry_of_a_newer_schema_is_left_alone(
    redis_url: str, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither taken nor given up, but shown."""
    assert client.dbsize() == 0
    async with opened(redis_url) as store:
        with monkeypatch.context() as newer:
            newer.setattr("bridge.settlement.redis.script.SCHEMA", SCHEMA + 1)
            added = await add(store, new_call())
        assert await store.take(10, FAR_S, OPERATIONS) == []
        assert await store.expire(0.0, OPERATIONS) == []
        (entry,) = (await store.page(10)).entries
        assert (entry.entry_id, entry.state, entry.schema) == (added.entry_id, State.PENDING, SCHEMA + 1)


async def test_a_server_that_is_not_there_is_reported(short_path: Path) -> None:
    """One line that names it."""
    assert await problem_at(f"unix://{short_path}/redis.sock") is Problem.UNREACHABLE


async def test_a_replica_is_reported_to_be_read_only(short_path: Path) -> None:
    """Its primary is the one to name."""
    with redis_server(short_path, "--replicaof", "127.0.0.1", "1") as url:
        assert await problem_at(url) is Problem.READ_ONLY


async def test_a_full_server_loses_nothing_that_was_written(short_path: Path) -> None:
    """It is reported, what was written is there, and with room again the store serves."""
    with redis_server(short_path) as url, Redis.from_url(url) as client:
        async with opened(url) as store:
            first = await add(store, new_call("a"))
            client.config_set("maxmemory", "1")
            with pytest.raises(StoreError) as caught:
                await store.write([new_call("b"), new_call("c")])
            assert caught.value.problem is Problem.FULL
            client.config_set("maxmemory", "0")
            assert [entry.entry_id for entry in (await store.page(10)).entries] == [first.entry_id]
            assert (await add(store, new_call("b"))).is_new


async def test_a_server_that_hangs_holds_no_call_for_long(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process takes what is sent and never answers: each method ends by itself, and works again later."""
    with redis_server(short_path) as url, Redis.from_url(url) as client:
        pid = client.info("server")["process_id"]
        async with opened(url) as store:
            call = new_call()
            monkeypatch.setattr("bridge.settlement.redis.store.TIMEOUT_S", 0.3)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(StoreError) as caught:
                    await add(store, call)
            finally:
                os.kill(pid, signal.SIGCONT)
            assert caught.value.problem is Problem.TIMEOUT
            # Whether the first write was carried out is not known: the second is the same one.
            monkeypatch.setattr("bridge.settlement.redis.store.TIMEOUT_S", 60.0)
            added = await add(store, call)
            assert [entry.entry_id for entry in (await store.page(10)).entries] == [added.entry_id]


async def test_a_server_that_is_killed_loses_nothing_that_was_reported(short_path: Path) -> None:
    """With appendfsync always. The store that was open works again by itself."""
    always = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(short_path, *always) as url:
        store = RedisStore(url)
        calls = [new_call(str(number)) for number in range(50)]
        await asyncio.gather(*(add(store, call) for call in calls))
        with Redis.from_url(url) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        with pytest.raises(StoreError) as caught:
            await store.counts()
        assert caught.value.problem is Problem.UNREACHABLE
    with redis_server(short_path, *always) as url:
        # The loop stood still while one server ended and another began: in its next turns it sees what has been closed.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # As many at once as there were connections before: none of the broken ones is used again.
        pages = await asyncio.gather(*(store.page(100) for _ in range(CONNECTIONS_MAX)))
        found = {entry.entry_id for entry in pages[-1].entries}
        assert found == {call.sealed.entry_id for call in calls}
        await store.close()


async def test_another_server_is_looked_at_before_it_is_trusted(short_path: Path) -> None:
    """After a lost connection a new primary may answer, with another policy."""
    with redis_server(short_path) as url:
        store = RedisStore(url)
        await store.open()
    with pytest.raises(StoreError):
        await store.counts()
    with redis_server(short_path, "--maxmemory-policy", "allkeys-lru"):
        with pytest.raises(StoreError) as caught:
            await store.write([new_call()])
        assert caught.value.problem is Problem.EVICTS
    await store.close()


async def test_the_script_is_sent_again_where_it_was_forgotten(redis_url: str, client: Redis) -> None:
    """A server that was restarted knows no script."""
    async with opened(redis_url) as store:
        await add(store, new_call("a"))
        client.script_flush()
        await add(store, new_call("b"))
        assert len((await store.page(10)).entries) == 2


async def test_many_requests_at_once_share_few_connections(redis_url: str, client: Redis) -> None:
    """And none of them is refused for lack of one."""
    async with opened(redis_url) as store:
        await asyncio.gather(*(add(store, new_call(str(number))) for number in range(60)))
        assert len((await store.page(100)).entries) == 60
        assert len(client.client_list()) <= 20


def keys_in(client: Redis) -> list[str]:
    """Return every key of a server."""
    return [str(key, "utf-8") for key in client.scan_iter()]


async def test_every_key_is_in_one_slot_and_ours(redis_url: str, client: Redis) -> None:
    """By the hash tag: a cluster takes the script, and a shared database mixes nothing up."""
    async with opened(redis_url) as store:
        await add(store, new_call(identities=("one.example",)))
        await store.take(1, FAR_S, OPERATIONS)
    keys = keys_in(client)
    assert len(keys) > 8
    assert not [key for key in keys if not key.startswith("wallet-bridge:{settlement}:")]


async def test_nothing_is_left_of_entries_that_are_gone(redis_url: str, client: Redis) -> None:
    """Of every way to go: ended, settled and closed, with calls that share ids and identities."""
    async with opened(redis_url) as store:
        held = [new_call("held", is_owed=False, identities=("a.example", "b.example")) for _ in range(3)]
        await store.write([*held, *(new_call(name, identities=("a.example",)) for name in "abcd"), new_call("a")])
        for call in held:
            await end(store, call)
        entries = await store.take(10, FAR_S, OPERATIONS)
        await store.reject(entries[0].entry_id, entries[0].fence, TIMEOUT)
        await store.reject(entries[1].entry_id, entries[1].fence, Last("R", 5), never_repeat=True)
        await store.give_up(entries[2].entry_id, entries[2].fence, TIMEOUT)
        await store.close_entry(entries[0].entry_id, "by hand")
        await store.settle([entry.entry_id for entry in entries[1:]])
        assert await store.purge(0.0) == 4
    assert sorted(key.removeprefix(PREFIX) for key in keys_in(client)) == ["layout", "position"]


async def test_an_entry_that_was_deleted_by_hand_holds_no_other_up(
    redis_url: str, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped from the counts and named once; takes, expiry, reclassification and purges go on with others."""
    async with opened(redis_url) as store:
        for name in "abcdefg":
            await add(store, new_call(name))
        ended = await store.take(4, FAR_S, OPERATIONS)
        await store.settle([entry.entry_id for entry in ended[:2]])
        for entry in ended[2:]:
            assert await store.reject(entry.entry_id, entry.fence, Last("R", 7))
        for number in (1, 3, 5):  # one each that is SETTLED, REJECTED, PENDING
            assert client.delete(f"{PREFIX}e:{number:016}") == 1
        assert await store.expire(FAR_S, OPERATIONS) == []
        assert await store.expire(-1.0, [], 10) == []
        taken = await store.take(10, FAR_S, OPERATIONS)
        assert len(taken) == 2
        assert (await store.counts()).by_state[State.PENDING] == 2
        assert await store.take(10, FAR_S, OPERATIONS) == []
        assert await store.reclassify({7}) == [ended[3].entry_id]
        assert await store.purge(-1.0) == 3
        assert {entry.entry_id for entry in (await store.page(10)).entries} == {entry.entry_id for entry in taken}
        assert (await store.counts()).by_state[State.SETTLED] == 0
        assert await store.settle([entry.entry_id for entry in taken]) == [entry.entry_id for entry in taken]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "settlement entry number 5 is gone from the store; its request is lost"


async def test_the_files_hold_no_content(short_path: Path) -> None:
    """Neither the append-only file nor a dump, also while entries are there."""
    with redis_server(short_path, "--appendonly", "yes") as url, Redis.from_url(url) as client:
        async with opened(url) as store:
            await store.write([new_call("canary"), new_call("other", call_id="marker")])
        client.save()
        held = b"".join(file.read_bytes() for file in short_path.rglob("*") if file.is_file())
    assert b"marker" in held
    assert b"canary" not in held


async def test_a_password_is_needed_and_never_shown(short_path: Path) -> None:
    """In the URL or in a file."""
    (short_path / "password").write_text("pass-canary\n", encoding="utf-8")
    with (
        reserved_address() as address,
        redis_server(short_path, *at(address, "--port"), "--requirepass", "pass-canary"),
    ):
        for url in (f"redis://{address}/0", f"redis://:wrong@{address}/0"):
            assert await problem_at(url) is Problem.NOT_ALLOWED
        in_file = f"redis://{address}/0?password_file={short_path}/password"
        for url in (f"redis://:pass-canary@{address}/0", in_file):
            async with opened(url) as store:
                assert store.name == f"redis://{address}/0"
                assert (await add(store, new_call(url))).is_new


async def test_tls_is_verified(short_path: Path) -> None:
    """By the authority that ca_file names; a server that another one has signed is not spoken to."""
    ca, other = trustme.CA(), trustme.CA()
    certificate = ca.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(short_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(short_path / "cert.pem")
    ca.cert_pem.write_to_path(short_path / "ca.pem")
    other.cert_pem.write_to_path(short_path / "other.pem")
    files = ("--tls-cert-file", f"{short_path}/cert.pem", "--tls-key-file", f"{short_path}/key.pem")
    options = (*files, "--tls-auth-clients", "no", "--tls-ca-cert-file", f"{short_path}/ca.pem")
    with reserved_address() as address, redis_server(short_path, *at(address, "--tls-port"), *options):
        named = address.replace("127.0.0.1", "localhost")
        async with opened(f"rediss://{named}/0?ca_file={short_path}/ca.pem") as store:
            assert (await add(store, new_call())).is_new
        for url in (f"rediss://{named}/0?ca_file={short_path}/other.pem", f"rediss://{named}/0"):
            assert await problem_at(url) is Problem.UNREACHABLE
        assert await problem_at(f"rediss://{address}/0?ca_file={short_path}/ca.pem") is Problem.UNREACHABLE


def at(address: str, option: str) -> tuple[str, ...]:
    """Return a server's options for this address, its port by this option."""
    host, port = address.split(":")
    return ("--bind", host, option, port)


ADDRESSES = {
    "redis://h": {"host": "h", "port": 6379, "db": 0},
    "redis://h:1/2": {"host": "h", "port": 1, "db": 2},
    "redis://u%40x:p%2F@h/": {"username": "u@x", "password": "p/", "host": "h", "port": 6379, "db": 0},
    "rediss://h/0": {"host": "h", "port": 6379, "db": 0, "ssl": True, "ssl_ca_certs": None},
    "rediss://h?ca_file=/a%20b": {"host": "h", "port": 6379, "db": 0, "ssl": True, "ssl_ca_certs": "/a b"},
    "unix:///run/redis.sock": {"unix_socket_path": "/run/redis.sock"},
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_a_url_is_read(url: str) -> None:
    """As redis-py's arguments, each named: nothing of the URL reaches it otherwise."""
    assert connection_arguments(url) == ADDRESSES[url]


BAD_ADDRESSES = (
    *("http://h", "redis://", "redis:///0", "redis://h/x", "redis://h/-1", "rediss://h?ssl_cert_reqs=none"),
    *("rediss://h?ssl_check_hostname=false&ca_file=/a", "redis://canary@h?x=1", "redis://h?password_file=/nowhere"),
)


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_a_url_that_names_no_redis_is_refused(url: str) -> None:
    """Above all one that would switch TLS's checks off. The error does not show it."""
    with pytest.raises(RedisUrlError) as caught:
        connection_arguments(url)
    assert "canary" not in str(caught.value)


def test_user_and_password_are_not_shown() -> None:
    """Nor what stands behind the question mark."""
    assert shown("rediss://user:pass@h:1/2?password_file=/x") == "rediss://h:1/2"


@pytest.mark.parametrize("turns", range(12))
async def test_a_request_that_is_cancelled_does_not_go_on(redis_url: str, turns: int) -> None:
    """After whatever number of turns of the loop: a task that lost its cancellation would work on through a drain."""
    async with opened(redis_url) as store:
        task = asyncio.create_task(store.counts())
        for _ in range(turns):
            await asyncio.sleep(0)
        is_under_way = task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled() == is_under_way
