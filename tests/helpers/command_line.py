"""The command line, run within the test's process."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from smalti.cli import run


@dataclass(frozen=True)
class Ran:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


class Smalti:
    """Calls commands: smalti("info", path) -> Ran."""

    def __init__(self, capsys, monkeypatch):
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments):
        typed = [str(argument) for argument in arguments]
        self.monkeypatch.setattr(sys, "argv", ["smalti", *typed])
        self.capsys.readouterr()
        code = run(typed)
        output = self.capsys.readouterr()
        return Ran(code, output.out, output.err)

    def fails(self, code, *arguments):
        """Run a command that must fail: one line on stderr, and with --json one object on stdout. Return the line."""
        ran = self(*arguments)
        assert ran.code == code, ran
        assert ran.out == "" and ran.err.startswith("smalti: ") and ran.err.count("\n") == 1, ran
        as_json = self(*arguments, "--json") if "--" not in arguments else self("--json", *arguments)
        assert as_json.code == code, as_json
        assert as_json.json == {"ok": False, "error": as_json.err[len("smalti: ") : -1], "exit_code": code}
        return ran.err


def names(folder):
    """Return the paths of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
