//! Random queries for the nearest rows of a [`World`], put to the server in the ways that users and drivers do.

use fastrand::Rng;

use super::{
    check::{Check, Nearest},
    manner::Manner,
    shapes::{Asked, Draft},
    values::Values,
    world::{Features, World, pick},
};

/// How a query is put to the server.
#[derive(Debug)]
pub struct Statement {
    /// What is said.
    pub sql: String,
    /// Whether its rows belong to the answer.
    pub answers: bool,
}

/// A query, and what must hold of its answer.
#[derive(Debug)]
pub struct Case {
    /// Settings under which it is asked.
    pub settings: Vec<String>,
    /// What is said before, also before the reference is asked for, in a transaction that is rolled back.
    pub before: Option<String>,
    /// The query.
    pub statements: Vec<Statement>,
    /// A query for every row that could be in the answer, or for the answer itself.
    pub reference: String,
    /// What must hold.
    pub check: Check,
    /// Whether settings and check allow to count it as a search that should find nearly all.
    pub counts: bool,
}

impl Case {
    /// The next one.
    pub fn new(world: &World, random: &mut Rng, features: Features) -> Case {
        let manner = Manner::new(random);
        let relation = pick(random, &world.relations);
        let mut asked = Asked { world, random, values: Values::default(), relation, manner: &manner, features };
        let draft = match asked.random.u32(..21) {
            0..=5 => asked.plain(),
            6 => asked.window(),
            7 => asked.numbered(),
            8 => asked.tiles(),
            9..=10 => asked.aggregate(),
            11 if features.minimum => asked.extreme(),
            12 if manner.ordered => asked.distinct(),
            13..=14 => asked.join(),
            15..=16 => asked.lateral(),
            17 => asked.union(),
            20 => asked.correlated(),
            18 | 19 => asked.cutoff(),
            _ => asked.plain(),
        };
        let values = asked.values;
        let mut case = Case {
            before: None,
            reference: values.inline(&draft.reference),
            counts: manner.counts,
            check: draft.check.clone(),
            settings: manner.settings,
            statements: Vec::new(),
        };
        let says_all = matches!(case.check, Check::Same) || draft.sql.contains(" OVER () ");
        if says_all && manner.ends {
            // What such an answer says about all rows is wrong, and meant to be.
            case.settings.push("SET vs_hnsw.iterative_scan = strict_order".to_owned());
        }
        if random.u32(..12) == 0 && !world.policy {
            let some = pick(random, &["id % 2 = 0", "grp = 0", "id > 20", "true", "flag"]);
            let change = pick(random, &["DELETE FROM items", "UPDATE items SET price = 7"]);
            case.before = Some(format!("{change} WHERE {some}"));
        }
        case.put(random, &draft, &values);
        case
    }

    fn say(&mut self, sql: impl Into<String>) {
        self.statements.push(Statement { sql: sql.into(), answers: false });
    }

    fn ask(&mut self, sql: impl Into<String>) {
        self.statements.push(Statement { sql: sql.into(), answers: true });
    }

    /// Chooses the way in which the query is put.
    fn put(&mut self, random: &mut Rng, draft: &Draft, values: &Values) {
        let sql = values.inline(&draft.sql);
        let locks = sql.contains(" FOR ");
        match random.u32(..10) {
            0..=2 => {
                self.say(format!(
                    "SET plan_cache_mode = {}",
                    pick(random, &["auto", "force_generic_plan", "force_custom_plan"])
                ));
                let types = values.types();
                let types = if types.is_empty() { types } else { format!("({types})") };
                self.say(format!("PREPARE asked_for {types} AS {}", values.numbered(&draft.sql)));
                let execute = format!(
                    "EXECUTE asked_for{}",
                    if types.is_empty() { String::new() } else { format!(" ({})", values.list()) }
                );
                // From the sixth on the plan may be a generic one.
                let before = if sql.contains("LATERAL") { 0 } else { pick(random, &[0, 0, 6]) };
                (0..before).for_each(|_| self.say(execute.clone()));
                self.ask(execute);
            }
            3..=4 if !locks => self.cursor(random, &sql),
            5 if !locks => {
                let columns: Vec<String> =
                    draft.columns.split(", ").enumerate().map(|(at, ty)| format!("c{at} {ty}")).collect();
                let (language, body) = if random.bool() {
                    (
                        "plpgsql",
                        format!(
                            "#variable_conflict use_column\nBEGIN RETURN QUERY {}; END",
                            values.numbered(&draft.sql)
                        ),
                    )
                } else {
                    ("sql", values.numbered(&draft.sql))
                };
                self.say(format!(
                    "CREATE FUNCTION pg_temp.found({}) RETURNS TABLE ({}) LANGUAGE {language} STABLE AS $function${body}$function$",
                    values.types(),
                    columns.join(", ")
                ));
                self.ask(format!("SELECT * FROM pg_temp.found({})", values.list()));
            }
            6 if !locks => self.ask(format!("WITH s AS MATERIALIZED ({sql}) SELECT * FROM s")),
            7 if !locks => self.ask(format!("SELECT * FROM ({sql}) s")),
            _ => self.ask(sql),
        }
    }

    /// Reads the answer in steps, and perhaps not to its end.
    fn cursor(&mut self, random: &mut Rng, sql: &str) {
        let begun = self.before.is_some();
        if !begun {
            self.say("BEGIN");
        }
        let scroll = random.u32(..4) == 0;
        let hold = !begun && random.u32(..5) == 0;
        self.say(format!(
            "DECLARE asked_for {}CURSOR {}FOR {sql}",
            if scroll { "SCROLL " } else { "NO SCROLL " },
            if hold { "WITH HOLD " } else { "" }
        ));
        if hold {
            self.say("COMMIT");
        }
        if scroll {
            self.say(format!("FETCH {} FROM asked_for", random.i32(1..60)));
            self.say("MOVE BACKWARD ALL IN asked_for");
        }
        let mut read = 0;
        for _ in 0..random.i32(1..6) {
            let step = random.usize(1..50);
            self.ask(format!("FETCH {step} FROM asked_for"));
            read += step;
        }
        match &mut self.check {
            // Some lists would be cut off, and which ones the plan says.
            Check::Nearest(Nearest { group: None, ties: false, limit, .. }) if random.bool() => {
                *limit = read.min(*limit)
            }
            _ => self.ask("FETCH ALL FROM asked_for"),
        }
        if !begun && !hold {
            self.say("COMMIT");
        }
    }
}
