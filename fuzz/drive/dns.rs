use greenroom::address::RecordType;
use greenroom::proto::asking::{Heard, Questions as _};
use greenroom::proto::dns::{Asking, Names, id_of, read_answer};

/// Reads the input as a name server's answer, by itself and as an answer to questions of its own identifier.
pub(crate) fn drive(data: &[u8]) {
    let name = "probe.example".to_owned();
    for kind in RecordType::ALL {
        if let Ok(answer) = read_answer(data, &name, kind) {
            assert!(answer.records.len() <= 64 && answer.aliases.len() <= 16);
        }
    }
    let id = id_of(data).unwrap_or_default();
    let asking = RecordType::ALL.map(|kind| Asking { id, name: name.clone(), kind });
    let mut names = Names::new(asking.to_vec());
    if let Heard::Answer(index) = names.read(data, 2) {
        assert!(index < 2, "what was not asked is not answered");
        names.note(index, data);
        assert_eq!(names.all().filter(|(_, answer)| answer.is_some()).count(), 1);
    }
}
