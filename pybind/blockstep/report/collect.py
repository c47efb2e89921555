# SPDX-License-Identifier: Apache-2.0
"""collect: the recording of a world that ran with record_trace."""
import _blockstep

from blockstep.report.recording import Command, Event, Graph, Note, Recording, Trace


def collect(world) -> Recording:
    """What the world did so far. It must still be open. How the run ended is for others to say."""
    recording = Recording(
        seed=world.seed, simulated_ns=world.now_ns,
        trace=Trace(**_blockstep.trace_of(world)), notes=list(world.notes),
        faults=[*world.faults, *(Note(at_ns, position, site) for at_ns, position, _step, site,
                                 _answer in world.faults_injected)])
    for number, vm in enumerate(world.vms):
        record = _blockstep.record_of(vm)
        recording.commands += [Command(**one, vm=number) for one in record["commands"]]
        recording.events += [Event(**one, vm=number) for one in record["events"]]
        recording.graphs += [Graph(**one, vm=number) for one in record["graphs"]]
    for things in (recording.commands, recording.events, recording.graphs, recording.faults):
        things.sort(key=lambda thing: (thing.at_ns, thing.position))
    return recording
