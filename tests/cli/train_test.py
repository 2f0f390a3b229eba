"""roofline train, fuse and --adapter, from outside."""

import json
import signal
import time
import unittest

from program import TinyModel


def lines(count):
    return "".join(
        json.dumps({"prompt": f"question {i % 5}", "completion": f"answer {i % 5}"})
        + "\n"
        for i in range(count)
    )


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
        plot = self.folder / "loss.svg"
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
        self.refuse(
            "train", "--model", self.bundled(), "--data", self.data,
            "--method", "full", "--quiet", saying="can't be trained in full",
        )
        self.refuse(*self.arguments("out", rank=0), saying="rank")
        self.refuse(*self.arguments("out", method="loro"), saying="lora")
        self.refuse(*self.arguments("out", targets="x_proj"), saying="x_proj")
        self.refuse(*self.arguments("none"), "--resume", "--quiet", saying="--resume")
        self.refuse("fuse", self.model, "-o", "x", saying="--adapter")
        self.refuse(
            "generate", self.model, "Hi", "--adapter", self.folder / "nowhere"
        )

    def test_a_dry_run_tells_what_it_would_take(self):
        result = self.run_program(*self.arguments("out"), "--dry-run")
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"Will take about", result.stderr)
        self.assertFalse((self.folder / "out").exists())


if __name__ == "__main__":
    unittest.main()
