import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist

from helpers.ranks import environment, failure, free_port, run_ranks, save_weights, weights_close
from helpers.tiny_fits import CURED, StopAt, fit_small, small_images, tiny_settings
from helpers.tiny_pyramids import SHAPES as PYRAMID_SHAPES
from helpers.tiny_pyramids import blobs, fit_blobs, pyramid_settings
from smalti.errors import ModelError, SourceError, UsageError
from smalti.training.common.distributed import ALONE, RankError, Ranks, joined
from smalti.training.common.training_images import check_equal, to_unit_range
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.paper.grid_model import Model
from smalti.training.paper.settings import QuantizerSettings
from smalti.training.pyramid.encoder import PyramidEncoder

IMAGES = 31
"""An odd number: the last batch of an epoch has one image, so that rank 0 has no part of it."""

KMEANS = QuantizerSettings(codebook_size=9, start="kmeans", restart=True)
SETTINGS = {
    "paper": tiny_settings(batch_images=2, epochs=4),
    "cured": tiny_settings(CURED, batch_images=2, epochs=4),
    "gradient from k-means": tiny_settings(KMEANS, batch_images=2, epochs=4),
}
PIXELS = small_images(IMAGES, 9, 8)
PYRAMID = pyramid_settings(codes=5, effort=5)
"""With codebooks of fixed size: with so few images, the size that they find depends on the last bit of a sum."""

PYRAMID_IMAGES, FLOAT_STEPS = 17, 15


def fit_pyramid_here(**arguments):
    with pytest.MonkeyPatch.context() as patch:
        return fit_blobs(patch, PYRAMID, blobs(PYRAMID_IMAGES), **arguments)


class StopOn(StopAt):
    """Stops after some steps, on one rank alone."""

    def __init__(self, steps, rank, group):
        super().__init__(steps if group.rank == rank else 10**6)


def fits(group, folder):
    """Fit with each of the settings; return reports and a hash of each codebook."""
    found = {}
    for name, settings in SETTINGS.items():
        model = fit_small(settings, PIXELS, group=group)
        codes = model.network.quantizer.codebook.weight.detach().numpy()
        found[name] = {
            "codebook": hashlib.sha256(codes.tobytes()).hexdigest(),
            "history": model.history,
            "quantization": model.quantization,
            "ranks": model.provenance["ranks"],
        }
        if group.is_main:
            save_weights(folder / f"{name}.npz", model.network)
    return found


def interruptions(group, folder):
    """Resume the checkpoint of one process, stop when rank 1 asks, and resume; then leave a checkpoint of two ranks."""
    settings = SETTINGS["cured"]
    left = folder / "left by one process"

    def go_on():
        fit_small(settings, PIXELS, group=group, checkpoint=left, resume=True, observer=StopOn(5, 1, group))

    first = failure(go_on, FitInterruptedError)
    model = fit_small(settings, PIXELS, group=group, checkpoint=left, resume=True)
    if group.is_main:
        save_weights(folder / "resumed.npz", model.network)
    checkpoint = folder / "left by two ranks"
    again = failure(
        lambda: fit_small(settings, PIXELS, group=group, checkpoint=checkpoint, observer=StopOn(9, 0, group)),
        FitInterruptedError,
    )
    other = failure(
        lambda: fit_small(SETTINGS["paper"], PIXELS, group=group, checkpoint=checkpoint, resume=True),
        ModelError,
        RankError,
    )
    return [first[0], again[0], other]


def disagreements(group, folder):
    """Fit with different images, compare different weights, and fail in a block on one rank or on both."""
    pixels = small_images(12, seed=group.rank)
    images = failure(lambda: fit_small(SETTINGS["paper"], pixels, group=group), SourceError)
    tensors = {"codes": torch.ones(3) + 1e-7 * group.rank, "others": torch.ones(2)}
    weights = failure(lambda: check_equal(tensors, group), ModelError)
    check_equal({"others": torch.ones(2)}, group)

    def fail(*ranks):
        with group.agreed():
            if group.rank in ranks:
                raise UsageError(f"no {group.rank}")

    fail()
    one = failure(lambda: fail(1), UsageError, RankError)
    both = failure(lambda: fail(0, 1), UsageError, RankError)
    return {"images": images, "weights": weights, "one": one, "both": both}


