//! The child's side: take the descriptors over, seal, and only then serve.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::OFlags;

use hearth_engine::protocol::{Event, Hello, Request};

use crate::frame::{self, FrameError, FrameReader};
use crate::wire::{Down, Start, Up};
use crate::{seal, sys};

/// Number of the first model part among the child's descriptors.
pub const FIRST_PART: i32 = 3;

/// Most model parts in one child.
pub const MAX_PARTS: usize = 1024;

/// A sealed process that has read nothing of its model yet.
pub struct Sealed {
    /// Facts from the parent.
    pub hello: Hello,
    /// The model's parts, read-only, in order.
    pub parts: Vec<File>,
    /// Where requests come from.
    pub requests: Requests,
    /// Where events go.
    pub events: Events,
}

/// The pipe from the parent.
pub struct Requests(FrameReader<File, Down>);

impl Requests {
    /// Waits for the next request; `None` when the parent is gone or sent damage.
    pub fn receive(&mut self) -> Option<Request> {
        match self.0.receive() {
            Ok(Some(Down::Request(request))) => Some(request),
            Ok(None) => None,
            Ok(Some(Down::Start(_))) => {
                eprintln!("engine: a second start frame came");
                None
            }
            Err(error) => {
                eprintln!("engine: {error}");
                None
            }
        }
    }
}

/// The pipe to the parent.
pub struct Events {
    pipe: File,
    refused_calls: u64,
}

impl Events {
    /// Sends one event; `false` when the parent is gone.
    pub fn send(&mut self, event: Event) -> bool {
        let last = event.is_last();
        let sent = if last { self.report_refused() } else { Ok(()) };
        let sent = sent.and_then(|()| frame::write(&mut self.pipe, &Up::Event(event)));
        if let Err(error) = &sent {
            eprintln!("engine: {error}");
        }
        sent.is_ok()
    }

    fn report_refused(&mut self) -> Result<(), FrameError> {
        let (calls, last) = seal::refused_calls();
        if calls == self.refused_calls {
            return Ok(());
        }
        self.refused_calls = calls;
        frame::write(&mut self.pipe, &Up::Refused { calls, last })
    }
}

/// Runs this process as a sealed child and ends it. Must be the first thing that the program does,
/// while it has one thread and has opened nothing.
pub fn main(serve: impl FnOnce(Sealed)) -> ! {
    let code = match enter() {
        Ok(sealed) => {
            serve(sealed);
            0
        }
        Err(error) => {
            eprintln!("{error}");
            1
        }
    };
    std::process::exit(code)
}

/// Why a child refuses to serve.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the pipe of the engine process: {0}")]
    Pipe(#[from] FrameError),
    #[error("the engine process could not take its descriptors over: {0}")]
    Descriptors(#[from] io::Error),
    #[error("no start frame came; this role is for hearth's own use")]
    NoStart,
    #[error("{0} model parts; expected at most {MAX_PARTS}")]
    Parts(usize),
    #[error("model part {0} came as a writable descriptor; expected a read-only one")]
    Writable(usize),
    #[error("the seal is weaker than required")]
    Weak,
}

fn enter() -> Result<Sealed, Refusal> {
    sys::ignore_interrupts();
    let mut requests = FrameReader::<_, Down>::new(File::from(sys::take_inherited(0)?));
    let Some(Down::Start(start)) = requests.receive()? else {
        return Err(Refusal::NoStart);
    };
    let Start { hello, require } = *start;
    let parts = take_parts(hello.parts)?;
    // Standard output becomes standard error: a stray `print` must not end up between frames.
    let mut pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(io::Error::from)?;

    let report = seal::close();
    let enough = report.level >= require;
    frame::write(&mut pipe, &Up::Sealed(report))?;
    if !enough {
        return Err(Refusal::Weak);
    }
    let events = Events { pipe, refused_calls: 0 };
    Ok(Sealed { hello, parts, requests: Requests(requests), events })
}

/// The parts under their fixed numbers; every descriptor behind them is closed.
fn take_parts(count: usize) -> Result<Vec<File>, Refusal> {
    let behind = i32::try_from(count).ok().filter(|_| count <= MAX_PARTS);
    let behind = FIRST_PART + behind.ok_or(Refusal::Parts(count))?;
    sys::close_from(behind)?;
    let mut parts = Vec::with_capacity(count);
    for number in FIRST_PART..behind {
        let part = File::from(sys::take_inherited(number)?);
        let flags = rustix::fs::fcntl_getfl(&part).map_err(io::Error::from)?;
        if flags & OFlags::ACCMODE != OFlags::RDONLY {
            return Err(Refusal::Writable(parts.len() + 1));
        }
        parts.push(part);
    }
    Ok(parts)
}
