"""Tables: for the terminal while it goes on, and in Markdown for the README."""

import datetime
import math
import os
import pathlib
import platform

import engines

BEGIN, END = "<!-- peers: begin (written by tests/peers/bench.py --markdown) -->", "<!-- peers: end -->"


def machine() -> dict:
    """What it was measured on."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    wide = [name for name in ("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16") if name in facts.get("flags", "")]
    family = f"family {facts.get('cpu family')}, model {facts.get('model')}"
    return {
        "processor": f"{facts.get('model name', platform.machine())} ({family})",
        "features": wide,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "date": datetime.date.today().isoformat(),
    }


def geometric_mean(values: list) -> float | None:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def means(networks: list[dict]) -> dict:
    """Geometric means of avocet's ratios over the networks that have them."""
    found = [network["ratios"] for network in networks if network["ratios"]]
    peers = [name for name in engines.ENGINES if any(name in ratio["to"] for ratio in found)]
    to = {name: geometric_mean([r["to"][name] for r in found if name in r["to"]]) for name in peers}
    return {"networks": len(found), "to_best": geometric_mean([r["to_best"] for r in found]), "to": to}


def show(network: dict):
    """One network on the terminal."""
    print(f"\n{network['name']}")
    best = min((e["median_ms"] for e in network["engines"].values()), default=0)
    for name, result in sorted(network["engines"].items(), key=lambda item: item[1]["median_ms"]):
        top = "" if result["top_1_agrees"] else ", another top-1"
        verdict = f"differs by {result['difference']:.1e}{top}" + ("" if result["agrees"] else "  WRONG")
        low, high = result["quartiles_ms"]
        print(
            f"  {name:13} min {result['min_ms']:9.3f}  median {result['median_ms']:9.3f} ms"
            f"  (half within {low:.3f} to {high:.3f}, {result['runs']} runs)  {result['median_ms'] / best:5.2f} x best  {verdict}"
        )
    for name, reason in network["left_out"].items():
        print(f"  {name:13} left out: {reason}")
    if ratios := network["ratios"]:
        each = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in ratios["to"].items())
        print(f"  avocet takes {ratios['to_best']:.2f} of the best peer's time ({ratios['best_peer']}); {each}")
    for name, cold in network.get("cold", {}).items():
        extra = ""
        if name == "avocet":
            over = cold["peak_over_weights_and_arena"] / 2**20
            extra = f"; library {cold['library_over_weights'] / 1024:.0f} KiB over its weights, peak {over:.2f} MiB over weights and arena"
        print(f"  {name:13} first result after {cold['first_s'] * 1e3:8.2f} ms, peak {cold['peak_kib'] / 1024:6.1f} MiB{extra}", flush=True)


def markdown(data: dict) -> str:
    """The tables of the README."""
    networks, facts = data["networks"], data["machine"]
    peers = [name for name in engines.ENGINES if name != "avocet" and any(name in n["engines"] for n in networks)]
    threads = "1 thread" if data["threads"] == 1 else f"{data['threads']} threads"
    clock = "" if data["clock"] == "wall" else ", time on the processor"
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items() if name in peers)
    lines = [
        f"Milliseconds for one picture, f32, {threads}{clock}: the median of {data['rounds']} rounds or more in which the engines take turns;"
        " ratios are the medians of those within a round.",
        f"{facts['processor']}, {' '.join(facts['features'])}; {versions}; {facts['date']}.",
        "",
        f"| network | avocet | {' | '.join(peers)} | avocet / ONNX Runtime | avocet / best peer |",
        "| --- |" + " ---: |" * (len(peers) + 3),
    ]
    number = lambda value, digits=2: "" if value is None else f"{value:.{digits}f}"
    for network in networks:
        results, ratios = network["engines"], network["ratios"]
        best = min((r["median_ms"] for r in results.values() if r["agrees"]), default=None)
        cells = []
        for name in ["avocet", *peers]:
            one = results.get(name)
            text = "–" if one is None else "wrong" if not one["agrees"] else number(one["median_ms"])
            cells.append(f"**{text}**" if one and one["agrees"] and one["median_ms"] == best else text)
        cells += [number(ratios.get("to", {}).get("ONNX Runtime")), number(ratios.get("to_best"))]
        lines.append(f"| {network['name']} | {' | '.join(cells)} |")
    mean = data["means"]
    empty = " |" * (len(peers) + 1)
    lines.append(f"| geometric mean |{empty} {number(mean['to'].get('ONNX Runtime'))} | {number(mean['to_best'])} |")
    return "\n".join(lines + cold_table(networks)) + "\n"


def cold_table(networks: list[dict]) -> list[str]:
    """The second table: first result of a fresh process, and memory."""
    rows = [n for n in networks if "avocet" in n.get("cold", {})]
    if not rows:
        return []
    lines = [
        "",
        "First result of a fresh process (files in the page cache; avocet: loading the library, arena on large pages, first run; ONNX Runtime:"
        " session and first run, without the import), and memory.",
        "",
        "| network | avocet, ms | ONNX Runtime, ms | ratio | library − weights, KiB | peak − weights − arena, MiB | peak, MiB | ONNX Runtime's peak, MiB |",
        "| --- |" + " ---: |" * 7,
    ]
    for network in rows:
        own, other = network["cold"]["avocet"], network["cold"].get("ONNX Runtime")
        peer = [f"{other['first_s'] * 1e3:.1f}", f"{own['first_s'] / other['first_s']:.3f}"] if other else ["–", "–"]
        cells = [f"{own['first_s'] * 1e3:.1f}", *peer, f"{own['library_over_weights'] / 1024:.0f}"]
        cells += [f"{own['peak_over_weights_and_arena'] / 2**20:.2f}", f"{own['peak_kib'] / 1024:.1f}"]
        cells += [f"{other['peak_kib'] / 1024:.1f}" if other else "–"]
        lines.append(f"| {network['name']} | {' | '.join(cells)} |")
    return lines


def write_markdown(path: pathlib.Path, text: str):
    """Writes the tables: between the markers of a file that has them, else as a file of their own."""
    old = path.read_text() if path.exists() else ""
    if BEGIN in old and END in old:
        head, rest = old.split(BEGIN, 1)
        text = f"{head}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}"
    path.write_text(text)
