# SPDX-License-Identifier: Apache-2.0
"""Holds:   recordings are read as their formats say, a malformed line is named, and the model tells
         every legal content of a disk from every illegal one.
Method:  small texts and hand-made histories; a stand-in disk whose cache can be lost.
"""
import random

import pytest

from blockstep import GuestIoError, TraceError, World, WrongData
from blockstep.commands import source_dir
from blockstep.replay import (Action, DiskModel, Pattern, Request, load, parse_blkparse,
                              parse_fio, replay, verify)

TRACES = source_dir() / "scenarios/traces"
READ, WRITE, DISCARD, FLUSH = Action.READ, Action.WRITE, Action.DISCARD, Action.FLUSH


class StandInDisk:
    """Requests take effect at once and are acknowledged later; flush makes them durable."""

    def __init__(self, world, size=1 << 20):
        self.world, self.size = world, size
        self.cached, self.durable = bytearray(size), bytearray(size)
        self.fail_at = None
        self.lose_write_at = None

    def _later(self, value=None):
        future = self.world.future("stand-in request")

        def done(_slept):
            if value is not None and self.fail_at == value:
                future.set_error(GuestIoError(5))
            else:
                future.set_value(value if isinstance(value, bytes) else None)

        self.world.sleep(self.world.rng("latency").below(50_000)).on_done(done)
        return future

    def read(self, offset, length):
        return self._later(bytes(self.cached[offset:offset + length]))

    def write(self, offset, data):
        if offset != self.lose_write_at:
            self.cached[offset:offset + len(data)] = data
        return self._later(offset)

    def discard(self, offset, length):
        self.cached[offset:offset + length] = bytes(length)
        return self._later(offset)

    def flush(self):
        self.durable[:] = self.cached
        return self._later()

    def power_cut(self):
        self.cached[:] = self.durable


@pytest.fixture
def world():
    with World(seed=11) as world:
        yield world


# ---- parsers ------------------------------------------------------------------------------------

FIO2 = """fio version 2 iolog
/dev/vda add
/dev/vda open
/dev/vda read 0 4096
/dev/vda wait 250 0
/dev/vda write 8192 512
/dev/vda wait 50
/dev/vda trim 4096 4096
/dev/vda datasync 0 0
/dev/vda close
"""


def test_fio_version_2():
    assert parse_fio(FIO2).requests == [
        Request(0, READ, 0, 4096), Request(250_000, WRITE, 8192, 512),
        Request(300_000, DISCARD, 4096, 4096), Request(300_000, FLUSH)]


def test_fio_version_3_recorded_by_the_real_fio():
    trace = load(TRACES / "randrw.iolog")
    assert sum(trace.counts().values()) > 700
    assert trace.counts()["flush"] >= 10
    assert trace.end <= 8 << 20
    assert trace.requests == sorted(trace.requests, key=lambda request: request.at_ns)


def test_fio_log_of_several_files_needs_a_name():
    text = FIO2 + "b add\nb write 0 512\n"
    with pytest.raises(TraceError, match="2 files in the log: name one of /dev/vda, b"):
        parse_fio(text)
    assert parse_fio(text, filename="b").requests == [Request(300_000, WRITE, 0, 512)]
    with pytest.raises(TraceError, match="no file 'c' in the log"):
        parse_fio(text, filename="c")


@pytest.mark.parametrize("line, message", [
    ("/dev/vda scribble 0 512", "unknown action 'scribble' in version 2"),
    ("/dev/vda read 0", "read takes 2 numbers, not 1"),
    ("/dev/vda read zero 512", "offset is not a number: 'zero'"),
    ("/dev/vda read -512 512", "offset is not a number: '-512'"),
    ("/dev/vda read ٣ 512", "offset is not a number"),
    ("/dev/vda read 99999999999999999999999 512", "offset is too large"),
    ("/dev/vda read 0 0", "read of no bytes"),
    ("/dev/vda write 0 100", "write is not in whole sectors: 0 100"),
    ("/dev/vda write 0 1099511627776", "length is too large"),
    ("/dev/vdb read 0 512", "file '/dev/vdb' was not added"),
    ("/dev/vda wait", "wait takes 1 numbers, not 0"),
    ("/dev/vda", "a line needs a file name and an action"),
])
def test_malformed_fio_lines_are_named(line, message):
    lines = FIO2.splitlines()
    with pytest.raises(TraceError, match=f"^guest.log:4: {message}"):
        parse_fio("\n".join([*lines[:3], line, *lines[3:]]), "guest.log")


