"""Checkpoints that aren't whole and disks that are full, for every command that
reads the one and fills the other: one sentence each, and nothing half-made."""

import json
import resource
import signal
import time
import unittest

from convert_test import tokenizer_with_merges
from program import LLAMA, TinyModel, read_safetensors, write_safetensors

INDEX = "model.safetensors.index.json"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def limit_files(size):
    """Files can't grow past so many bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class BadCheckpointTest(TinyModel):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.gguf = self.folder / "out.gguf"
        tensors = read_safetensors(self.model / "model.safetensors")
        names = sorted(tensors)
        half = len(names) // 2
        self.halves = [
            {name: tensors[name] for name in names[:half]},
            {name: tensors[name] for name in names[half:]},
        ]
        (self.model / "model.safetensors").unlink()
        tokenizer = json.dumps(tokenizer_with_merges())
        (self.model / "tokenizer.json").write_text(tokenizer)
        for shard, part in zip(SHARDS, self.halves):
            write_safetensors(self.model / shard, part)
        self.map = {
            name: shard for shard, part in zip(SHARDS, self.halves) for name in part
        }
        self.write_index()

    def write_index(self):
        (self.model / INDEX).write_text(json.dumps({"weight_map": self.map}))

    def commands(self):
        yield "convert", "--hf-path", self.model, "--mlx-path", self.out
        yield "convert", "--hf-path", self.model, "--mlx-path", self.out, "-q"
        yield "convert", "--hf-path", self.model, "--gguf-path", self.gguf
        yield "quantize", self.model, "--out", self.out
        yield "generate", self.model, "Hello", "-n", "1"

    def refuse_everywhere(self, *saying):
        for command in self.commands():
            with self.subTest(" ".join(map(str, command[:1] + command[3:]))):
                before = sorted(self.folder.iterdir())
                self.refuse(*command, saying=saying)
                after = [path for path in self.folder.iterdir() if path != self.cache]
                self.assertEqual(sorted(after), [p for p in before if p != self.cache])

    def test_two_whole_shards_are_a_model(self):
        for command in self.commands():
            more = {"generate": [], "quantize": ["--quality-tokens", "0"]}
            force = [] if command[0] == "generate" else ["--force"]
            self.succeed(*command, *force, *more.get(command[0], []))

    def test_a_missing_shard_is_named(self):
        (self.model / SHARDS[1]).unlink()
        self.refuse_everywhere("lacks the shard " + SHARDS[1], "Download")

    def test_swapped_shards_are_noticed(self):
        for shard, part in zip(SHARDS, reversed(self.halves)):
            write_safetensors(self.model / shard, part)
        self.refuse_everywhere("lacks the tensor", "they don't belong together")

    def test_a_truncated_shard_is_noticed(self):
        shard = self.model / SHARDS[1]
        shard.write_bytes(shard.read_bytes()[:-100])
        self.refuse_everywhere(SHARDS[1], "bytes", "again")

    def test_a_name_in_two_shards_needs_an_index(self):
        twice = next(iter(self.halves[0]))
        self.halves[1][twice] = self.halves[0][twice]
        write_safetensors(self.model / SHARDS[1], self.halves[1])
        # The index says which one counts.
        self.succeed("generate", self.model, "Hello", "-n", "1")
        (self.model / INDEX).unlink()
        self.refuse_everywhere(f"has the tensor {twice} in two shards", INDEX)

    def test_two_names_for_one_tensor_are_refused(self):
        entry = self.halves[0].get("model.embed_tokens.weight")
        self.halves[0]["embed_tokens.weight"] = entry
        write_safetensors(self.model / SHARDS[0], self.halves[0])
        self.refuse_everywhere("two tensors for embed", "model.embed_tokens.weight")

    def test_an_index_that_knows_more_than_its_shards_is_refused(self):
        self.map["model.layers.9.mlp.up_proj.weight"] = SHARDS[0]
        self.write_index()
        self.refuse_everywhere("lacks the tensor model.layers.9", INDEX)

    def test_weights_of_another_type_are_refused_by_name(self):
        name = next(n for n in self.halves[1] if n.endswith("_proj.weight"))
        dtype, shape, data = self.halves[1][name]
        for other, size in [("F64", 8), ("I32", 4), ("F8_E5M2", 1)]:
            self.halves[1][name] = (other, shape, bytes(len(data) // 2 * size))
            write_safetensors(self.model / SHARDS[1], self.halves[1])
            self.refuse_everywhere(name, other, "BF16")

    def test_a_full_disk_loses_nothing(self):
        self.succeed("convert", "--hf-path", self.model, "--mlx-path", self.out)
        before = self.content()
        for command in list(self.commands())[:4]:
            with self.subTest(command):
                done = self.run_program(
                    *command, "--force", preexec_fn=limit_files(50_000)
                )
                self.assertEqual(done.returncode, 2)
                message = done.stderr.decode().splitlines()[-1]
                self.assertIn("disk is full", message)
                self.assertIn("Nothing that was there before", message)
                self.assertEqual(self.content(), before)

    def content(self):
        """What is beside the cache, byte by byte."""
        return {
            path.relative_to(self.folder): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and self.cache not in path.parents
        }

    def test_a_kill_leaves_the_old_folder_as_it_was(self):
        self.succeed("convert", "--hf-path", self.model, "--mlx-path", self.out)
        old = {p.name: p.read_bytes() for p in self.out.iterdir()}
        # A vocabulary large enough to be at work for a while.
        rows = 300_000
        config = json.loads((LLAMA / "config.json").read_text())
        config.update(vocab_size=rows, tie_word_embeddings=True)
        (self.model / "config.json").write_text(json.dumps(config))
        for part, shard in zip(self.halves, SHARDS):
            part.pop("lm_head.weight", None)
            if "model.embed_tokens.weight" in part:
                embedding = ("BF16", [rows, 64], bytes(rows * 128))
                part["model.embed_tokens.weight"] = embedding
            write_safetensors(self.model / shard, part)
        self.map.pop("lm_head.weight")
        self.write_index()
        for command in [
            ("convert", "--hf-path", self.model, "--mlx-path", self.out, "-q"),
            ("quantize", self.model, "--out", self.out, "--quality-tokens", "0"),
        ]:
            with self.subTest(command[0]):
                process = self.start(*command, "--force")
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and process.poll() is None:
                    if list(self.folder.glob(".out.*")):
                        break
                    time.sleep(0.001)
                process.send_signal(signal.SIGKILL)
                process.communicate()
                if process.returncode == -signal.SIGKILL:
                    new = {p.name: p.read_bytes() for p in self.out.iterdir()}
                    self.assertEqual(new, old)
                self.succeed(*command, "--force")
                self.assertEqual(list(self.folder.glob(".out.*")), [])
                config = json.loads((self.out / "config.json").read_text())
                self.assertIn("quantization", config)
                old = {p.name: p.read_bytes() for p in self.out.iterdir()}


if __name__ == "__main__":
    unittest.main()
