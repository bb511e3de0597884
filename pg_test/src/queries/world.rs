//! A random table with its indexes and its past, all of it SQL, so that a session of psql can make the same one.

use fastrand::Rng;

use crate::vectors::Metric;

/// What worlds are made with; run once in a database.
pub const PREAMBLE: &[&str] = &[
    "CREATE FUNCTION noise(g int, i int) RETURNS float8 LANGUAGE sql IMMUTABLE AS
     'SELECT (hashint4(g * 1009 + i) & 65535) / 65536.0 - 0.5'",
    "CREATE FUNCTION vec(g int, dims int, region int, spread float8) RETURNS real[] LANGUAGE sql IMMUTABLE AS
     'SELECT array_agg((noise(-1 - region, i) + spread * noise(g, i))::real ORDER BY i) FROM generate_series(1, dims) i'",
    "CREATE FUNCTION scaled(v real[], factor float8) RETURNS real[] LANGUAGE sql IMMUTABLE AS
     'SELECT array_agg((x * factor)::real ORDER BY i) FROM unnest(v) WITH ORDINALITY u(x, i)'",
    "CREATE FUNCTION embedded(v real[], tag text) RETURNS image_embedding LANGUAGE sql IMMUTABLE AS
     $$SELECT ('[' || array_to_string(v, ',') || ']' || coalesce('@' || tag, ''))::image_embedding$$",
    "DO 'BEGIN CREATE ROLE vs_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END'",
];

/// How vectors lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Anywhere.
    Noise,
    /// In regions around centres.
    Regions,
    /// In regions far smaller than what codes of a byte can tell apart.
    Tight,
    /// On a coarse grid: many equal vectors and equal distances.
    Grid,
    /// In all directions, some a hundred times as long as others.
    Lengths,
}

/// A table and all that is known about it.
#[derive(Debug)]
pub struct World {
    /// What it is searched by.
    pub metric: Metric,
    /// Length of the vectors.
    pub dims: usize,
    /// The largest id there has been.
    pub rows: i32,
    /// Groups that are numbered from 0 on.
    pub groups: i32,
    /// What is indexed: the column, or an expression over it; `@` stands for the alias of the table.
    pub embedding: &'static str,
    /// The condition of the index, if it is a partial one; `@` as above.
    pub predicate: Option<&'static str>,
    /// Tag of the model.
    pub tag: Option<&'static str>,
    /// Whether a policy hides rows from the role `vs_reader`, which is then the one that asks.
    pub policy: bool,
    /// What queries may read from: the table, and views of it.
    pub relations: Vec<&'static str>,
    /// The statements that made it, and that have changed it since.
    pub history: Vec<String>,
    spread: f64,
}

/// What the generator may make use of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Features {
    /// The least distance is exact.
    pub minimum: bool,
    /// A vector may be given as an array.
    pub arrays: bool,
}

/// One of several.
pub fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

impl World {
    /// The one that this generator says.
    pub fn new(random: &mut Rng) -> World {
        let dims = pick(random, &[1, 2, 3, 5, 8, 8, 16, 16, 31, 64]);
        // Most tables are small, since each of them is made anew.
        let rows = match random.u32(..20) {
            0..=1 => random.i32(0..4),
            2..=9 => random.i32(4..300),
            10..=16 => random.i32(300..1200),
            _ => random.i32(1200..5000),
        };
        let shape =
            pick(random, &[Shape::Noise, Shape::Regions, Shape::Regions, Shape::Tight, Shape::Grid, Shape::Lengths]);
        let mut world = World {
            metric: pick(random, &Metric::ALL),
            dims,
            rows,
            groups: random.i32(1..9),
            embedding: if random.u32(..12) == 0 { "l2_normalize(@.embedding)" } else { "@.embedding" },
            predicate: None,
            tag: (random.u32(..4) == 0).then_some("aaaa0001"),
            policy: random.u32(..8) == 0,
            relations: vec!["items"],
            history: Vec::new(),
            spread: match shape {
                Shape::Noise | Shape::Lengths | Shape::Grid => 3.0,
                Shape::Regions => 0.4,
                Shape::Tight => 0.002,
            },
        };
        if random.u32(..8) == 0 {
            world.predicate = Some(pick(random, &["@.flag", "@.grp < 3", "@.price >= 100"]));
        }
        world.table(random);
        let at_first = random.i32(0..=rows);
        world.fill(random, shape, 1, at_first);
        world.index(random);
        world.fill(random, shape, at_first + 1, rows);
        world.age(random);
        world
    }

