"""Recall of an index in every way that it can come about: built by one thread and by several, built with hardly any
memory, grown from nothing by ten clients at once, and after most of its rows have been replaced. `run --ways`."""

import threading
import time

import numpy as np
import psycopg

import measure
from report import table

CLIENTS = 10
# Rows that a client sends at a time; each is a transaction of its own.
PIPELINE = 100
# The share of rows that is deleted and comes back.
REPLACED = 0.75


class Index:
    """The index of one set under one name, and what a search of it finds at default settings."""

    def __init__(self, dsn, peer, data, m, ef_construction):
        self.dsn, self.peer, self.data = dsn, peer, data
        self.session = measure.Session(dsn, peer, data)
        self.rows = peer.stored(data.rows)
        self.truth = measure.Truth(self.rows, peer.stored(data.queries), data.metric)
        self.definition = (f"CREATE INDEX {self.session.index} ON {self.session.table} USING {peer.method} "
                           f"(embedding {peer.opclass(data.metric)}) WITH (m = {m}, ef_construction = {ef_construction})")

    def build(self, workers, memory):
        self.session.run(f"DROP INDEX IF EXISTS {self.session.index}")
        self.session.run(f"SET max_parallel_maintenance_workers = {workers}")
        self.session.run(f"SET maintenance_work_mem = '{memory}'")
        start = time.perf_counter()
        self.session.run(self.definition)
        return time.perf_counter() - start

    def grow(self):
        """Inserts every row into an empty index, each in its own transaction, by ten clients at once."""
        session = self.session
        session.run(f"TRUNCATE {session.table}")
        session.run(f"DROP INDEX IF EXISTS {session.index}")
        session.run(self.definition)
        encoded = self.peer.encode(self.data.rows)
        failures = []

        def client(number):
            try:
                with psycopg.connect(self.dsn, autocommit=True) as connection:
                    connection.execute("SET synchronous_commit = off")
                    sql = f"INSERT INTO {session.table} VALUES (%b, %b)"
                    ids = range(number, len(encoded), CLIENTS)
                    for first in range(0, len(ids), PIPELINE):
                        with connection.pipeline(), connection.cursor() as cursor:
                            for id in ids[first : first + PIPELINE]:
                                cursor.execute(sql, [np.int32(id).item(), Raw(encoded[id], session.oid)], prepare=True)
            except psycopg.Error as error:
                failures.append(error)

        start = time.perf_counter()
        clients = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
        [client.start() for client in clients]
        [client.join() for client in clients]
        if failures:
            raise failures[0]
        return time.perf_counter() - start

    def replace(self):
        """Deletes most rows, vacuums, and inserts the same vectors as new rows."""
        session, count = self.session, len(self.rows)
        gone = np.random.default_rng(7).permutation(count)[: int(count * REPLACED)]
        session.run("CREATE TEMP TABLE gone (id int PRIMARY KEY)")
        with session.connection.cursor().copy("COPY gone FROM STDIN") as copy:
            copy.write("".join(f"{id}\n" for id in gone))
        session.run("CREATE TEMP TABLE back AS SELECT t.* FROM "
                    f"{session.table} t JOIN gone USING (id)")
        session.run(f"DELETE FROM {session.table} WHERE id IN (SELECT id FROM gone)")
        start = time.perf_counter()
        session.run(f"VACUUM (INDEX_CLEANUP ON) {session.table}")
        vacuum = time.perf_counter() - start
        unreachable = self.stat("unreachable_nodes")
        start = time.perf_counter()
        session.run(f"INSERT INTO {session.table} SELECT * FROM back ORDER BY random()")
        return vacuum, time.perf_counter() - start, unreachable

    def stat(self, column):
        return self.session.value(f"SELECT {column} FROM vs_hnsw_stats('{self.session.index}')")

    def recall(self):
        session = self.session
        session.run(f"ANALYZE {session.table}")
        session.run("DEALLOCATE ALL")
        session.start_searching(self.data.queries)
        _, answers = session.search()
        return self.truth.judge(answers)

    def megabytes(self):
        return self.session.value(f"SELECT pg_relation_size('{self.session.index}')") / 1e6

    def problems(self):
        return self.session.value(f"SELECT count(*) FROM vs_hnsw_check('{self.session.index}')")


class Raw(bytes):
    """A value in the binary form of a type that psycopg does not know."""

    def __new__(cls, value, oid):
        return super().__new__(cls, value)

    def __init__(self, value, oid):
        self.oid = oid


class RawDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, obj):
        return bytes(obj)

    def get_key(self, obj, format):
        return (type(obj), obj.oid)

    def upgrade(self, obj, format):
        dumper = RawDumper(type(obj))
        dumper.oid = obj.oid
        return dumper


psycopg.adapters.register_dumper(Raw, RawDumper)


def measure_ways(dsn, data, peer, args, say):
    """A table of what comes of each way."""
    index = Index(dsn, peer, data, args.m, args.ef_construction)
    lines = []

    def note(what, seconds, extra=""):
        recall, short, misordered = index.recall()
        lines.append([what, f"{seconds:.1f}", f"{recall:.4f}", f"{index.megabytes():.1f}", index.problems(), short, misordered, extra])
        say(f"{what}: {seconds:.1f} s, recall {recall:.4f} {extra}")

    index.session.load(index.session.table, data.rows, args.parallel_workers)
    note("built serially", index.build(0, "1GB"))
    fresh = index.megabytes()
    note("built with 1 worker", index.build(1, "1GB"))
    vacuum, insert, unreachable = index.replace()
    note("three quarters replaced", insert, f"vacuum {vacuum:.1f} s, {unreachable} unreachable after it, "
         f"{index.megabytes() / fresh:.3f} of a fresh index's size")
    index.session.load(index.session.table, data.rows, args.parallel_workers)
    note("built with 4 MB", index.build(1, "4MB"))
    note("grown by 10 clients", index.grow())
    index.session.run(f"DROP TABLE {index.session.table}")
    index.session.close()
    return (f"\n## {data.name}: {len(data.rows):,} x {data.rows.shape[1]}, {data.metric}, ef_search at its default\n\n"
            + table(["", "s", "recall@10", "index MB", "problems", "short", "misordered", "notes"], lines))
