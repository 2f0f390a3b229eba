"""roofline generate: prompts, sampling, stops, streaming, quantizing, caches."""

import json
import os
import shutil
import subprocess
import sys
import unittest

from program import BINARY, Program, TinyModel


class Prompts(TinyModel):
    def tokens(self, *arguments, **more):
        text = self.succeed(
            "generate", *arguments, "--json", "--temp", "0", "-n", "8", **more
        )
        return json.loads(text)["tokens"]

    def test_argument_input_and_file_give_the_same_answer(self):
        file = self.write("prompt.txt", "Hello\n")
        expected = self.tokens(self.model, "Hello")
        self.assertEqual(self.tokens(self.model, "-", input="Hello\n"), expected)
        self.assertEqual(self.tokens(self.model, "-f", file), expected)
        self.assertEqual(self.tokens("--model", self.model, "Hello"), expected)
        self.assertEqual(self.tokens("--model", self.model, "-f", file), expected)
        self.assertNotEqual(self.tokens(self.model, "Hellp"), expected)

    def test_a_raw_prompt_goes_around_the_template(self):
        rendered = "u:Hello\na:"
        self.assertEqual(
            self.tokens(self.model, rendered, "--raw"),
            self.tokens(self.model, "Hello"),
        )

    def test_a_system_message_comes_first(self):
        self.assertEqual(
            self.tokens(self.model, "s:Brief.\nu:Hello\na:", "--raw"),
            self.tokens(self.model, "Hello", "--system", "Brief."),
        )

    def test_brackets_braces_and_dashes_in_a_prompt_stay_as_they_are(self):
        for prompt in ["[1, 2]", "{}", "a=b", "- item", "--", "-"]:
            arguments = ["--raw", "--json", "-n", "1", self.model, "--", prompt]
            more = {"input": "x"} if prompt == "-" else {}
            out = json.loads(self.succeed("generate", *arguments, **more))
            expected = 1 if prompt == "-" else len(prompt)
            self.assertEqual(out["prompt_tokens"], expected, prompt)

    def test_a_folder_without_a_template_continues_the_text_and_says_so(self):
        (self.model / "tokenizer_config.json").unlink()
        result = self.run_program("generate", self.model, "Hello", "-n", "4")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"no chat template", result.stderr)

    def test_a_cache_in_codes_answers_and_its_mistakes_are_told(self):
        # As with floats where all tokens stay floats.
        self.assertEqual(
            self.tokens(self.model, "Hello", "--kv-bits", "8", "--kv-keep-full", "99"),
            self.tokens(self.model, "Hello"),
        )
        self.tokens(self.model, "Hello", "--k-bits", "8", "--v-bits", "4",
                    "--kv-group-size", "32")
        for wrong, said in [
            (["--kv-bits", "5"], b"8, 4 or 16"),
            (["--kv-bits", "8", "--kv-group-size", "16"], b"32 or 64"),
            (["--kv-group-size", "32"], b"--kv-bits"),
            (["--kv-keep-full", "4"], b"--kv-bits"),
        ]:
            result = self.run_program("generate", self.model, "Hello", *wrong)
            self.assertEqual(result.returncode, 2, wrong)
            self.assertIn(said, result.stderr)

    def test_settings_say_how_the_cache_is_kept(self):
        file = self.write("own.toml", "kv_bits = 4\nkv_group_size = 32\n")
        result = self.run_program(
            "generate", self.model, "Hello", "-n", "4", "--settings", file
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"KV cache 4 bits (group 32)", result.stderr)

    def test_without_a_tokenizer_the_message_says_so(self):
        (self.model / "tokenizer.json").unlink()
        self.refuse("generate", self.model, "Hello", saying="tokenizer")


