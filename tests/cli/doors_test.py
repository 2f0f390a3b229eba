"""The doors for outside checks, with exactly the arguments they promise, and
the commands that tell about things."""

import json
import shutil
import struct
import subprocess
import unittest

from program import GOLDENS, LLAMA, Program, TinyModel, read_safetensors

MESSAGES = [
    {"role": "user", "content": "Hi <there> & 'you'"},
    {"role": "assistant", "content": "Hé\n"},
]


class Tokenize(TinyModel):
    def test_ids_are_one_line_of_the_exact_input(self):
        out = self.succeed("tokenize", self.model, "--ids", input="Hi\n é\n")
        self.assertEqual(out, "72 105 10 32 195 169 10\n")

    def test_without_ids_each_token_has_a_line(self):
        out = self.succeed("tokenize", self.model, input="A\n").splitlines()
        self.assertEqual([line.split()[0] for line in out], ["65", "10"])

    def test_a_file_with_only_a_vocabulary_is_enough(self):
        for name in ["config.json", "model.safetensors"]:
            (self.model / name).unlink()
        out = self.succeed("tokenize", self.model, "--ids", input="Hi")
        self.assertEqual(out, "72 105\n")

    def test_empty_input_has_no_ids(self):
        out = self.succeed("tokenize", self.model, "--ids", "--no-special")
        self.assertEqual(out, "\n")

    def test_no_special_leaves_the_begin_token_out(self):
        data = json.loads((self.model / "tokenizer.json").read_text())
        begin = {"SpecialToken": {"id": "!", "type_id": 0}}
        text = {"Sequence": {"id": "A", "type_id": 0}}
        data["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [begin, text],
            "pair": [begin, text],
            "special_tokens": {"!": {"id": "!", "ids": [33], "tokens": ["!"]}},
        }
        (self.model / "tokenizer.json").write_text(json.dumps(data))
        with_special = self.succeed("tokenize", self.model, "--ids", input="A")
        without = self.succeed(
            "tokenize", self.model, "--ids", "--no-special", input="A"
        )
        self.assertEqual((with_special, without), ("33 65\n", "65\n"))


class Template(Program):
    def render(self, source, *arguments):
        return self.succeed(
            "template", "--template", self.write("t.jinja", source),
            "--messages", self.write("m.json", MESSAGES), *arguments,
        )

    def test_the_rendering_is_printed_and_nothing_else(self):
        source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        self.assertEqual(
            self.render(source), "[user]Hi <there> & 'you'[assistant]Hé\n"
        )

    def test_tokens_tools_and_the_generation_prompt_reach_the_template(self):
        tools = self.write("tools.json", [{"name": "f", "x": "é<"}])
        source = (
            "{{ bos_token }}{{ tools | tojson }}"
            "{% if add_generation_prompt %}go{% endif %}{{ eos_token }}"
        )
        out = self.render(
            source, "--tools", tools, "--add-generation-prompt",
            "--bos", "<s>", "--eos", "</s>",
        )
        self.assertEqual(out, '<s>[{"name": "f", "x": "é<"}]go</s>')

    def test_without_options_they_are_absent(self):
        source = "{{ tools is none }} {{ add_generation_prompt }}"
        self.assertEqual(self.render(source), "True False")

    def test_a_template_that_refuses_says_its_words(self):
        template = self.write("t.jinja", "{{ raise_exception('No ' ~ 'way') }}")
        messages = self.write("m.json", MESSAGES)
        self.refuse(
            "template", "--template", template, "--messages", messages,
            saying="No way",
        )


class Logits(Program):
    def compare(self, name, *arguments):
        golden = read_safetensors(GOLDENS / name / "golden.safetensors")
        _, (rows, cols), data = golden["input_ids"]
        ids = struct.unpack(f"<{rows * cols}i", data)
        batch = [list(ids[i * cols : (i + 1) * cols]) for i in range(rows)]
        out = self.folder / "out.safetensors"
        # No tokenizer in this folder.
        self.succeed(
            "logits", GOLDENS / name, "--ids", self.write("ids.json", batch),
            "--out", out, *arguments,
        )
        dtype, shape, data = read_safetensors(out)["logits"]
        self.assertEqual((dtype, shape), ("F32", golden["logits"][1]))
        count = len(data) // 4
        ours = struct.unpack(f"<{count}f", data)
        theirs = struct.unpack(f"<{count}f", golden["logits"][2])
        mean = sum(theirs) / count
        spread = (sum((x - mean) ** 2 for x in theirs) / count) ** 0.5
        return max(abs(a - b) for a, b in zip(ours, theirs)) / spread

    def test_exact_logits_equal_the_golden(self):
        self.assertLess(self.compare("llama", "--exact"), 0.01)
        self.assertLess(self.compare("qwen3", "--exact", "--device", "cpu"), 0.01)

    def test_fast_logits_are_near_the_golden(self):
        self.assertLess(self.compare("llama"), 0.2)

    def test_wrong_ids_are_refused(self):
        out = self.folder / "out.safetensors"
        for ids in [[[1, 2], [3]], [[1, 256]], [[-1]], [], "x", [[1.5]], {"a": 1}]:
            self.refuse(
                "logits", LLAMA, "--ids", self.write("ids.json", ids), "--out", out
            )
            self.assertFalse(out.exists())


