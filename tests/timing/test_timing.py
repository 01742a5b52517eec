"""The timing method, and what it must not be fooled by."""

import hashlib
import subprocess
import sys
import threading
from collections import Counter

import msgspec
import numpy as np
import pytest

import rnnparity
from rnnparity.errors import UsageError
from rnnparity.implementations import registry, stopwatch
from rnnparity.implementations.outcome import Outcome
from rnnparity.implementations.settings import Settings
from rnnparity.judging.verdict import Judgement
from rnnparity.problems import sizes
from rnnparity.records import files
from rnnparity.records.run import Run
from rnnparity.records.timing import AGAIN, BOUND
from rnnparity.runs.plan import Plan
from rnnparity.timing import comparison, contestants, machine, samples, session, statistics, turns
from rnnparity.timing.samples import suspicion
from rnnparity.timing.turns import Measured
from rnnparity.timing.workers import Workers
from rnnparity.verdicts import Verdict

SHORT = {"preset": "notebook", "processes": 2, "budget": 0.05}
# Where it is of no account that processes differ.
ALONE = SHORT | {"processes": 1}

IMPLEMENTATION = """
import time
import numpy as np
framework = "numpy"
calls, kept = 0, {}

def right(x, h0, cell, nonlinearity):
    output, h = np.empty((len(x), *h0.shape), x.dtype), h0
    for t in range(len(x)):
        h = np.tanh(x[t] @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])
        output[t] = h
    return output, h

def layer(x, h0, cell, nonlinearity):
    global calls
    calls += 1
"""


BODY = "    return right(x, h0, cell, nonlinearity)\n"


def timed(tmp_path, body, **arguments):
    path = tmp_path / "mine.py"
    path.write_text(IMPLEMENTATION + body)
    run = rnnparity.bench(str(path), out=tmp_path / "run", **ALONE | arguments)
    (mine,) = [t for t in run.timings if t.implementation == "mine" and t.mode == "forward"]
    return run, mine


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("timing") / "run"
    return rnnparity.bench("numpy-loop", out=out, **SHORT)


def rounds(rng, speed, processes=5, count=30, noise=0.05, drift=0.3):
    """Two contestants on a machine that drifts by tens of percent."""
    base, other = [], []
    for _ in range(processes):
        machine = np.exp(drift * np.cumsum(rng.standard_normal(count)) / np.sqrt(count))
        base.append(machine * np.exp(noise * rng.standard_normal(count)))
        other.append(machine / speed * np.exp(noise * rng.standard_normal(count)))
    return base, other


@pytest.mark.parametrize("speed", [1.0, 1.05, 3.0])
def test_interval_holds_the_ratio(speed):
    rng = np.random.default_rng(0)
    found = [statistics.ratio(*rounds(rng, speed), seed=i) for i in range(200)]
    held = np.mean([one.low <= speed <= one.high for one in found])
    assert held >= 0.93
    widths = [(one.high - one.low) / one.value for one in found]
    assert np.median(widths) < 0.08


def test_pairs_matter():
    """The same rounds, paired at random: the drift is back, and the interval is far wider."""
    rng = np.random.default_rng(0)
    base, other = rounds(rng, 1.0)
    paired = statistics.ratio(base, other)
    unpaired = statistics.ratio(base, [rng.permutation(one) for one in other])
    assert unpaired.high - unpaired.low > 2 * (paired.high - paired.low)


def test_processes_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    base, other = rounds(rng, 1.0)
    shifted = [one * factor for one, factor in zip(other, (0.9, 1, 1, 1, 1.1), strict=True)]
    plain, wide = statistics.ratio(base, other), statistics.ratio(base, shifted)
    assert wide.high - wide.low > 2 * (plain.high - plain.low)


def test_interval_of_a_quotient():
    """CPU time over wall time, of blocks of unequal lengths."""
    rng = np.random.default_rng(0)
    seconds = [rng.uniform(1, 5, 30) for _ in range(5)]
    cpu = [1.5 * one * np.exp(0.1 * rng.standard_normal(30)) for one in seconds]
    found = statistics.quotient(cpu, seconds)
    assert found.low < 1.5 < found.high
    assert found.high - found.low < 0.1


def test_line():
    points = [(T, 1e-5 + 2e-6 * T) for T in (16, 32, 64)]
    fixed, per_step = statistics.line(points)
    assert fixed == pytest.approx(1e-5)
    assert per_step == pytest.approx(2e-6)
    assert statistics.line(points[:1]) is None
    steeper = statistics.line([(16, 1e-6), (32, 4e-6), (64, 9e-6)])
    assert steeper.fixed == 0


