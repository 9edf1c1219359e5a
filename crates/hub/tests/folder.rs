//! A folder in a package, brought for a file that is made here: its files come open and nothing
//! else of it stays; a package that is not the catalogue's is refused before it is read.

mod support;

use std::fs;
use std::io::Read;

use hearth_hub::progress::Silent;
use hearth_hub::source::{PackageFolder, Proxies, Source, Supplied};
use hearth_hub::{Desk, HubError, Installed, Intake, PackagedFile, PackagedFolder, Sha256};
use support::{PIECES, World, facts, files_under};

/// Joins the files of a folder.
struct Joined(PackageFolder);

impl Source for Joined {
    fn label(&self) -> String {
        self.0.label()
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let files = self.0.open(intake)?;
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["0", "deep/1", "2"]);
        let total = PIECES.iter().sum::<usize>() as u64;
        let file = intake.make("tiny.gguf".to_owned().try_into()?, total, |out| {
            for (_, mut file) in files {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                out.put(&bytes)?;
            }
            Ok(())
        })?;
        Ok(Supplied { files: vec![file], verified: true })
    }
}

/// A world whose first wheel holds the model's pieces in a folder, and that folder.
fn world() -> (World, PackagedFolder) {
    let world = World::new();
    let pieces: Vec<_> = (0..PIECES.len()).map(|index| world.piece(index).to_vec()).collect();
    world.put_wheel(
        0,
        &[
            ("../0", b"evil"),
            ("m/0", &pieces[0]),
            ("m/deep/1", &pieces[1]),
            ("m/2", &pieces[2]),
            ("m/3", b"more"),
        ],
    );
    let files = ["0", "deep/1", "2"].into_iter().zip(PIECES);
    let file =
        |(name, bytes): (&str, usize)| PackagedFile { name: name.to_owned(), bytes: bytes as u64 };
    let folder = PackagedFolder {
        pin: "tiny-part0==1.0".parse().unwrap(),
        download: 7000,
        sha256: Sha256::of(&fs::read(world.wheel(0)).unwrap()),
        within: "m/".to_owned(),
        files: files.map(file).collect(),
    };
    (world, folder)
}

fn pull(world: &World, folder: &PackagedFolder) -> Result<Installed, HubError> {
    let folder = PackageFolder::new(world.path("python3"), Proxies::default(), folder.clone());
    let ledger = world.ledger();
    let desk = Desk { observer: &Silent, ledger: &ledger, command: "pull test:tiny" };
    world.store().install(&facts("test:tiny"), &Joined(folder), desk)
}

#[test]
fn its_files_come_open_and_nothing_else_stays() {
    let (world, folder) = world();
    let installed = pull(&world, &folder).unwrap();
    assert!(installed.fresh && installed.manifest.verified);
    assert_eq!(installed.manifest.source, "folder in the Python package tiny-part0==1.0");
    world.assert_complete();
    assert!(!files_under(world.folder.path()).iter().any(|path| path.contains("evil")));
    assert!(!pull(&world, &folder).unwrap().fresh);
    assert_eq!(world.lines("calls").len(), 1);
    let seen = world.lines("seen");
    assert!(seen[0].contains("\"event\":\"open\"") && seen[0].contains("tiny-part0==1.0"));
    assert!(world.lines("egress.log")[1].contains("done"));
}

#[test]
fn a_package_that_is_not_the_catalogues_is_refused() {
    for (what, words) in [
        ("digest", "SHA-256"),
        ("missing", "has no member `m/nowhere`"),
        ("size", "`m/2` has 1000 bytes, expected 1001"),
        ("space", "are needed; free some space"),
        ("client", "No matching distribution"),
    ] {
        let (world, mut folder) = world();
        match what {
            "digest" => {
                world.put_wheel(0, &[("m/0", b"GGUF other"), ("m/deep/1", b""), ("m/2", b"")])
            }
            "missing" => folder.files[1].name = "nowhere".to_owned(),
            "size" => folder.files[2].bytes += 1,
            "space" => folder.files[2].bytes = 1 << 60,
            _ => fs::remove_file(world.wheel(0)).unwrap(),
        }
        let error = pull(&world, &folder).unwrap_err();
        assert!(error.to_string().contains(words), "{what}: {error}");
        if what == "digest" {
            assert!(matches!(error, HubError::Integrity { .. }), "{error}");
        }
        world.assert_empty();
    }
}
