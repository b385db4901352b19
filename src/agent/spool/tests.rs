//! Nothing that was finished is lost and nothing comes back changed, whatever fails and whenever.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::faulty_tests::{Fault, FaultyDisk};
use super::*;

const SMALL: Limits =
    Limits { bytes: 1 << 20, segment: 1_024, reserve: 256, age: Duration::from_secs(7 * 86_400) };

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn id(n: u64) -> Uuid {
    Uuid::from_u64_pair(7, n)
}

/// A payload that tells its report, of a length that differs.
fn payload(n: u64) -> Vec<u8> {
    let length = usize::try_from(n * 37 % 300).unwrap();
    format!("report {n} ").bytes().cycle().take(20 + length).collect()
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Append,
    Reserve,
    SendOldest,
    SendNewest,
    Restart,
}

/// Who runs an agent, as far as the spool is concerned.
struct Agent {
    disk: FaultyDisk,
    spool: Option<Spool<FaultyDisk>>,
    made: u64,
    /// Finished, and not acknowledged.
    owed: BTreeMap<Uuid, Vec<u8>>,
    /// Ever given to it.
    given: BTreeMap<Uuid, Vec<u8>>,
}

impl Agent {
    fn new(disk: FaultyDisk) -> Self {
        Self { disk, spool: None, made: 0, owed: BTreeMap::new(), given: BTreeMap::new() }
    }

    fn spool(&mut self) -> &mut Spool<FaultyDisk> {
        let disk = self.disk.clone();
        self.spool.get_or_insert_with(|| Spool::open(disk, SMALL).unwrap())
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Append => {
                let (n, bytes) = (self.made, payload(self.made));
                self.made += 1;
                self.given.insert(id(n), bytes.clone());
                if self.spool().append(id(n), time(0), &bytes).is_ok() {
                    self.owed.insert(id(n), bytes);
                }
            }
            // Whether there was room does not matter here.
            Act::Reserve => drop(self.spool().reserve()),
            Act::SendOldest | Act::SendNewest => {
                let is_oldest = matches!(act, Act::SendOldest);
                let mut all: Vec<_> = self.spool().waiting().collect();
                let one = if is_oldest { all.first().copied() } else { all.pop() };
                if let Some((key, waiting)) = one {
                    let read = self.spool().read(key).unwrap().expect("it is whole");
                    assert_eq!(self.given.get(&waiting.id), Some(&read), "what is sent is what was made");
                    self.spool().sent(key);
                    self.owed.remove(&waiting.id);
                }
            }
            Act::Restart => self.spool = None,
        }
    }

    /// After a power cut: all that is owed is there, and all that is there was made.
    fn cut_and_look(&mut self) {
        self.spool = None;
        self.disk.power_on();
        let found: Vec<(Key, Waiting)> = self.spool().waiting().collect();
        let mut there = BTreeMap::new();
        for (key, waiting) in found {
            let read = self.spool().read(key).unwrap().expect("it is whole");
            assert_eq!(self.given.get(&waiting.id), Some(&read), "nothing comes back changed");
            there.insert(waiting.id, read);
        }
        for (id, bytes) in &self.owed {
            assert_eq!(there.get(id), Some(bytes), "{id} was finished and is lost");
        }
    }
}

fn run(seed: u64, acts: &[Act], fault: Option<(u64, Fault)>) -> u64 {
    let disk = FaultyDisk::new(seed);
    if let Some((at, fault)) = fault {
        disk.fail_at(at, fault);
    }
    let mut agent = Agent::new(disk.clone());
    acts.iter().for_each(|act| agent.act(*act));
    let operations = disk.operations();
    agent.cut_and_look();
    // And it goes on.
    agent.act(Act::Append);
    agent.act(Act::SendOldest);
    agent.cut_and_look();
    operations
}

fn script() -> Vec<Act> {
    use Act::{Append, Reserve, Restart, SendNewest, SendOldest};
    let day = [Reserve, Append, SendNewest, Reserve, Append, Append, SendOldest, Append];
    let outage = [Append; 9];
    let drained = [SendNewest, SendOldest, SendOldest, SendOldest, Append, SendOldest];
    [day.as_slice(), &outage, &drained, &[Restart], &day, &outage, &[Restart], &drained].concat()
}

