//! The second process: it writes to the shop through its own connection and knows nothing of Candor.
//!
//! After each commit it prints one line, `product version visible-nanoseconds author`. The demonstration reads them:
//! for the truth, and because the application (not the script) deletes what it wrote from the cache-aside cache.

use super::contenders::Contender;
use super::truth::{Author, Truth, Write};
use super::{DemoArgs, Trouble};
use candor::{Moment, World};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Writes until nobody listens any more.
pub(super) fn run(database: &Path, args: &DemoArgs) -> Result<(), Trouble> {
    let connection =
        rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let mut update = connection.prepare(
        "UPDATE product SET price_cents = price_cents + ?2, stock = stock - 1, version = ?3 WHERE id = ?1",
    )?;
    let world = World::system();
    let pause = Duration::from_secs(1) / args.writes;
    let mut turn = world.now();
    let mut out = std::io::stdout().lock();
    for version in 1u64.. {
        // The square makes low numbers hot, as in every shop.
        let draw = world.draw_unit();
        let product = 1 + (draw * draw * f64::from(args.products)) as u32;
        let author = if world.draw() % 100 < u64::from(args.others) { 's' } else { 'a' };
        update.execute((product, 1, version as i64))?;
        let visible = world.now().as_nanos();
        let told = writeln!(out, "{product} {version} {visible} {author}").and_then(|()| out.flush());
        if told.is_err() {
            return Ok(());
        }
        turn = turn.plus(pause);
        std::thread::sleep(turn.since(world.now()));
    }
    Ok(())
}

/// The writing process as the demonstration holds it; it ends with this value.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(
        database: &Path,
        args: &DemoArgs,
        truth: Arc<Truth>,
        contenders: &[Arc<Contender>],
    ) -> Result<Self, Trouble> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo", "--writer"])
            .arg(database)
            .args(["--products", &args.products.to_string()])
            .args(["--writes", &args.writes.to_string()])
            .args(["--others", &args.others.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the writing process: {error}"))?;
        let lines = child.stdout.take().ok_or("the writing process has no output")?;
        let told: Vec<_> = contenders.iter().filter(|contender| contender.is_told()).cloned().collect();
        std::thread::Builder::new().name("candor-demo-truth".into()).spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let Some(write) = parse(&line) else { continue };
                if write.author == Author::Application {
                    told.iter().for_each(|contender| contender.delete(write.product));
                }
                truth.record(write);
            }
        })?;
        Ok(Self(child))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parse(line: &str) -> Option<Write> {
    let mut parts = line.split(' ');
    let product = parts.next()?.parse().ok()?;
    let version = parts.next()?.parse().ok()?;
    let visible = Moment::from_nanos(parts.next()?.parse().ok()?);
    let author = if parts.next()? == "a" { Author::Application } else { Author::Script };
    Some(Write { product, version, visible, author })
}
