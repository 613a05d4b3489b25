"""Learning learns, on problems whose answer is known, and goes on after a kill where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.errors import EngineInputError
from engines.jobshop.base_rule import linear_rule
from engines.jobshop.exact.search import least_makespan
from engines.jobshop.gnn import DispatchNet
from engines.jobshop.graph import graph_of
from engines.jobshop.learned import GreedyPolicy
from engines.jobshop.play import play
from engines.jobshop.policies import ANY_POLICY
from engines.jobshop.problem import Shop, build_shop
from engines.jobshop.state import new_state
from engines.jobshop.training.evolution import evolve
from engines.jobshop.training.learning import learn
from engines.jobshop.training.lessons import Lesson, Teacher, give_lessons
from engines.jobshop.training.ppo import Experience, credit, gather, improve
from engines.jobshop.training.settings import (
    LessonSettings,
    NetSettings,
    PpoSettings,
    TrainSettings,
)
from engines.jobshop.training.train import Training, begin_training, write_weights
from engines.jobshop.weights import load_linear
from tests.engines.jobshop.shops import random_shop

SMALL = TrainSettings(
    net=NetSettings(width=8, rounds=1),
    lessons=LessonSettings(iterations=2, shops=2, samples=2),
    ppo=PpoSettings(iterations=2, shops=1, plays=2),
    checkpoint_every=1,
)


def _shops(iteration: int, count: int) -> list[Shop]:
    return [random_shop(100 * iteration + each, jobs=4, machines=3) for each in range(count)]


def _training(folder: Path, settings: TrainSettings = SMALL, seed: int = 1) -> Training:
    return begin_training(
        settings, seed=seed, shops=_shops, validation=_shops(999, 2), folder=folder
    )


def _weights(training: Training) -> list[float]:
    return torch.cat([each.flatten() for each in training.net.parameters()]).tolist()


class _KilledError(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_network(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    undisturbed = _training(whole)
    undisturbed.run(lambda _: None)
    for kill_after in (1, 3):  # once among the lessons, once in PPO

        def told(now: Training, last: int = kill_after) -> None:
            if now.iteration == last:
                raise _KilledError

        with pytest.raises(_KilledError):
            _training(cut).run(told)
    resumed = _training(cut)
    assert resumed.iteration == 3
    resumed.run(lambda _: None)
    assert _weights(resumed) == _weights(undisturbed)
    assert [each.phase for each in resumed.curve] == ["lessons", "lessons", "ppo", "ppo"]
    assert [each.decisions for each in resumed.curve] == [
        each.decisions for each in undisturbed.curve
    ]


def test_the_weights_written_are_the_best_and_can_be_played(tmp_path: Path) -> None:
    training = _training(tmp_path)
    training.run(lambda _: None)
    path = write_weights(training, "a test")
    policy = ANY_POLICY.validate_python({"kind": "gnn", "weights": str(path)}).build()
    best = min(each.validation_ratio for each in training.curve)
    usual = ANY_POLICY.validate_python({"kind": "rule", "rule": "fifo", "blocked_first": True})
    ratios = [
        play(shop, policy, 0).makespan / play(shop, usual.build(), 0).makespan
        for shop in training.validation
    ]
    assert np.mean(ratios) == pytest.approx(best)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"seed": 2}, "another seed, 1, now 2"), ({"width": 12}, "another net, .*'width': 8")],
)
def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, change: dict[str, int], words: str
) -> None:
    _training(tmp_path).run(lambda _: None)
    net = NetSettings(width=change.get("width", 8), rounds=1)
    with pytest.raises(EngineInputError, match=words):
        _training(tmp_path, SMALL.model_copy(update={"net": net}), change.get("seed", 1))


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineInputError, match=r"weights.pt: (is no file that|can not be read)"):
        ANY_POLICY.validate_python({"kind": "gnn", "weights": str(path)}).build()


def test_weights_for_graphs_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"graph_version": 0}, path)
    with pytest.raises(EngineInputError, match="on graphs of version 0, but this program's are"):
        ANY_POLICY.validate_python({"kind": "gnn", "weights": str(path)}).build()


def test_lessons_teach_the_cheaper_choice() -> None:
    shop = random_shop(1, jobs=4, machines=3)
    first = np.flatnonzero(shop.machine[:, 0] == shop.machine[0, 0])
    graph = graph_of(shop, new_state(shop), first)
    costs = np.arange(len(first), dtype=np.float64)[::-1].copy()
    assert len(first) > 1
    torch.manual_seed(0)
    net = DispatchNet(width=16, rounds=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    lesson = Lesson(graph=graph, costs=costs, to_go=7.0)
    for step in range(150):
        learned = learn(
            net, optimiser, [lesson], seed=step, epochs=1, batch_size=1, indecision=0.01,
            value_weight=1.0,
        )  # fmt: skip
    assert learned.cost is not None
    assert learned.cost < 0.05
    assert learned.value_error < 1.0


def test_a_lesson_is_given_for_every_choice_met() -> None:
    teacher = Teacher(
        base=linear_rule(load_linear("shipped"), noise=0.1), samples=3, better_part=0.5, astray=0.1
    )
    torch.manual_seed(0)
    given = give_lessons(DispatchNet(width=8, rounds=1), teacher, _shops(1, 3), seed=5)
    assert len(given.makespans) == 3
    for lesson in given.lessons:
        assert len(lesson.costs) == len(lesson.graph.choices) >= 2
        assert lesson.costs.min() == 0
        assert lesson.to_go > 0


def test_credit_is_what_the_values_did_not_foresee() -> None:
    def experience(at: float, value: float) -> Experience:
        shop = build_shop([[0], [0]], [[1], [1]])
        graph = graph_of(shop, new_state(shop), np.array([0, 1]))
        return Experience(graph=graph, place=0, log_share=0.0, value=value, at=at)

    play = [experience(0.0, 10.0), experience(4.0, 6.0), experience(5.0, 3.0)]
    credit(play, 9.0)  # from 5.0 it took 4, one more than the value said
    last = 3.0 - 4.0
    middle = 6.0 - 1.0 - 3.0 + 0.95 * last
    assert [each.advantage for each in play] == pytest.approx([0.95 * middle, middle, last])
    assert play[2].to_go == pytest.approx(4.0)


def test_ppo_finds_the_optimum_of_a_shop_that_rules_miss() -> None:
    shop = random_shop(11, jobs=4, machines=3)
    best = least_makespan(shop)
    fifo = ANY_POLICY.validate_python({"kind": "rule", "rule": "fifo"}).build()
    assert play(shop, fifo, 0).makespan > best
    torch.manual_seed(0)
    net = DispatchNet(width=16, rounds=2)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    settings = PpoSettings(iterations=1, epochs=3, batch_size=128, entropy=0.01)
    reached = []
    for iteration in range(40):
        experience = gather(net, [shop] * 16, seed=iteration)
        improve(net, optimiser, experience, settings, seed=iteration)
        reached.append(play(shop, GreedyPolicy(net=net), 0).makespan)
        if reached[-3:] == [best] * 3:
            return
    pytest.fail(f"the optimum is {best}, PPO reached {reached}")


def test_evolution_finds_the_least_of_a_bowl() -> None:
    target = np.array([1.0, -2.0, 0.5])
    last = list(
        evolve(
            lambda _: lambda weights: float(((weights - target) ** 2).sum()),
            num_weights=3, seed=1, generations=120,
        )
    )[-1]  # fmt: skip
    assert np.abs(last.weights - target).max() < 0.15
