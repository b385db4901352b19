//! Walks through the coded data of a JPEG (ITU-T T.81) block by block, without making a picture of it: whether every block is
//! there. Decoders fill up what is missing, so that a frame whose second half never came decodes without complaint.

use super::Damage;

/// Bytes that may lie unused between the last block and the end: many webcams leave some ("extraneous bytes before marker
/// 0xd9" in libjpeg).
const SPARE: usize = 64;

/// Walks through a frame that begins with its start marker. Only sequential pictures with 8 bits are walked through, which is
/// all that cameras send; others are left to the decoder.
pub(super) fn walk(frame: &[u8], size: (usize, usize)) -> Result<(), Damage> {
    let mut tables = Tables::default();
    let mut picture = None;
    let mut at = 2;
    let mut scanned = 0;
    loop {
        let (kind, segment, next) = segment(frame, at).ok_or_else(|| content("its segments break off"))?;
        at = next;
        match kind {
            END if scanned > 0 => return Ok(()),
            END => return Err(Damage::Incomplete),
            0xc0 | 0xc1 => picture = Some(Picture::read(segment, size)?),
            // Progressive, lossless, arithmetic coding.
            0xc2 | 0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => return Ok(()),
            0xc4 => tables.read(segment).ok_or_else(|| content("its Huffman tables are wrong"))?,
            0xdd => {
                let interval =
                    segment.first_chunk().ok_or_else(|| content("its restart interval breaks off"))?;
                tables.restart_every = usize::from(u16::from_be_bytes(*interval));
            }
            0xda => {
                let picture = picture.as_ref().ok_or_else(|| content("its data come before its size"))?;
                at = scan(picture, &tables, segment, frame, at)?;
                scanned += 1;
            }
            _ => {}
        }
    }
}

const END: u8 = 0xd9;

/// The segment at `at`: its marker, what is in it, and where the next begins.
fn segment(frame: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    if *frame.get(at)? != 0xff {
        return None;
    }
    // Any number of 0xff may stand before a marker (B.1.1.2).
    let at = at + frame[at..].iter().take_while(|byte| **byte == 0xff).count();
    let kind = *frame.get(at)?;
    if kind == END {
        return Some((kind, &[], at + 1));
    }
    let length = usize::from(u16::from_be_bytes([*frame.get(at + 1)?, *frame.get(at + 2)?]));
    let next = at + 1 + length;
    Some((kind, frame.get(at + 3..next)?, next))
}

fn content(what: &str) -> Damage {
    Damage::Content(what.to_owned())
}

/// What a frame header says (B.2.2).
struct Picture {
    width: usize,
    height: usize,
    components: Vec<Component>,
}

#[derive(Clone, Copy)]
struct Component {
    id: u8,
    /// Blocks across and down in one unit of the picture.
    across: usize,
    down: usize,
}

impl Picture {
    fn read(segment: &[u8], size: (usize, usize)) -> Result<Self, Damage> {
        let wrong = || content("its header is wrong");
        let ([8, h1, h0, w1, w0, count], rest) = segment.split_first_chunk().ok_or_else(wrong)? else {
            return Err(wrong());
        };
        let [height, width] = [[*h1, *h0], [*w1, *w0]].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
        if (width, height) != size {
            return Err(Damage::Size { width, height });
        }
        let components: Vec<Component> = rest
            .chunks_exact(3)
            .map(|part| {
                let [across, down] = [part[1] >> 4, part[1] & 15].map(usize::from);
                Component { id: part[0], across, down }
            })
            .collect();
        let sane = |c: &Component| (1..=4).contains(&c.across) && (1..=4).contains(&c.down);
        if !(1..=4).contains(count) || components.len() != usize::from(*count) || !components.iter().all(sane)
        {
            return Err(wrong());
        }
        Ok(Self { width, height, components })
    }

