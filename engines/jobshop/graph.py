"""The dynamic disjunctive graph of a shop at a decision: what is left to do, and who holds whom up.

Nodes are operations that have not left their machine; they vanish as they do. Edges: along each
job (to what comes before and after), a clique on each machine (as a group), and hold edges from
where a blocked job stands to where the holder of the machine it wants stands, so that swap cycles
are cycles of the graph. Machines that are down and come back change their nodes' features, and
what is foreseen of the work on them. Times are in units of the shop's mean duration.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.jobshop.compiled import compiled
from engines.jobshop.interruptions import down_since, foreseen_finish
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.simulator import IDLE, wants
from engines.jobshop.state import (
    BLOCKED,
    CLOCK,
    DONE,
    NOBODY,
    NUM_DONE,
    NUM_OUTSIDE,
    NUM_PROCESSING,
    OUTSIDE,
    PROCESSING,
    State,
)

NODE_FEATURES = (
    "work left in it", "work left in the job", "operations left", "operations until it",
    "processing", "blocked", "next of a waiting job", "candidate", "its job waits since",
    "its job is outside", "its machine is free", "its machine is down",
    "jobs waiting for its machine", "work left on its machine",
)  # fmt: skip
SHOP_FEATURES = ("jobs inside", "jobs outside", "machines working", "may idle")
GRAPH_VERSION = 1
NUM_NODE_FEATURES, NUM_SHOP_FEATURES = len(NODE_FEATURES), len(SHOP_FEATURES)
MOST_WAITING = 10.0

Rows = npt.NDArray[np.float32]


class Graph(NamedTuple):
    """v nodes, m machines, c choices. Node numbers are places in `nodes`; -1 is none."""

    nodes: Rows  # [v, NUM_NODE_FEATURES]
    machine: Integers  # [v]
    before: Integers  # [v]: the node before it in its job
    after: Integers  # [v]
    held_by: Integers  # [v]: of a blocked operation: the one that holds the machine it wants
    shop: Rows  # [NUM_SHOP_FEATURES]
    choices: Integers  # [c]: the node of each candidate, in the order asked; IDLE as -1


def graph_of(shop: Shop, state: State, choices: Integers) -> Graph:
    """Returns the graph at a decision between these jobs (and IDLE)."""
    most = shop.machine.size
    index = np.empty((4, most), dtype=np.int64)
    nodes = np.zeros((most, NUM_NODE_FEATURES), dtype=np.float32)
    chosen = np.full(len(choices), -1, dtype=np.int64)
    summary = np.empty(NUM_SHOP_FEATURES, dtype=np.float32)
    count = write_graph(shop, state, choices, nodes, index, chosen, summary)
    machine, before, after, held_by = index[:, :count]
    return Graph(nodes[:count], machine, before, after, held_by, summary, chosen)


@compiled
def write_graph(
    shop: Shop,
    state: State,
    choices: Integers,
    nodes: Rows,
    index: Integers,
    chosen: Integers,
    summary: Rows,
) -> int:
    """Fills the arrays, nodes with zeros before. Returns how many nodes there are."""
    jobs, machines = shop.machine.shape
    first = np.full(jobs, -1, dtype=np.int64)  # each job's first node
    load = np.zeros(machines)  # work left on each machine
    count = 0
    for job in range(jobs):
        if state.status[job] == DONE:
            continue
        first[job] = count
        begin = max(0, state.stage[job])
        for stage in range(begin, machines):
            index[0, count] = shop.machine[job, stage]
            index[1, count] = count - 1 if stage > begin else -1
            index[2, count] = count + 1 if stage + 1 < machines else -1
            index[3, count] = -1
            _describe_node(shop, state, job, stage, nodes[count])
            load[shop.machine[job, stage]] += nodes[count, 0]
            count += 1
    for node in range(count):
        nodes[node, 13] = load[index[0, node]] / machines
    _hold(shop, state, first, index[3])
    _mark_choices(state, choices, first, nodes, chosen)
    inside = jobs - state.counts[NUM_OUTSIDE] - state.counts[NUM_DONE]
    summary[0] = inside / machines
    summary[1] = state.counts[NUM_OUTSIDE] / machines
    summary[2] = state.counts[NUM_PROCESSING] / machines
    summary[3] = 1.0 if choices[-1] == IDLE else 0.0
    return count


@compiled
def _describe_node(shop: Shop, state: State, job: int, stage: int, out: Rows) -> None:
    machines, unit = shop.machine.shape[1], shop.mean_duration
    machine, status, clock = shop.machine[job, stage], state.status[job], state.counts[CLOCK]
    is_here = stage == state.stage[job]
    left = shop.duration[job, stage]
    if is_here and status == PROCESSING:
        left = max(0, foreseen_finish(shop, state, job) - clock)
        out[4] = 1.0
    elif is_here:
        left = 0
        out[5] = 1.0
    waits = status in (BLOCKED, OUTSIDE)
    out[0] = left / unit
    out[1] = (left + shop.tail[job, stage + 1]) / (unit * machines)
    out[2] = (machines - stage) / machines
    out[3] = (stage - state.stage[job]) / machines
    out[6] = 1.0 if waits and stage == state.stage[job] + 1 else 0.0
    if waits and status == BLOCKED:
        out[8] = min(MOST_WAITING, (clock - state.since[job]) / unit)
    out[9] = 1.0 if status == OUTSIDE else 0.0
    out[10] = 1.0 if state.holder[machine] == NOBODY else 0.0
    out[11] = 1.0 if down_since(shop, state, machine) >= 0 else 0.0
    out[12] = state.num_waiting[machine] / machines


@compiled
def _hold(shop: Shop, state: State, first: Integers, held_by: Integers) -> None:
    for job in range(state.status.shape[0]):
        if state.status[job] == BLOCKED:
            holder = state.holder[wants(shop, state, job)]
            if holder != NOBODY:
                held_by[first[job]] = first[holder]


@compiled
def _mark_choices(
    state: State, choices: Integers, first: Integers, nodes: Rows, chosen: Integers
) -> None:
    for place in range(choices.shape[0]):
        job = choices[place]
        if job != IDLE:
            node = first[job] + (1 if state.status[job] == BLOCKED else 0)
            nodes[node, 7] = 1.0
            chosen[place] = node
