//! From a network's output tensor to one vector per picture or text.

use vs_vision::Layout;

use crate::{
    error::{Error, ErrorKind, Result, reserve},
    manifest::{MAX_DIMS, Pooling},
    session::Tensor,
};

/// How to read an output tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) pooling: Pooling,
    /// Where the channels of a feature map are.
    pub(crate) layout: Layout,
    pub(crate) normalize: bool,
}

impl Pool {
    /// The pooling that suits an output of `rank` axes; `tokens` is that for a sequence of tokens.
    pub(crate) fn by_rank(rank: usize, tokens: Pooling) -> Pooling {
        match rank {
            3 => tokens,
            4 => Pooling::Gap,
            _ => Pooling::None,
        }
    }

    /// Elements of a vector out of a tensor of this shape, whose open axes are nothing.
    pub(crate) fn dims(&self, shape: &[Option<usize>]) -> Option<usize> {
        match (self.pooling, shape.len(), self.layout) {
            (Pooling::None, 2.., _) => shape[1..].iter().try_fold(1usize, |dims, axis| dims.checked_mul((*axis)?)),
            (Pooling::Cls | Pooling::MeanTokens, 3, _) => shape[2],
            (Pooling::Gap | Pooling::Gmp, 4, Layout::Nchw) => shape[1],
            (Pooling::Gap | Pooling::Gmp, 4, Layout::Nhwc) => shape[3],
            _ => None,
        }
    }

    /// Splits `tensor` into the vectors of its first `wanted` items. The tensor must have `batch` items on its first
    /// axis. `tokens` is how many tokens of an item count for [`Pooling::MeanTokens`], beginning with `skip`; all if
    /// not given.
    pub(crate) fn vectors(
        &self,
        tensor: &Tensor,
        batch: usize,
        wanted: usize,
        tokens: Option<(usize, usize)>,
    ) -> Result<Vec<Vec<f32>>> {
        let shape = &tensor.shape;
        let bad = || {
            let how = format!("{:?}", self.pooling).to_lowercase();
            Error::new(
                ErrorKind::BadOutput,
                format!("an output of shape {shape:?} for {batch} inputs cannot be pooled by \"{how}\""),
            )
        };
        if shape.len() < 2 || shape[0] != batch || wanted > batch || tensor.values.is_empty() {
            return Err(bad());
        }
        let axes: Vec<_> = shape.iter().map(|&axis| Some(axis)).collect();
        let dims = self.dims(&axes).ok_or_else(bad)?;
        if dims > MAX_DIMS {
            return Err(Error::limit(format!(
                "an output of shape {shape:?} has {dims} dimensions, the limit is {MAX_DIMS}"
            ))
            .with_hint("Name a smaller tensor as the output, or pool it."));
        }
        tensor
            .values
            .chunks_exact(tensor.values.len() / batch)
            .take(wanted)
            .map(|item| self.vector(item, dims, tokens))
            .collect()
    }

    fn vector(&self, item: &[f32], dims: usize, tokens: Option<(usize, usize)>) -> Result<Vec<f32>> {
        let mut vector = reserve(dims, "an embedding")?;
        match self.pooling {
            Pooling::None => vector.extend_from_slice(item),
            Pooling::Cls => vector.extend_from_slice(&item[..dims]),
            Pooling::MeanTokens => {
                let all = item.len() / dims;
                let (skip, count) = tokens.unwrap_or((0, all));
                let end = skip.saturating_add(count).min(all);
                let rows = &item[skip.min(end) * dims..end * dims];
                vector.extend((0..dims).map(|at| mean(rows[at..].iter().step_by(dims), rows.len() / dims)));
            }
            Pooling::Gap => match self.layout {
                Layout::Nchw => {
                    vector.extend(item.chunks_exact(item.len() / dims).map(|plane| mean(plane.iter(), plane.len())))
                }
                Layout::Nhwc => {
                    vector.extend((0..dims).map(|at| mean(item[at..].iter().step_by(dims), item.len() / dims)))
                }
            },
            Pooling::Gmp => match self.layout {
                Layout::Nchw => vector.extend(item.chunks_exact(item.len() / dims).map(|plane| max(plane.iter()))),
                Layout::Nhwc => vector.extend((0..dims).map(|at| max(item[at..].iter().step_by(dims)))),
            },
        }
        if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
            let value = vector[at];
            return Err(Error::new(ErrorKind::BadOutput, format!("element {} of the embedding is {value}", at + 1)));
        }
        if self.normalize {
            let norm = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            // A zero vector has no direction and stays what it is.
            if norm > 0.0 {
                vector.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
            }
        }
        Ok(vector)
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f32>, count: usize) -> f32 {
    (values.map(|&value| f64::from(value)).sum::<f64>() / count as f64) as f32
}

