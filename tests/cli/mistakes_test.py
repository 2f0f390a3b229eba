"""What a user can do wrong: each mistake ends with exit code 2 and one message
that says what, why and what to do."""

import json
import os
import random
import struct
import subprocess
import unittest

from program import BINARY, LLAMA, Program, TinyModel


class Arguments(Program):
    def test_no_command_shows_the_help(self):
        result = self.run_program()
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"Commands", result.stderr)

    def test_an_unknown_command_offers_the_nearest(self):
        self.refuse("genrate", "x", saying="generate")
        self.refuse("--frobnicate", saying="--frobnicate")

    def test_an_unknown_option_offers_the_nearest(self):
        self.refuse("generate", "--temprature", "1", "x", saying="--temperature")
        self.refuse("inspect", "--jsn", saying="--json")
        self.refuse("tokenize", "--idz", saying="--ids")

    def test_missing_arguments_are_named(self):
        self.refuse("generate", saying="prompt")
        self.refuse("tokenize", saying="MODEL")
        self.refuse("template", saying="--template")
        self.refuse("logits", LLAMA, saying="--ids")
        self.refuse("completion", saying="SHELL")

    def test_values_that_are_no_numbers_are_refused(self):
        for option in ["--temp", "--top-k", "--seed", "-n", "--threads"]:
            self.refuse("generate", option, "soon", "x",
                        saying=[option.strip("-"), '"soon"', "number"])
            self.refuse("generate", "x", option, saying="has no value")
        self.refuse("generate", "--threads", "1.5", "x", saying="whole number")
        self.refuse("generate", "--threads", "9" * 20, "x", saying="too large")
        self.refuse("generate", "--exact=maybe", "x", saying="no value")
        self.refuse("bench", "-p", "1,x", saying="commas")

    def test_numbers_are_decimal(self):
        for value in ["0x10", "inf", "nan", " 5", "1'0"]:
            self.refuse("generate", "--temp", value, "x",
                        saying=["--temp", f'"{value}"', "decimal digits"])
        self.refuse("generate", "--temp", "1e400", "x", saying="too large")
        self.refuse("generate", "--threads", "0x10", "x", saying="decimal digits")
        self.refuse("generate", "--seed", "-5", "x", saying="from 0")
        self.refuse("generate", "--logit-bias", "1=0x2", "x", saying="0x2")
        self.refuse("memory", "--context", "0x1000", saying="0x1000")
        self.refuse("memory", "--ram", "0x10GB", saying="0x10GB")
        self.refuse("train", "--learning-rate", "0x1p-3", "--data", "d",
                    saying="0x1p-3")

    def test_a_flag_takes_no_value(self):
        for value in ["5", "false", "maybe"]:
            self.refuse("generate", f"--quiet={value}", "x",
                        saying=["--quiet", f'"{value}"', "no value"])
        self.refuse("inspect", "--json=5", saying="--json")

    def test_entries_of_a_list_are_not_empty(self):
        for value in ["1,,2", "1,", ",1", ","]:
            self.refuse("bench", "-n", value,
                        saying=["--decode-tokens", f'"{value}"', "empty"])
        self.refuse("bench", "--device", "cpu,,cpu", saying="empty")
        self.refuse("memory", "--train", "lora", "--targets", "q_proj,,k_proj",
                    saying="empty")
        self.refuse("train", "--targets", "q_proj,", "--data", "d", saying="empty")
        self.refuse("generate", "--quant", "int4", "--quant-8bit", "embed,", "x",
                    saying="empty")

    def test_an_option_given_twice_is_refused(self):
        self.refuse("generate", "x", "--temp", "0", "--temp=1",
                    saying=["--temp", "2 times", "one value"])

    def test_an_unset_variable_is_not_taken_for_a_default(self):
        for option in ["--threads", "--prompt-lookup", "--draft-model", "--model",
                       "--file", "--quant"]:
            self.refuse("generate", "x", option, "", saying=[option, "empty"])
        self.refuse("generate", "", "x", saying=["MODEL", "empty"])
        self.refuse("bench", "-p", "", saying=["--prompt-tokens", "empty"])

    def test_impossible_values_are_refused_before_a_model_is_loaded(self):
        for option, value in [
            ("--temp", "-1"), ("--temp", "nan"), ("--top-p", "1.5"),
            ("--top-k", "-2"), ("--min-p", "2"), ("--typical", "-0.1"),
            ("--xtc-probability", "3"), ("--repeat-penalty", "0"),
            ("--threads", "0"), ("--threads", "100000"), ("-n", "0"),
            ("--min-tokens", "-1"), ("--max-kv", "0"), ("--device", "tpu"),
            ("--quant", "int3"), ("--group-size", "64"), ("--preset", "poet"),
            ("--logit-bias", "x=1"), ("--logit-bias", "7"), ("--stop", ""),
            ("--context-overflow", "wrap"), ("--logprobs", "-1"),
            ("--seed", "-5"), ("--seed", "99999999999999999999999"),
        ]:
            self.refuse("generate", "/no/such/model", "x", option, value)
        self.refuse(
            "generate", "/no/such/model", "x", "--quant", "int4",
            "--group-size", "48", saying="48",
        )
        self.refuse("generate", "x", "--min-tokens", "9", "-n", "4", saying="9")
        self.refuse("generate", "a", "b", "c", saying="c")
        self.refuse("bench", "--rounds", "0")
        self.refuse("bench", "-p", "-1")

    def test_a_gpu_that_is_not_there_is_refused(self):
        backend = json.loads(self.succeed("version", "--json"))["backend"]
        if backend == "cpu":
            self.refuse("logits", LLAMA, "--device", "gpu", "--ids",
                        self.write("i.json", [[1]]), "--out", self.folder / "o",
                        saying=["GPU", "--device cpu"])


