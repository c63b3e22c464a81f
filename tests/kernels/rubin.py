#!/usr/bin/env python3
"""Assembles the PTX that we ship for Rubin, as the driver of such a chip would.

rubin.py LIBRARY FEWEST

LIBRARY is what the kernels are linked into; FEWEST, how many PTX images it must hold at least. The
toolkit that builds them is older than the chip (compute capability 10.7), so assembler and
disassembler are those of pinned_tools.py. Where pip cannot fetch them, the test is skipped (exit
code 77).

Each PTX image must assemble, and no kernel may be a stub, spill more than listed, or lack an
instruction that machine_code.py lists.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import machine_code
import pinned_tools

ARCHITECTURE = "sm_107"
SKIPPED = 77
# Pattern of a kernel, most bytes spilled: what this assembler does where the one of CUDA 13.0 for
# other chips does not spill at all.
SPILLS = [(r"norm_modulate_backward_kernel<Bf16, 2, true>", 16),
          (r"frame_attention_keys_kernel<KeyTiles<64, 2, 8, true>, 64>", 32)]


def assemble(binaries, ptx):
    """Complaints about the kernels of one PTX file."""
    cubin = ptx.with_suffix(".cubin")
    done = subprocess.run([binaries / "ptxas", "-v", f"-arch={ARCHITECTURE}", ptx, "-o", cubin],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        yield f"{ptx.name}: {done.stdout}{done.stderr}"
        return
    target = re.search(r"^\.target\s+(\S+)", ptx.read_text(encoding="utf-8"), re.M).group(1)
    seen = machine_code.machine_instructions(binaries / "cuobjdump", cubin)
    for mangled, (registers, spilled) in sorted(machine_code.resources(done.stderr).items()):
        name = machine_code.readable(mangled)
        print(f"{ARCHITECTURE} from {target} {name}: {registers} registers, {spilled} bytes "
              "spilled")
        most = max([limit for pattern, limit in SPILLS if re.search(pattern, name)], default=0)
        if spilled > most:
            yield f"{name}: {spilled} bytes spilled"
        if spilled == 0 and seen[mangled]["local"]:
            yield f"{name}: {seen[mangled]['local']} accesses to local memory"
        for instruction in machine_code.missing(name, seen[mangled]):
            yield f"{name}: no {instruction}"
        if registers < machine_code.FEWEST_REGISTERS:
            yield f"{name}: {registers} registers: a stub"


def main():
    if len(sys.argv) != 3:
        raise SystemExit("usage: rubin.py LIBRARY FEWEST")
    binaries = pinned_tools.folder()
    if binaries is None:
        print(f"skipped: with a connection to a package index this test assembles every kernel for "
              f"{ARCHITECTURE}")
        raise SystemExit(SKIPPED)
    library, fewest = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2])
    os.environ["PATH"] = f"{binaries}:{os.environ.get('PATH', '')}"  # of what cuobjdump starts
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binaries / "cuobjdump", "-xptx", "all", library], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)
        images = sorted(pathlib.Path(folder).glob("*.ptx"))
        wrong = [text for ptx in images for text in assemble(binaries, ptx)]
    for text in wrong:
        print(f"WRONG: {text}")
    print(f"{len(images)} PTX images assembled for {ARCHITECTURE}, at least {fewest} expected")
    raise SystemExit(1 if wrong or len(images) < fewest else 0)


if __name__ == "__main__":
    main()
