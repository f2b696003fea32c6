//! After the measurement the shop stays open: the HTTP door on the same database, while the writing process goes on.

use super::shop::{self, Folder};
use super::writer::Process;
use super::{DemoArgs, Trouble};
use crate::exit::Code;
use crate::signals::Signals;
use crate::terminal::Terminal;
use candor_server::{Config, Gate, listen, process_environment};

/// Serves until interrupted.
pub(super) async fn serve(
    args: &DemoArgs,
    folder: &Folder,
    writer: Process,
    signals: &mut Signals,
    terminal: &Terminal,
) -> Result<Code, Trouble> {
    let file = folder.path().join("candor.toml");
    std::fs::write(&file, contract(args.http))?;
    let config = Config::read(&file, &process_environment)?;
    let listener = listen(&config, Gate::Open).await?;
    let address = listener.address();
    if terminal.is_json() {
        terminal.banner(serde_json::json!({ "http": address.to_string(), "config": file }));
    } else if !terminal.is_quiet() {
        terminal.banner(invitation(&address.to_string(), &file.display().to_string()));
    }
    let drained = listener.run(signals.next()).await;
    drop(writer);
    if drained {
        return Ok(Code::Ok);
    }
    terminal.note("stopped; some requests were cut off");
    Ok(Code::No)
}

fn contract(http: std::net::SocketAddr) -> String {
    format!(
        r#"[source.shop]
kind = "sqlite"
path = "shop.db"

[server]
http = "{http}"

[view.product]
owner = "the demonstration"
source = "shop"
key = ["id:int8"]
sql = "{}"
rows = "one"
consistency = "bounded:2s"
"#,
        shop::SQL
    )
}

fn invitation(address: &str, file: &str) -> String {
    format!(
        "The shop stays open and the second process goes on writing. Try, in another terminal:\n\n  \
           curl -i http://{address}/v1/views/product/1\n  \
           curl -i -H 'Candor-Consistency: strong' http://{address}/v1/views/product/1\n  \
           curl http://{address}/v1/explain/product/1\n\n\
         Its contract is {file}. Ctrl-C ends the demonstration and removes the shop."
    )
}
