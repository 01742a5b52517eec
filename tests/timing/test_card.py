"""An NVIDIA card: what is asked of the driver, and what becomes of blocks it was throttled in.

The driver is a fake, but in the last test, which wants a card.
"""

import json
import random
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from rnnparity.cells.config import KINDS
from rnnparity.implementations import card, registry
from rnnparity.implementations.settings import MATMUL_PRECISIONS, Settings
from rnnparity.problems import arrays, sizes
from rnnparity.records.environment import environment
from rnnparity.records.timing import Timing
from rnnparity.timing import machine, turns
from rnnparity.timing.contestants import Contestant, Timed, raised

L2 = 50 * 2**20


class Driver:
    """Both libraries: notes the calls, and answers like an H100."""

    def __init__(self, reasons=0, failing=(), older=False):
        self.calls, self.reasons, self.failing, self.depth = [], reasons, failing, 0
        self.hidden = "nvmlDeviceGetCurrentClocksEventReasons" if older else ""

    def __getattr__(self, name):
        if not name.startswith(("cu", "nvml")) or name == self.hidden:
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append((name, arguments))
            self.depth += {"cuCtxPushCurrent_v2": 1, "cuCtxPopCurrent_v2": -1}.get(name, 0)
            if name in self.failing:
                return 3
            answer = {
                "cuMemAlloc_v2": (0, 4096),
                "cuDeviceGetPCIBusId": (0, b"0000:00:06.0"),
                "cuDeviceGetAttribute": (0, L2),
                "cuDeviceTotalMem_v2": (0, 80 * 2**30),
                "cuDevicePrimaryCtxRetain": (0, 1),
                "nvmlDeviceGetClockInfo": (2, 1980),
                "nvmlDeviceGetCurrentClocksEventReasons": (1, self.reasons),
                "nvmlDeviceGetCurrentClocksThrottleReasons": (1, self.reasons),
                "nvmlDeviceGetName": (1, b"NVIDIA H100 80GB HBM3"),
                "nvmlSystemGetDriverVersion": (0, b"580.159.04"),
            }.get(name)
            if answer is not None:
                place, value = answer
                target = arguments[place]
                getattr(target, "_obj", target).value = value
            return 0

        return call

    def named(self, name):
        return [arguments for called, arguments in self.calls if called == name]


def a_card(**told):
    driver = Driver(**told)
    return card.Card(0, driver, driver), driver


def test_the_cache_is_overwritten():
    one, driver = a_card()
    one.flush()
    one.flush()
    ((_, allocated),) = driver.named("cuMemAlloc_v2")  # once
    written = driver.named("cuMemsetD8_v2")
    assert len(written) == 2
    assert all(size.value == allocated.value > 2 * L2 for _, _, size in written)
    assert all(buffer.value == 4096 for buffer, _, _ in written)
    order = [name for name, _ in driver.calls]
    assert order.index("cuCtxResetPersistingL2Cache") < order.index("cuMemsetD8_v2")
    assert order[-2:] == ["cuCtxSynchronize", "cuCtxPopCurrent_v2"]


def test_the_context_of_the_frameworks_is_left_as_it_was():
    one, driver = a_card(failing=("cuMemsetD8_v2",))
    with pytest.raises(OSError, match="cuMemsetD8_v2 failed with 3"):
        one.flush()
    assert driver.depth == 0


@pytest.mark.parametrize("older", [False, True])
def test_what_holds_the_clock_down(older):
    idle_or_set, capped_and_hot = 0x3, 0x4 | 0x20
    assert a_card(reasons=idle_or_set, older=older)[0].state() == (1980.0, ())
    state = a_card(reasons=capped_and_hot, older=older)[0].state()
    assert state.throttled == ("power cap", "temperature")


def test_a_machine_without_a_card(monkeypatch):
    def missing(name):
        raise OSError(name)

    card.find.cache_clear()
    monkeypatch.setattr(card, "_library", missing)
    assert card.find("cpu") is None
    assert card.find("cuda:0") is None
    assert environment(Settings())["cards"] == []
    card.find.cache_clear()
    with pytest.raises(SystemExit, match="no NVIDIA card here"):
        on_card().main()
    card.find.cache_clear()


