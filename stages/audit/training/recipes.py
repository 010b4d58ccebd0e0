"""What a recipe of the audit means for training."""

from typing import Self

from pydantic import BaseModel, ValidationError, model_validator

from stages.audit.training.parameters import Audit, Recipe
from stages.common.errors import UserError
from stages.common.parameters import Rates, broken_rule
from stages.training.parameters import Device, Network, Normalization, Training, TrainParams

OF_TRAINING = ("epochs", "batch_size", "clip_norm")
OF_SCHEDULE = {"schedule": "name", "decay": "decay", "decay_epochs": "decay_epochs"}
"""Key of a recipe → key of `training.schedule` that it changes."""


class RecipeParams(BaseModel):
    """The part of params.yaml that training a recipe reads."""

    network: Network
    training: Training
    device: Device
    audit: Audit

    def seeds_of(self, group: int) -> tuple[int, ...]:
        """List the seeds of a group, one for each network.

        Raises:
            UserError: There is no such group.
        """
        if group not in self.audit.groups:
            known = ", ".join(map(str, self.audit.groups))
            raise UserError(f"--group {group}: not one of audit.groups; give one of {known}")
        return tuple(range(group, group + self.audit.networks))

    def recipe(self, name: str) -> Recipe:
        """Find a recipe.

        Raises:
            UserError: There is none of this name.
        """
        if name not in self.audit.recipes:
            known = ", ".join(self.audit.recipes)
            raise UserError(f"--recipe {name}: not one of audit.recipes; give one of {known}")
        return self.audit.recipes[name]

    def rates_of(self, recipe: Recipe) -> Rates:
        """List the learning rates of a recipe: its own, or the audit's."""
        return recipe.rates or self.audit.rates

    def applied(self, recipe: Recipe, dataset: str, seeds: tuple[int, ...]) -> TrainParams:
        """Say how the networks of a recipe are trained."""
        fixed = self.audit.published_normalization.get(dataset)  # type: ignore[call-overload]
        published = recipe.normalization == "published" and fixed is not None
        return TrainParams(
            seeds=seeds,
            network=self.network,
            normalization=Normalization(
                mean=fixed.mean if published else None,
                deviation=fixed.deviation if published else None,
            ),
            training=self.changed(recipe),
            device=self.device,
        )

    def changed(self, recipe: Recipe) -> Training:
        """Change the core study's training as a recipe says.

        Raises:
            ValidationError: What it says does not go together.
        """
        says = recipe.model_dump(exclude_none=True)
        training = self.training.model_dump()
        schedule = {OF_SCHEDULE[key]: value for key, value in says.items() if key in OF_SCHEDULE}
        training |= {key: value for key, value in says.items() if key in OF_TRAINING}
        training["schedule"] |= schedule
        return Training.model_validate(training)

    @model_validator(mode="after")
    def _every_recipe_fits(self) -> Self:
        for name, recipe in self.audit.recipes.items():
            try:
                self.changed(recipe)
            except ValidationError as error:
                raise broken_rule(f"audit.recipes.{name}: {error.errors()[0]['msg']}") from None
        return self
