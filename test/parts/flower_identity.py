"""Lets tests make messages: Flower wants to know of which run and node they are."""

from __future__ import annotations

from flwr.supercore.task_identity import TaskIdentity


def take_identity() -> None:
    """Have this process be node 1 in run 1."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = 1
    TaskIdentity.node_id = 1
