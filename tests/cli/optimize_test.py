"""roofline optimize: a search on a small model, and its settings file."""

import json
import unittest

from program import TinyModel


class Optimize(TinyModel):
    def optimize(self, *arguments):
        return json.loads(
            self.succeed("optimize", self.model, "--budget", "120", "-p", "16", "-n", "8",
                         "--min-quality", "0.01", "--json", *arguments))

    def test_it_measures_and_writes_settings_that_generate_takes(self):
        file = self.folder / "best.toml"
        out = self.optimize("--out", file, "--plot", self.folder / "p.svg")
        self.assertTrue(out["measured"])
        chosen = [c for c in out["candidates"] if c["chosen"]]
        self.assertEqual(len(chosen), 1)
        self.assertEqual(chosen[0]["settings"], out["choice"])
        self.assertGreater(out["candidates"][0]["decode_tokens_per_second"], 0)
        self.assertGreaterEqual(out["speedup"], 1)
        self.assertTrue(file.read_text().startswith("# "))
        self.assertIn("<svg", (self.folder / "p.svg").read_text())
        self.succeed("generate", self.model, "hello", "--settings", file, "-n", "2")

    def test_quality_is_measured_where_weights_are_floats(self):
        out = self.optimize("--optimize-quant", "--goal", "memory")
        judged = [c for c in out["candidates"] if c["quality"]]
        self.assertGreater(len(judged), 1)
        self.assertEqual(judged[0]["quality"]["score"], 1)

    def test_applied_settings_are_the_models_default_until_left_out(self):
        out = self.optimize("--optimize-params", "--apply")
        file = out["settings_files"][0]
        with open(file, "w") as settings:
            settings.write("quant = \"int4\"\nmax_tokens = 3\n")
        run = self.run_program("generate", self.model, "hello", "--ignore-eos")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("settings: int4", run.stderr.decode())
        out = json.loads(self.succeed("generate", self.model, "hello", "--json",
                                      "--ignore-eos"))
        self.assertEqual(len(out["tokens"]), 3)
        out = json.loads(self.succeed("generate", self.model, "hello", "--json",
                                      "--ignore-eos", "--no-settings", "-n", "5"))
        self.assertEqual(len(out["tokens"]), 5)

    def test_quicker_ways_to_draw_are_told_and_not_chosen(self):
        out = self.optimize("--optimize-params", "--preset", "chat")
        told = [c for c in out["candidates"] if c["told_only"]]
        self.assertIn("temperature 0", " ".join(c["settings"] for c in told))
        self.assertTrue(any(c["measured"] for c in told))
        self.assertNotIn("temperature", out["choice"])
        self.refuse("optimize", self.model, "--preset", "chta", saying="chat")

    def test_a_settings_file_names_its_model(self):
        file = self.folder / "best.toml"
        self.optimize("--optimize-params", "--out", file)
        self.assertIn(str(self.model), file.read_text())
        out = json.loads(self.succeed("generate", "hello", "--settings", file, "-n", "2",
                                      "--json", "--ignore-eos"))
        self.assertEqual(len(out["tokens"]), 2)
        bench = json.loads(self.succeed("bench", "--settings", file, "-p", "8", "-n", "2",
                                        "--rounds", "1", "--json"))
        self.assertEqual(bench["model"], "tiny")

    def test_batches_are_searched_where_several_answers_are_wanted(self):
        out = self.optimize("--optimize-params", "--answers", "2")
        self.assertIn("batch 2", " ".join(c["settings"] for c in out["candidates"]))

    def test_prompt_lookup_is_searched_where_a_text_is_answered(self):
        prompt = self.folder / "prompt.txt"
        prompt.write_text("one two three one two three one two")
        out = self.optimize("--optimize-params", "--prompt-file", prompt)
        looked_up = [c for c in out["candidates"] if "lookup" in c["settings"]]
        self.assertTrue(looked_up)
        self.assertTrue(any(c["measured"] for c in looked_up))

    def test_a_draft_model_is_searched_where_a_text_is_answered(self):
        prompt = self.folder / "prompt.txt"
        prompt.write_text("one two three one two three one two")
        out = self.optimize("--optimize-params", "--prompt-file", prompt,
                            "--draft-model", self.model)
        drafted = [c for c in out["candidates"] if "draft" in c["settings"]]
        self.assertTrue(any(c["measured"] for c in drafted))
        self.refuse("optimize", self.model, "--draft-model", self.model,
                    saying="--prompt-file")

    def test_parts_may_have_more_bits_than_the_rest(self):
        plain = ["generate", self.model, "hello", "-n", "2", "--quant", "int4",
                 "--group-size", "32"]
        self.succeed(*plain, "--quant-8bit", "embed,down")
        self.refuse(*plain, "--quant-8bit", "dwon", saying="down")
        self.refuse("generate", self.model, "x", "--quant-8bit", "down",
                    saying="--quant int4")

    def test_a_model_without_weights_is_only_predicted(self):
        out = json.loads(self.succeed(
            "metal_optimizer", "--model", "llama-2-7b", "--optimize-quant",
            "--optimize-params", "--json"))
        self.assertFalse(out["measured"])
        self.assertGreater(len(out["candidates"]), 3)
        self.assertIsNone(out["speedup_low"])
        self.assertIsNone(out["speedup_high"])

    def test_a_model_that_fits_only_in_fewer_bits_is_predicted_in_those(self):
        # 810 GB as stored: more than a machine of today has.
        out = json.loads(self.succeed(
            "optimize", "llama-3.1-405b", "--max-memory", "600GB", "--json"))
        self.assertIn("int", out["choice"])
        chosen = [c for c in out["candidates"] if c["chosen"]]
        self.assertLess(chosen[0]["predicted_bytes"], 600 << 30)
        self.assertGreater(out["candidates"][0]["predicted_bytes"], 600 << 30)
        message = self.refuse("optimize", self.model, "-p", "2000000000",
                              saying="can't run here")
        self.assertNotIn("--quant", message)

    def test_mistakes_end_in_a_sentence(self):
        self.refuse("optimize", "--goal", "sped", saying="speed")
        self.refuse("optimize", "--min-quality", "2", saying="--min-quality")
        self.refuse("optimize", "--budget", "0", saying="--budget")
        self.refuse("optimize", "--model", "llama-2-7b", "--max-memory", "1GB",
                    saying="--max-memory")
        bad = self.folder / "bad.toml"
        bad.write_text("thread = 2\n")
        self.refuse("generate", self.model, "hello", "--settings", bad, saying="threads")


if __name__ == "__main__":
    unittest.main()