def test_records(run):
    assert run.passed
    of = {(t.implementation, t.mode): t for t in run.timings}
    mine = of["numpy-loop", "forward"]
    assert mine.verdict == "pass"
    assert len(mine.seconds) == 2
    assert all(len(of_process) >= 3 for of_process in mine.seconds)
    assert mine.median == statistics.median(mine.seconds)
    assert mine.ratio_low <= mine.ratio <= mine.ratio_high
    assert of["torch-rnn", "forward"].ratio == 1
    again = of["torch-rnn again", "forward"]
    assert again.role == "again"
    assert mine.flop == 2 * 5 * 4 * 3 * (5 + 3)
    assert list(files.read_timings(run.directory)) == run.timings


def test_resume_makes_nothing_twice(run):
    again = rnnparity.bench("numpy-loop", out=run.directory, resume=True, **SHORT)
    assert again.timings == run.timings
    assert list(files.read_timings(run.directory)) == run.timings


def test_resume_times_what_is_new_with_all_others(tmp_path):
    first = rnnparity.bench("numpy-loop", out=tmp_path, **ALONE)
    best = first.environment["best"]
    with pytest.raises(UsageError, match="has timings of numpy-loop that would be lost"):
        rnnparity.bench("torch-loop", out=tmp_path, resume=True, **ALONE)
    assert list(files.read_timings(tmp_path)) == first.timings
    both = rnnparity.bench("numpy-loop", "torch-loop", out=tmp_path, resume=True, **ALONE)
    assert list(files.read_timings(tmp_path)) == both.timings
    timed = [(t.implementation, t.mode) for t in both.timings if t.seconds]
    assert len(timed) == len(set(timed)) == 10  # torch-rnn, again and the control with them
    again = rnnparity.bench("numpy-loop", "torch-loop", out=tmp_path, resume=True, **ALONE)
    assert again.timings == both.timings
    assert again.environment["best"] == both.environment["best"] != best
    assert again.environment["timing"] == both.environment["timing"]


def test_a_resumed_run_tells_timings_by_the_list_that_is_given_now(tmp_path):
    """What is not timed since it failed; nothing is timed again."""
    first, mine = timed(tmp_path, "    return right(x, h0 + 1, cell, nonlinearity)\n")
    assert (mine.verdict, mine.seconds) == ("fail", ())
    (tmp_path / "list.txt").write_text("mine-*: known")
    (tmp_path / "none.txt").touch()
    again = {"out": first.directory, "resume": True, **ALONE}
    for name, verdict in [("list.txt", "xfail"), (None, "xfail"), ("none.txt", "fail")]:
        xfail = name and tmp_path / name
        run = rnnparity.bench(tmp_path / "mine.py", xfail=xfail, **again)
        found = {t.verdict for t in run.timings if t.implementation == "mine"}
        assert found == {verdict}
        assert list(files.read_timings(run.directory)) == run.timings
        timings = [t for t in run.timings if t.implementation != "mine"]
        assert timings == [t for t in first.timings if t.implementation != "mine"]


def test_resume_tries_errors_again(tmp_path):
    _, mine = timed(
        tmp_path,
        "    from pathlib import Path\n"
        "    mended = Path(__file__).with_name('mended').exists()\n"
        "    if calls > 40 and not mended: raise RuntimeError('enough')\n"
        "    return right(x, h0, cell, nonlinearity)\n",
    )
    assert mine.verdict == "error"
    (tmp_path / "mended").touch()
    path = str(tmp_path / "mine.py")
    run = rnnparity.bench(path, out=tmp_path / "run", resume=True, **ALONE)
    assert {t.verdict for t in run.timings if t.mode == "forward"} == {"pass"}


def test_resume_times_again_what_has_changed_with_all_others(tmp_path):
    first, _ = timed(tmp_path, BODY)
    again, _ = timed(tmp_path, BODY, resume=True)
    assert again.timings == first.timings
    third, _ = timed(tmp_path, BODY + "# changed", resume=True)
    assert list(files.read_timings(tmp_path / "run")) == third.timings
    assert [t.id for t in third.timings] == [t.id for t in first.timings]
    assert not {t.seconds for t in third.timings if t.seconds} & {t.seconds for t in first.timings}
    assert any("mine has changed since" in note for note in third.notes)