def collectives(group, folder):
    """Run each collective on five rows: two on rank 0 and three on rank 1."""
    whole = torch.arange(10.0).view(5, 2)
    rows = group.part(whole)
    integers, floats = torch.tensor([group.rank + 1]), torch.full((2, 2), 0.5)
    group.add_up([integers, floats])
    value = torch.tensor([1.0 + group.rank], requires_grad=True)
    (group.summed(value) ** 2 * (group.rank + 1)).sum().backward()
    mine = [torch.tensor(group.rank), torch.tensor([True, bool(group.rank)]), torch.full((1, 3), 0.1 + group.rank)]
    group.broadcast(mine)
    state = group.from_main(lambda: ({"a": torch.tensor(2.5), "b": torch.empty(0, 3).long()}, {"of": group.rank}))
    tensors, description = state
    return {
        "sizes": [len(rows), group.count(rows)],
        "gathered": group.gather(rows).equal(whole),
        "picked": group.pick(rows, torch.tensor([4, 0, 0])).tolist(),
        "summed": [int(integers), floats.tolist()],
        "gradient": value.grad.item(),
        "broadcast": [tensor.tolist() for tensor in mine],
        "state": [tensors["a"].item(), list(tensors["b"].shape), str(tensors["b"].dtype), description],
        "nothing": group.from_main(lambda: None),
        "texts": group.texts("é" * group.rank),
        "flags": [group.any(False), group.any(group.rank == 1)],
    }


def pyramid(group, folder):
    """Fit a pyramid with refits: interrupted by rank 1 and resumed, and without interruption."""
    interrupted = failure(
        lambda: fit_pyramid_here(group=group, checkpoint=folder / "pyramid", observer=PyramidStop(group)),
        FitInterruptedError,
    )
    resumed = fit_pyramid_here(group=group, checkpoint=folder / "pyramid", resume=True)
    model = fit_pyramid_here(group=group)
    return {
        "interrupted": interrupted[0],
        "mse": [report["mse"] for report in model.history],
        "bits": [report["bits"] for report in model.history],
        "fingerprint": model.fingerprint(),
        "resumed": resumed.fingerprint(),
    }


def together(group, folder):
    """Compare latents that ranks normalise together with those of the whole batch, with gradients and running means."""
    shape = PYRAMID_SHAPES["two scales"]
    torch.manual_seed(0)
    encoder, alone = PyramidEncoder(shape), PyramidEncoder(shape)
    alone.load_state_dict(encoder.state_dict())
    encoder.share(group)
    for head in (*encoder.heads, *alone.heads):
        head.normal.momentum = None  # running means of one batch are then the batch's own
    images = to_unit_range(blobs(5))
    pulls = [torch.randn(5, latents, *shape.grid(scale)) for scale, latents in enumerate(shape.latents)]
    whole, own = alone(images), encoder(group.part(images))
    close = [torch.allclose(ours, group.part(all_), atol=1e-4) for ours, all_ in zip(own, whole, strict=True)]
    sum((pull * latents).sum() for pull, latents in zip(pulls, whole, strict=True)).backward()
    sum((group.part(pull) * latents).sum() for pull, latents in zip(pulls, own, strict=True)).backward()
    gradients = [weight.grad for weight in encoder.parameters()]
    group.add_up(gradients)
    scale = max(float(weight.grad.abs().max()) for weight in alone.parameters())
    close += [
        torch.allclose(ours, weight.grad, atol=1e-3 * scale)
        for ours, weight in zip(gradients, alone.parameters(), strict=True)
    ]
    state = alone.state_dict()
    close += [torch.allclose(value, state[name], rtol=1e-3, atol=1e-8) for name, value in encoder.state_dict().items()]
    return close


class PyramidStop(StopOn):
    def __init__(self, group):
        super().__init__(11, 1, group)


SCENARIOS = (fits, interruptions, disagreements, collectives, together, pyramid)


def go_through_all(rank, folder):
    """Run all scenarios, in a group that is already initialised."""
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    with joined() as group:
        assert isinstance(group, Ranks) and (group.rank, group.size) == (rank, 2)
        found = {scenario.__name__: scenario(group, folder) for scenario in SCENARIOS}
    assert dist.is_initialized(), "an earlier group must stay"
    dist.destroy_process_group()
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The results of both ranks, and the folder of their files."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.raises(FitInterruptedError):
        fit_small(SETTINGS["cured"], PIXELS, checkpoint=folder / "left by one process", observer=StopAt(20))
    codes, found = run_ranks(go_through_all, folder)
    assert codes == [0, 0]
    return SimpleNamespace(folder=folder, main=found[0], other=found[1])


