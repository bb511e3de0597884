//! The numbers that `onnx.proto` gives to the fields that are read here, by message.

pub(crate) mod model {
    pub(crate) const GRAPH: u64 = 7;
}
pub(crate) mod graph {
    pub(crate) const NODE: u64 = 1;
    pub(crate) const INITIALIZER: u64 = 5;
    pub(crate) const INPUT: u64 = 11;
    pub(crate) const OUTPUT: u64 = 12;
    pub(crate) const VALUE_INFO: u64 = 13;
    pub(crate) const QUANTIZATION: u64 = 14;
    pub(crate) const SPARSE_INITIALIZER: u64 = 15;
}
pub(crate) mod node {
    pub(crate) const INPUT: u64 = 1;
    pub(crate) const OUTPUT: u64 = 2;
    pub(crate) const OPERATOR: u64 = 4;
    pub(crate) const ATTRIBUTE: u64 = 5;
}
pub(crate) mod attribute {
    pub(crate) const TENSOR: u64 = 5;
    pub(crate) const GRAPH: u64 = 6;
    pub(crate) const TENSORS: u64 = 10;
    pub(crate) const GRAPHS: u64 = 11;
    pub(crate) const SPARSE: u64 = 22;
    pub(crate) const SPARSES: u64 = 23;
}
pub(crate) mod tensor {
    pub(crate) const NAME: u64 = 8;
    pub(crate) const EXTERNAL: u64 = 13;
}
pub(crate) mod value_info {
    pub(crate) const TYPE: u64 = 2;
}
pub(crate) mod type_info {
    pub(crate) const TENSOR: u64 = 1;
    pub(crate) const SHAPE: u64 = 2;
    pub(crate) const AXIS: u64 = 1;
    pub(crate) const SIZE: u64 = 1;
}
pub(crate) mod sparse {
    pub(crate) const VALUES: u64 = 1;
    pub(crate) const INDICES: u64 = 2;
}
/// `ValueInfoProto`, `TensorAnnotation` and `StringStringEntryProto` all begin with a name; the last goes on with a value.
pub(crate) const NAME: u64 = 1;
pub(crate) const ENTRY_VALUE: u64 = 2;
