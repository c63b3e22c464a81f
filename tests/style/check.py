#!/usr/bin/env python3
"""Checks what the compiler does not: check.py RULE [FOLDER].

Prints each violation as file:line: text. The rules are the functions at the end of this file. Two
of them, layers and docs, read docs/architecture.md, so that the page cannot drift from the code.
"""

import fnmatch
import pathlib
import re
import subprocess
import sys

TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "configs", "docs",
             "include", "kernels", "src", "tests", "tools"}
CODE = {".h", ".cpp", ".cu", ".cuh"}
SCRIPTS = {".sh", ".cmake", ".py"}
BANNED = {"torch/torch.h", "torch/types.h", "torch/nn.h", "torch/all.h", "ATen/ATen.h"}
MAX_COLUMNS = 100
MAX_FILE_LINES = 500
WALL_CLOCK = re.compile(r"\b(system_clock|file_clock|last_write_time|gettimeofday|CLOCK_REALTIME"
                        r"|time\s*\(\s*(?:nullptr|NULL|0|&\w+)\s*\))")
WALL_CLOCK_READERS = {"src/train/run_log.cpp", "src/train/event_file.cpp"}  # stamps for people
MAX_FUNCTION_LINES = {".cpp": 80, ".h": 80, ".cu": 120, ".cuh": 120}