def test_a_job_that_was_torn_is_timed_again(run, tmp_path):
    """Wherever its lines end: an implementation's is the last."""
    whole = (run.directory / files.TIMINGS).read_bytes().splitlines(keepends=True)
    wanted = {
        (t.definition, t.device, t.implementation)
        for t in run.timings
        if t.role == "implementation"
    }
    jobs = Counter((t.definition, t.mode) for t in run.timings)
    first = next(iter(jobs.values()))
    for count in range(1, first + 1):
        (tmp_path / files.TIMINGS).write_bytes(b"".join(whole[:count]))
        kept = files.keep_timed(tmp_path, wanted)
        assert len(kept) == (count if count == first else 0)


def test_threads_that_a_library_took(tmp_path):
    """An implementation that asks for more threads when it is imported: nobody has a time."""
    path = tmp_path / "mine.py"
    path.write_text("import torch\ntorch.set_num_threads(3)\n" + IMPLEMENTATION + BODY)
    run = rnnparity.bench(str(path), out=tmp_path / "run", **ALONE)
    (mine,) = [t for t in run.timings if t.implementation == "mine" and t.mode == "forward"]
    assert mine.verdict == "error"
    assert mine.reason.endswith("torch uses 3 threads, 1 were asked for")
    assert not any(t.seconds for t in run.timings)


def test_what_is_prepared_may_be_differentiated_in_every_call(tmp_path):
    """What autograd keeps of it is part of the graph of all calls; the first must not free it."""
    path = tmp_path / "scaled.py"
    path.write_text(
        "import torch\n"
        "framework = 'torch'\n"
        "def prepare(cell, nonlinearity):\n"
        "    return [a * (a.sum() * 0 + 1) for a in cell]\n"
        "def layer(x, h0, cell, nonlinearity):\n"
        "    h, steps = h0, []\n"
        "    for x_t in x:\n"
        "        h = torch.tanh(x_t @ cell[0].T + cell[2] + h @ cell[1].T + cell[3])\n"
        "        steps.append(h)\n"
        "    return torch.stack(steps), h\n"
    )
    run = rnnparity.bench(str(path), out=tmp_path / "run", **ALONE)
    modes = {t.mode: t.verdict for t in run.timings if t.implementation == "scaled"}
    assert modes == {"forward": "pass", "gradients": "pass"}, [t.reason for t in run.timings]


def test_kernels_that_leave_the_processor_unused(monkeypatch, tmp_path):
    cpu = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPU", cpu)
    assert machine.older_kernels("openblas 0.3.31 Haswell") == []
    cpu.write_text("flags : avx2 avx512f avx512cd\n")
    (line,) = machine.older_kernels("openblas 0.3.31 Haswell")
    assert "kernels for Haswell, and this processor has AVX-512" in line
    assert machine.older_kernels("openblas 0.3.31 SkylakeX") == machine.older_kernels("") == []
    cpu.write_text("flags : avx2\n")
    assert machine.older_kernels("openblas 0.3.31 Haswell") == []


def test_own_time_is_told_from_the_harness():
    spans = [(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.5, 5.7)]
    assert stopwatch.covered(spans, 0.0) == 4.0
    assert stopwatch.covered(spans, 2.5) == 1.5
    assert stopwatch.covered([], 0.0) == 0.0


def test_own_time_is_recorded(run):
    seconds = run.environment["seconds"]
    assert 0 < seconds["imports_and_calls"] <= seconds["wall"]


def test_wrong_when_timed(tmp_path):
    """Right as long as it is checked; the timed calls return zeros, which are quick to make."""
    _, mine = timed(
        tmp_path,
        "    if calls > 40: return np.zeros((len(x), *h0.shape), x.dtype), h0\n"
        "    return right(x, h0, cell, nonlinearity)\n",
    )
    assert mine.verdict == "fail"
    assert mine.reason.startswith("while timed: ")
    assert not mine.seconds
    assert mine.ratio is None


def test_results_kept(tmp_path):
    """A cache by content: no input that was seen before is computed again."""
    _, mine = timed(
        tmp_path,
        "    key = x.tobytes(), h0.tobytes(), cell[0].tobytes()\n"
        "    if key not in kept:\n"
        "        time.sleep(1e-3)\n"
        "        kept[key] = right(x, h0, cell, nonlinearity)\n"
        "    return tuple(a.copy() for a in kept[key])\n",
    )
    assert mine.verdict == "fail"
    assert "inputs seen before" in mine.reason
    assert not mine.seconds


