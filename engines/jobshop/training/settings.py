"""How the graph network is trained, as a training file says it. Strict."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class TrainingPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NetSettings(TrainingPart):
    width: int = Field(48, ge=4, description="Numbers that a node is described by.")
    rounds: int = Field(3, ge=1, description="Exchanges of messages.")


class LessonSettings(TrainingPart):
    """First: learning from what each choice would have cost, by rollouts of the linear rule."""

    iterations: int = Field(1500, ge=0)
    shops: int = Field(16, ge=1, description="Shops played in an iteration, each once.")
    samples: int = Field(8, ge=1, description="Completions of each choice.")
    noise: Positive = Field(0.1, description="Of the linear rule that completes.")
    better_part: Share = Field(0.5, description="Share of the completions that counts.")
    astray: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="Decisions at random.")
    epochs: int = Field(2, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: Positive = Field(1e-3, description="At first; falls to a tenth, as a cosine.")
    indecision: Positive = Field(0.15, description="At first; falls to a third.")


class PpoSettings(TrainingPart):
    """Then: proximal policy optimisation on whole plays, reward −time."""

    iterations: int = Field(0, ge=0)
    shops: int = Field(4, ge=1, description="Different shops in an iteration.")
    plays: int = Field(8, ge=1, description="Plays of each of them.")
    epochs: int = Field(2, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: Positive = 2.5e-4
    clip: Share = 0.2
    entropy: Annotated[float, Field(ge=0)] = 0.003


class TrainSettings(TrainingPart):
    net: NetSettings = NetSettings(width=48, rounds=3)
    lessons: LessonSettings = LessonSettings(iterations=1500)
    ppo: PpoSettings = PpoSettings(iterations=0)
    checkpoint_every: int = Field(25, ge=1, description="Iterations; there it is validated too.")