    /// Where `@` stands for the alias of the table.
    pub fn expression(&self, alias: &str) -> String {
        self.embedding.replace('@', alias)
    }

    /// The condition under which a row has a distance to others.
    pub fn placed(&self, alias: &str) -> String {
        let embedding = self.expression(alias);
        match self.metric {
            Metric::Cosine => format!("embedding_norm({embedding}) > 0"),
            _ => format!("{embedding} IS NOT NULL"),
        }
    }

    /// A vector somewhere among or beside those of the table, as an expression.
    pub fn query(&self, random: &mut Rng) -> String {
        let (dims, spread) = (self.dims, self.spread);
        let region = random.i32(0..self.groups + 1);
        let elements = format!("vec({}, {dims}, {region}, {spread})", -1 - random.i32(0..1000));
        let tag = self.tag.filter(|_| random.bool()).map_or("NULL".to_owned(), |tag| format!("'{tag}'"));
        match random.u32(..20) {
            0 => format!("embedded(scaled({elements}, 50), {tag})"),
            1 => format!("embedded(scaled({elements}, -1), {tag})"),
            2 => format!("embedded(array_fill(0.1::real, ARRAY[{dims}]), {tag})"),
            3 => format!("embedded(array_fill(0::real, ARRAY[{dims}]), {tag})"),
            4 => "NULL::image_embedding".to_owned(),
            _ => format!("embedded({elements}, {tag})"),
        }
    }

    fn say(&mut self, statement: impl Into<String>) {
        self.history.push(statement.into());
    }

    fn table(&mut self, random: &mut Rng) {
        self.say("DROP TABLE IF EXISTS items, wanted, asked CASCADE");
        let declared = if random.u32(..5) == 0 { String::new() } else { format!("({})", self.dims) };
        let columns = format!(
            "items (id int NOT NULL, grp int, price int, flag bool, tag text, score float8, amount numeric, day date, labels int[], embedding image_embedding{declared})"
        );
        if random.u32(..5) == 0 {
            self.say(format!("CREATE TABLE {columns} PARTITION BY RANGE (id)"));
            let ends = [0, self.rows / 3 + 1, self.rows / 2 + 2, 1_000_000];
            for (at, ends) in ends.windows(2).enumerate() {
                self.say(format!(
                    "CREATE TABLE items_{at} PARTITION OF items FOR VALUES FROM ({}) TO ({}) WITH (autovacuum_enabled = off)",
                    ends[0], ends[1]
                ));
            }
        } else {
            let fillfactor = pick(random, &[100, 50]);
            self.say(format!("CREATE TABLE {columns} WITH (autovacuum_enabled = off, fillfactor = {fillfactor})"));
        }
        self.say("CREATE TABLE wanted (grp int, weight int)");
        self.say("INSERT INTO wanted SELECT g, g % 3 FROM generate_series(0, 12, 2) g");
        self.say("GRANT SELECT ON items, wanted TO vs_reader");
        if self.policy {
            let policy = pick(random, &["flag", "grp = 1", "grp IN (SELECT w.grp FROM wanted w)", "price < 400"]);
            self.say("ALTER TABLE items ENABLE ROW LEVEL SECURITY");
            self.say(format!("CREATE POLICY part ON items FOR SELECT TO vs_reader USING ({policy})"));
        } else {
            self.say("CREATE VIEW shown AS SELECT * FROM items WHERE grp IS DISTINCT FROM 2");
            self.say(
                "CREATE VIEW behind WITH (security_barrier) AS SELECT * FROM items WHERE price IS NULL OR price > 20",
            );
            self.relations.extend(["shown", "behind"]);
        }
    }

