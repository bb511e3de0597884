//! What a session says about its own inference.

use postgres::Client;

/// The counters of `visual_search.inference_stats()` that tests hold against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Pictures that a network has seen.
    pub images_embedded: i64,
    /// Times that a network was run.
    pub network_runs: i64,
    /// Embeddings answered from memory.
    pub cache_hits: i64,
    /// Embeddings that were not in memory.
    pub cache_misses: i64,
    /// Embeddings in memory.
    pub cache_entries: i64,
    /// Memory that they take.
    pub cache_bytes: i64,
    /// Models in memory.
    pub models_loaded: i64,
    /// Memory that they take.
    pub model_bytes: i64,
}

impl Stats {
    /// Asks a session.
    pub fn of(session: &mut Client) -> Stats {
        let row =
            session.query_one("SELECT * FROM visual_search.inference_stats()", &[]).expect("statistics are there");
        Stats {
            images_embedded: row.get("images_embedded"),
            network_runs: row.get("network_runs"),
            cache_hits: row.get("cache_hits"),
            cache_misses: row.get("cache_misses"),
            cache_entries: row.get("cache_entries"),
            cache_bytes: row.get("cache_bytes"),
            models_loaded: row.get("models_loaded"),
            model_bytes: row.get("model_bytes"),
        }
    }

    /// How many times a network ran while the session did something.
    pub fn runs_during<T>(session: &mut Client, work: impl FnOnce(&mut Client) -> T) -> (i64, T) {
        let before = Stats::of(session).network_runs;
        let result = work(session);
        (Stats::of(session).network_runs - before, result)
    }
}
