//! One file from a server: asked about first, then brought in parallel ranges where the server has
//! them, else in one stream.
//!
//! Threads fetch, each every n-th range, and hand them over through channels that hold one; whoever
//! reads takes them in turn. So the bytes come in order, memory holds two ranges for each
//! connection, and neither hashing nor resuming needs to know of it.

use super::answer::{Answer, clean};
use super::client::{Ask, Client, Led, TICK};
use super::secret::Secret;
use super::trouble::Trouble;
use super::url::Url;
use crate::HubError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Largest file that is fetched: one terabyte, and room for it is asked of the disk before.
const SIZE_CAP: u64 = 1 << 40;

/// What a server says of a file before it sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Its size.
    pub(crate) bytes: u64,
    /// What changes when its bytes change, if the server says.
    pub(crate) etag: Option<String>,
    /// Does the server send parts of it?
    pub(crate) ranges: bool,
}

/// A file to fetch.
#[derive(Clone)]
pub(crate) struct Download {
    pub(crate) url: Url,
    /// What is fetched, for the ledger and for messages.
    pub(crate) what: String,
    /// A token that the server itself gave.
    pub(crate) bearer: Option<Secret>,
}

/// Asks for the first byte of a file: that tells its size and whether there are ranges, also where
/// a server refuses HEAD.
pub(crate) fn probe(client: &Client, download: &Download) -> Result<Probe, Trouble> {
    let ask = download.ask(Some((0, 0)), None);
    client.again(|| {
        let answer = client.get(&download.url, &ask)?;
        let host = answer.url.origin().to_string();
        let (bytes, ranges) = match (answer.status, &answer.range) {
            (206, Some(range)) => (total_of(range).ok_or_else(|| odd_range(&host, range))?, true),
            (206, None) => return Err(odd_range(&host, "nothing")),
            _ => (answer.length.ok_or_else(|| endless(&host))?, false),
        };
        if bytes == 0 || bytes > SIZE_CAP {
            return Err(Trouble::lasting(format!(
                "{host} says that the file has {bytes} bytes; expected 1 byte to 1 TB"
            )));
        }
        Ok(Probe { bytes, etag: answer.etag, ranges })
    })
}

fn endless(host: &str) -> Trouble {
    Trouble::lasting(format!(
        "{host} does not say how long the file is, so its end could not be known; fetch it by \
         other means and `hearth import` it"
    ))
}

fn odd_range(host: &str, found: &str) -> Trouble {
    let found = clean(found, 60);
    Trouble::lasting(format!("{host} sent another part than asked for ({found})"))
}

impl Download {
    fn ask<'a>(&'a self, range: Option<(u64, u64)>, if_range: Option<&'a str>) -> Ask<'a> {
        let bearer = self.bearer.as_ref();
        Ask { what: &self.what, range, if_range, bearer, ..Ask::default() }
    }
}

/// The bytes of a file from some place on, in order.
pub(crate) struct Stream {
    client: Client,
    /// One for each thread; the blocks come from them in turn.
    blocks: Vec<Receiver<Result<Vec<u8>, Trouble>>>,
    turn: usize,
    /// What is left of the block that is being taken.
    block: Vec<u8>,
    taken: usize,
    /// Bytes that are still to be taken.
    left: u64,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
struct Job {
    client: Client,
    download: Download,
    probe: Probe,
    /// Where the redirects ended the last time.
    end: Mutex<Option<(Url, Led)>>,
    received: Arc<AtomicU64>,
}

impl Stream {
    /// Starts to fetch from byte `start` on. Ranges are used if the probe found them.
    pub(crate) fn start(client: &Client, download: &Download, probe: &Probe, start: u64) -> Self {
        let received = Arc::new(AtomicU64::new(0));
        let job = Arc::new(Job {
            client: client.clone(),
            download: download.clone(),
            probe: probe.clone(),
            end: Mutex::new(None),
            received: received.clone(),
        });
        let limits = &client.reach().limits;
        let chunk = limits.chunk.max(1);
        let ranges = (probe.bytes - start).div_ceil(chunk);
        let count = match probe.ranges {
            true => {
                limits.connections.clamp(1, 16).min(usize::try_from(ranges).unwrap_or(16)).max(1)
            }
            false => 1,
        };
        let (mut blocks, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (sender, receiver) = mpsc::sync_channel(1);
            let (job, index, step) = (job.clone(), index as u64, count as u64);
            threads.push(std::thread::spawn(move || match job.probe.ranges {
                true => job.send_ranges(start + index * chunk, chunk, step, &sender),
                false => job.send_whole(start, &sender),
            }));
            blocks.push(receiver);
        }
        let client = client.clone();
        let (turn, block, taken, left) = (0, Vec::new(), 0, probe.bytes - start);
        Self { client, blocks, turn, block, taken, left, received, threads }
    }

