#!/usr/bin/env python3
"""tools/gpu_check.sh in a bundle whose programs only pretend: what it runs and reports."""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ["praxino", "ops_test", "ops_cuda_test", "optim_cuda_test", "ops_cuda_ptx_test",
            "kernels_test", "cuda_on_cpu_test"]
SMI = """#!/bin/sh
case $1 in
  -L) echo "GPU 0: Pretended" ;;
  *compute_cap*) echo "${CAPABILITY:-9.0}" ;;
  *gpu=name*) echo "Pretended, 580.1, 1 MiB, 1 MHz, 2 MHz, 30" ;;
esac
"""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.bundle = self.folder / "praxino-gpu"
        for name in ("bin", "lib", "tools", "configs", "torch/lib"):
            (self.bundle / name).mkdir(parents=True)
        for name in ("gpu_check.sh", "common.sh"):
            text = (ROOT / "tools" / name).read_text(encoding="utf-8")
            self.script(self.bundle / "tools" / name, text)
        for name in PROGRAMS:
            self.script(self.bundle / "bin" / name, f"#!/bin/sh\necho {name} ran\n")
        (self.bundle / "COMMIT").write_text("0123456789ab\n", encoding="utf-8")
        self.torch("2.11.0")
        (self.bundle / "torch/lib/libtorch_cpu.so").touch()
        self.path = self.folder / "path"
        self.path.mkdir()

    def script(self, path, text):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def torch(self, version):
        (self.bundle / "torch/version.py").write_text(f"__version__ = '{version}'\n",
                                                      encoding="utf-8")

    def add_gpu(self):
        self.script(self.path / "nvidia-smi", SMI)
        self.script(self.path / "compute-sanitizer",
                    '#!/bin/sh\nshift 4\necho "ERROR SUMMARY: 0 errors"\nexec "$@"\n')

    def check(self, *arguments, **variables):
        """(exit code, the report or what was said instead)"""
        environment = {**os.environ, "PATH": f"{self.path}:/usr/bin:/bin",
                       "LIBTORCH_ROOT": str(self.bundle / "torch"), **variables}
        done = subprocess.run([self.bundle / "tools/gpu_check.sh", *arguments], cwd=self.folder,
                              env=environment, capture_output=True, text=True, check=False)
        report = self.folder / "gpu_check.md"
        text = report.read_text(encoding="utf-8") if report.exists() else done.stdout + done.stderr
        return done.returncode, text

    def test_without_a_gpu_it_says_so_and_does_not_pass(self):
        code, report = self.check()
        self.assertEqual(code, 4, report)
        self.assertIn("there is no GPU here", report.splitlines()[0])
        self.assertIn("| tests on the GPU | left out: no GPU |", report)
        self.assertIn("kernels_test ran", report)
        self.assertIn("- commit: 0123456789ab", report)
        self.assertNotIn("ops_cuda_test ran", report)

    def test_with_a_gpu_it_runs_everything(self):
        self.add_gpu()
        code, report = self.check()
        self.assertEqual(code, 0, report)
        self.assertIn("# praxino on a GPU: all passed", report)
        self.assertIn("- GPU: Pretended, 580.1", report)
        for row in ("doctor", "tests on the GPU", "tests on the GPU, tier portable",
                    "tests on the GPU, kernels from PTX", "benchmark of operations",
                    "training on the GPU", "compute-sanitizer racecheck"):
            self.assertIn(f"| {row} | passed |", report)

    def test_a_failure_is_one(self):
        self.add_gpu()
        self.script(self.bundle / "bin/ops_cuda_test", "#!/bin/sh\necho wrong by 3\nexit 1\n")
        code, report = self.check()
        self.assertEqual(code, 1, report)
        self.assertIn("| tests on the GPU | **failed** (exit code 1) |", report)
        self.assertIn("wrong by 3", report)
        self.assertIn("| benchmark of operations | passed |", report)

    def test_what_skips_on_a_gpu_has_not_passed(self):
        self.add_gpu()
        self.script(self.bundle / "bin/ops_cuda_test", "#!/bin/sh\necho '[  SKIPPED ] All'\n")
        code, report = self.check()
        self.assertEqual(code, 1, report)
        self.assertIn("| tests on the GPU | **failed**: tests were skipped |", report)

    def test_instructions_of_hopper_are_tested_where_they_are(self):
        self.add_gpu()
        # As the real ones: they skip on other chips, and on all where a tier is forced.
        for name in ("ops_cuda_test", "ops_cuda_ptx_test"):
            self.script(self.bundle / "bin" / name, """#!/bin/sh
case $*:$CAPABILITY:$PRAXINO_TIER in
  *-Intrinsics.*) ;;
  *:9.0:) echo "instructions ran" ;;
  *) echo "[  SKIPPED ] Intrinsics" ;;
esac
""")
        code, report = self.check(CAPABILITY="9.0")
        self.assertEqual(code, 0, report)
        self.assertIn("instructions ran", report)
        code, report = self.check(CAPABILITY="12.0")
        self.assertEqual(code, 0, report)
        self.assertNotIn("instructions ran", report)

    def test_a_test_that_hangs_is_a_failure(self):
        self.add_gpu()
        self.script(self.path / "timeout", """#!/bin/sh
case $* in *ops_cuda_test*) exit 124 ;; esac
shift 2
exec "$@"
""")
        code, report = self.check()
        self.assertEqual(code, 1, report)
        self.assertIn("| tests on the GPU | **failed**: not back after 400 s |", report)
        self.assertIn("| compute-sanitizer racecheck | cut off after 300 s |", report)
        self.assertIn("| benchmark of operations | passed |", report)

    def test_a_kernel_that_training_turns_down_is_a_failure(self):
        self.add_gpu()
        self.script(self.bundle / "bin/praxino", "#!/bin/sh\necho swiglu does not agree\n")
        code, report = self.check()
        self.assertEqual(code, 1, report)
        self.assertIn("| training on the GPU | **failed**: does not agree |", report)

    def test_nothing_begins_after_its_time(self):
        self.add_gpu()
        code, report = self.check("--minutes", "0")
        self.assertEqual(code, 3, report)
        self.assertIn("| tests on the GPU | left out: the time was up |", report)
        self.assertNotIn(" ran\n", report)

    def test_another_libtorch_is_refused(self):
        self.torch("2.9.1")
        code, text = self.check()
        self.assertEqual(code, 1)
        self.assertIn("praxino needs LibTorch 2.11, and", text)

    def test_wrong_usage_is_told(self):
        self.assertIn("unknown argument '--fast'", self.check("--fast")[1])
        self.assertIn("--minutes needs a whole number", self.check("--minutes", "x")[1])


if __name__ == "__main__":
    unittest.main()
