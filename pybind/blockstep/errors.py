# SPDX-License-Identifier: Apache-2.0
"""What a scenario can be told went wrong."""
import dataclasses
import errno
import os
import pathlib
import traceback


class BlockstepError(Exception):
    """Base of everything that the simulated world reports."""


def told(error: BaseException) -> str:
    """The exception with its traceback, without the frames of this package that only drive the
    scenario, nor those below it when the package says what is wrong in words of its own."""
    here = pathlib.Path(__file__).parent
    frames = list(traceback.walk_tb(error.__traceback__))
    ours = [here in pathlib.Path(frame.f_code.co_filename).parents for frame, _line in frames]
    first, end = 0, len(frames)
    if not all(ours):
        first = ours.index(False)
        if isinstance(error, BlockstepError):
            end -= ours[::-1].index(False)
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(shown.stack[first:end])
    return "".join(shown.format())


class QmpError(BlockstepError):
    """A refused QMP command: `cls` is QAPI's error class, `desc` the sentence."""

    def __init__(self, cls: str, desc: str):
        super().__init__(desc)
        self.cls = cls
        self.desc = desc


@dataclasses.dataclass(frozen=True)
class Party:
    """One end of a permission conflict: who, and through which edge."""

    description: str
    edge: str


class PermissionRefused(QmpError):
    """A command was refused because two users of a node do not get along.
    Where it is the graph around the node that is withheld, graph_mod says from which operation.

    node: its node-name. permissions: QAPI names of what clashes. requires: who needs them.
    unshares: who does not let others have them. `reason` says it in a sentence; the text is the
    reference's.
    """

    def __init__(self, cls: str, desc: str, node: str, permissions: tuple[str, ...],
                 requires: Party, unshares: Party, graph_mod: str = ""):
        super().__init__(cls, desc)
        self.node = node
        self.permissions = permissions
        self.requires = requires
        self.unshares = unshares
        self.graph_mod = graph_mod

    @property
    def reason(self) -> str:
        """Who needs what, and who stands in the way through which edge."""
        if self.graph_mod:
            return (f"{self.graph_mod} of node '{self.node}' is withheld by "
                    f"{self.unshares.description}")
        return refusal_reason(self.node, self.permissions, self.requires, self.unshares)


def refusal_reason(node: str, permissions, requires: Party, unshares: Party) -> str:
    """A permission conflict in a sentence."""
    return (f"{requires.description} (edge '{requires.edge}') needs {', '.join(permissions)} on "
            f"node '{node}'; {unshares.description} (edge '{unshares.edge}') does not share "
            + ("it" if len(permissions) == 1 else "them"))


async def refused(awaitable) -> PermissionRefused:
    """Awaits what must be refused by a permission, and gives the refusal.

    Raises AssertionError if it is allowed, and what else it raises.
    """
    try:
        await awaitable
    except PermissionRefused as refusal:
        return refusal
    raise AssertionError("no permission stood in the way of what must be refused")


class GuestIoError(BlockstepError):
    """A guest's request failed; `errno` is what its driver made of the device's status."""

    def __init__(self, number: int):
        super().__init__(f"{errno.errorcode.get(number, number)}: {os.strerror(number)}")
        self.errno = number


class HostError(BlockstepError):
    """An operation on a host store failed; `errno` is the host's."""

    def __init__(self, number: int, path: str):
        super().__init__(f"{path}: {os.strerror(number)}")
        self.errno = number
        self.path = path


class Deadlock(BlockstepError):
    """Nothing can run and no date is due, but somebody waits; the text says who for whom."""


class EventLimit(BlockstepError):
    """More events than the world's event_limit."""


class AssertionFailure(BlockstepError):
    """An invariant of the simulation is broken; the text ends with the last events."""


class PlatformError(BlockstepError):
    """A platform that makes no sense, or a second timed world in one process."""


class Timeout(BlockstepError):
    """Simulated time ran out for what was awaited."""


class Cancelled(BaseException):
    """Raised inside a task that was cancelled."""


class WrongData(BlockstepError):
    """A guest read what it never wrote, or lost what it was promised."""


class TraceError(BlockstepError):
    """A recorded trace cannot be understood; names file and line."""
