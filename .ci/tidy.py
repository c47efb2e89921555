# SPDX-License-Identifier: Apache-2.0
"""Source rules that no compiler checks. Prints `path:line: rule: what is wrong, what to do`.

    python3 .ci/tidy.py [FILE...]     all files git knows of (or would add), unless some are named

A rule is a function that takes a Source and yields (line number, message); @rule puts it in the
list. Comments and strings are blanked before code is searched. Exceptions live in ALLOWED, with
the reason, so that all of them can be read in one place.
"""
import dataclasses
import fnmatch
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]

# rule: {path pattern: why it may}
ALLOWED = {
    "clock": {
        "sim/wall_clock.cpp": "the paced clock follows real time",
        "sim/wall_clock.hpp": "the paced clock follows real time",
        "sim/testing/bench.hpp": "measures CPU time of the program itself",
        "sim/*posix_store*": "timestamps of real files",
    },
    "leftovers": {".ci/*": "the rule and its tests name them"},
    "pointer_order": {
        "sim/resources.cpp": "a set of SimGrid's own type, asked only if it is empty",
    },
    "skipped": {".ci/*": "the rule and its tests name them"},
}

# Which top folders a top folder may include from. Tests obey it too.
ARROWS = {
    "sim": {"sim"},
    "blocklayer": {"sim", "blocklayer"},
    "hwmodels": {"sim", "blocklayer", "hwmodels"},
    "pybind": {"sim", "blocklayer", "hwmodels", "pybind"},
    "iotests": {"sim", "blocklayer", "hwmodels", "iotests"},
}

# Inside blocklayer, what each folder must not know. Tests may: they build whole graphs.
HIDDEN = {
    "permissions": {"graph", "requests", "drivers", "backend", "jobs", "exports", "monitor"},
    "graph": {"drivers", "jobs", "exports", "monitor"},
    "requests": {"drivers", "jobs", "exports", "monitor"},
    "drivers": {"jobs", "exports", "monitor"},
    "backend": {"jobs", "exports", "monitor"},
    "jobs": {"exports", "monitor"},
    "exports": {"monitor"},
}

# The face that drivers show to the folders below them.
BASES = {"blocklayer/drivers/driver.hpp"}

# Heavy headers and the only files that may include them.
HOMES = {
    "simgrid/": ("sim/*.cpp",),
    "boost/context/": ("sim/fiber.cpp",),
    "boost/": ("sim/fiber.cpp", "sim/few.hpp"),
    "nlohmann/json.hpp": (
        "blocklayer/monitor/json.cpp", "blocklayer/monitor/arguments.cpp",
        "blocklayer/monitor/schema.cpp", "blocklayer/monitor/events.cpp"),
    "pybind11/": ("pybind/*",),
    "catch2/": ("sim/testing/catch.hpp",),
}

LINES_MAX = 800
COLUMNS_MAX = 100
CODE = (".cpp", ".hpp")
COMMENTED = (".cpp", ".hpp", ".py", ".pyi", ".sh")  # files that carry the SPDX line

RULES = []


@dataclasses.dataclass
class Source:
    path: str               # from the top of the checkout, with /
    text: str
    header: str = ""        # for x.cpp, the text of x.hpp beside it

    def __post_init__(self):
        self.lines = self.text.splitlines()
        self.suffix = pathlib.PurePosixPath(self.path).suffix
        self.is_code = self.suffix in CODE
        self.is_test = self.path.endswith("_test.cpp") or "/testing/" in self.path
        self.code = blank(self.text).splitlines() if self.is_code else self.lines

    def includes(self):
        for number, line in enumerate(self.lines, 1):
            if match := re.match(r'\s*#\s*include\s*[<"]([^">]+)[">]', line):
                yield number, match[1]

    def search(self, pattern):
        regex = re.compile(pattern)
        for number, line in enumerate(self.code, 1):
            if match := regex.search(line):
                yield number, match


