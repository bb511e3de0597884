//! The way through a file: tables, scans, and what becomes of the scans' blocks.

use crate::bits::Bits;
use crate::frame::Frame;
use crate::headers::{Headers, Segments, marker};
use crate::huffman::{AcHuffman, Huffman};
use crate::output::Output;
use crate::progressive::{self, Selection};
use crate::scan::{Scan, Visitor};
use crate::sequential::Coder;
use crate::tables::{Block, Tables, ZIGZAG};
use crate::{Error, Result, allocate, corrupt};

/// Most scans of a file. Encoders write ten; each may take time for every block.
const MAX_SCANS: usize = 100;

/// Decodes the scans of a file to RGB.
pub(crate) fn decode(headers: &Headers, rgb: &mut [u8]) -> Result<()> {
    let frame = &headers.frame;
    if frame.width == 0 {
        return corrupt("the JPEG has a width of 0");
    }
    let mut output = Output::new(headers, rgb)?;
    let components = frame.components.len();
    let mut state = State {
        tables: Tables::default(),
        steps: vec![None; components],
        missing: vec![[None; 64]; components],
        stored: None,
    };
    let mut segments = Segments::new(headers.bytes);
    let (mut scans, mut complete) = (0, false);
    loop {
        let (marker, payload) = match segments.next() {
            Err(Error::Corrupt(_)) if scans > 0 => return corrupt("the JPEG ends before its end-of-image marker"),
            other => other?,
        };
        match marker {
            marker::EOI => break,
            marker::SOS => {}
            marker::SOF0..=marker::SOF2 if scans > 0 => return corrupt("the JPEG has two frame headers"),
            _ => {
                state.tables.read(marker, payload)?;
                continue;
            }
        }
        scans += 1;
        if scans > MAX_SCANS {
            return corrupt(format!("the JPEG has more than {MAX_SCANS} scans"));
        }
        if complete {
            return corrupt("a JPEG component is coded twice");
        }
        let scan = Scan::parse(payload, frame)?;
        state.latch_steps(frame, &scan)?;
        if frame.progressive {
            state.advance(&scan)?;
        }
        let mut bits = Bits::new(headers.bytes, segments.position());
        if !frame.progressive && scan.components.len() == frame.components.len() {
            state.straight_scan(frame, &scan, &mut bits, &mut output)?;
            complete = true;
        } else {
            state.stored_scan(frame, &scan, &mut bits)?;
        }
        segments.resume_at(bits.position());
    }
    if state.steps.contains(&None) {
        return corrupt("a JPEG component is never coded");
    }
    if !complete {
        state.transform(frame, &mut output);
    }
    Ok(())
}

/// What is kept from scan to scan.
struct State {
    tables: Tables,
    /// The steps of each component that was coded: those that stood at its first scan are those of all its scans.
    steps: Vec<Option<Block>>,
    /// How many low bits are missing of each coefficient of a progressive file, in the order of coding.
    missing: Vec<[Option<u32>; 64]>,
    /// The coefficients, where there are several scans.
    stored: Option<Vec<Coefficients>>,
}

impl State {
    fn latch_steps(&mut self, frame: &Frame, scan: &Scan) -> Result<()> {
        for component in &scan.components {
            let slot = &mut self.steps[component.index];
            if slot.is_none() {
                *slot = self.tables.quantization[usize::from(frame.components[component.index].quantization)];
                if slot.is_none() {
                    return corrupt("a JPEG component names a quantisation table that is not there");
                }
            } else if !frame.progressive {
                return corrupt("a JPEG component is coded twice");
            }
        }
        Ok(())
    }

    /// Each scan must go on where another one stopped. That also bounds the work: no coefficient has more than 14 bits.
    fn advance(&mut self, scan: &Scan) -> Result<()> {
        for component in &scan.components {
            for missing in &mut self.missing[component.index][scan.start..=scan.end] {
                if *missing != (scan.high > 0).then_some(scan.high) {
                    return corrupt("a JPEG scan brings bits of coefficients out of turn");
                }
                *missing = Some(scan.low);
            }
        }
        Ok(())
    }

    fn all_steps(&self) -> Vec<Block> {
        self.steps.iter().map(|steps| steps.unwrap_or([0; 64])).collect()
    }

    fn coders(&self, scan: &Scan) -> Result<Vec<Coder>> {
        let coder = |component: &crate::scan::ScanComponent| {
            let (dc, ac) =
                (Huffman::new(self.tables.dc(component.dc)?)?, AcHuffman::new(self.tables.ac(component.ac)?)?);
            Ok(Coder { dc, ac, last: 0 })
        };
        scan.components.iter().map(coder).collect()
    }

    /// A scan that brings everything: blocks become samples at once.
    fn straight_scan(&self, frame: &Frame, scan: &Scan, bits: &mut Bits, output: &mut Output) -> Result<()> {
        let mut straight = Straight { coders: self.coders(scan)?, steps: self.all_steps(), output };
        scan.walk(frame, self.tables.restart_interval, bits, &mut straight)
    }

