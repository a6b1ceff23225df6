"""The actions of `bridge settlement`, on an open store."""

import argparse
import sys
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Any, TextIO

from bridge.cli.settlement_text import head_line, json_line, list_line, text_of
from bridge.settings.model import SettingsError
from bridge.settlement.entry import Change, Entry, State
from bridge.settlement.open_store import store_at
from bridge.settlement.store import Store, StoreError

PAGE = 200
REASON_CHARACTERS_MAX = 256


class NotDone(Exception):
    """An action that cannot be carried out. The text is one line for people."""


async def run(arguments: argparse.Namespace, url: str, success_codes: AbstractSet[int], out: TextIO) -> int:
    """Carry out one action; return 0, or 1 where it could not be; raise SettingsError for a store that fails."""
    try:
        # Makes no store: one that is missing is a wrong setting here, and the file would belong to the wrong user.
        store = store_at(url, creates=False)
        return await _on(store, arguments, success_codes, out)
    except (StoreError, ValueError) as error:
        raise SettingsError(f"settlement.store: {error}") from None


async def _on(store: Store, arguments: argparse.Namespace, success_codes: AbstractSet[int], out: TextIO) -> int:
    try:
        await ACTIONS[arguments.action](store, arguments, success_codes, out)
    except NotDone as error:
        sys.stderr.write(f"bridge: {error}\n")
        return 1
    finally:
        await store.close()
    return 0


async def _list(store: Store, arguments: argparse.Namespace, _: AbstractSet[int], out: TextIO) -> None:
    state = None if arguments.state is None else State(arguments.state)
    line = json_line if arguments.json else list_line
    page = await store.page(PAGE, state=state)
    if not arguments.json:
        out.write(f"{head_line()}\n")
    out.writelines(f"{line(entry)}\n" for entry in page.entries)
    while page.next_cursor:
        page = await store.page(PAGE, page.next_cursor, state)
        out.writelines(f"{line(entry)}\n" for entry in page.entries)


async def _show(store: Store, arguments: argparse.Namespace, _: AbstractSet[int], out: TextIO) -> None:
    _print(await _found(store, arguments.id), arguments, out)


async def _retry(store: Store, arguments: argparse.Namespace, _: AbstractSet[int], out: TextIO) -> None:
    await _changed(store, arguments, out, store.retry)


async def _close(store: Store, arguments: argparse.Namespace, _: AbstractSet[int], out: TextIO) -> None:
    reason = arguments.reason.strip()
    if not reason.isprintable() or not 0 < len(reason) <= REASON_CHARACTERS_MAX:
        raise NotDone(f"--reason: must be 1 to {REASON_CHARACTERS_MAX} printable characters on one line")

    async def close(entry_id: str) -> Change:
        return await store.close_entry(entry_id, reason)

    await _changed(store, arguments, out, close)


async def _reclassify(
    store: Store, arguments: argparse.Namespace, success_codes: AbstractSet[int], out: TextIO
) -> None:
    if not success_codes:
        raise NotDone("no code means success yet: set success = true at it in [wallet.codes.<code>]")
    for entry_id in await store.reclassify(success_codes):
        entry = await store.get(entry_id)
        if entry is not None:
            _print(entry, arguments, out)


async def _changed(
    store: Store,
    arguments: argparse.Namespace,
    out: TextIO,
    change: Callable[[str], Coroutine[Any, Any, Change]],
) -> None:
    entry_id = (await _found(store, arguments.id)).entry_id
    done = await change(entry_id)
    if done is not Change.DONE:
        raise NotDone(f"{entry_id}: nothing was changed: {done.value}")
    _print(await _found(store, entry_id), arguments, out)


async def _found(store: Store, name: str) -> Entry:
    """Return the entry of an entry id, or of a call id that names only one."""
    entry = await store.get(name)
    if entry is not None:
        return entry
    newest, count = await store.of_call(name)
    if newest is None:
        raise NotDone(f"{name}: no entry has this id, and no call of this id refers to one")
    if count > 1:
        raise NotDone(f"{name}: names {count} entries, the newest is {newest.entry_id}; give an entry id instead")
    return newest


def _print(entry: Entry, arguments: argparse.Namespace, out: TextIO) -> None:
    out.write(f"{json_line(entry) if arguments.json else text_of(entry)}\n")


ACTIONS = {"list": _list, "show": _show, "retry": _retry, "close": _close, "reclassify": _reclassify}
