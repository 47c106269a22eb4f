//! Reader for NumPy's `.npy` arrays (format 1.0 to 3.0, as documented in `numpy.lib.format`).
//!
//! Little-endian integers and floats in C or Fortran order. Memory is bounded by the bytes given: the
//! announced shape must match them exactly before anything is allocated.

use super::DataError;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header accepted, in bytes; real ones take about a hundred.
const HEADER_LIMIT: usize = 64 * 1024;
const EXPECTED: &str = "a NumPy array (.npy)";

/// The elements of an array, in C order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `|u1`
    U8(Vec<u8>),
    /// `<i2`
    I16(Vec<i16>),
    /// `<i4`
    I32(Vec<i32>),
    /// `<i8`
    I64(Vec<i64>),
    /// `<f4`
    F32(Vec<f32>),
    /// `<f8`
    F64(Vec<f64>),
}

impl Values {
    fn type_name(&self) -> &'static str {
        match self {
            Values::U8(_) => "u1",
            Values::I16(_) => "i2",
            Values::I32(_) => "i4",
            Values::I64(_) => "i8",
            Values::F32(_) => "f4",
            Values::F64(_) => "f8",
        }
    }
}

/// An array with its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct NpyArray {
    /// What it is called in errors: a path or the name inside an archive.
    pub name: String,
    /// Length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// Elements in C order (last axis fastest), `product(shape)` of them.
    pub values: Values,
}

