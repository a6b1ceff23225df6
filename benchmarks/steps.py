"""Where the CPU time of a call goes: the bridge as it is, the bridge with timers, and the floor, in turns.

In pure Python: no timer can be put around a method of a compiled class.
"""

import json
import statistics
from collections.abc import Sequence

from benchmarks.contestants import BRIDGE, BY_NAME, FLOOR, INSTRUMENTED, pure
from benchmarks.figures import Profile, Round, StepCost
from benchmarks.scene import Scene
from benchmarks.side_by_side import say

REST = "outside of any step: gRPC, the event loop, the kernel"


async def measure_profile(scene: Scene) -> Profile:
    """Measure; the medians of some rounds."""
    rows = (BY_NAME[FLOOR], pure(BY_NAME[BRIDGE]), INSTRUMENTED)
    rounds: dict[str, list[Round]] = {row.name: [] for row in rows}
    steps: list[dict[str, float]] = []
    for _ in range(scene.effort.rounds):
        for row in rows:
            async with scene.running(row) as server:
                one = await scene.load(server, await scene.warm_up(server))
            rounds[row.name].append(one)
            say(f"profile: {row.name:<15}{one.cpu_us:7.0f} us, of it {one.system_us:.0f} in the kernel")
        steps.append(json.loads(scene.steps_file.read_text(encoding="utf-8"))["steps"])
    own_us = {name: statistics.median(each[name] for each in steps) for name in steps[0]}
    return profile(rounds[BRIDGE], rounds[FLOOR], own_us)


def profile(bridge: Sequence[Round], floor: Sequence[Round], own_us: dict[str, float]) -> Profile:
    """Put together what a call costs: its steps, the rest, and beside that what the floor costs."""
    whole_us = statistics.median(one.cpu_us for one in bridge)
    floor_us = statistics.median(one.cpu_us for one in floor)
    rest_us = whole_us - sum(own_us.values())
    steps = [StepCost(name, us) for name, us in own_us.items()]
    system_us = statistics.median(one.system_us for one in bridge)
    return Profile(whole_us, system_us, floor_us, [*steps, StepCost(REST, rest_us)])
