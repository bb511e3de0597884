"""Measures vs_hnsw against pgvector: builds, recall against rate, inserts, WAL. benches/hnsw/run starts it."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(prog="benches/hnsw/run", description=__doc__)
    names = lambda text: [name for name in text.split(",") if name]
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data", help="folder of the pictures (%(default)s)")
    parser.add_argument("--sets", type=names, default=["fashion", "squeezenet", "relu4096", "offset", "bursts"],
                        help="fashion,squeezenet,relu4096,offset,bursts")
    parser.add_argument("--peers", type=names, default=["pgvector", "vs_hnsw"], help="pgvector,vs_hnsw; also pgvector-half (halfvec)")
    parser.add_argument("--quick", action="store_true", help="10,000 rows, 200 queries, one build, three passes")
    parser.add_argument("--rows", type=int, help="rows of the large sets (60,000)")
    parser.add_argument("--queries", type=int, help="queries of every set (1,000)")
    parser.add_argument("--inserts", type=int, help="rows inserted into the large sets, in all (3,000)")
    parser.add_argument("--rounds", type=int, help="timed passes over the queries (7; quick: 3)")
    parser.add_argument("--builds", type=int, help="builds of each large index; the median counts (3)")
    parser.add_argument("--beams", type=lambda text: [int(x) for x in names(text)], help="values of ef_search instead of the usual ones")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=64)
    parser.add_argument("--parallel-workers", type=int, help="the tables' parallel_workers, which starts workers for small heaps too")
    parser.add_argument("--out", type=Path, default=HERE / "out", help="folder of the results (%(default)s)")
    parser.add_argument("--ways", action="store_true", help="instead: recall of vs_hnsw built and grown in every way")
    parser.add_argument("--filters", action="store_true",
                        help="instead: filtered searches, random, correlated and anti-correlated with the query (300,000 rows)")
    parser.add_argument("--dsn", help=argparse.SUPPRESS)
    parser.add_argument("--print-peers", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()

    import data
    import peers

    for wanted, known in ((args.sets, data.SETS), (args.peers, peers.PEERS)):
        for name in wanted:
            if name not in known:
                parser.error(f"no {name}: there are {', '.join(known)}")
    if not args.data.is_dir():
        parser.error(f"{args.data} is no folder; name that of the pictures with --data")
    args.limits = data.QUICK if args.quick else data.FULL
    for name in () if args.filters else ("rows", "queries", "inserts"):
        if getattr(args, name) is not None:
            setattr(args.limits, name, getattr(args, name))
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.builds = args.builds or (1 if args.quick else 3)
    return args


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(connection, peers, args):
    cpu = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].replace("\t", "").splitlines() if ":" in line)
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    setting = lambda name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0]
    # A commit that does not say what was measured is worse than none.
    changed = "" if not output("git", "status", "--porcelain", "--untracked-files=no") else ", with changes"
    return {
        "cpu": cpu.get("model name", platform.machine()).strip(),
        "cores": os.cpu_count(),
        "simd": [flag for flag in ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "asimdhp", "asimddp") if flag in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "load_at_start": os.getloadavg()[0],
        "postgresql": connection.execute("SELECT version()").fetchone()[0],
        "peers": {peer.name: f"{peer.extension} {peer.version}" for peer in peers},
        "commit": output("git", "describe", "--always", "--abbrev=12") + changed,
        "settings": {name: setting(name) for name in (
            "shared_buffers", "maintenance_work_mem", "max_parallel_maintenance_workers", "synchronous_commit", "wal_level",
            "max_wal_size", "autovacuum", "jit", "huge_pages")},
        "index": {"m": args.m, "ef_construction": args.ef_construction},
        "parallel_workers": args.parallel_workers, "rounds": args.rounds, "builds": args.builds, "quick": args.quick,
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def available(connection, names):
    """The peers that the server has, with their versions."""
    from peers import PEERS

    found = []
    for name in names:
        peer = PEERS[name]
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {peer.extension}")
        if not connection.execute("SELECT 1 FROM pg_am WHERE amname = %s", [peer.method]).fetchone():
            print(f"{name}: the extension has no access method {peer.method} yet; left out")
            continue
        peer.version = connection.execute("SELECT extversion FROM pg_extension WHERE extname = %s", [peer.extension]).fetchone()[0]
        found.append(peer)
    return found


def measure_set(dsn, data, peers, args):
    import psycopg

    import measure

    say = lambda text: print(f"{time.strftime('%H:%M:%S')} {data.name}: {text}", file=sys.stderr, flush=True)
    result = {
        "name": data.name, "about": data.about, "metric": data.metric, "k": measure.K, "rows": len(data.rows),
        "dims": data.rows.shape[1], "queries": len(data.queries), "peers": {}, "failures": {},
    }
    sessions = {}
    try:
        for peer in peers:
            say(f"loading for {peer.name}")
            session = sessions[peer.name] = measure.Session(dsn, peer, data)
            session.load(session.table, data.rows, args.parallel_workers)
            result["peers"][peer.name] = {"builds": []}

        builds = args.builds if data.inserts is not None else 1
        for _ in range(builds):
            for name, session in list(sessions.items()):
                say(f"building {name}")
                try:
                    seconds, wal = session.build(args.m, args.ef_construction)
                except psycopg.OperationalError as error:
                    if session.connection.closed:
                        raise
                    refused = error
                except psycopg.Error as error:
                    refused = error
                else:
                    result["peers"][name]["builds"].append({"seconds": seconds, "wal_bytes": wal})
                    continue
                # Some peers cannot index some sets, which is a result too.
                say(f"{name}: {refused}")
                result["failures"][name] = str(refused).splitlines()[0]
                session.close()
                del sessions[name], result["peers"][name]
        for name, session in sessions.items():
            result["peers"][name].update(session.sizes())
        if not sessions:
            return result

        say("computing the exact answers")
        truths, known = {}, []
        for name, session in sessions.items():
            rows, queries = session.peer.stored(data.rows), session.peer.stored(data.queries)
            same = [truth for truth in known if (truth.rows == rows).all() and (truth.queries == queries).all()]
            truths[name] = same[0] if same else measure.Truth(rows, queries, data.metric)
            known.append(truths[name])
        for name, session in sessions.items():
            own = session.start_searching(data.queries)
            result["peers"][name]["chosen_by_planner"] = own
            result["peers"][name]["floor_us"] = [session.floor()]
        say("searching")
        for name, curve in measure.sweep(sessions, truths, args.rounds, args.beams).items():
            result["peers"][name].update(curve)
            for key, rate in (("at_recall", "qps"), ("at_recall_undisturbed", "undisturbed_qps")):
                result["peers"][name][key] = {
                    str(target): measure.at_recall(curve["points"], target, rate) for target in measure.TARGETS
                }
            result["peers"][name]["floor_us"].append(sessions[name].floor())
        if data.inserts is not None and len(data.inserts):
            say("inserting")
            for name, phases in measure.inserts(sessions, data.inserts, len(data.rows)).items():
                result["peers"][name]["inserts"] = phases
        for name, session in sessions.items():
            result["peers"][name]["notices"] = session.notices
            session.run(f"DROP TABLE {session.table}")
        # About 1 is this benchmark's own; more means that others worked too.
        result["load"] = os.getloadavg()[1]
        return result
    finally:
        for session in sessions.values():
            session.close()


def connect(dsn):
    """Waits for a server that recovers from a crash."""
    import psycopg

    for attempt in range(60):
        try:
            return psycopg.connect(dsn, autocommit=True)
        except psycopg.OperationalError:
            if attempt == 59:
                raise
            time.sleep(1)


def ways(args, text, pictures, peers):
    """What `--ways` asks for."""
    import data
    from ways import measure_ways

    ours = [peer for peer in peers if peer.name == "vs_hnsw"]
    for name in args.sets:
        for vectors in data.SETS[name](pictures):
            for peer in ours:
                say = lambda line: print(f"{time.strftime('%H:%M:%S')} {vectors.name}: {line}", file=sys.stderr, flush=True)
                part = measure_ways(args.dsn, vectors, peer, args, say)
                print(part)
                text += part
    (args.out / "ways.md").write_text(text)
    return 0 if ours else 1


def main():
    args = arguments()
    if args.print_peers:
        print(",".join(args.peers))
        return 0
    if not args.dsn:
        sys.exit("benches/hnsw/run starts this with a server")

    import data
    import psycopg
    import report

    args.out.mkdir(parents=True, exist_ok=True)
    with connect(args.dsn) as connection:
        peers = available(connection, args.peers)
        results = {"machine": machine(connection, peers, args), "sets": []}
    failed = len(peers) < len(args.peers)
    text = report.heading(results["machine"])
    print(text)
    if args.filters:
        import filters

        part = filters.measure(args.dsn, args)
        print(part)
        (args.out / "filters.md").write_text(text + part)
        return 1 if failed else 0
    pictures = data.Pictures(args.data, args.limits)
    if args.ways:
        return ways(args, text, pictures, peers)
    for name in args.sets if peers else []:
        for vectors in data.SETS[name](pictures):
            try:
                result = measure_set(args.dsn, vectors, peers, args)
            except psycopg.Error as error:
                print(f"{vectors.name}: {error}", file=sys.stderr)
                connect(args.dsn).close()
                failed = True
                continue
            failed = failed or "vs_hnsw" in result["failures"]
            results["sets"].append(result)
            part = report.tables(result)
            print(part)
            text += part
            report.plot(result, results["machine"], args.out)
            # Written after each set: a long run that is cut off has not been in vain.
            (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    results["machine"]["load_at_end"] = os.getloadavg()[0]
    part = report.summary(results)
    print(part)
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (args.out / "results.md").write_text(text + part)
    print(f"plots, results.md and results.json are in {args.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
