//! Query results as text.

use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use postgres::Row;
use postgres::types::Type;

/// Formats rows as a table with the columns' names. Numbers with a fraction get three decimals.
///
/// # Errors
/// A column has a type that the demo's queries do not return.
pub fn format(rows: &[Row]) -> Result<String> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let Some(first) = rows.first() else { return Ok("(no rows)".into()) };
    table.set_header(first.columns().iter().map(postgres::Column::name));
    for row in rows {
        table.add_row((0..row.len()).map(|index| cell(row, index)).collect::<Result<Vec<_>>>()?);
    }
    for (index, column) in first.columns().iter().enumerate() {
        if is_number(column.type_())
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Ok(table.to_string())
}

fn is_number(kind: &Type) -> bool {
    [Type::INT4, Type::INT8, Type::FLOAT8].contains(kind)
}

fn cell(row: &Row, index: usize) -> Result<String> {
    let text = match *row.columns()[index].type_() {
        Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(|number| number.to_string()),
        Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(|number| number.to_string()),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.map(|number| format!("{number:.3}")),
        Type::BOOL => row.try_get::<_, Option<bool>>(index)?.map(|truth| truth.to_string()),
        Type::TEXT => row.try_get::<_, Option<String>>(index)?,
        ref other => bail!("cannot print a column of type {other}"),
    };
    Ok(text.unwrap_or_default())
}