    /// Rows from `first` to `last`.
    fn fill(&mut self, random: &mut Rng, shape: Shape, first: i32, last: i32) {
        let (dims, groups, spread, seed) = (self.dims, self.groups, self.spread, random.i32(0..100_000) * 10);
        // Some vectors many rows have.
        let source = match random.u32(..4) {
            0 => format!("({seed} + g % {})", random.i32(1..(last - first).max(0) / 4 + 2)),
            _ => format!("({seed} + g)"),
        };
        // Where a row lies and in which order rows come may have to do with each other.
        let region = match random.u32(..3) {
            0 => format!("(g * {groups} / {})", self.rows + 1),
            _ => format!("(abs(hashint4({source})) % {groups})"),
        };
        let mut elements = format!("vec({source}, {dims}, {region}, {spread})");
        match shape {
            Shape::Lengths => elements = format!("scaled({elements}, exp(4 * noise({source}, -1)))"),
            Shape::Grid => {
                elements = format!(
                    "(SELECT array_agg(round(x)::real ORDER BY i) FROM unnest({elements}) WITH ORDINALITY u(x, i))"
                );
            }
            _ => {}
        }
        let mut cases = String::new();
        if random.u32(..3) == 0 {
            cases += &format!("WHEN g % {} = 0 THEN NULL ", random.i32(2..30));
        }
        if random.u32(..3) == 0 {
            cases += &format!("WHEN g % {} = 1 THEN array_fill(0::real, ARRAY[{dims}]) ", random.i32(5..50));
        }
        if random.u32(..4) == 0 {
            let share = random.i32(10..90);
            cases += &format!("WHEN abs(hashint4(g)) % 100 < {share} THEN array_fill(0.1::real, ARRAY[{dims}]) ");
        }
        if !cases.is_empty() {
            elements = format!("CASE {cases}ELSE {elements} END");
        }
        let embedding = match self.tag {
            None => format!("({elements})::image_embedding"),
            Some(tag) => format!("embedded({elements}, '{tag}')"),
        };
        let grp = match random.u32(..3) {
            0 => format!("abs(hashint4(g + 17)) % {groups}"),
            _ => region,
        };
        let price = match random.u32(..3) {
            0 => format!("g * 1000 / {}", self.rows + 1),
            1 => "((noise(g, -5) + 0.5) ^ 3 * 1000)::int".to_owned(),
            _ => "abs(hashint4(g + 5)) % 1000".to_owned(),
        };
        self.say(format!(
            "INSERT INTO items SELECT g, CASE WHEN g % 11 <> 5 THEN {grp} END, CASE WHEN g % 17 <> 3 THEN {price} END,
             CASE WHEN g % 7 <> 1 THEN hashint4(g + 9) % 2 = 0 END,
             CASE WHEN g % 5 <> 2 THEN (ARRAY['red', 'green', 'blue', 'red'])[1 + abs(hashint4(g + 1)) % 4] || CASE WHEN g % 200 = 0 THEN ' rare' ELSE '' END END,
             CASE g % 13 WHEN 1 THEN 'NaN' WHEN 2 THEN NULL ELSE noise(g, -2) END,
             CASE g % 19 WHEN 1 THEN 'NaN' WHEN 2 THEN NULL ELSE (noise(g, -3) * 10.0 ^ (g % 40 - 10))::numeric END,
             CASE g % 23 WHEN 1 THEN 'infinity' WHEN 2 THEN NULL ELSE date '2024-01-01' + abs(hashint4(g + 3)) % 500 END,
             CASE g % 9 WHEN 1 THEN NULL WHEN 2 THEN '{{}}' WHEN 3 THEN '{{NULL,3}}' ELSE ARRAY[abs(hashint4(g)) % 12, g % 7] END,
             {embedding} FROM generate_series({first}, {last}) g"
        ));
    }

