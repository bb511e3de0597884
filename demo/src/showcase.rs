//! Asks for look-alikes in several ways, and shows for each the SQL, the rows, and a contact sheet.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use postgres::Client;
use postgres::types::ToSql;

use crate::cluster::Cluster;
use crate::gallery::Gallery;
use crate::table;

/// How many query pictures are shown if the gallery suggests none.
const QUERIES: usize = 4;

const BY_PICTURE: &str = "\
SELECT id, title, label, embedding <-> embed_image($1) AS distance
FROM pictures
WHERE id <> $2
ORDER BY embedding <-> embed_image($1)
LIMIT 9;";

const BY_PICTURE_ELSEWHERE: &str = "\
SELECT id, title, label, embedding <-> embed_image($1) AS distance
FROM pictures
WHERE id <> $2 AND label <> $3
ORDER BY embedding <-> embed_image($1)
LIMIT 9;";

const BY_PICTURE_SMALL: &str = "\
SELECT id, title, octet_length(photo) AS bytes, embedding <-> embed_image($1) AS distance
FROM pictures
WHERE id <> $2 AND octet_length(photo) < $3
ORDER BY embedding <-> embed_image($1)
LIMIT 9;";

const BY_WORDS: &str = "\
SELECT id, title, label, embedding <-> embed_text($1) AS distance
FROM pictures
ORDER BY embedding <-> embed_text($1)
LIMIT 9;";

const LIVE_INSERT: &str = "\
INSERT INTO pictures (id, title, label, photo)
SELECT max(id) + 1, 'just inserted', $2, image_thumbnail($1, 64, 'jpeg') FROM pictures
RETURNING id, title, embedding_dims(embedding) AS dims, embedding_model(embedding) AS model;";

const BY_ROW: &str = "\
SELECT id, title, label, embedding <-> (SELECT embedding FROM pictures WHERE id = $1) AS distance
FROM pictures
WHERE id <> $1
ORDER BY embedding <-> (SELECT embedding FROM pictures WHERE id = $1)
LIMIT 9;";

const CONTACT_SHEET: &str = "\
SELECT image_contact_sheet(array_agg(photo ORDER BY place), $2, array_agg(coalesce(caption, title) ORDER BY place))
FROM unnest($1::integer[], $3::text[]) WITH ORDINALITY AS shown (id, caption, place) JOIN pictures USING (id);";

/// The picture that a search starts from.
struct Query {
    id: i32,
    title: String,
    label: String,
    photo: Vec<u8>,
}

/// Runs and prints every kind of search on the table that [`crate::load::run`] has filled, and writes
/// contact sheets into `out`.
///
/// # Errors
/// The server fails, or a sheet cannot be written.
pub fn run(cluster: &Cluster, gallery: &Gallery, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut show = Show { client: cluster.connect()?, out: out.canonicalize()?, sheets: Vec::new() };
    // A backend loads the model when it first needs it; what follows shows what a search takes after that.
    show.client.execute("SELECT visual_search.check_model(name) FROM visual_search.models WHERE is_default", &[])?;
    let queries = show.choose(gallery)?;

    for query in &queries {
        show.search(
            &format!("Look-alikes of “{}”", query.title),
            BY_PICTURE,
            &[query.photo(), query.id()],
            Some(query),
        )?;
    }
    if let [query, ..] = &queries[..] {
        show.filter(query)?;
        show.words(gallery)?;
        show.live(query)?;
    }
    println!("\nContact sheets, drawn by\n{CONTACT_SHEET}");
    for sheet in &show.sheets {
        println!("  {}", sheet.display());
    }
    Ok(())
}

impl Query {
    fn photo(&self) -> Parameter<'_> {
        Parameter::new(&self.photo, format!("the picture, {} bytes", self.photo.len()))
    }

    fn id(&self) -> Parameter<'_> {
        Parameter::new(&self.id, format!("its own row, {}", self.id))
    }

    fn label(&self) -> Parameter<'_> {
        Parameter::new(&self.label, format!("its label, '{}'", self.label))
    }
}