def blank(text: str) -> str:
    """C++ with comments and strings replaced by spaces; lines stay where they are."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.DOTALL)

    def hide(match):
        return re.sub(r"[^\n]", " ", match[0])

    return token.sub(hide, text)


def rule(function):
    RULES.append(function)
    return function


@rule
def spdx(source):
    if source.suffix not in COMMENTED and source.path != "blockstep":
        return
    mark = "//" if source.is_code else "#"
    expected = f"{mark} SPDX-License-Identifier: Apache-2.0"
    first = 1 if source.lines[:1] and source.lines[0].startswith("#!") else 0
    if source.lines[first:first + 1] != [expected]:
        yield first + 1, f"start with '{expected}'"


@rule
def length(source):
    if source.suffix in COMMENTED and len(source.lines) > LINES_MAX:
        yield len(source.lines), f"over {LINES_MAX} lines: split by concept"


@rule
def width(source):
    if source.suffix not in COMMENTED:
        return
    for number, line in enumerate(source.lines, 1):
        if len(line) > COLUMNS_MAX:
            yield number, f"over {COLUMNS_MAX} columns: break the line"


@rule
def leftovers(source):
    if source.suffix not in COMMENTED:
        return
    for number, line in enumerate(source.lines, 1):
        if match := re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
            yield number, f"{match[0]}: finish it or file an issue"


@rule
def arrows(source):
    folder = source.path.split("/")[0]
    if not source.is_code or folder not in ARROWS:
        return
    for number, name in source.includes():
        target = name.split("/")[0]
        if target in ARROWS and target not in ARROWS[folder]:
            yield number, f"{folder} must not know {target}: move what is needed down"
        if "/testing/" in name and not source.is_test and not source.path.endswith("_bench.cpp"):
            yield number, f"{name} is for tests only"


@rule
def blocklayer_arrows(source):
    parts = source.path.split("/")
    if not source.is_code or source.is_test or parts[0] != "blocklayer" or len(parts) < 3:
        return
    for number, name in source.includes():
        target = name.split("/")
        if name in BASES:
            continue
        if target[0] == "blocklayer" and len(target) > 2 and target[1] in HIDDEN.get(parts[1], ()):
            yield number, f"blocklayer/{parts[1]} must not know {target[1]}: use an interface below"


@rule
def homes(source):
    if not source.is_code:
        return
    for number, name in source.includes():
        for header, files in HOMES.items():
            if name.startswith(header):
                if not any(fnmatch.fnmatch(source.path, pattern) for pattern in files):
                    yield number, f"<{name}> belongs to {', '.join(files)}"
                break


@rule
def header_guard(source):
    if source.suffix == ".hpp" and "#pragma once" not in source.lines:
        yield 1, "a header needs '#pragma once'"


@rule
def clock(source):
    if source.is_code:
        pattern = (r"\b(system_clock|steady_clock|high_resolution_clock|gettimeofday|clock_gettime"
                   r"|this_thread|nanosleep|usleep)\b|\bstd::time\s*\("
                   r"|(?<![\w.:>])time\s*\(\s*(nullptr|NULL|0)")
        for number, match in source.search(pattern):
            yield number, f"{match[0]}: a world has only simulated time, use sim::World's clock"


@rule
def random(source):
    if source.is_code:
        pattern = (r"\b(random_device|mt19937(_64)?|s?rand48|arc4random|getrandom)\b"
                   r"|\bstd::s?rand\b|(?<![\w.:>])s?rand\s*\(")
        for number, match in source.search(pattern):
            yield number, f"{match[0]}: use a named stream of the world's rng"


@rule
def thread(source):
    if source.is_code:
        pattern = (r"\bstd::(j?thread|mutex|shared_mutex|condition_variable|async|future|promise"
                   r"|atomic)\b|\bthread_local\b|\bpthread_create\b")
        for number, match in source.search(pattern):
            yield number, f"{match[0]}: one OS thread only, use fibers and sim/sync.hpp"


@rule
def unordered(source):
    """Names declared as unordered containers (here or in the header) must not be walked."""
    if not source.is_code:
        return
    declared = set()
    for text in (source.text, source.header):
        declared |= set(re.findall(
            r"\bunordered_(?:multi)?(?:map|set)\s*<[^;{}()]*>\s*&?\s*(\w+)\s*[;={,)]", blank(text)))
    if not declared:
        return
    names = "|".join(sorted(declared))
    walks = rf"\bfor\s*\([^;]*:\s*(?:\w+(?:\.|->))*({names})\s*\)|\b({names})\.c?begin\s*\("
    for number, match in source.search(walks):
        yield number, f"{match[1] or match[2]} has no order: keep a std::map or a vector to walk"


@rule
def pointer_order(source):
    if source.is_code:
        pattern = (r"\bstd::(multi)?(map|set)\s*<\s*(const\s+)?[\w:]+\s*\*\s*[,>]"
                   r"|\bstd::less\s*<\s*(const\s+)?[\w:]+\s*\*\s*>")
        for number, match in source.search(pattern):
            yield number, f"{match[0]}: addresses differ between runs, order by id or name"


@rule
def kept_co(source):
    """The right to suspend ends with the call it was given to."""
    if not source.is_code or source.path.startswith("sim/"):
        return
    for number, _match in source.search(r"\[[^\]\n]*&\s*co\b[^\]\n]*\]\s*(\(|\{|mutable)"):
        yield number, "a lambda must not capture Co&: give it a Co& parameter"
    for number, _match in source.search(r"^\s*(sim::)?Co\s*[&*]\s*\w+_\s*(;|=|\{)"):
        yield number, "Co& must not be a member: pass it"


@rule
def skipped(source):
    pattern = (r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b"
               r"|\[!mayfail\]|\[!shouldfail\]|\[\.\w*\]")
    if source.suffix == ".py" or source.path.endswith("_test.cpp"):
        for number, line in enumerate(source.lines, 1):
            if match := re.search(pattern, line):
                yield number, f"{match[0]}: a test runs or is deleted"


def check(source: Source) -> list[str]:
    """All complaints about one file, as printed."""
    found = []
    for function in RULES:
        allowed = ALLOWED.get(function.__name__, {})
        if any(fnmatch.fnmatch(source.path, pattern) for pattern in allowed):
            continue
        name = function.__name__.replace("_", "-")
        found += [(number, f"{source.path}:{number}: {name}: {message}")
                  for number, message in function(source)]
    return [line for _number, line in sorted(found)]


def load(path: str) -> Source | None:
    """The file, or None if it is not text."""
    file = TOP / path
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    header = file.with_suffix(".hpp")
    return Source(path, text,
                  header.read_text() if file.suffix == ".cpp" and header.exists() else "")


def project_files() -> list[str]:
    """Every file of the checkout that is not ignored; without git, every file outside build/."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        names = listed.stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(file.relative_to(TOP)) for file in TOP.rglob("*")
                 if not {"build", ".git", "__pycache__"} & set(file.relative_to(TOP).parts)]
    return sorted(name for name in names if name and (TOP / name).is_file())


def main(names: list[str]) -> int:
    complaints = []
    paths = [str(pathlib.Path(name).resolve().relative_to(TOP)) for name in names]
    for path in paths or project_files():
        source = load(path)
        if source is not None:
            complaints += check(source)
    for complaint in complaints:
        print(complaint)
    print(f"tidy: {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