def measured(**samples):
    fine = {"seconds": (1.0,) * 4, "fresh": (1.0,) * 4, "seen": (1.0,) * 4, "cores": (1.0,) * 4}
    return Measured(calls=1, **fine | samples)


def test_more_threads_than_asked_for(monkeypatch):
    monkeypatch.setattr(samples, "usable_cores", lambda: 4)
    # CPU time is counted in ticks: a block's may be told with the next one's.
    fine = measured(cores=(0.0, 2.0, 1.0, 1.1))
    busy = measured(cores=(1.7, 1.9, 2.1, 1.9))
    assert suspicion([fine, fine], 1) == ""
    assert suspicion([busy, busy], 2) == ""
    assert suspicion([busy, busy], 1) == "kept 1.9 (1.8 to 2.0) cores busy, 1 were asked for"
    assert suspicion([busy, busy], 1, "cuda:0") == ""
    once = measured(cores=(1.0, 1.0, 1.0, 9.0))
    assert suspicion([once, measured()], 1) == ""  # 2 cores on average, of one block
    monkeypatch.setattr(samples, "usable_cores", lambda: 1)
    assert suspicion([busy, busy], 1) == ""


def test_kept_results_are_said_only_of_an_interval():
    kept, interrupted = measured(fresh=(3.0, 3.1, 2.9, 3.0)), measured(fresh=(1.0, 3.0, 9.0, 0.9))
    between = "3 times as fast (2.86 to 3.14)"
    assert between in suspicion([kept, kept], 1)
    assert suspicion([interrupted, interrupted], 1) == ""
    assert suspicion([kept, measured()], 1) == ""  # in one process of two


def looked_at(monkeypatch, tmp_path, name, first, again):
    """Return what is said of times that look suspicious, and how often they are measured anew."""
    looks, spec = [], registry.resolve("torch-rnn" if name == "torch-rnn" else "numpy-loop")
    role = {"again": AGAIN, "products": BOUND}.get(name, "implementation")
    job = sizes.jobs("notebook")[0]
    plan = Plan(specs=(spec,), cases=(), jobs=(job,), directory=tmp_path, processes=2)
    workers = Workers(plan, tmp_path)
    timing = session.Session(Run(tmp_path, {}), plan, {job.case: None}, workers)

    def look(*_):
        looks.append(1)
        return [again, again]

    monkeypatch.setattr(timing, "_second_look", look)
    monkeypatch.setattr(session, "judge", lambda *_: Judgement(Verdict.PASS, "", {}))
    one = contestants.Contestant(name, spec, role)
    verdict = timing._verdict(one, job, "cpu", [first, first], Outcome())
    return verdict, len(looks)


def test_an_accusation_takes_a_second_look(monkeypatch, tmp_path):
    kept = measured(fresh=(3.0, 3.1, 2.9, 3.0))
    told, looks = looked_at(monkeypatch, tmp_path, "mine", kept, kept)
    assert (told[0], looks) == ("fail", 1)
    assert "results are kept" in told[1]
    assert looked_at(monkeypatch, tmp_path, "mine", kept, measured()) == (("pass", ""), 1)
    assert looked_at(monkeypatch, tmp_path, "mine", measured(), kept) == (("pass", ""), 0)
    broken = measured(error="enough")
    told, _ = looked_at(monkeypatch, tmp_path, "mine", kept, broken)
    assert told == ("error", "while timed again: enough")


@pytest.mark.parametrize("name", ["torch-rnn", "again", "products"])
def test_what_keeps_nothing_is_not_accused(monkeypatch, tmp_path, name):
    kept = measured(fresh=(3.0, 3.1, 2.9, 3.0))
    assert looked_at(monkeypatch, tmp_path, name, kept, kept) == (("pass", ""), 0)


def test_error_when_timed(tmp_path):
    run, mine = timed(
        tmp_path,
        "    if calls > 40: raise RuntimeError('enough')\n"
        "    return right(x, h0, cell, nonlinearity)\n",
    )
    assert (mine.verdict, mine.seconds) == ("error", ())
    assert "enough" in mine.reason
    assert not run.passed


