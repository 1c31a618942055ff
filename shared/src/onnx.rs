//! The part of ONNX's protobuf messages that Famam writes, with the field numbers of `onnx.proto`
//! (ONNX 1.20, IR version 8).
//!
//! What is absent here (functions, external data, sparse tensors) cannot be written, and
//! [`crate::bundle`] opens nothing that these messages do not say.

/// The IR version of the models, which came with operator set 17.
pub const IR_VERSION: i64 = 8;
/// The version of the standard operators.
pub const OPSET: i64 = 17;

/// A model: a graph, the operator set it is written in, metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Model {
    /// [`IR_VERSION`].
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// The program that wrote the model.
    #[prost(string, tag = "2")]
    pub producer: String,
    /// What is computed.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// Versions of the operators.
    #[prost(message, repeated, tag = "8")]
    pub opsets: Vec<OperatorSet>,
    /// Keys and values for people and programs.
    #[prost(message, repeated, tag = "14")]
    pub metadata: Vec<Metadata>,
}

/// A version of a domain's operators.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSet {
    /// Empty for the standard operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// [`OPSET`].
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key and its value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// Key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Operators in an order in which they can run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    /// Operators.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    /// The graph's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Weights and constants.
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<Tensor>,
    /// Inputs.
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<ValueInfo>,
    /// Outputs.
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
}

/// One operator.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Names of the values it reads.
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    /// Names of the values it makes.
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op: String,
    /// Attributes.
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
}

/// An attribute of an operator.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value where `kind` is [`Attribute::FLOAT`].
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// The value where `kind` is [`Attribute::INT`].
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// The value where `kind` is [`Attribute::GRAPH`]: what an operator repeats.
    #[prost(message, optional, tag = "6")]
    pub g: Option<Graph>,
    /// The values where `kind` is [`Attribute::INTS`].
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Which of the fields is set.
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

impl Attribute {
    /// A 32-bit float.
    pub const FLOAT: i32 = 1;
    /// An integer.
    pub const INT: i32 = 2;
    /// A graph.
    pub const GRAPH: i32 = 5;
    /// Integers.
    pub const INTS: i32 = 7;

    /// A float.
    pub fn float(name: &str, value: f32) -> Self {
        Self {
            name: name.to_owned(),
            f: Some(value),
            kind: Self::FLOAT,
            ..Self::default()
        }
    }

    /// An integer.
    pub fn int(name: &str, value: i64) -> Self {
        Self {
            name: name.to_owned(),
            i: Some(value),
            kind: Self::INT,
            ..Self::default()
        }
    }

    /// A graph.
    pub fn graph(name: &str, value: Graph) -> Self {
        Self {
            name: name.to_owned(),
            g: Some(value),
            kind: Self::GRAPH,
            ..Self::default()
        }
    }

    /// Integers.
    pub fn ints(name: &str, values: &[i64]) -> Self {
        let (name, ints) = (name.to_owned(), values.to_vec());
        Self {
            name,
            ints,
            kind: Self::INTS,
            ..Self::default()
        }
    }
}

/// The type of a tensor's elements, by its number in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Element {
    /// 32-bit float.
    F32 = 1,
    /// Unsigned byte.
    U8 = 2,
    /// Signed byte.
    I8 = 3,
    /// 32-bit integer.
    I32 = 6,
    /// 64-bit integer.
    I64 = 7,
    /// True or false.
    Bool = 9,
}

/// A tensor of the file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    /// Shape.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// [`Element`].
    #[prost(int32, tag = "2")]
    pub element: i32,
    /// Name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements, little-endian, the last dimension fastest.
    #[prost(bytes = "vec", tag = "9")]
    pub raw: Vec<u8>,
}

/// Name, type and shape of an input or output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfo {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type and shape.
    #[prost(message, optional, tag = "2")]
    pub of: Option<Type>,
}

/// A type: always a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Type {
    /// The tensor.
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

/// Element type and shape of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// [`Element`].
    #[prost(int32, tag = "1")]
    pub element: i32,
    /// Shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// A shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Shape {
    /// Sizes.
    #[prost(message, repeated, tag = "1")]
    pub sizes: Vec<Size>,
}

/// One size of a shape: a number, or the name of one that is known when the graph runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Size {
    /// A number.
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    /// A name.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}
