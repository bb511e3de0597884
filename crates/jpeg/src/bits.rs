//! Bits of entropy-coded data.
//!
//! A stuffed zero byte follows each 0xFF of the data; 0xFF and anything else is a marker and the end. From there on the
//! reader gives zeros and counts them: whether data were made up is asked once for a row of blocks, not for each bit.

use crate::headers::next_marker;

pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The next bits, from the highest down; those beyond `count` are not to be relied on.
    buffer: u64,
    count: u32,
    /// Zeros that were put behind the end of the data.
    made_up: u64,
}

impl<'a> Bits<'a> {
    /// Begins at `position` of the file.
    pub fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position, buffer: 0, count: 0, made_up: 0 }
    }

    /// Sees to it that at least 32 bits are there: a code of 16 and a value of 16.
    #[inline(always)]
    pub fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.bytes.get(self.position..).and_then(|rest| rest.first_chunk::<8>()) {
            let next = u64::from_be_bytes(*next);
            // A byte of `next` is 0xFF where the same byte of its complement is zero.
            const LOW: u64 = 0x0101_0101_0101_0101;
            if (!next).wrapping_sub(LOW) & next & (LOW << 7) == 0 {
                // As many whole bytes as fit are counted. The bits of the next one may lie in the buffer already and are
                // then put there a second time.
                self.buffer |= next >> self.count;
                self.position += ((63 - self.count) >> 3) as usize;
                self.count |= 56;
                return;
            }
        }
        self.refill_bytewise();
    }

    #[cold]
    #[inline(never)]
    fn refill_bytewise(&mut self) {
        self.buffer = if self.count == 0 { 0 } else { self.buffer & (u64::MAX << (64 - self.count)) };
        while self.count <= 56 {
            let byte = match self.bytes.get(self.position..).unwrap_or_default() {
                [0xFF, 0, ..] => {
                    self.position += 2;
                    0xFF
                }
                [0xFF, ..] | [] => {
                    self.made_up += 8;
                    0
                }
                &[byte, ..] => {
                    self.position += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next `count` bits, 1 to 16, after [`refill`](Self::refill).
    #[inline(always)]
    pub fn peek(&self, count: u32) -> usize {
        (self.buffer >> (64 - count)) as usize
    }

    /// Passes over bits that [`refill`](Self::refill) has made sure of.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// `count` bits, up to 16, as a number. There must be as many.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u32 {
        // Two shifts, because a shift by 64 is none.
        let value = (self.buffer >> 1 >> (63 - count)) as u32;
        self.skip(count);
        value
    }

    /// A value of `size` bits, up to 16, in the standard's way to write signed numbers: a leading 0 means negative.
    #[inline(always)]
    pub fn take_signed(&mut self, size: u32) -> i32 {
        let value = self.take(size) as i32;
        let negative = i32::from(value < (1 << size) >> 1);
        value - negative * ((1 << size) - 1)
    }

    /// One bit, wherever there are none left in the buffer too.
    #[inline(always)]
    pub fn take_bit(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// Whether more was read than the data hold.
    pub fn overrun(&self) -> bool {
        self.made_up > u64::from(self.count)
    }

    /// Goes on behind a restart marker; whether it is the one with this number.
    pub fn restart(&mut self, number: u8) -> bool {
        use crate::headers::marker::RST0;
        match next_marker(self.bytes, self.position) {
            Some((marker, at)) if marker == RST0 + number => {
                *self = Self::new(self.bytes, at);
                true
            }
            _ => false,
        }
    }

    /// Where in the file to look for the next marker.
    pub fn position(&self) -> usize {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_is_removed_and_the_end_is_noticed() {
        let data = [0x12, 0xFF, 0, 0x34, 0xFF, 0xD9];
        let mut bits = Bits::new(&data, 0);
        let mut take = |count| {
            bits.refill();
            let value = bits.take(count);
            (value, bits.overrun())
        };
        assert_eq!(take(12), (0x12F, false));
        assert_eq!(take(0), (0, false));
        assert_eq!(take(12), (0xF34, false), "the last bit of the data");
        assert_eq!(take(1), (0, true));
        assert_eq!(next_marker(&data, bits.position()), Some((0xD9, 6)));
    }

    #[test]
    fn every_way_to_refill_gives_the_same_bits() {
        let mut file: Vec<u8> = (0..4000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let plain: Vec<u8> = file.clone();
        file = file.into_iter().flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] }).collect();
        let mut bits = Bits::new(&file, 0);
        let mut at = 0;
        for step in 0.. {
            let count = 1 + step * 7 % 16;
            if at + count as usize > plain.len() * 8 {
                break;
            }
            bits.refill();
            let expected = (0..count as usize)
                .fold(0, |value, i| value << 1 | u32::from(plain[(at + i) / 8] >> (7 - (at + i) % 8) & 1));
            assert_eq!(bits.peek(count) as u32, expected);
            assert_eq!(bits.take(count), expected);
            at += count as usize;
        }
        assert!(!bits.overrun());
    }

    #[test]
    fn signed_values() {
        // Size 3: 000 is -7, 011 is -4, 100 is 4, 111 is 7; size 0 is 0.
        let mut bits = Bits::new(&[0b0000_1110, 0b0111_0000], 0);
        bits.refill();
        assert_eq!([3, 3, 3, 0, 3].map(|size| bits.take_signed(size)), [-7, -4, 4, 0, 7]);
    }

    #[test]
    fn restart_markers_are_counted() {
        let data = [0xAA, 0xFF, 0xFF, 0xD3, 0x80];
        let mut bits = Bits::new(&data, 0);
        bits.refill();
        assert!(!bits.restart(2));
        assert!(bits.restart(3));
        assert!(bits.take_bit());
    }
}
