"""Every run keeps its pair in the cache folder's history.db."""

import json
import sqlite3
import unittest

from program import TinyModel


class History(TinyModel):
    def rows(self):
        with sqlite3.connect(self.cache / "history.db") as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM runs")]

    def test_a_run_keeps_what_it_took_beside_what_was_predicted(self):
        self.generate("-n", "5")
        self.generate("-n", "5", "--quant", "int8", "--json")
        first, second = self.rows()
        self.assertEqual(first["model"], "tiny")
        self.assertGreater(first["measured_peak_bytes"], 0)
        self.assertGreater(first["predicted_peak_bytes"], 0)
        self.assertGreater(first["prompt_tokens"], 0)
        self.assertEqual(first["quant"], "as stored")
        self.assertIn("int8", second["quant"])

    def test_nothing_of_the_prompt_is_kept(self):
        self.generate("-n", "1")
        self.assertNotIn(b"Hello", (self.cache / "history.db").read_bytes())

    def test_off_keeps_nothing(self):
        self.generate("-n", "1", env={"ROOFLINE_HISTORY": "off"})
        self.assertFalse((self.cache / "history.db").exists())

    def test_a_database_that_cannot_be_written_disturbs_nothing(self):
        (self.cache / "history.db").mkdir(parents=True)
        result = self.run_program("generate", self.model, "Hello", "-n", "1", "--quiet")
        self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_history_shows_recent_runs_and_says_kindly_that_there_are_none(self):
        self.assertIn("No runs", self.succeed("memory", "--history"))
        self.generate("-n", "2")
        self.assertIn("tiny", self.succeed("memory", "--history"))
        out = json.loads(self.succeed("memory", "--history", "--json"))
        self.assertEqual(len(out["runs"]), 1)


if __name__ == "__main__":
    unittest.main()
