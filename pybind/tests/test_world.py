# SPDX-License-Identifier: Apache-2.0
"""Holds:   coroutines run in simulated time, errors reach who waits for them or end the run, equal
         worlds have equal digests, and a world that is stuck or closed says so.
Method:  small coroutines driven by World.run, each with one thing to show.
"""
import traceback

import pytest

from _blockstep import replay_schedule

from blockstep import Cancelled, Deadlock, EventLimit, Timeout, World, ms


@pytest.fixture
def world():
    with World(seed=1) as world:
        yield world


async def after(world, delay_ns, value):
    await world.sleep(delay_ns)
    return value


async def fail():
    raise ZeroDivisionError("on purpose")


def test_time_passes_only_by_awaiting(world):
    async def main():
        before = world.now_ns
        await world.sleep(3 * ms)
        return world.now_ns - before

    assert world.run(main()) == 3 * ms
    assert world.now_ns == 3 * ms


def test_gather_keeps_the_order_and_waits_for_all(world):
    assert world.run(world.gather(after(world, 2, "a"), after(world, 1, "b"))) == ["a", "b"]
    assert world.run(world.gather()) == []
    assert world.now_ns == 2


def test_gather_ends_with_the_first_error(world):
    with pytest.raises(ZeroDivisionError):
        world.run(world.gather(world.future("never"), fail()))


def test_timeout_cancels_and_result_wins(world):
    seen = []

    async def slow():
        try:
            await world.sleep(10 * ms)
        except Cancelled:
            seen.append(world.now_ns)
            raise

    async def main():
        with pytest.raises(Timeout, match="not done after 1000000 ns"):
            await world.timeout(1 * ms, slow())
        return await world.timeout(1 * ms, after(world, 5, "in time"))

    assert world.run(main()) == "in time"
    assert seen == [1 * ms]


def test_error_of_a_task_nobody_awaits_fails_the_run_with_its_traceback(world):
    async def main():
        world.start(fail())
        await world.sleep(1)

    with pytest.raises(ZeroDivisionError) as caught:
        world.run(main())
    assert "fail" in [frame.name for frame in traceback.extract_tb(caught.tb)]


def test_error_is_raised_where_the_task_is_awaited(world):
    async def main():
        task = world.start(fail(), name="failing")
        with pytest.raises(ZeroDivisionError):
            await task
        assert task.done
        return "went on"

    assert world.run(main()) == "went on"


def test_deadlock_names_who_waits_for_what(world):
    async def main():
        await world.future("godot")

    with pytest.raises(Deadlock, match=r"task 1 'main' awaits 'godot'"):
        world.run(main())


def test_only_futures_can_be_awaited(world):
    class Foreign:
        def __await__(self):
            yield 7

    async def main():
        await Foreign()

    with pytest.raises(TypeError, match="awaits futures and tasks"):
        world.run(main())
    with pytest.raises(TypeError, match="not a coroutine"):
        world.start(main)


def test_running_inside_a_run_is_refused(world):
    async def main():
        world.run(after(world, 1, None))

    with pytest.raises(RuntimeError, match="await instead"):
        world.run(main())


def test_event_limit_ends_a_livelock():
    async def spin(world):
        while True:
            await world.sleep(0)

    with World(event_limit=1000) as world, pytest.raises(EventLimit, match="more than 1000 events"):
        world.run(spin(world))


def test_closed_world_ends_its_tasks_and_says_that_it_is_closed():
    world, ended = World(), []

    async def forever():
        try:
            await world.future("never")
        finally:
            ended.append(True)

    task = world.start(forever())
    world.run_until_idle()
    world.close()
    assert ended == [True]
    assert not task.done
    with pytest.raises(RuntimeError, match="the world is closed"):
        world.sleep(1)
    assert len(world.digest) == 16  # what was measured stays readable


def busy_world(seed, schedule):
    """Digest, order and choices of a world with a lot to choose from."""
    order = []

    async def worker(world, name):
        for _ in range(4):
            order.append(name)
            await world.sleep(world.rng(name).below(3))

    with World(seed=seed, schedule=schedule) as world:
        world.run(world.gather(*(worker(world, name) for name in "abcdef")))
        return world.digest, order, world.record()


def test_same_seed_same_digest_and_choices_replay():
    first = busy_world(5, "random")
    assert first == busy_world(5, "random")
    assert first[0] != busy_world(6, "random")[0]
    assert first[:2] == busy_world(5, replay_schedule(first[2]))[:2]


def test_wrong_options_are_refused():
    for options in ({"schedule": "lifo"}, {"clock": "lunar"}, {"clock": "paced", "pace": 0}):
        with pytest.raises(ValueError):
            World(**options)
    with World() as world:
        for call in (lambda: world.sleep(-1), lambda: world.choose(0, "x"),
                     lambda: world.rng("x").below(0), lambda: world.rng("x").between(2, 1)):
            with pytest.raises(ValueError):
                call()


def test_manual_clock_moves_only_when_told():
    with World(clock="manual") as world:
        task = world.start(after(world, 10, "done"))
        world.run_until_idle()
        assert (world.now_ns, task.done) == (0, False)
        world.run_for(10)
        assert (world.now_ns, task.result()) == (10, "done")


def test_trace_holds_what_was_emitted():
    with World(record_trace=True) as world:
        world.note("hello")
        world.emit("mark", 1, 2)
        assert [line for line in world.trace if "mark" in line]
        assert world.timeline == [(0, "hello")]
