//! Variable-length integers and delta columns over bytes.

use super::DecodeError;

/// How a column of integers predicts its next value; what is written is the difference to the prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Zero: the values themselves are small.
    Plain,
    /// The value before: the column stays near one value.
    Delta,
    /// The line through the two values before: the column grows evenly (sequence numbers, periodic departures).
    Line,
}

/// Predicts the next value of a column. Sums wrap, so that every `i64` survives the way there and back.
#[derive(Debug)]
struct Predictor {
    order: Order,
    last: i64,
    step: i64,
}

impl Predictor {
    fn new(order: Order) -> Self {
        Self { order, last: 0, step: 0 }
    }

    fn predicted(&self) -> i64 {
        match self.order {
            Order::Plain => 0,
            Order::Delta => self.last,
            Order::Line => self.last.wrapping_add(self.step),
        }
    }

    fn saw(&mut self, value: i64) {
        self.step = value.wrapping_sub(self.last);
        self.last = value;
    }
}

/// Collects bytes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Writes LEB128: seven bits per byte, least significant first, the high bit set on all but the last.
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    pub(super) fn count(&mut self, len: usize) {
        self.varint(u64::try_from(len).expect("a usize has at most 64 bits"));
    }

    /// Writes a signed integer, zigzag coded: 0, -1, 1, -2, …
    pub(super) fn signed(&mut self, value: i64) {
        self.varint((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    pub(super) fn float(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn column(&mut self, order: Order, values: impl IntoIterator<Item = i64>) {
        let mut predictor = Predictor::new(order);
        for value in values {
            self.signed(value.wrapping_sub(predictor.predicted()));
            predictor.saw(value);
        }
    }
}

/// Takes bytes apart that somebody else wrote. Nothing is allocated beyond what the bytes present can fill.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Records that may still be read.
    budget: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], budget: usize) -> Self {
        Self { bytes, budget }
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::OutOfRange("an integer"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::OutOfRange("an integer"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(super) fn float(&mut self) -> Result<f64, DecodeError> {
        let (first, rest) = self.bytes.split_first_chunk::<8>().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(f64::from_le_bytes(*first))
    }

    /// Reads how many records follow. Each takes at least one byte and one from the budget.
    pub(super) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::TooManyRecords)?;
        if count > self.bytes.len() {
            return Err(DecodeError::Truncated);
        }
        self.budget = self.budget.checked_sub(count).ok_or(DecodeError::TooManyRecords)?;
        Ok(count)
    }

    /// Reads an integer that must fit `T`; `what` names it in the error.
    pub(super) fn fit<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        T::try_from(self.varint()?).map_err(|_| DecodeError::OutOfRange(what))
    }

    pub(super) fn column(&mut self, order: Order, count: usize) -> Result<Vec<i64>, DecodeError> {
        let mut predictor = Predictor::new(order);
        (0..count)
            .map(|_| {
                let value = predictor.predicted().wrapping_add(self.signed()?);
                predictor.saw(value);
                Ok(value)
            })
            .collect()
    }

    /// Reads a column whose values must fit `T`.
    pub(super) fn column_of<T: TryFrom<i64>>(
        &mut self,
        order: Order,
        count: usize,
        what: &'static str,
    ) -> Result<Vec<T>, DecodeError> {
        self.column(order, count)?
            .into_iter()
            .map(|value| T::try_from(value).map_err(|_| DecodeError::OutOfRange(what)))
            .collect()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (first, rest) = self.bytes.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }

    /// Whether all bytes were read.
    pub(super) const fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.bytes.len())) }
    }
}
