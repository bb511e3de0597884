//! What the extension puts into the catalogues, and who may do what with it.

use pg_test::{Cluster, Database, Embedding, describe, error_of, models, pictures, shared_cluster};
use postgres::Client;

/// Every object that belongs to the extension, as PostgreSQL describes it, with its comment.
const MEMBERS: &str = "
    SELECT pg_describe_object(classid, objid, objsubid), classid::regclass::text, obj_description(objid, classid::regclass::text)
    FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'visual_search')
    ORDER BY 1";

#[test]
fn every_object_explains_itself() {
    let mut session = Database::shared("comments").connect();
    let rows = session.query(MEMBERS, &[]).unwrap();
    assert!(rows.len() > 80, "only {} objects", rows.len());
    let mut silent = Vec::new();
    for row in &rows {
        let (object, class, comment): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        // The array type and the row type of a view are made along with what they are of.
        let implied = class == "pg_type" && !object.ends_with("type image_embedding");
        if !implied && comment.is_none_or(|comment| comment.trim().is_empty()) {
            silent.push(object);
        }
    }
    assert_eq!(silent, [] as [String; 0], "objects without a comment");

    let columns =
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'visual_search.models'::regclass AND attnum > 0
                   AND col_description(attrelid, attnum) IS NULL";
    assert_eq!(session.query(columns, &[]).unwrap().len(), 0, "columns of the view without a comment");
    let described: Option<String> = session
        .query_one("SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'visual_search'", &[])
        .unwrap()
        .get(0);
    assert!(described.is_some(), "the extension itself");
}

#[test]
fn psql_lists_them() {
    let database = Database::shared("psql_lists");
    let listed = database
        .psql("\\dx+ visual_search\n\\dT+ image_embedding\n\\df+ embed_image\n\\do+ <->\n\\dv+ visual_search.*\n");
    let listed = listed.expect_success();
    for part in [
        "function embed_image(bytea)",
        "type image_embedding",
        "operator <->(image_embedding,image_embedding)",
        "view visual_search.models",
    ] {
        assert!(listed.contains(part), "psql does not list {part:?}:\n{listed}");
    }
}