    /// One of several scans: coefficients are collected.
    fn stored_scan(&mut self, frame: &Frame, scan: &Scan, bits: &mut Bits) -> Result<()> {
        let mut stored = match self.stored.take() {
            Some(stored) => stored,
            None => Coefficients::of(frame)?,
        };
        let interval = self.tables.restart_interval;
        if frame.progressive {
            let mut progressive = Progressive::new(scan, &self.tables, &mut stored)?;
            scan.walk(frame, interval, bits, &mut progressive)?;
        } else {
            let mut collecting = Collecting { coders: self.coders(scan)?, stored: &mut stored };
            scan.walk(frame, interval, bits, &mut collecting)?;
        }
        self.stored = Some(stored);
        Ok(())
    }

    /// Turns the collected coefficients into pixels.
    fn transform(&mut self, frame: &Frame, output: &mut Output) {
        let steps = self.all_steps();
        let Some(stored) = &mut self.stored else { return };
        for mcu_y in 0..frame.mcus_y {
            for (index, component) in frame.components.iter().enumerate() {
                for y in mcu_y * component.v..(mcu_y + 1) * component.v {
                    for x in 0..frame.mcus_x * component.h {
                        let block = stored[index].block((x, y));
                        let last = ZIGZAG.iter().rposition(|&place| block[usize::from(place)] != 0).unwrap_or(0);
                        output.put(index, (x, y), block, &steps[index], last);
                    }
                }
            }
            output.mcu_row_done(mcu_y);
        }
    }
}

/// The coefficients of a component.
struct Coefficients {
    blocks: Vec<i16>,
    /// Blocks in a row, those of padding included.
    row: usize,
}

impl Coefficients {
    fn of(frame: &Frame) -> Result<Vec<Self>> {
        let component = |component: &crate::frame::Component| {
            let row = frame.mcus_x * component.h;
            Ok(Self { blocks: allocate(row * frame.mcus_y * component.v * 64)?, row })
        };
        frame.components.iter().map(component).collect()
    }

    fn block(&mut self, (x, y): (usize, usize)) -> &mut Block {
        &mut self.blocks.as_chunks_mut::<64>().0[y * self.row + x]
    }
}

struct Straight<'a, 'b> {
    coders: Vec<Coder>,
    steps: Vec<Block>,
    output: &'a mut Output<'b>,
}

impl Visitor for Straight<'_, '_> {
    #[inline(always)]
    fn block(&mut self, bits: &mut Bits, which: usize, index: usize, place: (usize, usize)) -> Result<()> {
        let mut block = [0; 64];
        let last = self.coders[which].read(bits, &mut block)?;
        self.output.put(index, place, &block, &self.steps[index], last);
        Ok(())
    }

    fn restart(&mut self) {
        self.coders.iter_mut().for_each(|coder| coder.last = 0);
    }

    fn row_done(&mut self, y: usize) {
        self.output.mcu_row_done(y);
    }
}

struct Collecting<'a> {
    coders: Vec<Coder>,
    stored: &'a mut [Coefficients],
}

impl Visitor for Collecting<'_> {
    fn block(&mut self, bits: &mut Bits, which: usize, index: usize, place: (usize, usize)) -> Result<()> {
        self.coders[which].read(bits, self.stored[index].block(place)).map(drop)
    }

    fn restart(&mut self) {
        self.coders.iter_mut().for_each(|coder| coder.last = 0);
    }
}

struct Progressive<'a> {
    selection: Selection,
    refining: bool,
    /// For each component of the scan, its table if one is needed and its last first coefficient.
    dc: Vec<(Option<Huffman>, i16)>,
    /// Of the only component, in a scan of other coefficients.
    ac: Option<AcHuffman>,
    /// Blocks still to come that bring no new coefficients.
    skip: u32,
    stored: &'a mut [Coefficients],
}

impl<'a> Progressive<'a> {
    fn new(scan: &Scan, tables: &Tables, stored: &'a mut [Coefficients]) -> Result<Self> {
        let selection = Selection { start: scan.start, end: scan.end, low: scan.low };
        let refining = scan.high != 0;
        let (mut dc, mut ac) = (Vec::new(), None);
        for component in &scan.components {
            if scan.start > 0 {
                ac = Some(AcHuffman::new(tables.ac(component.ac)?)?);
            } else if refining {
                dc.push((None, 0));
            } else {
                dc.push((Some(Huffman::new(tables.dc(component.dc)?)?), 0));
            }
        }
        Ok(Self { selection, refining, dc, ac, skip: 0, stored })
    }
}

impl Visitor for Progressive<'_> {
    fn block(&mut self, bits: &mut Bits, which: usize, index: usize, place: (usize, usize)) -> Result<()> {
        if let Some(table) = &self.ac {
            // Many blocks in a row bring nothing new: they are not touched.
            if self.skip > 0 && !self.refining {
                self.skip -= 1;
                return Ok(());
            }
            let block = self.stored[index].block(place);
            let read = if self.refining { progressive::ac_refine } else { progressive::ac_first };
            return read(bits, table, self.selection, &mut self.skip, block);
        }
        let block = self.stored[index].block(place);
        match &mut self.dc[which] {
            (Some(table), last) => progressive::dc_first(bits, table, last, self.selection.low, block),
            (None, _) => {
                progressive::dc_refine(bits, self.selection.low, block);
                Ok(())
            }
        }
    }

    fn restart(&mut self) {
        self.skip = 0;
        self.dc.iter_mut().for_each(|(_, last)| *last = 0);
    }
}