@pytest.mark.parametrize("text, message", [
    ("", ":1: not a fio iolog of version 2 or 3: ''"),
    ("fio version 1 iolog\n", ":1: not a fio iolog of version 2 or 3"),
    ("fio version 3 iolog\n5 f add\n4 f open\n", ":3: timestamps go back"),
    ("fio version 3 iolog\n5 f add\n6 f wait 3\n", ":3: unknown action 'wait' in version 3"),
    ("fio version 3 iolog\nf add\n", ":2: timestamp is not a number: 'f'"),
    ("fio version 2 iolog\n", ":2: 0 files in the log: name one of none"),
])
def test_malformed_fio_logs_are_refused(text, message):
    with pytest.raises(TraceError) as caught:
        parse_fio(text, "t")
    assert str(caught.value).startswith("t" + message)


def test_blkparse_issues_flushes_and_discards():
    assert [(request.action, request.offset // 512, request.length // 512)
            for request in load(TRACES / "boot.blkparse").requests] == [
        (READ, 0, 8), (READ, 2048, 256), (WRITE, 4096, 16), (FLUSH, 0, 0), (WRITE, 4112, 8),
        (FLUSH, 0, 0), (DISCARD, 16384, 2048), (WRITE, 8192, 64), (FLUSH, 0, 0)]


def test_blkparse_falls_back_to_queued_requests_and_selects_a_device():
    text = ("8,0 0 1 0.000000001 7 Q R 8 + 8 [x]\n"
            "8,16 0 2 0.000000002 7 Q W 16 + 8 [x]\n")
    assert parse_blkparse(text, device="8,16").requests == [Request(2, WRITE, 8192, 4096)]
    with pytest.raises(TraceError, match="2 devices in the recording: name one of 8,0, 8,16"):
        parse_blkparse(text)
    with pytest.raises(TraceError, match="no device '9,9' in the recording"):
        parse_blkparse(text, device="9,9")


@pytest.mark.parametrize("line, message", [
    ("8,0 0 1 0.1 7 D R 8 + 8 [x]", "not a time in seconds with nine decimals: '0.1'"),
    ("8,0 0 1 0.000000001 7 D", "an event needs device, cpu"),
    ("8,0 0 1 0.000000001 7 D X 8 + 8 [x]", r"unknown kind of request \(RWBS\): 'X'"),
    ("8,0 0 1 0.000000001 7 D R 8 8 [x]", "a transfer needs 'SECTOR . SECTORS'"),
    ("8,0 0 1 0.000000001 7 D R x + 8 [x]", "sector is not a number: 'x'"),
    ("8,0 zero 1 0.000000001 7 D R 8 + 8 [x]", "cpu is not a number: 'zero'"),
    ("hello", "not a blkparse event: 'hello'"),
])
def test_malformed_blkparse_lines_are_named(line, message):
    good = "8,0 0 1 0.000000001 7 D R 8 + 8 [x]\n"
    with pytest.raises(TraceError, match=f"^t:2: {message}"):
        parse_blkparse(good + line + "\n", "t")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(TraceError, match="nowhere: No such file"):
        load(tmp_path / "nowhere")
    binary = tmp_path / "binary"
    binary.write_bytes(b"fio\xff")
    with pytest.raises(TraceError, match=r"binary: not a text file \(byte 3\)"):
        load(binary)


# ---- pattern and model --------------------------------------------------------------------------


def written(model, offset=0, length=512):
    ticket = model.begin_write(offset, length)
    model.acknowledge(ticket)
    return ticket.data


def flushed(model):
    model.end_flush(model.begin_flush())


def test_read_must_return_the_last_acknowledged_write():
    model = DiskModel(seed=1)
    old, new = written(model), written(model)
    model.check_read(model.begin_read(0, 512), new)
    with pytest.raises(WrongData, match="read: sector 0 holds write 1, may hold write 2"):
        model.check_read(model.begin_read(0, 512), old)
    with pytest.raises(WrongData, match="holds zeroes"):
        model.check_read(model.begin_read(0, 512), bytes(512))


def test_reads_and_writes_under_way_together_may_come_in_either_order():
    model = DiskModel(seed=1)
    old = written(model)
    read = model.begin_read(0, 512)
    write = model.begin_write(0, 512)
    for data in (old, write.data):
        model.check_read(read, data)
    other = model.begin_write(0, 512)
    model.acknowledge(write)
    model.acknowledge(other)
    for data in (write.data, other.data):
        model.check_running(0, data)
    with pytest.raises(WrongData):
        model.check_running(0, old)


def test_power_cut_may_lose_what_was_not_flushed_and_nothing_else():
    model = DiskModel(seed=1)
    first = written(model)
    for data in (bytes(512), first):
        model_after = DiskModel(seed=1)
        written(model_after)
        model_after.check_after_power_cut(0, data)
    flushed(model)
    second = model.begin_write(0, 512)  # not even acknowledged
    with pytest.raises(WrongData, match="after the power cut: sector 0 holds zeroes, "
                                        "may hold write 1 or write 2"):
        model.check_after_power_cut(0, bytes(512))
    model.check_after_power_cut(0, second.data)
    with pytest.raises(WrongData):  # what was found is what is there
        model.check_running(0, first)


def test_flush_covers_only_what_had_ended_before_it_began():
    model = DiskModel(seed=1)
    late = model.begin_write(0, 512)
    flush = model.begin_flush()
    model.acknowledge(late)
    model.end_flush(flush)
    model.check_after_power_cut(0, bytes(512))


def test_discard_gives_zeroes_or_what_was_there():
    for survivor in ("zeroes", "data"):
        model = DiskModel(seed=1)
        data = written(model)
        model.acknowledge(model.begin_discard(0, 512))
        flushed(model)
        model.check_running(0, data if survivor == "data" else bytes(512))
    model.acknowledge(model.begin_zeroes(0, 512))
    with pytest.raises(WrongData):
        model.check_running(0, data)


def test_unknown_disk_accepts_what_it_never_wrote():
    model = DiskModel(seed=1, unknown=True)
    model.check_running(0, b"x" * 512)
    written(model)
    with pytest.raises(WrongData, match="no written sector"):
        model.check_running(0, b"x" * 512)


def test_report_says_what_the_wrong_contents_are():
    model = DiskModel(seed=1)
    data = written(model, 0, 1024)
    for contents, message in (
            (data[512:] + data[:512], "sector 0 holds write 1 of sector 1"),
            (written(DiskModel(seed=2)) + data[512:], "a sector of another run \\(seed 2\\)"),
            (data[:99] + b"!" + data[100:], "no written sector \\(starts 626c6b73")):
        with pytest.raises(WrongData, match=message):
            model.check_running(0, contents)


class SectorBySector:
    """The same rules, each sector for itself, in the plainest way."""

    def __init__(self, seed):
        self.pattern = Pattern(seed)
        self.time = self.generation = 0
        self.writes = {}  # of a sector: [generation, began, ended or None, replaces]

    def tick(self):
        self.time += 1
        return self.time

    def begin(self, sectors, zeroes=False, replaces=True):
        self.generation += not zeroes
        write = [0 if zeroes else self.generation, self.tick(), None, replaces]
        for sector in sectors:
            self.writes.setdefault(sector, [[0, 0, 0, True]]).append(write)
        return write

    def left(self, sector, before):
        writes = self.writes.get(sector, [[0, 0, 0, True]])
        newest = max((began for _generation, began, ended, replaces in writes
                      if replaces and ended is not None and ended < before), default=0)
        return [one for one in writes if one[2] is None or one[2] >= newest]

    def may_hold(self, sector, before):
        return {generation for generation, *_rest in self.left(sector, before)}


@pytest.mark.parametrize("number", range(25))
def test_random_histories_agree_with_each_sector_for_itself(number, seed):
    rng = random.Random(1000 * seed + number)
    model, plain = DiskModel(seed=3), SectorBySector(3)
    size, under_way = 24, []

    def compare(when, before):
        may = [sorted(plain.may_hold(sector, before)) for sector in range(size)]
        legal = [rng.choice(choices) for choices in may]
        # All of it as it may be, and with one sector of some write or other.
        for wrong in (None, *rng.choices(range(size), k=8)):
            contents = list(legal)
            if wrong is not None:
                contents[wrong] = rng.randrange(plain.generation + 1)
            data = b"".join(map(plain.pattern.sector, range(size), contents))
            fits = True
            try:
                model._check(0, data, when, before)
            except WrongData:
                fits = False
            assert fits == (wrong is None or contents[wrong] in may[wrong]), (
                f"seed {seed}, history {number}, sector {wrong}")

    for _ in range(40):
        first = rng.randrange(size)
        sectors = range(first, rng.randrange(first, size) + 1)
        span = (first * 512, len(sectors) * 512)
        kind = rng.choice(["write", "write", "zeroes", "discard", "end", "end", "flush", "cut"])
        if kind == "write":
            under_way.append((model.begin_write(*span), plain.begin(sectors)))
        elif kind == "zeroes":
            under_way.append((model.begin_zeroes(*span), plain.begin(sectors, zeroes=True)))
        elif kind == "discard":
            under_way.append((model.begin_discard(*span),
                              plain.begin(sectors, zeroes=True, replaces=False)))
        elif kind == "end" and under_way:
            ticket, write = under_way.pop(rng.randrange(len(under_way)))
            model.acknowledge(ticket)
            write[2] = plain.tick()
        elif kind == "flush":
            ticket, before = model.begin_flush(), plain.tick()
            model.end_flush(ticket)
            plain.tick()
            for sector in plain.writes:
                plain.writes[sector] = plain.left(sector, before)
        elif kind == "cut":
            under_way.clear()
            found = {sector: rng.choice(sorted(plain.may_hold(sector, 0)))
                     for sector in range(size)}
            model.check_after_power_cut(0, b"".join(
                plain.pattern.sector(sector, found[sector]) for sector in range(size)))
            now = plain.tick()
            for sector in plain.writes:
                plain.writes[sector] = [[found[sector], now, now, True]]
        compare("read", model._time + 1)
        compare("cut", 0)
        assert model._time == plain.time
    covered = [sector for offset, length in model.ranges(4 * 512)
               for sector in range(offset // 512, (offset + length) // 512)]
    assert covered == sorted(plain.writes)
    assert all(length <= 4 * 512 for _offset, length in model.ranges(4 * 512))


# ---- replay -------------------------------------------------------------------------------------


def test_replay_checks_the_recorded_requests_and_keeps_their_time(world):
    trace, disk, model = load(TRACES / "randrw.iolog"), StandInDisk(world, 8 << 20), DiskModel(11)
    result = world.run(replay(world, disk, trace, model))
    assert (result.reads, result.writes, result.flushes) == tuple(
        trace.counts()[name] for name in ("read", "write", "flush"))
    assert trace.duration_ns <= result.simulated_ns < trace.duration_ns + 1_000_000
    assert world.run(verify(disk, model)) > 1 << 20
    disk.power_cut()
    world.run(verify(disk, model, after_power_cut=True))


def test_replay_as_fast_as_possible_takes_less_time(world):
    trace, disk = load(TRACES / "randrw.iolog"), StandInDisk(world, 8 << 20)
    result = world.run(replay(world, disk, trace, DiskModel(11), speed=None, depth=4))
    assert result.simulated_ns < trace.duration_ns


def test_a_lost_write_is_found(world):
    trace, disk, model = load(TRACES / "randrw.iolog"), StandInDisk(world, 8 << 20), DiskModel(11)
    disk.lose_write_at = next(request.offset for request in trace.requests
                              if request.action is WRITE)

    async def main():
        await replay(world, disk, trace, model)
        await verify(disk, model)

    with pytest.raises(WrongData, match="may hold write"):
        world.run(main())


def test_lost_flush_is_found_after_a_power_cut(world):
    disk, model = StandInDisk(world), DiskModel(11)
    trace = parse_fio("fio version 3 iolog\n0 f add\n0 f write 0 512\n100 f sync\n")
    world.run(replay(world, disk, trace, model))
    disk.durable[:] = bytes(disk.size)
    disk.power_cut()
    with pytest.raises(WrongData, match="sector 0 holds zeroes, may hold write 1"):
        world.run(verify(disk, model, after_power_cut=True))


def test_failed_requests_are_raised_or_counted(world):
    trace = parse_fio("fio version 3 iolog\n0 f add\n0 f write 512 512\n1 f write 1024 512\n")
    disk = StandInDisk(world)
    disk.fail_at = 512
    with pytest.raises(GuestIoError):
        world.run(replay(world, disk, trace))
    result = world.run(replay(world, disk, trace, failures_allowed=True))
    assert (result.writes, result.failed) == (1, 1)


def test_trace_must_fit_the_disk(world):
    with pytest.raises(TraceError, match="reaches byte .*, the disk has 4096"):
        world.run(replay(world, StandInDisk(world, 4096), TRACES / "randrw.iolog"))
