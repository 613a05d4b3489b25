"""The whole training of a network: lessons, then PPO, a checkpoint now and then, and going on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from engines.errors import EngineInputError
from engines.jobshop.base_rule import linear_rule, rule_of
from engines.jobshop.gnn import DispatchNet
from engines.jobshop.learned import GreedyPolicy, one_thread
from engines.jobshop.net_file import save_net
from engines.jobshop.play import play
from engines.jobshop.problem import Shop
from engines.jobshop.rule_policies import RulePolicy
from engines.jobshop.training.checkpoint import (
    Checkpoint,
    CurvePoint,
    load_checkpoint,
    save_checkpoint,
    write_curve,
)
from engines.jobshop.training.learning import Learned, learn
from engines.jobshop.training.lessons import Teacher, give_lessons
from engines.jobshop.training.ppo import gather, improve
from engines.jobshop.training.settings import TrainSettings
from engines.jobshop.weights import load_linear

Shops = Callable[[int, int], list[Shop]]  # an iteration's number, and how many
CHECKPOINT, WEIGHTS, CURVE = "checkpoint.pt", "weights.pt", "curve.json"


@dataclass(slots=True, kw_only=True)
class Training:
    """A training in progress."""

    settings: TrainSettings
    seed: int
    shops: Shops
    validation: Sequence[Shop]
    folder: Path
    net: DispatchNet
    optimiser: torch.optim.Adam
    best_net: dict[str, torch.Tensor]
    curve: list[CurvePoint]
    iteration: int = 0

    @property
    def num_iterations(self) -> int:
        return self.settings.lessons.iterations + self.settings.ppo.iterations

    @property
    def phase(self) -> str:
        return "lessons" if self.iteration < self.settings.lessons.iterations else "ppo"

    def run(self, told: Callable[[Training], None]) -> None:
        """Trains to the end; `told` hears after every iteration. Whatever interrupts it, the last
        checkpoint stands."""
        usual = _usual_makespans(self.validation)
        begun = monotonic() - (self.curve[-1].seconds if self.curve else 0.0)
        decisions = self.curve[-1].decisions if self.curve else 0
        since: list[Learned] = []
        with one_thread():
            while self.iteration < self.num_iterations:
                learned = self._lesson() if self.phase == "lessons" else self._ppo()
                since.append(learned)
                decisions += learned.num_decisions
                phase = self.phase
                self.iteration += 1
                if self._is_checkpoint():
                    ratio = _ratio(self.net, self.validation, usual)
                    self._note(phase, since, monotonic() - begun, decisions, ratio)
                    since = []
                told(self)

    def _is_checkpoint(self) -> bool:
        every = self.settings.checkpoint_every
        return self.iteration % every == 0 or self.iteration == self.num_iterations

    def _lesson(self) -> Learned:
        lessons = self.settings.lessons
        progress = self.iteration / lessons.iterations
        for group in self.optimiser.param_groups:
            fall = 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
            group["lr"] = lessons.learning_rate * fall
        teacher = Teacher(
            base=linear_rule(load_linear("shipped"), noise=lessons.noise),
            samples=lessons.samples,
            better_part=lessons.better_part,
            astray=lessons.astray,
        )
        seed = _seed_of(self.seed, self.iteration)
        given = give_lessons(self.net, teacher, self.shops(self.iteration, lessons.shops), seed)
        return learn(
            self.net,
            self.optimiser,
            given.lessons,
            seed=seed,
            epochs=lessons.epochs,
            batch_size=lessons.batch_size,
            indecision=lessons.indecision * (1 - 2 / 3 * progress),
        )

    def _ppo(self) -> Learned:
        ppo = self.settings.ppo
        for group in self.optimiser.param_groups:
            group["lr"] = ppo.learning_rate
        seed = _seed_of(self.seed, self.iteration)
        shops = self.shops(self.iteration, ppo.shops) * ppo.plays
        return improve(self.net, self.optimiser, gather(self.net, shops, seed), ppo, seed)

    def _note(
        self, phase: str, since: Sequence[Learned], seconds: float, decisions: int, ratio: float
    ) -> None:
        """Adds to the curve, keeps the network if it is the best so far, writes the checkpoint."""
        costs = [each.cost for each in since if each.cost is not None]
        best = min((each.validation_ratio for each in self.curve), default=math.inf)
        self.curve.append(
            CurvePoint(
                iteration=self.iteration,
                phase=phase,
                seconds=seconds,
                decisions=decisions,
                cost=float(np.mean(costs)) if costs else None,
                entropy=float(np.mean([each.entropy for each in since])),
                value_error=float(np.mean([each.value_error for each in since])),
                validation_ratio=ratio,
            )
        )
        write_curve(self.folder / CURVE, self.curve)
        if ratio < best:
            self.best_net = copy.deepcopy(self.net.state_dict())
        save_checkpoint(
            self.folder / CHECKPOINT,
            Checkpoint(
                settings=_as_dict(self.settings, self.seed),
                iteration=self.iteration,
                net=self.net.state_dict(),
                optimiser=self.optimiser.state_dict(),
                best_net=self.best_net,
                curve=self.curve,
            ),
        )


def begin_training(
    settings: TrainSettings, *, seed: int, shops: Shops, validation: Sequence[Shop], folder: Path
) -> Training:
    """Returns the training, at its beginning or, where the folder has its checkpoint, where that
    left off. Raises EngineInputError where the checkpoint is of other settings."""
    torch.manual_seed(seed)
    net = DispatchNet(width=settings.net.width, rounds=settings.net.rounds)
    training = Training(
        settings=settings,
        seed=seed,
        shops=shops,
        validation=validation,
        folder=folder,
        net=net,
        optimiser=torch.optim.Adam(net.parameters(), lr=settings.lessons.learning_rate),
        best_net=copy.deepcopy(net.state_dict()),
        curve=[],
    )
    path = folder / CHECKPOINT
    if path.exists():
        _go_on(training, load_checkpoint(path), path)
    return training


def write_weights(training: Training, made_by: str) -> Path:
    """Writes the best network so far, for `kind: gnn`, and returns where."""
    net = DispatchNet(width=training.settings.net.width, rounds=training.settings.net.rounds)
    net.load_state_dict(training.best_net)
    path = training.folder / WEIGHTS
    save_net(path, net, made_by)
    return path


def _go_on(training: Training, checkpoint: Checkpoint, path: Path) -> None:
    wanted = _as_dict(training.settings, training.seed)
    changed = [key for key in ("seed", "net") if checkpoint.settings.get(key) != wanted[key]]
    if changed:
        raise EngineInputError(
            f"{path}: was begun with another {changed[0]}, {checkpoint.settings.get(changed[0])}, "
            f"now {wanted[changed[0]]}; choose another --out or remove it"
        )
    training.net.load_state_dict(checkpoint.net)
    training.optimiser.load_state_dict(checkpoint.optimiser)
    training.best_net = checkpoint.best_net
    training.curve = list(checkpoint.curve)
    training.iteration = checkpoint.iteration


def _as_dict(settings: TrainSettings, seed: int) -> dict[str, Any]:
    return {"seed": seed, **settings.model_dump()}


def _seed_of(seed: int, iteration: int) -> int:
    return int(np.random.SeedSequence([seed, iteration]).generate_state(1)[0])


def _usual_makespans(shops: Sequence[Shop]) -> list[int]:
    rule = RulePolicy(rule=rule_of("fifo", blocked_first=True))
    return [play(shop, rule, seed=0).makespan for shop in shops]


def _ratio(net: DispatchNet, shops: Sequence[Shop], usual: Sequence[int]) -> float:
    policy = GreedyPolicy(net=net)
    ends = [play(shop, policy, seed=0).makespan for shop in shops]
    return float(np.mean(np.array(ends) / np.array(usual)))
