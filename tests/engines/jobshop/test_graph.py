"""The graph says what the shop is: nodes, edges, choices, and no number of the future."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.jobshop.gnn import DispatchNet, batch_of, log_shares
from engines.jobshop.graph import Graph, graph_of
from engines.jobshop.learned import GreedyPolicy, SampledPolicy, best_places, drawn_places
from engines.jobshop.play import play
from engines.jobshop.policy import play_by
from engines.jobshop.problem import Integers, Shop, build_shop
from engines.jobshop.simulator import IDLE, act, to_decision
from engines.jobshop.state import BLOCKED, DONE, new_state
from tests.engines.jobshop.shops import assert_lawful, random_shop, shops


def _graphs_of(shop: Shop, seed: int) -> list[tuple[Graph, Integers, list[int], list[int]]]:
    """Returns every decision's graph on one random play, its choices, statuses and stages."""
    random, state = np.random.default_rng(seed), new_state(shop)
    met: list[tuple[Graph, Integers, list[int], list[int]]] = []

    def choose(machine: int, choices: Integers) -> int:
        graph = graph_of(shop, state, choices)
        met.append((graph, choices.copy(), state.status.tolist(), state.stage.tolist()))
        return int(random.choice(choices))

    play_by(choose, shop, state, idles=True)
    return met


@given(shop=shops(), seed=st.integers(0, 99))
def test_nodes_are_the_operations_that_have_not_left(shop: Shop, seed: int) -> None:
    for graph, choices, status, stage in _graphs_of(shop, seed):
        left = [
            (job, step)
            for job in range(len(status))
            if status[job] != DONE
            for step in range(max(0, stage[job]), shop.machine.shape[1])
        ]
        assert graph.machine.tolist() == [shop.machine[each] for each in left]
        node = {each: number for number, each in enumerate(left)}
        for job, step in left:
            here = node[job, step]
            assert graph.before[here] == node.get((job, step - 1), -1)
            assert graph.after[here] == node.get((job, step + 1), -1)
        wanted = [-1 if job == IDLE else node[job, stage[job] + 1] for job in choices]
        assert graph.choices.tolist() == wanted
        assert np.flatnonzero(graph.nodes[:, 7]).tolist() == sorted(set(wanted) - {-1})


@given(shop=shops(), seed=st.integers(0, 99))
def test_hold_edges_lead_from_the_blocked_to_who_blocks_them(shop: Shop, seed: int) -> None:
    for graph, _, status, stage in _graphs_of(shop, seed):
        jobs = [job for job in range(len(status)) if status[job] != DONE]
        counts = [shop.machine.shape[1] - max(0, stage[job]) for job in jobs]
        starts = dict(zip(jobs, np.cumsum([0, *counts[:-1]]), strict=True))
        holder = {shop.machine[job, stage[job]]: job for job in jobs if stage[job] >= 0}
        expected = np.full(len(graph.machine), -1)
        for job in jobs:
            if status[job] == BLOCKED:
                blocker = holder.get(shop.machine[job, stage[job] + 1])
                expected[starts[job]] = -1 if blocker is None else starts[blocker]
        assert graph.held_by.tolist() == expected.tolist()


def test_a_swap_cycle_that_waits_for_a_machine_is_a_cycle_of_the_graph() -> None:
    shop = build_shop(
        [[0, 1, 2], [1, 0, 2], [2, 0, 1]],
        [[3, 2, 1], [3, 2, 1], [3, 9, 1]],
        windows=([[3], [90], [90]], [[8], [91], [91]]),
        length_bounds=(5, 5),
    )
    state = new_state(shop)
    for job in (0, 1, IDLE):
        act(shop, state, to_decision(shop, state), job)
    assert to_decision(shop, state) == 2  # at 3, left idle till now; machine 0 is down
    graph = graph_of(shop, state, np.array([2]))
    start = int(np.flatnonzero(graph.held_by >= 0)[0])
    assert graph.held_by[graph.held_by[start]] == start
    assert graph.nodes[graph.machine == 0, 11].tolist() == [1, 1, 1]


