//! How often are the nearest pictures of the right kind?
//!
//! The gallery's folder has the sub-folders `train/LABEL` and `validation/LABEL`. Every picture of
//! `validation` is a query, and precision at k is the share of its k nearest that carry its label, averaged
//! over the queries. Two galleries are searched: `train`, and the other pictures of `validation`. Next to
//! the network stands what plain colour histograms achieve on the same queries, compared by their overlap.
//! Everything is counted by PostgreSQL, by exact search.

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::gallery::Gallery;
use crate::{histogram, load, table};

const TABLE: &str = "\
CREATE TABLE pictures (
    id        integer PRIMARY KEY,
    title     text NOT NULL,
    label     text NOT NULL,
    photo     bytea NOT NULL,
    embedding image_embedding({dims}),
    histogram image_embedding,
    split     text NOT NULL GENERATED ALWAYS AS (split_part(label, '/', 1)) STORED,
    class     text NOT NULL GENERATED ALWAYS AS (split_part(label, '/', 2)) STORED
);
CREATE TRIGGER embed BEFORE INSERT ON pictures
    FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding');";

const INSERT: &str = "\
INSERT INTO pictures (id, title, label, photo, histogram)
    VALUES ($1, $2, $3, $4, $5::real[]::image_embedding)";

/// Loads the gallery and prints precision at 1 and 5, by class and over all.
///
/// # Errors
/// The gallery lacks `train/` or `validation/`, or the server fails.
pub fn run(cluster: &Cluster, gallery: &Gallery) -> Result<()> {
    for split in ["train", "validation"] {
        let prefix = format!("{split}/");
        ensure!(
            gallery.pictures.iter().any(|picture| picture.label.starts_with(&prefix)),
            "there is nothing in {split}/LABEL/ below the folder of photos"
        );
    }
    let mut client = cluster.connect()?;
    load::create_table(&mut client, TABLE)?;
    println!("Embedding {}:", gallery.description);
    load::insert(cluster, gallery, INSERT, |_, bytes| histogram::of(bytes).map(Some))?;
    client.batch_execute("VACUUM ANALYZE pictures")?;

    for split in ["train", "validation"] {
        let sql = precision(split);
        println!("\n{sql}\n\n{}", table::format(&client.query(&sql, &[])?)?);
    }
    Ok(())
}

/// The query that compares the network with the histograms on one gallery.
fn precision(gallery: &str) -> String {
    let network = nearest("network", "embedding <-> q.embedding", gallery);
    let histogram = nearest("histogram", "histogram <+> q.histogram", gallery);
    format!(
        "-- queries: validation; gallery: {gallery}, without the query\n\
         WITH nearest AS (\n{network}\n    UNION ALL\n{histogram}\n)\n\
         SELECT coalesce(class, 'all') AS class, count(DISTINCT id) AS queries,\n       \
         avg(hit) FILTER (WHERE method = 'network' AND place = 1)::float8 AS \"network P@1\",\n       \
         avg(hit) FILTER (WHERE method = 'network')::float8 AS \"network P@5\",\n       \
         avg(hit) FILTER (WHERE method = 'histogram' AND place = 1)::float8 AS \"histogram P@1\",\n       \
         avg(hit) FILTER (WHERE method = 'histogram')::float8 AS \"histogram P@5\"\n\
         FROM nearest GROUP BY ROLLUP (nearest.class) ORDER BY nearest.class NULLS LAST"
    )
}

/// The five nearest of every query by one distance.
fn nearest(method: &str, distance: &str, gallery: &str) -> String {
    format!(
        "    SELECT '{method}' AS method, q.id, q.class, (n.class = q.class)::int AS hit, n.place\n    \
         FROM pictures q, LATERAL (\n        \
             SELECT class, row_number() OVER (ORDER BY distance, id) AS place FROM (\n            \
                 SELECT id, class, {distance} AS distance FROM pictures\n            \
                 WHERE split = '{gallery}' AND id <> q.id ORDER BY distance LIMIT 5) AS five) AS n\n    \
         WHERE q.split = 'validation'"
    )
}