class Prompts(TinyModel):
    def test_empty_prompts_are_refused(self):
        self.refuse("generate", self.model, "", saying="empty")
        self.refuse("generate", self.model, "-", saying="empty")
        self.refuse("generate", self.model, "--raw", "", saying="empty")

    def test_a_prompt_that_is_not_utf8_names_the_offset(self):
        self.refuse("generate", self.model, "-", input=b"abc\xff", saying="3")
        self.refuse("generate", self.model, b"ab\xc3", saying="2")
        self.refuse("tokenize", self.model, input=b"\xed\xa0\x80", saying="0")

    def test_a_model_where_the_prompt_belongs_is_noticed(self):
        self.refuse("generate", self.model, saying="is a model")
        self.refuse("generate", "--model", self.model, saying="prompt is missing")
        self.refuse("generate", "--model", self.model, "a", "b", saying="two models")
        prompt = self.write("prompt", "Hello")
        self.refuse("generate", "--model", self.model, "a", "-f", prompt,
                    saying=["two prompts", "--file", '"a"'])

    def test_raw_and_system_exclude_each_other(self):
        self.refuse("generate", self.model, "x", "--raw", "--system", "y")


class Files(TinyModel):
    def test_missing_files_are_named(self):
        self.refuse("inspect", "/no/such/model.gguf", saying="/no/such/model.gguf")
        self.assertNotIn("pull", self.refuse("inspect", "/no/model.gguf"))
        self.refuse("inspect", "no/model", saying="roofline pull no/model")
        self.refuse("generate", "-f", "/no/file", saying="/no/file")
        messages = self.write("m.json", [])
        self.refuse("template", "--template", "/no/t", "--messages", messages,
                    saying="/no/t")
        self.refuse("logits", LLAMA, "--ids", "/no/i", "--out", "o", saying="/no/i")

    def test_broken_json_is_refused(self):
        template = self.write("t.jinja", "x")
        for text in ["", "[", "{}", '{"a": ', "[" * 100000, "\xff", "[1] [2]"]:
            messages = self.write("m.json", text)
            self.refuse("template", "--template", template, "--messages", messages)
        messages = self.write("m.json", [])
        self.refuse("template", "--template", template, "--messages", messages,
                    "--tools", self.write("tools.json", {"no": "list"}))

    def test_a_broken_template_is_refused(self):
        messages = self.write("m.json", [{"role": "user", "content": "x"}])
        for source in ["{% for %}", "{{ x", "{% endfor %}", "{{ 1 / 0 }}"]:
            template = self.write("t.jinja", source)
            self.refuse("template", "--template", template, "--messages", messages)

    def test_garbage_is_no_model(self):
        noise = random.Random(1).randbytes(4096)
        for content in [b"", b"GGUF", noise, b"GGUF" + noise,
                        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**63)]:
            path = self.write("model.gguf", content)
            self.refuse("inspect", path)
            self.refuse("tokenize", path, "--ids", input="x")
            self.refuse("generate", path, "x")

    def test_a_truncated_gguf_is_refused_wherever_it_ends(self):
        whole = self.bundled()
        with open(whole, "rb") as file:
            start = file.read(1 << 20)
        for size in [3, 8, 23, 24, 100, 5000, 400000, len(start)]:
            path = self.write("cut.gguf", start[:size])
            self.refuse("inspect", path)

    def test_truncated_safetensors_are_refused(self):
        whole = (self.model / "model.safetensors").read_bytes()
        for size in [0, 7, 8, 60, len(whole) // 2, len(whole) - 1]:
            (self.model / "model.safetensors").write_bytes(whole[:size])
            self.refuse("generate", self.model, "x")
            self.refuse("inspect", self.model)

    def test_a_header_cannot_claim_memory(self):
        for claim in [2**63, 2**62, 2**40, 10**9]:
            data = struct.pack("<Q", claim) + b"{}" + b" " * 100
            (self.model / "model.safetensors").write_bytes(data)
            self.refuse("inspect", self.model)

    def test_a_config_that_contradicts_the_tensors_is_refused(self):
        path = self.model / "config.json"
        config = json.loads(path.read_text())
        for key, value in [
            ("hidden_size", 128), ("num_hidden_layers", 4), ("vocab_size", 300),
            ("num_attention_heads", 3), ("hidden_size", "wide"),
            ("num_hidden_layers", -1), ("num_hidden_layers", 10**9),
            ("model_type", "lama"), ("rms_norm_eps", "tiny"),
        ]:
            path.write_text(json.dumps({**config, key: value}))
            self.refuse("generate", self.model, "x")

    def test_a_broken_tokenizer_or_chat_template_is_refused(self):
        tokenizer = (self.model / "tokenizer.json").read_text()
        for text in ["", "{}", tokenizer[:500], "[]"]:
            (self.model / "tokenizer.json").write_text(text)
            self.refuse("generate", self.model, "x")
        (self.model / "tokenizer.json").write_text(tokenizer)
        config = {"chat_template": "{% for %}"}
        (self.model / "tokenizer_config.json").write_text(json.dumps(config))
        self.refuse("generate", self.model, "x")


class ClosedOutput(TinyModel):
    def test_a_full_disk_is_told(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run(
                [BINARY, "generate", self.model, "Hello", "-n", "20"],
                stdout=full, stderr=subprocess.PIPE, env=self.environment(),
            )
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"standard output", result.stderr)
        self.assertEqual(result.stderr.count(b"\n"), 1)

    def test_closed_streams_are_told(self):
        def without(descriptor, *arguments):
            command = f'exec "$0" "$@" {descriptor}'
            return subprocess.run(
                ["sh", "-c", command, BINARY, *arguments], capture_output=True,
                env=self.environment())

        result = without(">&-", "generate", self.model, "Hello", "-n", "4")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"standard output. It is closed", result.stderr)
        result = without("<&-", "generate", self.model, "-")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"standard input. It is closed", result.stderr)
        result = without("2>&-", "generate", self.model, "Hello", "-n", "4")
        self.assertEqual(result.returncode, 0)
        self.assertTrue(result.stdout)

    def test_a_closed_pipe_ends_the_run_quietly(self):
        process = self.start("generate", self.model, "Hello", "-n", "400",
                             "--max-kv", "64", "--ignore-eos")
        process.stdout.read(1)
        process.stdout.close()
        self.assertEqual(process.wait(60), 141)
        self.assertEqual(process.stderr.read(), b"")


if __name__ == "__main__":
    unittest.main()
