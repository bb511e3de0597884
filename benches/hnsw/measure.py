"""Measurements of one set: builds, searches, inserts."""

import contextlib
import gc
import os
import time

import numpy as np
import psycopg
from psycopg import pq

from peers import COPY_END, COPY_START, OPERATORS

K = 10
# Beams to try, from narrow to wide; a peer's sweep ends with the first that finds nearly everything, or hardly more.
BEAMS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 240, 400, 800)
NARROW_BEAMS = (8, 6, 4, 3, 2)
ENOUGH = 0.997
# The recalls that rates are compared at.
TARGETS = (0.95, 0.99)
CANDIDATES = 300
# Queries that are explained at every beam.
EXPLAINED = 100


class Truth:
    """The exact answers over the values that a peer stores."""

    def __init__(self, rows, queries, metric):
        self.rows, self.queries, self.metric = rows, queries, metric
        # What all vectors have in common changes no L2 distance, but would cost the products below their precision.
        centre = rows.mean(axis=0) if metric == "l2" else 0
        prepared, asked = (self.normalised(part - centre) for part in (rows, queries))
        squares = np.einsum("ij,ij->i", prepared, prepared)
        best = min(CANDIDATES, len(rows))
        kth = []
        for start in range(0, len(queries), 100):
            scores = squares - 2 * (asked[start : start + 100] @ prepared.T)
            close = np.argpartition(scores, best - 1, axis=1)[:, :best]
            kth += [np.sort(self.distances(start + i, ids))[K - 1] for i, ids in enumerate(close)]
        self.kth = np.array(kth)

    def normalised(self, vectors):
        if self.metric == "l2":
            return vectors
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)

    def distances(self, query, ids):
        """In double precision."""
        rows, asked = self.rows[ids].astype(np.float64), self.queries[query].astype(np.float64)
        if self.metric == "l2":
            return np.linalg.norm(rows - asked, axis=1)
        return 1 - rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)

    def judge(self, answers):
        """Of all the answers: recall, how many are too short, and how many are out of order."""
        found = short = misordered = 0
        for query, ids in enumerate(answers):
            unique = np.array(list(dict.fromkeys(ids)), np.int64)
            short += len(unique) < K
            distances = self.distances(query, unique)
            # Whatever is as near as the tenth is as good as the tenth.
            found += min(K, int((distances <= self.kth[query] * (1 + 1e-6) + 1e-9).sum()))
            # Peers compute in single precision.
            misordered += bool((np.diff(distances) < -1e-5 * distances[:-1] - 1e-6).any())
        return found / (K * len(answers)), short, misordered


