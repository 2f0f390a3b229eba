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

    def test_all_chips_are_listed(self):
        names = {row["name"] for row in self.recommend("--list-chips")}
        self.assertTrue({"M1", "M2 Pro", "M3 Ultra", "M5 Max"} <= names)


if __name__ == "__main__":
    unittest.main()
