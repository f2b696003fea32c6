//! The figures of all rounds, as a table for the page: medians, and ratios to the fastest direct reads of the same round.

/// What one round of one contender gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Of answers that came from memory.
    pub hit_p99_ms: f64,
    /// Answers from memory, of all.
    pub hit_ratio: f64,
    /// Statements that reached PostgreSQL, fences and fills included.
    pub statements_per_thousand: f64,
    /// Reads per second of processor time of the serving side.
    pub per_cpu_second: f64,
    /// Microseconds of processor time per read of a server before the database.
    pub server_us: f64,
    /// The same of the connections at the database.
    pub database_us: f64,
    /// By the others.
    pub written_per_second: f64,
}

pub struct Table {
    clients: usize,
    rows: Vec<(String, bool, Vec<Figures>)>,
}

impl Table {
    /// `contenders`: their names, and whether they ask the database straight.
    pub fn new(clients: usize, contenders: impl Iterator<Item = (String, bool)>) -> Self {
        Self { clients, rows: contenders.map(|(name, is_direct)| (name, is_direct, Vec::new())).collect() }
    }

    pub fn add(&mut self, which: usize, figures: Figures) {
        self.rows[which].2.push(figures);
    }

    pub fn print(&self) {
        println!("\n### {} client{}\n", self.clients, if self.clients == 1 { "" } else { "s" });
        println!("| contender | reads/s | ratio | p50, ms | p99, ms | p99 of hits, ms | hits | statements per 1,000 reads | reads per CPU second | ratio | server, µs per read | database, µs per read | written/s |");
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        let rounds = self.rows.first().map_or(0, |row| row.2.len());
        let best = |figure: fn(&Figures) -> f64| -> Vec<f64> {
            (0..rounds)
                .map(|round| {
                    let direct = self.rows.iter().filter(|row| row.1);
                    direct.map(|row| figure(&row.2[round])).fold(f64::NAN, f64::max)
                })
                .collect()
        };
        let (fastest, leanest) = (best(|figures| figures.per_second), best(|figures| figures.per_cpu_second));
        for (name, _, all) in &self.rows {
            let of = |figure: fn(&Figures) -> f64| median(all.iter().map(figure));
            let against = |figure: fn(&Figures) -> f64, best: &[f64]| {
                median(all.iter().zip(best).map(|(figures, best)| figure(figures) / best))
            };
            println!(
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                show(of(|f| f.per_second), 0),
                show(against(|f| f.per_second, &fastest), 2),
                show(of(|f| f.p50_ms), 3),
                show(of(|f| f.p99_ms), 3),
                show(of(|f| f.hit_p99_ms), 3),
                show(of(|f| f.hit_ratio), 3),
                show(of(|f| f.statements_per_thousand), 2),
                show(of(|f| f.per_cpu_second), 0),
                show(against(|f| f.per_cpu_second, &leanest), 2),
                show(of(|f| f.server_us), 1),
                show(of(|f| f.database_us), 1),
                show(of(|f| f.written_per_second), 0),
            );
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number, or a dash where there is none.
fn show(number: f64, digits: usize) -> String {
    if !number.is_finite() || number == 0.0 { "–".into() } else { format!("{number:.digits$}") }
}
