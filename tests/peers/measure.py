"""Measuring: engines take turns, round after round, so that a slow spell of the machine hits all alike."""

import gc
import random
import statistics
import time

import engines
import numpy
from networks import Network

# Differences of outputs, relative to their scale, from which an engine no longer computes the same network.
SAME = 1e-3


def open_engines(network: Network, names: list[str], threads: int, left_out: dict) -> tuple[dict, dict]:
    """Loads the network into each engine and runs it once; gives the engines and their outputs."""
    opened, outputs = {}, {}
    for name in names:
        try:
            with engines.quiet():
                engine = engines.ENGINES[name](network, threads)
                engine.run()
            outputs[name] = [numpy.array(output) for output in engine.outputs()]
            opened[name] = engine
        except Exception as error:  # An engine may fail in any way of its own; the others go on.
            left_out[name] = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return opened, outputs


def difference(got: list, want: list) -> float:
    """Largest difference relative to the scale of each output; infinite where shapes or NaN differ."""
    worst = 0.0
    if len(got) < len(want) and sum(map(numpy.size, got)) == sum(map(numpy.size, want)):
        got = numpy.split(got[0].ravel(), numpy.cumsum([numpy.size(w) for w in want])[:-1])
    for g, w in zip(got, want, strict=True):
        if g.size != w.size:
            return float("inf")
        g, w = g.ravel().astype(numpy.float64), w.ravel().astype(numpy.float64)
        one = numpy.abs(g - w).max(initial=0) / (numpy.abs(w).max(initial=0) or 1)
        worst = max(worst, float("inf") if numpy.isnan(one) else float(one))
    return worst


def same_top(got: list, want: list) -> bool:
    """Whether the largest element of the first output is the same in each row."""
    rows = want[0].reshape(-1, want[0].shape[-1] if want[0].ndim else 1)
    return bool((got[0].reshape(rows.shape).argmax(1) == rows.argmax(1)).all())


def compare(outputs: dict) -> dict:
    """Compares each engine's outputs with ONNX Runtime's, or with the first engine's where there is none."""
    judge = "ONNX Runtime" if "ONNX Runtime" in outputs else next(iter(outputs), None)
    found = {}
    for name, got in outputs.items():
        off = difference(got, outputs[judge])
        top = bool(numpy.isfinite(off)) and same_top(got, outputs[judge])
        found[name] = {"difference": off, "top_1_agrees": top, "agrees": off <= SAME}
    return found


def take_turns(opened: dict, seconds: float, rounds: int, turn: int, warm: int) -> dict:
    """Times of each engine in nanoseconds: a list of turns, each a list of runs.

    In every round each engine has one turn, in an order that changes: `warm` untimed runs, which bring its own weights
    back into the caches after the others' have driven them out, then `turn` timed ones."""
    times = {name: [] for name in opened}
    order = random.Random(0)
    names = list(opened)
    gc.collect()
    gc.disable()
    end = time.perf_counter() + seconds
    done = 0
    while names and (done < rounds or time.perf_counter() < end):
        order.shuffle(names)
        for name in names:
            engine = opened[name]
            for _ in range(warm):
                engine.run()
            times[name].append([engine.time() for _ in range(turn)])
        done += 1
    gc.enable()
    return times


def summary(turns: list) -> dict:
    """Minimum, median and quartiles in milliseconds."""
    runs = sorted(run / 1e6 for turn in turns for run in turn)
    low, high = statistics.quantiles(runs, n=4)[::2] if len(runs) > 1 else (runs[0], runs[0])
    return {
        "min_ms": runs[0],
        "median_ms": statistics.median(runs),
        "quartiles_ms": [low, high],
        "runs": len(runs),
        "rounds": len(turns),
    }


def ratios(times: dict, agreeing: set) -> dict:
    """avocet's time as a part of the others': the median, over the rounds, of the ratio within a round, in which slow
    spells of the machine cancel; and the ratio of the minima, which compares unlike moments where its speed changes."""
    if "avocet" not in times or "avocet" not in agreeing:
        return {}
    least = {name: min(min(turn) for turn in turns) for name, turns in times.items() if name in agreeing}
    peers = {name: value for name, value in least.items() if name != "avocet"}
    if not peers:
        return {}
    per_round = [dict(zip(times, map(min, turns))) for turns in zip(*times.values())]
    by_round = {name: statistics.median(r["avocet"] / r[name] for r in per_round) for name in peers}
    best = max(by_round, key=by_round.get)
    return {
        "best_peer": best,
        "to_best": by_round[best],
        "to": by_round,
        "to_by_minimum": {name: least["avocet"] / value for name, value in peers.items()},
    }


def measure(network: Network, names: list[str], left_out: dict, options) -> dict:
    """All of one network but its cold start."""
    opened, outputs = open_engines(network, names, options.threads, left_out)
    try:
        found = compare(outputs)
        times = take_turns(opened, options.seconds, options.rounds, options.turn, options.warm)
    finally:
        for engine in opened.values():
            engine.close()
    results = {name: {**summary(turns), **found[name]} for name, turns in times.items()}
    if "avocet" in opened:
        results["avocet"]["compile_s"] = opened["avocet"].compile_seconds
    return {"engines": results, "left_out": left_out, "ratios": ratios(times, {n for n in found if found[n]["agrees"]})}
