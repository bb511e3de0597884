//! Settings under which a query is asked.

use fastrand::Rng;

use super::world::pick;

/// How a scan is to go, as far as checks depend on it.
pub struct Manner {
    /// Statements that set it.
    pub settings: Vec<String>,
    /// Rows come in order.
    pub ordered: bool,
    /// The answer is exact.
    pub exact: bool,
    /// A scan does not go on after its first search.
    pub ends: bool,
    /// A search should find nearly all.
    pub counts: bool,
}

impl Manner {
    /// The next one.
    pub fn new(random: &mut Rng) -> Manner {
        let mut settings = Vec::new();
        let mut set = |name: &str, value: &str| settings.push(format!("SET {name} = {value}"));
        // An index that is small beside it is read from end to end, and most are.
        let ef = pick(random, &[1, 2, 5, 10, 10, 20, 40, 40, 100, 400]);
        set("vs_hnsw.ef_search", &ef.to_string());
        let iterative =
            pick(random, &["strict_order", "strict_order", "strict_order", "relaxed_order", "relaxed_order", "off"]);
        // Whoever turns it off knows that rows are missing: there is little to check.
        let iterative = if iterative == "off" && random.u32(..3) > 0 { "strict_order" } else { iterative };
        set("vs_hnsw.iterative_scan", iterative);
        if random.u32(..3) == 0 {
            set("vs_hnsw.max_scan_tuples", pick(random, &["1", "50", "500", "2000000000"]));
        }
        let exact = random.u32(..5) == 0;
        if exact {
            set("vs_hnsw.exact", "on");
        }
        if random.u32(..4) == 0 {
            set("work_mem", "64");
        }
        for name in [
            "nestloop",
            "hashjoin",
            "mergejoin",
            "material",
            "memoize",
            "bitmapscan",
            "incremental_sort",
            "hashagg",
            "gathermerge",
        ] {
            if random.u32(..12) == 0 {
                set(&format!("enable_{name}"), "off");
            }
        }
        if random.u32(..10) == 0 {
            set("parallel_setup_cost", "0");
            set("parallel_tuple_cost", "0");
            set("min_parallel_table_scan_size", "0");
        }
        if random.u32(..4) == 0 {
            set("cursor_tuple_fraction", pick(random, &["0.0001", "1"]));
        }
        let ends = iterative == "off" && !exact;
        Manner {
            settings,
            ordered: exact || iterative == "strict_order",
            exact,
            ends,
            counts: ef >= 10 && iterative != "off",
        }
    }
}
