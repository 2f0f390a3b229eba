"""`roofline memory`: what a model takes, what fits, and the guide's tables."""

import json
import unittest

from program import Program


class Memory(Program):
    def answer(self, *arguments):
        result = self.run_program("memory", *arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return json.loads(result.stdout)

    def test_a_name_is_enough_and_the_parts_add_up(self):
        out = self.answer("llama-2-7b", "--quant", "int4")
        self.assertEqual(out["total_bytes"], sum(p["bytes"] for p in out["parts"]))
        kinds = {part["kind"] for part in out["parts"]}
        self.assertLessEqual({"weights", "kv", "transients", "logits", "runtime"}, kinds)

    def test_the_guides_command_works_as_written(self):
        arguments = ["--model", "llama-2-7b", "--quant", "int4"]
        expected = self.run_program("memory", *arguments)
        self.assertEqual(expected.returncode, 0, expected.stderr.decode())
        for name in ["memory_analyzer", "memory_analyzer.py"]:
            out = self.run_program(name, *arguments)
            self.assertEqual(out.stdout, expected.stdout)

    def test_sizes_of_memory_are_read_as_people_write_them(self):
        budgets = {
            self.answer("llama-2-7b", "--ram", size)["budget"]["ram_bytes"]
            for size in ["16GB", "16 GiB", "16", "16g", "16384MB"]
        }
        self.assertEqual(budgets, {16 << 30})

    def test_an_unreadable_size_is_a_mistake(self):
        result = self.run_program("memory", "--ram", "lots")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"--ram", result.stderr)

    def test_models_that_fit_are_smaller_than_the_budget(self):
        out = self.answer("--ram", "16GB")
        self.assertGreater(len(out["models"]), 5)
        for model in out["models"]:
            self.assertLessEqual(model["bytes"], out["budget"]["budget_bytes"])

    def test_fit_lists_the_best_quality_first(self):
        out = self.answer("llama-2-7b", "--fit", "--ram", "64GB")
        self.assertEqual(out["choices"][0]["format"], "bf16")
        self.assertEqual(out["choices"][0]["kv_bits"], 16)

    def test_a_model_that_fits_in_no_way_fails(self):
        result = self.run_program("memory", "llama-2-70b", "--fit", "--ram", "8GB")
        self.assertEqual(result.returncode, 2)

    def test_the_largest_context_fits(self):
        out = self.answer("llama-3.1-8b", "--context", "max", "--ram", "32GB")
        self.assertTrue(out["fits"])
        self.assertGreaterEqual(out["context_tokens"], 256)

    def test_every_row_of_the_guide_has_a_verdict(self):
        rows = self.answer("--table")["claims"]
        self.assertEqual({row["section"] for row in rows}, {2, 3, 6, 7})
        for row in rows:
            self.assertIn(row["verdict"], ["holds", "holds only if", "does not hold"])
            self.assertEqual(row["verdict"] == "holds", row["note"] == "")

    def test_training_has_its_own_parts(self):
        out = self.answer("llama-2-7b", "--train", "lora", "--rank", "16")
        kinds = {part["kind"] for part in out["parts"]}
        self.assertLessEqual(
            {"adapters", "gradients", "optimizer", "activations"}, kinds
        )

    def test_an_unknown_model_names_the_nearest(self):
        result = self.run_program("memory", "llama-2-7c")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"llama-2-7b", result.stderr)

    def test_an_unknown_method_names_the_nearest(self):
        result = self.run_program("memory", "llama-2-7b", "--train", "lorra")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"lora", result.stderr)

    def test_a_plot_is_written(self):
        path = self.folder / "memory.svg"
        self.answer("llama-2-7b", "--plot", path)
        self.assertIn("<svg", path.read_text())


if __name__ == "__main__":
    unittest.main()
