"""roofline recommend: what suits a named machine, and the guide's examples."""

import json
import unittest

from program import Program


class Recommend(Program):
    def recommend(self, *arguments):
        return json.loads(self.succeed("recommend", *arguments, "--json"))

    def test_nothing_is_recommended_that_does_not_fit(self):
        for chip, ram in [("M1", "8GB"), ("M2 Pro", "16GB"), ("M4 Max", "128GB")]:
            out = self.recommend("--chip", chip, "--ram", ram)
            budget = out["machine"]["budget_bytes"]
            self.assertLess(budget, out["machine"]["ram_bytes"])
            for plan in [out["best"], *out["others"]]:
                self.assertLessEqual(plan["memory_bytes"], budget)
                self.assertGreaterEqual(plan["copies_at_once"], 1)
                self.assertGreaterEqual(plan["parallel_streams"], 1)
                self.assertGreater(plan["decode_tokens_per_second"], 0)
                self.assertGreater(plan["prefill_speedup_over_cpu"], 1)

    def test_what_cannot_fit_is_refused(self):
        self.refuse("recommend", "--chip", "M1", "--ram", "8GB", "--model",
                    "llama-2-70b", saying="doesn't fit")

    def test_an_unknown_chip_offers_the_nearest(self):
        self.refuse("recommend", "--chip", "M2 Prp", saying="M2 Pro")
        self.refuse("recommend", "--use", "chta", saying="chat")
        self.refuse("recommend", "--ram", "much", saying="--ram")

    def test_the_guides_examples_are_computed(self):
        rows = self.recommend("--guide")["guide"]
        self.assertEqual(len(rows), 5)
        for row in rows:
            holds = row["memory_bytes"] <= row["budget_bytes"]
            self.assertEqual(row["verdict"] == "holds", holds)

    def test_training_names_a_method_that_fits(self):
        out = self.recommend("--chip", "M3 Max", "--ram", "64GB", "--use", "train")
        self.assertTrue(out["best"]["fits"])
        self.assertEqual(
            {row["method"] for row in out["methods"]},
            {"full", "lora", "qlora", "dora"},
        )

    def test_a_machine_of_the_guide_is_a_name_too(self):
        for name, chip, gib in [
            ("MacBook Air M2 (8GB)", "M2 (", 8),
            ("MacBook Pro M2 Pro (16GB)", "M2 Pro", 16),
            ("Mac Studio M1 Ultra (64GB)", "M1 Ultra", 64),
        ]:
            machine = self.recommend("--chip", name)["machine"]
            self.assertTrue(machine["name"].startswith(chip), machine)
            self.assertEqual(machine["ram_bytes"], gib << 30)

    def test_commands_ask_for_the_machine_and_train(self):
        out = self.recommend("--chip", "M2 Pro", "--ram", "16GB")
        (memory, _) = out["best"]["commands"]
        self.assertIn("--ram 16GB", memory)
        answer = json.loads(self.succeed(*memory.split()[1:], "--json"))
        self.assertEqual(answer["total_bytes"], out["best"]["memory_bytes"])
        best = self.recommend("--chip", "M2 Pro", "--ram", "16GB", "--use", "train")["best"]
        answer = json.loads(self.succeed(*best["memory_command"].split()[1:], "--json"))
        self.assertEqual(answer["total_bytes"], best["memory_bytes"])
        self.assertTrue(best["command"].startswith("roofline train --model "))
        options = {w for w in best["command"].split() if w.startswith("--")}
        known = self.succeed("train", "--help")
        for option in options:
            self.assertIn(option, known)

    def test_small_machines_get_small_models_and_none_that_never_was(self):
        out = self.recommend("--ram", "2GB")
        self.assertLessEqual(out["best"]["memory_bytes"], 1 << 30)
        out = self.recommend("--chip", "M3 Max", "--ram", "64GB")
        names = [plan["model"] for plan in [out["best"], *out["others"]]]
        self.assertNotIn("llama-2-33b", names)

    def test_commands_that_cannot_ask_for_the_machine_are_left_out(self):
        out = self.recommend("--chip", "RTX 3060")
        self.assertEqual(len(out["best"]["commands"]), 1)
        self.assertIn("roofline generate", out["best"]["commands"][0])
        self.assertNotIn("roofline memory", self.succeed("recommend", "--chip", "RTX 3060"))
        out = self.recommend("--chip", "RTX 3060", "--use", "train")
        self.assertIsNone(out["best"]["memory_command"])

    def test_all_chips_are_listed(self):
        names = {row["name"] for row in self.recommend("--list-chips")}
        self.assertTrue({"M1", "M2 Pro", "M3 Ultra", "M5 Max"} <= names)


    def test_what_was_measured_of_this_machine_only_rises(self):
        first = self.recommend("--ram", "16GB")
        machine = first["machine"]
        for rate in ["bytes_per_second", "operations_per_second"]:
            self.assertGreater(machine[rate], 1e8)
        self.assertGreater(machine["float_operations_per_second"], 1e8)
        best = first["best"]
        self.assertGreater(best["prefill_tokens_per_second"], 0)
        prompt = best["prompt_tokens"] / best["prefill_tokens_per_second"]
        self.assertAlmostEqual(best["first_token_seconds"], prompt, places=6)
        again = self.recommend("--ram", "16GB")["machine"]
        self.assertEqual(again["bytes_per_second"], machine["bytes_per_second"])
        for rate in ["operations_per_second", "float_operations_per_second"]:
            self.assertGreaterEqual(again[rate], machine[rate])

    def test_each_use_has_its_context_prompt_and_preset(self):
        prompts = {"chat": 1024, "code": 4096, "qa": 2048, "creative": 512}
        for use, prompt in prompts.items():
            out = self.recommend("--chip", "M3 Max", "--ram", "64GB", "--use", use)
            self.assertEqual(out["use"], use)
            best = out["best"]
            self.assertEqual(best["prompt_tokens"], prompt)
            self.assertGreater(best["first_token_seconds"], 0)
            self.assertIn(f"--preset {use}", best["commands"][1])
        out = self.recommend("--chip", "M3 Max", "--ram", "64GB", "--use", "code")
        names = [plan["model"] for plan in [out["best"], *out["others"]]]
        self.assertTrue(all("coder" in n or "gpt-oss" in n for n in names), names)

    def test_the_guides_air_holds_with_less_context_and_the_rest_as_stated(self):
        rows = self.recommend("--guide")["guide"]
        air = rows[0]
        self.assertEqual((air["chip"], air["ram_gib"], air["bits"]), ("M2", 8, 4))
        self.assertIn("holds only if context", air["verdict"])
        self.assertIn("weights 3.8 GB, KV cache of 4096 tokens", air["why"])
        # 4.5 bits of 6.7 billion, and 2560 tokens of keys and values, in 2/3 of
        # 8 GiB.
        most = air["largest_context_tokens"]
        hand = 6738415616 * 4.5 / 8 + most * 2 * 32 * 4096 * 2
        self.assertLess(hand, (8 << 30) * 2 / 3)
        for row in rows[1:]:
            self.assertEqual((row["verdict"], row["why"]), ("holds", ""), row)
        self.assertIn("KV cache of 4096 tokens", self.succeed("recommend", "--guide"))


if __name__ == "__main__":
    unittest.main()