class Output(TinyModel):
    def test_streamed_bytes_equal_the_text_of_json(self):
        for seed in ["1", "2", "3"]:
            arguments = ["--temp", "2", "--seed", seed, "-n", "120"]
            streamed = self.generate(*arguments)
            self.assertEqual(streamed, self.generate_json(*arguments)["text"])

    def test_the_line_of_truth_ends_standard_error(self):
        result = self.run_program("generate", self.model, "Hello", "-n", "8")
        self.assertEqual(result.returncode, 0, result.stderr)
        last = result.stderr.decode().splitlines()[-1]
        for word in ["load", "first token", "prefill", "decode", "peak", "roof"]:
            self.assertIn(word, last)

    def test_quiet_drops_it_and_json_gives_it_as_data(self):
        result = self.run_program(
            "generate", self.model, "Hello", "-n", "8", "--quiet"
        )
        self.assertEqual(result.stderr, b"")
        result = self.run_program(
            "generate", self.model, "Hello", "-n", "8", "--ignore-eos",
            "--json",
        )
        self.assertEqual(result.stderr, b"")
        out = json.loads(result.stdout)
        self.assertEqual(len(out["tokens"]), 8)
        self.assertEqual(out["finish_reason"], "length")
        self.assertGreater(out["stats"]["decode_tokens_per_second"], 0)
        self.assertGreater(out["stats"]["load_seconds"], 0)

    def test_logprobs_are_sorted_and_hold_the_token_of_argmax(self):
        out = self.generate_json("--temp", "0", "-n", "5", "--logprobs", "3")
        self.assertEqual(len(out["logprobs"]), 5)
        for token, step in zip(out["tokens"], out["logprobs"]):
            values = [other["logprob"] for other in step["top"]]
            self.assertEqual(len(values), 3)
            self.assertEqual(values, sorted(values, reverse=True))
            self.assertEqual(step["top"][0]["id"], token)
            self.assertLessEqual(max(values), 0)


class Startup(TinyModel):
    def test_the_parts_of_the_start_add_up_to_the_time_of_the_first_token(self):
        startup = self.generate_json("-n", "2", "--trace-startup")["startup"]
        parts = [p["seconds"] for p in startup["parts"] if not p["beside"]]
        self.assertGreater(startup["seconds"], 0)
        self.assertAlmostEqual(sum(parts), startup["seconds"], delta=1e-4)
        self.assertTrue(all(seconds >= 0 for seconds in parts), startup)
        names = " ".join(p["part"] for p in startup["parts"])
        for part in ["libraries", "header", "weights", "tokenizer", "template",
                     "prefill", "drawing"]:
            self.assertIn(part, names)
        self.assertNotIn("startup", self.generate_json("-n", "2"))

    def test_the_table_is_for_people(self):
        result = self.run_program(
            "generate", self.model, "Hello", "-n", "2", "--trace-startup")
        message = result.stderr.decode()
        self.assertRegex(message, r"total +[0-9.]+ ms")
        self.assertNotIn(b"total", result.stdout)

    @unittest.skipUnless(sys.platform == "linux", "the loader's own list")
    def test_libraries_for_downloads_are_not_loaded_at_the_start(self):
        out = subprocess.run(
            [BINARY], env={**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"},
            capture_output=True).stdout.decode()
        self.assertIn("libmlx", out)
        self.assertNotIn("curl", out)

    def test_more_threads_than_cores_are_told(self):
        cores = json.loads(self.succeed("version", "--json"))["threads"]
        arguments = ["generate", self.model, "Hello", "-n", "2", "--device", "cpu",
                     "--threads", cores + 1]

        def notice(*more):
            result = self.run_program(*map(str, [*arguments, *more]))
            self.assertEqual(result.returncode, 0)
            lines = result.stderr.decode().splitlines()
            return [line for line in lines if "threads share" in line], result.stdout

        lines, out = notice("--json")
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].startswith(f"roofline: {cores + 1} threads share"))
        json.loads(out)
        self.assertEqual(len(notice()[0]), 1)
        self.assertEqual(notice("--quiet")[0], [])
        arguments[-1] = cores
        self.assertEqual(notice()[0], [])