impl NpyArray {
    /// Parses the bytes of a whole `.npy` file.
    ///
    /// # Errors
    /// [`DataError::Foreign`] for a wrong magic, version or header, [`DataError::WrongType`] for an
    /// element type not in [`Values`], [`DataError::WrongLength`] when shape and data disagree.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<NpyArray, DataError> {
        let (header, data) = split_header(name, bytes)?;
        let header = Header::parse(name, header)?;
        let width = element_width(name, header.descr)?;
        let elements = header
            .shape
            .iter()
            .try_fold(1usize, |total, &axis| total.checked_mul(axis));
        let expected = elements.and_then(|count| count.checked_mul(width));
        if expected != Some(data.len()) {
            return Err(DataError::WrongLength {
                what: name.into(),
                expected: expected.map_or(u64::MAX, |bytes| bytes as u64),
                found: data.len() as u64,
            });
        }
        let order = if header.fortran {
            transposition(&header.shape)
        } else {
            None
        };
        let values = decode(name, header.descr, data, order.as_deref())?;
        Ok(NpyArray {
            name: name.into(),
            shape: header.shape,
            values,
        })
    }

    /// The elements as `i16`.
    ///
    /// # Errors
    /// [`DataError::WrongType`] unless the array holds `<i2`.
    pub fn as_i16(&self) -> Result<&[i16], DataError> {
        match &self.values {
            Values::I16(values) => Ok(values),
            other => Err(self.wrong_type("i2", other)),
        }
    }

    /// The elements as `f64`; every `f4`, `f8`, and integer up to 32 bits converts exactly.
    ///
    /// # Errors
    /// [`DataError::WrongType`] for 64-bit integers.
    pub fn to_f64(&self) -> Result<Vec<f64>, DataError> {
        Ok(match &self.values {
            Values::U8(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::F32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::F64(values) => values.clone(),
            other @ Values::I64(_) => return Err(self.wrong_type("f4 or f8", other)),
        })
    }

    /// The elements as `i64`.
    ///
    /// # Errors
    /// [`DataError::WrongType`] for floats.
    pub fn to_i64(&self) -> Result<Vec<i64>, DataError> {
        Ok(match &self.values {
            Values::U8(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I64(values) => values.clone(),
            other => return Err(self.wrong_type("an integer", other)),
        })
    }

    fn wrong_type(&self, expected: &'static str, found: &Values) -> DataError {
        let found = found.type_name().to_owned();
        DataError::WrongType {
            what: self.name.clone(),
            expected,
            found,
        }
    }
}

fn foreign(name: &str, reason: impl Into<String>) -> DataError {
    DataError::Foreign {
        what: name.into(),
        expected: EXPECTED,
        reason: reason.into(),
    }
}

/// Splits the file into the header text and the data.
fn split_header<'a>(name: &str, bytes: &'a [u8]) -> Result<(&'a str, &'a [u8]), DataError> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| foreign(name, "the magic bytes differ"))?;
    let (length, rest) = match rest {
        [1, _, low, high, rest @ ..] => (usize::from(u16::from_le_bytes([*low, *high])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [version, _, ..] if !(1..=3).contains(version) => {
            return Err(foreign(
                name,
                format!("format version {version} is unknown"),
            ));
        }
        _ => return Err(foreign(name, "it ends inside the preamble")),
    };
    if length > HEADER_LIMIT {
        return Err(foreign(name, format!("its header claims {length} bytes")));
    }
    let (header, data) = rest
        .split_at_checked(length)
        .ok_or_else(|| foreign(name, "it ends inside the header"))?;
    let header =
        std::str::from_utf8(header).map_err(|_| foreign(name, "the header is not text"))?;
    Ok((header, data))
}

/// The three fields of a header: `{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4), }`.
struct Header<'a> {
    descr: &'a str,
    fortran: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    fn parse(name: &str, text: &'a str) -> Result<Header<'a>, DataError> {
        let field = |key: &str| {
            let start = text
                .find(key)
                .ok_or_else(|| foreign(name, format!("no field {key}")))?;
            let rest = text[start + key.len()..].trim_start();
            let rest = rest.strip_prefix(':').map(str::trim_start);
            rest.ok_or_else(|| foreign(name, format!("field {key} has no value")))
        };
        let descr = field("'descr'")?;
        let quoted = descr
            .strip_prefix('\'')
            .and_then(|rest| rest.split_once('\''));
        let (descr, _) =
            quoted.ok_or_else(|| foreign(name, "records and nested types are not supported"))?;
        let order = field("'fortran_order'")?;
        let fortran = match (order.starts_with("True"), order.starts_with("False")) {
            (true, _) => true,
            (_, true) => false,
            _ => return Err(foreign(name, "fortran_order is neither True nor False")),
        };
        let shape = field("'shape'")?;
        let inside = shape
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'));
        let (inside, _) = inside.ok_or_else(|| foreign(name, "the shape is not a tuple"))?;
        let axes = inside
            .split(',')
            .map(str::trim)
            .filter(|axis| !axis.is_empty());
        let shape = axes
            .map(|axis| {
                axis.parse()
                    .map_err(|_| foreign(name, "an axis is not a whole number"))
            })
            .collect::<Result<Vec<usize>, DataError>>()?;
        Ok(Header {
            descr,
            fortran,
            shape,
        })
    }
}

fn element_width(name: &str, descr: &str) -> Result<usize, DataError> {
    match descr {
        "|u1" => Ok(1),
        "<i2" => Ok(2),
        "<i4" | "<f4" => Ok(4),
        "<i8" | "<f8" => Ok(8),
        other => Err(unknown_type(name, other)),
    }
}

fn unknown_type(name: &str, found: &str) -> DataError {
    let expected = "one of |u1 <i2 <i4 <i8 <f4 <f8";
    DataError::WrongType {
        what: name.into(),
        expected,
        found: found.into(),
    }
}

/// For each position in C order, the position in Fortran order; `None` when both agree.
fn transposition(shape: &[usize]) -> Option<Vec<usize>> {
    if shape.iter().filter(|&&axis| axis > 1).count() < 2 {
        return None;
    }
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &axis in shape {
        strides.push(stride);
        stride *= axis;
    }
    let elements = stride;
    let mut index = vec![0; shape.len()];
    let mut order = Vec::with_capacity(elements);
    for _ in 0..elements {
        order.push(
            index
                .iter()
                .zip(&strides)
                .map(|(at, stride)| at * stride)
                .sum(),
        );
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Some(order)
}

fn decode(
    name: &str,
    descr: &str,
    data: &[u8],
    order: Option<&[usize]>,
) -> Result<Values, DataError> {
    Ok(match descr {
        "|u1" => Values::U8(elements(data, order, |[byte]| byte)),
        "<i2" => Values::I16(elements(data, order, i16::from_le_bytes)),
        "<i4" => Values::I32(elements(data, order, i32::from_le_bytes)),
        "<i8" => Values::I64(elements(data, order, i64::from_le_bytes)),
        "<f4" => Values::F32(elements(data, order, f32::from_le_bytes)),
        "<f8" => Values::F64(elements(data, order, f64::from_le_bytes)),
        other => return Err(unknown_type(name, other)),
    })
}

fn elements<const WIDTH: usize, T>(
    data: &[u8],
    order: Option<&[usize]>,
    convert: impl Fn([u8; WIDTH]) -> T,
) -> Vec<T> {
    let (chunks, _) = data.as_chunks::<WIDTH>();
    match order {
        None => chunks.iter().map(|&chunk| convert(chunk)).collect(),
        Some(order) => order.iter().map(|&at| convert(chunks[at])).collect(),
    }
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
