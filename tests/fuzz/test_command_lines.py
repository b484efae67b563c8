"""Command lines: of every command but `ui`, which would serve until it is stopped."""

import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from helpers.fuzzing import COUNTS, ROOT, Door, command, fuzz
from helpers.homes import EXPERIMENT, copy_home
from helpers.mutating import mutated_arguments, one_of

from dmx.cli import COMMANDS
from dmx.cli.data import COMMANDS as DATA_COMMANDS

pytestmark = pytest.mark.usefixtures("home")
APART = {"ui", "demo", "doctor"}
"""Commands that serve pages, or look at the machine instead of what they are given."""
LINES = (
    *("leaderboard st --top 3", "leaderboard --csv", "compare r st-0001 --json", "explain st 1", "gc --best 1 --yes"),
    *(
        "list losses",
        "list encoders",
        "describe models unet",
        "describe silog",
        "schema study",
        "report st --out page.html",
    ),
    *("train absent.yaml -s seed=1", "train --resume st-0001", "lr-find absent.yaml --from 1e-6 --to 1 --steps 20"),
    *("sweep study.yaml --trials 2 --timeout 1h --workers 1 -s trials=3", "worker st --storage sqlite:///none.db"),
    *(
        "train-best none --pick knee",
        "evaluate none data --part val --json",
        "predict none data/image out --tta flip",
        "sync",
    ),
    *("reproduce none --check", "calibrate none data --part val --name office"),
    *("export none out.onnx --size 32", "export none out --bundle --precision int8", "push out me/rooms --public"),
    *(
        "bench none --batch 1,4 --size 16x24 --form onnx --threads 1 --rounds 1",
        "data check data --workers 1 --worst 3",
        "data stats data --workers 1",
        "data show data out.png --count 2 --seed 1",
    ),
    *("data pack data out --size 16x24 --encoding png", "data import mapping absent.yaml out --copy"),
    *("data synth out --count 2 --size 16 --seed 1 --kind metric", "data show data out.png --ids 000001,000002"),
    *("data compose data data out --count 2 --size 16 --fov 40 --object-height 1 2 --distance 1 3 --format jpg",),
)
HONEST = re.compile(r"\d{3,7}")
"""Numbers that ask for hours of work, which is what they get."""


class CommandLines(Door):
    """A command with its arguments, beside results and data."""

    few = 400
    codes = (0, 1, 2)
    arguments: tuple[str, ...] = ()

    def make(self) -> None:
        copy_home(self.folder).rename(self.folder / "mlruns")
        absent = {**EXPERIMENT, "data": {"root": "absent"}}
        (self.folder / "absent.yaml").write_text(yaml.safe_dump(absent))
        study = {"name": "new", "experiment": absent, "search": {"optimizer": "auto"}, "trials": 2}
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study))
        self.arguments = ("leaderboard", "st")

    def warm(self) -> None:
        for line in LINES:
            command(*line.split())
            self.restore()

    def mutate(self, rng: np.random.Generator) -> tuple[str, ...]:
        tokens = mutated_arguments(one_of(rng, LINES).split(), rng)
        self.arguments = tuple(harmless(token) for token in tokens) or ("leaderboard",)  # of no command: the help
        return self.arguments

    def enter(self) -> tuple[int, str]:
        code, said = command(*self.arguments)
        assert code != 1 or self.arguments[:2] == ("data", "check"), said
        return code, said


def harmless(token: str) -> str:
    """The token, unless it leads out of the folder of the test or asks for a great deal of work."""
    if token in APART or HONEST.fullmatch(token):
        return "9"
    return re.sub(r"/|~|\.\.", "_", token) if re.search(r"(^|=|:)\s*[/~]|\.\.", token) else token


@COUNTS
def test_command_lines(count: str) -> None:
    fuzz(CommandLines, count)


def test_every_command_is_among_them() -> None:
    named = {line.split()[0] for line in LINES} | {"data"}
    assert named == set(COMMANDS) - APART
    assert {line.split()[1] for line in LINES if line.startswith("data ")} == set(DATA_COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", b"\xff\xfe.yaml"),
        ("leaderboard", "x" * 100_000),
        ("describe", "\x1b[31m\n\r"),
        ("data", "check", "a\ud800"),
    ],
    ids=["bytes", "long", "control", "surrogate"],
)
def test_in_a_process_of_its_own(arguments: tuple[str | bytes, ...]) -> None:
    given = [one if isinstance(one, bytes) else one.encode("utf-8", "surrogatepass") for one in arguments]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from dmx.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, check=False)
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert len(re.findall("^Error: ", said, re.MULTILINE)) == 1
    assert "Traceback" not in said
    assert len(said) < 2_000
