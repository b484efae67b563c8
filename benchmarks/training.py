"""The baseline trained by dmx and by a bare PyTorch loop, in turn: samples per second and their ratio.

    python benchmarks/training.py [--rounds 5] [--batch 8] [--threads 1] [--json]

All variants train the published DepthMaskNet (5,230,720 parameters) at 64x64 with the losses, optimizer and schedule
of experiments/baseline.yaml from samples in memory, on the CPU. Timed are training steps alone: set-up, the first
steps (and with them compilation), validation and checkpoints are apart. Goals: at least 0.98 of the bare loop with
everything tracked, and 1.1 with `auto` settings in a run that is long enough for `auto` to compile.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import torch
from timing import Row, StepClock, as_json, in_turn, table
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dmx.config import ExperimentConfig, load_experiment
from dmx.data.loader import Sampling, make_loader
from dmx.datatools.synth import synth
from dmx.experiment import RunOptions, Tracking, prepare, run
from dmx.experiment.loaders import opened
from dmx.models.depthmasknet import depthmasknet
from dmx.models.joint import IMAGENET
from dmx.outcome import Outcome
from dmx.quartet import Batch, DepthSpec, Prediction
from dmx.tracking import Home

BASELINE = Path(__file__).parent.parent / "experiments" / "baseline.yaml"
EPOCHS, STEPS = 3, 8
SIZE = 64
PER_ROOM = 4  # one room is for validation, which is not timed
PLAIN = ("precision=float32", "channels_last=false", "compile=false")  # what the bare loop does

# name -> (settings of training, whether MLflow and TensorBoard are fed; the journal is always written)
VARIANTS = {
    "dmx, untracked": (PLAIN, False),
    "dmx, tracked": (PLAIN, True),
    "dmx, auto of a short run, tracked": ((), True),
    "dmx, auto of a long run, tracked": (("compile=true",), True),
}


def experiment(data: Path, batch: int, settings: tuple[str, ...]) -> ExperimentConfig:
    """The baseline for a few short epochs."""
    overrides = [
        f"data.root={data}",
        f"data.split.val={PER_ROOM / (STEPS * batch + PER_ROOM)}",
        "data.split.test=0",
        f"stages=[{{epochs: {EPOCHS}, size: {SIZE}, batch_size: {batch}}}]",
        "training.device=cpu",
        *(f"training.{setting}" for setting in settings),
    ]
    return load_experiment(BASELINE, overrides)


def by_dmx(config: ExperimentConfig, home: Home, *, stores: bool) -> StepClock:
    """One run; all share a home and with it the stores, as the trials of a study do."""
    clock = StepClock()
    run_id = f"run-{len(list(home.root.glob('runs/*')))}"
    tags = {"dmx.role": "run"}
    result, unsent = run(
        prepare(config, home), home, run_id, Tracking("benchmark", tags, stores=stores), RunOptions(progress=clock)
    )
    if result.outcome is not Outcome.COMPLETE or unsent:
        raise RuntimeError(f"{run_id}: {result.outcome} {result.reason}, {unsent} events unsent")
    return clock


def bare(data: Batch, depth: DepthSpec, batch: int) -> StepClock:
    """A plain loop over tensors in memory: nothing is tracked, saved or checked."""
    clock = StepClock()
    torch.manual_seed(0)
    net = depthmasknet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=EPOCHS * STEPS, cycle_momentum=False)
    assert data.background is not None
    clock.start(0, EPOCHS * STEPS)
    for epoch in range(EPOCHS):
        for chosen in torch.randperm(len(data)).view(STEPS, batch):
            optimizer.zero_grad(set_to_none=True)
            logits, raw = net(data.image[chosen], data.background[chosen])
            predicted = depth.low + (depth.high - depth.low) * raw.sigmoid()
            loss = plain_loss(logits, predicted, data.mask[chosen], data.depth[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
            clock.step(len(chosen), None)
        clock.epoch(epoch + 1, EPOCHS, {})
    return clock


def plain_loss(logits: Tensor, predicted: Tensor, mask: Tensor, depth: Tensor) -> Tensor:
    """BCE + Dice of the mask and SILog of the depth where every pixel is known, (B, 1, H, W) each."""
    p, g = logits.sigmoid().flatten(1), mask.flatten(1)
    dice = 1 - (2 * (p * g).sum(1) + 1) / (p.square().sum(1) + g.square().sum(1) + 1)
    d = (predicted.log() - depth.log()).flatten(1)
    silog = d.square().mean(1) - 0.5 * d.mean(1).square()
    return binary_cross_entropy_with_logits(logits, mask) + dice.mean() + silog.mean()


def training_data(config: ExperimentConfig, home: Home) -> tuple[Batch, DepthSpec]:
    """All training samples as normalised tensors, from the very samples that dmx keeps in memory."""
    prepared = prepare(config, home)
    ids = prepared.split.train
    samples = opened(prepared.index.root, prepared.index.stamp, ids, (SIZE, SIZE), memory=True)
    host = next(iter(make_loader(samples, Sampling(batch_size=len(ids), seed=0, epoch=0, shuffle=False))))
    data, (mean, std) = host.to(torch.device("cpu")), (torch.tensor(one).view(3, 1, 1) for one in IMAGENET)
    assert data.background is not None
    normal = {"image": (data.image - mean) / std, "background": (data.background - mean) / std}
    return replace(data, **normal), prepared.index.depth


def check_same_loss(config: ExperimentConfig, data: Batch, depth: DepthSpec) -> None:
    """Make sure that the bare loop's loss is that of dmx."""
    logits = torch.randn_like(data.mask)
    predicted = depth.low + (depth.high - depth.low) * torch.rand_like(data.depth)
    prediction = Prediction(logits, predicted)
    (mask_term,), (depth_term,) = config.loss.mask, config.loss.depth
    ours = mask_term.loss.bind()(prediction, data) + depth_term.loss.bind()(prediction, data)
    torch.testing.assert_close(plain_loss(logits, predicted, data.mask, data.depth), ours)


