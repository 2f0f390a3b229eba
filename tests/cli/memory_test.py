"""`roofline memory`: what a model takes, what fits, and the guide's tables."""

import json
import re
import unittest

from program import Program, TinyModel

METHODS = ["full", "lora", "qlora", "dora"]


def by_kind(answer):
    """{kind: bytes} of an answer's parts."""
    out = {}
    for part in answer["parts"]:
        out[part["kind"]] = out.get(part["kind"], 0) + part["bytes"]
    return out


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

    def test_a_cache_in_codes_is_smaller_to_the_byte(self):
        def cache(*arguments):
            return by_kind(
                self.answer("llama-2-7b", "--context", "2048", *arguments)
            )["kv"]

        values = 2048 * 2 * 32 * 32 * 128
        self.assertEqual(cache(), values * 2)
        self.assertEqual(cache("--kv-bits", "32"), values * 4)
        self.assertEqual(cache("--kv-bits", "8"), values + values // 16)
        self.assertEqual(
            cache("--k-bits", "8", "--v-bits", "4", "--kv-group-size", "32"),
            values // 2 + values // 4 + values // 8,
        )

    def test_fit_takes_the_cache_that_was_asked_for(self):
        out = self.answer("llama-2-7b", "--fit", "--ram", "64GB", "--kv-bits", "8")
        self.assertEqual({row["kv_bits"] for row in out["choices"]}, {8})

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

    def test_a_plot_is_drawn_in_the_format_of_its_name(self):
        beginnings = {"svg": b"<svg", "html": b"<!doctype html", "png": b"\x89PNG\r\n"}
        for suffix, beginning in beginnings.items():
            path = self.folder / f"memory.{suffix}"
            self.answer("llama-2-7b", "--plot", path)
            data = path.read_bytes()
            self.assertIn(beginning.lower(), data[:400].lower(), suffix)
            self.assertGreater(len(data), 1000)
        drawn = (self.folder / "memory.svg").read_text()
        for word in ["weights", "kv", "context, tokens"]:
            self.assertIn(word, drawn)

    def test_two_questions_at_once_are_refused(self):
        for arguments in [["--fit", "--measure"], ["--table", "--history"],
                          ["--train", "lora", "--fit"]]:
            self.refuse("memory", "llama-2-7b", *arguments, saying="two questions")
        self.refuse("memory", "llama-2-7b", "--measure", "--ram", "8GB", saying="--ram")
        self.refuse("memory", "--ram", "8GB", "--plot", "a.svg", saying="--plot")

    def test_a_plot_of_no_known_format_or_of_training_is_refused(self):
        self.refuse("memory", "llama-2-7b", "--plot", self.folder / "a.xyz", saying="svg")
        arguments = ["--plot", self.folder / "a.svg", "--train", "lora"]
        self.refuse("memory", "llama-2-7b", *arguments, saying="--plot")
        self.assertFalse((self.folder / "a.svg").exists())

    def test_int4_takes_4_and_a_half_bits_a_weight(self):
        arguments = ["llama-2-7b", "--quant", "int4", "--device", "gpu"]
        norms = 65 * 4096
        weights = (6738415616 - norms) * 9 // 16 + 2 * norms
        self.assertEqual(by_kind(self.answer(*arguments))["weights"], weights)

    def test_more_context_and_batch_take_more_cache_and_fewer_bits_less(self):
        def cache(*arguments):
            return by_kind(self.answer("llama-2-7b", *arguments))["kv"]

        base = cache("--context", "2048")
        self.assertEqual(base, 2048 * 2 * 32 * 4096 * 2)
        self.assertEqual(cache("--context", "2048", "--batch", "3"), 3 * base)
        eighth = cache("--context", "2048", "--kv-bits", "8")
        self.assertEqual(eighth, base // 2 + base // 2 // 64 * 4)

    def test_the_largest_context_is_the_models_own_where_there_is_room(self):
        out = self.answer("llama-2-7b", "--context", "max", "--ram", "512GB")
        self.assertEqual(out["context_tokens"], 4096)
        arguments = ["llama-2-70b", "--context", "max", "--ram", "8GB"]
        self.refuse("memory", *arguments, saying="--fit")

    def test_methods_of_training_take_what_they_are_known_for(self):
        kinds = {
            method: by_kind(self.answer("llama-2-7b", "--train", method, "--rank", "16",
                                        "--device", "gpu"))
            for method in METHODS
        }
        adapters = 16 * (4096 + 4096) * 4 * 32
        self.assertEqual(kinds["lora"]["adapters"], 4 * adapters)
        self.assertEqual(kinds["lora"]["optimizer"], 8 * adapters)
        self.assertEqual(kinds["lora"]["weights"], 2 * 6738415616)
        self.assertEqual(kinds["qlora"]["adapters"], 4 * adapters)
        self.assertLess(kinds["qlora"]["weights"], kinds["lora"]["weights"] / 3)
        self.assertGreater(kinds["dora"]["adapters"], kinds["lora"]["adapters"])
        self.assertNotIn("adapters", kinds["full"])
        self.assertEqual(kinds["full"]["gradients"], 2 * 6738415616)

    def test_a_cpu_trains_in_float32(self):
        arguments = ["llama-2-7b", "--device", "cpu", "--train"]
        kinds = by_kind(self.answer(*arguments, "full"))
        self.assertEqual(kinds["weights"], 4 * 6738415616)
        # The sum of batches, and the one that is added to it.
        self.assertEqual(kinds["gradients"], 8 * 6738415616)
        self.refuse("memory", *arguments, "lora", "--precision", "16", saying="float32")

    def test_settings_of_training_are_taken(self):
        def total(*arguments):
            return self.answer("llama-2-7b", "--train", "lora", *arguments)["total_bytes"]

        base = total()
        for smaller in [
            ["--checkpointing"],
            ["--train-batch", "1"],
            ["--seq", "128"],
            ["--optimizer", "sgd"],
            ["--targets", "q_proj"],
        ]:
            self.assertLess(total(*smaller), base, smaller)
        self.assertGreater(total("--precision", "32", "--device", "gpu"),
                           total("--device", "gpu"))

    def test_wrong_names_offer_the_nearest(self):
        for option, wrong, near in [
            ("--quant", "int44", "int4"),
            ("--device", "gpuu", "gpu"),
            ("--train", "qlra", "qlora"),
        ]:
            self.refuse("memory", "llama-2-7b", option, wrong, saying=near)
        arguments = ["llama-2-7b", "--train", "lora"]
        self.refuse("memory", *arguments, "--optimizer", "adamv", saying="adamw")
        self.refuse("memory", *arguments, "--targets", "q_prj", saying="q_proj")
        self.refuse("memory", "--ram", "8GB", "--context", "lots", saying="--context")

    def test_no_escapes_where_nobody_looks(self):
        for arguments in [
            ["llama-2-7b"],
            ["--ram", "16GB"],
            ["llama-2-7b", "--fit", "--ram", "16GB"],
            ["--table"],
            ["--history"],
        ]:
            for env in [{}, {"NO_COLOR": "1"}]:
                out = self.succeed("memory", *arguments, env=env)
                self.assertNotIn("\x1b", out)
                self.assertTrue(out.endswith("\n"))

    def test_tables_fit_a_hundred_columns(self):
        for line in self.succeed("memory", "--table").splitlines():
            self.assertLessEqual(len(line), 100, line)

    def test_the_text_says_the_room_and_what_stays_free(self):
        out = self.succeed("memory", "llama-2-7b", "--quant", "int4", "--ram", "16GB")
        self.assertRegex(out, r"are left to the system\): .* stay free")
        out = self.succeed("memory", "llama-2-70b", "--ram", "8GB")
        self.assertIn("are missing", out)

    def test_lora_of_7b_in_16_gb_does_not_hold_and_says_why(self):
        rows = self.answer("--table")["claims"]
        (row,) = [row for row in rows if row["claim"].startswith("7B, LoRA")]
        self.assertEqual(row["verdict"], "does not hold")
        self.assertIn("16-bit weights alone take 13.5 GB", row["note"])
        # Frozen weights, adapters with gradients and moments, what MLX's ops keep
        # of 2048 tokens in 32 layers and the three in work, a few rows' logits.
        kept = (6 + 5 + 2 * 2.5) * 4096 + 6 * 11008 + 32 * 512
        hand = 2 * 6738415616 + 16 * 8192 * 4 * 32 * 16
        hand += 2048 * 35 * kept * 2 + 4 * ((16 << 20) // 32000) * 32000 * 4
        self.assertAlmostEqual(row["needed"] / hand, 1, delta=0.005)
        self.assertEqual(row["allowed"], (16 << 30) // 3 * 2)


class Measured(TinyModel):
    def measure(self, *arguments):
        return json.loads(self.succeed("memory", *arguments, "--measure", "--json"))

    def parts(self, *arguments):
        return {p["part"]: p for p in self.measure(*arguments)["parts"]}

    def test_predicted_stands_beside_measured(self):
        out = self.measure(self.model, "--context", "300", "--batch", "2")
        self.assertEqual((out["context_tokens"], out["batch"]), (300, 2))
        for part in out["parts"]:
            self.assertGreater(part["predicted_bytes"], 0)
            self.assertGreater(part["measured_bytes"], 0)
            ratio = part["predicted_bytes"] / part["measured_bytes"] - 1
            self.assertAlmostEqual(part["error"], ratio, places=6)
        parts = {part["part"]: part for part in out["parts"]}
        # 512 slots of 3 layers with 2 heads of 16, twice.
        cache = parts["KV cache"]
        self.assertEqual(cache["measured_bytes"], 2 * 2 * 512 * 3 * 2 * 16 * 2)
        self.assertEqual(cache["measured_bytes"], cache["predicted_bytes"])

    def test_trainings_peak_is_within_64_mb_of_the_predicted(self):
        # Real weights, and random ones of the same shape in float and 4 bits.
        shape = self.write("shape.json", json.loads((self.model / "config.json").read_text()))
        for model, method in [
            (self.model, "lora"), (self.model, "full"), (shape, "dora"), (shape, "qlora"),
        ]:  # fmt: skip
            with self.subTest(method):
                out = self.measure(
                    model, "--train", method, "--train-batch", "2", "--seq", "64"
                )
                self.assertGreater(out["step_seconds"], 0)
                ratio = out["predicted_bytes"] / out["measured_bytes"] - 1
                self.assertAlmostEqual(out["error"], ratio, places=6)
                off = abs(out["predicted_bytes"] - out["measured_bytes"])
                self.assertLessEqual(off, 64e6)
        self.refuse(
            "memory", self.model, "--train", "lora", "--measure",
            "--measure-steps", "1", saying="--measure-steps",
        )

    def test_the_peak_is_within_64_mb_of_the_predicted(self):
        peak = self.parts(self.model, "--context", "128")["peak"]
        off = abs(peak["predicted_bytes"] - peak["measured_bytes"])
        self.assertLessEqual(off, 64e6)

    def test_a_config_alone_runs_with_random_weights(self):
        out = self.measure(self.model / "config.json", "--context", "64")
        self.assertIn("peak", [part["part"] for part in out["parts"]])

    def test_the_text_is_a_table_with_errors(self):
        out = self.succeed("memory", self.model, "--context", "64", "--measure")
        self.assertIn("Predicted", out)
        self.assertTrue(re.search(r"peak .*[+-]\d+\.\d %", out), out)

    def test_a_cache_in_codes_is_measured(self):
        cache = self.parts(self.model, "--kv-bits", "8")["KV cache"]
        self.assertEqual(cache["measured_bytes"], cache["predicted_bytes"])

    def test_ordinary_runs_are_kept_with_their_prediction(self):
        before = json.loads(self.succeed("memory", "--history", "--json"))
        self.assertEqual(before["runs"], [])
        self.generate("-n", "4")
        out = json.loads(self.succeed("memory", "--history", "--json"))
        (run,) = out["runs"]
        self.assertGreater(run["measured_peak_bytes"], 0)
        self.assertGreater(run["predicted_peak_bytes"], 0)
        self.assertIn("1 runs", self.succeed("memory", "--history"))


if __name__ == "__main__":
    unittest.main()
