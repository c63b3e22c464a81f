#!/usr/bin/env python3
"""Assembles the kernels for one architecture and looks at the machine code.

machine_code.py NVCC ARCHITECTURE SOURCE...

A kernel must not spill, must not need more registers than listed, must not be a stub, and must move
16 bytes an instruction where the list says so. Every kernel must be in the list. The assembler
must not say that it makes warpgroup products wait for each other, or that it ignores the registers
that warps hand over. Where there is no cuobjdump (beside nvcc, on the PATH, or from
pinned_tools.py) accesses and instructions are looked for in the PTX.
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pinned_tools

# Instructions by their name in machine code, with the pattern that finds them there and in PTX.
NAMED = {"HMMA": (r"\bHMMA\.16816", r"\bmma\.sync\.aligned\.m16n8k16"),
         "LDSM": (r"\bLDSM\.", r"\bldmatrix\.sync"),
         "LDGSTS": (r"\bLDGSTS\.", r"\bcp\.async\.cg\.shared"),
         "HGMMA": (r"\bHGMMA\.64x", r"\bwgmma\.mma_async\.sync"),
         "UTMALDG": (r"\bUTMALDG\.", r"\bcp\.async\.bulk\.tensor\.\dd\.shared"),
         "UTMASTG": (r"\bUTMASTG\.", r"\bcp\.async\.bulk\.tensor\.\dd\.global"),
         "USETMAXREG": (r"\bUSETMAXREG\.", r"\bsetmaxnreg\.")}
MATRICES = ("HMMA", "LDSM", "LDGSTS")
SEARCH = ("HGMMA", "UTMALDG", "USETMAXREG")
WARPGROUPS = ("HGMMA", "UTMALDG", "UTMASTG", "USETMAXREG")
# What ptxas calls a potential loss of performance in kernels of warpgroups: C7508, C7510, ...
REMARK = r"\(C75\d\d\).*"

# Pattern of the kernel, most registers of a thread, fewest 16-byte loads and stores (rows of floats
# are moved in halves: 16 bytes of float, 8 of bfloat16); for some, the
# instructions that it must have. The limits lie a little above what CUDA 13.0 needs for 8.0, 9.0
# and 10.0f; where one is crossed, look at occupancy. No thread has more than 255.
LIMITS = [
    (r"add_chunks_kernel", 64, 0, 0),
    (r"frame_attention_hopper(_queries|_keys)?_kernel<.*>", 168, 0, 0, WARPGROUPS),
    (r"frame_attention_kernel<(64|128), false>", 255, 0, 1, MATRICES),
    (r"frame_attention_kernel<(64|128), true>", 240, 10, 1, MATRICES),
    (r"frame_attention_queries_kernel<(64|128)>", 255, 2, 1, MATRICES),
    (r"frame_attention_keys_kernel<KeyTiles<.*, false>, (64|128)>", 255, 0, 2, MATRICES),
    (r"frame_attention_keys_kernel<KeyTiles<.*, true>, (64|128)>", 255, 20, 6, MATRICES),
    (r"join_attention_kernel", 80, 1, 1),
    (r"gate_add(_backward)?_any_kernel", 64, 0, 0),
    (r"gate_add_kernel<.*, 1>", 56, 4, 2),
    (r"gate_add_kernel<.*, 2>", 64, 8, 4),
    (r"gate_add_kernel<.*, 4>", 128, 16, 8),
    (r"gate_add_backward_kernel<.*, 1>", 136, 10, 0),
    (r"gate_add_backward_kernel<.*, 2>", 160, 12, 0),
    (r"gate_add_backward_kernel<.*, 4>", 184, 16, 0),
    (r"gate_add_norm_any_kernel", 48, 0, 0),
    (r"gate_add_norm_kernel<.*, 1, (true|false)>", 96, 10, 4),  # five blocks
    (r"gate_add_norm_kernel<.*, 2, (true|false)>", 128, 16, 4),  # four blocks
    (r"gate_add_norm_kernel<.*, 4, true>", 232, 32, 8),
    (r"gate_add_norm_backward_any_kernel", 80, 0, 0),
    (r"gate_add_norm_backward_kernel<.*, 1, (true|false)>", 168, 12, 4),  # three blocks
    (r"gate_add_norm_backward_kernel<.*, 2, (true|false)>", 232, 16, 4),
    (r"gate_add_norm_backward_kernel<.*, 4, true>", 255, 40, 32),
    (r"norm_modulate_any_kernel", 48, 0, 0),
    (r"norm_modulate_kernel<.*, [12], (true|false)>", 128, 12, 0),  # four blocks
    (r"norm_modulate_kernel<.*, 4, true>", 168, 24, 0),
    (r"norm_modulate_backward_any_kernel", 56, 0, 0),
    (r"norm_modulate_backward_sums_kernel", 56, 0, 0),
    (r"norm_modulate_backward_kernel<.*, [12], (true|false)>", 136, 6, 4),
    (r"norm_modulate_backward_kernel<.*, 4, true>", 255, 16, 8),
    (r"norm_rotate(_backward)?_any_kernel", 64, 0, 0),
    (r"norm_rotate_backward_sums_kernel", 104, 0, 0),
    (r"norm_rotate_kernel", 80, 10, 2),
    (r"norm_rotate_backward_kernel<.*, [12]>", 176, 12, 2),
    (r"adamw_kernel<float>", 96, 10, 10),
    (r"adamw_kernel<.*Bf16>", 88, 9, 10),
    (r"cross_entropy_kernel<float, (true|false)>", 120, 8, 8),
    (r"cross_entropy_kernel<.*Bf16, (true|false)>", 96, 4, 4),
    (r"cross_entropy_any_kernel<float>", 64, 16, 8),  # two blocks a multiprocessor
    (r"cross_entropy_any_kernel<.*Bf16>", 64, 8, 4),
    (r"scale_rows_kernel<float>", 64, 8, 8),
    (r"scale_rows_kernel<.*Bf16>", 48, 4, 4),
    (r"muon_momentum_kernel<float>", 48, 4, 4),
    (r"muon_momentum_kernel<.*Bf16>", 48, 2, 4),
    (r"muon_apply_kernel<float>", 56, 6, 6),
    (r"muon_apply_kernel<.*Bf16>", 56, 4, 6),
    (r"squared_sums_kernel<float>", 72, 8, 0),
    (r"squared_sums_kernel<.*Bf16>", 48, 4, 0),
    (r"step_verdict_kernel", 48, 0, 0),
    (r"patchify_kernel<.*, 1, 1>", 40, 0, 0, ("LDGSTS",)),
    (r"patchify_kernel<.*, [48], [48]>", 40, 0, 1, ("LDGSTS",)),
    (r"unpatchify_kernel<.*, 1, 1>", 48, 0, 1),
    (r"unpatchify_kernel<.*, [48], [48]>", 48, 1, 1),
    (r"patchify_yuv_kernel<.*, 1, 1>", 72, 0, 0, ("LDGSTS",)),
    (r"patchify_yuv_kernel<.*, [48], [48]>", 96, 0, 3, ("LDGSTS",)),
    (r"prepare_codebook_kernel", 48, 2, 1),
    (r"bound_codebook_kernel", 40, 0, 1),
    (r"search_codebook_kernel<.*, 2>", 112, 0, 4, MATRICES),
    (r"search_codebook_kernel<.*, 4>", 128, 0, 4, MATRICES),  # two blocks a multiprocessor
    (r"search_codebook_kernel<.*, 8>", 192, 0, 4, MATRICES),
    (r"search_codebook_kernel<.*, 16>", 255, 0, 4, MATRICES),
    (r"search_codebook_hopper_kernel<float, (64|128|256)>", 168, 2, 1, SEARCH),
    (r"search_codebook_hopper_kernel<.*Bf16, (64|128|256)>", 168, 1, 1, SEARCH),
    (r"decide_codes_kernel", 80, 5, 0),
    (r"search_undecided_kernel", 96, 1, 0),
    (r"add_runs_kernel", 48, 0, 0),
    (r"sum_runs_kernel<.*, 2, 8>", 80, 0, 0),
    (r"sum_runs_kernel<.*, 8, 4>", 96, 0, 0),
    (r"fsq_kernel<.*, 1>", 40, 0, 0),
    (r"fsq_kernel<.*, [48]>", 40, 0, 1, ("LDGSTS",)),
    (r"fsq_backward_any_kernel", 32, 0, 0),
    (r"fsq_backward_kernel", 48, 4, 2),
    (r"sum_rows_kernel", 48, 0, 0),
    (r"time_attention_kernel<64, [24]>", 128, 16, 4, ("HMMA", "LDSM")),  # 16 warps
    (r"time_attention_kernel<128, [24]>", 255, 32, 8, ("HMMA", "LDSM")),
    (r"time_attention_step_kernel", 176, 6, 2),
    (r"time_attention_backward_kernel<64, [24]>", 168, 32, 12, ("HMMA", "LDSM")),  # 12 warps
    (r"time_attention_backward_kernel<128, [24]>", 255, 64, 24, ("HMMA", "LDSM")),
    (r"time_attention_float_kernel<64>", 128, 16, 8, ("LDGSTS",)),  # 16 warps
    (r"time_attention_float_kernel<128>", 168, 32, 16, ("LDGSTS",)),  # 12 warps
    (r"time_attention_float_backward_kernel<64>", 168, 32, 24, ("LDGSTS",)),  # 12 warps
    (r"time_attention_float_backward_kernel<128>", 255, 64, 48, ("LDGSTS",)),  # 8 warps
    (r"swiglu(_backward)?_kernel<.*, 1>", 32, 0, 0),
    (r"swiglu_kernel<.*, [48]>", 40, 2, 1),
    (r"swiglu_backward_kernel<.*, [48]>", 48, 3, 2),
]
SIXTEEN_BYTES = r"(?:v4\.\w32|v2\.\w64)"  # in PTX
FEWEST_REGISTERS = 10  # a body that was compiled out for the architecture has about four


def output_of(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def readable(name):
    """The kernel's name without namespaces."""
    name = output_of(["c++filt", name]).strip()
    return re.sub(r"praxino::kernels::|\(anonymous namespace\)::", "", name)