@pytest.mark.parametrize("name", SETTINGS)
def test_two_ranks_learn_what_one_process_does(name, ran):
    model = fit_small(SETTINGS[name], PIXELS)
    found = ran.main["fits"][name]
    weights_close(ran.folder / f"{name}.npz", model.network, rtol=1e-3, atol=1e-5)
    for two, one in zip(found["history"], model.history, strict=True):
        assert two["codes_used"] == one["codes_used"]
        for part in ("reconstruction", "codebook", "commitment", "validation_mse", "perplexity"):
            assert two[part] == pytest.approx(one[part], rel=1e-4), part
    for part in ("float_mse", "calibrated_mse", "mse"):
        assert found["quantization"][part] == pytest.approx(model.quantization[part], rel=1e-2), part
    assert found["ranks"] == 2 and "ranks" not in model.provenance


@pytest.mark.parametrize("name", SETTINGS)
def test_codebooks_are_the_same_on_both_ranks(name, ran):
    assert ran.main["fits"][name]["codebook"] == ran.other["fits"][name]["codebook"]


def test_a_fit_stops_on_all_ranks_and_goes_on_with_any_number(ran):
    whole = fit_small(SETTINGS["cured"], PIXELS)
    for found in (ran.main, ran.other):
        assert found["interruptions"][:2] == ["FitInterruptedError"] * 2
    weights_close(ran.folder / "resumed.npz", whole.network, rtol=1e-3, atol=1e-5)
    checkpoint = ran.folder / "left by two ranks"
    resumed = fit_small(SETTINGS["cured"], PIXELS, checkpoint=checkpoint, resume=True)
    save_weights(ran.folder / "by one.npz", resumed.network)
    weights_close(ran.folder / "by one.npz", whole.network, rtol=1e-3, atol=1e-5)


def test_a_checkpoint_that_does_not_fit_is_refused_by_all(ran):
    kind, message = ran.main["interruptions"][2]
    assert kind == "ModelError" and "other settings" in message
    assert ran.other["interruptions"][2] == ["RankError", f"rank 0: {message}"]


def test_ranks_that_disagree_all_fail_with_one_line(ran):
    for found in (ran.main["disagreements"], ran.other["disagreements"]):
        assert found["images"][0] == "SourceError" and "different images" in found["images"][1]
        assert found["weights"][0] == "ModelError" and "numbers in codes;" in found["weights"][1]
        assert found["one"] == ["RankError", "rank 1: no 1"]
    assert ran.main["disagreements"]["both"] == ["UsageError", "no 0"]
    assert ran.other["disagreements"]["both"] == ["RankError", "rank 0: no 0"]


def test_collectives(ran):
    assert [ran.main["collectives"]["sizes"], ran.other["collectives"]["sizes"]] == [[2, 5], [3, 5]]
    for found in (ran.main["collectives"], ran.other["collectives"]):
        assert found["gathered"] is True and found["picked"] == [[8, 9], [0, 1], [0, 1]]
        assert found["summed"] == [3, [[1, 1], [1, 1]]]
        assert found["gradient"] == 2 * 3 * 1 + 2 * 3 * 2  # both ranks' losses depend on the sum, which is 3
        assert found["broadcast"] == [0, [True, False], [[pytest.approx(0.1)] * 3]]
        assert found["state"] == [2.5, [0, 3], "torch.int64", {"of": 0}] and found["nothing"] is None
        assert found["texts"] == ["", "é"] and found["flags"] == [False, True]


def test_hierarchical_tokens_are_learned_by_two_ranks_as_by_one(ran):
    model = fit_pyramid_here()
    found = ran.main["pyramid"]
    assert found["fingerprint"] == ran.other["pyramid"]["fingerprint"] == found["resumed"]
    assert found["interrupted"] == ran.other["pyramid"]["interrupted"] == "FitInterruptedError"
    # a single process differs from itself as much if its first weights differ by 1e-7, relatively: by 2e-3 while it
    # computes in floats, and by up to a sixth in a step once it rounds to integers
    for measure in ("mse", "bits"):
        expected = [report[measure] for report in model.history]
        np.testing.assert_allclose(found[measure][:FLOAT_STEPS], expected[:FLOAT_STEPS], rtol=0.01)
        assert np.mean(found[measure]) == pytest.approx(np.mean(expected), rel=0.1)


