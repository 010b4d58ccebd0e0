"""Which keys of params.yaml the tables read."""

from pydantic import BaseModel

from stages.common.parameters import Datasets, Rate, Rates


class AggregateParams(BaseModel):
    """The part of params.yaml that the tables read."""

    lr: Rate
    learning_rates: Rates
    datasets: Datasets
