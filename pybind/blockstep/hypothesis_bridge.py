# SPDX-License-Identifier: Apache-2.0
"""Hypothesis and the explorer together: one makes up operations, the other orders.

    class Bank(OrdersMachine):
        @rule(amount=integers(1, 100))
        def deposit(self, amount):
            self.plan(("deposit", amount))

        async def play(self, world, operations):
            ...  # start the operations, wait for them, check what came of it

    TestBank = Bank.TestCase

Rules only plan. When Hypothesis has made up a list of operations, it is played in a world of its
own under many schedules; if one of them fails, Hypothesis looks for fewer and simpler operations,
and the explorer for the fewest events out of their place. Both are functions of their input, so
that a failing example stays one.
"""
import _blockstep
from hypothesis.stateful import RuleBasedStateMachine

from blockstep.explore.trial import ScenarioTrial, explore
from blockstep.scenario import Scenario

SHRINK_RUNS = 60  # a failing example is only one of many that Hypothesis tries


class OrdersFailed(AssertionError):
    """Some order of these operations fails. record: of its choices; critical: the choice that makes
    the difference, or None."""

    def __init__(self, text: str, record: str, critical: str | None):
        super().__init__(text)
        self.record = record
        self.critical = critical


def check_orders(play, operations, schedules: int = 30, strategies: str = "portfolio",
                 seed: int = 0, **options) -> None:
    """Plays the operations under so many schedules: `await play(world, operations)`.

    options: of the worlds. Raises OrdersFailed.
    """
    operations = list(operations)
    trial = ScenarioTrial(Scenario(lambda world: play(world, list(operations)), options))
    found = explore(trial, schedules=schedules, strategies=strategies, seed=seed)["findings"]
    if not found:
        return
    first = found[0]
    shrunk = _blockstep.shrink(trial, seed=first["seed"], record=first["record"],
                               signature=first["signature"], runs_max=SHRINK_RUNS)
    critical = shrunk.get("critical", {}).get("text")
    lines = [first["signature"], f"operations: {operations!r}"]
    if shrunk["reproduced"]:
        lines.append(f"faults: {shrunk['after']['faults']}, pre-emptions: "
                     f"{shrunk['after']['moves']} (of {shrunk['before']['moves']})")
    if critical:
        lines.append(f"critical step {shrunk['critical']['step']}: {critical}")
    lines.append((shrunk["text"] if shrunk["reproduced"] else first["text"]).rstrip())
    raise OrdersFailed("\n".join(lines),
                       shrunk["record"] if shrunk["reproduced"] else first["record"], critical)


class OrdersMachine(RuleBasedStateMachine):
    """A state machine whose rules plan operations, which are then played in many orders."""

    schedules = 30
    strategies = "portfolio"
    world_options: dict = {}

    def __init__(self):
        super().__init__()
        self.operations: list = []

    def plan(self, operation) -> None:
        """Adds an operation to those that are played in the end."""
        self.operations.append(operation)

    async def play(self, world, operations) -> None:
        """Does the operations in the world and checks what came of them."""
        raise NotImplementedError

    def teardown(self):
        if self.operations:
            check_orders(self.play, self.operations, self.schedules, self.strategies,
                         **self.world_options)
