//! `candor setup`: what records changes in a source. Shows, installs, takes out; running it again changes nothing.
//!
//! JSON: `{"sources":[{"name","path"|"address","action":"setup"|"remove","dry_run":bool,"statements":[…],
//! "remarks":[…],"watched" (SQLite):{"table":{"key_columns":[…],"columns":[…]}},"refused":[{"view","findings":[{"message","mend"}]}]}]}`.

use crate::args::Global;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use crate::start;
use crate::terminal::{Terminal, count, plain, wrap};
use candor_core::port::{Fault, SourceError};
use candor_core::{Finding, ProofKind, ViewQuery};
use candor_postgres::{SetupOptions, is_remark};
use candor_server::config::{SourceDeclaration, SourceKind};
use candor_server::{Config, Database};
use candor_sqlite::Plan as Watched;
use clap::Args;
use serde_json::{Value, json};

pub(crate) const AFTER: &str = "\
SQLite keeps no log that others could read. Setup adds one: a table, and triggers that write into it what \
changed, in the writer's own transaction. Only what the views of candor.toml read is watched. Run it again \
after changing views or the schema; it issues only the difference.

A SQLite database is switched to the write-ahead log (journal mode WAL), in which readers and writers do not \
wait for each other. WAL stays on, also after --remove.

PostgreSQL keeps such a log itself. Setup makes a publication of the tables that the views read, and a \
replication slot, which keeps the log until Candor has read it; --remove takes both out, and the event \
triggers with them.

Examples:
  candor setup --dry-run            show the SQL, run nothing
  candor setup                      run it
  candor setup --source shop        only one source
  candor setup --remove             take everything out again
  candor setup --event-trigger      PostgreSQL, as a superuser: changes of the schema are told at once

Exits with 1 if a view is refused whatever is set up; `candor check` says why.";

/// What `candor setup` takes.
#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// Show the SQL and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Take out what setup put in
    #[arg(long)]
    remove: bool,
    /// PostgreSQL: also make the event triggers that tell of changes of the schema at once; needs a superuser
    #[arg(long, conflicts_with = "remove")]
    event_trigger: bool,
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// What was done, or would be, at one source.
struct Done<'c> {
    source: &'c SourceDeclaration,
    plan: Plan,
}

/// What was or would be done, whatever the kind of source.
#[derive(Default)]
struct Plan {
    /// With remarks among them.
    statements: Vec<String>,
    refused: Vec<(Box<str>, Vec<Finding>)>,
    /// What SQLite's triggers record; `None` where the database keeps the log itself.
    watched: Option<Watched>,
}

/// Sets up, shows or removes.
pub(crate) async fn run(global: &Global, args: &SetupArgs, terminal: &Terminal) -> Outcome {
    let config = start::config(global)?;
    let mut told = Vec::new();
    let mut is_sound = true;
    for source in start::sources(&config, args.source.as_deref())? {
        let done = {
            let _progress = Progress::begin(terminal, format!("setting up `{}`", source.name));
            at_source(&config, source, args).await?
        };
        is_sound &= done.plan.refused.is_empty();
        if terminal.is_json() {
            told.push(done.json(args));
        } else {
            done.tell(args, terminal);
        }
    }
    if terminal.is_json() {
        terminal.json(&json!({ "sources": told }));
    }
    Ok(if is_sound { Code::Ok } else { Code::No })
}

async fn at_source<'c>(
    config: &Config,
    source: &'c SourceDeclaration,
    args: &SetupArgs,
) -> Result<Done<'c>, Failure> {
    if args.event_trigger && matches!(source.kind, SourceKind::Sqlite { .. }) {
        return Err(Failure::usage(
            format!("`{}` is a sqlite source, which has no event triggers", source.name),
            "name a postgres source with --source, or leave --event-trigger out",
        ));
    }
    let database = start::database(source)?;
    let mut views = start::queries(config, &source.name);
    // A view that rests on the clock needs no log.
    views.retain(|view| view.proof == ProofKind::Log);
    let plan = if args.remove {
        removal(&database, args.dry_run).await
    } else if views.is_empty() {
        let watched = database.as_sqlite().map(|_| Watched::default());
        Ok(Plan { watched, ..Plan::default() })
    } else {
        install(&database, &views, args).await
    };
    let plan = plan.map_err(|error| {
        let failure = Failure::of_source(&source.name, &error);
        match error.fault {
            Fault::Contract => failure.next(format!(
                "mend that, then run `candor setup{}` again, which does what is left; --dry-run shows it",
                if args.remove { " --remove" } else { "" }
            )),
            Fault::Down | Fault::Slow => failure,
        }
    })?;
    Ok(Done { source, plan })
}

async fn removal(database: &Database, is_dry: bool) -> Result<Plan, SourceError> {
    let statements = match (database, is_dry) {
        (Database::Sqlite(sqlite), true) => sqlite.removal_plan().await?,
        (Database::Sqlite(sqlite), false) => sqlite.remove().await?,
        (Database::Postgres(postgres), true) => postgres.removal_plan().await?,
        (Database::Postgres(postgres), false) => postgres.remove().await?,
    };
    let watched = database.as_sqlite().map(|_| Watched::default());
    Ok(Plan { statements, watched, ..Plan::default() })
}

