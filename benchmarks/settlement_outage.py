"""What the wallet sees after an hour's outage, in virtual time: probes, then a rate that doubles up to the limit.

    make outage [ENTRIES=50000]

The scene is that of tests/unit/settlement/test_outage.py, which holds the facts; this prints the rates of the whole.
"""

import argparse
import time
from collections import Counter

from bridge.settlement.entry import State
from tests.support.settlement_outage import ANSWER_S, LIMIT, OUTAGE_S, OUTAGES, Aftermath, after_an_outage, in_flight
from tests.support.virtual_time import run_virtually

SECONDS = 8
"""How many of the first seconds are shown."""


def main() -> None:
    """Run each kind of outage and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--providers", type=int, default=5)
    parser.add_argument("--outage", choices=OUTAGES, action="append")
    arguments = parser.parse_args()
    print(
        f"{arguments.entries} entries of {arguments.providers} providers, each answer takes {ANSWER_S} s, limit {LIMIT}"
    )
    for outage in arguments.outage or OUTAGES:
        began = time.monotonic()
        aftermath = run_virtually(after_an_outage(outage, arguments.entries, arguments.providers))
        print(f"\n{outage}, {time.monotonic() - began:.0f} s of real time\n" + "\n".join(_lines(aftermath)), flush=True)


def _lines(aftermath: Aftermath) -> list[str]:
    first_s = min(map(aftermath.first_certain_s, aftermath.providers))
    begun = Counter(int(sent.began_s - first_s) for sent in aftermath.sent if sent.began_s >= first_s)
    rates = ", ".join(str(begun[second]) for second in range(SECONDS))
    all_s, most = max(begun) + first_s - OUTAGE_S, max(count for _, count in in_flight(aftermath.sent))
    settled = f"{aftermath.states[State.SETTLED]} settled {all_s:.0f} s after the outage's end"
    lines = [f"  all: {settled}; at most {most} at once; a second: {rates}, ..."]
    for provider_id in aftermath.providers:
        since_s, sent = aftermath.first_certain_s(provider_id), aftermath.of(provider_id)
        probes = [one for one in sent if one.began_s < OUTAGE_S]
        beside = max(count for one, count in in_flight(sent) if one.began_s < since_s)
        rates = ", ".join(map(str, aftermath.rates(provider_id)[:SECONDS]))
        lines.append(
            f"  provider {provider_id}: {len(probes)} probes in the hour, {beside} at once; "
            f"certain {since_s - OUTAGE_S:.1f} s after it; then a second: {rates}, ..."
        )
    return lines


if __name__ == "__main__":
    main()
