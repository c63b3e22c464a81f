#!/usr/bin/env python3
"""Tests of probed.py: what it calls an intrinsic, and what it calls probed."""

import unittest

import probed

HEADER = """
/// The lanes for which it is true: __ballot_sync(.
PRAXINO_DEVICE uint32_t votes(bool yes, [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  return __ballot_sync(kFullWarp, yes);
#else
  return cpu::votes(yes, site);
#endif
}
template <int kForm>
PRAXINO_DEVICE void fence() {
  if constexpr (kForm == 0) {
    asm volatile("fence.one;" ::: "memory");
  } else {
    asm volatile(
        "{\\n"
        ".reg .pred p;\\n"
        "@p fence.two.b32 %0, "
        "[%1];\\n"
        "}" ::: "memory");
  }
}
PRAXINO_DEVICE int doubled(int x) { return 2 * x; }
PRAXINO_DEVICE int voters(bool yes) { return doubled(votes(yes)); }
"""


class Functions(unittest.TestCase):
    def unprobed(self, probe):
        return probed.unprobed_functions({"x.cuh": HEADER}, {"probes_x.cu": probe})

    def test_those_that_wrap_an_instruction_need_a_probe(self):
        wrapping, missing = self.unprobed("int main() { doubled(1); }")
        self.assertEqual(wrapping, {("x.cuh", "votes"), ("x.cuh", "fence")})
        self.assertEqual(missing, wrapping)

    def test_a_call_by_a_probed_function_is_enough_a_comment_is_not(self):
        self.assertEqual(self.unprobed("voters(true);  // fence<0>()")[1], {("x.cuh", "fence")})
        self.assertEqual(self.unprobed("Pair<2> p = votes(a) < 1; fence<1>();")[1], set())


class Instructions(unittest.TestCase):
    def test_every_form_is_looked_for(self):
        wanted, missing = probed.unprobed_instructions({"x.cuh": HEADER}, "\tfence.one;\n")
        self.assertEqual(wanted, {"fence.one", "fence.two.b32"})
        self.assertEqual(missing, {"fence.two.b32"})
        ptx = "\tfence.one;\n\t@%p1 fence.two.b32 %r1, [%rd1];\n"
        self.assertEqual(probed.unprobed_instructions({"x.cuh": HEADER}, ptx)[1], set())


if __name__ == "__main__":
    unittest.main()
