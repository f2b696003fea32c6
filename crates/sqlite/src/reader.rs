//! The readers: threads that each own a connection and answer fills.
//!
//! A fill whose caller has gone is stopped: its future holds a [`Ticket`] and marks it when dropped, and the
//! connection's progress handler looks at the ticket of the fill that is running *now*. So one caller can never stop
//! another's query, which an interrupt that arrives a moment too late would.

use crate::facets::Facets;
use crate::fault;
use crate::file::{self, Access, FileId};
use crate::fill::{self, Attempt};
use crate::history::History;
use crate::json::Bounds;
use crate::log::Ask;
use crate::prepare;
use crate::queue::{Queue, Refused};
use crate::view::{View, Views};
use candor_core::KeyValue;
use candor_core::port::{Fill, SourceError, ViewHandle};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Virtual machine steps between two looks at the ticket: some tens of microseconds.
const STEPS: i32 = 2000;

/// A fill to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) view: ViewHandle,
    pub(crate) keys: Arc<[Box<[KeyValue]>]>,
    pub(crate) ticket: Ticket,
    pub(crate) answer: oneshot::Sender<Result<Fill, SourceError>>,
}

/// Whether anybody still waits for a fill.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticket(Arc<AtomicBool>);

impl Ticket {
    fn is_void(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Held by the future; makes the ticket void when dropped.
#[derive(Debug)]
pub(crate) struct Waiting(pub(crate) Ticket);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A reader's state.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) jobs: Arc<Queue<Job>>,
    pub(crate) log: Arc<Queue<Ask>>,
    pub(crate) history: Arc<History>,
    pub(crate) views: Arc<Views>,
    pub(crate) facets: Arc<Facets>,
    pub(crate) bounds: Bounds,
    /// The fill that is running.
    pub(crate) running: Arc<Mutex<Ticket>>,
    pub(crate) open: Option<(Connection, FileId)>,
}

impl Reader {
    /// Answers until the queue is closed.
    pub(crate) fn run(mut self) {
        while let Some(job) = self.jobs.pop() {
            if job.ticket.is_void() {
                continue;
            }
            *self.running.lock() = job.ticket.clone();
            let result = self.fill(&job);
            *self.running.lock() = Ticket::default();
            // Whoever asked may have gone.
            drop(job.answer.send(result));
        }
    }

    fn fill(&mut self, job: &Job) -> Result<Fill, SourceError> {
        /// How often the schema or the history may change under one fill.
        const ATTEMPTS: usize = 4;
        let view = self.views.at(job.view)?;
        for _ in 0..ATTEMPTS {
            self.reopen()?;
            let Some((connection, file)) = &self.open else { return Err(fault::closed()) };
            let compiled = view.compiled();
            match fill::attempt(
                connection,
                *file,
                &self.history,
                &view.query,
                &compiled,
                &job.keys,
                self.bounds,
            ) {
                Ok(Attempt::Done(fill)) => return Ok(fill),
                Ok(Attempt::OtherEra) => self.compile(&view)?,
                Ok(Attempt::AskLog) => self.ask_log()?,
                Ok(Attempt::DoneIfLogAgrees(fill)) => {
                    self.ask_log()?;
                    return Ok(fill);
                }
                Err(error) => {
                    // A transaction that would not end must not hold its snapshot for the next fill.
                    if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
                        self.open = None;
                    }
                    return Err(error);
                }
            }
        }
        Err(SourceError::slow(format!(
            "the schema or the log changed under every attempt to fill view `{}`",
            view.query.name
        )))
    }

    /// Opens the file that lies at the path now, unless it is open.
    fn reopen(&mut self) -> Result<(), SourceError> {
        let file = match FileId::at(&self.path) {
            Ok(file) => file,
            Err(error) => {
                self.open = None;
                return Err(error);
            }
        };
        if self.open.as_ref().is_none_or(|(_, open)| *open != file) {
            self.open = None;
            let (mut connection, file) = file::open(&self.path, Access::Query, self.busy_timeout)?;
            let running = self.running.clone();
            connection
                .progress_handler(STEPS, Some(move || running.lock().is_void()))
                .map_err(|error| fault::of("opening a reader", &error))?;
            self.open = Some((connection, file));
        }
        Ok(())
    }

    /// Holds the view against the present schema.
    fn compile(&self, view: &View) -> Result<(), SourceError> {
        let compiled = prepare::compile(&self.path, self.busy_timeout, &view.query)?;
        if let Some(refusal) = prepare::refusal(&compiled.derived) {
            return Err(SourceError::contract(format!("view `{}`: {refusal}", view.query.name)));
        }
        self.facets.register(&compiled.registrations);
        view.replace(Arc::new(compiled));
        Ok(())
    }

    /// Has the log looked at once more, by its own thread.
    fn ask_log(&self) -> Result<(), SourceError> {
        let (answer, wait) = oneshot::channel();
        match self.log.push(Ask::Fence(answer)) {
            Ok(()) => wait.blocking_recv().map_err(|_| fault::closed())?.map(drop),
            Err(Refused::Full) => Err(fault::full("the log", self.log.places())),
            Err(Refused::Closed) => Err(fault::closed()),
        }
    }
}

impl Drop for Reader {
    /// Also when the thread panics: nobody may wait for an answer that will not come.
    fn drop(&mut self) {
        self.jobs.close();
    }
}
