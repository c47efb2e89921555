# SPDX-License-Identifier: Apache-2.0
"""Holds:   operations made up by Hypothesis are played in many orders, a failure ends with few of
         them and with the step that makes the difference, and what is right passes.
Method:  a bank whose transfers lose updates between read and write, with a lock and without.
"""
import hypothesis
import pytest
from hypothesis.stateful import rule, run_state_machine_as_test
from hypothesis.strategies import integers

from blockstep.hypothesis_bridge import OrdersFailed, OrdersMachine, check_orders

SETTINGS = hypothesis.settings(max_examples=15, stateful_step_count=8, deadline=None,
                               database=None, derandomize=True,
                               suppress_health_check=list(hypothesis.HealthCheck))


class Bank(OrdersMachine):
    locked = False
    schedules = 12

    @rule(amount=integers(1, 100))
    def deposit(self, amount):
        self.plan(amount)

    @rule()
    def look(self):
        self.plan(0)

    async def play(self, world, operations):
        balance = 0
        free = world.future("lock")
        free.set_value()

        async def deposit(amount):
            nonlocal balance, free
            before, free = free, world.future("lock")
            mine = free
            if self.locked:
                await before
            seen = balance
            if amount > 20:  # large ones are looked at for longer
                await world.sleep(0)
            balance = seen + amount
            mine.set_value()

        await world.gather(*(deposit(amount) for amount in operations))
        assert balance == sum(operations), "money is lost"


class SafeBank(Bank):
    locked = True


def test_failure_shrinks_on_both_sides():
    with pytest.raises(OrdersFailed) as caught:
        run_state_machine_as_test(Bank, settings=SETTINGS)
    text = str(caught.value)
    assert "money is lost" in text
    assert "operations: [1, 21]" in text or "operations: [21, 1]" in text
    assert caught.value.record.startswith("blockstep choices 2\n")


def test_what_is_right_passes():
    run_state_machine_as_test(SafeBank, settings=SETTINGS)


def test_same_operations_same_verdict():
    async def play(world, operations):
        order = []

        async def put(name):
            order.append(name)

        await world.gather(*map(put, operations))
        assert "".join(order) != "cab"

    texts = []
    for _ in range(2):
        with pytest.raises(OrdersFailed) as caught:
            check_orders(play, "abc", schedules=60)
        texts.append((str(caught.value), caught.value.record, caught.value.critical))
    assert texts[0] == texts[1]
    assert "pre-emptions: 1 (of " in texts[0][0]
    assert texts[0][2].startswith("'put'")
    check_orders(play, "abd", schedules=60)