def test_crash_when_timed(tmp_path):
    run, mine = timed(
        tmp_path,
        "    if calls > 40: __import__('os')._exit(3)\n"
        "    return right(x, h0, cell, nonlinearity)\n",
    )
    assert mine.verdict == "error"
    assert "exited with code 3" in mine.reason
    others = [one for one in run.timings if one.implementation != mine.implementation]
    assert {one.implementation for one in others} >= {"torch-rnn", "control"}
    assert all(one.verdict == "pass" and one.seconds for one in others)


def test_failing_parity_has_no_time(tmp_path):
    _, mine = timed(tmp_path, "    return right(x, h0, cell, nonlinearity)[0] * 0, h0\n")
    assert mine.verdict == "fail"
    assert not mine.seconds


def test_unknown_sizes():
    with pytest.raises(UsageError, match="no preset of sizes 'fast'"):
        sizes.jobs("fast")
    with pytest.raises(UsageError, match="processes is 0"):
        rnnparity.bench("numpy-loop", preset="notebook", processes=0)


@pytest.mark.parametrize("preset", sizes.PRESETS)
def test_presets_are_cases(preset):
    made = sizes.jobs(preset)
    assert made
    assert all(job.case.judged == sizes.JUDGED for job in made)


def slowed(run, factor, tmp_path, name):
    """Return a folder with a run's timings, numpy-loop's made slower."""
    folder = tmp_path / name
    recorder = files.Recorder(folder, files.TIMINGS)
    rng = np.random.default_rng(0)
    for one in run.timings:
        by = factor if one.implementation == "numpy-loop" else 1.0
        seconds = tuple(
            tuple(by * s * float(np.exp(rng.normal(scale=0.002))) for s in one.seconds[0])
            for _ in range(6)
        )
        recorder.write(
            msgspec.structs.replace(one, seconds=seconds, ratio_low=0.99, ratio_high=1.01)
        )
    recorder.close()
    return folder


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rnnparity", *map(str, arguments)], capture_output=True, text=True
    )


def test_compare(run, tmp_path):
    before, same = slowed(run, 1.0, tmp_path, "a"), slowed(run, 1.0, tmp_path, "b")
    slower, faster = slowed(run, 1.3, tmp_path, "c"), slowed(run, 0.7, tmp_path, "d")
    done = command("compare", before, same)
    assert (done.returncode, "0 slower, 0 faster" in done.stdout) == (0, True), done
    done = command("compare", before, slower)
    assert (done.returncode, "2 slower" in done.stdout) == (1, True), done
    done = command("compare", before, faster)
    assert (done.returncode, "2 faster" in done.stdout) == (0, True), done
    assert command("compare", before, slower, "--threshold", 0.5).returncode == 0
    done = command("compare", before, tmp_path)
    assert done.returncode == 2
    assert "has no timings.jsonl" in done.stderr


def test_compare_what_cannot_be_compared(run, tmp_path):
    with pytest.raises(UsageError, match="no timing in common"):
        comparison.compare(run.timings, [])
    timings = list(files.read_timings(slowed(run, 1.0, tmp_path, "a")))
    with pytest.raises(UsageError, match="threshold is nan, expected a share"):
        comparison.compare(timings, timings, float("nan"))
    alone = [msgspec.structs.replace(one, seconds=one.seconds[:1]) for one in timings]
    assert {c.verdict for c in comparison.compare(alone, alone)} == {"unknown"}
    bare = [one for one in timings if one.role != "control"]
    other = [msgspec.structs.replace(one, baseline="jax-scan") for one in bare]
    assert {c.verdict for c in comparison.compare(bare, other)} == {"unknown"}


def test_compare_tells_a_slower_machine_from_a_change(run, tmp_path):
    before = list(files.read_timings(slowed(run, 1.0, tmp_path, "a")))
    after = [
        msgspec.structs.replace(
            one,
            seconds=tuple(tuple(2 * s for s in of) for of in one.seconds),
            median=2 * one.median,
        )
        for one in before
    ]
    verdicts = {c.after.implementation: c.verdict for c in comparison.compare(before, after)}
    assert verdicts == {"torch-rnn": "same", "numpy-loop": "same"}


def _changed(timings, names, factor):
    """Return timings of which some take another time."""
    return [
        msgspec.structs.replace(
            one,
            seconds=tuple(tuple(factor * s for s in of) for of in one.seconds),
            median=factor * one.median,
        )
        if one.implementation in names
        else one
        for one in timings
    ]


