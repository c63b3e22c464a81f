#!/usr/bin/env python3
"""Every function of kernels/device that wraps an instruction is called by a probe.

probed.py FOLDER [NVCC]

A function wraps one where its body has a meaning for the device and a plain one (__CUDACC__), or
names an intrinsic. It is probed where tests/kernels/probes_*.cu call it, or a probed function does.
With nvcc, the machine instructions of all asm statements are looked for in the probes' PTX, too:
each form of a template, each overload. Prints a table; what has no probe is an error.
"""

import pathlib
import re
import subprocess
import sys

ARCHITECTURES = {"probes_portable.cu": "compute_80", "probes_hopper.cu": "compute_90a"}
HEADER = re.compile(r"^(?:template <.*>\n)?(?:PRAXINO_DEVICE|inline)\s[^;{}=]*?\b(\w+)\(", re.M)
# Code of the host: launches, and descriptors of tensors.
HOST = {"shared_limit", "multiprocessors", "make_tile_map", "encode_tiled"}
INTRINSIC = re.compile(r"\basm\b|\b__[a-z]\w+\(|\b(?:threadIdx|blockIdx|blockDim|gridDim)\b")
LANGUAGE = re.compile(r"__(?:builtin_bit_cast|launch_bounds__|align__)\(")


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def functions(text):
    """Name and body of each function of a header."""
    text = without_comments(text)
    for match in HEADER.finditer(text):
        start = text.find("{", match.end())
        depth, end = 0, start if ";" not in text[match.end():start] else -1
        start = end
        while start >= 0:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if depth == 0:
                yield match.group(1), text[start:end]
                break


def calls(body):
    return set(re.findall(r"\b(\w+)\s*(?:<[^;(){}<>]*>)?\(", body))


def wraps(body):
    return "__CUDACC__" in body or bool(INTRINSIC.search(LANGUAGE.sub("", body)))


def instructions(text):
    """The opcodes of all asm statements: the first word of each line of PTX, but declarations."""
    found = set()
    for statement in re.findall(r"\basm\b(?: volatile)?\s*\(((?:\s*\"(?:[^\"\\]|\\.)*\")+)",
                                without_comments(text)):
        ptx = "".join(re.findall(r"\"((?:[^\"\\]|\\.)*)\"", statement)).replace("\\n", " ")
        for line in ptx.strip("{} ").split(";"):
            words = [word for word in line.split() if not word.startswith("@")]
            if words and not words[0].startswith("."):
                found.add(words[0])
    return found


def unprobed_functions(headers, probes):
    """(file, function) of those that no probe reaches, and how many it does reach."""
    defined = [(name, function, body) for name, text in headers.items()
               for function, body in functions(text)]
    reached = set().union(*(calls(without_comments(text)) for text in probes.values()))
    while True:
        more = set().union(reached, *(calls(body) for _, name, body in defined if name in reached))
        if more == reached:
            break
        reached = more
    wrapping = {(file, name) for file, name, body in defined if wraps(body) and name not in HOST}
    return wrapping, {(file, name) for file, name in wrapping if name not in reached}


def unprobed_instructions(headers, ptx):
    wanted = set().union(*(instructions(text) for text in headers.values()))
    found = set(re.findall(r"^\s*(?:@!?%?\w+\s+)?([a-z][\w.:]*)", ptx, re.M))
    return wanted, wanted - found


def main():
    root = pathlib.Path(sys.argv[1])
    headers = {path.name: path.read_text() for path in sorted(root.glob("kernels/device/*.cuh"))}
    probes = {path.name: path.read_text() for path in root.glob("tests/kernels/probes_*.cu")}
    wrapping, missing = unprobed_functions(headers, probes)
    for file, name in sorted(wrapping):
        print(f"{'no probe' if (file, name) in missing else 'probed  '}  {file:18} {name}")
    failed = bool(missing) or len(wrapping) < 40
    if len(sys.argv) > 2:
        ptx = ""
        for name in probes:
            command = [sys.argv[2], "-std=c++20", "-DNDEBUG", f"-arch={ARCHITECTURES[name]}",
                       "-ptx", "-I", root, "-I", root / "tests", "-o", "-",
                       root / "tests/kernels" / name]
            ptx += subprocess.run(command, check=True, capture_output=True, text=True).stdout
        wanted, absent = unprobed_instructions(headers, ptx)
        for opcode in sorted(wanted):
            print(f"{'no probe' if opcode in absent else 'probed  '}  {opcode}")
        failed = failed or bool(absent) or len(wanted) < 40
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
