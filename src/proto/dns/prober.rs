//! The questions to one name server, and what it answered.

use super::{Answer, NotAnAnswer, id_of, is_message, read_answer, write_question};
use crate::address::RecordType;
use crate::proto::asking::{Heard, Questions};

/// One question to a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// What nobody can guess.
    pub id: u16,
    /// The name asked for.
    pub name: String,
    /// What is asked for.
    pub kind: RecordType,
}

/// All questions to one name server and their answers. Two questions for the same may have the same identifier by chance: the
/// earlier one is taken as answered first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    asking: Vec<Asking>,
    answers: Vec<Option<Answer>>,
}

impl Names {
    /// To be asked in this order.
    pub fn new(asking: Vec<Asking>) -> Self {
        Self { answers: vec![None; asking.len()], asking }
    }

    /// Each question with its answer, if there was one.
    pub fn all(&self) -> impl Iterator<Item = (&Asking, Option<&Answer>)> {
        self.asking.iter().zip(self.answers.iter().map(Option::as_ref))
    }

    /// The question that this answers, of the first `asked` ones.
    fn answered_by(&self, payload: &[u8], asked: usize) -> Result<usize, NotAnAnswer> {
        let id = id_of(payload).ok_or(NotAnAnswer::Garbage)?;
        let mut reason = if is_message(payload) { NotAnAnswer::OtherQuestion } else { NotAnAnswer::Garbage };
        let candidates = self.asking.iter().zip(&self.answers).enumerate().take(asked);
        // One that has its answer comes last: then it is a copy.
        let (open, done): (Vec<_>, Vec<_>) = candidates
            .filter(|(_, (asking, _))| asking.id == id)
            .partition(|(_, (_, answer))| answer.is_none());
        for (index, (asking, _)) in open.into_iter().chain(done) {
            match read_answer(payload, &asking.name, asking.kind) {
                Ok(_) => return Ok(index),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

impl Questions for Names {
    fn count(&self) -> usize {
        self.asking.len()
    }

    fn write(&mut self, index: usize, payload: &mut Vec<u8>) {
        if let Some(asking) = self.asking.get(index) {
            write_question(asking.id, &asking.name, asking.kind, payload);
        }
    }

    fn read(&self, payload: &[u8], asked: usize) -> Heard {
        match self.answered_by(payload, asked) {
            Ok(index) => Heard::Answer(index),
            Err(NotAnAnswer::OtherQuestion | NotAnAnswer::NoResponse) => Heard::Stranger,
            Err(NotAnAnswer::Garbage) => Heard::Garbage,
        }
    }

    fn note(&mut self, index: usize, payload: &[u8]) {
        let Some((asking, answer)) = self.asking.get(index).zip(self.answers.get_mut(index)) else { return };
        *answer = read_answer(payload, &asking.name, asking.kind).ok();
    }
}