/// A parameter of a statement, and how to print it.
struct Parameter<'a> {
    value: &'a (dyn ToSql + Sync),
    meaning: String,
}

impl<'a> Parameter<'a> {
    fn new(value: &'a (dyn ToSql + Sync), meaning: String) -> Self {
        Self { value, meaning }
    }
}

struct Show {
    client: Client,
    out: PathBuf,
    sheets: Vec<PathBuf>,
}

impl Show {
    /// The gallery's suggestions; without any, pictures from labels far apart, always the same ones.
    fn choose(&mut self, gallery: &Gallery) -> Result<Vec<Query>> {
        let rows = if gallery.suggestions.is_empty() {
            let one_of_each_label = "
                SELECT * FROM (
                    SELECT DISTINCT ON (label) id, title, label, photo FROM pictures WHERE embedding IS NOT NULL
                    ORDER BY label, md5(id::text)) AS one
                ORDER BY md5(label) LIMIT $1";
            self.client.query(one_of_each_label, &[&(QUERIES as i64)])?
        } else {
            let suggested = "
                SELECT id, title, label, photo FROM pictures JOIN unnest($1::text[]) WITH ORDINALITY AS s (title, place)
                USING (title) ORDER BY place";
            self.client.query(suggested, &[&gallery.suggestions])?
        };
        rows.iter()
            .map(|row| {
                Ok(Query {
                    id: row.try_get("id")?,
                    title: row.try_get("title")?,
                    label: row.try_get("label")?,
                    photo: row.try_get("photo")?,
                })
            })
            .collect()
    }

    /// A condition in the same statement: on the label, or where all pictures have one, on the size.
    fn filter(&mut self, query: &Query) -> Result<()> {
        let labels: i64 = self.client.query_one("SELECT count(DISTINCT label) FROM pictures", &[])?.try_get(0)?;
        if labels > 1 {
            self.search(
                &format!("Look-alikes of “{}” that are filed elsewhere", query.title),
                BY_PICTURE_ELSEWHERE,
                &[query.photo(), query.id(), query.label()],
                Some(query),
            )
        } else {
            let limit = i32::try_from(query.photo.len()).unwrap_or(i32::MAX);
            self.search(
                &format!("Look-alikes of “{}” in smaller files", query.title),
                BY_PICTURE_SMALL,
                &[query.photo(), query.id(), Parameter::new(&limit, format!("its size, {limit} bytes"))],
                Some(query),
            )
        }
    }

    /// Words for pictures, if the default model understands words.
    fn words(&mut self, gallery: &Gallery) -> Result<()> {
        let understands = "SELECT 1 FROM visual_search.models WHERE is_default AND 'text' = ANY (sides)";
        if self.client.query_opt(understands, &[])?.is_none() {
            println!("\nThe default model embeds pictures only; embed_text needs one that embeds words too.");
            return Ok(());
        }
        for words in &gallery.words {
            self.search(
                &format!("Pictures for “{words}”"),
                BY_WORDS,
                &[Parameter::new(words, format!("'{words}'"))],
                None,
            )?;
        }
        Ok(())
    }

    /// A row that arrives now is found by its look, because the trigger has embedded it.
    fn live(&mut self, query: &Query) -> Result<()> {
        headline(&format!("A 64-pixel JPEG of “{}”, inserted now: the trigger embeds it", query.title));
        println!("{LIVE_INSERT}");
        print_parameters(&[query.photo(), query.label()]);
        let rows = self.client.query(LIVE_INSERT, &[&query.photo, &query.label])?;
        println!("\n{}", table::format(&rows)?);

        let row = rows.first().context("INSERT … RETURNING returns a row")?;
        let (id, title) = (row.try_get("id")?, row.try_get("title")?);
        let inserted = Query { id, title, label: query.label.clone(), photo: Vec::new() };
        self.search("Look-alikes of the new row", BY_ROW, &[inserted.id()], Some(&inserted))
    }