    fn index(&mut self, random: &mut Rng) {
        let mut columns = format!("({}) {}", self.embedding.replace("@.", ""), self.metric.opclass());
        if random.u32(..3) > 0 {
            let mut keys = ["grp", "price", "flag", "tag", "score", "amount", "day", "labels", "id"];
            random.shuffle(&mut keys);
            keys[..random.usize(1..5)].iter().for_each(|key| columns = format!("{columns}, {key}"));
        }
        let with = match random.u32(..4) {
            0 => " WITH (m = 4, ef_construction = 16)",
            1 => " WITH (m = 8, ef_construction = 40)",
            _ => "",
        };
        let predicate =
            self.predicate.map_or(String::new(), |predicate| format!(" WHERE {}", predicate.replace("@.", "")));
        self.say(format!("CREATE INDEX by_likeness ON items USING vs_hnsw ({columns}){with}{predicate}"));
        if random.u32(..4) == 0 {
            // Another one, of another metric or of all rows, that the planner may take for the wrong one.
            let metric = pick(random, &Metric::ALL);
            self.say(format!(
                "CREATE INDEX other ON items USING vs_hnsw (embedding {}) WITH (m = 6, ef_construction = 20)",
                metric.opclass()
            ));
        }
        if random.u32(..3) == 0 {
            self.say(format!("CREATE INDEX ON items ({})", pick(random, &["grp", "price", "id", "tag, grp"])));
        }
    }

    /// What happens to a table while it is in use.
    fn age(&mut self, random: &mut Rng) {
        if random.u32(..3) > 0 {
            self.say("ANALYZE items");
        }
        let (dims, groups, spread) = (self.dims, self.groups, self.spread);
        for _ in 0..random.u32(..4) {
            let some = match random.u32(..4) {
                0 => format!("grp = {}", random.i32(0..groups)),
                1 => format!("id > {}", random.i32(0..self.rows + 1)),
                2 => format!("id % {} > 0", random.i32(2..6)),
                _ => format!("id % {} = 0", random.i32(2..9)),
            };
            let vector = format!("vec(id + 700000, {dims}, abs(hashint4(id)) % {groups}, {spread})");
            let embedding =
                self.tag.map_or(format!("{vector}::image_embedding"), |tag| format!("embedded({vector}, '{tag}')"));
            let statement = match random.u32(..8) {
                0..=2 => format!("DELETE FROM items WHERE {some}"),
                3 => format!(
                    "UPDATE items SET {} WHERE {some}",
                    pick(
                        random,
                        &["price = price + 1", "grp = NULL, flag = NOT flag", "tag = 'blue', labels = labels || 1"]
                    )
                ),
                4 => format!("UPDATE items SET embedding = {embedding} WHERE {some}"),
                5 => format!("UPDATE items SET embedding = NULL WHERE {some}"),
                6 => format!("BEGIN; UPDATE items SET embedding = {embedding}, grp = 0 WHERE {some}; ROLLBACK"),
                _ => format!("BEGIN; DELETE FROM items WHERE {some}; ROLLBACK"),
            };
            self.history.extend(statement.split("; ").map(str::to_owned));
        }
        match random.u32(..6) {
            0 => self.say("VACUUM items"),
            1 => self.say("VACUUM (ANALYZE, INDEX_CLEANUP ON) items"),
            2 => self.say("REINDEX TABLE items"),
            _ => {}
        }
        self.say(
            "CREATE TABLE asked AS SELECT id AS n, embedding AS e FROM items WHERE id % 7 = 3 ORDER BY id LIMIT 5",
        );
        if self.tag.is_none() {
            self.say(format!("INSERT INTO asked VALUES (-1, NULL), (-2, vec(-77, {dims}, 0, {spread}))"));
        }
        self.say("GRANT SELECT ON asked TO vs_reader");
    }
}
