"""Tests of bench/kernels_page.py on readings of its own."""

import os
import re
import sys
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("ROOFLINE_SOURCE", Path(__file__).parents[2]))
sys.path.insert(0, str(SOURCE / "bench"))
import kernels_page  # noqa: E402


def reading(name, roof, share):
    return {"name": name, "shape": "4 × 4", "roof": roof, "rate": share * 2e10,
            "roof_rate": 2e10, "share": share, "shares": [share - 0.1, share, share + 0.1]}


def result():
    def of(isa, kernels):
        return {"cpu": "a processor", "isa": isa, "threads": 2, "rounds": 3, "kernels": kernels}
    return {
        "kernels": {
            "generic": of("generic", [reading("qmm.fast q4", "bandwidth", 0.25)]),
            "avx2": of("avx2", [reading("qmm.fast q4", "bandwidth", 0.75),
                                reading("gemm bf16", "float32", 0.5)])},
        "text": "8 tokens of a text",
        "paths": [{"name": "q4", "mean": 9e-7, "high": 5e-6, "same": 8, "tokens": 8}]}


class KernelsPage(unittest.TestCase):
    def row_of(self, page, start):
        (row,) = [line for line in page.splitlines() if line.startswith(start)]
        return [cell.strip() for cell in row.strip("|").split("|")]

    def test_a_kernel_has_a_cell_for_each_instruction_set(self):
        row = self.row_of(kernels_page.page(result()), "| `qmm.fast q4`")
        self.assertEqual(row[3:], ["5.0 GB/s, 25% (15% … 35%)", "15 GB/s, 75% (65% … 85%)"])

    def test_a_set_without_the_kernel_has_an_empty_cell(self):
        row = self.row_of(kernels_page.page(result()), "| `gemm bf16`")
        self.assertEqual(row[3:], ["", "10 Gop/s, 50% (40% … 60%)"])

    def test_arm_has_no_figures_of_speed(self):
        with_arm = result()
        with_arm["kernels"]["neon"] = with_arm["kernels"]["avx2"]
        self.assertEqual(kernels_page.page(with_arm), kernels_page.page(result()))

    def test_divergences_are_told_for_each_path(self):
        row = self.row_of(kernels_page.page(result()), "| q4 |")
        self.assertEqual(row[1:], ["9.0e-07", "5.0e-06", "8 of 8"])

    def test_every_measured_kernel_is_described(self):
        known = [kernel[0] for kernel in kernels_page.KERNELS]
        names = []
        for file in (SOURCE / "bench").glob("kernel_cases_*.cpp"):
            names += re.findall(r'"((?:qmm|dense|attention|packed_attention|norm_rope|row_grads|'
                                r'gemm|recurrent)\b[^"]*)"', file.read_text())
        self.assertGreater(len(names), 15)
        for name in names:
            self.assertTrue(any(name.startswith(kernel) for kernel in known), name)

    def test_every_folder_of_a_kernel_is_described(self):
        known = {kernel[0].split(".")[0] for kernel in kernels_page.KERNELS}
        for folder in (SOURCE / "roofline" / "kernels").iterdir():
            # A step is made of the others, token_loss of gemm and row_grads.
            if folder.is_dir() and folder.name not in ("block", "peak", "simd", "token_loss"):
                self.assertIn(folder.name, known)


if __name__ == "__main__":
    unittest.main()
