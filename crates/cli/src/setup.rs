//! `candor setup`: what records changes in a source. Shows, installs, takes out; running it again changes nothing.
//!
//! JSON: `{"sources":[{"name","path","action":"setup"|"remove","dry_run":bool,"statements":[…],
//! "watched":{"table":{"key_columns":[…],"columns":[…]}},"refused":[{"view","findings":[{"message","mend"}]}]}]}`.

use crate::args::Global;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use crate::start;
use crate::terminal::{Terminal, count, plain};
use candor_core::ProofKind;
use candor_server::Config;
use candor_server::config::SourceDeclaration;
use candor_sqlite::SetupPlan;
use clap::Args;
use serde_json::{Value, json};

pub(crate) const AFTER: &str = "\
SQLite keeps no log that others could read. Setup adds one: a table, and triggers that write into it what \
changed, in the writer's own transaction. Only what the views of candor.toml read is watched. Run it again \
after changing views or the schema; it issues only the difference.

The database is switched to the write-ahead log (journal mode WAL), in which readers and writers do not \
wait for each other. WAL stays on, also after --remove.

Examples:
  candor setup --dry-run            show the SQL, run nothing
  candor setup                      run it
  candor setup --source shop        only one source
  candor setup --remove             take everything out again

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
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// What was done, or would be, at one source.
struct Done<'c> {
    source: &'c SourceDeclaration,
    plan: SetupPlan,
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
    let sqlite = start::sqlite(source)?;
    let failed = |error| Failure::of_source(&source.name, &error);
    let plan = if args.remove {
        let statements = if args.dry_run { sqlite.removal_plan().await } else { sqlite.remove().await };
        SetupPlan { statements: statements.map_err(failed)?, ..SetupPlan::default() }
    } else {
        let mut views = start::queries(config, &source.name);
        // A view that rests on the clock needs no log.
        views.retain(|view| view.proof == ProofKind::Log);
        match (views.is_empty(), args.dry_run) {
            (true, _) => SetupPlan::default(),
            (false, true) => sqlite.setup_plan(&views).await.map_err(failed)?,
            (false, false) => sqlite.setup(&views).await.map_err(failed)?,
        }
    };
    Ok(Done { source, plan })
}

impl Done<'_> {
    fn tell(&self, args: &SetupArgs, terminal: &Terminal) {
        let (name, statements) = (&self.source.name, &self.plan.statements);
        if args.dry_run {
            let path = start::path(self.source).display();
            let what = match statements.len() {
                0 => "nothing to do".to_owned(),
                number => count(number, "statement"),
            };
            terminal.out(format!("-- {name} ({path}): {what}"));
            for statement in statements {
                terminal.out(format!("{};", statement.trim_end().trim_end_matches(';')));
            }
        } else if !terminal.is_quiet() {
            terminal.out(self.sentence(args, terminal));
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
        let (name, statements) = (terminal.paint().name(&self.source.name), &self.plan.statements);
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
        let tables: Vec<&str> = self.plan.watched.tables.keys().map(String::as_str).collect();
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
        let watched: serde_json::Map<String, Value> = self
            .plan
            .watched
            .tables
            .iter()
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
        json!({
            "name": self.source.name,
            "path": start::path(self.source).display().to_string(),
            "action": if args.remove { "remove" } else { "setup" },
            "dry_run": args.dry_run,
            "statements": self.plan.statements,
            "watched": watched,
            "refused": refused,
        })
    }
}