class Tree:
    """The files of one project: what git tracks or would track; all visible files without git."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        git = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others",
               "--exclude-standard"]
        if (self.root / ".git").exists():
            listing = subprocess.run(git, capture_output=True, text=True, check=True).stdout
            names = [name for name in listing.split("\0") if name]
        else:
            names = [str(path.relative_to(root)) for path in self.root.rglob("*") if path.is_file()]
            names = [name for name in names if not re.match(r"build|runs/", name)]
        self.names = sorted(name for name in set(names) if (self.root / name).is_file())

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def matching(self, suffixes):
        return [n for n in self.names if pathlib.Path(n).suffix in suffixes or
                ("CMakeLists.txt" in n and ".cmake" in suffixes)]


def section(page, title):
    """The text below the heading `title` up to the next heading of any level."""
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", page, re.M | re.S)
    if not match:
        raise SystemExit(f"docs/architecture.md: no section '{title}'")
    return match.group(1)


def table(text):
    """The rows of a Markdown table, each a list of cells, each a list of its `code` words."""
    rows = []
    for line in text.splitlines():
        if line.startswith("|") and not re.match(r"\|[\s|:-]+\|$", line):
            rows.append([re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")])
    return rows


def layer_of_modules(page):
    layers = {}
    for line in section(page, "Layers").splitlines():
        row = re.match(r"\| *(\d+) *\|([^|]*)\|", line)
        if row:
            for module in re.findall(r"`(\w+)`", row.group(2)):
                layers[module] = int(row.group(1))
    return layers


def module_of(name):
    parts = name.split("/")
    if parts[0] == "kernels":
        return "kernels"
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ["include", "praxino"] and len(parts) > 3:
        return parts[2]
    return None


def included_module(header):
    """(module, is it internal) of a header of ours."""
    parts = header.split("/")
    if parts[0] == "praxino" and len(parts) > 2:
        return parts[1], False
    if parts[0] == "kernels":
        return "kernels", False
    return parts[0], True


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1), match.group(2)


def door_allows(places, name):
    for place in places:
        if module_of(name) == place or fnmatch.fnmatch(name, place):
            return True
    return False


def foreign_violation(name, header, doors):
    """What is wrong with <header> in file `name`, or None."""
    if re.fullmatch(r"[a-z_0-9]+", header):
        return None  # the C++ standard library
    known = False
    for patterns, places in doors:
        if any(fnmatch.fnmatch(header, pattern) for pattern in patterns):
            known = True
            if not door_allows(places, name):
                return f"<{header}> belongs behind its door ({', '.join(places)})"
    return None if known else f"<{header}> is in no row of the table 'One door for each dependency'"


def blank_literals(text):
    """The C++ text with comments and literals blanked out; line breaks stay."""
    pattern = re.compile(r'R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"'
                         r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def blocks(text):
    """Every { } in C++: (its head: the text in front of it, first and last line, outer heads)."""
    text = blank_literals(text)
    directive = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
    text = directive.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
    stack = []  # (head, where it begins)
    start = 0   # where the text in front of the next brace begins
    for match in re.finditer(r"[{};]", text):
        if match.group() == "{":
            stack.append((text[start:match.start()], start))
        elif match.group() == "}" and stack:
            head, before = stack.pop()
            if re.match(r"\s*[,{]", text[match.end():]):
                start = before  # a member initialiser, a_{a}: the signature goes on
                continue
            first = text.count("\n", 0, before + len(head) - len(head.lstrip())) + 1
            last = text.count("\n", 0, match.start()) + 1
            yield head.strip(), first, last, [outer.strip() for outer, _ in stack]
        start = match.end()


def is_function(head):
    names_a_type = re.match(r"(?:namespace|class|struct|enum|union)\b", head)
    return "(" in head and not names_a_type and "= " not in head.split("(")[0]


def functions(text):
    """(first line, number of lines) of every function body at namespace or class level."""
    for head, first, last, enclosing in blocks(text):
        if is_function(head) and not any(is_function(outer) for outer in enclosing):
            yield first, last - first + 1


def types_with_linkage(text):
    """(line, qualified name) of every type defined in a namespace that other files can reach."""
    definition = re.compile(r"(?:template ?<.*> *)?(?:class|struct|union|enum(?: class)?) "
                            r"(?:alignas\(\w+\) )?(\w+)(?![\w:<])", re.S)
    for head, first, _, enclosing in blocks(text):
        spaces = [re.fullmatch(r"(?:inline )?namespace ?([\w:]*)", outer) for outer in enclosing]
        match = definition.match(head)
        if match and all(space and space.group(1) for space in spaces):
            yield first, "::".join([space.group(1) for space in spaces] + [match.group(1)])


# The rules. Each yields (file, line, text).

def rule_layers(tree):
    """A module sees lower layers, its own internals, and foreign headers behind its own door."""
    page = tree.text("docs/architecture.md")
    layers = layer_of_modules(page)
    doors = [(row[1], row[2]) for row in table(section(page, "One door for each dependency"))
             if len(row) > 2 and row[1]]
    for name in tree.matching(CODE):
        own = module_of(name)
        for number, kind, header in includes(tree.text(name)):
            if header in BANNED:
                yield name, number, f"{header} is banned: include the exact headers"
            if own is None:
                continue
            if own not in layers:
                yield name, number, f"module '{own}' is not in the table of layers"
                break
            if kind == '"' and "/" not in header:
                if not (tree.root / name).with_name(header).exists():
                    yield name, number, f"{header} is not in this folder"
                continue
            target = included_module(header) if kind == '"' else None
            if target is None:
                text = foreign_violation(name, header, doors)
                if text:
                    yield name, number, text
                continue
            module, internal = target
            if module not in layers:
                yield name, number, f"module '{module}' is not in the table of layers"
            elif module != own and internal:
                yield name, number, f"{header} is internal to {module}"
            elif module != own and layers[module] >= layers[own]:
                levels = f"{own} (layer {layers[own]}) must not see {module} ({layers[module]})"
                yield name, number, levels


def reachable(tree, names):
    """The files of the project that `names` include, directly or by way of others."""
    reached, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        for _, kind, header in includes(tree.text(name)):
            for folder in ("include/", "src/", "tests/", "") if kind == '"' else ():
                if folder + header in tree.names and folder + header not in reached:
                    reached.add(folder + header)
                    waiting.append(folder + header)
    return reached


def rule_names(tree):
    """A source fulfils a header, a test has a subject, a public header with a source is tested.

    A source shares its header's name, begins with it (sidecar_csv.cpp), or includes the header of
    its module whose contract it fulfils.
    """
    public = {n[len("include/praxino/"):-2] for n in tree.names if n.startswith("include/praxino/")}
    internal = {n[len("src/"):-2] for n in tree.names if n.startswith("src/") and n.endswith(".h")}
    kernel = {n[:-2] for n in tree.names if n.startswith("kernels/") and n.endswith(".h")}
    sources = {n[len("src/"):-4] for n in tree.names if n.startswith("src/") and n.endswith(".cpp")}
    tests = [n for n in tree.names if re.match(r"tests/.*_test\.cpp$", n)]

    def begins_with_one_of(stem, subjects):
        return any(stem == s or stem.startswith(s + "_") for s in subjects)

    def sees_its_module(name):
        own = name.split("/")[1]
        headers = [header.removeprefix("praxino/") for _, kind, header in includes(tree.text(name))
                   if kind == '"']
        return any("/" not in header or header.split("/")[0] == own for header in headers)

    for stem in sorted(sources):
        name = f"src/{stem}.cpp"
        if not begins_with_one_of(stem, public | internal) and not sees_its_module(name):
            yield name, 1, "includes no header of its module"
    modules = {stem.split("/")[0] for stem in public | internal | kernel}
    reached = reachable(tree, tests)
    for name in tests:
        stem = name[len("tests/"):-len("_test.cpp")]
        named = begins_with_one_of(stem, public | internal | sources)
        if name.split("/")[1] in modules and not named and not sees_its_module(name):
            yield name, 1, "neither named after nor including anything of its module"
    for stem in sorted(public & sources):
        if f"include/praxino/{stem}.h" not in reached:
            yield f"include/praxino/{stem}.h", 1, "no test includes it, not even by way of another"


def rule_types(tree):
    """A type name is defined once: the linker would merge the members of two that share a name."""
    seen = {}
    for name in tree.matching(CODE):
        if module_of(name):
            for line, qualified in types_with_linkage(tree.text(name)):
                if qualified in seen:
                    yield name, line, f"{qualified} is also defined in {seen[qualified]}"
                seen[qualified] = name


def quoted_by_here_documents(lines):
    """The numbers of a shell script's lines that are data: text in <<MARK ... MARK."""
    mark = None
    for number, line in enumerate(lines, 1):
        if mark is None:
            match = re.search(r"<<-?\s*['\"]?(\w+)", line)
            mark = match.group(1) if match and "<<<" not in line else None
        elif line.strip() == mark:
            mark = None
        else:
            yield number


