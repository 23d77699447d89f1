//! A reader of the pickles in PyTorch files that executes nothing.
//!
//! Pickle is a stack machine that can call anything. This one knows the few opcodes that state dicts are made of and
//! treats a call as data: the only functions it knows are those that rebuild a tensor or an ordered dictionary. Depth,
//! number of values and sizes are bounded.

use std::collections::HashMap;

/// A value on the machine's stack.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// None.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
    /// A tuple or list.
    Sequence(Vec<Value>),
    /// A dictionary, in order.
    Dictionary(Vec<(Value, Value)>),
    /// A class or function by its full name; only those in [`KNOWN`].
    Global(String),
    /// Something stored elsewhere in the file.
    Persistent(Box<Value>),
    /// The tensor that a call of `torch._utils._rebuild_tensor_v2` describes.
    Tensor(Vec<Value>),
}

/// Functions and classes that may be named.
const KNOWN: &[&str] = &[
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ByteStorage",
];
/// Most values that one pickle may make.
const MOST_VALUES: usize = 1 << 22;
/// Deepest nesting of values.
const MOST_DEPTH: usize = 32;

/// A pickle's bytes, read from the front.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("the pickle ends too early")?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let end = rest.iter().take(256).position(|&b| b == b'\n').ok_or("a name without an end")?;
        let line = self.take(end)?.to_vec();
        self.take(1)?;
        String::from_utf8(line).map_err(|_| "a name that is not UTF-8".into())
    }

    /// Runs one pickle to its end.
    pub(super) fn pickle(&mut self) -> Result<Value, String> {
        let mut machine = Machine::default();
        loop {
            if let Some(result) = self.step(&mut machine)? {
                return Ok(result);
            }
            if machine.made > MOST_VALUES {
                return Err(format!("more than {MOST_VALUES} values"));
            }
        }
    }

    fn step(&mut self, m: &mut Machine) -> Result<Option<Value>, String> {
        let [opcode] = self.array::<1>()?;
        match opcode {
            // PROTO
            0x80 => {
                let [version] = self.array::<1>()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("pickle protocol {version}; 2 to 5 are known"));
                }
            }
            // FRAME
            0x95 => drop(self.array::<8>()?),
            b'.' => return m.pop().map(Some),
            b'(' => m.marks.push(m.stack.len()),
            b'N' => m.push(Value::None),
            0x88 => m.push(Value::Bool(true)),
            0x89 => m.push(Value::Bool(false)),
            b'K' => {
                let [byte] = self.array::<1>()?;
                m.push(Value::Int(byte.into()));
            }
            b'M' => {
                let bytes = self.array::<2>()?;
                m.push(Value::Int(u16::from_le_bytes(bytes).into()));
            }
            b'J' => {
                let bytes = self.array::<4>()?;
                m.push(Value::Int(i32::from_le_bytes(bytes).into()));
            }
            // LONG1: a long integer; those beyond 64 bits are the file's magic number only.
            0x8a => {
                let [count] = self.array::<1>()?;
                let bytes = self.take(count.into())?;
                m.push(Value::Int(little_endian(bytes)));
            }
            b'X' => {
                let count = u32::from_le_bytes(self.array::<4>()?) as usize;
                let text = self.text(count)?;
                m.push(text);
            }
            0x8c => {
                let [count] = self.array::<1>()?;
                let text = self.text(count.into())?;
                m.push(text);
            }
            b')' | b']' => m.push(Value::Sequence(Vec::new())),
            b'}' => m.push(Value::Dictionary(Vec::new())),
            b't' | b'l' => {
                let items = m.take_to_mark()?;
                m.push(Value::Sequence(items));
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let at = m.stack.len().checked_sub(count).ok_or("the stack is empty")?;
                let items = m.stack.split_off(at);
                m.push(Value::Sequence(items));
            }
            b'a' => {
                let item = m.pop()?;
                m.extend_sequence(vec![item])?;
            }
            b'e' => {
                let items = m.take_to_mark()?;
                m.extend_sequence(items)?;
            }
            b's' => {
                let (value, key) = (m.pop()?, m.pop()?);
                m.extend_dictionary(vec![key, value])?;
            }
            b'u' => {
                let items = m.take_to_mark()?;
                m.extend_dictionary(items)?;
            }
            b'q' => {
                let [slot] = self.array::<1>()?;
                m.remember(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array::<4>()?);
                m.remember(slot)?;
            }
            // MEMOIZE
            0x94 => {
                let slot = u32::try_from(m.memory.len()).map_err(|_| "too many memories")?;
                m.remember(slot)?;
            }
            b'h' => {
                let [slot] = self.array::<1>()?;
                m.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array::<4>()?);
                m.recall(slot)?;
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                m.global(name)?;
            }
            // STACK_GLOBAL
            0x93 => match (m.pop()?, m.pop()?) {
                (Value::Text(name), Value::Text(module)) => m.global(format!("{module}.{name}"))?,
                _ => return Err("a global without a name".into()),
            },
            b'R' => m.call()?,
            // BUILD: state of an object; ordered dictionaries carry metadata there, which is dropped.
            b'b' => drop(m.pop()?),
            b'Q' => {
                let id = m.pop()?;
                m.push(Value::Persistent(Box::new(id)));
            }
            other => return Err(format!("opcode 0x{other:02x} is not one of a state dict's")),
        }
        Ok(None)
    }

    fn text(&mut self, count: usize) -> Result<Value, String> {
        let bytes = self.take(count)?.to_vec();
        String::from_utf8(bytes).map(Value::Text).map_err(|_| "a string that is not UTF-8".into())
    }
}