class Session:
    """One connection, on which a peer's table is searched and filled through libpq itself: psycopg's own conversions
    would be a third of a query's time."""

    def __init__(self, dsn, peer, data):
        self.peer, self.data = peer, data
        self.notices = []
        self.connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
        self.connection.add_notice_handler(lambda notice: self.notices.append(notice.message_primary))
        self.run(f"LOAD '{peer.extension}'")
        self.table, self.index = peer.table, f"{peer.table}_embedding_idx"
        self.oid = self.value(f"SELECT '{peer.type}'::regtype::oid::int")
        self.prepare("floor", "SELECT 1", [])

    def run(self, sql):
        return self.connection.execute(sql)

    def value(self, sql):
        return self.run(sql).fetchone()[0]

    def close(self):
        self.connection.close()

    def prepare(self, name, sql, types):
        result = self.connection.pgconn.prepare(name.encode(), sql.encode(), types)
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.Error(result.error_message.decode())

    @contextlib.contextmanager
    def on_one_processor(self):
        """Keeps this process and the backend on one processor. They take turns, so nothing is lost; but whether the
        kernel puts them on one or on two changes what a round trip takes from 20 to 60 us, the same for a whole
        connection, and would favour whichever peer it comes out better for."""
        everywhere = os.sched_getaffinity(0)
        both = (0, self.connection.info.backend_pid)
        try:
            for process in both:
                os.sched_setaffinity(process, {max(everywhere)})
            yield
        finally:
            for process in both:
                os.sched_setaffinity(process, everywhere)

    def time(self, name, parameters):
        """Executes the statement once with each of the lists of parameters; seconds of each, and the results."""
        with self.on_one_processor():
            return self.time_here(name, parameters)

    def time_here(self, name, parameters):
        """As `time`, wherever the processes run."""
        execute, name, clock = self.connection.pgconn.exec_prepared, name.encode(), time.perf_counter
        seconds, results = np.zeros(len(parameters)), []
        gc.collect()
        gc.disable()
        try:
            for i, values in enumerate(parameters):
                start = clock()
                results.append(execute(name, values, [1] * len(values), 1))
                seconds[i] = clock() - start
        finally:
            gc.enable()
        for result in results:
            if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
                raise psycopg.Error(result.error_message.decode())
        return seconds, results

    # ---- the table and its index ----

    def load(self, table, vectors, parallel_workers=None):
        self.run(f"DROP TABLE IF EXISTS {table}")
        self.run(f"CREATE TABLE {table} (id int, embedding {self.peer.type}({vectors.shape[1]}))")
        if parallel_workers is not None:
            self.run(f"ALTER TABLE {table} SET (parallel_workers = {parallel_workers})")
        with self.connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
            copy.write(COPY_START)
            for first in range(0, len(vectors), 1000):
                copy.write(self.peer.copy(vectors[first : first + 1000], first))
            copy.write(COPY_END)
        # Hint bits and statistics are there before anything is timed.
        self.run(f"VACUUM (ANALYZE) {table}")

    def build(self, m, ef_construction):
        """Seconds, and bytes of WAL."""
        self.run(f"DROP INDEX IF EXISTS {self.index}")
        self.run("CHECKPOINT")
        self.notices.clear()
        wal = self.wal()
        start = time.perf_counter()
        self.run(f"CREATE INDEX {self.index} ON {self.table} USING {self.peer.method} "
                 f"(embedding {self.peer.opclass(self.data.metric)}) WITH (m = {m}, ef_construction = {ef_construction})")
        return time.perf_counter() - start, self.wal() - wal

    def sizes(self):
        index, heap = self.run(f"SELECT pg_relation_size('{self.index}'), pg_table_size('{self.table}')").fetchone()
        return {"index_bytes": index, "heap_bytes": heap}

    def wal(self):
        return int(self.value("SELECT pg_current_wal_insert_lsn() - '0/0'"))

    # ---- searching ----

    def start_searching(self, queries):
        """Prepares the search, and says whether the planner chose the index by itself."""
        self.parameters = [[value] for value in self.peer.encode(queries)]
        # What a prepared statement comes to after five executions anyway.
        self.run("SET plan_cache_mode = force_generic_plan")
        for own_choice in (True, False):
            self.run(f"SET enable_seqscan = {'on' if own_choice else 'off'}")
            # The plan is made, and kept, by the first EXPLAIN.
            self.prepare("search", f"SELECT id FROM {self.table} ORDER BY embedding {OPERATORS[self.data.metric]} $1 LIMIT {K}",
                         [self.oid])
            if self.plan_uses_index(queries):
                return own_choice
            self.run("DEALLOCATE search")
        raise psycopg.Error("no plan uses the index")

    def explain(self, options, query):
        literal = "[" + ",".join(repr(float(x)) for x in query) + "]"
        return self.run(f"EXPLAIN ({options}) EXECUTE search('{literal}')").fetchall()

    def plan_uses_index(self, queries):
        return any(self.index in line for line, in self.explain("COSTS OFF", queries[0]))

    def buffers(self, queries):
        """Visits to pages of heap and index, per query. (The times that EXPLAIN reports beside them are those of queries
        that each find the caches full of something else.)"""
        plans = [self.explain("ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON", query)[0][0][0]["Plan"] for query in queries[:EXPLAINED]]
        return float(np.mean([plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans]))

    def set_beam(self, beam):
        self.run(f"SET {self.peer.ef_search} = {beam}")

    def default_beam(self):
        self.run(f"RESET {self.peer.ef_search}")
        return int(self.value(f"SHOW {self.peer.ef_search}"))

    def search(self):
        seconds, results = self.time("search", self.parameters)
        return seconds, [[int.from_bytes(r.get_value(i, 0), "big") for i in range(r.ntuples)] for r in results]

    def fetched(self):
        """Heap tuples that scans of the index have fetched so far."""
        if self.connection.info.server_version >= 150000:
            self.run("SELECT pg_stat_force_next_flush()")
        else:
            time.sleep(1.5)
        return self.value(f"SELECT idx_tup_fetch FROM pg_stat_user_indexes WHERE indexrelname = '{self.index}'")

    def floor(self):
        """Microseconds of a round trip that asks for nothing."""
        self.time("floor", [[]] * 500)
        return float(np.mean(self.time("floor", [[]] * 2000)[0]) * 1e6)


def micros(seconds):
    return float(seconds * 1e6)


def survey(sessions, truths, beams):
    """What every beam finds, untimed: which beams are worth timing, in points that lack only their times."""
    points = {name: {} for name in sessions}

    def look(beam, name):
        session = sessions[name]
        session.set_beam(beam)
        before = session.fetched()
        _, answers = session.search()
        fetched = session.fetched() - before
        recall, short, misordered = truths[name].judge(answers)
        points[name][beam] = {
            "ef_search": beam, "recall": recall, "fetched_per_row": fetched / max(1, sum(map(len, answers))),
            "buffers": session.buffers(session.data.queries), "short_answers": short, "misordered_answers": misordered,
        }
        return recall

    for name, session in sessions.items():
        last = 0
        for beam in beams or BEAMS:
            recall = look(beam, name)
            if not beams and (recall >= ENOUGH or (recall >= TARGETS[-1] and recall - last < 0.0005)):
                break
            last = recall
        for beam in () if beams else NARROW_BEAMS:
            if beam < session.peer.smallest_ef or points[name][min(points[name])]["recall"] < TARGETS[0]:
                break
            look(beam, name)
        session.default = session.default_beam()
        if session.default not in points[name]:
            look(session.default, name)
    return points


