//! The shape that a graph declares for an input or output: `ValueInfoProto` → `TypeProto` → `TensorShapeProto`.

use super::{
    fields::{type_info, value_info},
    wire::{Fields, Value},
};

/// Axes a declared tensor may have.
const MAX_RANK: usize = 16;

/// The axes of the tensor that a `ValueInfoProto` declares, nothing for those whose size is left open; nothing at all
/// if it declares no tensor, or none with a shape.
pub(super) fn declared(value_info: &[u8]) -> Option<Vec<Option<usize>>> {
    let shape = [value_info::TYPE, type_info::TENSOR, type_info::SHAPE]
        .iter()
        .try_fold(value_info, |message, &number| first(message, number))?;
    let mut axes = Vec::new();
    for field in Fields::of(shape) {
        let field = field.ok()?;
        if field.number == type_info::AXIS {
            if axes.len() == MAX_RANK {
                return None;
            }
            let size = Fields::of(field.value.bytes()).flatten().find_map(|field| match field.value {
                // Exporters also write an open axis as 0 or -1.
                Value::Varint(size) if field.number == type_info::SIZE => {
                    i64::try_from(size).ok().filter(|&size| size > 0).and_then(|size| usize::try_from(size).ok())
                }
                _ => None,
            });
            axes.push(size);
        }
    }
    Some(axes)
}

/// The first nested message with this field number.
fn first(message: &[u8], number: u64) -> Option<&[u8]> {
    Fields::of(message).flatten().find(|field| field.number == number).map(|field| field.value.bytes())
}