class Drawing(TinyModel):
    def test_the_same_seed_gives_the_same_text_on_one_and_two_threads(self):
        arguments = ["--temp", "1.5", "--seed", "7", "-n", "64"]
        one = self.generate(*arguments, "--threads", "1")
        self.assertEqual(self.generate(*arguments, "--threads", "2"), one)
        self.assertNotEqual(
            self.generate("--temp", "1.5", "--seed", "8", "-n", "64"), one
        )

    def test_the_reported_seed_repeats_an_unseeded_run(self):
        first = self.generate_json("--temp", "1.5", "-n", "32")
        again = self.generate_json(
            "--temp", "1.5", "-n", "32", "--seed", str(first["seed"])
        )
        self.assertEqual(first["tokens"], again["tokens"])

    def test_looking_up_tokens_in_the_text_leaves_the_answer_as_it_is(self):
        for draw in [["--temp", "0"], ["--temp", "0.8", "--seed", "3"]]:
            arguments = [*draw, "--exact", "-n", "200", "--ignore-eos"]
            plain = self.generate_json(*arguments)
            looked_up = self.generate_json(*arguments, "--prompt-lookup", "8")
            self.assertEqual(looked_up["tokens"], plain["tokens"])
        self.refuse(
            "generate", self.model, "Hello", "--prompt-lookup", "33",
            saying=["--prompt-lookup", "0 to 32"],
        )

    def test_looking_up_tokens_counts_what_was_right(self):
        # A token that is forced repeats itself: all that is looked up is right.
        arguments = ["generate", self.model, "Hello", "--json", "-n", "40"]
        arguments += ["--logit-bias", "65=900"]
        plain = json.loads(self.succeed(*arguments))
        self.assertNotIn("proposed_tokens", plain["stats"])
        out = json.loads(self.succeed(*arguments, "--prompt-lookup", "4"))
        self.assertEqual(out["text"], "A" * 40)
        self.assertGreater(out["stats"]["accepted_tokens"], 10)
        self.assertGreater(out["stats"]["tokens_per_step"], 1)

    def test_a_draft_model_leaves_the_answer_as_it_is(self):
        for draw in [["--temp", "0"], ["--temp", "0.8", "--seed", "3"]]:
            arguments = [*draw, "--exact", "-n", "200", "--ignore-eos"]
            plain = self.generate_json(*arguments)
            drafted = self.generate_json(*arguments, "--draft-model", self.model)
            self.assertEqual(drafted["tokens"], plain["tokens"])
            both = self.generate_json(
                *arguments, "--draft-model", self.model, "--num-draft-tokens", "2",
                "--prompt-lookup", "4")
            self.assertEqual(both["tokens"], plain["tokens"])

    def test_a_draft_model_that_never_guessed_is_told(self):
        arguments = [self.model, "Hello", "-n", "1", "--draft-model", self.model]
        result = self.run_program("generate", *arguments)
        self.assertIn(" · drafted 0 · ", result.stderr.decode())
        out = json.loads(self.succeed("generate", *arguments, "--json"))
        self.assertEqual(out["stats"]["drafted_tokens"], 0)

    def test_a_draft_model_needs_the_same_tokens(self):
        other = self.folder / "other"
        shutil.copytree(self.model, other)
        tokenizer = json.loads((other / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        first, second = list(vocabulary)[40:42]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        (other / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.refuse(
            "generate", self.model, "Hello", "--draft-model", other,
            saying=["another vocabulary", f'"{first}"', f'"{second}"'])
        self.refuse(
            "generate", self.model, "Hello", "--num-draft-tokens", "2",
            saying="--draft-model")
        self.refuse(
            "generate", self.model, "Hello", "--draft-model", self.model,
            "--num-draft-tokens", "33", saying="1 to 32")

    def test_a_bias_forces_a_token_and_bans_one(self):
        out = self.generate_json("-n", "4", "--logit-bias", "65=900")
        self.assertEqual(out["text"], "AAAA")
        greedy = self.generate_json("--temp", "0", "-n", "1")["tokens"][0]
        out = self.generate_json(
            "--temp", "0", "-n", "1", "--logit-bias", f"{greedy}=-inf"
        )
        self.assertNotEqual(out["tokens"], [greedy])

    def test_a_preset_is_overridden_by_an_option(self):
        greedy = self.generate("--temp", "0", "--repeat-penalty", "1", "-n", "16")
        preset = self.generate(
            "--preset", "qa", "--temp", "0", "--repeat-penalty", "1", "-n", "16"
        )
        self.assertEqual(preset, greedy)

    def test_every_sampling_option_is_accepted(self):
        self.generate(
            "-n", "4", "--temperature", "0.8", "--top-k", "40", "--top-p", "0.9",
            "--min-p", "0.05", "--typical", "0.95", "--xtc-probability", "0.5",
            "--xtc-threshold", "0.1", "--repetition-penalty", "1.1",
            "--presence-penalty", "-0.1", "--frequency-penalty", "0.1",
            "--penalty-window", "-1", "--dry-multiplier", "0.8", "--dry-base",
            "1.75", "--dry-allowed-length", "2", "--dry-window", "-1",
            "--dry-breaker", "\\n", "--dry-breaker", "[", "--seed", "1",
            "--min-tokens", "2", "--stop", "[END]", "--stop-token", "3",
        )


class Ends(TinyModel):
    def test_a_stop_string_ends_the_text_before_it(self):
        whole = self.generate("--temp", "0", "-n", "40", "--ignore-eos")
        stop = whole[10:13]
        before = whole[: whole.index(stop)]
        for extra in [[], ["--stop", "never to be seen"]]:
            text = self.generate(
                "--temp", "0", "-n", "40", "--ignore-eos", "--stop", stop, *extra
            )
            self.assertEqual(text, before)

    def test_a_stop_token_ends_the_text(self):
        tokens = self.generate_json("--temp", "0", "-n", "12")["tokens"]
        stop = tokens[6]
        out = self.generate_json(
            "--temp", "0", "-n", "12", "--stop-token", str(stop)
        )
        self.assertEqual(out["tokens"], tokens[: tokens.index(stop)])
        self.assertEqual(out["finish_reason"], "stop_token")

    def test_the_models_own_end_is_obeyed_and_can_be_ignored(self):
        forced = ["-n", "4", "--temp", "0", "--logit-bias", "2=900"]
        self.assertEqual(self.generate_json(*forced)["tokens"], [])
        self.assertEqual(len(self.generate_json(*forced, "--ignore-eos")["tokens"]), 4)
        self.assertEqual(
            len(self.generate_json(*forced, "--min-tokens", "3")["tokens"]), 3
        )

    def test_a_prompt_longer_than_the_context_names_both_numbers(self):
        prompt = "x" * 600
        message = self.refuse(
            "generate", self.model, "--raw", "-", input=prompt, saying="600"
        )
        self.assertIn("512", message)
        self.assertIn("context-overflow", message.replace("_", "-"))
        text = self.succeed(
            "generate", self.model, "--raw", "-n", "4", "--min-tokens", "1",
            "--context-overflow", "roll", "--quiet", "-", input=prompt,
        )
        self.assertNotEqual(text, "")

    def test_a_rotating_cache_outlives_the_context(self):
        out = self.generate_json("--max-kv", "64", "-n", "700", "--ignore-eos")
        self.assertEqual(len(out["tokens"]), 700)


class Quantizing(TinyModel):
    def cached(self):
        """Kept weights; the history of runs lies beside them."""
        return sorted(
            (str(path.relative_to(self.cache)), path.stat().st_ino)
            for path in self.cache.rglob("*")
            if path.is_file() and path.name != "history.db"
        )

    def test_quantizing_runs_and_differs_from_the_float_model(self):
        logprobs = {}
        for quant in ["none", "int8", "int4"]:
            out = self.generate_json(
                "--temp", "0", "-n", "1", "--logprobs", "5", "--quant", quant,
                *([] if quant == "none" else ["--group-size", "32"]),
            )
            logprobs[quant] = out["logprobs"][0]["top"][0]["logprob"]
        self.assertNotEqual(logprobs["none"], logprobs["int8"])
        self.assertNotEqual(logprobs["int8"], logprobs["int4"])
        self.assertAlmostEqual(logprobs["none"], logprobs["int8"], delta=0.05)

    def test_a_second_run_finds_the_first_ones_cache(self):
        arguments = ["--temp", "0", "-n", "8", "--quant", "int4"]
        first = self.generate(*arguments)
        kept = self.cached()
        self.assertTrue(kept)
        self.assertEqual(self.generate(*arguments), first)
        self.assertEqual(self.cached(), kept)

    def test_a_cache_that_cannot_be_written_is_told(self):
        env = {"ROOFLINE_CACHE": str(self.write("file", "")) + "/cache"}
        arguments = ["generate", self.model, "Hello", "-n", "2", "--quant", "int4"]
        said = self.run_program(*arguments, env=env)
        self.assertEqual(said.returncode, 0)
        self.assertRegex(said.stderr.decode(), "can't be cached.*ROOFLINE_CACHE")
        for quiet in ["--quiet", "--no-cache"]:
            said = self.run_program(*arguments, quiet, env=env)
            self.assertNotIn("can't be cached", said.stderr.decode())

    def test_no_cache_keeps_nothing(self):
        self.generate("--quant", "int4", "-n", "2", "--no-cache")
        self.assertEqual(self.cached(), [])


class Bundled(Program):
    def test_no_model_means_the_bundled_one(self):
        self.bundled()
        text = self.succeed(
            "generate", "--temp", "0", "-n", "24", "--quiet",
            "What is 2+2?",
        )
        self.assertIn("4", text)


if __name__ == "__main__":
    unittest.main()