#[test]
fn functions_are_as_volatile_strict_and_parallel_as_they_are() {
    let mut session = Database::shared("volatility").connect();
    let rows = session
        .query(
            "SELECT p.oid::regprocedure::text, provolatile::text, proisstrict, proparallel::text, procost, prokind::text
             FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                 JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'visual_search'",
            &[],
        )
        .unwrap();
    assert!(rows.len() > 50, "only {} functions", rows.len());
    for row in rows {
        let (name, volatility, strict, parallel): (String, String, bool, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let (cost, kind): (f32, String) = (row.get(4), row.get(5));
        let inference = name.starts_with("embed_image") || name.starts_with("embed_text");
        let administration = name.starts_with("visual_search.") || name.starts_with("vs_hnsw_stats(");
        // These run queries of their own.
        let examination = name.starts_with("vs_hnsw_check(") || name.starts_with("vs_hnsw_recall(");
        let expected = match name.as_str() {
            // What depends on a setting of the session is stable; what names its model is immutable.
            "embed_image(bytea)" | "embed_images(bytea[])" | "embed_text(text)" => "s",
            // What PostgreSQL calls by itself is declared as its own are: a trigger, and an access method's handler.
            "embed_on_write()" | "vs_hnsw_handler(internal)" => "v",
            _ if administration || examination => "v",
            _ => "i",
        };
        assert_eq!(volatility, expected, "volatility of {name}");
        // State of the leader's session alone.
        let expected = match name.as_str() {
            "embed_on_write()" | "vs_hnsw_handler(internal)" => "u",
            _ if examination => "u",
            _ if administration => "r",
            _ => "s",
        };
        assert_eq!(parallel, expected, "parallel safety of {name}");
        if inference {
            assert!(cost >= 100.0, "{name} costs {cost}");
        }
        // Arguments of type internal cannot be given, NULL or otherwise.
        let takes_null = [
            "image_contact_sheet",
            "image_embedding_accum",
            "image_embedding_combine",
            "_final",
            "embed_on_write",
            "(internal)",
        ];
        if kind == "f" && !takes_null.iter().any(|part| name.contains(part)) {
            assert!(strict, "{name} is strict");
        }
    }
}

/// What a user does with the extension, whose objects are found through `search_path` or by the prefix.
fn everyday_use(session: &mut Client, prefix: &str, operator: &str) {
    let e = format!("{prefix}image_embedding");
    let photo = pictures::photo(1);
    session
        .batch_execute(&format!(
            "CREATE TABLE public.products (id int, photo bytea, embedding {e}(384), made {e} GENERATED ALWAYS AS
                 ({prefix}embed_image(photo, 'vs-mini-1')) STORED);
             CREATE TRIGGER embed BEFORE INSERT OR UPDATE ON public.products
                 FOR EACH ROW EXECUTE FUNCTION {prefix}embed_on_write('photo', 'embedding')"
        ))
        .unwrap_or_else(|e| panic!("{}", describe(&e)));
    session.execute("INSERT INTO public.products VALUES (1, $1), (2, NULL)", &[&photo]).unwrap();
    let sql = format!("SELECT id FROM public.products ORDER BY embedding {operator} {prefix}embed_image($1) LIMIT 1");
    let row = session.query_one(&sql, &[&photo]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    assert_eq!(row.get::<_, i32>(0), 1);
    for sql in [
        format!("SELECT {prefix}avg(embedding), count(DISTINCT embedding) FROM public.products"),
        format!("SELECT {prefix}embed_images(array_agg(photo)) FROM public.products"),
        format!("SELECT ARRAY[1,2]::real[]::{e}, '[1,2]'::{e}::real[], {prefix}l2_normalize('[1,2]')"),
        format!("SELECT {prefix}image_info(photo), {prefix}image_thumbnail(photo) FROM public.products"),
        "SELECT * FROM visual_search.models".to_owned(),
        "SELECT visual_search.check_model('vs-mini-1')".to_owned(),
        "ANALYZE public.products".to_owned(),
    ] {
        session.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    }
    session.batch_execute("DROP TABLE public.products").unwrap();
}

#[test]
fn it_lives_in_any_schema() {
    let database = shared_cluster().empty_database("other_schema");
    let mut session = database.connect();
    session
        .batch_execute(
            "CREATE SCHEMA \"Odd schema\"; CREATE EXTENSION visual_search SCHEMA \"Odd schema\"; SET search_path = ''",
        )
        .unwrap_or_else(|e| panic!("{}", describe(&e)));
    everyday_use(&mut session, "\"Odd schema\".", "OPERATOR(\"Odd schema\".<->)");
    let outside = session
        .query(
            "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend d
             CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) o
             WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'visual_search')
                 AND o.schema NOT IN (quote_ident('Odd schema'), 'visual_search')",
            &[],
        )
        .unwrap();
    assert_eq!(outside.len(), 0, "{:?}", outside.iter().map(|row| row.get(0)).collect::<Vec<String>>());
}

#[test]
fn it_goes_without_a_trace_and_comes_back() {
    let database = Database::shared("drop_and_create");
    let mut session = database.connect();
    everyday_use(&mut session, "", "<->");
    session.batch_execute("CREATE TABLE kept (value image_embedding)").unwrap();
    let error = error_of(&mut session, "DROP EXTENSION visual_search");
    assert_eq!(error.code().code(), "2BP01", "a column depends on it");
    session.batch_execute("DROP TABLE kept; DROP EXTENSION visual_search").unwrap();
    let left: i64 = session
        .query_one(
            "SELECT (SELECT count(*) FROM pg_type WHERE typname LIKE '%image_embedding%')
                  + (SELECT count(*) FROM pg_proc WHERE probin LIKE '%visual_search%')
                  + (SELECT count(*) FROM pg_namespace WHERE nspname = 'visual_search')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "objects left behind");
    for _ in 0..3 {
        session.batch_execute("CREATE EXTENSION visual_search").unwrap_or_else(|e| panic!("{}", describe(&e)));
        everyday_use(&mut session, "", "<->");
        session.batch_execute("DROP EXTENSION visual_search CASCADE").unwrap();
    }
}

#[test]
fn the_library_can_be_preloaded() {
    let cluster = Cluster::builder().set("shared_preload_libraries", "visual_search").start();
    let _watch = cluster.watch();
    let threads = std::fs::read_dir(format!("/proc/{}/task", cluster.postmaster_pid())).unwrap().count();
    assert_eq!(threads, 1, "the postmaster starts no thread");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", cluster.postmaster_pid())).unwrap();
    assert!(maps.contains("visual_search.so") && !maps.contains("onnxruntime"), "the postmaster loads no ONNX Runtime");
    let database = cluster.database("preloaded");
    everyday_use(&mut database.connect(), "", "<->");
}

