//! The shapes of queries for nearest rows.

use fastrand::Rng;

use super::{
    check::{Check, Nearest},
    manner::Manner,
    values::Values,
    world::{Features, World, pick},
};
use crate::vectors::Metric;

/// A query under construction.
pub struct Draft {
    /// The query itself.
    pub sql: String,
    /// Every row that could be in its answer.
    pub reference: String,
    /// Types of the columns.
    pub columns: &'static str,
    /// What must hold.
    pub check: Check,
}

/// What is asked for: all that a query consists of.
pub struct Asked<'a> {
    /// Where.
    pub world: &'a World,
    /// Where choices come from.
    pub random: &'a mut Rng,
    /// What is given as parameters.
    pub values: Values,
    /// The table, or a view of it.
    pub relation: &'static str,
    /// How.
    pub manner: &'a Manner,
    /// What there is to make use of.
    pub features: Features,
}

/// A LIMIT and OFFSET clause with its numbers; none is all.
struct Limit {
    clause: String,
    limit: usize,
    offset: usize,
}

impl Limit {
    fn none() -> Limit {
        Limit { clause: String::new(), limit: usize::MAX, offset: 0 }
    }
}

impl Asked<'_> {
    /// The value itself or a parameter.
    fn value(&mut self, ty: &'static str, value: impl ToString) -> String {
        if self.random.bool() { self.values.bind(ty, value) } else { format!("({})::{ty}", value.to_string()) }
    }

    /// The distance of a row from something.
    fn distance(&mut self) -> String {
        let query = match self.random.u32(..10) {
            0..=1 => format!(
                "(SELECT q.embedding FROM items q WHERE q.id = {} LIMIT 1)",
                self.random.i32(0..self.world.rows + 1)
            ),
            2 if self.features.arrays => {
                let query = self.world.query(self.random);
                let ty = pick(self.random, &["real[]", "float8[]"]);
                self.values.bind(ty, format!("({query})::real[]"))
            }
            _ => {
                let query = self.world.query(self.random);
                self.value("image_embedding", query)
            }
        };
        self.distance_to(&query)
    }

    fn distance_to(&mut self, query: &str) -> String {
        let (embedding, operator) = (self.world.expression("i"), self.world.metric.operator());
        let function = match self.world.metric {
            Metric::L2 => "l2_distance",
            Metric::Cosine => "cosine_distance",
            Metric::InnerProduct => "negative_inner_product",
        };
        match self.random.u32(..20) {
            0..=1 => format!("({query} {operator} {embedding})"),
            // Operators take arrays, functions do not.
            2 => format!("{function}({embedding}, {query}::image_embedding)"),
            _ => format!("({embedding} {operator} {query})"),
        }
    }

    /// What is nearer than a cutoff.
    fn nearer(&mut self, distance: &str) -> String {
        let cutoff = pick(self.random, &["-1", "0", "0.01", "0.3", "0.7", "1.5", "20", "NULL", "'NaN'"]);
        let cutoff = self.value("float8", cutoff);
        match self.random.u32(..7) {
            0 => format!("{distance} <= {cutoff}"),
            1 => format!("{cutoff} > {distance}"),
            2 => format!("{cutoff} >= {distance}"),
            3 => format!("1 - {distance} > 1 - {cutoff}"),
            4 => format!("NOT {distance} >= {cutoff}"),
            _ => format!("{distance} < {cutoff}"),
        }
    }

    fn filter(&mut self) -> String {
        let mut filter = match self.random.u32(..10) {
            0..=3 => "true".to_owned(),
            4..=6 => self.condition(),
            7 => format!("{} AND {}", self.condition(), self.condition()),
            8 => format!("({} OR {})", self.condition(), self.condition()),
            _ => format!("NOT ({})", self.condition()),
        };
        if self.random.u32(..6) == 0 {
            filter = format!("{filter} AND {}", self.world.placed("i"));
        }
        if let Some(predicate) = self.world.predicate.filter(|_| self.random.u32(..5) > 0) {
            filter = format!("{filter} AND {}", predicate.replace('@', "i"));
        }
        filter
    }

    fn condition(&mut self) -> String {
        let (groups, rows) = (self.world.groups, self.world.rows);
        match self.random.u32(..26) {
            0..=2 => {
                let group = self.random.i32(0..groups + 1);
                let ty = pick(self.random, &["int", "bigint", "smallint"]);
                format!("i.grp = {}", self.value(ty, group))
            }
            3 => format!("i.grp IN ({}, {}, NULL)", self.random.i32(0..groups), self.random.i32(0..groups)),
            4 => {
                let groups = format!("'{{{},NULL,{}}}'", self.random.i32(0..groups), self.random.i32(0..groups));
                format!("i.grp = ANY ({})", self.value("int[]", groups))
            }
            5 => pick(self.random, &["i.grp IS NULL", "i.grp IS NOT NULL"]).to_owned(),
            6 | 7 => {
                let price = pick(self.random, &["NULL", "0", "50", "300", "700", "999", "1100"]);
                let operator = pick(self.random, &["<", "<=", ">", ">=", "=", "<>"]);
                format!("i.price {operator} {}", self.value("int", price))
            }
            8 => {
                let low = self.random.i32(0..1000);
                format!("i.price BETWEEN {low} AND {}", low + self.random.i32(0..300))
            }
            9 => pick(self.random, &["i.flag", "NOT i.flag", "i.flag IS NULL", "i.flag IS NOT TRUE", "i.flag = true"])
                .to_owned(),
            10 | 11 => pick(
                self.random,
                &[
                    "i.tag = 'red'",
                    "i.tag IS NULL",
                    "i.tag = ANY ('{green,blue}')",
                    "i.tag IN ('red rare', 'no such')",
                    "i.tag LIKE '%rare'",
                    "i.tag > 'green'",
                ],
            )
            .to_owned(),
            12 => pick(self.random, &["i.score < 0.1", "i.score = 'NaN'", "i.score >= -0.2", "i.score > 0.4::float4"])
                .to_owned(),
            19 | 20 => {
                let amount = pick(self.random, &["0", "-1e-9", "1234567.891", "'NaN'", "1e25", "NULL"]);
                let operator = pick(self.random, &["<", "<=", ">", ">=", "="]);
                format!("i.amount {operator} {}", self.value("numeric", amount))
            }
            21 | 22 => {
                let day = pick(self.random, &["'2024-02-01'", "'2024-12-31'", "'infinity'", "'-infinity'"]);
                let operator = pick(self.random, &["<", "<=", ">", ">=", "="]);
                let ty = pick(self.random, &["date", "timestamp"]);
                format!("i.day {operator} {}", self.value(ty, day))
            }
            23..=25 => {
                let labels = pick(self.random, &["'{1}'", "'{3,4}'", "'{}'", "'{NULL}'", "'{11,6}'", "NULL"]);
                let operator = pick(self.random, &["&&", "@>", "="]);
                format!("i.labels {operator} {}", self.value("int[]", labels))
            }
            13 => format!("i.id % {} = 1", self.random.i32(2..60)),
            14 => format!("i.id <= {}", self.random.i32(0..rows + 1)),
            15 => format!("i.id = {}", self.random.i32(0..rows + 1)),
            16 => "i.grp IN (SELECT w.grp FROM wanted w WHERE w.weight > 0)".to_owned(),
            17 => "EXISTS (SELECT FROM wanted w WHERE w.grp = i.grp AND w.weight = 1)".to_owned(),
            _ => "i.id < 0".to_owned(),
        }
    }

    fn limit(&mut self) -> Limit {
        let rows = self.world.rows.max(1);
        let limit = match self.random.u32(..12) {
            0 => 0,
            1 => 1,
            2..=6 => self.random.i32(2..20),
            7..=8 => self.random.i32(20..200),
            9 => self.random.i32(0..rows + 1),
            10 => rows + 10,
            _ => return Limit::none(),
        };
        let offset = match self.random.u32(..8) {
            0 => self.random.i32(1..30),
            1 => self.random.i32(0..rows),
            _ => 0,
        };
        let mut clause = match self.random.u32(..4) {
            0 => format!(" LIMIT (SELECT {limit})"),
            1 => format!(" LIMIT {}", self.values.bind("int", limit)),
            _ => format!(" LIMIT {limit}"),
        };
        if offset > 0 {
            clause += &format!(" OFFSET {}", self.value("int", offset));
        }
        Limit { clause, limit: limit as usize, offset: offset as usize }
    }

    fn nearest(&self, limit: &Limit) -> Nearest {
        Nearest {
            distance: 1,
            group: None,
            limit: limit.limit,
            offset: limit.offset,
            ties: false,
            numbered: false,
            then_by: None,
            distinct: false,
            ordered: self.manner.ordered,
            exact: self.manner.exact,
            may_end: self.manner.ends,
        }
    }

    /// The nearest rows, perhaps with further keys, columns, locks or ties.
    pub fn plain(&mut self) -> Draft {
        let (distance, relation) = (self.distance(), self.relation);
        let filter = self.filter();
        let mut limit = self.limit();
        let mut check = self.nearest(&limit);
        let mut keys = String::new();
        match self.random.u32(..8) {
            0 => (keys, check.then_by) = (", i.id".to_owned(), Some((0, false))),
            1 => (keys, check.then_by) = (", i.id DESC".to_owned(), Some((0, true))),
            2 => (keys, check.then_by) = (", i.price, i.grp DESC NULLS LAST, i.id".to_owned(), Some((2, false))),
            3 if limit.limit < 200 && limit.offset == 0 && self.manner.ordered => {
                limit.clause = format!(" FETCH FIRST {} ROWS WITH TIES", limit.limit);
                check.ties = true;
            }
            4 if relation == "items" && !self.world.policy && limit.clause.contains("LIMIT") => {
                limit.clause += pick(self.random, &[" FOR UPDATE", " FOR SHARE OF i", " FOR UPDATE SKIP LOCKED"]);
            }
            _ => {}
        }
        let select = format!("SELECT i.id, {distance} AS d, i.price, i.grp FROM {relation} i WHERE {filter}");
        Draft {
            sql: format!("{select} ORDER BY {distance}{keys}{}", limit.clause),
            reference: select,
            columns: "int, float8, int, int",
            check: Check::Nearest(check),
        }
    }

    /// The nearest rows with numbers over all rows beside each.
    pub fn window(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let limit = self.limit();
        let select = format!(
            "SELECT i.id, {distance} AS d, count(*) OVER () AS n, max({distance}) OVER () AS far FROM {relation} i WHERE {filter}"
        );
        Draft {
            sql: format!("{select} ORDER BY {distance}{}", limit.clause),
            reference: select,
            columns: "int, float8, bigint, float8",
            check: Check::Nearest(self.nearest(&limit)),
        }
    }

    /// The nearest rows, numbered.
    pub fn numbered(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let limit = self.limit();
        let from = format!("FROM {relation} i WHERE {filter}");
        Draft {
            sql: format!(
                "SELECT i.id, {distance} AS d, row_number() OVER (ORDER BY {distance}) AS n {from} ORDER BY {distance}{}",
                limit.clause
            ),
            reference: format!("SELECT i.id, {distance} AS d {from}"),
            columns: "int, float8, bigint",
            check: Check::Nearest(Nearest { numbered: true, ..self.nearest(&limit) }),
        }
    }

    /// Tiles of all rows: how many are in each depends on how many there are.
    pub fn tiles(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let tiles = self.random.i32(2..6);
        self.same(
            format!(
                "SELECT s.t, count(*) FROM (SELECT ntile({tiles}) OVER (ORDER BY {distance}) AS t FROM {relation} i WHERE {filter}) s GROUP BY s.t"
            ),
            "int, bigint",
        )
    }

    fn same(&self, sql: String, columns: &'static str) -> Draft {
        Draft { reference: sql.clone(), sql, columns, check: Check::Same }
    }

    /// Numbers of the nearest rows, or of all in order.
    pub fn aggregate(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let from = format!("FROM {relation} i WHERE {filter} ORDER BY {distance}");
        let all = format!("(SELECT i.id, i.grp, {distance} AS d {from} OFFSET 0) s");
        let limit = self.limit().clause;
        match self.random.u32(..10) {
            0..=1 => self.same(format!("SELECT count(*) FROM (SELECT i.id {from}{limit}) s"), "bigint"),
            2 => self.same(
                format!("SELECT count(s.d), max(s.d), min(s.d), sum(s.id) FROM {all}"),
                "bigint, float8, float8, bigint",
            ),
            3 => self.same(format!("SELECT s.grp, count(*) FROM {all} GROUP BY s.grp"), "int, bigint"),
            4 => self.same(format!("SELECT DISTINCT s.grp FROM {all}"), "int"),
            5 => self.same(format!("SELECT unnest(ARRAY(SELECT i.id {from}))"), "int"),
            6 => self.same(format!("SELECT cardinality(ARRAY(SELECT i.id {from}{limit}))"), "int"),
            7 => self.same(format!("SELECT EXISTS (SELECT {from}{limit})"), "bool"),
            8 => self
                .same(format!("SELECT count(*) FROM {relation} k WHERE k.id IN (SELECT i.id {from}{limit})"), "bigint"),
            _ => self.same(format!("SELECT s.id, w.weight FROM {all} LEFT JOIN wanted w ON w.grp = s.grp"), "int, int"),
        }
    }

    /// Numbers that PostgreSQL may take for the first row of an order.
    pub fn extreme(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        match self.random.u32(..2) {
            0 => self.same(format!("SELECT count(*) FROM {relation} i WHERE {filter} AND {distance} < 0.7"), "bigint"),
            _ => self.same(format!("SELECT min({distance}) FROM {relation} i WHERE {filter}"), "float8"),
        }
    }

    /// One row of each distance.
    pub fn distinct(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let limit = self.limit();
        let from = format!("FROM {relation} i WHERE {filter}");
        Draft {
            sql: format!(
                "SELECT s.id IS NULL, s.d FROM (SELECT DISTINCT ON ({distance}) i.id, {distance} AS d {from} ORDER BY {distance}{}) s",
                limit.clause
            ),
            reference: format!("SELECT DISTINCT false, {distance} {from}"),
            columns: "bool, float8",
            check: Check::Nearest(Nearest { distinct: true, ..self.nearest(&limit) }),
        }
    }

    /// Rows of a join in the order of a distance.
    pub fn join(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let limit = self.limit();
        let kind = pick(self.random, &["JOIN", "LEFT JOIN"]);
        let select = format!(
            "SELECT i.id, {distance} AS d, w.weight FROM {relation} i {kind} wanted w ON w.grp = i.grp AND w.weight > {} WHERE {filter}",
            self.random.i32(-1..3)
        );
        Draft {
            sql: format!("{select} ORDER BY {distance}{}", limit.clause),
            reference: select,
            columns: "int, float8, int",
            check: Check::Nearest(self.nearest(&limit)),
        }
    }

    /// The nearest rows of each of several vectors.
    pub fn lateral(&mut self) -> Draft {
        let distance = self.distance_to("a.e");
        let (mut filter, relation) = (self.filter(), self.relation);
        let cut = self.random.u32(..4) == 0;
        if cut {
            filter = format!("{filter} AND {}", self.nearer(&distance));
        }
        let limit = self.limit();
        // A filter may say something else for each.
        let own = pick(
            self.random,
            &["i.id <> a.n", "i.id <> a.n", "i.price > a.n", "i.grp = a.n % 4", "i.day > date '2024-01-01' + a.n"],
        );
        let from = format!("FROM {relation} i WHERE {own} AND {filter}");
        let inner = format!("SELECT i.id, {distance} AS d {from}");
        let outer = |inner: &str| format!("SELECT s.id, s.d, a.n FROM asked a CROSS JOIN LATERAL ({inner}) s");
        Draft {
            sql: outer(&format!("{inner} ORDER BY {distance}{}", limit.clause)),
            reference: outer(&inner),
            columns: "int, float8, int",
            check: Check::Nearest(Nearest {
                group: Some(2),
                may_end: self.manner.ends || cut && !self.manner.exact,
                ..self.nearest(&limit)
            }),
        }
    }

    /// How many nearest rows each of several vectors has.
    pub fn correlated(&mut self) -> Draft {
        let distance = self.distance_to("a.e");
        let (filter, relation, limit) = (self.filter(), self.relation, self.limit().clause);
        let from = format!("FROM {relation} i WHERE i.grp IS DISTINCT FROM a.n AND {filter} ORDER BY {distance}");
        self.same(
            format!("SELECT a.n, (SELECT count(*) FROM (SELECT i.id {from}{limit}) s) FROM asked a"),
            "int, bigint",
        )
    }

    /// The nearest rows of two vectors.
    pub fn union(&mut self) -> Draft {
        let (a, b) = (self.distance(), self.distance());
        let (filter, other, relation) = (self.filter(), self.filter(), self.relation);
        let limit = self.limit();
        let part = |name: &str, distance: &str, filter: &str| {
            format!("SELECT i.id, {distance} AS d, '{name}' FROM {relation} i WHERE {filter}")
        };
        let (a_part, b_part) = (part("a", &a, &filter), part("b", &b, &other));
        Draft {
            sql: format!("({a_part} ORDER BY {a}{0}) UNION ALL ({b_part} ORDER BY {b}{0})", limit.clause),
            reference: format!("{a_part} UNION ALL {b_part}"),
            columns: "int, float8, text",
            check: Check::Nearest(Nearest { group: Some(2), ..self.nearest(&limit) }),
        }
    }

    /// What is nearer than a cutoff, in order.
    pub fn cutoff(&mut self) -> Draft {
        let (distance, filter, relation) = (self.distance(), self.filter(), self.relation);
        let limit = self.limit();
        let nearer = self.nearer(&distance);
        let select = format!("SELECT i.id, {distance} AS d FROM {relation} i WHERE {filter} AND {nearer}");
        Draft {
            sql: format!("{select} ORDER BY {distance}{}", limit.clause),
            reference: select,
            columns: "int, float8",
            // The scan may end where hardly anything nearer than the cutoff is to be expected.
            check: Check::Nearest(Nearest { may_end: !self.manner.exact, ..self.nearest(&limit) }),
        }
    }
}