    /// Runs one search and shows its SQL, its parameters, its rows, its plan, and a sheet of the query
    /// picture followed by the pictures found.
    fn search(&mut self, title: &str, sql: &str, parameters: &[Parameter<'_>], query: Option<&Query>) -> Result<()> {
        headline(title);
        println!("{sql}");
        print_parameters(parameters);
        let values: Vec<_> = parameters.iter().map(|parameter| parameter.value).collect();

        let statement = self.client.prepare(sql)?;
        let start = Instant::now();
        let rows = self.client.query(&statement, &values)?;
        let elapsed = start.elapsed();
        let plan = self.plan(sql, &values)?;
        println!(
            "\n{}\n{} rows in {:.1} ms, by {plan}",
            table::format(&rows)?,
            rows.len(),
            elapsed.as_secs_f64() * 1e3
        );

        let mut shown: Vec<(i32, Option<String>)> = Vec::new();
        if let Some(query) = query {
            shown.push((query.id, Some(format!("query: {}", query.title))));
        }
        for row in &rows {
            shown.push((row.try_get("id")?, None));
        }
        self.sheet(title, shown)
    }

    /// The plan's node that does the search: the deepest, which reads the table or its index.
    fn plan(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<String> {
        let rows = self.client.query(&format!("EXPLAIN (COSTS off) {sql}"), values)?;
        let lines = rows.iter().map(|row| Ok(row.try_get::<_, String>(0)?)).collect::<Result<Vec<_>>>()?;
        let scan = lines.iter().rev().find(|line| line.contains("Scan") && line.contains(" on pictures"));
        Ok(scan.map_or("an unknown plan", |line| line.trim().trim_start_matches("->").trim()).to_owned())
    }

    /// Lets the server draw a contact sheet of some rows and writes it to a file named after `title`.
    fn sheet(&mut self, title: &str, shown: Vec<(i32, Option<String>)>) -> Result<()> {
        let (ids, captions): (Vec<i32>, Vec<Option<String>>) = shown.into_iter().unzip();
        // Two rows of five with the query's picture, three of three without.
        let columns: i32 = if captions.first().is_some_and(Option::is_some) { 5 } else { 3 };
        let row = self.client.query_one(CONTACT_SHEET, &[&ids, &columns, &captions])?;
        let Some(png) = row.try_get::<_, Option<Vec<u8>>>(0)? else { return Ok(()) };
        let path = self.out.join(file_name(title, &self.sheets));
        fs::write(&path, png).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        self.sheets.push(path);
        Ok(())
    }
}

fn headline(text: &str) {
    println!("\n==== {text} ====\n");
}

fn print_parameters(parameters: &[Parameter<'_>]) {
    for (index, Parameter { meaning, .. }) in parameters.iter().enumerate() {
        println!("-- ${}: {meaning}", index + 1);
    }
}

/// A file name that says what is on the sheet, and differs from those already given.
fn file_name(title: &str, given: &[PathBuf]) -> String {
    let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("-").to_lowercase();
    let end = name.char_indices().nth(60).map_or(name.len(), |(index, _)| index);
    name.truncate(end);
    let taken: HashSet<_> = given.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let mut candidate = format!("{name}.png");
    let mut number = 2;
    while taken.contains(candidate.as_str()) {
        candidate = format!("{name}-{number}.png");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_readable_and_distinct() {
        let given = vec![PathBuf::from("/out/look-alikes-of-flag-norway.png")];
        assert_eq!(file_name("Look-alikes of “flag: Norway”", &given), "look-alikes-of-flag-norway-2.png");
        assert_eq!(file_name("Look-alikes of “flag: Norway”", &[]), "look-alikes-of-flag-norway.png");
        assert_eq!(file_name("../../etc/passwd", &[]), "etc-passwd.png");
        assert_eq!(file_name(&"é".repeat(500), &[]).chars().count(), 64);
    }
}
