//! Sealed files on disk: their place, their owner, and what a failure leaves.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    key: Key,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::of(&folder.path().join("key")).unwrap();
        Self { folder, key }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    fn create(&self) -> SealedWriter {
        SealedWriter::create(&self.path(), &self.key, "test").unwrap()
    }

    fn write(&self, records: &[&[u8]]) -> Hold {
        let mut writer = self.create();
        records.iter().for_each(|record| writer.put(record).unwrap());
        writer.finish().unwrap()
    }

    fn open(&self) -> Result<Option<SealedReader>, HubError> {
        SealedReader::open(&self.path(), &self.key, "test")
    }

    fn records(&self) -> Vec<Vec<u8>> {
        let mut reader = self.open().unwrap().expect("a file");
        std::iter::from_fn(|| reader.record().unwrap()).collect()
    }

    /// Files in the folder besides the key.
    fn files(&self) -> usize {
        self.folder.path().read_dir().unwrap().count() - 1
    }
}

#[test]
fn a_file_takes_its_place_when_it_is_complete() {
    let place = Place::new();
    assert!(place.open().unwrap().is_none());
    drop(place.write(&[b"old"]));
    let mode = std::fs::metadata(place.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut writer = place.create();
    writer.put(b"new").unwrap();
    assert_eq!((place.files(), place.records()), (2, vec![b"old".to_vec()]));
    drop(writer);
    assert_eq!((place.files(), place.records()), (1, vec![b"old".to_vec()]));
    drop(place.write(&[b"new", b"er"]));
    assert_eq!((place.files(), place.records()), (1, vec![b"new".to_vec(), b"er".to_vec()]));
}

#[test]
fn one_process_at_a_time_has_it() {
    let place = Place::new();
    let hold = place.write(&[b"a"]);
    assert!(matches!(place.open(), Err(HubError::Busy { .. })));
    // Whoever holds it puts a new one in its place, and holds that.
    let next = place.write(&[b"b"]);
    drop(hold);
    assert!(matches!(place.open(), Err(HubError::Busy { .. })));
    drop(next);
    let reader = place.open().unwrap().unwrap();
    assert!(matches!(place.open(), Err(HubError::Busy { .. })));
    let hold = reader.hold();
    assert!(matches!(place.open(), Err(HubError::Busy { .. })));
    drop(hold);
    assert_eq!(place.records(), [b"b"]);
}

#[test]
fn leftovers_go_and_what_others_are_writing_stays() {
    let place = Place::new();
    let left = part_of(&place.path(), "0123456789abcdef");
    let alike = [".kept.part", ".kept.0123.part", ".kept2.0123456789abcdef.part"];
    let alike = alike.map(|name| place.folder.path().join(name));
    alike.iter().chain([&left]).for_each(|path| std::fs::write(path, "x").unwrap());
    let other = place.create();
    assert!(!left.exists() && alike.iter().all(|path| path.exists()));
    let mine = place.create();
    assert_eq!(place.files(), alike.len() + 2);
    drop(other.finish().unwrap());
    drop(mine.finish().unwrap());
    assert_eq!(place.files(), alike.len() + 1);
}

#[test]
fn a_link_stays_a_link() {
    let place = Place::new();
    let target = place.folder.path().join("target");
    drop(SealedWriter::create(&target, &place.key, "test").unwrap().finish().unwrap());
    std::os::unix::fs::symlink(&target, place.path()).unwrap();
    drop(place.write(&[b"a"]));
    assert!(place.path().is_symlink());
    assert_eq!(place.records(), [b"a"]);
}

#[test]
fn a_text_of_any_length_comes_back_up_to_the_cap() {
    let place = Place::new();
    for length in [0, 1, MOST_RECORD, 2 * MOST_RECORD + 1] {
        let text: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let mut writer = place.create();
        writer.put_text(&text).unwrap();
        writer.put(b"after").unwrap();
        drop(writer.finish().unwrap());
        let mut reader = place.open().unwrap().unwrap();
        assert!(reader.text(length).unwrap() == text);
        assert_eq!(reader.record().unwrap().unwrap(), b"after");
        drop(reader);
        if length > 0 {
            let error = place.open().unwrap().unwrap().text(length - 1).unwrap_err();
            assert!(matches!(error, HubError::Sealed { .. }), "{error}");
        }
    }
}

#[test]
fn t10_records_that_are_no_text_are_refused() {
    let place = Place::new();
    let length = 5u64.to_le_bytes();
    let cases: [&[&[u8]]; 7] = [
        &[],
        &[&length[..7]],
        &[&u64::MAX.to_le_bytes()],
        &[&length],
        &[&length, b"abc"],
        &[&length, b"abcdef"],
        &[&length, b"", b"abcde"],
    ];
    for records in cases {
        drop(place.write(records));
        let error = place.open().unwrap().unwrap().text(100).unwrap_err();
        assert!(matches!(error, HubError::Sealed { .. }), "{error}");
    }
}

#[test]
fn t10_what_is_no_sealed_file_is_refused_and_named() {
    let place = Place::new();
    for bytes in [&b""[..], b"hello", &[0; 4096]] {
        std::fs::write(place.path(), bytes).unwrap();
        let error = place.open().err().unwrap();
        assert!(matches!(error, HubError::Sealed { .. }), "{error}");
        assert!(error.to_string().contains(place.path().to_str().unwrap()), "{error}");
    }
    std::fs::remove_file(place.path()).unwrap();
    std::fs::create_dir(place.path()).unwrap();
    assert!(matches!(place.open(), Err(HubError::Sealed { .. })));
}
