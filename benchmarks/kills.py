"""Kills processes of a chain at random moments: the final bytes must be the same, without leftovers or manual repair.

    python -m benchmarks.kills --kills 200

In a clone of this checkout `ganpress run` and `ganpress status` are started again and again. At random moments one of
their processes gets a signal: the command itself, DVC, a stage, the recorder or the server; KILL, TERM, HUP, or STOP
with CONT a second later. The test passes if no process of a command is left 30 s after its end, an undisturbed command
never fails, and in the end every output has the bytes of an uninterrupted run. Outputs with measured times differ from
run to run, and are excluded by name.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
MARK = "GANPRESS_KILLS"
TIMED = ("export", "evaluate", "report")
"""Stages whose outputs hold latencies."""
SIGNALS = ("KILL", "KILL", "TERM", "HUP", "STOP")
VICTIMS = {
    "command": "-m flows",
    "stage": "-m tasks.",
    "dvc": "-m dvc",
    "recorder": "ganpress.tracking.recorder",
    "server": "uvicorn",
    "supervisor": "stage_process.py",
}
LEFT_S = 30.0


def processes(mark: str) -> dict[int, str]:
    """Command lines of the live processes of one clone, by process number."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
    return found


class Chain:
    """A clone, and the commands that run in it."""

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        self.root = folder
        subprocess.run(["git", "clone", "--quiet", CHECKOUT, folder], check=True)
        if settings:
            params = yaml.safe_load((folder / "params.yaml").read_text())
            for name, content in settings.items():
                params[name] = {**params[name], **content} if isinstance(content, dict) else content
            (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GANPRESS", "PREFECT"))}
        self.environment = kept | {MARK: str(folder), "PYTHONPATH": str(folder)}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "flows", *arguments]
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def outputs(self) -> dict[str, str]:
        """Digest of each output that holds no measured time, as dvc.lock has it."""
        stages = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        return {
            out["path"]: out["md5"]
            for name, stage in stages.items()
            if name.partition("@")[0] not in TIMED
            for out in stage["outs"]
            if not out["path"].startswith("artifacts/versions/")  # who made it, and when
        }


def strike(chain: Chain, dice: random.Random) -> tuple[str, str] | None:
    """Send a signal to one process of the chain; returns who got which, or None where there was nobody."""
    kinds = [
        (kind, number)
        for number, line in processes(str(chain.root)).items()
        for kind, words in VICTIMS.items()
        if words in line
    ]
    if not kinds:
        return None
    kind = dice.choice(sorted({kind for kind, _ in kinds}))
    victim = dice.choice([number for one, number in kinds if one == kind])
    name = dice.choice(SIGNALS)
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, getattr(signal, f"SIG{name}"))
        if name == "STOP":
            time.sleep(1.0)
            os.kill(victim, signal.SIGCONT)
    return kind, name


def left_running(chain: Chain) -> dict[int, str]:
    """What is still there after the time that everything has to end."""
    deadline = time.monotonic() + LEFT_S
    while (left := processes(str(chain.root))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def torment(
    chain: Chain, kills: int, longest_s: float, dice: random.Random
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Start commands and strike until `kills` signals were sent; returns them, and all that went wrong."""
    sent: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    while sum(sent.values()) < kills:
        arguments = ["status"] if dice.random() < 0.25 else ["run"]
        struck = 0
        with tempfile.TemporaryFile("w+") as said:
            command = [sys.executable, "-m", "flows", *arguments]
            process = subprocess.Popen(command, cwd=chain.root, env=chain.environment, stdout=said, stderr=said)
            while process.poll() is None and sum(sent.values()) < kills:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(dice.uniform(0.1, longest_s if arguments == ["run"] else 4.0))
                    continue
                hit = strike(chain, dice)
                if hit is not None:
                    sent[hit] += 1
                    struck += 1
                    print(f"{sum(sent.values()):>4}  {arguments[0]:<7} {hit[0]:<11} {hit[1]}", flush=True)
            if process.poll() is None:
                process.kill()
            process.wait()
            said.seek(0)
            text = said.read()
        if "Traceback" in text:
            wrong.append(f"a traceback of `{arguments[0]}`: {text[-1500:]}")
        if not struck and process.returncode != 0:
            wrong.append(f"`{arguments[0]}` failed untouched: {text[-600:]}")
        if left := left_running(chain):
            wrong.append(f"left after {LEFT_S:.0f} s: {left}")
    return sent, wrong


def main() -> int:
    """Run, and return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.kills")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--longest", type=float, default=9.0, help="seconds from one signal to the next, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", default="{}", help="JSON laid over params.yaml's sections, for a shorter chain")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="ganpress-kills-"))
    settings = json.loads(arguments.settings)
    chain, sound = Chain(folder / "struck", settings), Chain(folder / "sound", settings)
    sent, wrong = torment(chain, arguments.kills, arguments.longest, random.Random(arguments.seed))
    for one in (chain, sound):
        process = one.start("run")
        text, _ = process.communicate()
        if process.returncode != 0:
            wrong.append(f"the last run failed: {text[-1500:]}")
    made, wanted = chain.outputs(), sound.outputs()
    different = sorted(path for path in wanted if made.get(path) != wanted[path])
    if different:
        wrong.append(f"other bytes than without kills: {different}")
    for (victim, name), count in sorted(sent.items()):
        print(f"{count:>5}  {name:<5} {victim}")
    print(f"{sum(sent.values())} signals; {len(wanted) - len(different)} of {len(wanted)} outputs have the same bytes")
    print(f"{len(wrong)} went wrong", *wrong, sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