def test_latents_are_normalised_together_as_in_one_batch(ran):
    for close in (ran.main["together"], ran.other["together"]):
        assert len(close) > 20 and all(close)


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def fail_in_turn(rank, folder, port):
    """Let rank 1 first answer too late, then die in the middle of a fit."""
    (folder / f"ready{rank}").touch()
    wait_for(folder / f"ready{1 - rank}")  # so that the limit does not count the imports of a busy machine
    with joined(timeout=timedelta(seconds=5)) as group:
        if rank:
            wait_for(folder / "gave up")
            late = None
        else:
            late = failure(group.barrier, RankError)
            (folder / "gave up").touch()
    os.environ["MASTER_PORT"] = str(port)

    class Dying(SilentObserver):
        def on_step(self, stage, step, steps):
            if rank and step == 5:
                os._exit(3)

    with joined() as group:
        died = failure(lambda: fit_small(SETTINGS["cured"], PIXELS, group=group, observer=Dying()), RankError)
    return [late, died]


def test_a_rank_that_hangs_or_dies_ends_the_others_with_one_line(tmp_path):
    codes, (errors, nothing) = run_ranks(fail_in_turn, tmp_path, free_port())
    assert codes == [0, 3] and nothing is None
    for kind, message in errors:
        assert kind == "RankError" and message.startswith("rank 0 of 2 lost the others (") and "\n" not in message


def test_one_process_is_alone(monkeypatch):
    for name in environment(0, 1):
        monkeypatch.delenv(name, raising=False)
    with joined() as group:
        assert group is ALONE and group.is_main
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as group:
        assert group is ALONE


def test_ranks_that_cannot_be_found_are_an_error_of_one_line(monkeypatch):
    for name, value in environment(1, free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RankError, match="cannot join the other processes"), joined(timeout=timedelta(seconds=1)):
        pass


def threads_left(rank, folder):
    """Fit one step, and return the threads of gloo within the group and after it."""
    threads = [_gloo_threads()]
    with joined() as group:
        weight = torch.nn.Parameter(torch.ones(3))
        group.summed(weight).sum().backward()
        torch.optim.Adam([weight]).step()
        threads.append(_gloo_threads())
    return [*threads, _gloo_threads()]


def _gloo_threads():
    return sum("gloo" in name.read_text() for name in Path("/proc/self/task").glob("*/comm"))


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are in /proc, which only Linux has")
def test_a_group_leaves_no_thread(tmp_path):
    codes, threads = run_ranks(threads_left, tmp_path)
    assert codes == [0, 0]
    for before, within, after in threads:
        assert (before, after) == (0, 0) and within > 0


def torchrun(folder, *arguments):
    """Run a command of smalti under torchrun; return its exit code, its stdout, and its lines on stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "smalti"]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout, lines=done.stderr.splitlines())


def test_the_command_line_under_torchrun(tmp_path):
    np.save(tmp_path / "blobs.npy", small_images(64, 12, 12))
    ran = torchrun(tmp_path, "fit", "blobs.npy", "-o", "m.smalti-model", "-k", 8, "--epochs", 1, "--json")
    assert ran.code == 0, ran
    fitted = json.loads(ran.out)
    assert fitted["provenance"]["ranks"] == 2 and len(fitted["history"]) == 1
    assert [line.split(":")[0] for line in ran.lines if "epoch 1" in line] == ["epoch 1"]
    assert Model.load(tmp_path / "m.smalti-model").codebook_size == 8
    assert {path.name for path in tmp_path.iterdir()} == {"blobs.npy", "m.smalti-model", "m.smalti-model.log.json"}
    again = torchrun(tmp_path, "fit", "blobs.npy", "-o", "m.smalti-model")
    assert again.code and again.out == ""
    errors = [line for line in again.lines if line.startswith("smalti: ")]
    assert errors == ["smalti: m.smalti-model: exists already; choose another name, or overwrite it (-f)"]
