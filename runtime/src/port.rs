//! What a compiled model says of its inputs and outputs, in the Rust file that is written beside its library.

/// Type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE 754 binary32.
    F32,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// A byte of 0 or 1.
    Bool,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
}

impl Element {
    /// Size of an element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Element::I64 | Element::U64 => 8,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::I16 | Element::U16 => 2,
            Element::Bool | Element::U8 | Element::I8 => 1,
        }
    }
}

/// An input or output of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name from the model.
    pub name: &'static str,
    /// Type of its elements.
    pub element: Element,
    /// Dimensions, outermost first.
    pub shape: &'static [usize],
}

impl Port {
    /// Number of elements.
    pub const fn elements(&self) -> usize {
        let (mut count, mut axis) = (1, 0);
        while axis < self.shape.len() {
            count *= self.shape[axis];
            axis += 1;
        }
        count
    }

    /// Size in bytes.
    pub const fn bytes(&self) -> usize {
        self.elements() * self.element.bytes()
    }

    /// The number of the input or output of this name.
    pub fn find(ports: &[Port], name: &str) -> Option<usize> {
        ports.iter().position(|port| port.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names() {
        const PORTS: [Port; 2] = [
            Port { name: "image", element: Element::U8, shape: &[1, 4, 5, 3] },
            Port { name: "scale", element: Element::F32, shape: &[] },
        ];
        const BYTES: usize = PORTS[0].bytes() + PORTS[1].bytes();
        assert_eq!((BYTES, PORTS[0].elements(), PORTS[1].elements()), (64, 60, 1));
        assert_eq!((Port::find(&PORTS, "scale"), Port::find(&PORTS, "Image")), (Some(1), None));
    }
}
