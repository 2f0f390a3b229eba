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
    roofs = [1e10, 2e10, 1.9e10]  # a neighbour takes half, once
    shares = [share + 0.1, share - 0.1, share]
    return {"name": name, "shape": "4 × 4", "roof": roof, "roofs": roofs,
            "processor": [0.97, 0.98, 0.99], "rates": [s * r for s, r in zip(shares, roofs)]}


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
        self.assertEqual(row[3:], ["3.5 GB/s, 25% (15% … 35%)", "13 GB/s, 75% (65% … 85%)"])

    def test_a_set_without_the_kernel_has_an_empty_cell(self):
        row = self.row_of(kernels_page.page(result()), "| `gemm bf16`")
        self.assertEqual(row[3:], ["", "8.0 Gop/s, 50% (40% … 60%)"])

    def test_arm_has_no_figures_of_speed(self):
        with_arm = result()
        with_arm["kernels"]["neon"] = with_arm["kernels"]["avx2"]
        self.assertEqual(kernels_page.page(with_arm), kernels_page.page(result()))

    def test_a_busy_machine_is_told(self):
        self.assertNotIn("Neighbours were busy", kernels_page.page(result()))
        busy = result()
        for readings in busy["kernels"].values():
            for kernel in readings["kernels"]:
                kernel["processor"] = [0.4, 0.5, 0.6]
        self.assertIn("had 50% of the cores' time", kernels_page.page(busy))
        self.assertIn("Neighbours were busy", kernels_page.page(busy))

    def test_another_machine_has_tables_of_its_own(self):
        other = {"kernels": {"amx": {
            **result()["kernels"]["avx2"], "cpu": "another processor", "isa": "amx"}}}
        page = kernels_page.page(result(), [other])
        _, after = page.split("## On another machine: another processor")
        self.assertIn("| kernel | shape | roof | amx |", after)
        self.assertIn("| `gemm bf16` | 4 × 4 | float32 | 8.0 Gop/s, 50% (40% … 60%) |", after)
        self.assertNotIn("On another machine", kernels_page.page(result()))

    def test_a_roof_is_the_best_of_its_readings(self):
        page = kernels_page.page(result())
        self.assertEqual(self.row_of(page, "| bandwidth |")[1:], ["20 GB/s", "20 GB/s"])
        self.assertEqual(self.row_of(page, "| float32 |")[1:], ["", "20 Gop/s"])

    def test_divergences_are_told_for_each_path(self):
        row = self.row_of(kernels_page.page(result()), "| q4 |")
        self.assertEqual(row[1:], ["9.0e-07", "5.0e-06", "8 of 8"])

    def test_every_measured_kernel_is_described(self):
        known = [kernel[0] for kernel in kernels_page.KERNELS]
        names = []
        for file in (SOURCE / "bench").glob("kernel_cases_*.cpp"):
            names += re.findall(r'"((?:qmm|dense|attention|packed_attention|norm_rope|row_grads|'
                                r'gemm|round|recurrent)\b[^"]*)"', file.read_text())
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
