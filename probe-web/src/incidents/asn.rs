//! Who provides an address, by an operator's own file: `prefix,asn,name` a line, with commas or tabs. Nothing is looked up over the network.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Why a file is none.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}; a line is prefix,asn,name as in 192.0.2.0/24,64496,Example Net")]
pub struct AsnError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Providers by prefix.
#[derive(Debug, Clone, Default)]
pub struct Providers {
    names: Vec<String>,
    /// By length, longest last: the prefixes of that length and whose they are. IPv4 apart from IPv6.
    v4: BTreeMap<u8, BTreeMap<u32, usize>>,
    v6: BTreeMap<u8, BTreeMap<u128, usize>>,
}

impl Providers {
    /// Reads a file. Empty lines and those that begin with `#` are left out, and a first line of names of columns.
    ///
    /// # Errors
    /// Where a line is none.
    pub fn read(text: &str) -> Result<Self, AsnError> {
        let mut found = Self::default();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') || (line == 1 && text.starts_with("prefix")) {
                continue;
            }
            let wrong = |why| AsnError { line, why };
            let separator = if text.contains('\t') { '\t' } else { ',' };
            let mut fields = text.splitn(3, separator).map(|field| field.trim().trim_matches('"').trim());
            let prefix = fields.next().unwrap_or_default();
            let number = fields.next().ok_or_else(|| wrong("it has one field"))?;
            let digits = number.strip_prefix("AS").or_else(|| number.strip_prefix("as")).unwrap_or(number);
            let number: u32 = digits.parse().map_err(|_| wrong("the second field is no AS number"))?;
            let name = fields.next().filter(|name| !name.is_empty());
            let name = name.map_or_else(|| format!("AS{number}"), |name| format!("{name} (AS{number})"));
            if !crate::ingest::read::is_plain(&name, 256) {
                return Err(wrong("the name has more than 256 characters, or control characters"));
            }
            let next = found.names.len();
            let index = *known.entry(name.clone()).or_insert(next);
            if index == next {
                found.names.push(name);
            }
            let (address, bits) =
                prefix.split_once('/').ok_or_else(|| wrong("the first field is no prefix"))?;
            let address: IpAddr = address.parse().map_err(|_| wrong("the prefix has no address"))?;
            let bits: u8 = bits.parse().map_err(|_| wrong("the prefix has no length"))?;
            match address {
                IpAddr::V4(address) if bits <= 32 => {
                    found.v4.entry(bits).or_default().insert(masked4(address.to_bits(), bits), index);
                }
                IpAddr::V6(address) if bits <= 128 => {
                    found.v6.entry(bits).or_default().insert(masked6(address.to_bits(), bits), index);
                }
                _ => return Err(wrong("the prefix is longer than an address")),
            }
        }
        Ok(found)
    }

    /// Who provides an address: the longest prefix that holds it.
    pub fn of(&self, address: IpAddr) -> Option<&str> {
        let index = match address.to_canonical() {
            IpAddr::V4(address) => {
                let found = |(bits, of): (&u8, &BTreeMap<u32, usize>)| {
                    of.get(&masked4(address.to_bits(), *bits)).copied()
                };
                self.v4.iter().rev().find_map(found)
            }
            IpAddr::V6(address) => {
                let found = |(bits, of): (&u8, &BTreeMap<u128, usize>)| {
                    of.get(&masked6(address.to_bits(), *bits)).copied()
                };
                self.v6.iter().rev().find_map(found)
            }
        }?;
        self.names.get(index).map(String::as_str)
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.v4.values().map(BTreeMap::len).sum::<usize>()
            + self.v6.values().map(BTreeMap::len).sum::<usize>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn masked4(address: u32, bits: u8) -> u32 {
    address & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn masked6(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_says_who_it_is() {
        let text = "prefix,asn,name\n# ours\n192.0.2.0/24,64496,Example Net\n192.0.2.128/25\tAS64497\tFiber, of the north\n\
                    2001:db8::/32,64498,\n0.0.0.0/0,64499,rest\n";
        let providers = Providers::read(text).unwrap();
        let of = |address: &str| providers.of(address.parse().unwrap());
        assert_eq!(of("192.0.2.1"), Some("Example Net (AS64496)"));
        assert_eq!(of("::ffff:192.0.2.129"), Some("Fiber, of the north (AS64497)"));
        assert_eq!(of("2001:db8:1::1"), Some("AS64498"));
        assert_eq!(of("198.51.100.1"), Some("rest (AS64499)"));
        assert_eq!(of("2001:db9::1"), None);
        assert_eq!(providers.len(), 4);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in [
            ("192.0.2.0/24", 1),
            ("\n192.0.2.0,1,x", 2),
            ("192.0.2.0/33,1,x", 1),
            ("x/8,1,x", 1),
            ("192.0.2.0/24,one,x", 1),
        ] {
            assert_eq!(Providers::read(text).unwrap_err().line, line, "{text}");
        }
    }
}
