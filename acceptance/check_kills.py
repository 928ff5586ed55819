"""Kill `smalti compress` with SIGKILL, again and again, while it replaces an archive; look at what each kill leaves.

    python -m acceptance.check_kills -o results/kills.json --source mnist/test --model NAME.smalti-model [--kills 200]
    python -m acceptance.check_kills --writer [--kills 200] [--seed 0]

With --writer, the process that is killed is a bare one that writes an archive through `smalti.archive`. Half of the
kills fall at any moment of a run, a quarter while the new file is being written, a quarter at the moment at which it
takes its name. A file is right if it is the old or the new one bit for bit, opens and verifies. Linux.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from smalti.archive.read.reader import open_archive

_POLL_SECONDS = 0.0005
_WRITER = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from helpers.made_up_archives import random_network, random_tokens, write
tokens, network = random_tokens(int(sys.argv[3]), (7, 7), 32), random_network(32)
write(Path(sys.argv[2]), tokens, network, overwrite=True, block_images=64, batch=500)
"""


@dataclass(frozen=True)
class Moments:
    """Seconds of an unkilled run: from its start to the end, to the start of writing, from there to the new name."""

    whole: float
    until_writing: float
    writing: float


class Victim:
    """The command that is killed, and the two files it may leave."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.path, self._arguments = folder / "existing.smalti", arguments
        self.old, self.new = folder.parent / "old.smalti", folder.parent / "new.smalti"
        for out, is_new in ((self.old, False), (self.new, True)):
            subprocess.run(self._command(out, is_new), check=True, stdout=subprocess.DEVNULL)
        self.digests = {digest(self.old): "old", digest(self.new): "new"}
        assert len(self.digests) == 2

    def start(self) -> "subprocess.Popen[bytes]":
        """Begin to replace the old file by the new one."""
        shutil.copyfile(self.old, self.path)
        return subprocess.Popen(self._command(self.path, True), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _command(self, out: Path, is_new: bool) -> list[str]:
        if self._arguments.writer:
            return [sys.executable, "-c", _WRITER, str(ROOT / "tests"), str(out), "2000" if is_new else "1000"]
        command = [str(Path(sys.executable).with_name("smalti")), "compress", self._arguments.source, "-q", "-f"]
        labels = [] if is_new else ["--no-labels"]
        return [*command, "--model", self._arguments.model, "-o", str(out), "--threads", "1", *labels]


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--source", default="mnist/test")
    parser.add_argument("--model", help="that `smalti compress` packs with")
    parser.add_argument("--writer", action="store_true", help="kill a bare writer instead of `smalti compress`")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work [default: the system's temporary folder]")


def measure(arguments: argparse.Namespace) -> Findings:
    """Kill, and count what is left."""
    if not arguments.writer and not arguments.model:
        raise SystemExit("give --model, or --writer")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name) / "kills"
        folder.mkdir()
        victim = Victim(folder, arguments)
        runs = [watch(victim) for _ in range(3)]
        moments = Moments(*(sum(getattr(run, field) for run in runs) / 3 for field in Moments.__dataclass_fields__))
        counts = kill_many(victim, moments, arguments)
        watch(victim)
        strays = sorted(path.name for path in folder.iterdir() if path != victim.path)
    figures = {
        "victim": "smalti.archive.write.writer.ArchiveWriter" if arguments.writer else "smalti compress",
        "kills": arguments.kills,
        "seconds_of_a_run": round(moments.whole, 3),
        "seconds_of_writing": round(moments.writing, 3),
        "killed_before_writing": counts["before"],
        "killed_while_writing": counts["during"],
        "killed_after_writing": counts["after"],
        "left_old_file": counts["old"],
        "left_new_file": counts["new"],
        "files_lost": counts["lost"],
        "files_broken": counts["broken"],
        "kills_that_left_a_hidden_file": counts["left over"],
        "most_hidden_files_at_once": counts["most at once"],
        "other_files_left": counts["strays"],
        "hidden_files_after_the_next_whole_run": len(strays),
    }
    return Findings(figures, not counts["lost"] + counts["broken"] + counts["strays"] + len(strays))


def watch(victim: Victim) -> Moments:
    """Let the new file take its place once, and see when that happens."""
    process, started = victim.start(), time.monotonic()
    before = victim.path.stat().st_ino
    while not writes(process.pid) and process.poll() is None:
        time.sleep(_POLL_SECONDS)
    writing = time.monotonic()
    while victim.path.stat().st_ino == before and process.poll() is None:
        time.sleep(_POLL_SECONDS)
    named = time.monotonic()
    if process.wait() or digest(victim.path) != digest(victim.new):
        sys.exit("the command that is to be killed fails when it is not killed")
    return Moments(time.monotonic() - started, writing - started, named - writing)


def kill_many(victim: Victim, moments: Moments, arguments: argparse.Namespace) -> Counter[str]:
    """Kill as often as asked for; runs that end before their kill are not counted."""
    draws, counts = random.Random(arguments.seed), Counter[str]()
    done = 0
    while done < arguments.kills:
        process = victim.start()
        wait(process, victim, draws, moments, done % 4)
        phase = "during" if writes(process.pid) else "before"
        process.kill()
        if process.wait() != -9:
            continue
        done += 1
        kind = look(victim, counts)
        counts["after" if kind == "new" else phase] += 1
        if done % 20 == 0:
            print(f"{done} kills: {dict(counts)}", file=sys.stderr)
    return counts


def wait(process: "subprocess.Popen[bytes]", victim: Victim, draws: random.Random, moments: Moments, kind: int) -> None:
    """Wait for the moment of the kill: any (kinds 0 and 1), while it writes (2), as soon as names change (3)."""
    if kind < 2:
        time.sleep(draws.uniform(0, moments.whole))
        return
    while not writes(process.pid) and process.poll() is None:
        time.sleep(_POLL_SECONDS)
    if kind == 2:
        time.sleep(draws.uniform(0, moments.writing))
        return
    folder = victim.path.parent
    before = listing(folder)
    while listing(folder) == before and process.poll() is None:
        pass  # between the hidden name and the rename lie some microseconds
    if draws.random() < 0.5:
        time.sleep(draws.uniform(0, 0.001))


def listing(folder: Path) -> set[tuple[str, int]]:
    """The names in a folder and the files they stand for."""
    with os.scandir(folder) as entries:
        return {(entry.name, entry.inode()) for entry in entries}


def writes(process_id: int) -> bool:
    """Whether a process holds a lock, as smalti.storage.atomic does from the making of a new file to its name."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(line[1] == "FLOCK" and line[4] == str(process_id) for line in lines)


def look(victim: Victim, counts: Counter[str]) -> str:
    """Count what a kill left, and return whether that is the old file or the new one."""
    others = [path.name for path in victim.path.parent.iterdir() if path != victim.path]
    hidden = [name for name in others if name.startswith(f".{victim.path.name}.") and name.endswith(".partial")]
    counts["strays"] += len(others) - len(hidden)
    counts["left over"] += len(hidden) > 0
    counts["most at once"] = max(counts["most at once"], len(hidden))
    kind = "lost" if not victim.path.exists() else victim.digests.get(digest(victim.path), "broken")
    if kind in ("old", "new"):
        with open_archive(victim.path) as archive:
            kind = kind if archive.verify().ok else "broken"
    counts[kind] += 1
    return kind


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    harness.main("acceptance.check_kills", __doc__, declare, measure)
