//! Writes a graph operator by operator.

use std::collections::HashMap;

use super::weights::Stored;
use super::{Skeleton, Weight};
use crate::onnx::{
    Attribute, Element, Graph, Node, Shape, Size, Tensor, TensorType, Type, ValueInfo,
};

/// The name of a value in the graph.
pub(super) type Value = String;

/// A size of an input or output.
#[derive(Clone, Copy)]
pub(super) enum Dim {
    /// A number.
    Fixed(usize),
    /// A name: the size is known when the graph runs.
    Free(&'static str),
}

/// A graph that grows.
pub(super) struct Builder {
    graph: Graph,
    weights: Vec<Weight>,
    constants: HashMap<(i32, Vec<i64>, Vec<u8>), Value>,
    /// Operators, those inside of others too.
    operators: usize,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        let graph = Graph {
            name: name.to_owned(),
            ..Graph::default()
        };
        Self {
            graph,
            weights: Vec::new(),
            constants: HashMap::new(),
            operators: 0,
        }
    }

    pub(super) fn finish(self) -> Skeleton {
        Skeleton {
            graph: self.graph,
            weights: self.weights,
        }
    }

    /// A new input.
    pub(super) fn input(&mut self, name: &str, element: Element, shape: &[Dim]) -> Value {
        self.graph.inputs.push(value_info(name, element, shape));
        name.to_owned()
    }

    /// Makes the value that was named `name` by [`Self::named`] an output.
    pub(super) fn output(&mut self, name: &str, element: Element, shape: &[Dim]) {
        self.graph.outputs.push(value_info(name, element, shape));
    }

    /// A weight of the model, stored as `stored` says; its values come with the file.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], stored: Stored) -> Value {
        let element = stored.form.element();
        self.weights.push(Weight {
            initializer: self.graph.initializers.len(),
            stored,
        });
        self.initializer(name.to_owned(), element, &dims(shape), Vec::new())
    }

    /// A constant of floats; the same one is stored once.
    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        self.constant(
            Element::F32,
            dims(shape),
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// A single float, of rank 0.
    pub(super) fn float(&mut self, value: f32) -> Value {
        self.floats(&[], &[value])
    }

    /// A constant of integers.
    pub(super) fn ints(&mut self, shape: &[usize], values: &[i64]) -> Value {
        self.constant(
            Element::I64,
            dims(shape),
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// A list of integers, of rank 1: a shape or axes.
    pub(super) fn list(&mut self, values: &[i64]) -> Value {
        self.ints(&[values.len()], values)
    }

    /// A single byte, of rank 0.
    pub(super) fn byte(&mut self, value: u8) -> Value {
        self.constant(Element::U8, Vec::new(), vec![value])
    }

    fn constant(&mut self, element: Element, dims: Vec<i64>, raw: Vec<u8>) -> Value {
        let key = (element as i32, dims, raw);
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = format!("constant_{}", self.constants.len());
        self.initializer(name.clone(), element, &key.1, key.2.clone());
        self.constants.insert(key, name.clone());
        name
    }

    fn initializer(&mut self, name: String, element: Element, dims: &[i64], raw: Vec<u8>) -> Value {
        let tensor = Tensor {
            dims: dims.to_vec(),
            element: element as i32,
            name: name.clone(),
            raw,
        };
        self.graph.initializers.push(tensor);
        name
    }

    /// An operator with one output.
    pub(super) fn op(&mut self, op: &str, inputs: &[&Value]) -> Value {
        self.op_with(op, inputs, Vec::new())
    }

    /// An operator with attributes and one output.
    pub(super) fn op_with(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
    ) -> Value {
        let name = self.fresh(op);
        self.named(op, inputs, attributes, &[&name]);
        name
    }

    /// A name for what the next operator, an `op`, gives.
    pub(super) fn fresh(&self, op: &str) -> Value {
        format!("{op}_{}", self.operators)
    }

    /// The operators that `write` adds, taken out for a graph inside of the next one.
    pub(super) fn inside<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> (T, Vec<Node>) {
        let outside = std::mem::take(&mut self.graph.nodes);
        let written = write(self);
        (written, std::mem::replace(&mut self.graph.nodes, outside))
    }

    /// An operator whose outputs have the names given.
    pub(super) fn named(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
        outputs: &[&str],
    ) {
        self.operators += 1;
        self.graph.nodes.push(Node {
            inputs: inputs.iter().map(|name| name.to_string()).collect(),
            outputs: outputs.iter().map(|name| name.to_string()).collect(),
            op: op.to_owned(),
            attributes,
        });
    }

    /// `Reshape`: 0 keeps a size, -1 is what remains.
    pub(super) fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.list(shape);
        self.op("Reshape", &[x, &shape])
    }

    /// `Unsqueeze`.
    pub(super) fn unsqueeze(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.list(axes);
        self.op("Unsqueeze", &[x, &axes])
    }

    /// `Transpose`.
    pub(super) fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.op_with("Transpose", &[x], vec![Attribute::ints("perm", order)])
    }

    /// `Gather`.
    pub(super) fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        self.op_with("Gather", &[x, indices], vec![Attribute::int("axis", axis)])
    }

    /// `Concat` along the last axis.
    pub(super) fn concat(&mut self, parts: &[&Value]) -> Value {
        self.op_with("Concat", parts, vec![Attribute::int("axis", -1)])
    }

    /// `Split` along `axis` into parts of the sizes given.
    pub(super) fn split(&mut self, x: &Value, axis: i64, sizes: &[usize]) -> Vec<Value> {
        let lengths = self.list(&dims(sizes));
        let name = self.fresh("Split");
        let names: Vec<Value> = (0..sizes.len()).map(|i| format!("{name}_{i}")).collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        self.named(
            "Split",
            &[x, &lengths],
            vec![Attribute::int("axis", axis)],
            &outputs,
        );
        names
    }

    /// `Cast`.
    pub(super) fn cast(&mut self, x: &Value, to: Element) -> Value {
        self.op_with("Cast", &[x], vec![Attribute::int("to", to as i64)])
    }
}

fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}

fn value_info(name: &str, element: Element, shape: &[Dim]) -> ValueInfo {
    let size = |dim: &Dim| match *dim {
        Dim::Fixed(value) => Size {
            value: Some(value as i64),
            name: None,
        },
        Dim::Free(name) => Size {
            value: None,
            name: Some(name.to_owned()),
        },
    };
    let shape = Some(Shape {
        sizes: shape.iter().map(size).collect(),
    });
    ValueInfo {
        name: name.to_owned(),
        of: Some(tensor_type(element, shape)),
    }
}

/// Tensors of `element`, of any shape where none is given.
pub(super) fn tensor_type(element: Element, shape: Option<Shape>) -> Type {
    let tensor = Some(TensorType {
        element: element as i32,
        shape,
    });
    Type { tensor }
}
