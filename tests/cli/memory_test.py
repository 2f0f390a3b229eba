"""`roofline memory`: what a model takes, what fits, and the guide's tables."""

import json
import os
import re
import struct
import unittest

from program import LLAMA, Program, TinyModel

METHODS = ["full", "lora", "qlora", "dora"]


def by_kind(answer):
    """{kind: bytes} of an answer's parts."""
    out = {}
    for part in answer["parts"]:
        out[part["kind"]] = out.get(part["kind"], 0) + part["bytes"]
    return out


def tensor_bytes(path):
    """Of all tensors of a safetensors file, by its header."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return sum(t["data_offsets"][1] - t["data_offsets"][0] for t in header.values())


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

    def test_fit_orders_by_what_was_measured_to_be_lost(self):
        out = self.answer("llama-2-7b", "--fit", "--ram", "64GB")
        order = [(row["format"].split()[0], row["kv_bits"]) for row in out["choices"]]
        self.assertEqual(order[:3], [("bf16", 16), ("int8", 16), ("bf16", 8)])
        self.assertEqual(order[-1], ("int4", 4))
        out = self.answer("llama-2-7b", "--fit", "--ram", "64GB", "--quant", "int8")
        self.assertEqual({row["format"] for row in out["choices"]}, {"int8 (group 64)"})
        # What has to be cut short comes last.
        rows = self.answer("llama-2-7b", "--fit", "--ram", "8GB")["choices"]
        self.assertEqual(
            [row["whole_context"] for row in rows],
            sorted((row["whole_context"] for row in rows), reverse=True))
        rows = self.answer("llama-3.2-1b", "--fit", "--ram", "64GB", "--context", "max")
        self.assertEqual(rows["choices"][0]["context_tokens"], 131072)

    def test_only_the_format_that_was_asked_for_is_listed(self):
        rows = self.answer("--ram", "16GB", "--quant", "int8")["models"]
        self.assertEqual({row["format"] for row in rows}, {"int8 (group 64)"})

    def test_files_are_told_to_the_byte_and_a_token_too(self):
        out = self.answer(LLAMA)
        stored = out["stored_weights"]
        self.assertTrue(stored["exact"])
        self.assertEqual(stored["bytes"], tensor_bytes(LLAMA / "model.safetensors"))
        self.assertEqual(stored["bytes"], sum(p["bytes"] for p in stored["parts"]))
        # Of the shapes of config.json, too.
        alone = self.answer(LLAMA / "config.json")["stored_weights"]
        self.assertEqual((alone["bytes"], alone["exact"]), (stored["bytes"], False))
        for name, token in [
            ("llama-2-7b", 2 * 32 * 4096 * 2),
            ("llama-3.1-8b", 2 * 32 * 8 * 128 * 2),
            ("deepseek-v3", 61 * (512 + 64) * 2),
        ]:
            self.assertEqual(self.answer(name)["kv_bytes_per_token"], token, name)

    def test_more_tokens_than_a_model_is_made_for_are_remarked(self):
        out = self.succeed("memory", "llama-2-7b", "--context", "5000")
        self.assertIn("made for 4096 tokens", out)
        self.assertNotIn("made for", self.succeed("memory", "llama-2-7b"))

    def test_a_name_of_four_bits_is_planned_in_four_bits(self):
        named = self.answer("mlx-community/Llama-3.2-3B-Instruct-4bit")
        asked = self.answer("llama-3.2-3b", "--quant", "int4")
        self.assertEqual(by_kind(named)["weights"], by_kind(asked)["weights"])

    def test_windows_differ_by_version(self):
        def cache(name):
            return by_kind(self.answer(name, "--context", "32768"))["kv"]

        self.assertLess(cache("Mistral-7B-Instruct-v0.1"), cache("Mistral-7B-Instruct-v0.3") / 4)

    def test_absurd_numbers_are_refused_rather_than_wrapped(self):
        for arguments in [
            ["--context", "2000000000", "--batch", "2000000000"],
            ["--context", "99999999999999"],
            ["--train", "lora", "--seq", "2000000000"],
            ["--train", "lora", "--train-batch", "2000000000"],
        ]:
            self.refuse("memory", "llama-2-7b", *arguments, saying="illion")
        out = self.answer("llama-2-7b", "--train", "lora", "--seq", "1000000000",
                          "--train-batch", "1", "--device", "gpu")
        self.assertGreater(out["total_bytes"], 1e18)

    def test_no_option_is_passed_over(self):
        for arguments, saying in [
            (["llama-2-7b", "--rank", "4"], "--train"),
            (["llama-2-7b", "--checkpointing"], "--train"),
            (["llama-2-7b", "--train", "lora", "--batch", "3", "--train-batch", "3"],
             "--train-batch"),
            (["--table", "--batch", "3"], "--table"),
            (["llama-2-7b", "--train", "lora", "--context", "9"], "--seq"),
            (["llama-2-7b", "--train", ""], "empty"),
            (["llama-2-7b", "--plot", ""], "empty"),
            (["llama-2-7b", "--measure-steps", "2"], "--measure"),
            (["--table", "--quant", "int4"], "--table"),
            (["--history", "llama-2-7b"], "--history"),
            (["--ram", "16GB", "--context", "max"], "--ram"),
        ]:
            self.refuse("memory", *arguments, saying=saying)

    def test_batch_is_of_training_too(self):
        arguments = ["llama-2-7b", "--train", "lora"]
        self.assertEqual(self.answer(*arguments, "--batch", "3"),
                         self.answer(*arguments, "--train-batch", "3"))
        result = self.run_program("memory", "llama-2-7b", "--train", "full", "--rank", "4")
        self.assertIn(b"full training has none", result.stderr)

    def test_a_target_counts_once(self):
        def adapters(targets):
            return by_kind(self.answer("llama-2-7b", "--train", "lora", "--targets",
                                       targets))["adapters"]

        self.assertEqual(adapters("q_proj,q_proj"), adapters("q_proj"))

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_a_folder_that_may_not_be_read_is_a_mistake(self):
        closed = self.folder / "closed"
        closed.mkdir()
        closed.chmod(0)
        self.addCleanup(closed.chmod, 0o700)
        self.refuse("memory", closed, saying="Permission denied")

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
        arguments = ["llama-2-70b", "--context", "max", "--ram"]
        self.refuse("memory", *arguments, "64GB", saying="--fit")
        self.refuse("memory", *arguments, "8GB", saying="GB more")

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
        # The sum of batches, and of the one that is added to it the head's and a
        # layer's.
        layer = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
        self.assertEqual(kinds["gradients"], 4 * (6738415616 + 32000 * 4096 + layer))
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

    def test_no_more_layers_are_trained_than_there_are(self):
        self.succeed("memory", "llama-2-7b", "--train", "lora", "--train-layers", "32")
        self.refuse("memory", "llama-2-7b", "--train", "lora", "--train-layers", "33",
                    saying=["--train-layers can't be 33", "32 layers"])

    def test_a_machine_on_which_no_model_fits_is_refused(self):
        self.refuse("memory", "--ram", "100MB", saying="No known model fits")
        text = self.succeed("memory", "--ram", "16GB", "--context", "999999999")
        self.assertIn("or as many as the model is made for", " ".join(text.split()))

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

    def test_tables_fit_the_columns_that_there_are(self):
        for arguments in [["--table"], ["llama-2-7b"], ["--ram", "16GB"],
                          ["llama-2-7b", "--fit", "--ram", "16GB"],
                          ["llama-2-7b", "--train", "lora"]]:
            for columns in [40, 60, 80]:
                out = self.succeed("memory", *arguments, env={"COLUMNS": str(columns)})
                for line in out.splitlines():
                    self.assertLessEqual(len(line), columns, line)

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
            (shape, "full"),
        ]:  # fmt: skip
            with self.subTest(f"{method} of {model.name}"):
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

    def test_threads_are_counted_and_are_a_cpus(self):
        train = ("memory", "llama-2-7b", "--train", "qlora", "--device", "cpu", "--json")
        few, many = (
            json.loads(self.succeed(*train, "--threads", count))["total_bytes"]
            for count in ("2", "16")
        )
        self.assertGreater(many, few)
        out = self.measure(self.model, "--train", "lora", "--seq", "64", "--threads", "1")
        self.assertGreater(out["measured_bytes"], 0)
        gpu = ("memory", "llama-2-7b", "--device", "gpu", "--threads", "2")
        self.refuse(*gpu, saying="--threads")
        self.refuse("memory", "llama-2-7b", "--threads", "0", saying="--threads")

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