def sweep(sessions, truths, rounds, beams):
    """Recall and rate of every peer at each of its beams. A pass goes through all of them, the peers in turn, so that
    whatever else the machine does for a while spoils one pass of a beam and not the beam."""
    points = survey(sessions, truths, beams)
    timings = {name: {beam: [] for beam in points[name]} for name in sessions}
    for round in range(rounds):
        for beam in sorted({beam for name in sessions for beam in points[name]}):
            names = [name for name in sessions if beam in points[name]]
            for name in names if round % 2 == 0 else reversed(names):
                sessions[name].set_beam(beam)
                timings[name][beam].append(sessions[name].search()[0])
    for name in sessions:
        for beam, point in points[name].items():
            passes = [float(1 / seconds.mean()) for seconds in timings[name][beam]]
            # What a query takes when nothing interrupts it. Long queries are interrupted more often than short ones, so
            # on a busy machine rates of these flatter the faster peer: whole passes are what counts.
            typical = np.median(timings[name][beam], axis=0)
            point.update({
                "qps": float(np.median(passes)), "passes": passes, "undisturbed_qps": float(1 / typical.mean()),
                "mean_us": micros(1 / np.median(passes)), "p50_us": micros(np.median(typical)),
                "p99_us": micros(np.quantile(typical, 0.99)),
            })
    return {
        name: {"default_ef_search": session.default, "points": [points[name][beam] for beam in sorted(points[name])]}
        for name, session in sessions.items()
    }


def at_recall(points, target, rate="qps"):
    """The rate on the straight line between the points on both sides of the recall: (rate, how it was found)."""
    best = None
    for point in points:
        if point["recall"] >= target:
            if best is None:
                return point[rate], "at least"
            share = (target - best["recall"]) / (point["recall"] - best["recall"])
            return best[rate] + share * (point[rate] - best[rate]), "interpolated"
        if best is None or point["recall"] > best["recall"]:
            best = point
    return None, "not reached"


# ---- inserts ----


def full_page_writes(session, on):
    session.run(f"ALTER SYSTEM SET full_page_writes = {'on' if on else 'off'}")
    session.run("SELECT pg_reload_conf()")
    # The checkpointer passes it on; the second checkpoint leaves nothing of the first to be written.
    while True:
        session.run("CHECKPOINT")
        if session.value("SELECT full_page_writes FROM pg_control_checkpoint()") == on:
            return
        time.sleep(0.2)


def insert(sessions, tables, vectors, first, piece=50):
    """Inserts one row a transaction, on one connection; the peers take turns, `piece` rows each."""
    seconds = {name: [] for name in sessions}
    wal = dict.fromkeys(sessions, 0)
    parameters = {}
    for name, session in sessions.items():
        session.run("DEALLOCATE ALL")
        session.prepare("insert", f"INSERT INTO {tables[name]} VALUES ($1, $2)", [23, session.oid])
        encoded = session.peer.encode(vectors)
        parameters[name] = [[(first + i).to_bytes(4, "big"), value] for i, value in enumerate(encoded)]
    for start in range(0, len(vectors), piece):
        for name, session in sessions.items():
            before = session.wal()
            seconds[name].append(session.time("insert", parameters[name][start : start + piece])[0])
            wal[name] += session.wal() - before
    result = {}
    for name in sessions:
        every = np.concatenate(seconds[name])
        result[name] = {
            "rows": len(vectors), "rows_per_second": float(np.median([1 / part.mean() for part in seconds[name]])),
            "rows_per_second_overall": len(every) / float(every.sum()),
            "p50_us": micros(np.median(every)), "p99_us": micros(np.quantile(every, 0.99)),
            "wal_per_row": wal[name] / len(vectors),
        }
    return result


def inserts(sessions, vectors, first):
    """Without an index, into the index, and into the index right after a checkpoint."""
    any_session = next(iter(sessions.values()))
    bare = {name: f"{session.table}_bare" for name, session in sessions.items()}
    for name, session in sessions.items():
        session.load(bare[name], vectors[:1])
    # Two thirds as between checkpoints: no page is logged whole.
    steady = len(vectors) * 2 // 3
    full_page_writes(any_session, False)
    phases = {"heap only": insert(sessions, bare, vectors[:steady], first)}
    tables = {name: session.table for name, session in sessions.items()}
    phases["between checkpoints"] = insert(sessions, tables, vectors[:steady], first)
    full_page_writes(any_session, True)
    phases["after a checkpoint"] = insert(sessions, tables, vectors[steady:], first + steady)
    for name, session in sessions.items():
        session.run(f"DROP TABLE {bare[name]}")
    return {name: {phase: values[name] for phase, values in phases.items()} for name in sessions}