def resources(log):
    """Of ptxas -v: kernel -> (registers, bytes spilled)."""
    pattern = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, "
                         r"(\d+) bytes spill loads.*?Used (\d+) registers", re.S)
    return {name: (int(registers), int(stores) + int(loads))
            for name, stores, loads, registers in pattern.findall(log)}


def instructions(text, heading, loads, stores, local, language):
    """Kernel -> how many 16-byte loads, 16-byte stores, accesses to local memory and named
    instructions it has. `language`: 0 for machine code, 1 for PTX."""
    counts = {}
    for part in re.split(heading, text)[1:]:
        name = re.match(r"\w+", part).group()
        counts[name] = collections.Counter(
            load=len(re.findall(loads, part)), store=len(re.findall(stores, part)),
            local=len(re.findall(local, part)),
            **{key: len(re.findall(found[language], part)) for key, found in NAMED.items()})
    return counts


def find_cuobjdump(nvcc):
    """Its path; None where there is none."""
    beside = pathlib.Path(nvcc).with_name("cuobjdump")
    found = str(beside) if beside.exists() else shutil.which("cuobjdump")
    if found is None and (pinned := pinned_tools.folder()):
        os.environ["PATH"] += f":{pinned}"  # of nvdisasm, which it starts
        found = str(pinned / "cuobjdump")
    return found


