//! visual_search: image embeddings inside PostgreSQL.
pgrx::pg_module_magic!();
