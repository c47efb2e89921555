# SPDX-License-Identifier: Apache-2.0
"""Writes the type stubs of _blockstep from the signatures and docstrings that it carries.

    python3 -m blockstep.stubs > pybind/_blockstep.pyi

A test fails when the file in the checkout is not what this prints.
"""
import inspect
import re
import textwrap

import _blockstep

HEAD = '''# SPDX-License-Identifier: Apache-2.0
"""{doc}

Made by blockstep/stubs.py; do not edit.
"""
import typing

'''
# pybind11's words for Python's types.
TYPES = {"buffer": "bytes | bytearray | memoryview", "function": "typing.Callable",
         "Iterable": "typing.Iterable", "handle": "object", "str_": "str", "capsule": "object"}
SKIPPED = {"__doc__", "__module__", "__new__", "__qualname__", "__dict__", "__weakref__"}


def signature(doc: str, name: str) -> tuple[str, str]:
    """The parameters and result, and the rest of a docstring made by pybind11."""
    first, _, rest = doc.partition("\n")
    text = first.removeprefix(name)
    text = re.sub(r"_blockstep\.(\w+)", r"\1", text)
    text = re.sub(r"(self|arg0): \w+", "self", text, count=1)
    text = text.replace("-> object", "-> typing.Any")
    text = re.sub(r"\b(List|Tuple|Dict|Optional|Union)\[", r"typing.\1[", text)
    for word, replacement in TYPES.items():
        text = re.sub(rf"(?<=: |> ){word}\b", replacement, text)
    return text, rest.strip()


def docstring(doc: str, indent: str) -> str:
    lines = [textwrap.fill(paragraph, 94 - len(indent)) for paragraph in doc.split("\n\n")]
    text = "\n\n".join(lines).replace("\n", "\n" + indent).replace("\n" + indent + "\n", "\n\n")
    return f'{indent}"""{text}"""'


def function(name: str, doc: str, indent: str) -> list[str]:
    head, rest = signature(doc, name)
    line = f"{indent}def {name}{head}:"
    if len(line) > 98:  # broken after commas only
        line = line.replace(", ", ",~").replace(" ", "^").replace("~", " ")
        line = textwrap.fill(line, 98, break_long_words=False, break_on_hyphens=False,
                             subsequent_indent=indent + "^" * 8).replace("^", " ")
    return [line, docstring(rest, indent + "    ")] if rest else [line + " ..."]


def members(cls: type) -> list[str]:
    lines = []
    for name, member in sorted(vars(cls).items()):
        if name in SKIPPED or (name.startswith("__") and name != "__init__"):
            continue
        if isinstance(member, property):
            head, _ = signature(member.fget.__doc__ or "(self) -> object", "")
            lines += ["    @property", f"    def {name}{head}:" if member.__doc__ else
                      f"    def {name}{head}: ..."]
            if member.__doc__:
                lines.append(docstring(member.__doc__, "        "))
        elif not (member.__doc__ or "").startswith("Initialize self."):  # has a constructor
            lines += function(name, member.__doc__, "    ")
    return lines


def in_order(classes: list[type]) -> list[type]:
    """Bases before what derives from them, otherwise by name."""
    return sorted(classes, key=lambda cls: (len(cls.__mro__), cls.__name__))


def stubs() -> str:
    classes = [value for value in vars(_blockstep).values() if inspect.isclass(value)]
    lines = [HEAD.format(doc=_blockstep.__doc__)]
    for cls in in_order(classes):
        bases = [base.__name__ for base in cls.__bases__ if base.__module__ == "_blockstep"]
        lines.append(f"class {cls.__name__}{'(' + ', '.join(bases) + ')' if bases else ''}:")
        lines.append(docstring(cls.__doc__ or "", "    "))
        if _awaitable(cls) and not bases:
            lines.append("    def __await__(self) -> typing.Generator[typing.Any, None, "
                         "typing.Any]: ...")
        lines += [*members(cls), "\n"]
    for name, value in sorted(vars(_blockstep).items()):
        if inspect.isbuiltin(value):
            lines += [*function(name, value.__doc__, ""), ""]
    return "\n".join(lines).replace("\n\n\n\n", "\n\n\n").rstrip() + "\n"


def _awaitable(cls: type) -> bool:
    return hasattr(cls, "__await__")


if __name__ == "__main__":
    print(stubs(), end="")
