"""A ServerApp and a ClientApp in Flower's own manner, with the arrays of the reference CNN."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

SHAPES = ((3, 3, 3, 32), (32,), (3, 3, 32, 64), (64,), (2304, 10), (10,))

client_app = ClientApp()
server_app = ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    start = time.monotonic()
    arrays = message.content.array_records["arrays"].to_numpy_ndarrays()
    noise = np.random.default_rng()
    time.sleep(float(message.content.config_records["config"]["work-sec"]))
    arrays = [array + noise.normal(0, 0.01, array.shape).astype(array.dtype) for array in arrays]
    return reply(message, time.monotonic() - start, ArrayRecord(arrays))


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    start = time.monotonic()
    arrays = message.content.array_records["arrays"].to_numpy_ndarrays()
    assert all(np.isfinite(array).all() for array in arrays)
    return reply(message, time.monotonic() - start)


def reply(message: Message, seconds: float, arrays: ArrayRecord | None = None) -> Message:
    content = RecordDict({"metrics": MetricRecord({"num-examples": 100, "seconds": seconds})})
    if arrays is not None:
        content["arrays"] = arrays
    return Message(content, reply_to=message)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Do the rounds, and write their ends and the slowest robots' work, in s."""
    config = context.run_config
    ends: list[float] = []
    work: list[float] = []

    def slowest(replies: list[RecordDict], weighted_by_key: str) -> MetricRecord:
        work.append(max(float(one.metric_records["metrics"]["seconds"]) for one in replies))
        return MetricRecord({"seconds": work[-1]})

    def note(server_round: int, arrays: ArrayRecord) -> None:
        ends.append(time.monotonic())
        text = json.dumps({"ends": ends, "work": work})
        Path(str(config["times-file"])).write_text(text, encoding="utf-8")

    robots = int(config["robots"])
    strategy = FedAvg(
        min_train_nodes=robots,
        min_evaluate_nodes=robots,
        min_available_nodes=robots,
        train_metrics_aggr_fn=slowest,
        evaluate_metrics_aggr_fn=slowest,
    )
    generator = np.random.default_rng(0)
    strategy.start(
        grid,
        ArrayRecord([generator.normal(0, 0.1, shape).astype(np.float32) for shape in SHAPES]),
        num_rounds=int(config["rounds"]),
        train_config=ConfigRecord({"work-sec": float(config["work-sec"])}),
        evaluate_fn=note,
    )