def on_card():
    path = Path(__file__).parents[2] / "results" / "on_card.py"
    spec = spec_from_file_location("on_card", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_that_is_run_on_a_card(monkeypatch):
    program = on_card()
    made = []

    def run(command):
        made.append(command[3:])
        return subprocess.CompletedProcess(command, len(made) == 2)

    monkeypatch.setattr(card, "found", lambda: [{"name": "NVIDIA H100 80GB HBM3"}])
    monkeypatch.setattr(program.subprocess, "run", run)
    with pytest.raises(SystemExit, match="1"):
        program.main()
    asked = [
        (
            command[0],
            command[command.index("--cell") + 1],
            command[command.index("--matmul-precision") + 1]
            if "--matmul-precision" in command
            else "float32",
        )
        for command in made
    ]
    checks = {("check", kind, precision) for kind in KINDS for precision in MATMUL_PRECISIONS}
    assert sorted(asked) == sorted([*checks, *(("bench", kind, "float32") for kind in KINDS)])
    for _, kind, _ in asked:
        assert {*program.NAMES[kind]} <= {*registry.registered(kind)}
    folders = [Path(command[command.index("--out") + 1]) for command in made]
    assert len(set(folders)) == len(made)
    assert {folder.parent.name for folder in folders} == {"nvidia-h100-80gb-hbm3"}
    for command, folder in zip(made, folders, strict=True):
        assert command[command.index("--device") + 1] == "cuda"
        there = folder / "environment.json"  # what is committed is gone on with: of one preset
        preset = command[command.index("--preset") + 1]
        assert not there.exists() or json.loads(there.read_text())["preset"] == preset
        if command[0] == "bench":
            assert sizes.jobs(command[command.index("--preset") + 1])


def test_what_a_card_is_called():
    one, _ = a_card()
    assert one.describe() == {
        "name": "NVIDIA H100 80GB HBM3",
        "memory_bytes": 80 * 2**30,
        "l2_bytes": L2,
        "driver": "580.159.04",
    }
    assert card.folder(one.describe()["name"]) == "nvidia-h100-80gb-hbm3"


class Block:
    """A contestant whose n-th block takes n seconds; it tells the card's tale."""

    device, prepare, first_call, peak_memory, calls = "cuda:0", 0.0, 0.0, None, 1

    def __init__(self, tale):
        self.tale, self.blocks = tale, 0

    def block(self, end_with_first):
        self.blocks += 1
        self.tale.append(f"block {self.blocks}")
        return float(self.blocks), 1.0, None

    def outcome(self, result):
        return None

    def fresh(self):
        return 1.0, 1.0

    def with_transfer(self):
        return 2.0

    def on_device(self):
        return 0.5, 0.25


class Tired:
    """A card that is throttled after some of all blocks."""

    def __init__(self, tale, when):
        self.tale, self.when, self.asked = tale, when, 0

    def flush(self):
        self.tale.append("flush")

    def state(self):
        self.asked += 1
        return card.State(1980.0 - self.asked, ("power cap",) if self.when(self.asked) else ())


def rounds(when):
    tale = []
    timed = {"a": Block(tale), "b": Block(tale)}
    made = turns.Rounds(timed, Settings(), random.Random(0), its_card=Tired(tale, when))
    made.run(0.0)
    return made.measured(), tale


def test_every_block_finds_the_cache_empty():
    found, tale = rounds(lambda asked: False)
    assert tale[::2] == ["flush"] * (2 * turns.FEWEST)
    assert all(one.throttled == 0 for one in found.values())
    assert found["a"].on_device == (0.5,)
    assert found["a"].handing_over == (0.25,)
    assert len(found["a"].clock) == turns.FEWEST


def test_a_round_in_which_the_card_was_throttled_is_dropped_for_all():
    # Of the second round, one block; of the third, both.
    found, _ = rounds(lambda asked: asked in (4, 5, 6))
    for one in found.values():
        assert one.seconds == (1.0, 4.0, 5.0, 6.0)
        assert (one.throttled, one.reasons) == (2, ("power cap",))
        assert len(one.fresh) == 1  # the round that it was due in came again


def test_a_card_that_is_always_throttled_gives_no_times():
    found, _ = rounds(lambda asked: True)
    assert {one.error for one in found.values()} == {
        "the card was throttled (power cap) again and again"
    }


def test_dropped_rounds_are_told_once_for_all_that_took_turns():
    common = {"framework": "torch", "device": "cuda:0", "dtype": "float32", "mode": "forward"}
    timings = [
        Timing(implementation=name, case=case, verdict="pass", throttled=count, **common)
        for name in ("a", "b")
        for case, count in (("x", 3), ("y", 2), ("z", 0))
    ]
    (line,) = machine.throttled(timings, {"power cap"})
    assert line == "5 rounds were dropped: the card was throttled (power cap)"
    assert machine.throttled([timings[2]], set()) == []


def test_memory_that_a_call_adds():
    assert raised((100, 100), (120, 180)) == 80
    assert raised((100, 100), (100, 100)) == 0
    assert raised((100, 300), (120, 400)) == 300
    assert raised((100, 300), (120, 300)) is None  # an earlier call took more


def timed(name, device):
    job = sizes.jobs("notebook")[0]
    spec = registry.resolve(name)
    return Timed(Contestant(name, spec), Settings(), job, arrays.build(job.case), device)


def test_marks_in_the_queue_leave_out_the_wait(monkeypatch):
    class Mark:
        def elapsed_time(self, later):
            assert later is not self
            return 3.0

    one = timed("numpy-loop", "cpu")
    seconds, share = one.on_device()
    assert seconds is None
    assert 0 < share <= 1
    monkeypatch.setattr(one._border, "mark", lambda device: Mark(), raising=False)
    seconds, share = one.on_device()
    assert seconds == pytest.approx(3e-3)
    assert 0 < share <= 1


def test_on_a_card():
    here = card.find("cuda:0")
    if here is None:
        pytest.skip("no NVIDIA card here")
    here.flush()
    assert here.state().clock > 0
    assert here.describe()["memory_bytes"] > here.l2_bytes > 0
    tried = 0
    for name in ("torch-loop", "jax-scan"):
        framework = pytest.importorskip(name.partition("-")[0])
        if framework.__name__ == "jax":
            stats = framework.devices("cuda")[0].memory_stats() if _has_cuda(framework) else None
            if stats is None:
                continue
            assert stats.get("pool_bytes", 0) < stats["bytes_limit"] / 2  # nothing is taken ahead
        elif not framework.cuda.is_available():
            continue
        one = timed(name, "cuda:0")
        seconds, share = one.on_device()
        assert (seconds is None) == (name == "jax-scan")
        assert 0 < share <= 1
        assert one.peak_memory is None or one.peak_memory > 0
        here.flush()
        assert one.block()[0] > 0
        tried += 1
    assert tried


def _has_cuda(jax):
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False
