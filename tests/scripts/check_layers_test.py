"""Tests of scripts/check_layers.py on small trees of their own."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("ROOFLINE_SOURCE", Path(__file__).parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))
import check_layers  # noqa: E402


class CheckLayers(unittest.TestCase):
    def check(self, path, text):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "roofline", path)
            file.parent.mkdir(parents=True)
            file.write_text(text)
            return check_layers.check_tree(Path(folder))

    def test_an_include_to_the_left_passes(self):
        self.assertEqual(
            self.check("model/a.cpp", '#include "roofline/base/errors.h"\n'), []
        )

    def test_an_include_to_the_right_is_found_with_its_line(self):
        found = self.check(
            "spec/a.cpp", '\n#include "roofline/model/decoder.h"\n'
        )
        self.assertEqual(len(found), 1)
        self.assertIn("roofline/spec/a.cpp:2:", found[0])

    def test_layers_side_by_side_do_not_see_each_other(self):
        found = self.check("text/a.cpp", '#include "roofline/spec/b.h"\n')
        self.assertEqual(len(found), 1)

    def test_a_family_name_outside_spec_is_found(self):
        found = self.check("model/a.cpp", 'if (f == "qwen2") {}\n')
        self.assertEqual(len(found), 1)
        self.assertIn("qwen", found[0])

    def test_a_family_name_in_a_comment_or_in_spec_passes(self):
        self.assertEqual(self.check("model/a.cpp", "// as in gemma\n"), [])
        self.assertEqual(self.check("spec/a.cpp", 'f == "gemma"\n'), [])

    def test_a_header_without_a_comment_or_pragma_is_found(self):
        self.assertEqual(len(self.check("base/a.h", "int f();\n")), 2)

    def test_a_library_that_prints_is_found(self):
        found = self.check("plan/a.cpp", 'void f() { std::cout << "x"; }\n')
        self.assertEqual(len(found), 1)

    def test_a_folder_that_is_no_layer_is_found(self):
        self.assertEqual(len(self.check("utils/a.cpp", "int x;\n")), 1)

    def test_the_tree_itself_passes(self):
        self.assertEqual(check_layers.check_tree(SOURCE), [])


if __name__ == "__main__":
    unittest.main()