def rule_limits(tree):
    """Columns, tabs, lines of a file and of a function, leftovers, #pragma once."""
    for name in tree.matching(CODE | SCRIPTS):
        text = tree.text(name)
        lines = text.splitlines()
        suffix = pathlib.Path(name).suffix
        data = set(quoted_by_here_documents(lines)) if suffix == ".sh" else set()
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS and number not in data:
                yield name, number, f"{len(line)} columns, {MAX_COLUMNS} allowed"
            if "\t" in line:
                yield name, number, "a tab"
            if line != line.rstrip():
                yield name, number, "blanks at the end"
            if re.search(r"\b(TODO|FIXME|XXX)\b", line) and not name.startswith("tests/style/"):
                yield name, number, "finish it or leave it out"
        if not text:
            yield name, 1, "an empty file"
        elif not text.endswith("\n"):
            yield name, len(lines), "no line break at the end"
        if len(lines) > MAX_FILE_LINES:
            yield name, 1, f"{len(lines)} lines, {MAX_FILE_LINES} allowed"
        if suffix in {".h", ".cuh"} and not text.startswith("#pragma once\n"):
            yield name, 1, "a header begins with #pragma once"
        limit = MAX_FUNCTION_LINES.get(suffix)
        for line, length in functions(text) if limit else ():
            if length > limit:
                yield name, line, f"a function of {length} lines, {limit} allowed"


def rule_clocks(tree):
    """Nothing is decided by a clock that can be set back or forward: limits, order and age of
    files. What is written for people may name the time of day."""
    for name in tree.matching(CODE):
        if module_of(name) and name not in WALL_CLOCK_READERS:
            for number, line in enumerate(tree.text(name).splitlines(), 1):
                found = WALL_CLOCK.search(line)
                if found:
                    yield name, number, f"{found.group(1)}: use the steady clock, or a number"


def rule_tree(tree):
    """The top level holds these folders and files and no others, dotfiles aside."""
    for top in sorted({name.split("/")[0] for name in tree.names}):
        if not top.startswith(".") and top not in TOP_LEVEL:
            yield top, 1, "the top level is fixed: " + " ".join(sorted(TOP_LEVEL))


def rule_docs(tree):
    """Every file that the documentation names exists; from command to kernel it is six at most."""
    mention = re.compile(r"`((?:src|include|kernels|tests|tools|docs|configs)/[\w./-]+)`")
    for name in [n for n in tree.names if n.startswith("docs/") and n.endswith(".md")]:
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            for path in mention.findall(line):
                if not (tree.root / path).exists():
                    yield name, number, f"{path} does not exist"
    page = "docs/architecture.md"
    steps = re.findall(r"^\d+\. `[^`]+`", section(tree.text(page), "From command to kernel"), re.M)
    if not 1 <= len(steps) <= 6:
        yield page, 1, f"'From command to kernel' names {len(steps)} files, not 1 to 6"


RULES = {rule.__name__[len("rule_"):]: rule for rule in
         (rule_layers, rule_names, rule_types, rule_limits, rule_clocks, rule_tree, rule_docs)}


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in RULES:
        raise SystemExit(f"usage: check.py {'|'.join(RULES)} [FOLDER]")
    default = pathlib.Path(__file__).resolve().parents[2]
    violations = list(RULES[sys.argv[1]](Tree(sys.argv[2] if len(sys.argv) > 2 else default)))
    for name, line, text in violations:
        print(f"{name}:{line}: {text}")
    raise SystemExit(1 if violations else 0)


if __name__ == "__main__":
    main()
