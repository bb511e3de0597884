//! Fills the table: every inserted row is embedded by the extension's trigger.
//!
//! One connection for each core, each taking the next picture when it is done with one: a backend embeds
//! on one core. Every INSERT is a transaction of its own, so that a file that is no picture costs only
//! itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use postgres::types::ToSql;
use postgres::{Client, Statement};

use crate::cluster::{self, Cluster};
use crate::errors;
use crate::gallery::{Gallery, Picture};
use crate::progress::Progress;

/// How many failures are named; the rest are counted.
const NAMED_FAILURES: usize = 50;

const TABLE: &str = "\
CREATE TABLE pictures (
    id        integer PRIMARY KEY,
    title     text NOT NULL,
    label     text NOT NULL,
    photo     bytea NOT NULL,
    embedding image_embedding({dims})
);

CREATE TRIGGER embed BEFORE INSERT OR UPDATE OF photo ON pictures
    FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding');";

const INDEX: &str = "CREATE INDEX ON pictures USING vs_hnsw (embedding);";

/// Creates the table `pictures`, inserts the gallery, and indexes the embeddings if this version of the
/// extension can.
///
/// # Errors
/// The server fails, or not one picture can be embedded.
pub fn run(cluster: &Cluster, gallery: &Gallery) -> Result<()> {
    let mut client = cluster.connect()?;
    let table = create_table(&mut client, TABLE)?;
    println!("{table}\n");

    println!("Inserting {}; the trigger embeds each:", gallery.description);
    insert(cluster, gallery, "INSERT INTO pictures (id, title, label, photo) VALUES ($1, $2, $3, $4)", |_, _| {
        Ok(None)
    })?;

    client.batch_execute("VACUUM ANALYZE pictures")?;
    if client.query_opt("SELECT 1 FROM pg_am WHERE amname = 'vs_hnsw'", &[])?.is_some() {
        println!("\n{INDEX}");
        let start = std::time::Instant::now();
        client.batch_execute(INDEX)?;
        println!("  {:.1} s", start.elapsed().as_secs_f64());
    } else {
        println!("\nThis version of the extension has no index yet: every search below is exact.");
    }
    Ok(())
}

/// Runs a script in which `{dims}` stands for the dimensions of the default model's embeddings; returns
/// the script as it was run. Tries the model first, so that a server that cannot embed at all says so once.
///
/// # Errors
/// No default model, or one that does not work.
pub fn create_table(client: &mut Client, script: &str) -> Result<String> {
    let model = client
        .query_opt("SELECT name, dims, tag FROM visual_search.models WHERE is_default", &[])?
        .context("visual_search.default_model names a model that does not exist")?;
    let (name, dims, tag): (String, i32, String) = (model.try_get(0)?, model.try_get(1)?, model.try_get(2)?);
    client.execute("SELECT visual_search.check_model($1)", &[&name])?;
    println!("Model {name} ({dims} dimensions, tag {tag})\n");
    let script = script.replace("{dims}", &dims.to_string());
    client.batch_execute(&script)?;
    Ok(script)
}

/// A value for a fifth parameter.
pub type Extra = Option<Vec<f32>>;

/// Inserts every picture by `sql`, with the parameters `$1` id (1 for the first), `$2` title, `$3` label,
/// `$4` photo and, if `extra` computes one from the picture and its bytes, `$5`; says how it went.
///
/// # Errors
/// The server fails, or no picture can be embedded. A picture that cannot be is reported, and is no error.
pub fn insert(
    cluster: &Cluster,
    gallery: &Gallery,
    sql: &str,
    extra: impl Fn(&Picture, &[u8]) -> Result<Extra> + Sync,
) -> Result<()> {
    let pictures = &gallery.pictures;
    let workers = thread::available_parallelism().map_or(1, usize::from).min(pictures.len());
    let progress = Progress::new(pictures.len());
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);

    let work = || -> Result<()> {
        let mut client = cluster.connect()?;
        let statement = client.prepare(sql)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(picture) = pictures.get(index) else { return Ok(()) };
            let outcome = insert_one(&mut client, &statement, index, picture, &extra);
            if client.is_closed() || cluster::interrupted() {
                return outcome.context("the server went away");
            }
            progress.advance(outcome.is_ok());
            if let Err(error) = outcome {
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((index, errors::reason(&error)));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a loader panicked")))
    })?;

    let elapsed = progress.finish();
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_unstable();
    let embedded = pictures.len() - failures.len();
    println!(
        "  {embedded} embedded in {:.1} s ({:.0}/s, {workers} connections), {} failed",
        elapsed.as_secs_f64(),
        embedded as f64 / elapsed.as_secs_f64(),
        failures.len()
    );
    for (index, reason) in failures.iter().take(NAMED_FAILURES) {
        println!("    {}: {reason}", pictures[*index].origin());
    }
    if failures.len() > NAMED_FAILURES {
        println!("    and {} more", failures.len() - NAMED_FAILURES);
    }
    ensure!(embedded > 0, "not one picture could be embedded");
    Ok(())
}

fn insert_one(
    client: &mut Client,
    statement: &Statement,
    index: usize,
    picture: &Picture,
    extra: impl Fn(&Picture, &[u8]) -> Result<Extra>,
) -> Result<()> {
    let id = i32::try_from(index + 1)?;
    let photo = picture.bytes()?;
    let extra = extra(picture, &photo)?;
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&id, &picture.title, &picture.label, &photo];
    if let Some(extra) = &extra {
        parameters.push(extra);
    }
    client.execute(statement, &parameters)?;
    Ok(())
}
