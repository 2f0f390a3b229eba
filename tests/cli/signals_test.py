"""Ctrl-C and SIGTERM: an answer ends with its line of truth, a start leaves no
half-written file."""

import signal
import time
import unittest

from program import Program, TinyModel


class Answering(TinyModel):
    def interrupt(self, number):
        process = self.start(
            "generate", self.model, "Hello", "--ignore-eos", "-n", "1000000",
            "--max-kv", "64",
        )
        # The answer has begun once there is text.
        first = process.stdout.read(1)
        self.assertNotEqual(first, b"")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors.decode()

    def test_ctrl_c_ends_the_answer_with_its_line_of_truth(self):
        code, errors = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 130)
        self.assertIn("decode", errors)

    def test_sigterm_does_too(self):
        code, errors = self.interrupt(signal.SIGTERM)
        self.assertEqual(code, 143)
        self.assertIn("decode", errors)


class Starting(Program):
    def files(self):
        if not self.cache.exists():
            return []
        return [path for path in self.cache.rglob("*") if path.is_file()]

    def test_a_kill_while_packing_leaves_whole_files_or_none(self):
        model = self.bundled()
        arguments = ("generate", model, "Hi", "-n", "2", "--temp", "0", "--quiet")
        expected = self.succeed(*arguments, "--no-cache")
        for number in [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]:
            for delay in [0.02, 0.08, 0.2, 0.5]:
                process = self.start(*arguments)
                time.sleep(delay)
                process.send_signal(number)
                process.communicate(timeout=60)
                for path in self.files():
                    self.assertNotIn(".tmp", path.name)
                # What is there must be whole: it gives the same answer.
                self.assertEqual(self.succeed(*arguments), expected)
                for path in self.files():
                    path.unlink()


if __name__ == "__main__":
    unittest.main()
