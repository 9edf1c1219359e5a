//! A file that is made here and now: stopped anywhere it leaves nothing, and a wrong one is no
//! model.

mod support;

use std::cell::Cell;
use std::ops::ControlFlow;

use hearth_hub::progress::{Observer, Progress, Silent, Stage};
use hearth_hub::source::{Source, Supplied};
use hearth_hub::{Desk, HubError, Intake};
use support::{World, facts, model_bytes};

/// Makes the test model, and says beforehand that it will have this many bytes.
struct Made {
    bytes: Vec<u8>,
    announced: u64,
}

impl Source for Made {
    fn label(&self) -> String {
        "made".into()
    }

    fn bring(&self, intake: &Intake<'_>) -> Result<Supplied, HubError> {
        let file = intake.make("tiny.gguf".to_owned().try_into()?, self.announced, |out| {
            for bytes in self.bytes.chunks(150) {
                out.put(bytes)?;
                intake.progress(Stage::Convert, out.done(), self.announced)?;
            }
            Ok(())
        })?;
        Ok(Supplied { files: vec![file], verified: false })
    }
}

fn install(world: &World, source: &Made, observer: &dyn Observer) -> Result<(), HubError> {
    let ledger = hearth_hub::Ledger::new(world.path("egress.log"));
    let desk = Desk { observer, ledger: &ledger, command: "import" };
    world.store().install(&facts("test:tiny"), source, desk).map(|_| ())
}

/// Nothing of the model is there, seen or unseen.
fn assert_nothing(world: &World) {
    assert!(world.store().list().unwrap().is_empty());
    assert!(!world.path("models/.partial/test-tiny").exists());
}

/// Stops the work after so many reports.
struct StopAfter(Cell<usize>);

impl Observer for StopAfter {
    fn observe(&self, _: Progress) -> ControlFlow<()> {
        match self.0.get() {
            0 => ControlFlow::Break(()),
            left => {
                self.0.set(left - 1);
                ControlFlow::Continue(())
            }
        }
    }
}

#[test]
fn stopped_at_every_report_it_leaves_nothing() {
    let source = Made { bytes: model_bytes(), announced: model_bytes().len() as u64 };
    let mut cuts = 0;
    loop {
        let world = World::new();
        match install(&world, &source, &StopAfter(Cell::new(cuts))) {
            Ok(()) => {
                world.assert_complete();
                break;
            }
            // Stopped after the model appeared, while leftovers are removed.
            Err(HubError::Stopped) if !world.store().list().unwrap().is_empty() => {
                world.assert_complete();
            }
            Err(HubError::Stopped) => assert_nothing(&world),
            Err(error) => panic!("{error}"),
        }
        cuts += 1;
    }
    assert!(cuts >= 40, "only {cuts} places to stop at");
}

#[test]
fn a_file_of_another_size_or_kind_is_no_model() {
    let whole = model_bytes();
    let size = whole.len() as u64;
    let other = [b"NOPE", &whole[4..]].concat();
    for (source, words) in [
        (Made { bytes: whole[..5000].to_vec(), announced: size }, "5000 bytes"),
        (Made { bytes: whole.clone(), announced: size - 10 }, "a piece of 6000 bytes or more"),
        (Made { bytes: other, announced: size }, "it starts with \"NOPE\""),
    ] {
        let world = World::new();
        let error = install(&world, &source, &Silent).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_nothing(&world);
    }
}