@given(shop=shops())
def test_a_graph_shows_nothing_of_what_is_yet_to_come(shop: Shop) -> None:
    calm = build_shop(shop.machine, shop.duration, length_bounds=(1, 14))
    graphs = []
    for each in (shop, calm):
        state = new_state(each)
        machine = to_decision(each, state)  # at 0: nothing has failed yet
        first = np.flatnonzero(each.machine[:, 0] == machine)
        graphs.append(graph_of(each, state, first))
    for mine, other in zip(*graphs, strict=True):
        assert np.array_equal(mine, other)


def _net() -> DispatchNet:
    torch.manual_seed(0)
    return DispatchNet(width=16, rounds=2).eval()


@given(some=st.lists(shops(), min_size=2, max_size=4))
def test_graphs_side_by_side_do_not_hear_each_other(some: list[Shop]) -> None:
    graphs = [each[0] for shop in some for each in _graphs_of(shop, 3)[::4]]
    if not graphs:
        return
    net = _net()
    with torch.no_grad():
        together, values = net(batch_of(graphs))
        apart = [net(batch_of([each])) for each in graphs]
    torch.testing.assert_close(
        together, torch.cat([each[0] for each in apart]), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(values, torch.cat([each[1] for each in apart]), atol=1e-4, rtol=1e-4)


@given(seed=st.integers(0, 999))
def test_the_names_of_jobs_and_machines_do_not_matter(seed: int) -> None:
    shop, random = random_shop(seed, jobs=4, machines=3), np.random.default_rng(seed)
    jobs, machines = random.permutation(4), random.permutation(3)
    other = build_shop(machines[shop.machine[jobs]], shop.duration[jobs])
    scores = []
    for each, names in ((shop, np.arange(4)), (other, jobs)):
        state = new_state(each)
        machine = 0 if each is shop else int(machines[0])
        mine = np.flatnonzero(each.machine[:, 0] == machine)
        if not len(mine):
            return
        with torch.no_grad():
            values, _ = _net()(batch_of([graph_of(each, state, mine.astype(np.int64))]))
        scores.append({int(names[job]): float(v) for job, v in zip(mine, values, strict=True)})
    assert scores[0].keys() == scores[1].keys()
    for job, score in scores[0].items():
        assert abs(score - scores[1][job]) < 1e-4


def test_shares_add_up_and_places_are_of_each_graph() -> None:
    shop = random_shop(7, jobs=5, machines=4)
    batch = batch_of([each[0] for each in _graphs_of(shop, 3)])
    scores = torch.randn(len(batch.choice_graph), generator=torch.Generator().manual_seed(1))
    shares = log_shares(scores, batch).exp()
    total = torch.zeros(len(batch.shop)).index_add(0, batch.choice_graph, shares)
    torch.testing.assert_close(total, torch.ones(len(batch.shop)))
    for graph, place in enumerate(best_places(scores, batch)):
        mine = scores[batch.choice_graph == graph]
        assert int(place) == int(mine.argmax())


def test_draws_follow_the_shares() -> None:
    shop = random_shop(7, jobs=5, machines=4)
    batch = batch_of([_graphs_of(shop, 3)[0][0]])
    scores = torch.arange(len(batch.choice_graph)).float()
    random = np.random.default_rng(1)
    drawn = np.bincount(
        [int(drawn_places(scores, batch, random)[0]) for _ in range(4000)], minlength=len(scores)
    )
    assert np.abs(drawn / 4000 - log_shares(scores, batch).exp().numpy()).max() < 0.04


@given(shop=shops(most=5), seed=st.integers(0, 9))
def test_a_network_plays_lawfully_and_by_the_seed(shop: Shop, seed: int) -> None:
    for policy in (GreedyPolicy(net=_net()), SampledPolicy(net=_net(), samples=3)):
        record = play(shop, policy, seed)
        assert_lawful(shop, record)
        assert np.array_equal(play(shop, policy, seed).departure, record.departure)


def test_more_samples_are_no_worse_than_the_greedy_schedule() -> None:
    for seed in range(5):
        shop = random_shop(seed, jobs=5, machines=4)
        greedy = play(shop, GreedyPolicy(net=_net()), seed).makespan
        assert play(shop, SampledPolicy(net=_net(), samples=8), seed).makespan <= greedy
