//! Models and statistics, for administrators and for the curious: the schema `visual_search`.

use super::session::{self, model_dir, model_error};
use crate::embedding::literal::tag_text;
use crate::error::{OrRaise, SqlResult, in_server_encoding};
use crate::returned::{Returned, column, record};
use crate::server_text::ServerText;
use crate::settings;
use pgrx::prelude::*;
use pgrx::{JsonB, name};
use serde_json::Value;
use vs_onnx::Origin;

const BUILT_IN: &str = "built-in";
const FOLDER: &str = "folder";

/// A row of `visual_search.models`.
struct ModelRow {
    name: String,
    sides: Option<Vec<String>>,
    dims: Option<i32>,
    tag: Option<String>,
    source: &'static str,
    loaded: bool,
    is_default: bool,
    memory_bytes: Option<i64>,
    problem: Option<String>,
}

fn model_rows() -> SqlResult<Vec<ModelRow>> {
    let default = settings::default_model();
    let listed = match vs_onnx::list(Some(&model_dir())) {
        Ok(listed) => listed,
        Err(error) => {
            // The built-in models are there in any case.
            pgrx::warning!("{}", in_server_encoding(error.message().to_owned()));
            vs_onnx::list(None).map_err(model_error)?
        }
    };
    let mut rows = Vec::with_capacity(listed.len());
    for (name, origin) in listed {
        // Reading a large model's files takes a while.
        pgrx::check_for_interrupts!();
        rows.push(session::with(|session| {
            let mut row = ModelRow {
                sides: None,
                dims: None,
                tag: None,
                source: if origin == Origin::Builtin { BUILT_IN } else { FOLDER },
                loaded: false,
                is_default: name == default,
                memory_bytes: None,
                problem: None,
                name,
            };
            match session.bundle(&row.name) {
                Ok(bundle) => {
                    let spec = bundle.spec();
                    let sides = [("image", spec.image.is_some()), ("text", spec.text.is_some())];
                    row.sides = Some(sides.iter().filter(|side| side.1).map(|side| side.0.to_owned()).collect());
                    row.dims = spec.dims.map(|dims| dims as i32);
                    row.tag = Some(tag_text(bundle.tag()));
                }
                Err(error) => row.problem = Some(in_server_encoding(error.message().to_owned())),
            }
            if let Some(model) = session.loaded(&row.name) {
                row.loaded = true;
                row.dims = Some(model.dims() as i32);
                row.memory_bytes = Some(model.memory().resident as i64);
            }
            row
        }));
    }
    Ok(rows)
}

#[pg_extern(sql = false)]
#[expect(clippy::type_complexity, reason = "the columns of the view")]
fn list_models() -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(sides, Option<Vec<String>>),
        name!(dims, Option<i32>),
        name!(tag, Option<String>),
        name!(source, &'static str),
        name!(loaded, bool),
        name!(is_default, bool),
        name!(memory_bytes, Option<i64>),
        name!(problem, Option<String>),
    ),
> {
    TableIterator::new(model_rows().or_raise().into_iter().map(|row| {
        (row.name, row.sides, row.dims, row.tag, row.source, row.loaded, row.is_default, row.memory_bytes, row.problem)
    }))
}

#[pg_extern(sql = false)]
fn describe_model(name: ServerText<'_>) -> JsonB {
    let describe = || {
        let name = name.to_utf8()?;
        session::with(|session| session.model(name, None))?.describe().map_err(model_error)
    };
    let mut description = describe().or_raise();
    // Where folders lie on the server is a superuser's business.
    if description["source"] != BUILT_IN {
        description["source"] = serde_json::json!(FOLDER);
    }
    json(description)
}

/// JSON as a result: in the encoding of the database.
fn json(mut value: Value) -> JsonB {
    fn convert(value: &mut Value) {
        match value {
            Value::String(text) => *text = in_server_encoding(std::mem::take(text)),
            Value::Array(items) => items.iter_mut().for_each(convert),
            Value::Object(fields) => {
                for (name, mut field) in std::mem::take(fields) {
                    convert(&mut field);
                    fields.insert(in_server_encoding(name), field);
                }
            }
            _ => {}
        }
    }
    convert(&mut value);
    JsonB(value)
}

#[pg_extern(sql = false)]
fn check_model(name: ServerText<'_>) -> JsonB {
    let check = || {
        let name = name.to_utf8()?;
        let model = session::with(|session| session.model(name, None))?;
        let trial = model.trial().map_err(model_error)?;
        let memory = model.memory();
        let tag = tag_text(model.bundle().tag());
        Ok(serde_json::json!({ "name": name, "tag": tag, "trial": trial, "memory": memory }))
    };
    let result: SqlResult<Value> = check();
    json(result.or_raise())
}

#[pg_extern(sql = false)]
fn inference_stats(fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    let (stats, (entries, bytes), (models, model_bytes)) =
        session::with(|session| (session.stats, session.cached(), session.loaded_models()));
    // SAFETY: the columns are those that sql/inference.sql declares.
    unsafe {
        record(
            fcinfo,
            &[
                column(stats.images as i64),
                column(stats.texts as i64),
                column(stats.runs as i64),
                column(stats.hits as i64),
                column(stats.misses as i64),
                column(entries as i64),
                column(bytes as i64),
                column(models as i64),
                column(model_bytes as i64),
                column(stats.decode_ms),
                column(stats.network_ms),
            ],
        )
    }
    .or_raise()
}

#[pg_extern(sql = false)]
fn reset_inference() {
    session::with(|session| session.reset());
}
