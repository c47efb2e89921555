# SPDX-License-Identifier: Apache-2.0
"""The data of a report in few bytes: columns of small differences, deflated, as base64.

    4 bytes length of the JSON text, little endian | JSON text | columns, one after the other

A column is one variable-length number (7 bits a byte, the lowest first) per row. Columns, in order:
    time      nanoseconds since the row before
    kind      index into `kinds`, each [label, subject or null, thread or null]: a step has a thread
    fiber     difference to the row before, zigzag (0, -1, 1, -2 ... are 0, 1, 2, 3)
    a_low     low 32 bits of a: difference to the row of this kind before, modulo 2^32, zigzag
    a_high    high 32 bits
    b_low, b_high    the same for b
A 64-bit number is split because JavaScript's own end at 53 bits.
"""
import base64
import json
import struct
import zlib

from blockstep.report.recording import Trace

MASK = 0xffffffff


def varints(values) -> bytes:
    out = bytearray()
    for value in values:
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    return value << 1 if value >= 0 else -value * 2 - 1


def zigzag32(value: int) -> int:
    """Of a difference modulo 2^32."""
    value &= MASK
    return zigzag(value - (MASK + 1) if value > MASK >> 1 else value)


def rows(trace: Trace):
    """Events and steps in order: (at_ns, (label, subject, thread), fiber, a, b)."""
    steps = iter(trace.steps)
    step = next(steps, None)
    for i in range(len(trace) + 1):
        while step is not None and (step[1] <= i or i == len(trace)):
            yield step[0], (step[3], None, step[4]), step[2], 0, 0
            step = next(steps, None)
        if i < len(trace):
            yield (trace.at_ns[i], (trace.label[i], trace.subject[i] or None, None),
                   trace.fiber[i], trace.a[i], trace.b[i])


def pack_rows(trace: Trace) -> tuple[list, int, bytes]:
    """Kinds, the number of rows, and the columns."""
    kinds: dict[tuple, int] = {}
    columns = [[] for _ in range(7)]
    time, kind, fiber, a_low, a_high, b_low, b_high = columns
    last_at = last_fiber = 0
    last_a: list[int] = []
    last_b: list[int] = []
    for at, key, number, a, b in rows(trace):
        index = kinds.setdefault(key, len(kinds))
        if index == len(last_a):
            last_a.append(0)
            last_b.append(0)
        time.append(max(at - last_at, 0))
        last_at = max(at, last_at)
        kind.append(index)
        fiber.append(zigzag(number - last_fiber))
        last_fiber = number
        a_low.append(zigzag32(a - last_a[index]))
        a_high.append(a >> 32 & MASK)
        b_low.append(zigzag32(b - last_b[index]))
        b_high.append(b >> 32 & MASK)
        last_a[index], last_b[index] = a, b
    return ([list(key) for key in kinds], len(time),
            b"".join(varints(column) for column in columns))


def pack(data: dict, trace: Trace) -> str:
    """Base64 of everything."""
    kinds, count, columns = pack_rows(trace)
    text = json.dumps(data | {"names": trace.names, "threads": trace.threads, "kinds": kinds,
                              "rows": count}, separators=(",", ":")).encode()
    return base64.b64encode(
        zlib.compress(struct.pack("<I", len(text)) + text + columns, 9)).decode()
