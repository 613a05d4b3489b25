"""How the graph network is trained, as a training file says it. Strict."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class TrainingPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NetSettings(TrainingPart):
    width: int = Field(default=48, ge=4, description="Numbers that a node is described by.")
    rounds: int = Field(default=3, ge=1, description="Exchanges of messages.")


class LessonSettings(TrainingPart):
    """First: learning from what each choice would have cost, by rollouts of the linear rule."""

    iterations: int = Field(default=1500, ge=0)
    shops: int = Field(default=16, ge=1, description="Shops played in an iteration, each once.")
    samples: int = Field(default=8, ge=1, description="Completions of each choice.")
    noise: Positive = Field(default=0.1, description="Of the linear rule that completes.")
    better_part: Share = Field(default=0.5, description="Share of the completions that counts.")
    astray: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="Decisions at random."
    )
    epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: Positive = Field(
        default=1e-3, description="At first; falls to a tenth, as a cosine."
    )
    indecision: Positive = Field(default=0.15, description="At first; falls to a third.")


class PpoSettings(TrainingPart):
    """Then: proximal policy optimisation on whole plays, reward −time."""

    iterations: int = Field(default=0, ge=0)
    shops: int = Field(default=4, ge=1, description="Different shops in an iteration.")
    plays: int = Field(default=8, ge=1, description="Plays of each of them.")
    epochs: int = Field(default=2, ge=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: Positive = 2.5e-4
    clip: Share = 0.2
    entropy: BelowOne = 0.003


class TrainSettings(TrainingPart):
    net: NetSettings = NetSettings()
    lessons: LessonSettings = LessonSettings()
    ppo: PpoSettings = PpoSettings()
    checkpoint_every: int = Field(
        default=25, ge=1, description="Iterations; there it is validated too."
    )
