# SPDX-License-Identifier: Apache-2.0
"""Print what is built: drivers, devices, jobs, QMP commands. --write makes docs/supported.md.

The table is made from what registered itself, and a test compares it with the page.
"""
from blockstep.commands import source_dir

PAGE = "docs/supported.md"
HEAD = """# What is supported

Made by `./blockstep supported --write` from what registers itself; do not edit.
Names are the reference's (QEMU 7.2). What is not here is refused as an unknown name.
"""
# A job is started by its command; the verbs are commands like others.
JOBS = {"block-commit": "commit", "block-stream": "stream", "blockdev-backup": "backup",
        "blockdev-create": "create", "blockdev-mirror": "mirror", "x-blockdev-amend": "amend"}


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
                     for line in lines) + "\n"


def listed(names: list[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def page() -> str:
    import _blockstep
    built = _blockstep.registered()
    drivers = [[f"`{one['name']}`", one["kind"], "yes" if one["creates"] else "",
                "yes" if one["backing"] else "", listed(one["options"]), one["source"]]
               for one in built["drivers"]]
    devices = [[f"`{one['name']}`", one["bus"], listed(one["properties"]), one["source"]]
               for one in built["devices"]]
    commands = [[f"`{one['name']}`", one["source"]] for one in built["commands"]]
    jobs = [[JOBS[one["name"]], f"`{one['name']}`"] for one in built["commands"]
            if one["name"] in JOBS]
    return "\n".join([
        HEAD,
        "## Block drivers\n",
        table(["driver", "kind", "makes images", "backing", "options", "source"], drivers),
        "## Devices\n",
        table(["device", "bus", "properties", "source"], devices),
        "## Jobs\n",
        table(["job", "started by"], jobs),
        "## QMP commands\n",
        table(["command", "source"], commands)])


def add_arguments(parser) -> None:
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")


def run(args) -> int:
    if args.write:
        (source_dir() / PAGE).write_text(page())
    else:
        print(page(), end="")
    return 0