/// The low 64 bits of a signed integer.
fn little_endian(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut word = [if negative { 0xff } else { 0 }; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    i64::from_le_bytes(word)
}

#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    marks: Vec<usize>,
    memory: HashMap<u32, Value>,
    /// Values made, copies of remembered ones counted in full.
    made: usize,
}

impl Machine {
    fn push(&mut self, value: Value) {
        self.made += 1;
        self.stack.push(value);
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn take_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|&m| m <= self.stack.len()).ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, slot: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or("the stack is empty")?.clone();
        let size = size(&value, MOST_DEPTH).ok_or("values are nested too deeply")?;
        self.made += size;
        self.memory.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), String> {
        let value = self.memory.get(&slot).ok_or("nothing is remembered there")?.clone();
        self.made += size(&value, MOST_DEPTH).ok_or("values are nested too deeply")?;
        self.push(value);
        Ok(())
    }

    fn extend_sequence(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last_mut() {
            Some(Value::Sequence(sequence)) => sequence.extend(items),
            _ => return Err("items for something that is no list".into()),
        }
        Ok(())
    }

    fn extend_dictionary(&mut self, items: Vec<Value>) -> Result<(), String> {
        let Some(Value::Dictionary(dictionary)) = self.stack.last_mut() else {
            return Err("items for something that is no dictionary".into());
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            dictionary.push((key, value));
        }
        Ok(())
    }

    fn global(&mut self, name: String) -> Result<(), String> {
        if !KNOWN.contains(&name.as_str()) {
            return Err(format!("it names '{}', which is not part of a state dict", name.escape_debug()));
        }
        self.push(Value::Global(name));
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Sequence(arguments), Value::Global(function)) = (arguments, function) else {
            return Err("a call of something that is no function".into());
        };
        let result = match (function.as_str(), arguments.len()) {
            ("collections.OrderedDict", _) => Value::Dictionary(Vec::new()),
            ("torch._utils._rebuild_tensor_v2", 4..) => Value::Tensor(arguments),
            // A parameter is its tensor.
            ("torch._utils._rebuild_parameter", 1..) => {
                arguments.into_iter().next().ok_or("a parameter without a tensor")?
            }
            _ => return Err(format!("a call of {function}")),
        };
        self.push(result);
        Ok(())
    }
}

/// Number of values within a value, or `None` when they are nested deeper than allowed.
fn size(value: &Value, depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let all = |items: &[Value]| items.iter().try_fold(1usize, |sum, item| Some(sum + size(item, depth)?));
    match value {
        Value::Sequence(items) => all(items),
        Value::Tensor(items) => all(items),
        Value::Dictionary(items) => {
            items.iter().try_fold(1usize, |sum, (k, v)| Some(sum + size(k, depth)? + size(v, depth)?))
        }
        Value::Persistent(inner) => Some(1 + size(inner, depth)?),
        _ => Some(1),
    }
}
