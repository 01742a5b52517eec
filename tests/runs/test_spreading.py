"""Who is given what, and what is made of an answer: with workers that answer as a test says."""

import msgspec
import pytest
from made_up_workers import CASES, SPECS, Workers, offer, right

from rnnparity.records import files
from rnnparity.records.run import Run
from rnnparity.runs import answers
from rnnparity.runs.cluster import on_worker, spreading
from rnnparity.runs.cluster.calls import Call, Cluster
from rnnparity.runs.keeping import Keeper
from rnnparity.runs.plan import Plan
from rnnparity.runs.processes import WorkerLost
from rnnparity.verdicts import Verdict


def run(workers, folder, cases=CASES, earlier=(), **more):
    plan = Plan(specs=SPECS, cases=cases, directory=folder, **more)
    made = Run(folder, {"frameworks": {}}, list(earlier))
    keeper = Keeper(plan, made, lambda event: None, files.Recorder(folder))
    spreading.check_all(plan, workers, keeper)
    keeper.finish()
    ids = [one.id for one in files.read(folder)]
    assert len(ids) == len({*ids}), "recorded twice"
    return made


def given(workers):
    """Return who was given which checks, by implementation and device."""
    return {
        (worker, ask.spec.name, ask.device) for worker, asks, _ in workers.given for ask in asks
    }


def test_a_case_goes_to_one_worker_with_all_who_can_run_there(tmp_path):
    workers = Workers({"a": offer(), "b": offer(threads=2)})
    made = run(workers, tmp_path)
    assert len(made.records) == 80
    of_case = [(worker, {a.case for a in asks}, asks) for worker, asks, _ in workers.given]
    for worker, cases, asks in of_case:
        assert len(asks) == 2 * len(cases) <= 2 * spreading.CASES, worker
    assert sum(len(cases) for _, cases, _ in of_case) == 40
    assert {worker for worker, _, _ in of_case} == {"a", "b"}
    assert len(of_case[-1][1]) == 1  # the last blocks are the smallest


def test_a_worker_gets_what_it_offers_and_no_more_than_it_has_room_for(tmp_path):
    workers = Workers({"a": offer(others=()), "b": offer()})

    def answer(worker, asks):
        assert workers.load("a") <= 2 >= workers.load("b")
        return right(asks)

    workers.answer = answer
    run(workers, tmp_path)
    assert given(workers) == {("a", "plain", "cpu"), ("b", "plain", "cpu"), ("b", "other", "cpu")}


def test_a_card_is_used_where_it_was_declared(tmp_path):
    """Two workers see the card, and one says by a resource that it is to be used there."""
    seen = ("cpu", "cuda")
    workers = Workers({"a": offer(devices=seen), "b": offer(devices=seen, CUDA=1.0)})
    run(workers, tmp_path)
    on_card = {(worker, device) for worker, _, device in given(workers) if device == "cuda"}
    assert on_card == {("b", "cuda")}
    assert ("a", "plain", "cpu") in given(workers)
    for _, asks, resources in workers.given:
        assert resources == ({"CUDA": 1.0} if asks[0].device == "cuda" else None)
    workers = Workers({"a": offer(devices=seen), "b": offer(devices=seen)})
    (tmp_path / "nobody").mkdir()
    run(workers, tmp_path / "nobody")
    assert {w for w, _, device in given(workers) if device == "cuda"} == {"a", "b"}


def test_threads_take_as_many_of_a_workers_tasks(tmp_path):
    from rnnparity.implementations.settings import Settings

    workers = Workers({"a": offer(threads=4)})
    workers.answer = lambda worker, asks: (most.append(workers.load("a") + 1), right(asks))[1]
    most = []
    run(workers, tmp_path, settings=Settings(threads=2))
    assert max(most) == 2


def test_what_brings_workers_down_is_found_and_costs_no_other_check(tmp_path):
    bad = CASES[7].id

    def answer(worker, asks):
        if asks in suspected:
            assert not workers.load(worker), "it does not run alone"
        if any(ask.case.id == bad and ask.spec.name == "other" for ask in asks):
            suspected.extend((ask,) for ask in asks)
            return WorkerLost("its worker of the cluster was lost")
        return right(asks)

    suspected = []
    workers = Workers({"a": offer(threads=3), "b": offer(threads=3)}, answer)
    made = run(workers, tmp_path)
    assert len(made.records) == 80
    (broken,) = [r for r in made.records if r.verdict != Verdict.PASS]
    assert (broken.implementation, broken.case, broken.verdict) == ("other", bad, Verdict.ERROR)
    assert broken.reason == "its worker of the cluster was lost, 3 times"
    again = [asks for _, asks, _ in workers.given if len(asks) == 1]
    assert len(again) >= 3


GARBLED = {
    "one record too few": lambda records: records[:-1],
    "another case's": lambda records: [
        msgspec.structs.replace(records[0], case="float32-of-nobody"),
        *records[1:],
    ],
    "another implementation's": lambda records: [
        msgspec.structs.replace(r, implementation="plain") for r in records
    ],
    "another device's": lambda records: [msgspec.structs.replace(r, device="tpu") for r in records],
}


@pytest.mark.parametrize("how", GARBLED)
def test_an_answer_that_is_not_to_what_was_asked_is_not_recorded(how, tmp_path):
    """One worker answers wrongly, another rightly: what is recorded is the right one's."""
    workers = Workers({"bad": offer(), "good": offer()})
    workers.answer = lambda worker, asks: (
        GARBLED[how](right(asks)) if worker == "bad" else right(asks)
    )
    made = run(workers, tmp_path)
    assert len(made.records) == 80
    assert {r.verdict for r in made.records} == {Verdict.PASS}
    assert {*workers.unused} == {"bad"}


