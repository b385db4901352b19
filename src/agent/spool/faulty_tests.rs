//! A disk that forgets what was not synced, tears what it was writing, fails where a test says so, and fills up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::Disk;

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The operation fails, perhaps half done.
    Error,
    /// The power goes: this and all further operations fail until [`FaultyDisk::power_on`].
    Cut,
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// What is on the platter.
    durable: Vec<u8>,
    /// What is in the page cache, and how far a sync would bring it.
    cached: Vec<u8>,
    /// Writes since the last sync, which a power cut may keep, lose or tear.
    writes: Vec<(usize, Vec<u8>)>,
    named: bool,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Content>,
    /// Removed, and the folder was not synced since.
    removed: BTreeMap<String, Content>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    is_full: bool,
    random: u64,
}

/// Shared, so that a test can look at the disk that a spool has.
#[derive(Debug, Clone, Default)]
pub(super) struct FaultyDisk(Rc<RefCell<State>>);

impl State {
    /// xorshift64* (Marsaglia 2003, Vigna 2016).
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % below.max(1)
    }

    /// Counts an operation; whether it fails.
    fn step(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        if self.is_off {
            return Err(io::Error::other("there is no power"));
        }
        match self.fault {
            Some((at, Fault::Error)) if at == number => Err(io::Error::other("the disk failed")),
            Some((at, Fault::Cut)) if at == number => {
                self.is_off = true;
                Err(io::Error::other("the power went"))
            }
            _ => Ok(()),
        }
    }
}

impl FaultyDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: seed.wrapping_mul(2).wrapping_add(1),
            ..State::default()
        })))
    }

    pub(super) fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.borrow_mut().fault = Some((operation, fault));
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// From now on there is no room for new files, or there is again.
    pub(super) fn fill(&self, is_full: bool) {
        self.0.borrow_mut().is_full = is_full;
    }

    /// What a power cut leaves: each name, removal and write since the last sync is kept or lost by chance, and a write may be torn.
    pub(super) fn power_on(&self) {
        let mut state = self.0.borrow_mut();
        let removed = std::mem::take(&mut state.removed);
        for (name, content) in removed {
            if state.random(2) == 0 {
                state.files.insert(name, content);
            }
        }
        let files = std::mem::take(&mut state.files);
        for (name, mut content) in files {
            if !content.named && state.random(2) == 0 {
                continue;
            }
            for (offset, bytes) in std::mem::take(&mut content.writes) {
                let kept = match state.random(3) {
                    0 => 0,
                    1 => bytes.len(),
                    _ => state.random(bytes.len() + 1),
                };
                content.durable[offset..offset + kept].copy_from_slice(&bytes[..kept]);
            }
            content.cached.clone_from(&content.durable);
            content.named = true;
            state.files.insert(name, content);
        }
        state.is_off = false;
        state.fault = None;
    }

    /// Turns a bit of a file that stays.
    pub(super) fn rot(&self, bit: usize) {
        let mut state = self.0.borrow_mut();
        let content = state.files.values_mut().next().expect("a file");
        let at = bit / 8 % content.durable.len();
        content.durable[at] ^= 1 << (bit % 8);
        content.cached.clone_from(&content.durable);
    }

    pub(super) fn names(&self) -> usize {
        self.0.borrow().files.len()
    }
}

impl Disk for FaultyDisk {
    type File = String;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, room: u64) -> io::Result<String> {
        let mut state = self.0.borrow_mut();
        let room = usize::try_from(room).unwrap();
        if state.is_full {
            // As ext4 does: the name is there, the room is not.
            state.files.insert(name.to_owned(), Content::default());
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Err(error) = state.step() {
            if state.random(2) == 0 {
                state.files.insert(name.to_owned(), Content::default());
            }
            return Err(error);
        }
        let content = Content { durable: vec![0; room], cached: vec![0; room], ..Content::default() };
        assert!(state.files.insert(name.to_owned(), content).is_none(), "{name} is there already");
        Ok(name.to_owned())
    }

    fn write_at(&self, file: &mut String, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let ended = state.step();
        let some = if ended.is_ok() { bytes.len() } else { state.random(bytes.len() + 1) };
        let offset = usize::try_from(offset).unwrap();
        let content = state.files.get_mut(file).expect("it was not removed");
        assert!(offset + bytes.len() <= content.cached.len(), "beyond its room");
        assert!(content.cached[offset..offset + bytes.len()].iter().all(|byte| *byte == 0), "written over");
        content.cached[offset..offset + some].copy_from_slice(&bytes[..some]);
        content.writes.push((offset, bytes[..some].to_vec()));
        ended
    }

    fn sync(&self, file: &mut String) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let ended = state.step();
        let content = state.files.get_mut(file).expect("it was not removed");
        let writes = std::mem::take(&mut content.writes);
        if ended.is_ok() {
            for (offset, bytes) in writes {
                content.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            return Ok(());
        }
        // A sync that fails may have written or not, and the next one that succeeds says nothing of these (PostgreSQL's "fsyncgate").
        for (offset, bytes) in writes {
            if state.random(2) == 0 {
                let content = state.files.get_mut(file).expect("it is there");
                content.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
        }
        ended
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        state.removed.clear();
        state.files.values_mut().for_each(|content| content.named = true);
        Ok(())
    }

    fn whole(&self, name: &str, most: u64) -> io::Result<(u64, Vec<u8>)> {
        let state = self.0.borrow();
        let content = &state.files.get(name).ok_or(io::ErrorKind::NotFound)?.cached;
        Ok((content.len() as u64, content.iter().take(usize::try_from(most).unwrap()).copied().collect()))
    }

    fn read(&self, name: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let (_, content) = self.whole(name, u64::MAX)?;
        let (offset, length) = (usize::try_from(offset).unwrap(), usize::try_from(length).unwrap());
        Ok(content.into_iter().skip(offset).take(length).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let content = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        if content.named {
            state.removed.insert(name.to_owned(), content);
        }
        Ok(())
    }
}
