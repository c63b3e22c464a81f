#!/usr/bin/env python3
"""Shows every rule of check.py a small project that breaks it."""

import pathlib
import tempfile
import unittest

import check

PAGE = """# Page
## Layers
| layer | modules | |
|---|---|---|
| 2 | `train` | |
| 1 | `data` `model` | |
| 0 | `base` | |
## One door for each dependency
| dependency | headers | allowed in |
|---|---|---|
| FFmpeg | `libav*/*` | `data` |
| LibTorch | `ATen/*` | `model` `train` |
## From command to kernel
1. `src/train/loop.cpp`: the loop
"""


class Rules(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.write("docs/architecture.md", PAGE)
        self.write("src/train/loop.cpp", '#include "train/loop.h"\n')
        self.write("src/train/loop.h", "#pragma once\n")

    def write(self, name, text):
        path = pathlib.Path(self.folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def violations(self, rule):
        return [f"{name}:{line}: {text}" for name, line, text in
                check.RULES[rule](check.Tree(self.folder.name))]

    def assert_one(self, rule, expected):
        found = self.violations(rule)
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_a_clean_project_passes_every_rule(self):
        for rule in check.RULES:
            self.assertEqual(self.violations(rule), [], rule)

    def test_layers_point_downwards(self):
        self.write("src/data/clip.cpp", '#include <vector>\n#include "praxino/train/loop.h"\n')
        self.assert_one("layers", "src/data/clip.cpp:2: data (layer 1) must not see train (2)")

    def test_neighbours_do_not_see_each_other(self):
        self.write("include/praxino/model/net.h", '#pragma once\n#include "praxino/data/clip.h"\n')
        self.assert_one("layers", "model (layer 1) must not see data (1)")

    def test_internal_headers_stay_inside(self):
        self.write("src/train/step.cpp", '#include "model/net.h"\n')
        self.assert_one("layers", "model/net.h is internal to model")

    def test_a_module_that_the_page_does_not_know(self):
        self.write("src/utils/misc.cpp", "#include <vector>\n")
        self.assert_one("layers", "module 'utils' is not in the table")

    def test_a_foreign_header_has_one_door(self):
        self.write("src/data/clip.cpp", "#include <ATen/core/Tensor.h>\n")
        self.assert_one("layers", "<ATen/core/Tensor.h> belongs behind its door (model, train)")
        self.write("src/data/clip.cpp", "#include <libavcodec/avcodec.h>\n")
        self.assertEqual(self.violations("layers"), [])

    def test_an_unknown_dependency_needs_a_row(self):
        self.write("src/data/clip.cpp", "#include <boost/any.hpp>\n")
        self.assert_one("layers", "<boost/any.hpp> is in no row")

    def test_the_dear_headers_are_banned_in_tests_too(self):
        self.write("tests/data/clip_test.cpp", "#include <torch/torch.h>\n")
        self.assert_one("layers", "torch/torch.h is banned")

    def test_a_source_fulfils_a_header_of_its_module(self):
        self.write("src/data/stray.cpp", "#include <vector>\n")
        self.assert_one("names", "src/data/stray.cpp:1: includes no header of its module")

    def test_a_public_header_with_a_source_is_tested(self):
        self.write("include/praxino/data/clip.h", "#pragma once\n")
        self.write("src/data/clip.cpp", '#include "praxino/data/clip.h"\n')
        self.assert_one("names", "include/praxino/data/clip.h:1: no test includes it")
        self.write("tests/data/clip_test.cpp", '#include "praxino/data/clip.h"\n')
        self.assertEqual(self.violations("names"), [])

    def test_a_test_has_a_subject(self):
        self.write("tests/train/nothing_test.cpp", "")
        self.assert_one("names", "neither named after nor including anything")

    def test_a_clock_that_can_be_set_decides_nothing(self):
        self.write("src/train/report.cpp", "auto a = steady_clock::now();\n"
                   "auto b = std::chrono::system_clock::now();\n")
        self.assert_one("clocks", "src/train/report.cpp:2: system_clock")
        for text in ("time(nullptr)", "std::time(&now)", "fs::last_write_time(path)",
                     "clock_gettime(CLOCK_REALTIME, &t)"):
            self.write("src/train/report.cpp", text + "\n")
            self.assertEqual(len(self.violations("clocks")), 1, text)
        for text in ("spent_time(0)", "lifetime(0)", "time(step)"):
            self.write("src/train/report.cpp", text + "\n")
            self.assertEqual(self.violations("clocks"), [], text)
        self.write("src/train/report.cpp", "")
        self.write("src/train/run_log.cpp", "system_clock::now();\n")
        self.assertEqual(self.violations("clocks"), [])

    def test_two_types_of_one_name_would_be_merged_by_the_linker(self):
        self.write("src/data/a.h", "namespace x {\nstruct Source {};\nstruct A {};\n}\n")
        self.write("src/model/b.h", "namespace x {\nclass Source final {};\nstruct A;\n}\n")
        self.assert_one("types", "src/model/b.h:2: x::Source is also defined in src/data/a.h")
        self.write("src/model/b.h", "namespace x {\nnamespace {\nstruct Source {};\n}\n}\n")
        self.assertEqual(self.violations("types"), [])

    def test_lines_are_short_and_clean(self):
        self.write("tools/a.sh", "x" * 100 + "\n")
        self.assertEqual(self.violations("limits"), [])
        for text, expected in [("x" * 101 + "\n", "101 columns"), ("a\tb\n", "a tab"),
                               ("a \n", "blanks"), ("# TO" + "DO: later\n", "finish it"),
                               ("a", "no line break"), ("a\n" * 501, "501 lines"),
                               ("", "an empty file")]:
            self.write("tools/a.sh", text)
            self.assert_one("limits", expected)

    def test_here_documents_may_be_wide(self):
        self.write("tools/a.sh", "cat <<'EOF'\n" + "x" * 200 + "\nEOF\n" + "y" * 101 + "\n")
        self.assert_one("limits", "tools/a.sh:4: 101 columns")

    def test_headers_begin_with_pragma_once(self):
        self.write("src/data/a.h", "// a comment first\n#pragma once\n")
        self.assert_one("limits", "#pragma once")

    def test_functions_are_short(self):
        body = '  puts("}{");  // }\n' * 79
        inner = "  auto f = [] {\n    g();\n  };\n"
        before = "namespace x {\nstruct S {\n  int a = 0;\n};\n"
        self.write("src/data/a.cpp", before + "void f() {\n" + body + "}\n}\n")
        self.assert_one("limits", "src/data/a.cpp:5: a function of 81 lines")
        self.write("src/data/a.cpp", "S::S(int a)\n    : a_{a} {\n" + inner * 30 + "}\n")
        self.assert_one("limits", "a function of 93 lines")

    def test_the_top_level_is_fixed(self):
        self.write("notes/plan.txt", "")
        self.assert_one("tree", "notes:1: the top level is fixed")

    def test_documents_name_files_that_exist(self):
        self.write("docs/formats.md", "See `src/data/gone.cpp`.\n")
        self.assert_one("docs", "docs/formats.md:1: src/data/gone.cpp does not exist")


if __name__ == "__main__":
    unittest.main()