    /// How many units a scan of these components has, and the blocks of one, each by its place among them (A.2).
    fn units(&self, of: &[Component]) -> (usize, Vec<usize>) {
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        let (across, down) = (most(|c| c.across), most(|c| c.down));
        match of {
            // A component by itself is as large as it is, not filled up to whole units.
            [alone] => {
                let side = |pixels: usize, own: usize, most: usize| (pixels * own).div_ceil(most).div_ceil(8);
                (side(self.width, alone.across, across) * side(self.height, alone.down, down), vec![0])
            }
            _ => {
                let blocks = of.iter().enumerate().flat_map(|(at, c)| vec![at; c.across * c.down]).collect();
                (self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down), blocks)
            }
        }
    }
}

/// What was defined so far.
#[derive(Default)]
struct Tables {
    means: [Option<Huffman>; 4],
    details: [Option<Huffman>; 4],
    restart_every: usize,
}

impl Tables {
    /// Takes in a segment with tables (B.2.4.2). `None`: it is wrong.
    fn read(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&selector, rest)) = segment.split_first() {
            let (lengths, rest) = rest.split_first_chunk::<16>()?;
            let count = lengths.iter().map(|n| usize::from(*n)).sum();
            let values = rest.get(..count)?;
            let of_kind = if selector >> 4 == 0 { &mut self.means } else { &mut self.details };
            *of_kind.get_mut(usize::from(selector & 15))? = Some(Huffman::new(lengths, values)?);
            segment = &rest[count..];
        }
        Some(())
    }
}

/// Bits that are looked up at once.
const QUICK: u32 = 9;

/// A Huffman table (Annex C).
struct Huffman {
    /// By the next [`QUICK`] bits: the length of the code that they begin with, and its value. Length 0: it is longer.
    quick: Vec<(u8, u8)>,
    /// By length: the code after the last one of that length, filled up to 16 bits.
    beyond: [u32; 17],
    /// By length: what to add to a code of that length to find its value.
    offset: [i32; 17],
    values: Vec<u8>,
}