    /// Hands the next `bytes` bytes to `put`, a block at a time. `waiting` is told often how many
    /// bytes have come in all, handed over or not.
    pub(crate) fn take(
        &mut self,
        mut bytes: u64,
        mut put: impl FnMut(&[u8]) -> Result<(), HubError>,
        mut waiting: impl FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), Trouble> {
        while bytes > 0 {
            if self.taken == self.block.len() {
                self.block = self.next(&mut waiting)?;
                self.taken = 0;
            }
            let rest = self.block.get(self.taken..).unwrap_or_default();
            let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
            put(&rest[..most])?;
            self.taken += most;
            bytes -= most as u64;
            self.left = self.left.saturating_sub(most as u64);
            waiting(self.received.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn next(
        &mut self,
        waiting: &mut impl FnMut(u64) -> Result<(), HubError>,
    ) -> Result<Vec<u8>, Trouble> {
        let blocks = &self.blocks[self.turn];
        self.turn = (self.turn + 1) % self.blocks.len();
        loop {
            match blocks.recv_timeout(TICK) {
                Ok(block) => return block,
                Err(RecvTimeoutError::Timeout) => waiting(self.received.load(Ordering::Relaxed))?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Trouble::lasting("the file ended before its end"));
                }
            }
        }
    }
}

impl Drop for Stream {
    /// No thread outlives it: each has lines in the ledger to close.
    fn drop(&mut self) {
        self.blocks.clear();
        if self.left > 0 {
            // What still runs is not wanted any more: this is an error path, or a stop.
            self.client.stop();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Job {
    /// Sends every `step`-th range, beginning with the one at `first`.
    fn send_ranges(
        &self,
        first: u64,
        chunk: u64,
        step: u64,
        to: &SyncSender<Result<Vec<u8>, Trouble>>,
    ) {
        let mut at = first;
        while at < self.probe.bytes {
            let range = self.range(at, chunk.min(self.probe.bytes - at));
            let failed = range.is_err();
            // Nobody takes it any more if the reader is gone.
            if to.send(range).is_err() || failed {
                return;
            }
            at += chunk * step;
        }
    }

    /// One range, going on where a connection broke.
    fn range(&self, at: u64, bytes: u64) -> Result<Vec<u8>, Trouble> {
        let mut block = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        self.client.again(|| self.rest_of_range(at, bytes, &mut block))?;
        Ok(block)
    }

    fn rest_of_range(&self, at: u64, bytes: u64, block: &mut Vec<u8>) -> Result<(), Trouble> {
        let (first, last) = (at + block.len() as u64, at + bytes - 1);
        let mut answer = self.ask(Some((first, last)))?;
        let host = answer.url.origin().to_string();
        if answer.status != 206 {
            return Err(Trouble::lasting(format!(
                "{host} sent the whole file where a part was asked for: it changed meanwhile; \
                 run the same command again"
            )));
        }
        let range = answer.range.clone().unwrap_or_default();
        if range != format!("bytes {first}-{last}/{}", self.probe.bytes) {
            return Err(odd_range(&host, &range));
        }
        let mut buffer = vec![0; 64 << 10];
        while (block.len() as u64) < bytes {
            let left = usize::try_from(bytes - block.len() as u64).unwrap_or(usize::MAX);
            let most = left.min(buffer.len());
            let count = answer.read(&mut buffer[..most])?;
            if count == 0 {
                let text = format!("{host} closed the connection before the end");
                return Err(Trouble::Passing(text));
            }
            block.extend_from_slice(&buffer[..count]);
            self.received.fetch_add(count as u64, Ordering::Relaxed);
        }
        // The end is read too, so that the connection can be used again; more than that is odd.
        match answer.read(&mut buffer[..1])? {
            0 => Ok(()),
            _ => Err(odd_range(&host, "more bytes")),
        }
    }

    /// Sends the file in one stream, without its first `start` bytes, which are there already.
    fn send_whole(&self, start: u64, to: &SyncSender<Result<Vec<u8>, Trouble>>) {
        if let Err(trouble) = self.whole(start, to) {
            // Nobody takes it any more if the reader is gone.
            let _ = to.send(Err(trouble));
        }
    }

    fn whole(&self, start: u64, to: &SyncSender<Result<Vec<u8>, Trouble>>) -> Result<(), Trouble> {
        let mut answer = self.client.again(|| self.ask(None))?;
        let host = answer.url.origin().to_string();
        let mut buffer = vec![0; 64 << 10];
        let mut done = 0_u64;
        loop {
            let count = answer.read(&mut buffer)?;
            let before = done;
            done += count as u64;
            if done > self.probe.bytes {
                let bytes = self.probe.bytes;
                let text = format!("{host} goes on beyond the {bytes} bytes that it announced");
                return Err(Trouble::Lasting(text));
            }
            if count == 0 {
                break;
            }
            let skip = usize::try_from(start.saturating_sub(before)).unwrap_or(count).min(count);
            let block = buffer[skip..count].to_vec();
            self.received.fetch_add(block.len() as u64, Ordering::Relaxed);
            if !block.is_empty() && to.send(Ok(block)).is_err() {
                return Ok(());
            }
        }
        match done == self.probe.bytes {
            true => Ok(()),
            false => {
                let expected = self.probe.bytes;
                let text = format!("{host} stopped after {done} of {expected} bytes");
                Err(Trouble::Passing(text))
            }
        }
    }

    /// Asks at the address where the redirects ended the last time; that is good for a while only,
    /// so a refusal there is a reason to follow them anew.
    fn ask(&self, range: Option<(u64, u64)>) -> Result<Answer, Trouble> {
        let known = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let etag = self.probe.etag.as_deref();
        let ask = self.download.ask(range, range.and(etag));
        let answer = match &known {
            Some((url, led)) => match self.client.get(url, &Ask { led: *led, ..ask }) {
                Err(Trouble::Status { .. }) => self.client.get(&self.download.url, &ask)?,
                other => other?,
            },
            None => self.client.get(&self.download.url, &ask)?,
        };
        if let (Some(expected), Some(found)) = (etag, &answer.etag)
            && expected != found
        {
            return Err(Trouble::lasting(format!(
                "{} changed the file while it was fetched; run the same command again",
                answer.url.origin()
            )));
        }
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((answer.url.clone(), answer.led));
        Ok(answer)
    }
}

/// The size of the whole in `bytes 0-0/SIZE`.
fn total_of(range: &str) -> Option<u64> {
    let total = range.strip_prefix("bytes 0-0/")?;
    let digits = !total.is_empty() && total.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| total.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_that_was_asked_for_tells_the_size() {
        assert_eq!(total_of("bytes 0-0/1234"), Some(1234));
        for range in [
            "bytes 0-1/1234",
            "bytes 1-1/1234",
            "bytes 0-0/*",
            "bytes 0-0/-1",
            "bytes 0-0/+1",
            "bytes 0-0/99999999999999999999999",
            "items 0-0/5",
            "",
        ] {
            assert_eq!(total_of(range), None, "{range}");
        }
    }
}