@pytest.mark.parametrize("how", GARBLED)
def test_where_no_worker_answers_what_was_asked_it_is_broken(how, tmp_path):
    """And no worker is to blame."""
    workers = Workers({name: offer() for name in "ab"})
    workers.answer = lambda worker, asks: GARBLED[how](right(asks))
    made = run(workers, tmp_path, cases=CASES[:3])
    assert [r.verdict for r in made.records if r.implementation == "other"] == [Verdict.ERROR] * 3
    assert not workers.unused


def test_what_comes_twice_is_recorded_once(tmp_path):
    class Twice(Workers):
        def answers(self):
            for one in super().answers():
                yield from (one, one)

    assert len(run(Twice({"a": offer()}), tmp_path).records) == 80


def test_texts_of_workers_are_lines(tmp_path):
    workers = Workers({"a": offer()})
    workers.answer = lambda worker, asks: [
        msgspec.structs.replace(r, reason="two\nlines\x1b[31m") for r in right(asks)
    ]
    assert {r.reason for r in run(workers, tmp_path).records} == {"two lines\\x1b[31m"}


def test_what_is_done_is_not_asked_again(tmp_path):
    earlier = [
        msgspec.structs.replace(record, definition=ask.case)
        for case in CASES[:39]
        for ask in [on_worker.Ask(case, SPECS[0], "cpu")]
        for record in right([ask])
    ]
    workers = Workers({"a": offer()})
    run(workers, tmp_path, earlier=earlier)
    asked = [ask for _, asks, _ in workers.given for ask in asks]
    assert len(asked) == 41
    assert [a.case for a in asked if a.spec.name == "plain"] == [CASES[39]]


def test_a_worker_that_joins_gets_work_and_brings_what_was_absent(tmp_path):
    workers = Workers({"a": offer(others=())})

    def answer(worker, asks):
        if "b" not in workers.offers:
            workers.offers["b"] = offer(devices=("cpu", "cuda"))
            workers.changed = True
        return right(asks)

    workers.answer = answer
    made = run(workers, tmp_path)
    assert ("b", "other", "cpu") in given(workers)
    assert ("b", "plain", "cuda") in given(workers)
    assert len(made.records) == 160
    assert {r.verdict for r in made.records} == {Verdict.PASS}


def test_what_nobody_offers_any_more_is_broken_and_what_nobody_had_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(spreading, "COME_WITHIN", 0.01)
    workers = Workers({"a": offer(others=()), "b": offer(devices=("cpu", "cuda"), others=())})

    def answer(worker, asks):
        if workers.offers.pop("b", None):
            workers.changed = True
        return WorkerLost("gone") if worker == "b" else right(asks)

    workers.answer = answer
    made = run(workers, tmp_path)
    verdicts = {(r.implementation, r.device, r.verdict) for r in made.records}
    assert verdicts == {
        ("plain", "cpu", Verdict.PASS),
        ("plain", "cuda", Verdict.ERROR),
        ("other", "", Verdict.ABSENT),
    }
    assert len(made.records) == 81


JUNK = {
    "no bytes": 3,
    "no message": b"junk",
    "no records": msgspec.msgpack.encode({"result": [{"implementation": "plain"}]}),
    "a verdict that is none": msgspec.msgpack.encode(
        {"result": [msgspec.to_builtins(right([on_worker.Ask(CASES[0], SPECS[0], "cpu")])[0])]}
    ).replace(b"\xa4pass", b"\xa4pest"),
    "it raised": RuntimeError("a worker's own trouble"),
}


@pytest.mark.parametrize("what", JUNK)
def test_an_answer_that_is_none_counts_as_a_lost_worker(what):
    call = Call("tcp://a:1", on_worker.check_block, (), {}, None, None)
    assert isinstance(Cluster._read(object(), call, JUNK[what]), WorkerLost)


def test_an_answer_that_is_one_is_read():
    asks = [on_worker.Ask(CASES[0], SPECS[0], "cpu")]
    told = answers.answer(right, asks)
    call = Call("tcp://a:1", on_worker.check_block, (), {}, None, None)
    assert Cluster._read(object(), call, told) == right(asks)


def test_large_cases_go_alone():
    small, large = CASES[0], CASES[0].replace(T=10_000, B=8)
    assert spreading._elements(large) > spreading.ELEMENTS > 8 * spreading._elements(small)


def test_cases_of_one_shape_go_to_one_worker_till_it_needs_help(tmp_path):
    """What compiles for a shape does it once, where the four workers could share it."""
    shapes = [CASES[0].replace(T=T) for T in (5, 6, 7, 8)]
    cases = tuple(case.replace(seed=seed) for seed in range(24) for case in shapes)
    workers = Workers({name: offer() for name in "abcd"})
    made = run(workers, tmp_path, cases=cases)
    assert len(made.records) == 2 * len(cases)
    whose = {}
    for worker, asks, _ in workers.given[:8]:  # two blocks each
        for ask in asks:
            whose.setdefault(ask.case.T, set()).add(worker)
    assert sorted(map(len, whose.values())) == [1, 1, 1, 1]
    assert len(set.union(*whose.values())) == 4


def test_one_shape_is_shared_by_all(tmp_path):
    cases = tuple(CASES[0].replace(seed=seed) for seed in range(40))
    workers = Workers({"a": offer(), "b": offer()})
    run(workers, tmp_path, cases=cases)
    done = {name: 0 for name in "ab"}
    for worker, asks, _ in workers.given:
        done[worker] += len(asks)
    assert min(done.values()) >= 0.4 * 80