impl Huffman {
    /// `None`: there are more codes of a length than it has room for.
    fn new(lengths: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut table = Self {
            quick: vec![(0, 0); 1 << QUICK],
            beyond: [0; 17],
            offset: [0; 17],
            values: values.to_vec(),
        };
        let (mut code, mut seen) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(lengths) {
            let by_length = length as usize;
            table.offset[by_length] = i32::try_from(seen).ok()? - i32::try_from(code).ok()?;
            for value in &values[seen..seen + usize::from(*count)] {
                if length <= QUICK {
                    let first = (code << (QUICK - length)) as usize;
                    let all = table.quick.get_mut(first..first + (1 << (QUICK - length)))?;
                    all.fill((u8::try_from(length).ok()?, *value));
                }
                code += 1;
            }
            seen += usize::from(*count);
            if code > 1 << length {
                return None;
            }
            table.beyond[by_length] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The length and value of the code that 16 bits begin with.
    fn find(&self, bits: u32) -> Option<(u32, u8)> {
        let (length, value) = self.quick[(bits >> (16 - QUICK)) as usize];
        if length > 0 {
            return Some((u32::from(length), value));
        }
        let length = (QUICK + 1..=16).find(|length| bits < self.beyond[*length as usize])?;
        let code = i32::try_from(bits >> (16 - length)).ok()?;
        let at = usize::try_from(code + self.offset[length as usize]).ok()?;
        Some((length, *self.values.get(at)?))
    }
}

/// Walks through one scan whose data begin at `at`, and says where they end.
fn scan(picture: &Picture, tables: &Tables, header: &[u8], frame: &[u8], at: usize) -> Result<usize, Damage> {
    let wrong = || content("its scan header is wrong");
    let (&count, rest) = header.split_first().ok_or_else(wrong)?;
    let chosen = rest.get(..usize::from(count) * 2).filter(|chosen| !chosen.is_empty()).ok_or_else(wrong)?;
    let mut components = Vec::new();
    let mut coders = Vec::new();
    for choice in chosen.chunks_exact(2) {
        let component = picture.components.iter().find(|c| c.id == choice[0]).ok_or_else(wrong)?;
        let mean = table(&tables.means, choice[1] >> 4).ok_or_else(wrong)?;
        let detail = table(&tables.details, choice[1] & 15).ok_or_else(wrong)?;
        components.push(*component);
        coders.push((mean, detail));
    }
    let (units, blocks) = picture.units(&components);
    let mut bits = Bits { frame, at, held: 0, count: 0 };
    for unit in 0..units {
        if unit > 0 && tables.restart_every > 0 && unit.is_multiple_of(tables.restart_every) {
            bits.restart(unit / tables.restart_every - 1)?;
        }
        for component in &blocks {
            let (mean, detail) = coders[*component];
            bits.block(mean, detail)?;
        }
    }
    bits.end()
}

fn table(of: &[Option<Huffman>; 4], which: u8) -> Option<&Huffman> {
    of.get(usize::from(which))?.as_ref()
}

/// Bits out of coded data, up to the next marker.
struct Bits<'a> {
    frame: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// One block (F.2.2): its mean, and 63 coefficients of detail.
    #[inline]
    fn block(&mut self, mean: &Huffman, detail: &Huffman) -> Result<(), Damage> {
        let size = self.code(mean)?;
        if size > 11 {
            return Err(content("a mean is out of range"));
        }
        self.skip(u32::from(size))?;
        let mut at = 1_u32;
        while at < 64 {
            let both = self.code(detail)?;
            let (zeros, size) = (u32::from(both >> 4), u32::from(both & 15));
            match (zeros, size) {
                (0, 0) => return Ok(()),
                (15, 0) => at += 16,
                (_, 1..=10) => {
                    self.skip(size)?;
                    at += zeros + 1;
                }
                _ => return Err(content("a coefficient is out of range")),
            }
        }
        if at == 64 { Ok(()) } else { Err(content("a block has too many coefficients")) }
    }

    #[inline]
    fn code(&mut self, table: &Huffman) -> Result<u8, Damage> {
        self.fill();
        // Past the end of the data the missing bits count as zeros; the code found must lie before it.
        let next =
            if self.count >= 16 { self.held >> (self.count - 16) } else { self.held << (16 - self.count) };
        let sixteen = u32::try_from(next & 0xffff).expect("sixteen bits");
        match table.find(sixteen) {
            Some((length, value)) if length <= self.count => {
                self.count -= length;
                Ok(value)
            }
            _ if self.count < 16 => Err(Damage::Incomplete),
            _ => Err(content("a code is none of its table's")),
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) -> Result<(), Damage> {
        self.fill();
        self.count = self.count.checked_sub(bits).ok_or(Damage::Incomplete)?;
        Ok(())
    }

    /// Takes in bytes until a marker.
    #[inline]
    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match (self.frame.get(self.at), self.frame.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (None | Some(0xff), _) => return,
                (Some(byte), _) => {
                    self.at += 1;
                    *byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// Passes the `number`-th restart marker (F.2.2.5).
    fn restart(&mut self, number: usize) -> Result<(), Damage> {
        let at = self.end()?;
        let marker = at + self.frame[at..].iter().take_while(|byte| **byte == 0xff).count();
        let expected = 0xd0 + u8::try_from(number % 8).expect("less than eight");
        match self.frame.get(marker) {
            Some(&END) => return Err(Damage::Incomplete),
            Some(&kind) if kind == expected => {}
            _ => return Err(content("a restart is missing")),
        }
        self.at = marker + 1;
        self.count = 0;
        Ok(())
    }

    /// Where the next marker stands, which must be near.
    fn end(&mut self) -> Result<usize, Damage> {
        let mut spare = self.count as usize / 8;
        loop {
            self.count = 0;
            let before = self.at;
            self.fill();
            if self.at == before {
                break;
            }
            spare += self.count as usize / 8;
            if spare > SPARE {
                return Err(content("there is more in it than a picture"));
            }
        }
        Ok(self.at)
    }
}
