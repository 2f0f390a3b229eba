"""roofline train, fuse and --adapter, from outside."""

import json
import os
import resource
import signal
import subprocess
import time
import unittest

from convert_test import tokenizer_with_merges
from event_files import scalars
from program import BINARY, TIMEOUT_SECONDS, TinyModel


def lines(count):
    return "".join(
        json.dumps({"prompt": f"question {i % 5}", "completion": f"answer {i % 5}"})
        + "\n"
        for i in range(count)
    )


# In a mount namespace of its own: a small disk, a run of 10 steps, the disk
# filled up to 128 kB, the run to step 40, the disk emptied, the run again.
SMALL_DISK = """
set -u
disk=$1; copy=$2; shift 2
mount -t tmpfs -o size=8m tmpfs "$disk" || exit 99
"$@" --steps 10 || exit 98
left=$(df -k --output=avail "$disk" | tail -1)
dd if=/dev/zero of="$disk/ballast" bs=1k count=$((left - 128)) 2>/dev/null
"$@" --steps 40 --resume
status=$?
cp -r "$disk/out" "$copy/full"
rm "$disk/ballast"
"$@" --steps 40 --resume || exit 97
cp -r "$disk/out" "$copy/done"
exit $status
"""


class Train(TinyModel):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.data.mkdir()
        (self.data / "train.jsonl").write_text(lines(20))
        (self.data / "valid.jsonl").write_text(lines(4))

    def arguments(self, output, **settings):
        given = {"batch": 2, "rank": 4, "learning-rate": 0.01, "threads": 1}
        given.update(settings)
        out = ["train", "--model", self.model, "--data", self.data]
        out += ["--output", self.folder / output, "--optimizer", "adamw"]
        for name, value in given.items():
            out += [f"--{name}", str(value)]
        return out

    def metrics(self, output):
        path = self.folder / output / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_the_loss_falls_and_the_adapter_changes_the_answer(self):
        plot = self.folder / "out/plots/loss.svg"
        out = self.succeed(
            *self.arguments("out", epochs=4), "--plot", plot, "--json"
        )
        result = json.loads(out)
        self.assertEqual(result["steps"], 40)
        figures = self.metrics("out")
        self.assertEqual([f["step"] for f in figures], list(range(1, 41)))
        self.assertLess(figures[-1]["loss"], 0.7 * figures[0]["loss"])
        self.assertIn("<svg", plot.read_text())
        csv = (self.folder / "out/metrics.csv").read_text().splitlines()
        self.assertEqual(len(csv), 41)
        plain = self.generate("--temp", "0", "-n", "12", "--device", "cpu")
        adapted = self.generate(
            "--temp", "0", "-n", "12", "--device", "cpu",
            "--adapter", self.folder / "out",
        )
        self.assertNotEqual(plain, adapted)
        weightless = self.generate(
            "--temp", "0", "-n", "12", "--device", "cpu",
            "--adapter", f"{self.folder / 'out'}=0",
        )
        self.assertEqual(plain, weightless)
        self.assertTrue((self.folder / "out/best/adapters.safetensors").exists())

    def test_a_killed_run_goes_on_as_if_it_had_never_stopped(self):
        self.kill_and_go_on({"dropout": 0.1}, "adapters.safetensors")

    def test_a_killed_run_of_all_weights_goes_on_likewise(self):
        self.kill_and_go_on({"method": "full"}, "model/model.safetensors")

    def kill_and_go_on(self, own, result):
        settings = {"steps": 40, "save-every": 1, **own}
        self.succeed(*self.arguments("whole", **settings), "--quiet")
        process = self.start(*self.arguments("parts", **settings), "--quiet")
        checkpoint = self.folder / "parts/checkpoint/run.json"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not checkpoint.exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = json.loads(checkpoint.read_text())["step"]
        self.assertGreater(done, 0)
        self.succeed(*self.arguments("parts", **settings), "--resume", "--quiet")
        for name in [result, "checkpoint/state.safetensors"]:
            self.assertEqual(
                (self.folder / "whole" / name).read_bytes(),
                (self.folder / "parts" / name).read_bytes(),
                f"{name}, killed after step {done}",
            )
        self.assertEqual(len(self.metrics("parts")), 40)

    def test_dora_changes_answers_and_a_teacher_is_followed(self):
        self.succeed(*self.arguments("dora", method="dora", steps=8), "--quiet")
        config = json.loads((self.folder / "dora/adapter_config.json").read_text())
        self.assertEqual(config["fine_tune_type"], "dora")
        ids = self.write("ids.json", [[1, 2, 3, 4]])
        common = ["--ids", ids, "--exact", "--device", "cpu"]
        a, b = self.folder / "a.safetensors", self.folder / "b.safetensors"
        self.succeed("logits", self.model, *common, "--out", a)
        self.succeed(
            "logits", self.model, *common, "--out", b,
            "--adapter", self.folder / "dora",
        )
        self.assertNotEqual(a.read_bytes(), b.read_bytes())
        # Its own teacher: there is nothing to learn.
        settings = {"steps": 2, "report-every": 1, "teacher-share": 1}
        told = self.run_program(
            *self.arguments("taught", teacher=self.model, **settings)
        ).stderr.decode()
        self.assertIn("% of the roof", told)
        self.assertLess(abs(self.metrics("taught")[0]["loss"]), 1e-4)
        self.refuse(
            *self.arguments("no", teacher=self.model, loss="dpo"), saying="teacher"
        )

    def test_tensorboard_gets_the_figures_each_step_once(self):
        board = self.folder / "board"
        settings = {"tensorboard": board, "save-every": 2, "evaluate-every": 2}
        # Three steps with a checkpoint at the second: the third is done again.
        stopped = self.start(*self.arguments("out", steps=100000, **settings))
        metrics = self.folder / "out/metrics.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (
            metrics.exists() and len(metrics.read_text().splitlines()) >= 3
        ):
            time.sleep(0.01)
        stopped.send_signal(signal.SIGKILL)
        stopped.wait()
        last = json.loads((self.folder / "out/checkpoint/run.json").read_text())["step"]
        steps = last + 3
        self.succeed(
            *self.arguments("out", steps=steps, **settings), "--resume", "--quiet"
        )
        found = scalars(board)
        figures = self.metrics("out")
        self.assertEqual(len(figures), steps)
        for tag, key in [
            ("loss/train", "loss"),
            ("loss/validation", "valid_loss"),
            ("learning_rate", "learning_rate"),
            ("memory/peak_bytes", "peak_memory_bytes"),
        ]:
            wanted = {f["step"]: f[key] for f in figures if key in f}
            self.assertEqual(found[tag].keys(), wanted.keys(), tag)
            for step, value in wanted.items():
                self.assertAlmostEqual(
                    found[tag][step] / value, 1, places=5, msg=f"{tag}, {step}"
                )
        self.assertEqual(len(found["tokens_per_second"]), steps)

    def test_a_full_disk_loses_nothing_that_was_there(self):
        settings = {"rank": 64, "save-every": 10, "evaluate-every": 0}
        (self.folder / "data/valid.jsonl").unlink()
        self.succeed(*self.arguments("whole", steps=40, **settings), "--quiet")
        disk, copy = self.folder / "disk", self.folder / "copy"
        disk.mkdir()
        copy.mkdir()
        command = [BINARY, *map(str, self.arguments("disk/out", **settings))]
        message = self.on_a_small_disk(command, disk, copy)
        if message is None:
            message = self.under_a_limit(command, disk, copy)
        self.assertIn("The checkpoint of step 20 wasn't written", message)
        self.assertIn("The checkpoint of step 40 wasn't written", message)
        self.assertIn("checkpoint of step 10 stays: go on from it", message)
        kept = json.loads((copy / "full/checkpoint/run.json").read_text())
        self.assertEqual(kept["step"], 10)
        for name in ["adapters.safetensors", "checkpoint/state.safetensors"]:
            self.assertEqual(
                (self.folder / "whole" / name).read_bytes(),
                (copy / "done" / name).read_bytes(),
                name,
            )

    def on_a_small_disk(self, command, disk, copy):
        """What was said on standard error; None where nothing can be mounted."""
        alone = ["unshare", "--mount"]
        if os.geteuid() != 0:
            alone += ["--user", "--map-root-user"]
        try:
            result = subprocess.run(
                [*alone, "sh", "-c", SMALL_DISK, "sh", disk, copy, *command],
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                env=self.environment(),
            )
        except FileNotFoundError:
            return None
        message = result.stderr.decode()
        if not (copy / "full").exists() and "step" not in message:
            return None
        self.assertEqual(result.returncode, 2, message)
        return message

    def under_a_limit(self, command, disk, copy):
        """The same with files that can't grow beyond 64 kB."""

        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

        def run(*more, **limit):
            return subprocess.run(
                [*command, *more],
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                env=self.environment(),
                **limit,
            )

        self.assertEqual(run("--steps", "10").returncode, 0)
        result = run("--steps", "40", "--resume", preexec_fn=limited)
        self.assertEqual(result.returncode, 2, result.stderr)
        subprocess.run(["cp", "-r", disk / "out", copy / "full"], check=True)
        self.assertEqual(run("--steps", "40", "--resume").returncode, 0)
        subprocess.run(["cp", "-r", disk / "out", copy / "done"], check=True)
        return result.stderr.decode()

    def test_sigterm_leaves_a_checkpoint(self):
        process = self.start(
            *self.arguments("out", steps=100000, **{"save-every": 0}), "--quiet"
        )
        metrics = self.folder / "out/metrics.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (
            metrics.exists() and metrics.stat().st_size > 0
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        self.assertEqual(process.returncode, 143, process.stderr.read())
        run = json.loads((self.folder / "out/checkpoint/run.json").read_text())
        self.assertEqual(run["step"], len(self.metrics("out")))

    def test_a_run_is_repeated_from_the_settings_it_wrote(self):
        self.succeed(*self.arguments("out", steps=3), "--quiet")
        self.succeed(
            "train", "--config", self.folder / "out/train.toml",
            "--output", self.folder / "again", "--threads", "1", "--quiet",
        )
        self.assertEqual(
            (self.folder / "out/adapters.safetensors").read_bytes(),
            (self.folder / "again/adapters.safetensors").read_bytes(),
        )

    def test_a_fused_model_answers_as_with_the_adapter(self):
        self.succeed(*self.arguments("out", steps=10), "--quiet")
        fused = self.folder / "fused"
        self.succeed(
            "fuse", self.model, "--adapter", self.folder / "out", "-o", fused
        )
        ids = self.write("ids.json", [[1, 2, 3, 4]])
        common = ["--ids", ids, "--exact", "--device", "cpu"]
        a, b = self.folder / "a.safetensors", self.folder / "b.safetensors"
        self.succeed(
            "logits", self.model, *common, "--out", a,
            "--adapter", self.folder / "out",
        )
        self.succeed("logits", fused, *common, "--out", b)
        self.assertEqual(a.stat().st_size, b.stat().st_size)
        self.assertTrue((fused / "tokenizer.json").exists())
        self.refuse(
            "fuse", self.model, "--adapter", self.folder / "out", "-o", fused
        )
        peft = self.folder / "peft"
        self.succeed(
            "fuse", self.model, "--adapter", self.folder / "out",
            "--as", "peft", "-o", peft,
        )
        self.assertTrue((peft / "adapter_model.safetensors").exists())

    def test_mistakes_are_told_before_anything_is_trained(self):
        bad = self.write("bad.jsonl", lines(2) + "{\n")
        message = self.refuse("train", "--model", self.model, "--data", bad, "--quiet")
        self.assertIn("bad.jsonl:3", message)
        self.refuse("train", "--model", self.model, saying="--data")
        self.refuse(*self.arguments("out", rank=0), saying="rank")
        self.refuse(
            *self.arguments("out", method="loro"), saying="Did you mean lora"
        )
        self.refuse(*self.arguments("out", layers=9), "--quiet", saying="--layers")
        file = self.write("a_file", "x")
        for name in [file, f"{file}/sub", "/proc/nope"]:
            self.refuse(*self.arguments(name), saying="--output can't be")
            self.refuse(*self.arguments("out", tensorboard=name),
                        saying="--tensorboard can't be")
        self.refuse("train", "--model", self.model, "--data", self.data, "--output",
                    "", saying="--output is empty")
        self.refuse(*self.arguments("out"), "--config", "", saying="--config is empty")
        self.refuse(*self.arguments("out"), "--config", self.data, saying="is no file")
        self.refuse(*self.arguments("out"), "--plot", "", saying="--plot is empty")
        self.assertFalse((self.folder / "out").exists())
        plot = self.folder / "x.foo"
        self.refuse(*self.arguments("out"), "--plot", plot, saying="extension")
        self.refuse(*self.arguments("out", targets="x_proj"), saying="x_proj")
        self.refuse(*self.arguments("none"), "--resume", "--quiet", saying="--resume")
        self.refuse("fuse", self.model, "-o", "x", saying="--adapter")
        self.refuse(
            "generate", self.model, "Hi", "--adapter", self.folder / "nowhere"
        )

    def test_settings_that_say_nothing_are_told(self):
        settings = {"method": "full", "beta": 0.2, "learning-rate": 0.001}
        result = self.run_program(
            *self.arguments("out", **settings), "--dry-run"
        ).stderr.decode()
        self.assertIn("--rank says nothing with --method full", result)
        self.assertIn("--beta says nothing with --loss cross_entropy", result)
        self.assertNotIn("--learning-rate says", result)

    def test_tools_that_the_template_leaves_out_are_told(self):
        chat = {"tools": [{"name": "f"}], "messages": [
            {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
        data = self.write("chat.jsonl", json.dumps(chat) + "\n")
        result = self.run_program(
            "train", "--model", self.model, "--data", data, "--dry-run"
        ).stderr.decode()
        self.assertIn("1 samples have tools, which", result)

    def test_the_test_set_is_told_at_the_end(self):
        (self.data / "test.jsonl").write_text(lines(3))
        told = json.loads(self.succeed(*self.arguments("out", steps=2), "--json"))
        self.assertGreater(told["test_loss"], 0)
        bad = self.write("data/test.jsonl", lines(1) + "{\n")
        self.refuse(*self.arguments("out"), "--quiet", saying=f"{bad}:2")

    def test_a_gguf_file_is_trained_in_full_into_a_folder(self):
        tokenizer = json.dumps(tokenizer_with_merges())
        (self.model / "tokenizer.json").write_text(tokenizer)
        gguf = self.folder / "tiny.gguf"
        self.succeed(
            "convert", "--model", self.model, "--gguf-path", gguf, "--type", "q8_0"
        )
        common = [
            "train", "--data", self.data, "--method", "full", "--batch", "2",
            "--threads", "1", "--json", "--optimizer", "sgd", "--weight-decay", "0",
        ]
        first = json.loads(self.succeed(
            *common, "--model", gguf, "--output", self.folder / "out",
            "--steps", "10", "--learning-rate", "0.3",
        ))
        figures = self.metrics("out")
        self.assertLess(figures[-1]["loss"], 0.9 * figures[0]["loss"])
        # What was written is what was learnt: a step of no length tells.
        again = json.loads(self.succeed(
            *common, "--model", self.folder / "out/model",
            "--output", self.folder / "again", "--steps", "1",
            "--learning-rate", "0",
        ))
        self.assertAlmostEqual(
            first["valid_loss"] / again["valid_loss"], 1, places=2
        )

    def test_a_dry_run_tells_what_it_would_take(self):
        result = self.run_program(*self.arguments("out"), "--dry-run")
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"Will take about", result.stderr)
        self.assertFalse((self.folder / "out").exists())
        out = json.loads(self.succeed(*self.arguments("out"), "--dry-run", "--json"))
        self.assertEqual(out["samples"], 20)
        self.assertEqual(
            sum(part["bytes"] for part in out["parts"]), out["predicted_peak_bytes"]
        )
        self.assertEqual(out["settings"]["rank"], "4")

    def test_a_long_validation_set_counts_in_the_prediction(self):
        def predicted():
            return json.loads(self.succeed(
                *self.arguments("out", batch=4, **{"max-tokens": 100000}),
                "--dry-run", "--json"))["predicted_peak_bytes"]

        short = predicted()
        row = json.dumps({"text": "x" * 20000}) + "\n"
        for name in ["valid.jsonl", "test.jsonl"]:
            (self.data / name).write_text(4 * row)
            self.assertGreater(predicted(), short + 1e6)
            (self.data / name).write_text(lines(1))
            self.assertEqual(predicted(), short)

    def test_evaluating_without_a_validation_set_is_told(self):
        (self.data / "valid.jsonl").unlink()
        told = self.run_program(
            *self.arguments("out", **{"evaluate-every": 2}), "--dry-run"
        ).stderr.decode()
        self.assertIn("--evaluate-every says nothing without valid.jsonl", told)
        told = self.run_program(*self.arguments("out"), "--dry-run").stderr.decode()
        self.assertNotIn("--evaluate-every", told)


if __name__ == "__main__":
    unittest.main()
