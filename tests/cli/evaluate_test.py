"""roofline evaluate from outside: perplexity, comparison, tasks, mistakes."""

import json
import unittest

from program import TinyModel

TASK = (
    '{"question": "ab", "choices": ["c", "de"], "answer": 0}\n'
    '{"question": "b", "choices": ["c", "de"], "answer": "B"}\n'
)


class Evaluate(TinyModel):
    def evaluate(self, *arguments, **more):
        return json.loads(
            self.succeed("evaluate", self.model, "--json", *arguments, **more)
        )

    def test_a_random_model_finds_every_token_about_as_likely(self):
        text = "".join(chr(33 + i % 90) for i in range(300))
        found = self.evaluate("--text", "-", "--context", "64", input=text)
        self.assertEqual(found["text"]["stride_tokens"], 64)
        self.assertGreater(found["quality"]["perplexity"], 1)
        self.assertGreater(found["quality"]["perplexity_standard_error"], 0)
        self.assertFalse(found["stopped"])

    def test_against_itself_nothing_diverges(self):
        found = self.evaluate(
            "--text", "-", "--reference", self.model, "--exact", input="abc" * 40
        )
        quality = found["quality"]
        self.assertEqual(quality["top1_agreement"], 1)
        self.assertLess(quality["kl"]["p99"], 1e-6)
        self.assertEqual(
            quality["perplexity"], quality["reference_perplexity"]
        )

    def test_a_cache_in_codes_is_compared_with_one_in_floats(self):
        def kl(*arguments):
            found = self.evaluate(
                "--text", "-", "--reference", self.model, "--exact", *arguments,
                input="abc" * 40,
            )
            return found.get("kv_cache"), found["quality"]["kl"]["mean"]

        eight, near = kl("--kv-bits", "8", "--kv-group-size", "32")
        four, far = kl("--kv-bits", "4", "--kv-group-size", "32")
        self.assertEqual((eight["key_bits"], four["value_bits"]), (8, 4))
        self.assertGreater(near, 0)
        self.assertGreater(far, near)
        self.assertIsNone(kl()[0])

    def test_more_strides_count_more_tokens(self):
        text = "abcdefgh" * 32
        few = self.evaluate("--text", "-", "--context", "32", input=text)
        all_but_one = self.evaluate(
            "--text", "-", "--context", "32", "--stride", "8", input=text
        )
        half = self.evaluate(
            "--text", "-", "--context", "32", "--like", "llama.cpp", input=text
        )
        tokens = [r["quality"]["tokens"] for r in (half, few, all_but_one)]
        self.assertEqual(tokens, [8 * 15, 8 * 31, 255])

    def test_a_task_gives_accuracies_and_scores(self):
        task = self.folder / "task.jsonl"
        task.write_text(TASK)
        found = self.evaluate("--choices", task)["task"]
        self.assertEqual(found["questions"], 2)
        self.assertEqual(len(found["scores"][1]["log_likelihoods"]), 2)
        self.assertEqual(found["scores"][1]["answer"], 1)
        self.assertIn("accuracy_normalised", found)

    def test_mistakes_are_told(self):
        for arguments, said in [
            (["--context", "1"], "context"),
            (["--context", "8", "--stride", "9"], "stride"),
            (["--like", "mlx"], "--like mlx"),
            (["--bos", "end"], "--bos end"),
            (["--choices", "x.jsonl", "--reference", "y"], "--reference"),
        ]:
            with self.subTest(arguments):
                self.refuse(
                    "evaluate", self.model, *arguments, input="abc", saying=said
                )



if __name__ == "__main__":
    unittest.main()
