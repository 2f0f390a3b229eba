"""Tests of scripts/check_includes.py on small trees of their own."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

SOURCE = Path(os.environ.get("ROOFLINE_SOURCE", Path(__file__).parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))
import check_includes  # noqa: E402

CACHES = (check_includes.code_of, check_includes.reached, check_includes.owners)
HEADER = "struct Window {\n  int tokens;\n};\nint window_of(int tokens);\n"


class CheckIncludes(unittest.TestCase):
    def check(self, text, path="roofline/spec/a.cpp"):
        """The faults of one source beside two headers."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            files = {"roofline/spec/window.h": HEADER,
                     "roofline/spec/through.h": '#include "roofline/spec/window.h"\n',
                     path: text}
            for name, content in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(content)
            for cache in CACHES:
                cache.cache_clear()
            with mock.patch.object(check_includes, "ROOT", root):
                return list(check_includes.check(root / path))

    def tearDown(self):
        for cache in CACHES:
            cache.cache_clear()

    def test_a_standard_name_needs_its_header(self):
        self.assertEqual(self.check("std::vector<int> a;\n"),
                         ["std::vector needs <vector>"])
        self.assertEqual(self.check("#include <vector>\nstd::vector<int> a;\n"), [])

    def test_a_librarys_name_needs_one_of_its_headers(self):
        self.assertEqual(len(self.check("auto a = fmt::format(x);\n")), 1)
        self.assertEqual(
            self.check("#include <fmt/format.h>\nauto a = fmt::format(x);\n"), [])

    def test_our_types_and_functions_need_their_headers(self):
        self.assertEqual(self.check("Window a;\n"),
                         ["Window needs roofline/spec/window.h"])
        self.assertEqual(self.check("int f() {\n  return window_of(3);\n}\n"),
                         ["window_of needs roofline/spec/window.h"])

    def test_a_header_of_ours_may_bring_another(self):
        self.assertEqual(
            self.check('#include "roofline/spec/through.h"\nWindow a;\n'), [])

    def test_what_a_file_declares_itself_is_its_own(self):
        self.assertEqual(self.check("struct Window {};\nWindow a;\n"), [])
        self.assertEqual(
            self.check("int window_of(int a) { return a; }\nint b = window_of(1);\n"), [])

    def test_members_strings_and_comments_are_no_uses(self):
        self.assertEqual(
            self.check('// Window\nauto a = b.window_of(1) + "Window" + R"(Window)";\n'), [])

    def test_a_name_that_a_layer_can_not_see_is_another(self):
        self.assertEqual(self.check("Window a;\n", "roofline/base/a.cpp"), [])

    def test_the_tree_itself_passes(self):
        self.assertEqual(
            [f for p in check_includes.sources() for f in check_includes.check(p)], [])


if __name__ == "__main__":
    unittest.main()