def forwarder_seconds() -> float:
    """Processor time that the forwarder has taken so far."""
    times = [
        child.cpu_times()
        for child in psutil.Process().children()
        if any("dmx.tracking.forwarder" in word for word in child.cmdline())
    ]
    return sum(time.user + time.system for time in times)


def measure(scratch: Path, rounds: int, batch: int, say: Callable[[str], None]) -> tuple[list[Row], dict[str, float]]:
    """All rounds, and what is apart from them, in seconds."""
    synth(scratch / "data", count=STEPS * batch + PER_ROOM, size=SIZE, seed=0, per_room=PER_ROOM, workers=1)
    configs = {name: experiment(scratch / "data", batch, settings) for name, (settings, _) in VARIANTS.items()}
    home = Home(scratch / "mlruns")
    data, depth = training_data(configs["dmx, untracked"], home)
    check_same_loss(configs["dmx, untracked"], data, depth)
    # not timed: the start of the stores, the first compilation
    by_dmx(configs["dmx, tracked"], home, stores=True)
    apart = {"forwarder_start_cpu": forwarder_seconds()}
    apart["compilation"] = by_dmx(configs["dmx, auto of a long run, tracked"], home, stores=True).first_step
    fed = forwarder_seconds()
    variants: dict[str, Callable[[], float]] = {"bare loop": lambda: bare(data, depth, batch).rate}
    for name, (_, stores) in VARIANTS.items():
        variants[name] = partial(lambda config, stores: by_dmx(config, home, stores=stores).rate, configs[name], stores)
    rows = in_turn(variants, rounds, say)
    tracked = rounds * sum(stores for _, stores in VARIANTS.values())
    return rows, {**apart, "forwarder_cpu_per_run": (forwarder_seconds() - fed) / tracked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1 on a machine that others use")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        rows, apart = measure(
            Path(scratch), options.rounds, options.batch, lambda line: print(line, file=sys.stderr, flush=True)
        )
    if options.json:
        print(as_json(rows, seconds=apart, batch=options.batch, threads=torch.get_num_threads()))
        return
    print(f"Training steps of the baseline, batches of {options.batch}, {torch.get_num_threads()} threads")
    print(table(rows))
    print(f"Apart: first compiled step {apart['compilation']:.0f} s;")
    print(f"processor time of the forwarder: first run {apart['forwarder_start_cpu']:.1f} s, ", end="")
    print(f"later ones {apart['forwarder_cpu_per_run']:.2f} s each")


if __name__ == "__main__":
    main()
