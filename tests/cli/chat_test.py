"""roofline chat over a pipe and on a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import time
import unittest

from program import BINARY, SOURCE, TIMEOUT_SECONDS, TinyModel


class Piped(TinyModel):
    def chat(self, text, *arguments):
        result = self.run_program(
            "chat", self.model, "--temp", "0", "-n", "6", *arguments, input=text
        )
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    def saved(self, text, *arguments):
        path = self.folder / "saved.json"
        code, _, errors = self.chat(f"{text}/save {path}\n", *arguments)
        self.assertEqual(code, 0, errors)
        return json.loads(path.read_text())

    def test_each_line_is_a_message_and_gets_an_answer(self):
        messages = self.saved("one\ntwo\n")
        self.assertEqual(
            [m["role"] for m in messages], ["user", "assistant"] * 2
        )
        self.assertEqual(messages[2]["content"], "two")

    def test_the_first_answer_is_that_of_generate(self):
        _, out, _ = self.chat("Hello\n", "--quiet")
        self.assertEqual(out, self.generate("--temp", "0", "-n", "6") + "\n")

    def test_the_start_is_told_once_after_the_first_answer(self):
        _, _, errors = self.chat("one\ntwo\n", "--trace-startup")
        self.assertEqual(errors.count("start to first token"), 1)
        self.assertIn("waiting for the message", errors)

    def test_a_draft_model_leaves_the_conversation_as_it_is(self):
        _, plain, _ = self.chat("one\ntwo\n", "--quiet", "--exact")
        code, drafted, _ = self.chat(
            "one\ntwo\n", "--quiet", "--exact", "--draft-model", str(self.model))
        self.assertEqual((code, drafted), (0, plain))

    def test_blocks_and_backslashes_make_messages_of_several_lines(self):
        messages = self.saved('"""\na\nb\n"""\nc\\\nd\n//e\n')
        said = [m["content"] for m in messages if m["role"] == "user"]
        self.assertEqual(said, ["a\nb\n", "c\nd", "/e"])

    def test_system_and_reset(self):
        messages = self.saved("one\n/system Be brief.\n/reset\ntwo\n")
        self.assertEqual(messages[0], {"role": "system", "content": "Be brief."})
        self.assertEqual(messages[1]["content"], "two")
        self.assertEqual(len(messages), 3)

    def test_adapters_are_swapped_within_the_conversation(self):
        adapter = SOURCE / "tests/train/adapter_golden"
        adapted = self.generate("--temp", "0", "-n", "6", "--adapter", adapter)
        plain = self.generate("--temp", "0", "-n", "6")
        self.assertNotEqual(adapted, plain)
        text = "Hello\n"
        for words in [adapter, f"{adapter}=0.5 {adapter}=0.5", "nowhere", "-"]:
            text += f"/adapter {words}\n/adapter\n/reset\nHello\n"
        code, out, errors = self.chat(text, "--quiet", "--device", "cpu")
        self.assertEqual(code, 2, "one adapter isn't there")
        self.assertEqual(
            out, f"{plain}\n{adapted}\n{adapted}\n{adapted}\n{plain}\n"
        )
        self.assertIn("nowhere has no adapter", errors)
        self.assertIn(f"\n{adapter}=0.5 {adapter}=0.5\n", "\n" + errors)
        self.assertTrue(errors.endswith("There is no adapter.\n"), errors)

    def test_stats_tell_what_the_cache_kept(self):
        _, _, errors = self.chat("one\ntwo\n/stats\n", "--quiet")
        self.assertRegex(errors, r"\b[1-9]\d* of them in the cache")

    def test_an_unknown_command_is_told_and_the_chat_goes_on(self):
        code, out, errors = self.chat("/sttas\nHello\n", "--quiet")
        self.assertEqual(code, 2)
        self.assertIn("/help", errors)
        self.assertIn("stats", errors)
        self.assertNotEqual(out, "")

    def test_a_message_that_is_not_utf8_is_told_and_the_chat_goes_on(self):
        _, out, errors = self.chat(b"\xff\xfe\nHello\n", "--quiet")
        self.assertIn("UTF-8", errors)
        self.assertEqual(out, self.generate("--temp", "0", "-n", "6") + "\n")

    def test_a_checkpoint_without_template_is_refused(self):
        (self.model / "tokenizer_config.json").unlink()
        self.refuse("chat", self.model, saying="template")


class Terminal(TinyModel):
    """A real terminal in the middle: what Ctrl-C does needs one."""

    def setUp(self):
        super().setUp()
        self.leader, follower = pty.openpty()
        self.addCleanup(os.close, self.leader)
        self.process = subprocess.Popen(
            [BINARY, "chat", self.model, "--ignore-eos", "-n", "1000000",
             "--max-kv", "64", "--quiet"],
            stdin=follower, stdout=follower, stderr=follower,
            env=self.environment(TERM="dumb"), start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(follower)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.seen = b""
        self.expect(b"/help")
        self.expect(b"> ")

    def expect(self, text):
        """Waits for text after what was expected before."""
        deadline = time.monotonic() + TIMEOUT_SECONDS / 4
        while text not in self.seen:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.leader], [], [], max(left, 0))
            self.assertTrue(ready, (text, self.seen[-500:]))
            self.seen += os.read(self.leader, 65536)
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, text):
        os.write(self.leader, text)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        for _ in range(2):
            self.type(b"Hello\n")
            self.expect(b"\n")
            time.sleep(0.3)
            self.assertIsNone(self.process.poll())
            self.type(b"\x03")
            self.expect(b"> ")
        self.type(b"/exit\n")
        self.assertEqual(self.wait(), 0)

    def test_ctrl_c_at_the_prompt_clears_the_line(self):
        self.type(b"half a li")
        time.sleep(0.2)
        self.type(b"\x03/exit\n")
        self.assertEqual(self.wait(), 0)

    def test_ctrl_d_leaves(self):
        # One that comes while the terminal changes its mode stands in the line
        # as a character, and then the line must be emptied first (Ctrl-U).
        deadline = time.monotonic() + TIMEOUT_SECONDS / 4
        while self.process.poll() is None and time.monotonic() < deadline:
            self.type(b"\x15\x04")
            time.sleep(0.5)
        self.assertEqual(self.wait(), 0)

    def wait(self):
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([self.leader], [], [], 0.1)
            if ready:
                try:
                    os.read(self.leader, 65536)
                except OSError:
                    break
        return self.process.wait(10)


def take_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


if __name__ == "__main__":
    unittest.main()
