//! Databases whose encoding is not UTF-8: what the extension says must be readable there, and text that comes in must be
//! understood.

use pg_test::{Database, Embedding, describe, error_of, models, pictures, server_error, shared_cluster};

/// A database in another encoding, and a session whose client is told everything in UTF-8.
fn database(encoding: &str) -> Database<'static> {
    let name = format!("encoding_{}", encoding.to_lowercase());
    let mut session = shared_cluster().connect("postgres");
    session
        .batch_execute(&format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"))
        .unwrap_or_else(|e| panic!("{}", describe(&e)));
    let database = shared_cluster().existing_database(&name);
    database.run("CREATE EXTENSION visual_search");
    database
}

#[test]
fn errors_are_readable() {
    for encoding in ["LATIN1", "EUC_JP", "SQL_ASCII", "UTF8"] {
        let database = database(encoding);
        let _watch = database.watch();
        let mut session = database.connect();
        let long = "x".repeat(1_000);
        let cases = [
            ("SELECT '[1,é]'::image_embedding".to_owned(), "22P02"),
            (format!("SELECT '[1,{long}]'::image_embedding"), "22P02"),
            ("SELECT '[1,2]é'::image_embedding".to_owned(), "22P02"),
            ("CREATE TABLE t (e image_embedding('é'))".to_owned(), "22023"),
            ("SELECT embed_image('\\x00')".to_owned(), "0A000"),
            (
                "CREATE TABLE photos (photo bytea, embedding image_embedding);
                 CREATE TRIGGER wrong BEFORE INSERT ON photos FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo');
                 INSERT INTO photos VALUES ('\\x00')"
                    .to_owned(),
                "39P01",
            ),
        ];
        for (sql, code) in cases {
            // EUC_JP has an é, too; as three bytes, which is one more way to go wrong.
            let error = error_of(&mut session, &sql);
            let said = format!("{}\n{:?}\n{:?}", error.message(), error.detail(), error.hint());
            assert_eq!(error.code().code(), code, "{encoding}: {sql}: {said}");
            // What would show if UTF-8 were taken for something else.
            for garbage in ['\u{fffd}', '\u{c3}', '\u{e2}', '\u{80}', '\u{a6}', '\u{ef}'] {
                assert!(!said.contains(garbage), "{encoding}: {sql}: {said}");
            }
        }
        let refused = session.query("SELECT embed_image($1, 'modèle')", &[&pictures::tiny(1)]);
        let error = server_error(refused.expect_err("no model is called so"), encoding);
        assert!(!error.code().code().starts_with("XX"), "{encoding}: {}", error.message());
    }
}

#[test]
fn embedding_works() {
    let mut files = models::colours(1.0);
    let manifest = String::from_utf8(files[0].1.clone()).unwrap();
    files[0].1 = manifest.replace("mean colours", "café — 靴").into_bytes();
    shared_cluster().install_model("foreign", &files);
    files[0].1 = manifest.replace("\"description\"", "\"clé\"").into_bytes();
    shared_cluster().install_model("wrong", &files);
    for encoding in ["LATIN2", "EUC_KR"] {
        let mut session = database(encoding).connect();
        let row = session.query_one("SELECT embed_image($1)", &[&pictures::photo(1)]);
        let vector: Embedding = row.unwrap_or_else(|e| panic!("{encoding}: {}", describe(&e))).get(0);
        let mut utf8 = Database::shared(&format!("beside_{encoding}").to_lowercase()).connect();
        let same: Embedding = utf8.query_one("SELECT embed_image($1)", &[&pictures::photo(1)]).unwrap().get(0);
        assert_eq!(vector, same);
        // A word that both encodings and UTF-8 write in different bytes.
        let word = if encoding == "LATIN2" { "červené boty" } else { "빨간 신발" };
        let sql = "SELECT embed_text($1)";
        let there: Embedding = session.query_one(sql, &[&word]).unwrap_or_else(|e| panic!("{}", describe(&e))).get(0);
        let here: Embedding = utf8.query_one(sql, &[&word]).unwrap().get(0);
        assert_eq!(there, here, "{encoding}: {word} is the same word in every encoding");
        // In the names of columns, and in captions.
        session
            .batch_execute(&format!(
                "CREATE TABLE photos (\"{word}\" bytea, embedding image_embedding);
                 CREATE TRIGGER embed BEFORE INSERT ON photos FOR EACH ROW EXECUTE FUNCTION embed_on_write('{word}', 'embedding')"
            ))
            .unwrap();
        session
            .execute("INSERT INTO photos VALUES ($1)", &[&pictures::photo(1)])
            .unwrap_or_else(|e| panic!("{encoding}: {}", describe(&e)));
        assert_eq!(session.query_one("SELECT embedding FROM photos", &[]).unwrap().get::<_, Embedding>(0), vector);
        let sheet = "SELECT image_contact_sheet(ARRAY[$1::bytea], 1, ARRAY[$2::text])";
        let (there, here): (Vec<u8>, Vec<u8>) = {
            let arguments: [&(dyn postgres::types::ToSql + Sync); 2] = [&pictures::photo(1), &word];
            let there = session.query_one(sheet, &arguments).unwrap_or_else(|e| panic!("{encoding}: {}", describe(&e)));
            (there.get(0), utf8.query_one(sheet, &arguments).unwrap().get(0))
        };
        assert!(there == here, "{encoding}: the caption {word} looks the same");
        session.batch_execute("SELECT * FROM visual_search.models").unwrap();
        session.batch_execute("SELECT visual_search.describe_model('vs-mini-1')").unwrap();
        // Results are as readable as messages: what a manifest says, and what is wrong with another.
        let described = session.query_one("SELECT visual_search.describe_model('foreign')::text", &[]);
        let described: String = described.unwrap_or_else(|e| panic!("{encoding}: {}", describe(&e))).get(0);
        assert!(described.contains("caf? ? ?"), "{described}");
        session.batch_execute("SELECT visual_search.check_model('foreign')").unwrap();
        let problem = session.query_one("SELECT problem FROM visual_search.models WHERE name = 'wrong'", &[]);
        let problem: String = problem.unwrap_or_else(|e| panic!("{encoding}: {}", describe(&e))).get(0);
        assert!(problem.contains("cl?"), "{problem}");
    }
}
