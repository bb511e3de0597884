//! The type `image_embedding` as a client sees it in the binary protocol.

use std::error::Error;

use bytes::BytesMut;
use half::f16;
use postgres::types::{FromSql, IsNull, ToSql, Type};

/// A value of type `image_embedding`: the tag of its model, 0 if there is none, and its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Tag of the model.
    pub tag: u32,
    /// The elements.
    pub elements: Vec<f16>,
}

impl Embedding {
    /// An untagged embedding, each element rounded to half precision.
    pub fn of(elements: impl IntoIterator<Item = f64>) -> Embedding {
        Embedding { tag: 0, elements: elements.into_iter().map(f16::from_f64).collect() }
    }

    /// The same elements as another model's.
    #[must_use]
    pub fn tagged(mut self, tag: u32) -> Embedding {
        self.tag = tag;
        self
    }

    /// The elements in double precision.
    pub fn to_f64(&self) -> Vec<f64> {
        self.elements.iter().map(|element| element.to_f64()).collect()
    }

    /// The bit patterns of the elements, which unlike the elements tell −0 from 0.
    pub fn bits(&self) -> Vec<u16> {
        self.elements.iter().map(|element| element.to_bits()).collect()
    }

    /// The Euclidean norm.
    pub fn norm(&self) -> f64 {
        self.to_f64().iter().map(|element| element * element).sum::<f64>().sqrt()
    }

    /// The Euclidean distance.
    pub fn distance(&self, other: &Embedding) -> f64 {
        let (a, b) = (self.to_f64(), other.to_f64());
        a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    /// The text form with every element written in full, which must read back as the same value.
    pub fn to_text(&self) -> String {
        let elements: Vec<String> = self.to_f64().iter().map(|element| format!("{element:e}")).collect();
        let tag = if self.tag == 0 { String::new() } else { format!("@{:08x}", self.tag) };
        format!("[{}]{tag}", elements.join(","))
    }

    /// The binary form: `int2` dimensions, `int2` flags, `int4` tag, elements, all in network byte order.
    pub fn to_binary(&self) -> Vec<u8> {
        let dims = u16::try_from(self.elements.len()).expect("dimensions fit 16 bits");
        let mut bytes = [&dims.to_be_bytes()[..], &[0, 0], &self.tag.to_be_bytes()].concat();
        self.elements.iter().for_each(|element| bytes.extend(element.to_bits().to_be_bytes()));
        bytes
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// If the bytes are not one complete value.
    pub fn from_binary(bytes: &[u8]) -> Result<Embedding, String> {
        let wrong = || format!("no image_embedding: {} bytes, {:02x?}…", bytes.len(), &bytes[..bytes.len().min(12)]);
        let (&[d0, d1, f0, f1, t0, t1, t2, t3], elements) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let dims = usize::from(u16::from_be_bytes([d0, d1]));
        if [f0, f1] != [0, 0] || elements.len() != 2 * dims || dims == 0 {
            return Err(wrong());
        }
        let elements = elements.chunks_exact(2).map(|two| f16::from_bits(u16::from_be_bytes([two[0], two[1]])));
        Ok(Embedding { tag: u32::from_be_bytes([t0, t1, t2, t3]), elements: elements.collect() })
    }
}

fn is_embedding(ty: &Type) -> bool {
    ty.name() == "image_embedding"
}

impl<'a> FromSql<'a> for Embedding {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Embedding::from_binary(raw)?)
    }

    fn accepts(ty: &Type) -> bool {
        is_embedding(ty)
    }
}

impl ToSql for Embedding {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.to_binary());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        is_embedding(ty)
    }

    postgres::types::to_sql_checked!();
}
