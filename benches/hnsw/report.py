"""Tables and plots of what was measured."""

OURS, THEIRS = "vs_hnsw", "pgvector"
COLOURS = {"vs_hnsw": "#0b7a75", "pgvector": "#c8553d", "pgvector-half": "#e09f3e"}


def table(header, rows):
    """Markdown that is aligned for reading as it is; the first column is text, the others are numbers."""
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    show = lambda line: "| " + " | ".join(
        cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))) + " |"
    rule = "|" + "|".join(":" + "-" * (w + 1) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([show(lines[0]), rule, *map(show, lines[1:])]) + "\n"


def heading(machine):
    settings = ", ".join(f"{name} = {value}" for name, value in machine["settings"].items())
    peers = ", ".join(f"{name} ({version})" for name, version in machine["peers"].items())
    return (
        f"# {machine['started']}{', quick' if machine['quick'] else ''}\n\n"
        f"{machine['cpu']}, {machine['cores']} cores, {' '.join(machine['simd'])}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"load {machine['load_at_start']:.2f} at the start\n"
        f"{machine['postgresql']}\n"
        f"{peers}; visual_search at {machine['commit']}\n"
        f"m = {machine['index']['m']}, ef_construction = {machine['index']['ef_construction']}; {settings}"
        f"{'' if machine['parallel_workers'] is None else '; tables with parallel_workers = %d' % machine['parallel_workers']}\n"
    )


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2


def build_seconds(peer):
    return median([build["seconds"] for build in peer["builds"]])


def rate(found):
    qps, how = found
    return {"at least": f">= {qps:,.0f}", "interpolated": f"{qps:,.0f}"}.get(how, how) if qps else how


def tables(result):
    peers = result["peers"]
    text = (f"\n## {result['name']}: {result['rows']:,} x {result['dims']}, {result['metric']}, "
            f"{result['queries']:,} queries, k = {result['k']}\n\n{result['about']}.")
    text += f" Load: {result['load']:.1f}.\n\n" if "load" in result else "\n\n"
    for name, why in result["failures"].items():
        text += f"{name} cannot: {why}\n\n"
    if not peers:
        return text
    text += table(
        ["", "build s", "each build", "build WAL MB", "index MB", "index B/row", "heap MB", "planner's choice", "SELECT 1 us"],
        [[name, f"{build_seconds(peer):.2f}", " ".join(f"{build['seconds']:.2f}" for build in peer["builds"]),
          f"{peer['builds'][-1]['wal_bytes'] / 1e6:.1f}", f"{peer['index_bytes'] / 1e6:.1f}",
          f"{peer['index_bytes'] / result['rows']:,.0f}", f"{peer['heap_bytes'] / 1e6:.1f}",
          "yes" if peer["chosen_by_planner"] else "no", " ".join(f"{us:.0f}" for us in peer["floor_us"])]
         for name, peer in peers.items()])
    text += "\n" + table(
        ["", "ef_search", "recall@10", "QPS", "slowest and fastest pass", "mean us", "beyond SELECT 1", "p50 us", "p99 us",
         "buffers", "heap/row", "short", "misordered"],
        [[name, f"{point['ef_search']}{'*' if point['ef_search'] == peer['default_ef_search'] else ''}", f"{point['recall']:.4f}",
          f"{point['qps']:,.0f}", f"{min(point['passes']):,.0f} {max(point['passes']):,.0f}", f"{point['mean_us']:.0f}",
          f"{point['mean_us'] - min(peer['floor_us']):.0f}", f"{point['p50_us']:.0f}", f"{point['p99_us']:.0f}",
          f"{point['buffers']:.0f}", f"{point['fetched_per_row']:.2f}", point["short_answers"], point["misordered_answers"]]
         for name, peer in peers.items() for point in peer["points"]])
    text += ("\n`*` the default. QPS and mean: of the median pass; p50 and p99: over each query's median over the passes. "
             "Buffers: visits to pages of index and heap per query; heap/row: heap tuples fetched per row returned.\n")
    if any("inserts" in peer for peer in peers.values()):
        text += "\n" + table(
            ["", "inserts", "rows", "rows/s", "overall", "p50 us", "p99 us", "WAL B/row", "WAL beyond heap"],
            [[name, phase, found["rows"], f"{found['rows_per_second']:,.0f}", f"{found['rows_per_second_overall']:,.0f}", f"{found['p50_us']:.0f}", f"{found['p99_us']:.0f}",
              f"{found['wal_per_row']:,.0f}",
              "" if phase == "heap only" else f"{found['wal_per_row'] - peer['inserts']['heap only']['wal_per_row']:,.0f}"]
             for name, peer in peers.items() for phase, found in peer.get("inserts", {}).items()])
        text += "\nOne connection, one row a transaction; rows/s: the median over pieces of 50 rows, in which the peers take turns.\n"
    return text


def comparisons(result):
    """What is compared, as (what, theirs, ours, times better)."""
    ours, theirs = result["peers"].get(OURS), result["peers"].get(THEIRS)
    if not ours or not theirs:
        return
    for kind, what in (("at_recall", ""), ("at_recall_undisturbed", ", undisturbed")):
        for target, found in ours[kind].items():
            other = theirs[kind][target]
            # "At least" for theirs would be no lower bound of the ratio.
            sure = "" if found[1] == other[1] == "interpolated" else " ~"
            yield (f"QPS at recall {target}{what}", rate(other), rate(found),
                   f"{found[0] / other[0]:.2f}{sure}" if found[0] and other[0] else "-")
    a, b = build_seconds(theirs), build_seconds(ours)
    yield "build, s", f"{a:.2f}", f"{b:.2f}", f"{a / b:.2f}"
    a, b = theirs["index_bytes"], ours["index_bytes"]
    yield "index, MB", f"{a / 1e6:.1f}", f"{b / 1e6:.1f}", f"{a / b:.2f}"
    for phase in ours.get("inserts", {}):
        a, b = theirs["inserts"][phase], ours["inserts"][phase]
        yield (f"inserts/s, {phase}", f"{a['rows_per_second']:,.0f}", f"{b['rows_per_second']:,.0f}",
               f"{b['rows_per_second'] / a['rows_per_second']:.2f}")
        yield f"WAL B/row, {phase}", f"{a['wal_per_row']:,.0f}", f"{b['wal_per_row']:,.0f}", f"{a['wal_per_row'] / b['wal_per_row']:.2f}"


def summary(results):
    text = "\n## Summary\n\n"
    rows = []
    for result in results["sets"]:
        for name, peer in result["peers"].items():
            point = next(point for point in peer["points"] if point["ef_search"] == peer["default_ef_search"])
            rows.append([result["name"], name, f"{build_seconds(peer):.2f}", f"{peer['index_bytes'] / 1e6:.1f}",
                         *(rate(found) for found in peer["at_recall"].values()), point["ef_search"], f"{point['recall']:.4f}",
                         f"{point['qps']:,.0f}", f"{point['fetched_per_row']:.2f}"])
    if not rows:
        return text + "Nothing was measured.\n"
    text += table(["set", "peer", "build s", "index MB", "QPS at .95", "QPS at .99", "default ef", "recall", "QPS", "heap/row"], rows)
    compared = [[result["name"], *comparison] for result in results["sets"] for comparison in comparisons(result)]
    if compared:
        text += "\n" + table(["set", "", THEIRS, OURS, "times better"], compared)
        text += "\nUndisturbed: from each query's median over the passes instead of the median pass. "
        text += ("`~`: one of the two rates is that of the peer's narrowest beam, which finds more already and "
                 "beyond which it cannot be faster.\n")
    return text


def plot(result, machine, folder):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    if not result["peers"]:
        return
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, peer in result["peers"].items():
        points = [point for point in peer["points"] if point["recall"] >= 0.8]
        axes.plot([point["recall"] for point in points], [point["qps"] for point in points], marker="o", markersize=4,
                  label=f"{name} ({machine['peers'][name]})", color=COLOURS.get(name))
        for point in points:
            # Few people set it.
            if point["ef_search"] == peer["default_ef_search"]:
                axes.plot(point["recall"], point["qps"], marker="o", markersize=9, fillstyle="none", color=COLOURS.get(name))
    for target in next(iter(result["peers"].values()))["at_recall"]:
        axes.axvline(float(target), color="#888888", linestyle=":", linewidth=1)
    axes.set(xlabel="recall@10", ylabel="queries per second, one connection", yscale="log",
             title=f"{result['name']}: {result['rows']:,} x {result['dims']}, {result['metric']}")
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.grid(which="both", alpha=0.25)
    axes.legend()
    figure.text(0.995, 0.005, f"{machine['cpu']}, {machine['cores']} cores; a ring marks the default ef_search",
                ha="right", va="bottom", fontsize=6, color="#666666")
    for suffix in ("svg", "png"):
        figure.savefig(folder / f"{result['name']}.{suffix}", dpi=144)
    pyplot.close(figure)
