//! Models that stay where they are: imported, noticed when they change, never touched.

mod support;

use hearth_hub::progress::Silent;
use hearth_hub::source::FileSource;
use hearth_hub::{Catalogue, Desk, HubError, Installed, open_path};
use std::fs;
use std::path::Path;
use support::{World, facts, files_under};

fn import(world: &World, name: &str, path: &Path) -> Result<Installed, HubError> {
    let ledger = world.ledger();
    let desk = Desk { observer: &Silent, ledger: &ledger, command: "import" };
    let facts = facts(name);
    let mut catalogue = Catalogue::builtin();
    catalogue.entries.push(world.entry.clone());
    let source = FileSource::new(path.to_owned(), &facts.name, &catalogue);
    world.store().install(&facts, &source, desk)
}

#[test]
fn an_import_is_a_record_and_no_copy() {
    let world = World::new();
    let path = world.path("mine.gguf");
    fs::write(&path, &world.model).unwrap();
    let manifest = import(&world, "mine", &path).unwrap().manifest;
    assert!(manifest.in_place() && !manifest.verified);
    assert_eq!(Some(manifest.files[0].sha256()), world.entry.sha256);
    let mut left = files_under(&world.path("models"));
    left.retain(|path| !path.ends_with(".lock"));
    assert_eq!(left, ["mine/manifest.toml"]);
    assert!(!world.path("egress.log").exists(), "an import contacts nothing");

    let open = world.store().open_model(&manifest.facts.name).unwrap();
    assert_eq!(open.paths[0], path.canonicalize().unwrap());
    drop(open);
    world.store().remove(&manifest.facts.name).unwrap();
    assert_eq!(fs::read(&path).unwrap(), world.model);
    world.assert_empty();
}

#[test]
fn a_file_that_changed_or_vanished_is_noticed() {
    let world = World::new();
    let path = world.path("mine.gguf");
    fs::write(&path, &world.model).unwrap();
    let name = import(&world, "mine", &path).unwrap().manifest.facts.name;
    let touched =
        fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    let error = || world.store().open_model(&name).unwrap_err().to_string();

    fs::File::options().write(true).open(&path).unwrap().set_modified(touched).unwrap();
    assert!(error().contains("written to since"), "{}", error());
    fs::write(&path, b"GGUF shorter").unwrap();
    assert!(error().contains("it has 12 bytes and had 6000"), "{}", error());
    fs::remove_file(&path).unwrap();
    assert!(error().contains("the file is gone"), "{}", error());
    assert!(error().contains("hearth rm mine"), "{}", error());
}

#[test]
fn what_is_no_model_is_refused() {
    let world = World::new();
    let text = world.path("text.gguf");
    fs::write(&text, "hello").unwrap();
    let empty = world.path("empty.gguf");
    fs::write(&empty, "").unwrap();
    for path in [&text, &empty, &world.path("missing.gguf"), &world.path("wheels")] {
        let error = import(&world, "mine", path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(open_path(path).is_err());
    }
    assert!(import(&world, "mine", Path::new("/dev/zero")).is_err());
    world.assert_empty();
}

#[test]
fn all_parts_of_a_split_model_are_opened() {
    let world = World::new();
    for part in 1..=3 {
        fs::write(world.path(&format!("big-{part:05}-of-00003.gguf")), &world.model).unwrap();
    }
    let second = world.path("big-00002-of-00003.gguf");
    assert_eq!(open_path(&second).unwrap().files.len(), 3);
    let manifest = import(&world, "big", &second).unwrap().manifest;
    assert_eq!(manifest.bytes(), 18_000);
    assert_eq!(world.store().open_model(&manifest.facts.name).unwrap().files.len(), 3);
}

#[test]
fn a_name_is_taken_only_once() {
    let world = World::new();
    let (one, two) = (world.path("one.gguf"), world.path("two.gguf"));
    fs::write(&one, &world.model).unwrap();
    fs::write(&two, &world.model).unwrap();
    assert!(import(&world, "a-b:c", &one).unwrap().fresh);
    assert!(!import(&world, "a-b:c", &one).unwrap().fresh);
    // Another file under the same name, and another name that has the same folder.
    for (name, path) in [("a-b:c", &two), ("a:b-c", &two)] {
        let error = import(&world, name, path).unwrap_err();
        assert!(matches!(error, HubError::NameTaken { .. }), "{error}");
        assert!(error.to_string().contains("--name"), "{error}");
    }
    assert!(world.store().open_model(&"a:b-c".parse().unwrap()).is_err());
    assert!(world.store().remove(&"a:b-c".parse().unwrap()).is_err());
    assert_eq!(world.store().list().unwrap().len(), 1);
}

/// A name of the catalogue, its family's name and a name with the same folder mean the catalogue's
/// bytes and no others.
#[test]
fn a_name_of_the_catalogue_is_for_its_bytes() {
    let world = World::new();
    let (same, other) = (world.path("same.gguf"), world.path("other.gguf"));
    fs::write(&same, &world.model).unwrap();
    fs::write(&other, [&world.model[..], b"x"].concat()).unwrap();
    for name in ["test:tiny", "test", "test-tiny"] {
        let error = import(&world, name, &other).unwrap_err();
        assert!(matches!(error, HubError::CatalogueName { .. }), "{error}");
        let words = format!("the name `{name}` is kept for the catalogue's `test:tiny` (SHA-256 ");
        assert!(error.to_string().contains(&words), "{error}");
        world.assert_empty();
    }
    assert!(import(&world, "test:tiny", &same).unwrap().manifest.verified);
}

#[test]
fn a_broken_manifest_is_listed_and_can_be_removed() {
    let world = World::new();
    world.pull().unwrap();
    fs::write(world.path("models/test-tiny/manifest.toml"), "version = ").unwrap();
    let listed = world.store().list().unwrap();
    assert!(matches!(&listed[..], [(name, Err(_))] if name == "test-tiny"));
    assert!(world.store().open_model(&world.entry.name).is_err());
    world.store().remove(&world.entry.name).unwrap();
    world.assert_empty();
}
