//! Scans: which components and coefficients one brings, and the order of its blocks.

use crate::bits::Bits;
use crate::frame::Frame;
use crate::{Error, Result, corrupt};

/// Most blocks in an MCU, by the standard.
const MAX_BLOCKS: usize = 10;

/// A start-of-scan segment.
pub(crate) struct Scan {
    pub components: Vec<ScanComponent>,
    /// The first and the last coefficient, in the order of coding, of a progressive scan.
    pub start: usize,
    pub end: usize,
    /// How many low bits were missing before this scan (0 if it is the first), and how many are after it.
    pub high: u32,
    pub low: u32,
}

/// A component of a scan: its place in the frame and the numbers of its Huffman tables.
#[derive(Clone, Copy)]
pub(crate) struct ScanComponent {
    pub index: usize,
    pub dc: u8,
    pub ac: u8,
}

impl Scan {
    pub fn parse(payload: &[u8], frame: &Frame) -> Result<Self> {
        let too_short = || Error::Corrupt("a JPEG scan header is too short".into());
        let (&count, rest) = payload.split_first().ok_or_else(too_short)?;
        let (named, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(too_short)?;
        let &[start, end, approximation, ..] = rest else { return Err(too_short()) };

        let mut components: Vec<ScanComponent> = Vec::with_capacity(4);
        for &[id, tables] in named.as_chunks::<2>().0 {
            // Components of the same name are meant in their order.
            let mut frame_components = frame.components.iter().enumerate();
            let index = frame_components
                .position(|(index, component)| {
                    component.id == id && components.iter().all(|other| other.index != index)
                })
                .ok_or_else(|| Error::Corrupt("a JPEG scan names a component that is not there".into()))?;
            components.push(ScanComponent { index, dc: tables >> 4, ac: tables & 15 });
        }
        let blocks = components.iter().map(|component| {
            let component = &frame.components[component.index];
            component.h * component.v
        });
        if components.is_empty() || components.len() > 1 && blocks.sum::<usize>() > MAX_BLOCKS {
            return corrupt("a JPEG scan has no blocks or too many");
        }

        let (start, end) = (usize::from(start), usize::from(end));
        let (high, low) = (u32::from(approximation >> 4), u32::from(approximation & 15));
        if frame.progressive {
            // First coefficients come apart from the others, and the others for one component at a time.
            let selection = if start == 0 { end == 0 } else { start <= end && end < 64 && components.len() == 1 };
            if !selection || low > 13 || high != 0 && high != low + 1 {
                return corrupt("a JPEG scan brings coefficients that it may not");
            }
        }
        Ok(Self { components, start, end, high, low })
    }

    /// Visits the blocks in the order in which they are coded. A scan of one component codes the blocks that hold
    /// samples, row by row; one of several codes MCUs, with as many blocks of each as its sampling factors say.
    pub fn walk(&self, frame: &Frame, interval: u32, bits: &mut Bits, visitor: &mut impl Visitor) -> Result<()> {
        let only = if let [only] = &*self.components { Some(only.index) } else { None };
        let (across, down) = only.map_or((frame.mcus_x, frame.mcus_y), |index| frame.components[index].blocks());
        let (mut left, mut number) = (interval, 0);
        for y in 0..down {
            for x in 0..across {
                if interval != 0 {
                    if left == 0 {
                        end_of_data(bits)?;
                        if !bits.restart(number) {
                            return corrupt("a restart marker of the JPEG is missing");
                        }
                        visitor.restart();
                        number = (number + 1) % 8;
                        left = interval;
                    }
                    left -= 1;
                }
                if let Some(index) = only {
                    visitor.block(bits, 0, index, (x, y))?;
                    continue;
                }
                for (which, component) in self.components.iter().enumerate() {
                    let index = component.index;
                    let (h, v) = (frame.components[index].h, frame.components[index].v);
                    for down in 0..v {
                        for across in 0..h {
                            visitor.block(bits, which, index, (x * h + across, y * v + down))?;
                        }
                    }
                }
            }
            end_of_data(bits)?;
            visitor.row_done(y);
        }
        Ok(())
    }
}

fn end_of_data(bits: &Bits) -> Result<()> {
    if bits.overrun() { corrupt("the JPEG's image data end too early") } else { Ok(()) }
}

/// What is done with the blocks of a scan.
pub(crate) trait Visitor {
    /// A block of the scan's component `which`, the frame's component `index`, at column and row `place`.
    fn block(&mut self, bits: &mut Bits, which: usize, index: usize, place: (usize, usize)) -> Result<()>;
    /// What was carried from block to block begins anew.
    fn restart(&mut self);
    /// The end of a row of MCUs (or of blocks, in a scan of one component).
    fn row_done(&mut self, _y: usize) {}
}