def test_a_change_of_the_baseline_is_seen_by_the_control(run, tmp_path):
    """Another version of the baseline's framework: the implementation has not changed."""
    before = list(files.read_timings(slowed(run, 1.0, tmp_path, "a")))
    after = _changed(before, ("torch-rnn", "torch-rnn again"), 2)
    told = {c.after.implementation: (c.verdict, c.to) for c in comparison.compare(before, after)}
    assert told == {"torch-rnn": ("slower", "control"), "numpy-loop": ("faster", "torch-rnn")}
    changes = comparison.compare(before, after, by_control=True)
    told = {c.after.implementation: (c.verdict, c.to) for c in changes}
    assert told == {"torch-rnn": ("slower", "control"), "numpy-loop": ("same", "control")}


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_few_processes_are_compared_too(run, tmp_path, processes):
    """By Welch's test where ranks cannot tell: what is twice as slow is slower, the same is not."""
    timings = list(files.read_timings(slowed(run, 1.0, tmp_path, "a")))
    rng = np.random.default_rng(0)
    made = []
    for one in timings:
        own = tuple(
            tuple(one.median * scatter * rng.uniform(0.999, 1.001, 20))
            for scatter in rng.uniform(0.99, 1.01, processes)
        )
        made.append(msgspec.structs.replace(one, seconds=own))
    for factor, verdict in ((1.0, "same"), (2.0, "slower")):
        (change,) = (
            c
            for c in comparison.compare(made, _changed(made, ("numpy-loop",), factor))
            if c.after.implementation == "numpy-loop" and c.after.mode == "forward"
        )
        assert change.verdict == verdict


def test_compare_says_what_is_lost(run, tmp_path):
    before = slowed(run, 1.0, tmp_path, "a")
    recorder = files.Recorder(tmp_path / "b", files.TIMINGS)
    for one in files.read_timings(before):
        broken = {"seconds": (), "median": None, "verdict": "fail", "reason": "is off"}
        mine = one.implementation == "numpy-loop"
        recorder.write(msgspec.structs.replace(one, **(broken if mine else {})))
    recorder.close()
    done = command("compare", before, tmp_path / "b")
    assert done.returncode == 1
    assert "2 lost" in done.stdout
    assert "fail: is off" in done.stdout


def test_others_that_spin_are_waited_for():
    """Longer than the clock of the process's CPU time would say, which is told in ticks."""
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000)  # holds no lock of Python's

    assert not all(turns.others_run() for _ in range(1000))
    spinning = threading.Thread(target=spin)
    spinning.start()
    try:
        assert sum(turns.others_run() for _ in range(100)) > 90
    finally:
        stop.set()
        spinning.join()
    assert not all(turns.others_run() for _ in range(1000))


def test_pyperf_reads_the_samples(run):
    pyperf = pytest.importorskip("pyperf")
    path = run.directory / "pyperf.json"
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", path, path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "hidden because not significant" in done.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "pyperf", "show", path], capture_output=True, text=True
    )
    assert "numpy-loop-cpu-float32" in shown.stdout
    suite = pyperf.BenchmarkSuite.load(str(path))
    first = {t.id: t.first_call[0] for t in run.timings}
    for benchmark in suite.get_benchmarks():
        ((_, warmup),) = benchmark.get_runs()[0].warmups
        assert warmup == pytest.approx(first[benchmark.get_name().removesuffix("-1threads")])


def test_table_fits_a_terminal(run, capsys):
    from rich.console import Console

    from rnnparity.report.timing_table import show_timings

    show_timings(run, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert any("numpy-loop" in line for line in lines)
    tables = [
        line for line in lines if not line.startswith("warning: ")
    ]  # the terminal wraps those
    assert max(map(len, tables)) <= 80


def test_threads():
    done = command("bench", "--threads", "some")
    assert done.returncode == 2
    assert "expected a number of 1 or more, or all" in done.stderr
    done = command("bench", "--threads", "99999")
    assert done.returncode == 2
    assert "threads is 99999, expected at most" in done.stderr


def test_transfer_is_added_to_a_call():
    from rnnparity.problems import arrays
    from rnnparity.timing.contestants import Contestant, Timed

    job = sizes.jobs("notebook")[0]
    spec = registry.resolve("numpy-loop")
    one = Timed(Contestant("x", spec), Settings(), job, arrays.build(job.case), "cpu")
    assert one.with_transfer() > 0
    assert one.block()[0] > 0
