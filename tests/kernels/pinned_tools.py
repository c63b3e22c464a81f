"""The assembler and disassembler of a CUDA toolkit that is newer than the one that builds: from
pip, pinned, once, into .deps (PRAXINO_DEPS moves .deps)."""

import fcntl
import os
import pathlib
import subprocess
import sys
import tempfile

VERSION = "13.5.37"
PACKAGES = [f"{name}=={VERSION}" for name in
            ("nvidia-cuda-nvcc", "nvidia-cuda-cuobjdump", "nvidia-cuda-nvdisasm")]


def folder():
    """Of ptxas, cuobjdump and nvdisasm; None where pip cannot fetch them, which it says."""
    root = pathlib.Path(__file__).resolve().parents[2]
    deps = pathlib.Path(os.environ.get("PRAXINO_DEPS", root / ".deps"))
    kept = deps / f"rubin-{VERSION}"
    binaries = kept / "nvidia" / "cu13" / "bin"
    try:
        deps.mkdir(parents=True, exist_ok=True)
        with open(deps / "rubin.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time
            if not binaries.exists():
                with tempfile.TemporaryDirectory(dir=deps) as new:
                    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps",
                                    "--no-compile", "--timeout", "15", "--retries", "1",
                                    "--target", new + "/python", *PACKAGES], check=True)
                    os.rename(new + "/python", kept)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{' '.join(PACKAGES)} cannot be fetched here: {error}")
        return None
    return binaries