async fn install(database: &Database, views: &[ViewQuery], args: &SetupArgs) -> Result<Plan, SourceError> {
    let is_dry = args.dry_run;
    Ok(match database {
        Database::Sqlite(sqlite) => {
            let plan = if is_dry { sqlite.setup_plan(views).await? } else { sqlite.setup(views).await? };
            Plan { statements: plan.statements, refused: plan.refused, watched: Some(plan.watched) }
        }
        Database::Postgres(postgres) => {
            let options = SetupOptions { event_trigger: args.event_trigger, ..SetupOptions::default() };
            let plan = if is_dry {
                postgres.setup_plan_with(views, options).await?
            } else {
                postgres.setup_with(views, options).await?
            };
            Plan { statements: plan.statements, refused: plan.refused, watched: None }
        }
    })
}

impl Plan {
    /// What is run: all but the remarks.
    fn run(&self) -> Vec<&str> {
        self.statements.iter().map(String::as_str).filter(|line| !is_remark(line)).collect()
    }

    /// What explains, without the sign of a remark.
    fn remarks(&self) -> Vec<&str> {
        let remarks = self.statements.iter().filter(|line| is_remark(line));
        remarks.map(|line| line.trim_start_matches('-').trim_start()).collect()
    }
}

impl Done<'_> {
    fn tell(&self, args: &SetupArgs, terminal: &Terminal) {
        let name = &self.source.name;
        if args.dry_run {
            let path = self.source.kind.place();
            let what = match (self.plan.run().len(), self.plan.remarks().len()) {
                (0, 0) => "nothing to do".to_owned(),
                (0, _) => "no statement to run".to_owned(),
                (number, _) => count(number, "statement"),
            };
            terminal.out(format!("-- {name} ({path}): {what}"));
            for statement in &self.plan.statements {
                let end = if is_remark(statement) { "" } else { ";" };
                terminal.out(format!("{}{end}", statement.trim_end().trim_end_matches(';')));
            }
        } else if !terminal.is_quiet() {
            terminal.out(self.sentence(args, terminal));
            for remark in self.plan.remarks() {
                terminal.out(format!("  {} {}", terminal.paint().dim("note:"), wrap(&plain(remark), 8, 8)));
            }
        }
        let paint = terminal.err();
        for (view, findings) in &self.plan.refused {
            for finding in findings {
                eprintln!("{} view `{view}`: {}", paint.bad("refused:"), plain(&finding.message));
                eprintln!("  mend: {}", plain(&finding.mend));
            }
        }
    }

    /// What was done, in one line.
    fn sentence(&self, args: &SetupArgs, terminal: &Terminal) -> String {
        let (name, statements) = (terminal.paint().name(&self.source.name), self.plan.run());
        let Some(watched) = &self.plan.watched else {
            let ran = match statements.len() {
                0 => "nothing to do".to_owned(),
                number => format!("ran {}", count(number, "statement")),
            };
            return match (args.remove, statements.is_empty(), self.plan.remarks().is_empty()) {
                (true, true, _) => format!("{name}: nothing of Candor's is in the database"),
                (true, false, _) => format!("{name}: {ran}; publication and slot are gone"),
                (false, _, true) => format!("{name}: {ran}; publication and slot are as the views need them"),
                (false, _, false) => format!("{name}: {ran}"),
            };
        };
        let of = |begin: &str| statements.iter().filter(|sql| sql.starts_with(begin)).count();
        if args.remove {
            return match statements.len() {
                0 => format!("{name}: nothing of Candor's is in the database"),
                _ => format!(
                    "{name}: removed {} and {}; the write-ahead log (journal mode WAL) stays on",
                    count(of("DROP TRIGGER"), "trigger"),
                    count(of("DROP TABLE"), "table")
                ),
            };
        }
        let tables: Vec<&str> = watched.tables.keys().map(String::as_str).collect();
        if tables.is_empty() && statements.is_empty() {
            return format!("{name}: no view here needs a change log; nothing to do");
        }
        let watching = format!("changes of {} are recorded", tables.join(", "));
        if statements.is_empty() {
            return format!("{name}: nothing to do; {watching}");
        }
        let mut did = Vec::new();
        for (number, verb, noun) in [
            (of("CREATE TABLE"), "created", "table"),
            (of("DROP TRIGGER"), "dropped", "trigger"),
            (of("CREATE TRIGGER"), "created", "trigger"),
        ] {
            if number > 0 {
                did.push(format!("{verb} {}", count(number, noun)));
            }
        }
        if of("PRAGMA journal_mode") > 0 {
            did.push("switched to the write-ahead log (journal mode WAL), which stays on".into());
        }
        if did.is_empty() {
            did.push("updated what is watched".into());
        }
        format!("{name}: {}; {watching}", did.join(", "))
    }

    fn json(&self, args: &SetupArgs) -> Value {
        let watched = self.plan.watched.iter().flat_map(|watched| &watched.tables);
        let watched: serde_json::Map<String, Value> = watched
            .map(|(table, watch)| {
                (table.clone(), json!({ "key_columns": watch.key_columns, "columns": watch.columns }))
            })
            .collect();
        let refused: Vec<Value> = self
            .plan
            .refused
            .iter()
            .map(|(view, findings)| {
                let findings: Vec<Value> = findings
                    .iter()
                    .map(|finding| json!({ "message": finding.message, "mend": finding.mend }))
                    .collect();
                json!({ "view": view, "findings": findings })
            })
            .collect();
        let (place, place_is) = start::place_member(self.source);
        json!({
            "name": self.source.name,
            place: place_is,
            "action": if args.remove { "remove" } else { "setup" },
            "dry_run": args.dry_run,
            "statements": self.plan.run(),
            "remarks": self.plan.remarks(),
            "watched": watched,
            "refused": refused,
        })
    }
}