/// The largest value; NaN where there is one, so that it is found.
fn max<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    values.fold(f32::NEG_INFINITY, |max, &value| if value > max || value.is_nan() { value } else { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize]) -> Tensor {
        let len = shape.iter().product();
        Tensor { shape: shape.to_vec(), values: (0..len).map(|value| value as f32).collect() }
    }

    fn pool(pooling: Pooling, layout: Layout) -> Pool {
        Pool { pooling, layout, normalize: false }
    }

    #[test]
    fn each_pooling_reads_its_axes() {
        use Layout::{Nchw, Nhwc};
        let tokens = tensor(&[2, 3, 2]);
        let of = |p: Pool, t: &Tensor, count| p.vectors(t, 2, 2, count).expect("poolable");
        assert_eq!(of(pool(Pooling::Cls, Nchw), &tokens, None), [[0.0, 1.0], [6.0, 7.0]]);
        assert_eq!(of(pool(Pooling::MeanTokens, Nchw), &tokens, None), [[2.0, 3.0], [8.0, 9.0]]);
        assert_eq!(of(pool(Pooling::MeanTokens, Nchw), &tokens, Some((1, 2))), [[3.0, 4.0], [9.0, 10.0]]);
        assert_eq!(of(pool(Pooling::None, Nchw), &tokens, None)[1], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        let map = tensor(&[2, 2, 2, 2]);
        assert_eq!(of(pool(Pooling::Gap, Nchw), &map, None), [[1.5, 5.5], [9.5, 13.5]]);
        assert_eq!(of(pool(Pooling::Gap, Nhwc), &map, None), [[3.0, 4.0], [11.0, 12.0]]);
        assert_eq!(of(pool(Pooling::Gmp, Nchw), &map, None), [[3.0, 7.0], [11.0, 15.0]]);
        assert_eq!(of(pool(Pooling::Gmp, Nhwc), &map, None), [[6.0, 7.0], [14.0, 15.0]]);
    }

    #[test]
    fn normalised_vectors_have_length_one_and_zero_stays_zero() {
        let pool = Pool { pooling: Pooling::None, layout: Layout::Nchw, normalize: true };
        let t = Tensor { shape: vec![2, 2], values: vec![3.0, 4.0, 0.0, 0.0] };
        assert_eq!(pool.vectors(&t, 2, 2, None).expect("vectors"), [[0.6, 0.8], [0.0, 0.0]]);
    }

    #[test]
    fn what_is_not_finite_or_does_not_fit_is_refused() {
        let none = pool(Pooling::None, Layout::Nchw);
        for value in [f32::NAN, f32::INFINITY] {
            let t = Tensor { shape: vec![1, 3], values: vec![0.0, value, 0.0] };
            let error = none.vectors(&t, 1, 1, None).expect_err("not finite");
            assert_eq!(error.kind(), ErrorKind::BadOutput);
            assert!(error.message().starts_with("element 2 "), "{error}");
        }
        let map = Tensor { shape: vec![1, 1, 2, 2], values: vec![0.0, f32::NAN, 5.0, 1.0] };
        assert!(pool(Pooling::Gmp, Layout::Nchw).vectors(&map, 1, 1, None).is_err());
        assert!(none.vectors(&tensor(&[3, 4]), 2, 2, None).is_err(), "another batch");
        assert!(none.vectors(&tensor(&[4]), 1, 1, None).is_err(), "no batch axis");
        assert!(none.vectors(&tensor(&[2, 0]), 2, 2, None).is_err(), "nothing in it");
        assert!(pool(Pooling::Cls, Layout::Nchw).vectors(&tensor(&[2, 4]), 2, 2, None).is_err(), "no tokens");
        let wide = none.vectors(&tensor(&[1, MAX_DIMS + 1]), 1, 1, None).expect_err("too wide");
        assert_eq!(wide.kind(), ErrorKind::LimitExceeded);
        assert_eq!(none.vectors(&tensor(&[1, MAX_DIMS]), 1, 1, None).expect("just fits")[0].len(), MAX_DIMS);
    }
}