#[test]
fn settings_that_name_a_path_or_bound_a_cost_are_for_superusers() {
    let database = Database::shared("permissions");
    database.run("CREATE ROLE reader LOGIN");
    let mut reader = database.connect_as("reader");
    for (setting, value) in [
        ("visual_search.model_dir", "'/tmp'"),
        ("visual_search.onnxruntime_library", "'/tmp/x.so'"),
        ("visual_search.max_image_bytes", "2048"),
        ("visual_search.max_image_pixels", "100"),
    ] {
        // The library defines the settings, so it must be loaded for PostgreSQL to know whose they are.
        reader.batch_execute("SELECT embed_image(NULL), visual_search.inference_stats()").unwrap();
        let error = error_of(&mut reader, &format!("SET {setting} = {value}"));
        assert_eq!(error.code().code(), "42501", "{setting}: {}", error.message());
    }
    for setting in ["visual_search.model_dir", "visual_search.onnxruntime_library"] {
        let error = error_of(&mut reader, &format!("SHOW {setting}"));
        assert_eq!(error.code().code(), "42501", "{setting}: {}", error.message());
    }
    for (setting, value) in [("default_model", "'x'"), ("threads", "2"), ("cache_bytes", "'1MB'")] {
        reader.batch_execute(&format!("SET visual_search.{setting} = {value}; RESET visual_search.{setting}")).unwrap();
    }
    for (setting, value) in [("threads", "0"), ("threads", "1000"), ("cache_bytes", "-1"), ("cache_bytes", "'a lot'")] {
        assert_eq!(error_of(&mut reader, &format!("SET visual_search.{setting} = {value}")).code().code(), "22023");
    }
    let error = error_of(&mut reader, "SET visual_search.no_such_setting = 1");
    assert!(["42704", "42602"].contains(&error.code().code()), "a misspelt setting is refused: {error:?}");
}

#[test]
fn everybody_can_use_it_and_execute_can_be_taken_away() {
    let database = Database::shared("ordinary_role");
    shared_cluster().install_model("for-everybody", &models::colours(1.0));
    database.run("CREATE ROLE analyst LOGIN; GRANT CREATE ON SCHEMA public TO analyst");
    let mut analyst = database.connect_as("analyst");
    everyday_use(&mut analyst, "", "<->");
    let row = analyst.query_one("SELECT embed_image($1, 'for-everybody')", &[&pictures::photo(1)]).unwrap();
    assert_eq!(row.get::<_, Embedding>(0).elements.len(), 12);
    database.run("REVOKE EXECUTE ON FUNCTION embed_image(bytea, text) FROM PUBLIC");
    let error = analyst.query("SELECT embed_image($1, 'vs-mini-1')", &[&pictures::photo(1)]).expect_err("revoked");
    assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{}", describe(&error));
}

#[test]
fn every_function_is_one_that_the_library_has() {
    // Creating a C function looks its symbol up, so CREATE EXTENSION has proved that they exist; here, that their
    // arguments are the declared ones: NULL for every argument of every strict function gives NULL and loads nothing.
    let mut session = Database::shared("strict_functions").connect();
    let rows = session
        .query(
            "SELECT format('SELECT %I.%I(%s) IS NULL', n.nspname, proname,
                        (SELECT string_agg('NULL::' || replace(format_type(t, NULL), 'anyarray', 'real[]'), ', ' ORDER BY i) FROM unnest(proargtypes) WITH ORDINALITY a (t, i)))
             FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
                 JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                 JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'visual_search'
             WHERE prokind = 'f' AND proisstrict AND pronargs > 0 AND NOT proretset
                 AND NOT 'internal'::regtype = ANY (proargtypes) AND prorettype NOT IN ('internal'::regtype, 'trigger'::regtype, 'cstring'::regtype)",
            &[],
        )
        .unwrap();
    assert!(rows.len() > 40, "only {} functions", rows.len());
    for row in rows {
        let sql: String = row.get(0);
        let null: bool = session.query_one(&sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).get(0);
        assert!(null, "{sql}");
    }
}
