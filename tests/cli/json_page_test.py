"""docs/json.md against the program: every command with --json has a section that
names every field which the command prints."""

import json
import re
import unittest

from program import SOURCE, TinyModel

# Their names are data: kinds of weights, formats, settings.
DATA = {"weights", "formats", "settings"}
# Sections that point to another one's fields.
ALSO = {"quantize": "evaluate"}


def sections():
    """{heading: the words between backticks}"""
    found = {}
    for part in re.split(r"^## ", (SOURCE / "docs/json.md").read_text(), flags=re.M)[1:]:
        title, text = part.split("\n", 1)
        found[title] = set(re.findall(r"`([^`\n]+)`", text))
    return found


def fields(value, path=()):
    """Every name in a JSON value."""
    if isinstance(value, list):
        for item in value:
            yield from fields(item, path)
    elif isinstance(value, dict) and not (path and path[-1] in DATA):
        for name, item in value.items():
            yield name
            yield from fields(item, (*path, name))


class JsonPage(TinyModel):
    def setUp(self):
        super().setUp()
        self.sections = sections()

    def expect_named(self, command, *arguments, codes=(0,), **more):
        result = self.run_program(command, *arguments, "--json", **more)
        self.assertIn(result.returncode, codes, result.stderr.decode())
        printed = set(fields(json.loads(result.stdout)))
        self.assertGreater(len(printed), 0)
        named = self.sections[command] | self.sections.get(ALSO.get(command), set())
        missing = sorted(printed - named)
        self.assertEqual(missing, [], f"{command} {arguments}: not in docs/json.md")

    def test_every_command_that_prints_json_has_a_section(self):
        names = re.findall(r"^    ([a-z]+)  +\S", self.succeed("--help"), flags=re.M)
        self.assertGreater(len(names), 15)
        with_json = [n for n in names if "--json" in self.succeed(n, "--help")]
        self.assertEqual(with_json, list(self.sections))

    def test_what_needs_no_model_prints_fields_of_the_page(self):
        self.expect_named("version")
        self.expect_named("presets")
        self.expect_named("doctor", codes=(0, 1))
        for arguments in [
            ["llama-2-7b"],
            ["--ram", "16GB"],
            ["llama-2-7b", "--fit", "--ram", "8GB"],
            ["llama-2-7b", "--train", "qlora"],
            ["--table"],
        ]:
            self.expect_named("memory", *arguments)
        for arguments in [
            ["--chip", "m2", "--ram", "16GB"],
            ["--chip", "m2", "--ram", "16GB", "--use", "train"],
            ["--guide"],
            ["--list-chips"],
        ]:
            self.expect_named("recommend", *arguments)

    def test_what_is_measured_is_in_the_page(self):
        self.expect_named("memory", self.model, "--context", "32", "--measure")
        self.expect_named("memory", self.model, "--train", "lora", "--seq", "8", "--measure")
        case = ["--model", self.model, "-p", "8", "-n", "2", "--rounds", "1"]
        report = self.folder / "report.json"
        self.expect_named("bench", *case, "--out", report)
        self.expect_named("bench", "compare", report, report)
        self.expect_named("profile", "Hello", "--model", self.model, "-n", "3")
        self.expect_named("optimize", "llama-2-7b", "--out", self.folder / "best.toml")

    def test_answers_are_in_the_page(self):
        line = [self.model, "one two one two", "-n", "4", "--ignore-eos"]
        self.expect_named("generate", *line, "--logprobs", "2", "--trace-startup")
        self.expect_named("generate", *line, "--draft-model", self.model)
        self.expect_named("memory", "--history")
        self.expect_named("inspect", self.model)

    def test_what_is_written_and_judged_is_in_the_page(self):
        out = self.folder / "quantized"
        few = ["--text", "-", "--context", "32"]
        self.expect_named("quantize", self.model, "--out", out, "--quality-tokens", "64")
        self.expect_named("convert", "--hf-path", self.model, "--mlx-path", self.folder / "mlx")
        self.expect_named("evaluate", self.model, *few, "--reference", out,
                          "--kv-bits", "8", "--kv-group-size", "32", input="abc" * 30)
        task = self.write("task.jsonl", '{"question": "a", "choices": ["b", "c"], "answer": 0}\n')
        self.expect_named("evaluate", self.model, "--choices", task)

    def test_training_is_in_the_page(self):
        data = self.folder / "data"
        data.mkdir()
        row = json.dumps({"prompt": "a", "completion": "b"}) + "\n"
        for name in ["train", "valid", "test"]:
            (data / f"{name}.jsonl").write_text(4 * row)
        line = ["--model", self.model, "--data", data, "--output", self.folder / "out",
                "--steps", "2", "--batch", "2"]
        self.expect_named("train", *line, "--dry-run")
        self.expect_named("train", *line)


if __name__ == "__main__":
    unittest.main()
