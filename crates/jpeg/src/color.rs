//! Colour spaces, and the way to RGB.

use crate::headers::Headers;

/// What the components of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// One component.
    Grey,
    /// As it is.
    Rgb,
    /// The usual kind.
    YCbCr,
    /// Inverted, as Adobe's programs write it.
    Cmyk,
    /// CMYK whose first three components are stored as YCbCr.
    Ycck,
}

impl Space {
    /// libjpeg's rules: a JFIF or Adobe segment decides, or else what the components are called.
    pub fn of(headers: &Headers) -> Self {
        let names: Vec<u8> = headers.frame.components.iter().map(|component| component.id).collect();
        match (&*names, headers.adobe) {
            ([_], _) => Self::Grey,
            (_, Some(2)) if names.len() == 4 => Self::Ycck,
            ([_, _, _, _], None | Some(0)) => Self::Cmyk,
            ([_, _, _, _], Some(_)) => Self::Ycck,
            _ if headers.jfif => Self::YCbCr,
            (_, Some(0)) => Self::Rgb,
            (_, Some(_)) => Self::YCbCr,
            (b"RGB", None) => Self::Rgb,
            _ => Self::YCbCr,
        }
    }
}

/// One pixel. The products are those of libjpeg's tables, 16 bits of fraction and rounded once. Whole multiples of the
/// differences are taken out of the factors, which leaves factors and results of 16 bits.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    /// `value * factor / 65,536`, rounded: the product of twice the value, cut to its high half, has one bit too many.
    #[inline(always)]
    fn part(value: i16, factor: i16) -> i16 {
        let high = ((i32::from(2 * value) * i32::from(factor)) >> 16) as i16;
        (high + 1) >> 1
    }
    let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
    // 1.402, -0.34414 and -0.71414, 1.772 times 65,536.
    const RED: i16 = (91_881 - 65_536) as i16;
    const GREEN: (i16, i16) = (-22_554, (65_536 - 46_802) as i16);
    const BLUE: i16 = (116_130 - 131_072) as i16;
    let green = (i32::from(cb) * i32::from(GREEN.0) + i32::from(cr) * i32::from(GREEN.1) + (1 << 15)) >> 16;
    let pixel = [y + cr + part(cr, RED), y - cr + green as i16, y + 2 * cb + part(cb, BLUE)];
    pixel.map(|sample| sample.clamp(0, 255) as u8)
}

/// A row of YCbCr to RGB.
#[inline(always)]
pub(crate) fn ycbcr_row(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    // Planes first, then pixels: either loop is one that compilers vectorise well, and both at once is not.
    const CHUNK: usize = 256;
    let (mut red, mut green, mut blue) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
    let pixels = out.as_chunks_mut::<3>().0.chunks_mut(CHUNK);
    for (((out, y), cb), cr) in pixels.zip(y.chunks(CHUNK)).zip(cb.chunks(CHUNK)).zip(cr.chunks(CHUNK)) {
        let planes = red.iter_mut().zip(&mut green).zip(&mut blue);
        for ((((red, green), blue), y), (cb, cr)) in planes.zip(y).zip(cb.iter().zip(cr)) {
            [*red, *green, *blue] = rgb(*y, *cb, *cr);
        }
        for (((out, red), green), blue) in out.iter_mut().zip(&red).zip(&green).zip(&blue) {
            *out = [*red, *green, *blue];
        }
    }
}

/// One pixel of inverted CMYK to RGB, as Pillow: each colour is what black leaves of it.
#[inline(always)]
fn from_cmyk(cmy: [u8; 3], k: u8) -> [u8; 3] {
    // a * b / 255, rounded.
    let times = |a: u8, b: u8| {
        let product = u32::from(a) * u32::from(b) + 128;
        (((product >> 8) + product) >> 8) as u8
    };
    cmy.map(|color| k.saturating_sub(times(255 - color, k)))
}

/// A row of inverted CMYK to RGB.
pub(crate) fn cmyk_row(planes: [&[u8]; 4], out: &mut [u8]) {
    let [c, m, y, k] = planes;
    for (i, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *out = from_cmyk([c[i], m[i], y[i]], k[i]);
    }
}

/// A row of YCCK to RGB.
pub(crate) fn ycck_row(planes: [&[u8]; 4], out: &mut [u8]) {
    let [y, cb, cr, k] = planes;
    for (i, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        // What YCbCr stands for here is RGB, and CMY its complement.
        *out = from_cmyk(rgb(y[i], cb[i], cr[i]).map(|sample| 255 - sample), k[i]);
    }
}

/// A row of three planes that are RGB.
pub(crate) fn rgb_row(planes: [&[u8]; 3], out: &mut [u8]) {
    let [r, g, b] = planes;
    for (i, out) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *out = [r[i], g[i], b[i]];
    }
}

/// A row of grey.
pub(crate) fn grey_row(grey: &[u8], out: &mut [u8]) {
    for (out, sample) in out.as_chunks_mut::<3>().0.iter_mut().zip(grey) {
        *out = [*sample; 3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_color_is_that_of_libjpegs_tables() {
        // jdcolor.c: a table for each difference, 16 bits of fraction; green adds two of them before it shifts.
        const HALF: i64 = 1 << 15;
        let fix = |value: f64| (value * 65_536.0 + 0.5) as i64;
        for cb in 0..=255u8 {
            for cr in 0..=255u8 {
                let (b, r) = (i64::from(cb) - 128, i64::from(cr) - 128);
                let red = (fix(1.402) * r + HALF) >> 16;
                let blue = (fix(1.772) * b + HALF) >> 16;
                let green = (-fix(0.71414) * r + (-fix(0.34414) * b + HALF)) >> 16;
                for y in [0, 1, 100, 128, 200, 254, 255u8] {
                    let expected = [red, green, blue].map(|part| (i64::from(y) + part).clamp(0, 255) as u8);
                    assert_eq!(rgb(y, cb, cr), expected, "{y} {cb} {cr}");
                }
            }
        }
    }
}