#[test]
fn whatever_fails_at_any_operation_nothing_finished_is_lost() {
    let acts = script();
    let mut points = 0;
    for seed in 0..20 {
        let operations = run(seed, &acts, None);
        assert!(operations > 60, "{operations}");
        for at in 0..operations {
            run(seed, &acts, Some((at, Fault::Error)));
            run(seed, &acts, Some((at, Fault::Cut)));
            points += 2;
        }
    }
    assert!(points > 2_000, "{points}");
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Append),
        1 => Just(Act::Reserve),
        2 => Just(Act::SendOldest),
        2 => Just(Act::SendNewest),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #[test]
    fn nor_in_any_other_order(
        seed: u64,
        acts in proptest::collection::vec(any_act(), 1..60),
        at in 0_u64..200,
        cut: bool,
    ) {
        run(seed, &acts, Some((at, if cut { Fault::Cut } else { Fault::Error })));
    }

    /// A bit that turns costs the record that it is in, and no other one; nothing comes back changed.
    #[test]
    fn a_bit_that_turns_costs_one_report(seed: u64, bit: usize) {
        let disk = FaultyDisk::new(seed);
        let mut agent = Agent::new(disk.clone());
        (0..3).for_each(|_| agent.act(Act::Append));
        agent.spool = None;
        disk.power_on();
        disk.rot(bit);
        let spool = agent.spool();
        let found: Vec<_> = spool.waiting().collect();
        prop_assert!(found.len() >= 2, "{found:?}");
        for (key, waiting) in found {
            let read = agent.spool().read(key).unwrap();
            prop_assert_eq!(agent.given.get(&waiting.id), read.as_ref());
        }
    }
}

#[test]
fn what_was_reserved_can_be_written_on_a_full_disk() {
    let disk = FaultyDisk::new(1);
    let mut spool = Spool::open(disk.clone(), SMALL).unwrap();
    for n in 0..20 {
        disk.fill(false);
        spool.reserve().unwrap();
        disk.fill(true);
        spool.append(id(n), time(0), &[1; 200]).unwrap();
    }
    let before = disk.names();
    assert!((0..10).any(|_| spool.reserve().is_err()));
    assert!(spool.append(id(99), time(0), &[1; 900]).is_err());
    assert!(disk.names() <= before, "half a segment is not left behind");
    disk.fill(false);
    spool.append(id(99), time(0), &[1; 900]).unwrap();
    assert_eq!(spool.len(), 21);
}

#[test]
fn what_was_sent_is_freed_and_the_disk_with_it() {
    let disk = FaultyDisk::new(2);
    let mut spool = Spool::open(disk.clone(), SMALL).unwrap();
    let keys: Vec<Key> = (0..40).map(|n| spool.append(id(n), time(0), &[7; 100]).unwrap()).collect();
    assert!(disk.names() > 3);
    keys.into_iter().for_each(|key| spool.sent(key));
    assert!(spool.is_empty());
    assert!(disk.names() <= 1, "{}", disk.names());
    assert_eq!(spool.lost(), 0);
}

#[test]
fn beyond_its_limit_the_oldest_go_and_are_counted() {
    let limits = Limits { bytes: 4 * 1_024, ..SMALL };
    let mut spool = Spool::open(FaultyDisk::new(3), limits).unwrap();
    for n in 0..100 {
        spool.append(id(n), time(0), &[7; 200]).unwrap();
        assert!(spool.bytes() <= limits.bytes);
    }
    let left: Vec<Uuid> = spool.waiting().map(|(_, waiting)| waiting.id).collect();
    assert_eq!(left.len() as u64 + spool.lost(), 100);
    assert_eq!(left.last(), Some(&id(99)));
    assert!(left.windows(2).all(|pair| pair[0] < pair[1]), "oldest first: {left:?}");
}

#[test]
fn what_is_too_old_goes_and_is_counted() {
    let mut spool = Spool::open(FaultyDisk::new(4), SMALL).unwrap();
    for n in 0..10 {
        spool.append(id(n), time(i64::try_from(n).unwrap() * 86_400), &[7; 100]).unwrap();
    }
    spool.expire(time(9 * 86_400));
    assert_eq!((spool.len(), spool.lost()), (8, 2));
}

#[test]
fn a_report_that_none_is_is_refused() {
    let mut spool = Spool::open(FaultyDisk::new(5), SMALL).unwrap();
    let too_long = vec![0; usize::try_from(MOST).unwrap()];
    assert_eq!(spool.append(id(1), time(0), &too_long).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    spool.append(id(2), time(0), &[1; 5_000]).unwrap();
    assert_eq!(spool.len(), 1);
}

#[test]
fn a_real_folder_keeps_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    let mut spool = Spool::open(Folder::open(&path).unwrap(), Limits::default()).unwrap();
    spool.reserve().unwrap();
    let key = spool.append(id(1), time(0), b"one").unwrap();
    spool.append(id(2), time(1), b"two").unwrap();
    assert_eq!(spool.read(key).unwrap().as_deref(), Some(b"one".as_slice()));
    assert_eq!(spool.bytes(), 1 << 20);
    drop(spool);
    let mut spool = Spool::open(Folder::open(&path).unwrap(), Limits::default()).unwrap();
    let found: Vec<(Key, Waiting)> = spool.waiting().collect();
    assert_eq!(found.iter().map(|(_, waiting)| waiting.id).collect::<Vec<_>>(), [id(1), id(2)]);
    found.into_iter().for_each(|(key, _)| spool.sent(key));
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}
