//! Element-wise arithmetic on half-precision vectors.
//!
//! Elements are widened, combined and rounded back, a chunk at a time. `f32` has 24 ≥ 2 · 11 + 2 bits, which is what it
//! takes for a sum, difference or product of two half-precision numbers to come out as if rounded only once (Figueroa,
//! "When is double rounding innocuous?", 1995).

use crate::convert::OutOfRange;
use crate::kernels::Kernels;
use half::f16;

/// How many elements are combined through a buffer at a time.
const CHUNK: usize = 256;

impl Kernels {
    /// `out[i] = f(a[i], b[i])`.
    fn combine(&self, a: &[f16], b: &[f16], out: &mut [f16], f: impl Fn(f32, f32) -> f32) -> Result<(), OutOfRange> {
        debug_assert_eq!(a.len(), b.len());
        debug_assert_eq!(a.len(), out.len());
        let length = a.len().min(b.len()).min(out.len());
        let (mut x, mut y) = ([0f32; CHUNK], [0f32; CHUNK]);
        for start in (0..length).step_by(CHUNK) {
            let end = length.min(start + CHUNK);
            let (x, y) = (&mut x[..end - start], &mut y[..end - start]);
            self.to_f32(&a[start..end], x);
            self.to_f32(&b[start..end], y);
            for (x, y) in x.iter_mut().zip(y) {
                *x = f(*x, *y);
            }
            self.from_f32(x, &mut out[start..end]).map_err(|e| OutOfRange { index: start + e.index, ..e })?;
        }
        Ok(())
    }

    /// See [`crate::add`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for the first result that half precision cannot hold.
    pub fn add(&self, a: &[f16], b: &[f16], out: &mut [f16]) -> Result<(), OutOfRange> {
        self.combine(a, b, out, |x, y| x + y)
    }

    /// See [`crate::sub`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for the first result that half precision cannot hold.
    pub fn sub(&self, a: &[f16], b: &[f16], out: &mut [f16]) -> Result<(), OutOfRange> {
        self.combine(a, b, out, |x, y| x - y)
    }

    /// See [`crate::mul`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for the first result that half precision cannot hold.
    pub fn mul(&self, a: &[f16], b: &[f16], out: &mut [f16]) -> Result<(), OutOfRange> {
        self.combine(a, b, out, |x, y| x * y)
    }

    /// See [`crate::scale`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for the first result that half precision cannot hold.
    pub fn scale(&self, a: &[f16], factor: f64, out: &mut [f16]) -> Result<(), OutOfRange> {
        debug_assert_eq!(a.len(), out.len());
        let length = a.len().min(out.len());
        let (mut narrow, mut wide) = ([0f32; CHUNK], [0f64; CHUNK]);
        for start in (0..length).step_by(CHUNK) {
            let end = length.min(start + CHUNK);
            let (narrow, wide) = (&mut narrow[..end - start], &mut wide[..end - start]);
            self.to_f32(&a[start..end], narrow);
            for (wide, narrow) in wide.iter_mut().zip(narrow) {
                *wide = f64::from(*narrow) * factor;
            }
            self.from_f64(wide, &mut out[start..end]).map_err(|e| OutOfRange { index: start + e.index, ..e })?;
        }
        Ok(())
    }
}