def machine_instructions(cuobjdump, cubin):
    return instructions(output_of([cuobjdump, "-sass", str(cubin)]), r"Function : ",
                        r"\bLDG\.E\S*\.128", r"\bSTG\.E\S*\.128", r"\b(?:LDL|STL)\b", 0)


def disassemble(nvcc, cuobjdump, architecture, source, cubin):
    if cuobjdump:
        return machine_instructions(cuobjdump, cubin)
    ptx = cubin.with_suffix(".ptx")
    output_of(compile_command(nvcc, "compute_" + architecture, source) + ["-ptx", "-o", str(ptx)])
    return instructions(ptx.read_text(encoding="utf-8"), r"\.entry ",
                        r"\bld\.global\." + SIXTEEN_BYTES, r"\bst\.global\." + SIXTEEN_BYTES,
                        r"\b(?:ld|st)\.local", 1)


def compile_command(nvcc, target, source):
    root = pathlib.Path(__file__).resolve().parents[2]
    return [nvcc, "-std=c++20", "-O3", "-DNDEBUG", f"-I{root}", f"-arch={target}", source]


def rows_of(name):
    return [row for row in LIMITS if re.search(rf"(?<!\w){row[0]}", name)]


def missing(name, seen):
    """The instructions that the kernel must have and has not."""
    return [instruction for row in rows_of(name) for instruction in (row[4] if row[4:] else ())
            if not seen[instruction]]


def complaints(name, used, seen):
    registers, spilled = used
    rows = rows_of(name)
    if len(rows) != 1:
        yield f"{len(rows)} rows of LIMITS describe it, not one"
        return
    _, most, loads, stores = rows[0][:4]
    if registers > most:
        yield f"{registers} registers, {most} allowed"
    if registers < FEWEST_REGISTERS:
        yield f"{registers} registers: a stub"
    if spilled or seen["local"]:
        yield f"{spilled} bytes spilled, {seen['local']} accesses to local memory"
    if seen["load"] < loads or seen["store"] < stores:
        yield f"fewer than {loads} loads and {stores} stores of 16 bytes"
    for instruction in missing(name, seen):
        yield f"no {instruction}"


def main():
    if len(sys.argv) < 4:
        raise SystemExit("usage: machine_code.py NVCC ARCHITECTURE SOURCE...")
    nvcc, architecture, *sources = sys.argv[1:]
    wrong = kernels = 0
    cuobjdump = find_cuobjdump(nvcc)
    print("machine code" if cuobjdump else "PTX: there is no cuobjdump")
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            cubin = pathlib.Path(folder) / (pathlib.Path(source).stem + ".cubin")
            log = output_of(compile_command(nvcc, "sm_" + architecture, source) +
                            ["-Xptxas", "-v", "-cubin", "-o", str(cubin)])
            for remark in re.findall(REMARK, log):
                print(f"  WRONG: {remark}")
                wrong += 1
            code = disassemble(nvcc, cuobjdump, architecture, source, cubin)
            for mangled, used in sorted(resources(log).items()):
                name = readable(mangled)
                seen = code[mangled]
                print(f"sm_{architecture} {name}: {used[0]} registers, {used[1]} bytes spilled, "
                      f"{seen['load']} loads and {seen['store']} stores of 16 bytes")
                kernels += 1
                for text in complaints(name, used, seen):
                    print(f"  WRONG: {text}")
                    wrong += 1
    if not kernels:
        raise SystemExit("no kernel found")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