class Bench(Program):
    def test_json_has_both_speeds(self):
        out = json.loads(
            self.succeed(
                "bench", "--model", LLAMA, "-p", "16", "-n", "4", "--rounds", "2",
                "--json",
            )
        )
        self.assertGreater(out["prefill_tokens_per_second"], 0)
        self.assertGreater(out["decode_tokens_per_second"], 0)

    def test_text_names_the_device(self):
        out = self.succeed(
            "bench", "--model", LLAMA, "-p", "16", "-n", "4", "--rounds", "1"
        )
        self.assertIn("CPU", out.upper())


class Telling(Program):
    def test_inspect_counts_what_the_files_hold(self):
        out = json.loads(self.succeed("inspect", LLAMA, "--json"))
        self.assertEqual(out["spec"]["layers"], 3)
        stored = read_safetensors(LLAMA / "model.safetensors")
        size = sum(len(data) for _, _, data in stored.values())
        self.assertEqual(out["memory"]["weight_bytes"], size)
        self.assertEqual(sum(t["bytes"] for t in out["tensors"]), size)
        # 3 layers, keys and values, 2 heads of 16 dims, 2 bytes
        self.assertEqual(
            out["memory"]["kv_bytes_per_1000_tokens"], 3 * 2 * 2 * 16 * 2 * 1000
        )
        text = self.succeed("inspect", LLAMA)
        for word in ["llama", "attention", "layers.0.attention.q", "KV"]:
            self.assertIn(word, text)

    def test_presets_are_the_guides(self):
        rows = json.loads(self.succeed("presets", "--json"))
        self.assertEqual(
            {row["name"]: row["temperature"] for row in rows},
            {"creative": 0.8, "qa": 0.2, "code": 0.35, "chat": 0.7},
        )
        for row in rows:
            self.assertIn(row["name"], self.succeed("presets"))

    def test_version_names_mlx_and_the_forced_instruction_set(self):
        out = json.loads(self.succeed("version", "--json"))
        self.assertEqual(out["mlx"]["compiled"], out["mlx"]["loaded"])
        self.assertIn(
            out["instruction_sets"]["in_use"], out["instruction_sets"]["available"]
        )
        forced = self.succeed(
            "version", "--json", env={"ROOFLINE_ISA": "generic"}
        )
        self.assertEqual(
            json.loads(forced)["instruction_sets"]["in_use"], "generic"
        )
        self.refuse("version", env={"ROOFLINE_ISA": "mmx"}, saying="mmx")

    def test_every_command_has_help_with_examples(self):
        listing = self.succeed("--help")
        commands = ["generate", "chat", "train", "memory", "profile", "convert", "inspect", "presets", "bench", "tokenize",
                    "template", "logits", "completion", "version"]
        for command in commands:
            self.assertIn(f"\n    {command} ", listing)
            text = self.succeed(command, "--help")
            self.assertTrue(text.startswith("Name\n"))
            self.assertIn("\nExamples\n", text)
            self.assertIn(f"roofline {command}", text)
            self.assertNotRegex(text, r"NONNEGATIVE|(INT|FLOAT) in \[")
            self.assertLess(max(map(len, text.splitlines())), 81, text)
            self.assertEqual(self.succeed("help", command), text)

    def test_a_short_name_resolves_in_the_registry(self):
        registry = self.folder / "registry"
        shutil.copytree(LLAMA, registry / "small")
        env = {"ROOFLINE_MODELS": str(registry)}
        self.succeed("inspect", "small", env=env)
        self.refuse("inspect", "smal", env=env, saying="small")


class Completion(Program):
    def test_bash_loads_the_script_and_completes(self):
        script = self.write("c.bash", self.succeed("completion", "bash"))

        def complete(*words):
            line = (
                f"source {script}; COMP_WORDS=({' '.join(words)}); "
                f"COMP_CWORD={len(words) - 1}; _roofline; "
                'echo "${COMPREPLY[*]}"'
            )
            if words[-1] == "''":
                line = line.replace("''", '""')
            return subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, check=True
            ).stdout.split()

        self.assertEqual(complete("roofline", "gen"), ["generate"])
        self.assertEqual(complete("roofline", "generate", "--top-"),
                         ["--top-k", "--top-p"])
        self.assertEqual(complete("roofline", "chat", "--device", "g"), ["gpu"])

    def test_other_shells_have_scripts_and_unknown_ones_a_message(self):
        self.assertIn("#compdef roofline", self.succeed("completion", "zsh"))
        self.assertIn("complete -c roofline", self.succeed("completion", "fish"))
        self.refuse("completion", "fsh", saying="fish")


if __name__ == "__main__":
    unittest.main()
